//! Budgets: of all that apply to a statement the tightest counts, and one more never allows more.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use ringfence_policy::RelationName;
use ringfence_policy::budget::Limits;
use serde_json::{Map, Value, json};

use crate::world::{load, name};

const KEYS: [&str; 7] = [
    "max_rows", "statement_timeout", "max_fields", "max_cost", "max_concurrent", "requests_per_minute",
    "refuse_broad_queries",
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
            allowed(&policy.limits(&relations), broad)
        };
        let of_model = |table: &str, budget: &Option<Value>| {
            if tables.contains(&table) {
                let (sales, shops) = if table == "sales" { (budget.as_ref(), None) } else { (None, budget.as_ref()) };
                allowed(&load(&document(None, sales, shops)).limits(&relations), broad)
            } else {
                vec![u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, 1]
            }
        };
        let policy = load(&document(whole.as_ref(), sales.as_ref(), shops.as_ref()));
        let together = allowed(&policy.limits(&relations), broad);
        let each = [alone(whole.as_ref()), of_model("sales", &sales), of_model("shops", &shops)];
        for (index, limit) in together.iter().enumerate() {
            let tightest = each.iter().map(|one| one[index]).min();
            prop_assert_eq!(Some(*limit), tightest, "{}", index);
        }
        // One more budget, where there was none: of the policy, or of a model.
        for (whole, sales) in [(whole.as_ref().or(more.as_ref()), sales.as_ref()), (whole.as_ref(), sales.as_ref().or(more.as_ref()))] {
            let narrower = load(&document(whole, sales, shops.as_ref()));
            let after = allowed(&narrower.limits(&relations), broad);
            prop_assert!(after.iter().zip(&together).all(|(after, before)| after <= before), "{:?} {:?}", after, together);
        }
        // One more relation in the statement allows no more either.
        let mut wider = relations.clone();
        wider.push(name("sales"));
        let after = allowed(&policy.limits(&wider), if is_broad { &wider } else { &[] });
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
    let limits = policy.limits(&both);
    let rows = limits.max_rows().unwrap();
    assert_eq!((rows.value, rows.model.map(|model| model.name.as_str())), (3, Some("Sale")));
    let cost = limits.max_cost().unwrap();
    assert_eq!((cost.value, cost.model.is_none()), (5, true));
    assert_eq!(limits.refused_breadth(&both).map(|(relation, _)| relation), Some(&both[0]));
    assert!(limits.refused_breadth(&[]).is_none());
    assert!(policy.limits(&[]).max_rows().is_some_and(|limit| limit.value == 10));
}
