//! A read-only connection changes nothing, whatever is tried.

use ringfence_engine::{RunOptions, SourceError};
use tokio_util::sync::CancellationToken;

use crate::world::{World, read_only, rows};

/// What a read-only connection will try to write to, and through.
const WORLD: &[&str] = &[
    "CREATE TABLE t (a int)",
    "INSERT INTO t VALUES (1)",
    "CREATE SEQUENCE s",
    "CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t VALUES (2); RETURN 1; END $$",
    "CREATE FUNCTION escapes() RETURNS int LANGUAGE plpgsql AS $$ BEGIN SET TRANSACTION READ WRITE; INSERT INTO t VALUES (3); RETURN 1; END $$",
    "CREATE FUNCTION configures() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('transaction_read_only', 'off', true); INSERT INTO t VALUES (4); RETURN 1; END $$",
    "CREATE FUNCTION defaults() RETURNS int LANGUAGE plpgsql SET default_transaction_read_only = off SET transaction_read_only = off AS $$ BEGIN INSERT INTO t VALUES (9); RETURN 1; END $$",
    "CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN COMMIT; SET TRANSACTION READ WRITE; INSERT INTO t VALUES (5); COMMIT; END $$",
    "CREATE VIEW v AS SELECT writes() AS a",
];

/// What is refused.
const REFUSED: &[&str] = &[
    "INSERT INTO t VALUES (6)",
    "UPDATE t SET a = 0",
    "DELETE FROM t",
    "TRUNCATE t",
    "CREATE TABLE u (a int)",
    "DROP TABLE t",
    "WITH x AS (INSERT INTO t VALUES (7) RETURNING a) SELECT * FROM x",
    "EXPLAIN ANALYZE INSERT INTO t VALUES (8)",
    "SELECT writes()",
    "SELECT escapes()",
    "SELECT configures()",
    "SELECT defaults()",
    "SELECT a FROM v",
    "SELECT set_config('transaction_read_only', 'off', false), writes()",
    "SELECT set_config('default_transaction_read_only', 'off', false), writes()",
    "SELECT nextval('s')",
    "CALL commits()",
    "DO $$ BEGIN COMMIT; SET TRANSACTION READ WRITE; INSERT INTO t VALUES (5); END $$",
    "DO $$ BEGIN SET TRANSACTION READ WRITE; INSERT INTO t VALUES (5); END $$",
    "DO $$ BEGIN SET LOCAL default_transaction_read_only = off; INSERT INTO t VALUES (5); END $$",
    "SELECT * FROM t FOR UPDATE",
    "VACUUM t",
];

/// What may succeed and helps nobody.
const HARMLESS: &[&str] = &[
    "SET default_transaction_read_only = off",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SET TRANSACTION READ WRITE",
    "SELECT set_config('default_transaction_read_only', 'off', false)",
    "SET ROLE none",
    "RESET ALL",
    "DISCARD ALL",
];

#[tokio::test]
async fn no_statement_leaves_the_read_only_transaction() {
    let world = World::with_places(1).await;
    for sql in WORLD {
        world.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    for sql in REFUSED {
        for _ in 0..2 {
            let refused = world.run_read_only(sql).await;
            assert!(matches!(refused, Err(SourceError::Statement { .. })), "{sql}: {refused:?}");
        }
    }
    for sql in HARMLESS {
        let _ = world.run_read_only(sql).await;
        assert!(world.run_read_only("INSERT INTO t VALUES (6)").await.is_err(), "after {sql}");
        assert!(world.run_read_only("SELECT a FROM v").await.is_err(), "after {sql}");
    }
    assert_eq!(world.json("SELECT a FROM t").await, "[[1]]", "nothing was written");
    assert_eq!(rows(&world.run_read_only("SELECT a FROM t").await.expect("reads")), "[[1]]");
    let options = RunOptions { current_schema: Some("public".to_owned()), ..RunOptions::default() };
    for sql in ["SELECT a FROM v", "INSERT INTO t VALUES (6)", "CALL commits()"] {
        let refused =
            world.engine.run(&world.address(), &read_only(sql), &options, CancellationToken::new()).await;
        assert!(refused.is_err(), "{sql}");
    }
    assert_eq!(world.json("SELECT a FROM t").await, "[[1]]", "nothing was written");
}
