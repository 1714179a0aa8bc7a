//! What system relations tell: the view alone, whatever the database holds.

use ringfence_guard::{Parameter, guard};
use ringfence_policy::{Catalog, ConnectionKind, Policy, Question, View, view};

use super::{KIND, ann, read, view_in, view_of};

/// The document of a system relation, as it is bound.
fn told(statement: &str, kind: ConnectionKind, view: &View) -> serde_json::Value {
    let plan = guard(statement, kind, view).expect("admitted");
    assert!(plan.is_large());
    let query = plan.bind(&ann(), &[]).expect("bound");
    let [Parameter::Text(document)] = query.parameters() else { panic!("{:?}", query.parameters()) };
    serde_json::from_str(document).expect("JSON")
}

/// Of every database with an `information_schema`.
const INFORMATION: &[&str] = &[
    "information_schema.schemata",
    "information_schema.tables",
    "information_schema.columns",
    "information_schema.views",
    "information_schema.table_constraints",
    "information_schema.key_column_usage",
    "information_schema.referential_constraints",
];

const POSTGRES: &[&str] = &[
    "information_schema.constraint_column_usage",
    "pg_namespace",
    "pg_class",
    "pg_attribute",
    "pg_type",
    "pg_index",
    "pg_constraint",
    "pg_description",
    "pg_attrdef",
    "pg_inherits",
    "pg_tables",
    "pg_views",
];

#[test]
fn system_relations_tell_the_view_alone() {
    let kinds = [
        (ConnectionKind::Postgresql, [INFORMATION, POSTGRES]),
        (ConnectionKind::Sqlite, [&["sqlite_master", "sqlite_schema", "main.sqlite_master"], &[]]),
        (ConnectionKind::Mysql, [INFORMATION, &[]]),
    ];
    for (kind, relations) in kinds {
        let view = view_in(kind, &ann());
        for relation in relations.concat() {
            let document = told(&format!("SELECT * FROM {relation}"), kind, &view).to_string();
            for hidden in ["api_tokens", "token", "password_hash"] {
                assert!(!document.contains(hidden), "{relation}: {document}");
            }
        }
    }
}

/// INVARIANT: two worlds that differ in what is hidden tell the same, numbers and places included.
#[test]
fn system_relations_are_the_same_in_two_worlds() {
    let world = |catalog: &str| {
        let catalog: Catalog = serde_json::from_str(catalog).expect("a catalog");
        let policy = Policy::load("policy.yaml", &read("policy.yaml"), KIND).expect("a policy");
        let who = ann();
        view(Question {
            policy: &policy,
            catalog: &catalog,
            unfiltered: &catalog,
            rules: &[],
            principal: &who,
        })
    };
    let text = read("catalog.json");
    let without = text
        .replace(",\n        { \"name\": \"api_tokens\", \"kind\": \"table\", \"columns\": [{ \"name\": \"token\", \"data_type\": \"text\" }] }", "")
        .replace(",\n            { \"name\": \"password_hash\", \"data_type\": \"text\", \"nullable\": true }", "");
    let more = text.replace(
        "\"relations\": [",
        "\"relations\": [{ \"name\": \"aaa_hidden\", \"kind\": \"table\", \"columns\": [{ \"name\": \"a\", \"data_type\": \"text\" }] },",
    ).replace("{ \"name\": \"name\", \"data_type\": \"text\" }, { \"name\": \"email\"", "{ \"name\": \"password_hash\", \"data_type\": \"text\" }, { \"name\": \"name\", \"data_type\": \"text\" }, { \"name\": \"email\"");
    // A key of which a column is hidden is no key: neither from nor to it.
    let key = |from: &str, relation: &str, to: &str| {
        format!(
            "{{ \"kind\": \"foreign\", \"columns\": [\"{from}\"], \"target_schema\": \"public\", \"target_relation\": \"{relation}\", \"target_columns\": [\"{to}\"] }}"
        )
    };
    let primary = "{ \"kind\": \"primary\", \"columns\": [\"id\"] }";
    let (from, to) = (key("password_hash", "countries", "code"), key("name", "users", "password_hash"));
    let more = more.replacen(primary, &format!("{primary}, {from}, {to}"), 1);
    assert!(
        !without.contains("api_tokens")
            && !without.contains("password_hash")
            && more.contains("aaa_hidden")
            && more.contains(&from)
    );
    for relation in [INFORMATION, POSTGRES].concat() {
        let statement = format!("SELECT * FROM {relation}");
        let here = told(&statement, KIND, &world(&text));
        assert_eq!(here, told(&statement, KIND, &world(&without)), "{relation}");
        assert_eq!(here, told(&statement, KIND, &world(&more)), "{relation}");
    }
}

#[test]
fn system_relations_describe_what_is_there() {
    let view = view_of(&ann());
    let rows = |relation: &str, keys: &[&str]| -> Vec<String> {
        let document = told(&format!("SELECT * FROM {relation}"), KIND, &view);
        let row = |row: &serde_json::Value| {
            keys.iter().map(|key| row[key].to_string().replace('"', "")).collect::<Vec<_>>().join(" ")
        };
        document.as_array().expect("rows").iter().map(row).collect()
    };
    assert_eq!(rows("information_schema.schemata", &["schema_name"]), ["public"]);
    assert_eq!(
        rows("information_schema.tables", &["table_schema", "table_name", "table_type"]),
        ["countries", "order_lines", "orders", "users"].map(|name| format!("public {name} BASE TABLE"))
    );
    let columns = rows(
        "information_schema.columns",
        &["table_name", "column_name", "ordinal_position", "is_nullable", "data_type", "udt_name"],
    );
    // Masked columns are there, with their type.
    assert!(columns.contains(&"users email 4 NO text text".to_owned()), "{columns:?}");
    assert!(columns.contains(&"orders note 6 YES text text".to_owned()), "{columns:?}");
    assert!(
        columns.contains(&"orders status 4 NO USER-DEFINED public.order_status".to_owned()),
        "{columns:?}"
    );
    assert!(columns.contains(&"users id 1 NO integer int4".to_owned()), "{columns:?}");
    assert_eq!(
        rows(
            "information_schema.key_column_usage",
            &["constraint_name", "column_name", "ordinal_position", "position_in_unique_constraint"]
        ),
        [
            "order_lines_pkey order_id 1 null",
            "order_lines_pkey line_no 2 null",
            "order_lines_order_id_fkey order_id 1 1",
            "orders_pkey id 1 null",
            "orders_user_id_fkey user_id 1 1",
            "users_pkey id 1 null",
        ]
    );
    assert_eq!(
        rows("information_schema.constraint_column_usage", &["constraint_name", "table_name", "column_name"])
            [2],
        "order_lines_order_id_fkey orders id"
    );
    let classes = rows("pg_class", &["oid", "relname", "relkind", "relnatts", "reltuples"]);
    assert_eq!(classes[3], "100003 users r 4 null");
    let keys = rows("pg_constraint", &["conname", "contype", "conrelid", "confrelid", "conkey", "confkey"]);
    assert!(keys.contains(&"orders_user_id_fkey f 100002 100003 [3] [1]".to_owned()), "{keys:?}");
}
