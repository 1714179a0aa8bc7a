//! Connections whose queries stay within the content filters.

use ringfence_gateway::Code;
use ringfence_gateway::queries::QueryRequest;
use ringfence_policy::ConnectionSpec;

use crate::sources::{confined, database, file, indexed, password, query, run};
use crate::world::{World, code};

const FILTERS: &str = r#"[{"schema_name":"public"},{"schema_name":"main"},
    {"type":"exclusion","table_name":"hidden"},{"type":"exclusion","table_name":"partly","column_name":"secret"}]"#;

const SCHEMA: &str = "CREATE TABLE open (a INTEGER, b TEXT); INSERT INTO open VALUES (1, 'x');
    CREATE TABLE hidden (a INTEGER, secret TEXT); INSERT INTO hidden VALUES (7, 'seven');
    CREATE TABLE partly (a INTEGER, secret TEXT); INSERT INTO partly VALUES (8, 'eight');
    CREATE VIEW window_view AS SELECT a FROM hidden;
    CREATE VIEW open_view AS SELECT a FROM open";

async fn both(world: &World) -> Vec<(String, ConnectionSpec)> {
    let on_file = confined(&file(world, "1.db", SCHEMA), FILTERS);
    let schema = format!(
        "{SCHEMA}; CREATE SCHEMA other; CREATE TABLE other.open (a int, z int);
         CREATE FUNCTION tell() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.hidden'"
    );
    let on_server = confined(&database("confined", "confined_owner", &schema).await, FILTERS);
    let first = indexed(world, "a-ann", &on_file, None).await;
    let second = indexed(world, "a-ann", &on_server, Some(&password("confined_owner"))).await;
    vec![(first, on_file), (second, on_server)]
}

#[tokio::test]
async fn what_is_shown_completely_can_be_read() {
    let world = World::new().await;
    for (key, spec) in both(&world).await {
        for (statement, expected) in [
            ("SELECT 1", "[[1]]"),
            ("SELECT b, count(*) FROM OPEN GROUP BY b", r#"[["x",1]]"#),
            ("WITH hidden AS (SELECT a FROM open) SELECT * FROM hidden", "[[1]]"),
            ("SELECT o.a FROM open AS o JOIN (SELECT a FROM open) p ON o.a = p.a", "[[1]]"),
            ("SELECT a FROM open WHERE a IN (SELECT a FROM open)", "[[1]]"),
        ] {
            let qualified = if spec.db_type == "postgresql" {
                // Another schema hides a relation of that name: the name alone could mean either.
                statement.replace("open", "public.open").replace("OPEN", "PUBLIC.OPEN")
            } else {
                statement.to_owned()
            };
            assert_eq!(run(&world, "a-ann", &key, &qualified).await.as_deref(), Ok(expected), "{qualified}");
        }
        let view = if spec.db_type == "postgresql" { "public.open_view" } else { "main.open_view" };
        assert_eq!(run(&world, "a-ann", &key, &format!("SELECT * FROM {view}")).await.unwrap(), "[[1]]");
    }
}

#[tokio::test]
async fn hidden_and_missing_are_refused_alike() {
    let world = World::new().await;
    for (key, _) in both(&world).await {
        let missing = run(&world, "a-ann", &key, "SELECT * FROM missing").await.unwrap_err();
        assert_eq!(missing.code, Code::NotPermitted);
        for statement in [
            "SELECT * FROM hidden",
            "SELECT * FROM hidden WHERE 1 = 0",
            "SELECT nothing FROM hidden",
            "SELECT nothing FROM missing",
            "SELECT * FROM partly",
            "SELECT a FROM partly",
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM hidden)",
            "SELECT (SELECT max(a) FROM hidden)",
            "WITH x AS (SELECT * FROM hidden) SELECT 1",
            "SELECT * FROM window_view",
            "SELECT * FROM open, hidden",
            "SELECT * FROM public.hidden",
            "SELECT * FROM main.hidden",
            "SELECT * FROM \"hidden\"",
            "SELECT * FROM Hidden",
            "SELECT * FROM (open JOIN hidden ON 1 = 1)",
            "SELECT * FROM other.open",
            "SELECT 1 UNION SELECT a FROM hidden",
            "VALUES ((SELECT max(a) FROM hidden))",
            "SELECT * FROM sqlite_master",
            "SELECT * FROM pragma_table_list",
            "SELECT * FROM pg_catalog.pg_class",
            "SELECT * FROM pg_class",
            "SELECT * FROM information_schema.tables",
            "SELECT 'hidden'::regclass",
            "SELECT (NULL::hidden).secret",
            "SELECT CAST('hidden' AS regclass)",
            "SELECT * FROM 'hidden'",
            "SELECT * FROM [hidden]",
            "SELECT * FROM `hidden`",
        ] {
            let refused = run(&world, "a-ann", &key, statement).await;
            // What can't be tokenised is refused before anything is looked up; all else in the same words.
            let refused = refused.expect_err(statement);
            let unread = refused.code == Code::NotPermitted && refused.message.contains("plain SELECT");
            assert!(refused == missing || unread, "{statement}: {refused:?}");
            let call = world.call_as("a-ann").await;
            let compiled = world.gateway.compile_query(&call, &key, statement, &[]).await.unwrap();
            assert!(compiled.error.is_some() && compiled.tables.is_empty(), "{statement}");
        }
    }
}

#[tokio::test]
async fn only_plain_reads_run() {
    let world = World::new().await;
    for (key, _) in both(&world).await {
        for statement in [
            "INSERT INTO open VALUES (2, 'y')",
            "DELETE FROM open",
            "CREATE TABLE new (a int)",
            "SELECT tell()",
            "SELECT * FROM tell()",
            "SELECT load_extension('x')",
            "SELECT query_to_xml('SELECT * FROM hidden', true, true, '')",
            "SELECT pg_read_file('/etc/passwd')",
            "SELECT to_regclass('hidden')",
            "EXPLAIN SELECT * FROM hidden",
            "SELECT * FROM pragma_table_info('hidden')",
            "PRAGMA table_info(hidden)",
            "SELECT * INTO copy FROM hidden",
        ] {
            assert_eq!(code(run(&world, "a-ann", &key, statement).await), Code::NotPermitted, "{statement}");
        }
        assert!(run(&world, "a-ann", &key, "SELECT 1").await.is_ok());
        let call = world.call_as("a-ann").await;
        assert_eq!(
            code(world.gateway.submit_query(&call, &key, query("SELECT * FROM hidden")).await),
            Code::NotPermitted
        );
        assert_eq!(
            code(world.gateway.stream_query(&call, &key, query("SELECT * FROM hidden")).await.map(drop)),
            Code::NotPermitted
        );
    }
}

#[tokio::test]
async fn a_schema_that_is_set_for_a_query_opens_nothing() {
    let world = World::new().await;
    let keys = both(&world).await;
    let key = &keys[1].0;
    let call = world.call_as("a-ann").await;
    let in_schema = |schema: &str, statement: &str| QueryRequest {
        current_schema: Some(schema.to_owned()),
        ..query(statement)
    };
    let request = in_schema("other", "SELECT * FROM open");
    assert_eq!(code(world.gateway.run_query(&call, key, request).await), Code::NotPermitted);
    let request = in_schema("pg_catalog", "SELECT * FROM pg_class");
    assert_eq!(code(world.gateway.run_query(&call, key, request).await), Code::NotPermitted);
}
