//! Nothing carries over from one call to the next: a pool of one session.

use tokio_util::sync::CancellationToken;

use crate::world::{World, message, open, rows, timeout};
use ringfence_engine::{RunOptions, SourceError};
use ringfence_guard::{open_lifted, scan_open};
use ringfence_policy::{ConnectionKind, OpenAccess};

/// What leaves something, how it would be seen, and what a session shows without it.
const LEFTOVERS: &[(&str, &str, &str)] = &[
    ("SET search_path = nowhere", "SHOW search_path", r#"[["\"$user\", public"]]"#),
    ("SELECT set_config('work_mem', '9MB', false)", "SHOW work_mem", r#"[["4MB"]]"#),
    (
        "SELECT set_config('my.secret', '42', false)",
        "SELECT coalesce(current_setting('my.secret', true), '')",
        r#"[[""]]"#,
    ),
    ("SET datestyle = German", "SELECT now()::date::text LIKE '____-__-__'", "[[true]]"),
    ("SET client_encoding = LATIN1", "SHOW client_encoding", r#"[["UTF8"]]"#),
    ("SET default_transaction_read_only = on", "SHOW transaction_read_only", r#"[["off"]]"#),
    ("CREATE TEMP TABLE mine (a int)", "SELECT to_regclass('mine') IS NULL", "[[true]]"),
    ("PREPARE p AS SELECT 1", "SELECT count(*) FROM pg_prepared_statements WHERE from_sql", "[[0]]"),
    ("LISTEN news", "SELECT count(*) FROM pg_listening_channels()", "[[0]]"),
    ("SELECT pg_advisory_lock(7)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "[[0]]"),
    ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*) FROM pg_cursors WHERE name = 'c'", "[[0]]"),
    ("SET SESSION AUTHORIZATION owner", "SELECT session_user, current_user", r#"[["owner","owner"]]"#),
    ("SET ROLE none", "SELECT current_user", r#"[["owner"]]"#),
    ("DEALLOCATE ALL", "SELECT 1", "[[1]]"),
    ("DISCARD ALL", "SELECT 1", "[[1]]"),
    ("SELECT nextval('s')", "SELECT 2", "[[2]]"),
    (
        "DO $$ BEGIN PERFORM set_config('work_mem', '9MB', false); CREATE TEMP TABLE mine (a int); END $$",
        "SHOW work_mem",
        r#"[["4MB"]]"#,
    ),
];

/// Leaves a setting, a lock, a temporary table, a cursor and a role behind, from wherever it is called.
const POISON: &str = "CREATE FUNCTION poison(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN \
    PERFORM set_config('app.who', 'A', false); PERFORM set_config('search_path', 'evil', false); \
    PERFORM pg_advisory_lock(7); CREATE TEMP TABLE IF NOT EXISTS left_over (a int); RETURN 1; END $$";

/// Statements that name nothing odd, and run it all the same.
const INNOCENT: &[&str] = &[
    "SELECT * FROM poisoned_view",
    "SELECT * FROM quietly_poisoned_view",
    "INSERT INTO poisoned_table VALUES (1)",
    "SELECT reverse(1)",
    "SELECT 1 === 2",
];

#[tokio::test]
async fn what_views_triggers_and_overloads_leave_is_gone() {
    let world = World::with_places(1).await;
    for sql in [
        POISON,
        "CREATE VIEW poisoned_view AS SELECT poison(1)",
        // Nothing that a read-only transaction would refuse.
        "CREATE VIEW quietly_poisoned_view AS SELECT set_config('app.who', 'A', false) a, pg_try_advisory_lock(8) b, \
            set_config('search_path', 'evil', false) c",
        "CREATE TABLE poisoned_table (a int DEFAULT poison(1), b int DEFAULT poison(2))",
        "CREATE FUNCTION reverse(int) RETURNS int LANGUAGE sql AS 'SELECT poison($1)'",
        "CREATE FUNCTION poison(int, int) RETURNS int LANGUAGE sql AS 'SELECT poison($1)'",
        "CREATE OPERATOR === (FUNCTION = poison, LEFTARG = int, RIGHTARG = int)",
    ] {
        world.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    for innocent in INNOCENT {
        for _ in 0..3 {
            world.run(innocent).await.unwrap_or_else(|error| panic!("{innocent}: {error:?}"));
            let seen = world
                .json(
                    "SELECT coalesce(current_setting('app.who', true), ''), \
                     current_setting('search_path') LIKE '%evil%', \
                     (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), \
                     (SELECT count(*) FROM pg_class WHERE relname = 'left_over')",
                )
                .await;
            assert_eq!(seen, "[[\"\",false,0,0]]", "after {innocent}");
        }
    }
}

#[tokio::test]
async fn a_kept_statement_reads_the_clock_each_time() {
    let world = World::with_places(1).await;
    let read = "SELECT 'now'::timestamptz::text, pg_sleep(0.002) IS NULL";
    let first = world.json(read).await;
    assert_ne!(world.json(read).await, first);
}

#[tokio::test]
async fn lifted_literals_leave_a_session_as_good_as_others() {
    let world = World::with_places(1).await;
    for sql in ["CREATE TABLE t (a int, b text)", "INSERT INTO t VALUES (1, 'x'), (2, 'y')"] {
        world.run(sql).await.expect("set up");
    }
    let lifted = |text: &str| {
        let access = OpenAccess { read_only: false };
        let scanned = scan_open(text, ConnectionKind::Postgresql, access).expect("literals");
        let plan = open_lifted(&scanned, ConnectionKind::Postgresql, access).expect("admitted");
        plan.bind(scanned.values(plan.lifted()))
    };
    let ask = async |text: &str| {
        let (address, query, options) = (world.address(), lifted(text), RunOptions::default());
        let ran = world.engine.run(&address, &query, &options, CancellationToken::new()).await;
        ran.ok().map(|result| rows(&result))
    };
    for (text, answer) in [
        ("SELECT b FROM t WHERE a = 1", r#"[["x"]]"#),
        ("SELECT b FROM t WHERE a = 2", r#"[["y"]]"#),
        ("SELECT a FROM t WHERE b = 'y' AND a IN (2, 3)", "[[2]]"),
    ] {
        assert_eq!(ask(text).await.as_deref(), Some(answer), "{text}");
    }
    // A failing one, in the round trip that ends the transaction too, and the next.
    assert!(ask("SELECT 1 / (a - 2) FROM t WHERE a = 2").await.is_none());
    assert!(ask("SELECT 1 / (a - 2) FROM t WHERE a = 2").await.is_none());
    assert_eq!(ask("SELECT b FROM t WHERE a = 2").await.as_deref(), Some(r#"[["y"]]"#));
    // The column's type changes under a statement that is kept: the next one is prepared anew.
    let other = world.server.client("shop").await;
    other.batch_execute("ALTER TABLE t ALTER b TYPE int USING length(b)").await.expect("changed");
    assert!(ask("SELECT a FROM t WHERE b = '1' AND a IN (2, 3)").await.is_none());
    assert_eq!(ask("SELECT a FROM t WHERE b = '1' AND a IN (2, 3)").await.as_deref(), Some("[[2]]"));
}

#[tokio::test]
async fn what_looks_like_a_read_and_writes_does_write() {
    let world = World::with_places(1).await;
    for sql in [
        "CREATE TABLE log (a int)",
        "CREATE FUNCTION note() RETURNS int LANGUAGE plpgsql AS $$ BEGIN \
            PERFORM set_config('app.who', 'A', false); INSERT INTO log VALUES (1); RETURN 1; END $$",
        "CREATE VIEW noting AS SELECT note()",
        "CREATE VIEW noting_late AS SELECT CASE WHEN i = 3000 THEN note() ELSE i END FROM generate_series(1, 4000) i",
    ] {
        world.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    for (reading, wrote) in [
        ("SELECT * FROM noting", 2),
        ("SELECT *, '::1'::inet FROM noting", 4),
        // Its first rows were with the caller already: so it is refused once, and undone.
        ("SELECT * FROM noting_late", 5),
    ] {
        for _ in 0..2 {
            let ran = world.run(reading).await;
            assert!(ran.is_ok() || reading.contains("late"), "{reading}: {ran:?}");
            assert_eq!(world.json("SELECT coalesce(current_setting('app.who', true), '')").await, "[[\"\"]]");
        }
        assert_eq!(world.json("SELECT count(*) FROM log").await, format!("[[{wrote}]]"), "after {reading}");
    }
}

#[tokio::test]
async fn nothing_carries_over() {
    let world = World::with_places(1).await;
    world.run("CREATE TABLE t (a int)").await.expect("made");
    world.run("CREATE SEQUENCE s").await.expect("made");
    for (leaves, seen, clean) in LEFTOVERS {
        // Twice, so that prepared statements are in play.
        for _ in 0..2 {
            world.run(leaves).await.unwrap_or_else(|error| panic!("{leaves}: {error:?}"));
            assert_eq!(world.json(seen).await, *clean, "after {leaves}");
        }
    }
    assert!(message(world.run("SELECT currval('s')").await).contains("not yet defined"));
    // A plain INSERT keeps the session's prepared statements; what it took from a sequence is forgotten all the same.
    world.run("CREATE TABLE numbered (id serial, a int)").await.expect("made");
    world.run("INSERT INTO numbered (a) VALUES (1)").await.expect("inserted");
    assert!(message(world.run("SELECT lastval()").await).contains("not yet defined"));
    assert!(world.engine.open_connections() <= 1);
}

#[tokio::test]
async fn a_session_is_good_after_a_failing_statement() {
    let world = World::with_places(1).await;
    world.run("CREATE TABLE t (a int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)").await.expect("made");
    world.run("INSERT INTO t VALUES (1)").await.expect("inserted");
    let pid = world.json("SELECT pg_backend_pid()").await;
    for (failing, sqlstate) in [
        ("SELECT 1/0", "22012"),
        ("SELECT 1/(5-i) FROM generate_series(1, 9) i", "22012"),
        ("SELECT nothing", "42703"),
        ("SELEC 1", "42601"),
        ("INSERT INTO t VALUES (1)", "23505"),
        ("SELECT '::1'::inet, 1/0", "22012"),
        ("SELECT $1::int", "42P02"),
        ("SET work_mem = 'x'", "22023"),
    ] {
        for options in [
            RunOptions::default(),
            RunOptions { current_schema: Some("public".to_owned()), ..RunOptions::default() },
        ] {
            let error = world.run_with(failing, &options).await.expect_err(failing);
            assert!(
                matches!(&error, SourceError::Statement { sqlstate: Some(code), message } if code == sqlstate && !message.contains("Key (")),
                "{failing}: {error:?}"
            );
            assert_eq!(world.json("SELECT count(*) FROM t").await, "[[1]]");
        }
    }
    assert_eq!(world.json("SELECT pg_backend_pid()").await, pid, "the session is still the same");
}

#[tokio::test]
async fn statements_that_run_alone_do() {
    let world = World::with_places(1).await;
    for sql in ["VACUUM", "CREATE TABLE t (a int)", "CREATE INDEX CONCURRENTLY i ON t (a)", "REINDEX TABLE t"]
    {
        world.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    world.run("CREATE PROCEDURE two() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t VALUES (1); COMMIT; INSERT INTO t VALUES (2); END $$").await.expect("made");
    world.run("CALL two()").await.expect("runs");
    let inserted = world.run("INSERT INTO t VALUES (3), (4) RETURNING a").await.expect("runs");
    assert_eq!((inserted.rows.len(), inserted.affected), (2, Some(2)));
    assert_eq!(world.run("UPDATE t SET a = a + 1").await.expect("runs").affected, Some(4));
    assert_eq!(world.run("DELETE FROM t WHERE a > 100").await.expect("runs").affected, Some(0));
    assert_eq!(world.run("SELECT * FROM t FOR UPDATE").await.expect("runs").affected, None);
}

#[tokio::test]
async fn a_cancelled_session_is_never_used_again() {
    let world = World::with_places(1).await;
    let pid = world.json("SELECT pg_backend_pid()").await;
    let cancel = CancellationToken::new();
    let (engine, address, token) = (world.engine.clone(), world.address(), cancel.clone());
    let running = tokio::spawn(async move {
        engine.run(&address, &open("SELECT pg_sleep(600)"), &RunOptions::default(), token).await
    });
    world.until_active("SELECT pg_sleep(600)", 1).await;
    cancel.cancel();
    let stopped = running.await.expect("no panic");
    assert!(matches!(stopped, Err(SourceError::Cancelled)), "{stopped:?}");
    assert_ne!(world.json("SELECT pg_backend_pid()").await, pid);
    world.until_active("SELECT pg_sleep(600)", 0).await;
    let timed_out = world.run_with("SELECT pg_sleep(600)", &timeout(50)).await;
    assert!(matches!(timed_out, Err(SourceError::TimedOut { limit_ms: 50 })), "{timed_out:?}");
    for _ in 0..20 {
        assert_eq!(world.json("SELECT 1").await, "[[1]]");
    }
    world.until_active("SELECT pg_sleep(600)", 0).await;
    world.until_open(1).await;
}

#[tokio::test]
async fn a_caller_who_leaves_stops_the_statement() {
    let world = World::with_places(1).await;
    // The future of `run` is dropped, as when a client disconnects.
    let (engine, address) = (world.engine.clone(), world.address());
    let running = tokio::spawn(async move {
        engine
            .run(&address, &open("SELECT pg_sleep(601)"), &RunOptions::default(), CancellationToken::new())
            .await
    });
    world.until_active("SELECT pg_sleep(601)", 1).await;
    running.abort();
    world.until_active("SELECT pg_sleep(601)", 0).await;
    // A stream is dropped half-way, early and late.
    for batches in [0, 1, 5] {
        let endless = open("SELECT i, repeat('x', 100) FROM (SELECT generate_series(1, 1000000000000) i) s");
        let mut stream = world
            .engine
            .stream(&world.address(), &endless, &RunOptions::default(), CancellationToken::new())
            .await
            .expect("starts");
        for _ in 0..batches {
            assert!(stream.next().await.expect("goes on").is_some_and(|rows| !rows.is_empty()));
        }
        drop(stream);
        world.until_active("%generate_series(1, 1000000000000)%", 0).await;
        assert_eq!(world.json("SELECT 1").await, "[[1]]");
    }
}
