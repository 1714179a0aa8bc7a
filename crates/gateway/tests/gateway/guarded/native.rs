//! Row-level security, compiled from a policy: the database's own rows are those of the guard, for every principal and table of
//! the guard corpus.

use std::collections::BTreeSet;
use std::path::Path;

use ringfence_gateway::policies::{Compilation, NewPolicy, PutPolicy};
use ringfence_policy::{CompiledRls, UnsaidCode};
use ringfence_store::policies::Expected;
use ringfence_testkit::PostgresClient;
use serde_json::{Value, json};

use super::{POLICY, Shop};
use crate::sources::query;
use crate::world::World;

const CORPUS: &str = include_str!("../../../../../cases/guard-corpus/policy.yaml");

/// A principal of the corpus: id, data roles, attributes.
const PRINCIPALS: [(&str, &str, &str); 4] = [
    ("a-ann", "admin", r#"{"tenant_id": 1, "user_id": 1, "tenant_ids": [1]}"#),
    ("a-abe", "member", r#"{"tenant_id": 1, "user_id": 2, "tenant_ids": [1]}"#),
    ("a-ann", "analyst", r#"{"tenant_id": 1, "user_id": 3, "tenant_ids": [1]}"#),
    ("a-abe", "group_admin", r#"{"tenant_id": 1, "user_id": 4, "tenant_ids": [1, 4]}"#),
];

/// Tables of the corpus and the columns that tell their rows apart.
const TABLES: [(&str, &str); 16] = [
    ("currencies", "code"),
    ("tenants", "id"),
    ("tenant_closure", "ancestor_id, descendant_id"),
    ("users", "id"),
    ("memberships", "tenant_id, user_id, team"),
    ("products", "id"),
    ("orders", "id"),
    ("order_items", "order_id, line_no"),
    ("shipments", "id"),
    ("documents", "id"),
    ("document_shares", "document_id, user_id"),
    ("events", "id"),
    ("invoices", "tenant_id, invoice_no"),
    ("coupons", "code"),
    ("\"Order Notes\"", "id"),
    ("audit_log", "id"),
];

impl Shop {
    async fn compile(&self, document: Option<&str>, withhold: bool) -> CompiledRls {
        let call = self.world.call_as("a-boss").await;
        let compiled =
            self.world.gateway.compile_policy(&call, &self.key, document, "rls_reader", withhold).await;
        match compiled.unwrap() {
            Compilation::Compiled(compiled) => compiled,
            Compilation::Invalid(problems) => panic!("{problems:?}"),
        }
    }

    /// A client of the database that is the role which reads; what it may not do, it may not do.
    async fn reader(&self) -> PostgresClient {
        let server = ringfence_testkit::Postgres::shared().await;
        let client = server.client(self.spec.database.as_deref().unwrap()).await;
        client.batch_execute("SET ROLE rls_reader").await.unwrap();
        client
    }

    async fn as_superuser(&self, sql: &str) {
        let server = ringfence_testkit::Postgres::shared().await;
        let client = server.client(self.spec.database.as_deref().unwrap()).await;
        let role = "DO $$ BEGIN CREATE ROLE rls_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";
        client.batch_execute(role).await.unwrap();
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
    }

    /// What the guard shows of the columns, each row as JSON; none where the relation does not exist for the principal.
    async fn guarded_rows(&self, user: &str, table: &str, columns: &str) -> BTreeSet<String> {
        let call = self.world.call_as(user).await;
        let statement = format!("SELECT jsonb_build_array({columns}) FROM {table}");
        let ran = self.world.gateway.run_query(&call, &self.key, query(&statement)).await;
        match ran {
            Ok(outcome) => {
                assert_eq!(outcome.result.more_rows, 0);
                let rows: Value =
                    serde_json::from_str(&serde_json::to_string(&outcome.result.rows).unwrap()).unwrap();
                rows.as_array().unwrap().iter().map(|row| row[0].to_string()).collect()
            }
            Err(refused) if refused.code == ringfence_gateway::Code::RelationUnknown => BTreeSet::new(),
            Err(refused) => panic!("{user} {table}: {refused}"),
        }
    }
}

async fn become_principal(client: &PostgresClient, roles: &[&str], attributes: &str) {
    let settings = [
        ("ringfence.org_id", "a".to_owned()),
        ("ringfence.tenant_id", "a-t1".to_owned()),
        ("ringfence.user_id", "someone".to_owned()),
        ("ringfence.roles", json!(roles).to_string()),
        ("ringfence.attributes", attributes.to_owned()),
    ];
    for (name, value) in settings {
        client.query_one("SELECT set_config($1, $2, false)", &[&name, &value]).await.unwrap();
    }
}

async fn rows_of(client: &PostgresClient, table: &str, columns: &str) -> BTreeSet<String> {
    let statement = format!("SELECT jsonb_build_array({columns})::text FROM {table}");
    let rows = client.query(&statement, &[]).await.unwrap_or_else(|error| panic!("{table}: {error:?}"));
    let json = |text: String| serde_json::from_str::<Value>(&text).unwrap().to_string();
    rows.iter().map(|row| json(row.get(0))).collect()
}

#[tokio::test]
async fn row_level_security_agrees_with_the_guard_on_the_corpus() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/guard-corpus/fixture.pg.sql");
    let fixture = std::fs::read_to_string(fixture).unwrap();
    let shop = Shop::open_with(World::new().await, "rls_corpus", &fixture).await;
    let boss = shop.world.call_as("a-boss").await;
    let new = NewPolicy { document: CORPUS.to_owned(), comment: None, expected: Expected::Any };
    let put = shop.world.gateway.put_policy(&boss, &shop.key, new).await.unwrap();
    assert!(matches!(put, PutPolicy::Stored { .. }), "{put:?}");

    let mut expected = Vec::new();
    for (user, role, attributes) in PRINCIPALS {
        shop.give(user, &[role], attributes).await;
        for (table, columns) in TABLES {
            expected.push((role, table, shop.guarded_rows(user, table, columns).await));
        }
    }
    assert!(expected.iter().filter(|(_, _, rows)| !rows.is_empty()).count() > 50, "{expected:?}");
    assert!(
        expected
            .iter()
            .any(|(role, table, rows)| (*role, *table) == ("member", "invoices") && rows.is_empty())
    );

    // What it can't say is refused, each kind by its code.
    let refused = shop.compile(None, false).await;
    assert!(refused.sql.is_empty());
    let codes: BTreeSet<UnsaidCode> = refused.refused.iter().map(|unsaid| unsaid.code).collect();
    let all = [UnsaidCode::Mask, UnsaidCode::ColumnByRole, UnsaidCode::View, UnsaidCode::Writes];
    assert_eq!(codes, BTreeSet::from(all));
    let compiled = shop.compile(None, true).await;
    assert!(compiled.refused.is_empty() && compiled.withheld.len() == refused.refused.len());
    shop.as_superuser(&compiled.sql).await;
    // Once more: it replaces itself.
    shop.as_superuser(&compiled.sql).await;

    let reader = shop.reader().await;
    let mut wrong = Vec::new();
    for ((_, role, attributes), rows) in PRINCIPALS.iter().zip(expected.chunks(TABLES.len())) {
        become_principal(&reader, &["api-user", role], attributes).await;
        for ((table, columns), (_, _, expected)) in TABLES.iter().zip(rows) {
            let found = rows_of(&reader, table, columns).await;
            if found != *expected {
                wrong.push(format!("{role} {table}: {} rows, the guard has {}", found.len(), expected.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Columns that are masked or hidden, and tables of nobody, are not granted; nobody in particular sees nothing.
    for denied in [
        "SELECT password_hash FROM users",
        "SELECT api_key FROM tenants",
        "SELECT ssn FROM users",
        "SELECT * FROM app_settings",
        "DELETE FROM orders",
        "SELECT * FROM order_totals",
    ] {
        assert!(reader.query(denied, &[]).await.is_err(), "{denied}");
    }
    become_principal(&reader, &[], "{}").await;
    assert!(rows_of(&reader, "orders", "id").await.is_empty());
}

/// What the corpus does not have: bypasses, extensions, restrictions of roles over hierarchies, sub-queries.
#[tokio::test]
async fn row_level_security_knows_every_clause_of_the_law() {
    let shop = Shop::open("rls_clauses").await;
    let policy = r#"
models:
  Order:
    table: public.orders
    scoping: { tenant_id: principal.tenant_id }
    row_policies:
      - { name: all, roles: [ROLE_ALL], condition: "true", bypass: true }
      - { name: drafts, extends: true, condition: "status = 'draft' AND 'ROLE_DRAFTS' IN principal.roles" }
      - { name: known, except_roles: [ROLE_ODD], condition: "id IN (SELECT r.id FROM regions r WHERE r.region <> 'mars') OR id > 2" }
    other_fields: allow
    fields: { note: deny }
  Region: { table: public.regions, roles: [ROLE_REGIONS, api-user], except_roles: [ROLE_NONE] }
  Secret: { table: public.secrets }
joins:
  - { from: secrets.id, to: orders.id, inherit: true }
restrictions:
  ROLE_NEW: [ { table: orders, column: status, in: [new] } ]
  ROLE_OLD: [ { table: orders, column: status, condition: "status <> 'new'" } ]
  ROLE_LOW: [ { table: orders, column: id, condition: "id < 3" } ]
"#;
    shop.put(policy).await;
    let cases: [&[&str]; 11] = [
        &[],
        &["ROLE_ALL"],
        &["ROLE_DRAFTS"],
        &["ROLE_ODD"],
        &["ROLE_NEW"],
        &["ROLE_OLD"],
        &["ROLE_NEW", "ROLE_OLD"],
        &["ROLE_ALL", "ROLE_LOW"],
        &["ROLE_LOW", "ROLE_OLD"],
        &["ROLE_NONE"],
        &["ROLE_ALL", "ROLE_ODD"],
    ];
    let tables = ["orders", "regions", "secrets"];
    let mut expected = Vec::new();
    for roles in cases {
        shop.give("a-ann", roles, "{}").await;
        for table in tables {
            expected.push(shop.guarded_rows("a-ann", table, "id").await);
        }
    }
    let compiled = shop.compile(Some(policy), false).await;
    assert!(compiled.refused.is_empty(), "{:?}", compiled.refused);
    shop.as_superuser(&compiled.sql).await;
    let reader = shop.reader().await;
    for (roles, expected) in cases.iter().zip(expected.chunks(tables.len())) {
        become_principal(&reader, &[&["api-user"], *roles].concat(), "{}").await;
        for (table, expected) in tables.iter().zip(expected) {
            assert_eq!(rows_of(&reader, table, "id").await, *expected, "{roles:?} {table}");
        }
    }
    // The shop's own policy masks.
    let masked = shop.compile(Some(POLICY), false).await;
    let codes: Vec<_> = masked.refused.iter().map(|unsaid| unsaid.code.name()).collect();
    assert!(codes.contains(&"RLS_MASK") && codes.contains(&"RLS_WRITES"), "{codes:?}");
    assert!(masked.refused.iter().all(|unsaid| unsaid.problem.line > 0), "{:?}", masked.refused);
}
