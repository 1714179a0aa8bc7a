//! Budgets: of all that apply to a statement the tightest counts, and one more never allows more.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use ringfence_policy::budget::Limits;
use ringfence_policy::{Principal, RelationName};
use serde_json::{Map, Value, json};

use crate::world::{load, name, principal};

const KEYS: [&str; 9] = [
    "max_rows", "statement_timeout", "max_fields", "max_cost", "max_concurrent", "requests_per_minute",
    "refuse_broad_queries", "max_include_depth", "max_complexity",
];

fn budget() -> impl Strategy<Value = Option<Value>> {
    let number = select(vec![0_u64, 1, 5, 9]);
    let given = (subsequence(KEYS.to_vec(), 0..=KEYS.len()), prop::collection::vec(number, KEYS.len()));
    prop::option::of(given.prop_map(|(keys, numbers)| {
        let value = |key: &str, number: u64| match key {
            "statement_timeout" => json!(format!("{number}s")),
            "refuse_broad_queries" => json!(number % 2 == 1),
            _ => json!(number),
        };
        let entries = keys.into_iter().zip(numbers);
        Value::Object(
            entries.map(|(key, number)| (key.to_owned(), value(key, number))).collect::<Map<_, _>>(),
        )
    }))
}

fn anybody() -> Principal {
    principal("a", "u", &["member"], json!({}))
}

fn document(whole: Option<&Value>, sales: Option<&Value>, shops: Option<&Value>) -> String {
    let model = |table: &str, budget: Option<&Value>| match budget {
        Some(budget) => json!({"table": table, "budget": budget}),
        None => json!({"table": table}),
    };
    let mut document = json!({"models": {"Sale": model("sales", sales), "Shop": model("shops", shops)}});
    if let Some(whole) = whole {
        document["budget"] = whole.clone();
    }
    document.to_string()
}

/// Each limit as a number; what is not limited is endless.
fn allowed(limits: &Limits<'_>, broad: &[RelationName]) -> Vec<u64> {
    let least = |limits: &mut dyn Iterator<Item = u32>| limits.min().map_or(u64::MAX, u64::from);
    vec![
        limits.max_rows().map_or(u64::MAX, |limit| limit.value),
        limits.timeout().map_or(u64::MAX, |limit| limit.value.as_secs()),
        limits.max_fields().map_or(u64::MAX, |limit| limit.value.into()),
        limits.max_cost().map_or(u64::MAX, |limit| limit.value),
        limits.max_include_depth().map_or(u64::MAX, |limit| limit.value.into()),
        limits.max_complexity().map_or(u64::MAX, |limit| limit.value.into()),
        least(&mut limits.max_concurrent().map(|limit| limit.value)),
        least(&mut limits.requests_per_minute().map(|limit| limit.value)),
        u64::from(limits.refused_breadth(broad).is_none()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tightest_counts_and_none_allows_more(
        whole in budget(), sales in budget(), shops in budget(), more in budget(),
        tables in subsequence(vec!["sales", "shops", "regions"], 0..=3), is_broad in prop::bool::ANY,
    ) {
        let relations: Vec<RelationName> = tables.iter().map(|table| name(table)).collect();
        let broad: &[RelationName] = if is_broad { &relations } else { &[] };
        let alone = |budget: Option<&Value>| {
            let policy = load(&document(budget, None, None));
            allowed(&policy.limits(&relations, &anybody()), broad)
        };
        let of_model = |table: &str, budget: &Option<Value>| {
            if tables.contains(&table) {
                let (sales, shops) = if table == "sales" { (budget.as_ref(), None) } else { (None, budget.as_ref()) };
                allowed(&load(&document(None, sales, shops)).limits(&relations, &anybody()), broad)
            } else {
                vec![u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, 1]
            }
        };
        let policy = load(&document(whole.as_ref(), sales.as_ref(), shops.as_ref()));
        let together = allowed(&policy.limits(&relations, &anybody()), broad);
        let each = [alone(whole.as_ref()), of_model("sales", &sales), of_model("shops", &shops)];
        for (index, limit) in together.iter().enumerate() {
            let tightest = each.iter().map(|one| one[index]).min();
            prop_assert_eq!(Some(*limit), tightest, "{}", index);
        }
        // One more budget, where there was none: of the policy, or of a model.
        for (whole, sales) in [(whole.as_ref().or(more.as_ref()), sales.as_ref()), (whole.as_ref(), sales.as_ref().or(more.as_ref()))] {
            let narrower = load(&document(whole, sales, shops.as_ref()));
            let after = allowed(&narrower.limits(&relations, &anybody()), broad);
            prop_assert!(after.iter().zip(&together).all(|(after, before)| after <= before), "{:?} {:?}", after, together);
        }
        // One more relation in the statement allows no more either.
        let mut wider = relations.clone();
        wider.push(name("sales"));
        let after = allowed(&policy.limits(&wider, &anybody()), if is_broad { &wider } else { &[] });
        prop_assert!(after.iter().zip(&together).all(|(after, before)| after <= before));
    }
}

#[test]
fn a_limit_says_whose_it_is() {
    let policy = load(
        "budget: { max_rows: 10, max_cost: 5, refuse_broad_queries: true }
models: { Sale: { table: sales, budget: { max_rows: 3, max_cost: 9 } }, Shop: { table: shops, budget: { max_rows: 4 } } }",
    );
    let both = [name("shops"), name("sales")];
    let who = anybody();
    let limits = policy.limits(&both, &who);
    let rows = limits.max_rows().unwrap();
    assert_eq!((rows.value, rows.model.map(|model| model.name.as_str())), (3, Some("Sale")));
    let cost = limits.max_cost().unwrap();
    assert_eq!((cost.value, cost.model.is_none()), (5, true));
    assert_eq!(limits.refused_breadth(&both).map(|(relation, _)| relation), Some(&both[0]));
    assert!(limits.refused_breadth(&[]).is_none());
    assert!(policy.limits(&[], &anybody()).max_rows().is_some_and(|limit| limit.value == 10));
}

/// Of several budgets those count that are for the principal's roles and tenant, and of them the tightest.
#[test]
fn budgets_are_for_roles_and_tenants() {
    let policy = load(
        "budget:
  - { max_rows: 100, max_concurrent: 9 }
  - { roles: [trial], max_rows: 10, max_concurrent: 2 }
  - { except_roles: [trial, staff], max_rows: 50 }
  - { tenants: [noisy, other], max_rows: 5, requests_per_minute: 7 }
  - { tenants: [noisy], roles: [trial], max_rows: 3 }
  - { tenants: [], max_rows: 0 }
  - { roles: [], max_rows: 0 }
models: { Sale: { table: sales, budget: [ { roles: [staff], max_rows: 20, max_complexity: 4 }, { max_include_depth: 1 } ] } }",
    );
    let sales = [name("sales")];
    for (tenant, roles, alone, with_sales) in [
        ("quiet", &[][..], 50, 50),
        ("quiet", &["trial"], 10, 10),
        ("quiet", &["staff"], 100, 20),
        ("quiet", &["staff", "trial"], 10, 10),
        ("noisy", &["staff"], 5, 5),
        ("noisy", &["trial"], 3, 3),
        ("other", &["trial"], 5, 5),
    ] {
        let who = principal(tenant, "u", roles, json!({}));
        let rows = |relations| policy.limits(relations, &who).max_rows().map(|limit| limit.value);
        assert_eq!((rows(&[]), rows(&sales)), (Some(alone), Some(with_sales)), "{tenant} {roles:?}");
    }
    // Each counts for itself.
    let who = principal("noisy", "u", &["trial", "staff"], json!({}));
    let limits = policy.limits(&sales, &who);
    let places: Vec<_> = limits.max_concurrent().map(|limit| (limit.number, limit.value)).collect();
    assert_eq!(places, [(0, 9), (1, 2)]);
    assert_eq!(limits.max_complexity().map(|limit| (limit.number, limit.value)), Some((0, 4)));
    assert_eq!(limits.max_include_depth().map(|limit| (limit.number, limit.value)), Some((1, 1)));
}

/// A budget more never allows more, whomever it is for.
#[test]
fn a_budget_for_roles_never_allows_more() {
    let entries = [
        "{ max_rows: 9 }",
        "{ roles: [member], max_rows: 5 }",
        "{ tenants: [a], max_rows: 7 }",
        "{ except_roles: [member], max_rows: 1 }",
    ];
    for who in [anybody(), principal("b", "u", &[], json!({}))] {
        for set in 0_u32..16 {
            let rows = |set: u32| {
                let chosen = (0..4).filter(|bit| set & (1 << bit) != 0).map(|bit| entries[bit]);
                let policy = load(&format!("budget: [{}]", chosen.collect::<Vec<_>>().join(", ")));
                policy.limits(&[], &who).max_rows().map_or(u64::MAX, |limit| limit.value)
            };
            for bit in 0..4 {
                assert!(rows(set | (1 << bit)) <= rows(set), "{set} and {bit}");
            }
        }
    }
}
