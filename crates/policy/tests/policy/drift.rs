//! Drift: what a database that moved suspends, for whom, and what it leaves alone.

use ringfence_policy::{Catalog, Denial, Footprint, Policy, decide, view};
use serde_json::json;

use crate::world::{catalog, load, name, plain_question, principal};

/// The catalog after a change: `table.column` is renamed, retyped (`column:type`) or, without a column, dropped.
fn after(change: &str) -> Catalog {
    let mut catalog = catalog();
    let relations = &mut catalog.schemas[0].relations;
    match change.split_once('.') {
        None => relations.retain(|relation| relation.name != change),
        Some((table, column)) => {
            let relation = relations.iter_mut().find(|relation| relation.name == table).unwrap();
            let (column, data_type) =
                column.split_once(':').map_or((column, None), |(name, kind)| (name, Some(kind)));
            let column = relation.columns.iter_mut().find(|known| known.name == column).unwrap();
            match data_type {
                Some(data_type) => data_type.clone_into(&mut column.data_type),
                None => column.name.push_str("_old"),
            }
        }
    }
    catalog
}

fn moved(policy: &str, change: &str) -> (Policy, Catalog) {
    let policy = load(policy);
    let before = policy.footprint(&catalog());
    // As it is kept.
    let before: Footprint = serde_json::from_str(&serde_json::to_string(&before).unwrap()).unwrap();
    let catalog = after(change);
    let drift = policy.drift_from(&catalog, &before);
    (Policy { drift, ..policy }, catalog)
}

fn suspended(policy: &str, change: &str) -> Vec<String> {
    let (policy, _) = moved(policy, change);
    policy.drift.suspended().map(|(relation, _)| relation.name.clone()).collect()
}

const SHOP: &str = "
models:
  Sale:
    table: sales
    scoping: { tenant: principal.tenant_id }
    row_policies: [ { name: n, condition: \"shop IN (SELECT id FROM shops WHERE city = 'Paris')\" } ]
    fields: { email: { action: mask, mask_pattern: email } }
  Region: { table: regions, scoping: { tenant: principal.tenant_id } }
";

#[test]
fn what_the_policy_rests_on_suspends_its_relation_only() {
    let none: [&str; 0] = [];
    for (change, expected) in [
        ("sales.email", &["sales"][..]),
        ("sales.tenant", &["sales"]),
        ("sales.shop", &["sales"]),
        ("sales.email:integer", &["sales"]),
        ("sales.tenant:integer", &["sales"]),
        // Of the sub-query.
        ("shops.city", &["sales"]),
        ("shops.id:text", &["sales"]),
        ("shops", &["sales"]),
        ("regions.tenant", &["regions"]),
        ("regions", &["regions"]),
        ("sales", &["sales"]),
        // What the policy does not name.
        ("sales.amount", &none),
        ("sales.amount:text", &none),
        ("regions.name", &none),
        ("shops.country", &none),
        ("sales.email:TEXT", &none),
    ] {
        assert_eq!(suspended(SHOP, change), expected, "{change}");
    }
    let joined = |inherit: bool| {
        format!(
            "models: {{ S: {{ table: sales }}, H: {{ table: shops }} }}\njoins: [ {{ from: sales.shop, to: shops.id, inherit: {inherit} }} ]"
        )
    };
    assert_eq!(suspended(&joined(true), "shops.id"), ["sales"]);
    assert_eq!(suspended(&joined(false), "shops.id"), none);
    let restricted = "models: { S: { table: shops } }\nrestrictions: { R: [ { table: shops, column: city, in: [Rome] } ] }";
    assert_eq!(suspended(restricted, "shops.city"), ["shops"]);
    assert_eq!(suspended(restricted, "shops.country"), none);
    // A way to another model protects nothing.
    let way = "models: { S: { table: sales, relations: { shop: { model: H, on: { shop: id } } } }, H: { table: shops } }";
    assert_eq!(suspended(way, "shops.id"), none);
}

#[test]
fn only_who_could_see_it_hears_that_a_relation_is_suspended() {
    let gated =
        "models: { S: { table: sales, roles: [boss], fields: { email: deny } }, R: { table: regions } }";
    for change in ["sales.email", "sales"] {
        let (policy, catalog) = moved(gated, change);
        for (roles, expected) in
            [(&["boss"][..], Err(Denial::Suspended)), (&[], Err(Denial::Invisible(name("sales"))))]
        {
            let who = principal("a", "u", roles, json!({}));
            let question = plain_question(&policy, &catalog, &who);
            assert_eq!(decide(question, &name("sales")).map(drop), expected, "{change} {roles:?}");
            let seen = view(question);
            assert!(!seen.relations.contains_key(&name("sales")));
            assert_eq!(seen.unresolved.contains_key(&name("sales")), !roles.is_empty(), "{change} {roles:?}");
            assert!(seen.relations.contains_key(&name("regions")), "all others go on");
        }
    }
}

/// A row belongs to one of a relation that nobody can protect any more.
#[test]
fn what_inherits_from_a_suspended_relation_is_suspended_too() {
    let text = "models: { S: { table: sales }, H: { table: shops, scoping: { tenant: principal.tenant_id } } }\njoins: [ { from: sales.shop, to: shops.id, inherit: true } ]";
    let (policy, catalog) = moved(text, "shops.tenant");
    let who = principal("a", "u", &[], json!({}));
    let question = plain_question(&policy, &catalog, &who);
    assert_eq!(decide(question, &name("sales")).map(drop), Err(Denial::Suspended));
    assert_eq!(decide(question, &name("shops")).map(drop), Err(Denial::Suspended));
}

/// Content filters may hide what is gone: then it is missing for everybody.
#[test]
fn what_is_gone_behind_filters_is_missing() {
    let (mut policy, catalog) = moved("models: { S: { table: sales } }", "sales");
    policy.drift.hide_gone();
    let who = principal("a", "u", &[], json!({}));
    let question = plain_question(&policy, &catalog, &who);
    assert_eq!(decide(question, &name("sales")).map(drop), Err(Denial::Invisible(name("sales"))));
    assert!(view(question).unresolved.is_empty());
}

#[test]
fn without_a_footprint_names_are_still_looked_up() {
    let policy = load(SHOP);
    let gone = policy.drift_from(&after("sales.email"), &Footprint::default());
    assert!(gone.suspends(&name("sales")) && !gone.suspends(&name("regions")));
    assert!(gone.warnings()[0].problem.message.contains("email"), "{:?}", gone.warnings());
    assert!(policy.drift_from(&after("sales.email:integer"), &Footprint::default()).is_empty());
}
