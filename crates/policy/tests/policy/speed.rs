//! A view of a large connection is made at once.

use std::time::{Duration, Instant};

use ringfence_policy::{Catalog, Column, Question, Relation, Schema, view};
use serde_json::json;

use crate::world::{load, principal};

/// 1,000 relations of 20 columns. The bound is for builds without optimisation on busy machines; released, it takes
/// a few milliseconds.
#[test]
fn a_view_of_a_thousand_relations() {
    let column = |number: usize| Column {
        name: format!("column_{number}"),
        data_type: "text".to_owned(),
        ..Column::default()
    };
    let relation = |number: usize| Relation {
        name: format!("t{number:04}"),
        columns: (0..20).map(column).collect(),
        ..Relation::default()
    };
    let relations = (0..1_000).map(relation).collect();
    let catalog =
        Catalog { database: "db".to_owned(), schemas: vec![Schema { name: "public".to_owned(), relations }] };
    let models: String = (0..1_000)
        .map(|number| format!("  M{number}: {{ table: t{number:04}, scoping: {{ column_0: principal.tenant_id }}, row_policies: [ {{ name: n, condition: \"column_1 = principal.user_id OR 'x' IN principal.roles\" }} ], fields: {{ column_3: {{ action: mask, mask_pattern: email }} }} }}\n"))
        .collect();
    let policy = load(&format!("global: {{ deny: ['*secret*'], mask: [phone] }}\nmodels:\n{models}"));
    let who = principal("a", "u", &["member"], json!({}));
    let question =
        Question { policy: &policy, catalog: &catalog, unfiltered: &catalog, rules: &[], principal: &who };
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        let start = Instant::now();
        assert_eq!(view(question).relations.len(), 1_000);
        fastest = fastest.min(start.elapsed());
    }
    assert!(fastest < Duration::from_millis(500), "{fastest:?}");
    if std::env::var_os("SHOW_SPEED").is_some() {
        panic!("{fastest:?}");
    }
}
