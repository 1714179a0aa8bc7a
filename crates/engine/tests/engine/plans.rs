//! What the guard prints is planned as a predicate by hand would be: the same index, whether literals were lifted or not.

use ringfence_guard::{Parameter, guard_lifted, scan};
use ringfence_policy::{
    Catalog, ConnectionKind, OrgId, Permissions, Policy, Principal, Question, TenantId, UserId, view,
};
use serde_json::{Value, json};
use tokio_postgres::SimpleQueryMessage;

use crate::world::World;

const KIND: ConnectionKind = ConnectionKind::Postgresql;

const TABLES: [&str; 4] = [
    "CREATE TABLE orders (id bigint PRIMARY KEY, tenant_id int NOT NULL, status text NOT NULL, created_at timestamptz NOT NULL)",
    "INSERT INTO orders SELECT n, n % 500, 'open', timestamptz '2025-01-01' + n * interval '1 s' FROM generate_series(1, 50000) n",
    "CREATE INDEX by_id ON orders (tenant_id, id)",
    "CREATE INDEX by_time ON orders (tenant_id, created_at)",
];

fn catalog() -> Catalog {
    let columns = [
        ("id", "bigint"),
        ("tenant_id", "integer"),
        ("status", "text"),
        ("created_at", "timestamp with time zone"),
    ];
    let columns = columns.map(|(name, data_type)| json!({ "name": name, "data_type": data_type }));
    let orders = json!({ "name": "orders", "kind": "table", "columns": columns });
    let catalog = json!({ "database": "shop", "schemas": [{ "name": "public", "relations": [orders] }] });
    serde_json::from_value(catalog).expect("a catalog")
}

fn principal(tenants: &[i64]) -> Principal {
    Principal {
        org: OrgId::new("acme").expect("an id"),
        tenant: TenantId::new("one").expect("an id"),
        user: UserId::new("ann").expect("an id"),
        name: "Ann".to_owned(),
        roles: Vec::new(),
        data_roles: std::sync::Arc::default(),
        permissions: Permissions::default(),
        attributes: std::sync::Arc::new([("tenants".to_owned(), json!(tenants))].into_iter().collect()),
        acted_by: None,
        application: None,
        agent: None,
        standing: None,
    }
}

/// The guard's text and its values as EXECUTE takes them.
fn guarded(sql: &str, tenants: &[i64]) -> (String, String) {
    let policy =
        "models:\n  Order: { table: public.orders, scoping: { tenant_id: principal.attributes.tenants } }\n";
    let policy = Policy::load("policy.yaml", policy, KIND).expect("a policy");
    let (catalog, principal) = (catalog(), principal(tenants));
    let seen = view(Question {
        policy: &policy,
        catalog: &catalog,
        unfiltered: &catalog,
        rules: &[],
        principal: &principal,
    });
    let scanned = scan(sql, KIND).expect("literals");
    let plan = guard_lifted(&scanned, KIND, &seen).expect("admitted");
    let query = plan.bind_lifted(&principal, &[], &scanned.values(plan.lifted())).expect("bound");
    let values: Vec<String> = query.parameters().iter().map(|value| format!("'{}'", text(value))).collect();
    (query.sql().to_owned(), values.join(", "))
}

fn text(value: &Parameter) -> String {
    match value {
        Parameter::Text(text) => text.clone(),
        Parameter::Integer(number) => number.to_string(),
        Parameter::List(items) => format!("{{{}}}", items.iter().map(text).collect::<Vec<_>>().join(",")),
        other => panic!("{other:?}"),
    }
}

/// The index that the plan reads, if it reads one.
fn index_of(plan: &Value) -> Option<String> {
    let own = plan.get("Index Name").and_then(Value::as_str).map(str::to_owned);
    own.or_else(|| plan.get("Plans")?.as_array()?.iter().find_map(index_of))
}

#[tokio::test]
async fn a_fence_uses_the_index_that_a_predicate_by_hand_uses() {
    let world = World::with_places(1).await;
    for sql in TABLES {
        world.run(sql).await.expect("set up");
    }
    let client = world.server.client("shop").await;
    client.batch_execute("ANALYZE orders").await.expect("analyzed");
    let explain = async |statement: String| {
        let answer = client.simple_query(&statement).await.expect("planned");
        let text = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let plan: Value = serde_json::from_str(text.expect("a plan")).expect("JSON");
        index_of(&plan[0]["Plan"])
    };
    for (sql, by_hand) in [
        (
            "SELECT status FROM orders WHERE id = 4007",
            "SELECT status FROM orders WHERE id = 4007 AND tenant_id = 7",
        ),
        (
            "SELECT id FROM orders WHERE created_at > '2024-01-01' ORDER BY created_at DESC LIMIT 20",
            "SELECT id FROM orders WHERE tenant_id = 7 AND created_at > '2024-01-01' ORDER BY created_at DESC LIMIT 20",
        ),
        (
            "SELECT status, count(*) FROM orders WHERE status <> 'x' GROUP BY status",
            "SELECT status, count(*) FROM orders WHERE tenant_id = 7 AND status <> 'x' GROUP BY status",
        ),
    ] {
        let wanted = explain(format!("EXPLAIN (FORMAT JSON) {by_hand}")).await;
        assert!(wanted.is_some(), "{by_hand}");
        let (text, values) = guarded(sql, &[7]);
        client.batch_execute(&format!("PREPARE fenced AS {text}")).await.expect("prepared");
        // With the values of this call, and with any.
        for mode in ["force_custom_plan", "force_generic_plan"] {
            client.batch_execute(&format!("SET plan_cache_mode = {mode}")).await.expect("set");
            let found = explain(format!("EXPLAIN (FORMAT JSON) EXECUTE fenced ({values})")).await;
            assert_eq!(found, wanted, "{mode}: {text}");
        }
        client.batch_execute("DEALLOCATE fenced").await.expect("forgotten");
    }
}

#[test]
fn one_value_of_a_scope_is_compared_and_many_are_one_array() {
    let ask = |tenants: &[i64]| guarded("SELECT id FROM orders WHERE id = 5", tenants);
    let (one, values) = ask(&[7]);
    assert!(one.contains(r#""tenant_id" = $1)"#), "{one}");
    assert_eq!(values, "'7', '5'");
    let (few, values) = ask(&[7, 8, 9]);
    assert!(few.contains(r#""tenant_id" IN ($1, $2, $3))"#), "{few}");
    assert_eq!(values, "'7', '8', '9', '5'");
    let (many, values) = ask(&(1..=100).collect::<Vec<_>>());
    assert!(many.contains(r#""tenant_id" = ANY ($1))"#), "{many}");
    assert!(values.starts_with("'{1,2,3,") && values.ends_with(",100}', '5'"), "{values}");
}
