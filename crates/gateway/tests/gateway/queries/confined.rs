//! Connections whose queries stay within the content filters.

use ringfence_gateway::queries::QueryRequest;
use ringfence_gateway::{Code, Refused};
use ringfence_policy::ConnectionSpec;

use crate::sources::{confined, database, file, indexed, password, query, run};
use crate::world::{World, code};

const FILTERS: &str = r#"[{"schema_name":"public"},{"schema_name":"main"},
    {"type":"exclusion","table_name":"hidden"},{"type":"exclusion","table_name":"partly","column_name":"secret"}]"#;

const SCHEMA: &str = "CREATE TABLE open (a INTEGER, b TEXT); INSERT INTO open VALUES (1, 'x');
    CREATE TABLE hidden (a INTEGER, secret TEXT); INSERT INTO hidden VALUES (7, 'seven');
    CREATE TABLE partly (a INTEGER, secret TEXT); INSERT INTO partly VALUES (8, 'eight');
    CREATE VIEW window_view AS SELECT a FROM hidden;
    CREATE VIEW deep_view AS SELECT a FROM window_view;
    CREATE VIEW partly_view AS SELECT a FROM partly;
    CREATE VIEW open_view AS SELECT a FROM open";

/// What only a server has: another schema, a function, a parent of something hidden, a copy.
const ON_SERVER: &str = "CREATE SCHEMA other; CREATE TABLE other.open (a int, z int);
    CREATE TABLE parent (a int); INSERT INTO parent VALUES (3);
    CREATE TABLE hidden_child () INHERITS (parent); INSERT INTO hidden_child VALUES (9);
    CREATE FUNCTION tell() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.hidden'";

/// A file and a database of that name, each confined.
async fn both(world: &World, name: &str) -> Vec<(String, ConnectionSpec)> {
    let on_file = confined(&file(world, "1.db", SCHEMA), FILTERS);
    let owner = format!("{name}_owner");
    let filters = FILTERS.replace("\"table_name\":\"hidden\"", "\"table_name\":\"hidden*\"");
    let on_server = confined(&database(name, &owner, &format!("{SCHEMA}; {ON_SERVER}")).await, &filters);
    let first = indexed(world, "a-ann", &on_file, None).await;
    let second = indexed(world, "a-ann", &on_server, Some(&password(&owner))).await;
    vec![(first, on_file), (second, on_server)]
}

#[tokio::test]
async fn what_is_shown_completely_can_be_read() {
    let world = World::new().await;
    for (key, spec) in both(&world, "confined_reads").await {
        let schema = if spec.db_type == "postgresql" { "public" } else { "main" };
        for (statement, expected) in [
            ("SELECT 1", "[[1]]"),
            ("SELECT b, count(*) FROM OPEN GROUP BY b", r#"[["x",1]]"#),
            ("WITH hidden AS (SELECT a FROM open) SELECT * FROM hidden", "[[1]]"),
            ("SELECT o.a FROM open AS o JOIN (SELECT a FROM open) p ON o.a = p.a", "[[1]]"),
            ("SELECT a FROM open WHERE a IN (SELECT a FROM open)", "[[1]]"),
            ("SELECT * FROM open_view", "[[1]]"),
            // What is hidden in part is shown in part.
            ("SELECT * FROM partly", "[[8]]"),
            ("SELECT p.* FROM partly p WHERE p.a > 1", "[[8]]"),
        ] {
            assert_eq!(run(&world, "a-ann", &key, statement).await.as_deref(), Ok(expected), "{statement}");
        }
        let statement = format!("SELECT * FROM {schema}.open_view");
        assert_eq!(run(&world, "a-ann", &key, &statement).await.unwrap(), "[[1]]");
    }
}

/// The refusal of what has a name in it, with another name in its place.
fn renamed(refused: &Refused, name: &str, other: &str) -> (Code, String) {
    (refused.code, refused.message.replace(name, other))
}

#[tokio::test]
async fn hidden_and_missing_are_refused_alike() {
    let world = World::new().await;
    for (key, spec) in both(&world, "confined_alike").await {
        let on_server = spec.db_type == "postgresql";
        let mut names = vec!["hidden", "window_view", "deep_view", "partly_view"];
        if on_server {
            names.extend(["hidden_child", "parent", "other.open"]);
        }
        for name in names {
            for statement in [
                "SELECT * FROM hidden",
                "SELECT * FROM hidden WHERE 1 = 0",
                "SELECT nothing FROM hidden",
                "SELECT 1 WHERE EXISTS (SELECT 1 FROM hidden)",
                "SELECT (SELECT max(a) FROM hidden)",
                "WITH x AS (SELECT * FROM hidden) SELECT 1",
                "SELECT * FROM open, hidden",
                "SELECT * FROM (open JOIN hidden ON 1 = 1)",
                "SELECT 1 UNION SELECT a FROM hidden",
                "VALUES ((SELECT max(a) FROM hidden))",
                "INSERT INTO hidden (a) VALUES (1)",
                "UPDATE hidden SET a = 1",
                "DELETE FROM hidden",
                "INSERT INTO open (a, b) SELECT a, 'y' FROM hidden",
                "DELETE FROM open WHERE a IN (SELECT a FROM hidden)",
            ] {
                let (theirs, missing) =
                    (statement.replace("hidden", name), statement.replace("hidden", "absent"));
                let hidden = run(&world, "a-ann", &key, &theirs).await.expect_err(&theirs);
                let missing = run(&world, "a-ann", &key, &missing).await.expect_err(&missing);
                assert_eq!(hidden.code, Code::RelationUnknown, "{theirs}: {hidden}");
                assert_eq!(renamed(&hidden, name, "absent"), renamed(&missing, name, "absent"), "{theirs}");
                let call = world.call_as("a-ann").await;
                let compiled = world.gateway.compile_query(&call, &key, &theirs, &[]).await.unwrap();
                assert!(compiled.error.is_some() && compiled.tables.is_empty(), "{theirs}");
                assert_eq!(compiled.guarded, None, "{theirs}");
            }
        }
        for statement in ["SELECT secret FROM partly", "SELECT * FROM partly WHERE secret LIKE 'e%'"] {
            let hidden = run(&world, "a-ann", &key, statement).await.expect_err(statement);
            let missing =
                run(&world, "a-ann", &key, &statement.replace("secret", "absent")).await.unwrap_err();
            assert_eq!(hidden.code, Code::ColumnUnknown);
            assert_eq!(renamed(&hidden, "secret", "absent"), renamed(&missing, "secret", "absent"));
        }
        for statement in [
            "SELECT * FROM public.hidden",
            "SELECT * FROM main.hidden",
            "SELECT * FROM \"hidden\"",
            "SELECT * FROM Hidden",
            "SELECT 'hidden'::regclass",
            "SELECT (NULL::hidden).secret",
            "SELECT CAST('hidden' AS regclass)",
            "SELECT * FROM 'hidden'",
            "SELECT * FROM [hidden]",
            "SELECT * FROM `hidden`",
            "SELECT * FROM pragma_table_list",
        ] {
            let refused = run(&world, "a-ann", &key, statement).await.expect_err(statement);
            let call = world.call_as("a-ann").await;
            let compiled = world.gateway.compile_query(&call, &key, statement, &[]).await.unwrap();
            assert!(compiled.error.is_some() && compiled.tables.is_empty(), "{statement}: {refused}");
        }
        // Nothing of all this was changed.
        assert_eq!(run(&world, "a-ann", &key, "SELECT count(*) FROM open").await.unwrap(), "[[1]]");
    }
}

#[tokio::test]
async fn only_what_the_guard_takes_runs() {
    let world = World::new().await;
    for (key, _) in both(&world, "confined_kinds").await {
        for statement in [
            "CREATE TABLE new (a int)",
            "DROP TABLE open",
            "ALTER TABLE open ADD COLUMN c int",
            "GRANT ALL ON open TO PUBLIC",
            "CREATE VIEW peek AS SELECT * FROM hidden",
            "SET search_path = other",
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
            let refused = run(&world, "a-ann", &key, statement).await.expect_err(statement);
            assert!(refused.code.is_of_guard(), "{statement}: {refused:?}");
        }
        assert!(run(&world, "a-ann", &key, "SELECT 1").await.is_ok());
        let call = world.call_as("a-ann").await;
        assert_eq!(
            code(world.gateway.submit_query(&call, &key, query("SELECT * FROM hidden")).await),
            Code::RelationUnknown
        );
        assert_eq!(
            code(world.gateway.stream_query(&call, &key, query("SELECT * FROM hidden")).await.map(drop)),
            Code::RelationUnknown
        );
    }
}

#[tokio::test]
async fn changes_are_as_the_connection_allows() {
    let world = World::new().await;
    for (key, spec) in both(&world, "confined_writes").await {
        for statement in [
            "INSERT INTO open VALUES (2, 'y')",
            "UPDATE open SET b = 'z' WHERE a = 2",
            "INSERT INTO partly (a) VALUES (5)",
            "DELETE FROM partly WHERE a = 5",
        ] {
            run(&world, "a-ann", &key, statement).await.expect(statement);
        }
        assert_eq!(
            run(&world, "a-ann", &key, "SELECT * FROM open ORDER BY a").await.unwrap(),
            r#"[[1,"x"],[2,"z"]]"#
        );
        for statement in ["INSERT INTO partly (secret) VALUES ('x')", "UPDATE partly SET secret = 'x'"] {
            let refused = run(&world, "a-ann", &key, statement).await.expect_err(statement);
            assert_eq!(refused.code, Code::ColumnUnknown, "{statement}");
        }
        let mut read_only = spec.clone();
        read_only.db_access_policy.read_only = true;
        let secret = (spec.db_type == "postgresql").then(|| password("confined_writes_owner"));
        indexed(&world, "a-ann", &read_only, secret.as_deref()).await;
        for statement in ["INSERT INTO open VALUES (3, 'y')", "DELETE FROM open"] {
            assert_eq!(code(run(&world, "a-ann", &key, statement).await), Code::WriteDenied, "{statement}");
        }
    }
}

#[tokio::test]
async fn a_schema_that_is_set_for_a_query_opens_nothing() {
    let world = World::new().await;
    let keys = both(&world, "confined_schema").await;
    let key = &keys[1].0;
    let call = world.call_as("a-ann").await;
    let in_schema = |schema: &str, statement: &str| QueryRequest {
        current_schema: Some(schema.to_owned()),
        ..query(statement)
    };
    // A hidden schema is one that is not there.
    for schema in ["other", "absent"] {
        let request = in_schema(schema, "SELECT z FROM open");
        assert_eq!(code(world.gateway.run_query(&call, key, request).await), Code::ColumnUnknown, "{schema}");
        let request = in_schema(schema, "SELECT * FROM hidden");
        assert_eq!(
            code(world.gateway.run_query(&call, key, request).await),
            Code::RelationUnknown,
            "{schema}"
        );
    }
}

#[tokio::test]
async fn system_catalogs_tell_what_is_shown() {
    let world = World::new().await;
    for (key, spec) in both(&world, "confined_catalogs").await {
        let statements = if spec.db_type == "postgresql" {
            [
                (
                    "SELECT table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' ORDER BY 1",
                    r#"[["open"],["parent"],["partly"]]"#,
                ),
                (
                    "SELECT column_name, ordinal_position, data_type FROM information_schema.columns \
                     WHERE table_name = 'partly'",
                    r#"[["a",1,"integer"]]"#,
                ),
                (
                    "SELECT n.nspname, c.relname, a.attname, t.typname FROM pg_catalog.pg_class c \
                     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                     JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid \
                     WHERE c.relkind IN ('r', 'p') AND c.relname = 'open' ORDER BY a.attnum",
                    r#"[["public","open","a","int4"],["public","open","b","text"]]"#,
                ),
                (
                    "SELECT count(*) FROM information_schema.schemata s JOIN pg_tables t ON t.schemaname = s.schema_name \
                     WHERE s.catalog_name = 'confined_catalogs' AND t.tablename LIKE 'hidden%'",
                    "[[0]]",
                ),
            ]
        } else {
            [
                (
                    "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
                    r#"[["open"],["partly"]]"#,
                ),
                ("SELECT count(*) FROM main.sqlite_schema WHERE name LIKE 'hidden%'", "[[0]]"),
                ("SELECT m.tbl_name FROM sqlite_schema AS m WHERE m.name = 'open'", r#"[["open"]]"#),
                ("SELECT count(sql) FROM sqlite_master", "[[0]]"),
            ]
        };
        for (statement, expected) in statements {
            assert_eq!(run(&world, "a-ann", &key, statement).await.as_deref(), Ok(expected), "{statement}");
        }
    }
}
