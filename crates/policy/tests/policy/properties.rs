//! The law on policies, principals and rules drawn at random, against the reference; and that it is monotone.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use ringfence_policy::evaluate::{Datum, World, evaluate};
use ringfence_policy::filter::SearchContext;
use ringfence_policy::parse::{Scope, parse_condition};
use ringfence_policy::resolve::{resolve, resolve_filter};
use ringfence_policy::{
    AccessRule, ConnectionKind, ContentFilters, Denial, Policy, Principal, Question, Reason, RuleKind,
    TenantId, UserId, Verdict, decide, decide_with_reasons, view, view_like,
};
use serde_json::{Value, json};

use crate::reference::Reference;
use crate::world::{catalog, ids, load, name, plain_question, principal, rows, seen};

/// Conditions on sales: with and without the principal, with NULLs on both sides.
const SALES: [&str; 18] = [
    "status = 'draft'",
    "status <> 'draft' OR owner = principal.user_id",
    "NOT (status = 'draft')",
    "owner IN principal.attributes.owners",
    "owner NOT IN principal.attributes.owners",
    "NOT (owner IN principal.attributes.owners)",
    "'boss' IN principal.roles",
    "'boss' IN principal.roles OR amount > 2",
    "principal.attributes.level > 3 OR amount BETWEEN 2 AND 4",
    "NOT (principal.attributes.level > 3) AND amount IS NOT NULL",
    "principal.attributes.level IS NULL",
    "(owner = principal.attributes.nobody) IS NOT TRUE",
    "CASE WHEN 'boss' IN principal.roles THEN TRUE WHEN principal.attributes.level > 3 THEN amount > 1 END",
    "CASE status WHEN 'draft' THEN owner = principal.user_id ELSE TRUE END",
    "shop IN (SELECT s.id FROM shops s WHERE s.city = principal.attributes.city)",
    "EXISTS (SELECT 1 FROM shops WHERE shops.id = sales.shop AND tenant = principal.tenant_id)",
    "status IS DISTINCT FROM principal.attributes.status",
    "tenant LIKE 'a%' AND owner = principal.attributes.owners",
];

const PRINCIPAL_ONLY: [&str; 5] = [
    "'boss' IN principal.roles",
    "principal.attributes.level > 3",
    "principal.tenant_id = 'b'",
    "principal.user_id IN principal.attributes.owners",
    "NOT (principal.attributes.level > 3)",
];

const SHOPS: [&str; 4] = [
    "country = 'France'",
    "city <> 'Lyon'",
    "NOT (city = principal.attributes.city)",
    "'boss' IN principal.roles",
];

const RESTRICTIONS: [(&str, &str); 6] = [
    ("PARIS", "{ table: shops, column: city, in: [Paris] }"),
    ("FRANCE", "{ table: shops, column: country, in: [France] }"),
    ("ROME", "{ table: shops, column: city, in: [Rome, null] }"),
    ("SMALL", "{ table: sales, column: amount, condition: \"amount < 4\" }"),
    ("DRAFTS", "{ table: sales, column: status, in: [draft] }"),
    ("MINE", "{ table: sales, column: status, condition: \"owner = principal.user_id\" }"),
];

const ROLES: [&str; 8] = ["boss", "member", "PARIS", "FRANCE", "ROME", "SMALL", "DRAFTS", "MINE"];

fn quoted(condition: &str) -> String {
    serde_json::to_string(condition).unwrap()
}

/// Row policies as lines of a document.
fn row_policies(conditions: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let gate = select(vec!["", ", roles: [member]", ", except_roles: [boss]"]);
    let rows = (select(conditions), gate.clone(), select(vec!["", "", ", extends: true"]));
    let one = prop_oneof![
        6 => rows.prop_map(|(condition, gate, effect)| format!("condition: {}{gate}{effect}", quoted(condition))),
        1 => (select(PRINCIPAL_ONLY.as_slice()), gate)
            .prop_map(|(condition, gate)| format!("condition: {}{gate}, bypass: true", quoted(condition))),
    ];
    prop::collection::vec(one, 0..4)
}

#[derive(Debug, Clone)]
struct Parts {
    sales: Vec<String>,
    shops: Vec<String>,
    scoping: &'static str,
    shop_scoping: &'static str,
    gates: (&'static str, &'static str),
    restrictions: Vec<(&'static str, &'static str)>,
    hierarchy: bool,
    joins: Vec<&'static str>,
}

impl Parts {
    fn text(&self) -> String {
        let policies = |list: &[String]| {
            let numbered =
                list.iter().enumerate().map(|(place, policy)| format!("{{ name: p{place}, {policy} }}"));
            numbered.collect::<Vec<_>>().join(", ")
        };
        let mut by_role: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (role, entry) in &self.restrictions {
            by_role.entry(role).or_default().push(entry);
        }
        let restrictions: Vec<String> =
            by_role.iter().map(|(role, entries)| format!("{role}: [{}]", entries.join(", "))).collect();
        format!(
            "models:\n  Sale: {{ table: sales, scoping: {}, row_policies: [{}]{} }}\n  \
             Shop: {{ table: shops, scoping: {}, row_policies: [{}]{} }}\n  Region: {{ table: regions, scoping: {{ tenant: principal.tenant_id }} }}\n\
             hierarchies: {}\nrestrictions: {{ {} }}\njoins: [{}]\n",
            self.scoping,
            policies(&self.sales),
            self.gates.0,
            self.shop_scoping,
            policies(&self.shops),
            self.gates.1,
            if self.hierarchy { "{ geo: [shops.country, shops.city] }" } else { "{}" },
            restrictions.join(", "),
            self.joins.join(", "),
        )
    }
}

fn parts() -> impl Strategy<Value = Parts> {
    let scoping =
        || select(vec!["{}", "{ tenant: principal.tenant_id }", "{ tenant: principal.attributes.tenants }"]);
    let gates =
        || select(vec!["", "", "", ", roles: [member, boss]", ", except_roles: [SMALL]", ", allowed: false"]);
    let joins = vec![
        "{ from: sales.shop, to: shops.id, inherit: true }",
        "{ from: shops.region, to: regions.id, inherit: true, except_roles: [member] }",
        "{ from: sales.id, to: regions.id }",
    ];
    (
        row_policies(&SALES),
        row_policies(&SHOPS),
        (scoping(), scoping()),
        (gates(), gates()),
        subsequence(RESTRICTIONS.to_vec(), 0..=RESTRICTIONS.len()),
        prop::bool::ANY,
        subsequence(joins, 0..=3),
    )
        .prop_map(|(sales, shops, (scoping, shop_scoping), gates, restrictions, hierarchy, joins)| {
            Parts { sales, shops, scoping, shop_scoping, gates, restrictions, hierarchy, joins }
        })
}

fn attribute() -> impl Strategy<Value = Value> {
    select(vec![
        json!({}),
        json!({"owners": [], "tenants": []}),
        json!({"owners": ["u"], "tenants": ["a"], "level": 5, "city": "Paris", "status": "draft"}),
        json!({"owners": ["u", "w", null], "tenants": ["a", "b"], "level": "2", "city": "Lyon"}),
        json!({"owners": "v", "tenants": null, "level": null, "status": "done"}),
        json!({"owners": ["a","b","c","d","e","f","g","h","i","w"], "tenants": "b", "level": 4}),
    ])
}

fn anybody() -> impl Strategy<Value = Principal> {
    let who = (select(vec!["a", "b"]), select(vec!["u", "w"]));
    (who, subsequence(ROLES.to_vec(), 0..=4), attribute())
        .prop_map(|((tenant, user), roles, attributes)| principal(tenant, user, &roles, attributes))
}

fn rule() -> impl Strategy<Value = AccessRule> {
    let condition = (select(SALES.as_slice()), prop::bool::weighted(0.15)).prop_map(|(condition, block)| {
        if block {
            return RuleKind::Block;
        }
        let sales = name("sales");
        let scope = Scope { relation: Some(&sales), kind: ConnectionKind::Postgresql, schema: "public" };
        RuleKind::Filter(parse_condition(condition, scope).unwrap())
    });
    let users = prop::option::of(select(vec!["u", "w"]));
    (users, prop::option::of(select(vec!["a", "b"])), condition).prop_map(|(user, tenant, kind)| AccessRule {
        id: "r".to_owned(),
        table: name("sales"),
        org: None,
        tenant: tenant.map(|tenant| TenantId::new(tenant).unwrap()),
        user: user.map(|user| UserId::new(user).unwrap()),
        kind,
    })
}

/// What a principal sees; nothing where there is a denial.
fn shown(policy: &Policy, rules: &[AccessRule], who: &Principal, table: &str) -> Vec<i128> {
    seen(policy, rules, who, table).unwrap_or_default()
}

fn subset(less: &[i128], more: &[i128]) -> bool {
    less.iter().all(|id| more.contains(id))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_are_the_law(parts in parts(), who in anybody(), rules in prop::collection::vec(rule(), 0..4)) {
        let (text, rows) = (parts.text(), rows());
        let policy = load(&text);
        let reference = Reference { policy: &policy, rules: &rules, who: &who, rows: &rows };
        for table in ["sales", "shops", "regions"] {
            let name = name(table);
            let expected = if reference.visible(&name) {
                Ok(ids(&rows[&name], |row| reference.shows(&name, row)))
            } else {
                Err(Denial::Invisible(name.clone()))
            };
            let decided = seen(&policy, &rules, &who, table);
            if let Err(Denial::ScopeRequired { .. }) = decided {
                prop_assert!(reference.lacks_scope(&name), "{table}\n{text}");
            } else {
                prop_assert!(!reference.visible(&name) || !reference.lacks_scope(&name), "{table}\n{text}");
                prop_assert_eq!(decided, expected, "{}\n{}", table, text);
            }
        }
    }

    /// Sharing with what somebody else sees changes nothing of what one sees.
    #[test]
    fn a_view_does_not_depend_on_another(
        parts in parts(), who in anybody(), other in anybody(), rules in prop::collection::vec(rule(), 0..4),
    ) {
        let (policy, catalog) = (load(&parts.text()), catalog());
        let question = |principal| Question {
            policy: &policy, catalog: &catalog, unfiltered: &catalog, rules: &rules, principal,
        };
        let theirs = view(question(&other));
        prop_assert_eq!(view_like(question(&who), Some(&theirs)), view(question(&who)));
    }

    /// The clauses that reasons tell come to what was decided, row by row, and no explanation changes the decision.
    #[test]
    fn clauses_come_to_the_decision(
        parts in parts(), who in anybody(), rules in prop::collection::vec(rule(), 0..4),
    ) {
        let (text, rows, catalog) = (parts.text(), rows(), catalog());
        let policy = load(&text);
        let question =
            Question { policy: &policy, catalog: &catalog, unfiltered: &catalog, rules: &rules, principal: &who };
        let world = World { principal: &who, relations: &rows };
        for table in ["sales", "shops", "regions"] {
            let (decided, reasons) = decide_with_reasons(question, &name(table));
            prop_assert_eq!(&decided, &decide(question, &name(table)), "{}", text);
            let Ok(entitlement) = decided else { continue };
            for row in &rows[&name(table)] {
                let value = |reason: &Reason| match reason.clause.as_ref().map(|clause| &clause.condition) {
                    Some(condition) => match evaluate(condition, world, Some(row)) {
                        Ok(Datum::Bool(truth)) => Some(truth),
                        Ok(Datum::Null) => None,
                        other => panic!("{condition} is {other:?}"),
                    },
                    None => None,
                };
                let verdict = Verdict::of(reasons.iter().map(|reason| (reason, value(reason))));
                let decided = evaluate(&entitlement.rows, world, Some(row)) == Ok(Datum::Bool(true));
                prop_assert_eq!(verdict.is_visible(), decided, "{} {:?} {:?}\n{}", table, row, verdict, text);
            }
        }
    }

    /// Clause 6, for rows.
    #[test]
    fn what_is_added_never_shows_more(
        parts in parts(), who in anybody(), rules in prop::collection::vec(rule(), 0..3),
        extra in select(SALES.as_slice()), shop in select(SHOPS.as_slice()), filter in rule(),
    ) {
        let before = load(&parts.text());
        let mut narrower = parts.clone();
        narrower.sales.push(format!("condition: {}", quoted(extra)));
        narrower.shops.push(format!("condition: {}", quoted(shop)));
        let mut restricted = parts.clone();
        // A restriction beside others on the same hierarchy is one more thing allowed: that is the union, clause 3.
        restricted.restrictions.push(("boss", "{ table: sales, column: owner, in: [u] }"));
        let mut joined = parts.clone();
        joined.joins.push("{ from: sales.shop, to: shops.id, inherit: true }");
        let mut blocked = rules.clone();
        blocked.push(AccessRule { kind: RuleKind::Block, user: None, tenant: None, ..filter.clone() });
        for table in ["sales", "shops", "regions"] {
            let more = shown(&before, &rules, &who, table);
            for parts in [&narrower, &restricted, &joined] {
                let less = shown(&load(&parts.text()), &rules, &who, table);
                prop_assert!(subset(&less, &more), "{table}: {less:?} in {more:?}\n{}", parts.text());
            }
            prop_assert!(subset(&shown(&before, &blocked, &who, table), &more));
            // A filter rule takes the place of a wider one, so it narrows only what no rule filters yet.
            let unruled = shown(&before, &[], &who, table);
            prop_assert!(subset(&shown(&before, std::slice::from_ref(&filter), &who, table), &unruled));
            // Beside others too, unless it takes the place of one: writing such a rule is for whoever wrote the wider one.
            if !rules.iter().any(|wider| filter.overrides(wider)) {
                let both = [rules.clone(), vec![filter.clone()]].concat();
                prop_assert!(subset(&shown(&before, &both, &who, table), &more));
            }
        }
    }

    /// Clause 6, for columns: a content filter never shows more, neither columns nor rows.
    #[test]
    fn content_filters_never_show_more(
        parts in parts(), who in anybody(), table in select(vec!["sales", "shops", "*"]), column in select(vec!["*", "owner", "id"]),
    ) {
        let (policy, catalog) = (load(&parts.text()), catalog());
        let context: SearchContext = serde_json::from_value(
            json!({"type": "exclusion", "table_name": table, "column_name": column})).unwrap();
        let narrowed = ContentFilters::new(&[context], &[]).unwrap().narrow(&catalog);
        let question = plain_question(&policy, &catalog, &who);
        let (before, after) = (view(question), view(Question { catalog: &narrowed, ..question }));
        for (name, entitlement) in &after.relations {
            let (rows, relation) = (rows(), name.clone());
            let world = World { principal: &who, relations: &rows };
            let Some(whole) = before.relations.get(name) else {
                // It could not be decided before: a relation that it inherits from lacked its scope, and is gone now.
                let shows = |row| evaluate(&entitlement.rows, world, Some(row)) == Ok(Datum::Bool(true));
                let none = !rows[&relation].iter().any(shows);
                prop_assert!(none);
                continue;
            };
            prop_assert!(entitlement.columns.iter().all(|column| whole.columns.contains(column)));
            let all = entitlement.columns.iter().map(|column| &column.name).chain(&entitlement.hidden).count();
            prop_assert_eq!(all, catalog.relation(&name.schema, &name.name).unwrap().columns.len());
            for row in &rows[&relation] {
                let holds = |rows| evaluate(rows, world, Some(row)) == Ok(Datum::Bool(true));
                prop_assert!(!holds(&entitlement.rows) || holds(&whole.rows));
            }
        }
    }

    /// Resolving for a principal changes no truth, and as a filter no TRUE.
    #[test]
    fn resolving_keeps_the_meaning(
        conditions in prop::collection::vec(select(SALES.as_slice()), 1..5), shape in 0_u8..6, who in anybody(),
    ) {
        let combined = conditions.iter().enumerate().fold(String::new(), |text, (place, condition)| {
            match (text.is_empty(), (usize::from(shape) + place) % 4) {
                (true, _) => format!("({condition})"),
                (false, 0) => format!("({text} AND ({condition}))"),
                (false, 1) => format!("({text} OR ({condition}))"),
                (false, 2) => format!("NOT ({text} AND ({condition}))"),
                (false, _) => format!("(({text}) IS NOT TRUE OR ({condition}))"),
            }
        });
        let (sales, rows) = (name("sales"), rows());
        let scope = Scope { relation: Some(&sales), kind: ConnectionKind::Postgresql, schema: "public" };
        let condition = parse_condition(&combined, scope).unwrap();
        let (exact, filter) = (resolve(&condition, &who), resolve_filter(&condition, &who));
        prop_assert_eq!(exact.is_ok(), filter.is_ok());
        let (Ok(exact), Ok(filter)) = (exact, filter) else { return Ok(()) };
        let world = World { principal: &who, relations: &rows };
        for row in &rows[&sales] {
            let Ok(value) = evaluate(&condition, world, Some(row)) else { continue };
            prop_assert_eq!(evaluate(&exact, world, Some(row)), Ok(value.clone()), "{}", combined);
            let is_true = |value: &Datum| *value == Datum::Bool(true);
            prop_assert_eq!(is_true(&evaluate(&filter, world, Some(row)).unwrap()), is_true(&value), "{}", combined);
        }
    }
}
