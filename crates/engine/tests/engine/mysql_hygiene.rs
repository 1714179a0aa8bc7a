//! MariaDB: nothing carries over, reads write nothing, and what the guard rewrote is undone when it must be.

use ringfence_engine::{RunOptions, SourceError};
use ringfence_guard::{Fence, unsealed};
use tokio_util::sync::CancellationToken;

use crate::mysql::{Shop, open, write};
use crate::world::{rows, timeout};

/// What leaves something, how it would be seen, and what a session shows without it.
const LEFTOVERS: &[(&str, &str, &str)] = &[
    ("SET @who = 'A'", "SELECT @who", "[[null]]"),
    ("SET sql_mode = 'ANSI_QUOTES'", "SELECT \"a\"", "[[\"a\"]]"),
    ("SET NAMES latin1", "SELECT @@character_set_client", "[[\"utf8mb4\"]]"),
    ("SET time_zone = '-05:00'", "SELECT @@time_zone", "[[\"+09:00\"]]"),
    ("CREATE TEMPORARY TABLE mine (a int)", "SHOW TABLES LIKE 'mine'", "[]"),
    ("SELECT GET_LOCK('mine', 1)", "SELECT IS_FREE_LOCK('mine')", "[[1]]"),
    ("SET autocommit = 0", "SELECT @@autocommit", "[[1]]"),
    ("SET SESSION TRANSACTION READ ONLY", "SELECT @@tx_read_only", "[[0]]"),
    ("CREATE DATABASE IF NOT EXISTS shop", "SELECT database()", "[[\"shop\"]]"),
    ("SELECT sql_calc_found_rows 1", "SELECT @@in_transaction", "[[0]]"),
];

#[tokio::test]
async fn nothing_carries_over_in_a_pool_of_one() {
    let shop = Shop::with_places(1).await;
    for (leaving, seen, clean) in LEFTOVERS {
        for _ in 0..2 {
            shop.run(leaving).await.unwrap_or_else(|error| panic!("{leaving}: {error:?}"));
            assert_eq!(shop.json(seen).await, *clean, "after {leaving}");
            assert!(shop.run("SELECT * FROM gone").await.is_err());
            let stopped = shop
                .engine
                .run(
                    &shop.address(),
                    &open("SELECT sleep(60)", false),
                    &timeout(50),
                    CancellationToken::new(),
                )
                .await;
            assert!(matches!(stopped, Err(SourceError::TimedOut { .. })), "{stopped:?}");
            assert_eq!(shop.json(seen).await, *clean, "after a statement that was stopped");
        }
    }
    shop.server
        .sql("CREATE DATABASE other; CREATE TABLE other.here (a INT); GRANT ALL ON other.* TO owner@`%`");
    let elsewhere = RunOptions { current_schema: Some("other".to_owned()), ..RunOptions::default() };
    let run = |sql: &'static str| {
        let (shop, elsewhere) = (&shop, &elsewhere);
        async move {
            shop.engine.run(&shop.address(), &open(sql, false), elsewhere, CancellationToken::new()).await
        }
    };
    assert_eq!(rows(&run("SELECT count(*) FROM here").await.expect("runs")), "[[0]]");
    assert_eq!(shop.json("SELECT database()").await, "[[\"shop\"]]");
    let missing = RunOptions { current_schema: Some("gone".to_owned()), ..RunOptions::default() };
    let refused =
        shop.engine.run(&shop.address(), &open("SELECT 1", false), &missing, CancellationToken::new()).await;
    assert!(matches!(refused, Err(SourceError::Option(_))), "{refused:?}");
}

#[tokio::test]
async fn read_only_connections_write_nothing() {
    let shop = Shop::with_places(1).await;
    for sql in [
        "CREATE TABLE t (a INT)",
        "CREATE FUNCTION sneak() RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO t VALUES (1); RETURN 1; END",
    ] {
        shop.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    for sql in ["SELECT sneak()", "SELECT count(*) FROM (SELECT sneak()) AS x"] {
        let refused = shop.run_query(&open(sql, true)).await;
        assert!(
            matches!(&refused, Err(SourceError::Statement { sqlstate: Some(code), .. }) if code == "25006"),
            "{sql}: {refused:?}"
        );
        let fenced = unsealed::fenced(sql, Vec::new(), Fence { returns_rows: true, ..Fence::default() });
        assert!(shop.run_query(&fenced).await.is_err());
    }
    assert_eq!(shop.json("SELECT count(*) FROM t").await, "[[0]]");
}

#[tokio::test]
async fn what_the_guard_rewrote_means_what_it_meant() {
    let shop = Shop::with_places(1).await;
    shop.server.sql("SET GLOBAL sql_mode = ''");
    let seen = "SELECT @@time_zone, @@character_set_client, 'a\\', \"x\".y FROM (SELECT 1 AS y) AS \"x\"";
    let fenced = unsealed::fenced(seen, Vec::new(), Fence { returns_rows: true, ..Fence::default() });
    for _ in 0..2 {
        let result = shop.run_query(&fenced).await.expect("runs");
        assert_eq!(rows(&result), r#"[["+00:00","utf8mb4","a\\",1]]"#);
    }
    let id = "SELECT connection_id()";
    let read = unsealed::fenced(id, Vec::new(), Fence { returns_rows: true, ..Fence::default() });
    assert_ne!(shop.json(id).await, rows(&shop.run_query(&read).await.expect("runs")));
}

#[tokio::test]
async fn writes_are_checked_and_undone() {
    let shop = Shop::with_places(1).await;
    for sql in [
        "CREATE TABLE users (id INT PRIMARY KEY, tenant INT NOT NULL) ENGINE = InnoDB",
        "CREATE TABLE orders (id INT PRIMARY KEY, tenant INT NOT NULL CHECK (tenant < 100), note VARCHAR(5), \
         user_id INT, FOREIGN KEY (user_id) REFERENCES users (id)) ENGINE = InnoDB",
        "INSERT INTO users VALUES (1, 1), (2, 2)",
        "INSERT INTO orders SELECT seq, seq % 2 + 1, 'x', NULL FROM seq_1_to_10",
    ] {
        shop.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let content = "SELECT tenant, count(*) FROM orders GROUP BY 1 ORDER BY 1";
    let before = shop.json(content).await;
    let mut seen = Vec::new();
    for sql in [
        "INSERT INTO orders VALUES (20, 1, '', NULL), (21, 2, '', NULL) RETURNING id, tenant = 1",
        "INSERT INTO orders VALUES (20, 1, '', NULL) RETURNING id, NULL",
        "DELETE FROM orders RETURNING tenant = 1",
        "INSERT INTO orders VALUES (20, 1, '', NULL)",
        "INSERT INTO orders VALUES (20, 1, '', 77) RETURNING true",
        "DELETE FROM users WHERE id = 1 RETURNING false",
    ] {
        seen.push(format!("{:?}", shop.run_query(&write(sql, true, None)).await.expect_err(sql)));
        assert_eq!(shop.json(content).await, before, "{sql}");
    }
    seen.push(format!("{:?}", {
        shop.run("INSERT INTO orders VALUES (30, 1, 'x', 2)").await.expect("filled");
        shop.run_query(&write("DELETE FROM users WHERE id = 2 RETURNING true", true, None))
            .await
            .expect_err("kept")
    }));
    shop.run("DELETE FROM orders WHERE id = 30").await.expect("gone");
    seen.dedup();
    assert_eq!(seen, ["RowRefused"]);
    for (sql, check) in [
        ("DELETE FROM orders RETURNING true", true),
        ("UPDATE orders SET note = 'y'", false),
        ("UPDATE orders SET note = 'x'", false),
    ] {
        let refused = shop.run_query(&write(sql, check, Some(9))).await;
        assert!(matches!(refused, Err(SourceError::TooManyRows { limit: 9 })), "{sql}: {refused:?}");
        assert_eq!(shop.json("SELECT count(*) FROM orders WHERE note = 'x'").await, "[[10]]", "{sql}");
    }
    let kept = shop
        .run_query(&write("INSERT INTO orders VALUES (20, 1, '', 1) RETURNING id, tenant = 1", true, Some(1)))
        .await
        .expect("it is fine");
    assert_eq!((rows(&kept), kept.columns.len(), kept.affected), ("[[20]]".to_owned(), 1, Some(1)));
    for (sql, code) in [
        ("INSERT INTO orders VALUES (1, 1, '', NULL) RETURNING true", "23505"),
        ("INSERT INTO orders VALUES (40, 4711, '', NULL) RETURNING true", "23514"),
        ("INSERT INTO orders VALUES (40, NULL, '', NULL) RETURNING true", "23502"),
        ("INSERT INTO orders VALUES (40, 1, 'secretive', NULL) RETURNING true", "22001"),
        ("DELETE FROM orders WHERE updatexml(1, concat(0x7e, note), 1) RETURNING true", "XX000"),
        ("DELETE FROM mysql.global_priv RETURNING true", "42501"),
    ] {
        let error = shop.run_query(&write(sql, true, None)).await.expect_err(sql);
        let (SourceError::Statement { sqlstate: Some(got), .. }
        | SourceError::Constraint { sqlstate: got, .. }) = &error
        else {
            panic!("{sql}: {error:?}");
        };
        assert_eq!(got, code, "{sql}: {error}");
        // The same as for a key that is taken: the row in the way was not to be changed.
        let null_when_taken = Some("tenant".to_owned());
        let fence = Fence { writes: true, null_when_taken, ..Fence::default() };
        let taken = shop.run_query(&unsealed::fenced(sql, Vec::new(), fence)).await.expect_err(sql);
        let is_taken = matches!(&taken, SourceError::Constraint { sqlstate, .. } if sqlstate == "23505");
        assert_eq!(is_taken, ["23502", "23505"].contains(&code), "{sql}: {taken:?}");
        for secret in ["orders", "4711", "tenant", "~", "global_priv", "PRIMARY"] {
            assert!(!error.to_string().contains(secret), "{sql}: {error}");
        }
    }
}
