//! The guard corpus's policy in the document's words: everything that it says can be said.

use ringfence_policy::{
    Catalog, Column, ConnectionKind, Denial, Entitlement, Permit, Policy, Principal, Relation, RelationName,
    Schema, decide,
};
use serde_json::json;

use crate::world::{plain_question, principal};

const TABLES: [(&str, &str); 9] = [
    ("currencies", "code name rate"),
    ("users", "id tenant_id email full_name ssn password_hash salary profile avatar"),
    ("products", "id tenant_id cost_price internal_notes is_public"),
    ("orders", "id tenant_id user_id shipping_address"),
    ("order_items", "order_id product_id"),
    ("shipments", "id order_id"),
    ("documents", "id tenant_id owner_id state"),
    ("invoices", "tenant_id invoice_no"),
    ("Order Notes", "id,tenant_id,Order Id"),
];

fn asked(role: &str, table: &str) -> Result<Entitlement, Denial> {
    let text = include_str!("documents/corpus.yaml");
    let policy = Policy::load("corpus.yaml", text, ConnectionKind::Postgresql)
        .unwrap_or_else(|invalid| panic!("{invalid}"));
    Policy::load("corpus.yaml", text, ConnectionKind::Sqlite).unwrap_or_else(|invalid| panic!("{invalid}"));
    let relations = TABLES.map(|(name, columns)| Relation {
        name: name.to_owned(),
        columns: columns
            .split(if columns.contains(',') { ',' } else { ' ' })
            .map(|name| Column { name: name.to_owned(), data_type: "text".to_owned(), ..Column::default() })
            .collect(),
        ..Relation::default()
    });
    let schemas = vec![Schema { name: "public".to_owned(), relations: relations.to_vec() }];
    let catalog = Catalog { database: "db".to_owned(), schemas };
    let who: Principal = principal("1", "2", &[role], json!({"tenant_ids": [1]}));
    let question = plain_question(&policy, &catalog, &who);
    decide(question, &RelationName::new("public", table))
}

#[test]
fn columns_are_as_the_corpus_says() {
    let masks = |role: &str, table: &str| {
        let entitlement = asked(role, table).unwrap();
        let masked: Vec<String> = entitlement
            .columns
            .iter()
            .filter(|column| column.mask.is_some())
            .map(|column| column.name.clone())
            .collect();
        (entitlement.hidden.join(" "), masked.join(" "))
    };
    let strings = |hidden: &str, masked: &str| (hidden.to_owned(), masked.to_owned());
    assert_eq!(masks("admin", "users"), strings("password_hash", "ssn"));
    assert_eq!(masks("member", "users"), strings("password_hash", "email ssn salary profile"));
    assert_eq!(masks("analyst", "users"), strings("ssn password_hash avatar", "email salary profile"));
    assert_eq!(masks("member", "products"), strings("cost_price", "internal_notes"));
    assert_eq!(masks("analyst", "products"), strings("internal_notes", "cost_price"));
    assert_eq!(masks("analyst", "orders"), strings("", "shipping_address"));
}

#[test]
fn writes_and_gates_are_as_the_corpus_says() {
    let permits = |role: &str, table: &str| {
        let writes = asked(role, table).unwrap().writes;
        [writes.create, writes.update, writes.delete].map(|permit| permit == Permit::Allow)
    };
    for (role, table, expected) in [
        ("admin", "users", [true, true, true]),
        ("member", "users", [false, true, false]),
        ("analyst", "users", [false, false, false]),
        ("member", "orders", [true, true, false]),
        ("member", "Order Notes", [true, false, false]),
        ("group_admin", "shipments", [true, true, true]),
        ("member", "shipments", [false, false, false]),
        ("admin", "currencies", [false, false, false]),
    ] {
        assert_eq!(permits(role, table), expected, "{role} {table}");
    }
    assert!(matches!(asked("member", "invoices"), Err(Denial::Invisible(_))));
    asked("analyst", "invoices").unwrap();
    let member = format!("{:?}", asked("member", "Order Notes").unwrap().rows);
    let admin = format!("{:?}", asked("admin", "Order Notes").unwrap().rows);
    assert!(member.contains("Exists") && !admin.contains("Exists"));
    assert!(
        asked("member", "products")
            .unwrap()
            .columns
            .iter()
            .find(|column| column.name == "internal_notes")
            .unwrap()
            .writable
    );
}
