//! A schema for each tenant on a real PostgreSQL: each sees their own, and of others neither rows nor names.

use ringfence_gateway::Code;
use ringfence_gateway::queries::QueryRequest;

use ringfence_semantic::request::Query;

use super::Shop;
use crate::sources::{query, tables};

/// The tables of document 004, somebody else's schema, and what looks like a way there.
const SCHEMA: &str = "
    CREATE TABLE company (id serial PRIMARY KEY, company_name text);
    INSERT INTO company (company_name) VALUES ('company1'), ('company2');
    CREATE SCHEMA company1; CREATE SCHEMA company2; CREATE SCHEMA company3; CREATE SCHEMA shapes;
    CREATE TABLE company1.company_data (id serial PRIMARY KEY, description text NOT NULL);
    CREATE TABLE company2.company_data (id serial PRIMARY KEY, description text NOT NULL);
    CREATE TABLE shapes.company_data (id serial PRIMARY KEY, description text NOT NULL);
    INSERT INTO company1.company_data (description) VALUES ('company 1 data');
    INSERT INTO company2.company_data (description) VALUES ('company 2 data');
    CREATE TABLE company2.only_here (id int); INSERT INTO company2.only_here VALUES (2);
    CREATE TABLE company2.company (id int, company_name text); INSERT INTO company2.company VALUES (9, 'own');
    CREATE FUNCTION company2.tell() RETURNS text LANGUAGE sql AS 'SELECT description FROM company2.company_data';
    CREATE TABLE company3.company_data (id serial PRIMARY KEY, description text NOT NULL)";

const POLICY: &str =
    "{ default: allow, tenancy: { schema: \"{attributes.company}\", shared: [public], template: shapes } }";

const ALL: &str = "SELECT * FROM company_data";

impl Shop {
    async fn companies(name: &str) -> Self {
        let shop = Self::open_with(crate::world::World::new().await, name, SCHEMA).await;
        shop.put(POLICY).await;
        shop.give("a-ann", &[], r#"{"company": "company1"}"#).await;
        shop.give("a-abe", &[], r#"{"company": "company2"}"#).await;
        shop
    }

    async fn told(&self, user: &str, statement: &str) -> String {
        match self.run(user, statement).await {
            Ok(rows) => rows,
            Err(refused) => format!("{:?} {refused}", refused.code),
        }
    }

    /// What a user is told of a schema is what they would be told if it were not there.
    async fn same_as_missing(&self, user: &str, statement: &str) {
        let hidden = self.told(user, &statement.replace('?', "company2")).await;
        let missing = self.told(user, &statement.replace('?', "company8")).await;
        assert_eq!(hidden.replace("company2", "company8"), missing, "{statement}");
        assert!(!hidden.contains("company 2 data"), "{statement}: {hidden}");
    }
}

#[tokio::test]
async fn each_tenant_has_a_schema() {
    let shop = Shop::companies("ten_own").await;
    shop.rows("a-ann", ALL, r#"[[1,"company 1 data"]]"#).await;
    shop.rows("a-abe", ALL, r#"[[1,"company 2 data"]]"#).await;
    shop.rows("a-ann", "SELECT description FROM company1.company_data", r#"[["company 1 data"]]"#).await;
    // After the tenant's own schema come the shared ones.
    shop.rows("a-ann", "SELECT count(*) FROM company", "[[2]]").await;
    shop.rows("a-abe", "SELECT company_name FROM company", r#"[["own"]]"#).await;
    shop.rows("a-abe", "SELECT count(*) FROM public.company", "[[2]]").await;
    shop.refused("a-ann", "SELECT * FROM only_here", Code::RelationUnknown).await;
    shop.rows("a-abe", "SELECT * FROM only_here", "[[2]]").await;
    assert_eq!(
        tables(&shop.world, "a-ann", &shop.key).await.unwrap(),
        ["company1.company_data", "public.company"]
    );
    // The user's schema changes with the user, from the next statement on.
    shop.give("a-ann", &[], r#"{"company": "company2"}"#).await;
    shop.rows("a-ann", ALL, r#"[[1,"company 2 data"]]"#).await;
}

#[tokio::test]
async fn who_has_no_schema_sees_nothing() {
    let shop = Shop::companies("ten_none").await;
    for value in [
        "{}", r#"{"company": null}"#, r#"{"company": ""}"#, r#"{"company": "public"}"#,
        r#"{"company": "shapes"}"#, r#"{"company": "Company1\""}"#, r#"{"company": ["company1"]}"#,
        r#"{"company": "pg_catalog"}"#,
    ] {
        shop.give("a-ann", &[], value).await;
        for statement in [ALL, "SELECT * FROM public.company", "SELECT 1"] {
            let refused = shop.refused("a-ann", statement, Code::TenantScopeRequired).await;
            assert!(refused.to_string().contains("principal.attributes.company"), "{value}: {refused}");
        }
        let refused = tables_refused(&shop).await;
        assert_eq!(refused, Code::TenantScopeRequired, "{value}");
    }
    // A schema that is not there has the template's tables, and the database says that they are missing.
    shop.give("a-ann", &[], r#"{"company": "company8"}"#).await;
    shop.refused("a-ann", ALL, Code::RelationUnknown).await;
    shop.rows("a-ann", "SELECT count(*) FROM company", "[[2]]").await;
    // One that exists and differs in the case of a letter is another one.
    shop.give("a-ann", &[], r#"{"company": "Company2"}"#).await;
    shop.refused("a-ann", ALL, Code::RelationUnknown).await;
}

async fn tables_refused(shop: &Shop) -> Code {
    let call = shop.world.call_as("a-ann").await;
    shop.world.gateway.catalog(&call, &shop.key, &[]).await.unwrap_err().code
}

/// Every way to another tenant's schema ends as it would if there were none.
const WAYS: &[&str] = &[
    "SELECT * FROM ?.company_data",
    "SELECT * FROM \"?\".\"company_data\"",
    "SELECT * FROM ?.only_here",
    "SELECT * FROM ?.no_such_table",
    "TABLE ?.company_data",
    "WITH x AS (SELECT * FROM ?.company_data) SELECT * FROM x",
    "WITH company_data AS (SELECT * FROM ?.company_data) SELECT * FROM company_data",
    "SELECT (SELECT description FROM ?.company_data LIMIT 1)",
    "SELECT * FROM company_data a JOIN ?.company_data b ON a.id = b.id",
    "SELECT * FROM company_data, LATERAL (SELECT * FROM ?.company_data) x",
    "SELECT * FROM company_data WHERE id IN (SELECT id FROM ?.company_data)",
    "SELECT * FROM company_data WHERE EXISTS (SELECT FROM ?.company_data)",
    "SELECT * FROM company_data UNION ALL SELECT * FROM ?.company_data",
    "INSERT INTO ?.company_data (description) VALUES ('x')",
    "INSERT INTO company_data (description) SELECT description FROM ?.company_data",
    "UPDATE ?.company_data SET description = 'x'",
    "UPDATE company_data SET description = x.description FROM ?.company_data x",
    "DELETE FROM ?.company_data",
    "DELETE FROM company_data USING ?.company_data x WHERE x.id = company_data.id",
    "SET search_path TO ?",
    "SET LOCAL search_path = ?, public",
    "SELECT set_config('search_path', '?', false)",
    "SELECT pg_catalog.set_config('search_path', '?', true), * FROM company_data",
    "SELECT ?.tell()",
    "SELECT * FROM ?.tell()",
    "CREATE TEMP TABLE company_data AS SELECT * FROM ?.company_data",
    "SELECT '?.company_data'::regclass",
    "SELECT to_regclass('?.company_data')",
    "SELECT has_schema_privilege('?', 'USAGE')",
    "SELECT has_table_privilege('?.company_data', 'SELECT')",
    "SELECT pg_get_viewdef('?.company_data'::regclass)",
    "SELECT query_to_xml('SELECT * FROM ?.company_data', true, true, '')",
    "SELECT schema_to_xml('?', true, true, '')",
    "SELECT current_schemas(true)",
    "SELECT nspname FROM pg_namespace WHERE nspname = '?'",
    "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = '?'",
    "SELECT table_name FROM information_schema.tables WHERE table_schema = '?'",
    "SELECT column_name FROM information_schema.columns WHERE table_schema = '?'",
    "SELECT * FROM information_schema.schemata WHERE schema_name = '?'",
    "SELECT * FROM pg_tables WHERE schemaname = '?'",
    "SELECT CAST('x' AS ?.mood)",
    "SELECT * FROM company_data ORDER BY (SELECT max(id) FROM ?.company_data)",
    "DROP SCHEMA ? CASCADE",
    "EXPLAIN SELECT * FROM ?.company_data",
    "COPY ?.company_data TO STDOUT",
];

#[tokio::test]
async fn other_tenants_are_as_if_they_were_not_there() {
    let shop = Shop::companies("ten_ways").await;
    for way in WAYS {
        shop.same_as_missing("a-ann", way).await;
    }
    // Nothing of it changed anything, for whoever asks next on the same sessions.
    for _ in 0..3 {
        shop.rows("a-ann", ALL, r#"[[1,"company 1 data"]]"#).await;
        shop.rows("a-abe", ALL, r#"[[1,"company 2 data"]]"#).await;
    }
    let names = "SELECT nspname FROM pg_namespace ORDER BY 1";
    shop.rows("a-ann", names, r#"[["company1"],["public"]]"#).await;
    shop.rows("a-abe", names, r#"[["company2"],["public"]]"#).await;
    // A schema that the request names first is one of the caller's, or none.
    for (schema, expected) in [
        ("company2", r#"[[1,"company 1 data"]]"#),
        ("company8", r#"[[1,"company 1 data"]]"#),
        ("shapes", r#"[[1,"company 1 data"]]"#),
    ] {
        let request = QueryRequest { current_schema: Some(schema.to_owned()), ..query(ALL) };
        assert_eq!(shop.ask("a-ann", request).await.as_deref(), Ok(expected), "{schema}");
    }
}

/// One statement of two tenants is two plans: neither can be found by the other.
#[tokio::test]
async fn two_tenants_share_no_plan() {
    let shop = Shop::companies("ten_plan").await;
    for _ in 0..3 {
        for id in 1..4 {
            let statement = format!("SELECT description FROM company_data WHERE id = {id}");
            let expect = |text: &str| if id == 1 { format!("[[\"{text}\"]]") } else { "[]".to_owned() };
            shop.rows("a-ann", &statement, &expect("company 1 data")).await;
            shop.rows("a-abe", &statement, &expect("company 2 data")).await;
        }
    }
    // Also not for one user who was in both, nor when the policy is put again.
    shop.give("a-ann", &[], r#"{"company": "company2"}"#).await;
    shop.rows("a-ann", "SELECT description FROM company_data WHERE id = 1", r#"[["company 2 data"]]"#).await;
    shop.put(&POLICY.replace("default: allow", "default: deny, models: { D: { table: company_data } }"))
        .await;
    shop.give("a-ann", &[], r#"{"company": "company1"}"#).await;
    shop.rows("a-ann", ALL, r#"[[1,"company 1 data"]]"#).await;
    shop.rows("a-abe", ALL, r#"[[1,"company 2 data"]]"#).await;
    shop.refused("a-abe", "SELECT * FROM only_here", Code::RelationUnknown).await;
}

/// Writes, masks and row policies are written once, for the tables of whoever asks.
#[tokio::test]
async fn one_policy_serves_every_tenant() {
    let shop = Shop::companies("ten_rules").await;
    let policy = r#"
tenancy: { schema: "{attributes.company}", shared: [public], template: shapes }
models:
  Data:
    table: company_data
    row_policies: [ { name: even, condition: "id <> 2 AND EXISTS (SELECT 1 FROM company_data x WHERE x.id = id)" } ]
    fields: { description: { action: mask, mask_pattern: "{first2}***", writable: true } }
    write_policy: { create: allow, update: allow }
"#;
    shop.put(policy).await;
    shop.run("a-ann", "INSERT INTO company_data (id, description) VALUES (7, 'of one')").await.unwrap();
    shop.rows("a-ann", "SELECT * FROM company_data ORDER BY id", r#"[[1,"co***"],[7,"of***"]]"#).await;
    shop.rows("a-abe", ALL, r#"[[1,"co***"]]"#).await;
    shop.refused("a-abe", "SELECT * FROM public.company", Code::RelationUnknown).await;
    // Models name the tables of whoever asks.
    let call = shop.world.call_as("a-abe").await;
    let asked = Query { total_count: true, ..Query::default() };
    let page = shop.world.gateway.query_model(&call, &shop.key, "Data", &asked).await.unwrap();
    assert_eq!(page.total_count, Some(1));
    assert_eq!(serde_json::to_value(&page.rows).unwrap()[0]["description"], "co***");
}
