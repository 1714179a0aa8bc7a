//! Queries: run, stream, submit, fetch, cancel, compile.

mod confined;
mod revoked;
mod submitted;

use std::time::Duration;

use ringfence_gateway::Code;
use ringfence_gateway::history::HistoryLookup;
use ringfence_gateway::queries::QueryRequest;
use serde_json::json;

use crate::sources::{ENDLESS, add, database, file, indexed, password, query, run, running, stopped};
use crate::world::{World, code};

const SCHEMA: &str = "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), (2), (3)";

#[tokio::test]
async fn a_query_runs_with_its_limits_and_is_remembered() {
    let world = World::new().await;
    let key = add(&world, "a-ann", &file(&world, "1.db", SCHEMA), None).await;
    let call = world.call_as("a-ann").await;
    let request = QueryRequest { max_rows: Some(2), ..query("SELECT a FROM t ORDER BY a;") };
    let outcome = world.gateway.run_query(&call, &key, request).await.unwrap();
    assert_eq!(serde_json::to_value(&outcome.result.rows).unwrap(), json!([[1], [2]]));
    assert!(outcome.result.more_rows > 0);
    let lookup = HistoryLookup { limit: 10, offset: 0, newest_first: true, id: None, liked: None };
    let history = world.gateway.history(&call, &key, lookup).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].entry.id, outcome.id);
    assert_eq!(history[0].entry.query, "SELECT a FROM t ORDER BY a;");
    run(&world, "a-ann", &key, "INSERT INTO t VALUES (4)").await.unwrap();
    assert_eq!(run(&world, "a-ann", &key, "SELECT count(*) FROM t").await.unwrap(), "[[4]]");
    for (statement, expected) in [
        ("", Code::QueryRefused),
        ("SELECT 1; SELECT 2", Code::QueryRefused),
        ("BEGIN", Code::QueryRefused),
        ("SELECT * FROM nothing", Code::QueryFailed),
    ] {
        assert_eq!(code(run(&world, "a-ann", &key, statement).await), expected, "{statement}");
    }
    for timeout_ms in [Some(100), Some(1)] {
        let request = QueryRequest { timeout_ms, ..query(ENDLESS) };
        assert_eq!(code(world.gateway.run_query(&call, &key, request).await), Code::QueryTimedOut);
    }
}

#[tokio::test]
async fn the_audit_record_names_relations_and_no_literals() {
    let world = World::new().await;
    let key = add(&world, "a-ann", &file(&world, "1.db", SCHEMA), None).await;
    let mut prints = Vec::new();
    for statement in ["SELECT a FROM main.t WHERE a = 1234567", "select A from main.t /* x */ where a=42"] {
        let log = world.begin();
        let call =
            world.gateway.authenticate(&log, Some(&crate::world::key_of("a-ann")), None).await.unwrap();
        world.gateway.run_query(&call, &key, query(statement)).await.unwrap();
        log.finish(ringfence_gateway::Decision::Allowed).await.unwrap();
        let record = world.record(&log).await.record;
        assert_eq!(
            (record.action.as_str(), record.tables.as_slice()),
            ("run-query", &["main.t".to_owned()][..])
        );
        assert!(!format!("{record:?}").contains("1234567"), "{record:?}");
        assert_eq!((record.connection.as_deref(), record.rows), (Some(key.as_str()), Some(0)));
        prints.push(record.statement.unwrap());
    }
    assert_eq!(prints[0], prints[1]);
    assert_eq!(prints[0].len(), 32);
}

#[tokio::test]
async fn a_read_only_connection_stays_as_it_is() {
    let world = World::new().await;
    let mut on_file = file(&world, "1.db", SCHEMA);
    on_file.db_access_policy.read_only = true;
    let mut on_server = database("readonly", "readonly_owner", "CREATE TABLE t AS SELECT 1 AS a").await;
    on_server.db_access_policy.read_only = true;
    let keys = [
        add(&world, "a-ann", &on_file, None).await,
        add(&world, "a-ann", &on_server, Some(&password("readonly_owner"))).await,
    ];
    for key in &keys {
        let count = run(&world, "a-ann", key, "SELECT count(*) FROM t").await.unwrap();
        for statement in [
            "INSERT INTO t VALUES (9)",
            "DELETE FROM t",
            "DROP TABLE t",
            "WITH x AS (SELECT 1 AS a) INSERT INTO t SELECT a FROM x",
            "PRAGMA query_only = 0",
            "SET TRANSACTION READ WRITE",
            "SET default_transaction_read_only = off",
            "SELECT set_config('transaction_read_only', 'off', false)",
        ] {
            // Some of these are no error; none of them opens the way for what follows.
            let _ = run(&world, "a-ann", key, statement).await;
            assert!(run(&world, "a-ann", key, "INSERT INTO t VALUES (9)").await.is_err(), "{statement}");
        }
        assert_eq!(run(&world, "a-ann", key, "SELECT count(*) FROM t").await.unwrap(), count);
    }
}

#[tokio::test]
async fn nothing_carries_over_to_another_call() {
    let world = World::new().await;
    let spec = database("carry", "carry_owner", "CREATE TABLE t (a int)").await;
    let secret = password("carry_owner");
    let key = add(&world, "a-ann", &spec, Some(&secret)).await;
    add(&world, "a-abe", &spec, Some(&secret)).await;
    let request = QueryRequest {
        current_schema: Some("INFORMATION_SCHEMA".to_owned()),
        session_parameters: serde_json::from_value(json!({"timezone": "Asia/Tokyo"})).unwrap(),
        ..query("SELECT current_schema(), current_setting('TimeZone')")
    };
    let call = world.call_as("a-ann").await;
    let outcome = world.gateway.run_query(&call, &key, request).await.unwrap();
    assert_eq!(
        serde_json::to_value(&outcome.result.rows).unwrap(),
        json!([["information_schema", "Asia/Tokyo"]])
    );
    for statement in [
        "SET search_path = pg_catalog",
        "SELECT set_config('app.user', 'ann', false)",
        "CREATE TEMP TABLE left_behind (a int)",
        "PREPARE p AS SELECT 1",
        "SELECT pg_advisory_lock(42)",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "LISTEN x",
    ] {
        run(&world, "a-ann", &key, statement).await.unwrap();
    }
    for user in ["a-ann", "a-abe"] {
        for _ in 0..4 {
            let seen = run(
                &world,
                user,
                &key,
                "SELECT current_schema(), current_setting('TimeZone') = 'Asia/Tokyo', \
                 coalesce(current_setting('app.user', true), ''), to_regclass('pg_temp.left_behind')::text, \
                 (SELECT count(*) FROM pg_prepared_statements WHERE name = 'p'), \
                 (SELECT count(*) FROM pg_cursors WHERE name = 'c'), \
                 (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), \
                 (SELECT count(*) FROM pg_listening_channels())",
            )
            .await
            .unwrap();
            assert_eq!(seen, r#"[["public",false,"",null,0,0,0,0]]"#, "{user}");
        }
    }
    let request = QueryRequest {
        session_parameters: serde_json::from_value(json!({"role": "postgres"})).unwrap(),
        ..query("SELECT 1")
    };
    assert_eq!(code(world.gateway.run_query(&call, &key, request).await), Code::InvalidRequest);
}

#[tokio::test]
async fn dropping_a_query_or_a_stream_stops_it_in_the_database() {
    let world = World::new().await;
    let spec = database("dropped", "dropped_owner", "CREATE TABLE t (a int)").await;
    let key = add(&world, "a-ann", &spec, Some(&password("dropped_owner"))).await;
    let call = world.call_as("a-ann").await;
    {
        let sleeping = world.gateway.run_query(&call, &key, query("SELECT pg_sleep(8), 'dropped query'"));
        tokio::select! {
            _ = sleeping => panic!("it sleeps"),
            () = running("dropped", "dropped query'") => {}
        }
    }
    stopped("dropped", "dropped query'").await;
    {
        let endless = "SELECT generate_series(1, 100000000), 'dropped stream', repeat('x', 1000)";
        let mut stream = world.gateway.stream_query(&call, &key, query(endless)).await.unwrap();
        assert_eq!(stream.columns().len(), 3);
        assert!(stream.next().await.unwrap().is_some());
    }
    stopped("dropped", "dropped stream'").await;
}

#[tokio::test]
async fn a_stream_ends_after_the_rows_that_were_asked_for() {
    let world = World::new().await;
    let key = add(&world, "a-ann", &file(&world, "1.db", SCHEMA), None).await;
    let call = world.call_as("a-ann").await;
    for (asked, expected) in [(None, 3), (Some(2), 2), (Some(0), 0)] {
        let request = QueryRequest { max_rows: asked, ..query("SELECT a FROM t") };
        let mut stream = world.gateway.stream_query(&call, &key, request).await.unwrap();
        let mut rows = 0;
        while let Some(batch) = stream.next().await.unwrap() {
            rows += batch.len();
        }
        assert_eq!(rows, expected, "{asked:?}");
        assert!(stream.next().await.unwrap().is_none(), "the end stays the end");
    }
    // What has effects has all of them, however few rows go out.
    let request =
        QueryRequest { max_rows: Some(1), ..query("INSERT INTO t SELECT a + 10 FROM t RETURNING a") };
    let mut stream = world.gateway.stream_query(&call, &key, request).await.unwrap();
    while stream.next().await.unwrap().is_some() {}
    drop(stream);
    assert_eq!(run(&world, "a-ann", &key, "SELECT count(*) FROM t").await.unwrap(), "[[6]]");
}

#[tokio::test]
async fn a_user_has_a_bounded_number_of_queries() {
    let world = World::with(|config| config.queries_per_user = 2).await;
    let spec = file(&world, "1.db", SCHEMA);
    let key = add(&world, "a-ann", &spec, None).await;
    add(&world, "a-abe", &spec, None).await;
    let call = world.call_as("a-ann").await;
    let first = world.gateway.submit_query(&call, &key, query(ENDLESS)).await.unwrap();
    world.gateway.submit_query(&call, &key, query(ENDLESS)).await.unwrap();
    assert_eq!(code(run(&world, "a-ann", &key, "SELECT 1").await), Code::TooManyQueries);
    assert_eq!(code(world.gateway.submit_query(&call, &key, query("SELECT 1")).await), Code::TooManyQueries);
    run(&world, "a-abe", &key, "SELECT 1").await.unwrap();
    world.gateway.cancel_query(&call, None, first.as_str()).await.unwrap();
    crate::world::eventually(|| async { run(&world, "a-ann", &key, "SELECT 1").await.ok() }).await;
}

#[tokio::test]
async fn compiling_plans_and_runs_nothing() {
    let world = World::new().await;
    let key = indexed(&world, "a-ann", &file(&world, "1.db", SCHEMA), None).await;
    let call = world.call_as("a-ann").await;
    let compile = |statement| world.gateway.compile_query(&call, &key, statement, &[]);
    let fine = compile("SELECT x.a FROM t AS x").await.unwrap();
    assert_eq!((fine.error, fine.tables), (None, vec![("main".to_owned(), "t".to_owned())]));
    compile("DELETE FROM t").await.unwrap();
    assert_eq!(run(&world, "a-ann", &key, "SELECT count(*) FROM t").await.unwrap(), "[[3]]");
    for bad in ["SELECT nothing FROM t", "SELECT * FROM nothing", "SELEC 1", "SELECT 1; SELECT 2", ""] {
        let compiled = compile(bad).await.unwrap();
        assert!(compiled.error.is_some_and(|error| !error.is_empty()), "{bad}");
        assert!(compiled.tables.is_empty());
    }
}

#[tokio::test]
async fn what_has_no_plan_is_not_checked() {
    let world = World::new().await;
    let spec = database("planless", "planless_owner", "CREATE TABLE t (a int)").await;
    let key = indexed(&world, "a-ann", &spec, Some(&password("planless_owner"))).await;
    let call = world.call_as("a-ann").await;
    for (statement, expected) in [
        ("DROP TABLE nosuch", (true, false)),
        ("CREATE TABLE made (a int)", (true, false)),
        ("ALTER TABLE nosuch ADD b int", (true, false)),
        ("GRANT SELECT ON nosuch TO nobody", (true, false)),
        ("VACUUM nosuch", (true, false)),
        ("SET work_mem = '9MB'", (true, false)),
        ("SELECT a FROM t", (true, true)),
        ("DELETE FROM t", (true, true)),
        ("SELECT a FROM nosuch", (false, true)),
        ("DROP TABEL t", (false, true)),
    ] {
        let compiled = world.gateway.compile_query(&call, &key, statement, &[]).await.unwrap();
        assert_eq!((compiled.error.is_none(), compiled.checked), expected, "{statement}: {compiled:?}");
        assert_eq!(compiled.tables.is_empty(), expected != (true, true), "{statement}");
    }
}

#[tokio::test]
async fn stopping_ends_what_runs_and_takes_no_more() {
    let world = World::new().await;
    let key = add(&world, "a-ann", &file(&world, "1.db", SCHEMA), None).await;
    let call = world.call_as("a-ann").await;
    let gateway = world.gateway.clone();
    let id = gateway.submit_query(&call, &key, query(ENDLESS)).await.unwrap();
    let waiting = gateway.query_result(&call, None, id.as_str(), None);
    let stopping = async {
        tokio::time::timeout(Duration::from_secs(10), gateway.shutdown()).await.unwrap();
    };
    let (result, ()) = tokio::join!(waiting, stopping);
    assert_eq!(code(result), Code::QueryCancelled);
    assert_eq!(code(run(&world, "a-ann", &key, "SELECT 1").await), Code::ShuttingDown);
}
