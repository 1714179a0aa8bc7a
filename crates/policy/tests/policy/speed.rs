//! A view of a large connection is made at once.

use std::time::{Duration, Instant};

use ringfence_policy::{Catalog, Column, Relation, Schema, view};
use serde_json::json;

use crate::world::{load, plain_question, principal};

/// 1,000 relations of 20 columns. The bound is for busy machines; `SHOW_SPEED=1` fails with the figure.
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
    let model = |number: usize| {
        format!(
            "  M{number}: {{ table: t{number:04}, scoping: {{ column_0: principal.tenant_id }}, fields: {{ column_3: {{ action: mask, mask_pattern: email }} }},
    row_policies: [ {{ name: n, condition: \"column_1 = principal.user_id OR 'x' IN principal.roles\" }} ] }}\n"
        )
    };
    let models: Vec<String> = (0..1_000).map(model).collect();
    let models = models.concat();
    let policy = load(&format!("global: {{ deny: ['*secret*'], mask: [phone] }}\nmodels:\n{models}"));
    let who = principal("a", "u", &["member"], json!({}));
    let question = plain_question(&policy, &catalog, &who);
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        let start = Instant::now();
        assert_eq!(view(question).relations.len(), 1_000);
        fastest = fastest.min(start.elapsed());
    }
    let bound = if cfg!(debug_assertions) { Duration::from_secs(5) } else { Duration::from_millis(100) };
    assert!(fastest < bound, "{fastest:?}");
    assert!(std::env::var_os("SHOW_SPEED").is_none(), "{fastest:?}");
}
