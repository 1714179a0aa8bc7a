//! The clause `rule` of the law: of the access rules on a relation, which one binds, and what it may say.

use ringfence_policy::parse::{Scope, parse_condition};
use ringfence_policy::{
    AccessRule, ConnectionKind, Denial, OrgId, Policy, Principal, RuleKind, TenantId, UserId,
};
use serde_json::{Value, json};

use crate::world::{EVERY_SALE, load, name, principal, seen};

/// A rule that filters, or blocks where there is no filter.
pub(crate) fn rule(
    table: &str,
    tenant: Option<&str>,
    user: Option<&str>,
    filter: Option<&str>,
) -> AccessRule {
    let table = name(table);
    let scope = Scope { relation: Some(&table), kind: ConnectionKind::Postgresql, schema: "public" };
    let kind = filter.map_or(RuleKind::Block, |text| RuleKind::Filter(parse_condition(text, scope).unwrap()));
    AccessRule {
        id: filter.unwrap_or("block").to_owned(),
        kind,
        org: (tenant.is_some() || user.is_some()).then(|| OrgId::new("acme").unwrap()),
        tenant: tenant.map(|tenant| TenantId::new(tenant).unwrap()),
        user: user.map(|user| UserId::new(user).unwrap()),
        table,
    }
}

#[test]
fn the_tightest_rule_counts() {
    let policy = load("default: allow\n");
    let anybody = rule("sales", None, None, Some("id > 1"));
    let tenant = rule("sales", Some("a"), None, Some("id > 2"));
    let user = rule("sales", Some("a"), Some("u"), Some("id > 3 OR owner = principal.user_id"));
    let other_user = rule("sales", Some("a"), Some("v"), Some("id > 5"));
    let same_scope = rule("sales", Some("a"), Some("u"), Some("id < 6"));
    let block = |tenant| rule("sales", tenant, None, None);
    let hidden = Err(Denial::Invisible(name("sales")));
    let cases = [
        (vec![], Ok(EVERY_SALE.to_vec())),
        (vec![anybody.clone()], Ok(vec![2, 3, 4, 5, 6])),
        (vec![anybody.clone(), tenant.clone()], Ok(vec![3, 4, 5, 6])),
        (vec![user.clone(), tenant.clone(), anybody.clone()], Ok(vec![1, 4, 5, 6])),
        (vec![other_user.clone()], Ok(EVERY_SALE.to_vec())),
        (vec![user.clone(), same_scope], Ok(vec![1, 4, 5])),
        (vec![rule("shops", None, None, Some("id > 9"))], Ok(EVERY_SALE.to_vec())),
        (vec![block(Some("a"))], hidden.clone()),
        (vec![block(Some("b"))], Ok(EVERY_SALE.to_vec())),
        // A wider block is not lifted by a tighter filter.
        (vec![user, block(None)], hidden),
    ];
    let who = principal("a", "u", &[], json!({}));
    for (rules, expected) in cases {
        assert_eq!(seen(&policy, &rules, &who, "sales"), expected, "{rules:?}");
    }
}

/// Rules for a user are for accounts: an application's users have its account, whatever it calls them.
#[test]
fn no_name_that_an_application_gives_leads_into_or_out_of_a_rule() {
    let policy = load("default: allow\n");
    let tenant = rule("sales", Some("a"), None, Some("id > 2"));
    let of_ann = rule("sales", Some("a"), Some("ann"), Some("id > 0"));
    let of_portal = rule("sales", None, Some("portal"), Some("id < 6"));
    let portal = Some(UserId::new("portal").unwrap());
    let ann = principal("a", "ann", &[], json!({}));
    let called_ann = Principal { application: portal.clone(), acted_by: portal, ..ann.clone() };
    let sees = |who: &Principal, rules: &[AccessRule]| seen(&policy, rules, who, "sales").unwrap();
    let rules = [tenant, of_ann, of_portal];
    assert_eq!(sees(&ann, &rules), EVERY_SALE, "her own rule is the tightest");
    assert_eq!(sees(&called_ann, &rules), [3, 4, 5], "her tenant's and the application's, both");
    assert_eq!(sees(&called_ann, &rules[1..]), [1, 2, 3, 4, 5]);
    let block = rule("sales", None, Some("portal"), None);
    assert_eq!(seen(&policy, &[block], &called_ann, "sales"), Err(Denial::Invisible(name("sales"))));
}

#[test]
fn variables_of_rules_are_values_of_the_principal() {
    let policy = load("default: allow\n");
    let check = |text: &str, attributes, expected: Result<&[i128], &str>| {
        let kind = RuleKind::filter(text, &name("sales"), ConnectionKind::Postgresql);
        let rule = AccessRule { kind: kind.unwrap(), ..rule("sales", None, None, None) };
        let decided = seen(&policy, &[rule], &principal("a", "u", &[], attributes), "sales");
        let expected = expected
            .map(<[_]>::to_vec)
            .map_err(|attribute| Denial::ScopeRequired { attribute: attribute.to_owned() });
        assert_eq!(decided, expected, "{text}");
    };
    let own = || check_attributes();
    check("id = {least} OR '{least}' = status", own(), Ok(&[2]));
    check("id IN ({few})", own(), Ok(&[1, 3]));
    check("id IN ({few}, 2)", own(), Ok(&[1, 2, 3]));
    check("id NOT IN ({few}, {least})", own(), Ok(&[4, 5, 6]));
    check("id > {least} OR id IN ( {none} )", own(), Ok(&[3, 4, 5, 6]));
    // An empty list is NULL: neither in it nor not in it.
    check("id IN ({none})", own(), Ok(&[]));
    check("id NOT IN ({none})", own(), Ok(&[]));
    check(
        "'usage:api' IN ({permissions}) AND {tenant_id} = 'a' AND {org_id} <> {user_id}",
        own(),
        Ok(EVERY_SALE),
    );
    check("{user_id} = 'me'", json!({}), Ok(&[]));
    // An own variable goes before what everybody has.
    check("{user_id} = 'me'", json!({"user_id": "me"}), Ok(EVERY_SALE));
    check("{user_id} = 'me'", json!({"user_id": null}), Ok(&[]));
    check("id > {nobody} OR id < 9", json!({}), Err("{nobody}"));
    check("id NOT IN ({nobody})", json!({}), Err("{nobody}"));
}

fn check_attributes() -> Value {
    json!({"least": 2, "few": [1, 3], "none": []})
}

#[test]
fn a_rule_is_one_condition() {
    for text in [
        "",
        " ",
        "id > 1; DROP TABLE sales",
        "id > 1) OR (1 = 1",
        "id > 1 --",
        "{}",
        "{ user id }",
        "{\"user_id\"} = 1",
        "{ringfence} = 1",
        "{user_id}.x = 'a'",
        "x.{user_id} = 'a'",
        "id = {user_id",
        "id = user_id}",
        "{roles} = 'a' OR 1",
        "id IN (SELECT id FROM {sales})(",
        "{user_id}(1) = 1",
        "pg_sleep(1) IS NULL",
        "(SELECT id FROM sales) = 1",
    ] {
        let kind = RuleKind::filter(text, &name("sales"), ConnectionKind::Postgresql);
        // A comment ends with the text, so that it eats nothing.
        assert_eq!(kind.is_ok(), text == "id > 1 --", "{text}: {kind:?}");
    }
    let policy =
        "models: { Sale: { table: sales, row_policies: [ { name: x, condition: \"owner = {user_id}\" } ] } }";
    assert!(Policy::load("p", policy, ConnectionKind::Postgresql).is_err(), "braces are for access rules");
}

#[test]
fn what_binds_is_told() {
    let user = rule("sales", Some("a"), Some("u"), Some("id > 3"));
    let tenant = rule("sales", Some("a"), None, Some("id > 2"));
    let other = rule("sales", Some("b"), None, Some("id > 4"));
    let block = rule("sales", None, None, None);
    let who = principal("a", "u", &[], json!({}));
    let rules = [tenant.clone(), user.clone(), other.clone()];
    let ids = |rules: &[AccessRule]| -> Vec<String> {
        AccessRule::binding(rules, &name("sales"), &who).iter().map(|rule| rule.id.clone()).collect()
    };
    assert_eq!(ids(&rules), ["id > 3"]);
    assert_eq!(ids(&[rules.to_vec(), vec![block.clone()]].concat()), ["block"]);
    assert_eq!(ids(std::slice::from_ref(&other)), [""; 0]);
    assert!(user.overrides(&tenant) && !tenant.overrides(&user) && !user.overrides(&other));
    assert!(!user.overrides(&block) && !user.overrides(&user));
    assert_eq!(RuleKind::Block.own_variables(), [""; 0]);
}
