//! Rewritten statements on SQLite files: values, the wall behind the guard, and what is undone.

use ringfence_engine::{ResultSet, RunOptions, SourceError};
use ringfence_guard::{Fence, GuardedQuery, Parameter, unsealed};
use tokio_util::sync::CancellationToken;

use crate::sqlite::{Files, address};
use crate::world::rows;

fn fence(relations: &[&str], functions: &[&str]) -> Fence {
    Fence {
        returns_rows: true,
        relations: relations.iter().map(|name| ("main".to_owned(), (*name).to_owned())).collect(),
        functions: functions.iter().map(|&name| name.to_owned()).collect(),
        ..Fence::default()
    }
}

fn read(sql: &str, relations: &[&str], functions: &[&str]) -> GuardedQuery {
    unsealed::fenced(sql, Vec::new(), fence(relations, functions))
}

fn write(sql: &str, check_column: bool, returns_rows: bool, max_rows: Option<u64>) -> GuardedQuery {
    let fence =
        Fence { writes: true, check_column, returns_rows, max_rows, ..fence(&["shops", "orders"], &[]) };
    unsealed::fenced(sql, Vec::new(), fence)
}

async fn run(files: &Files, query: &GuardedQuery) -> Result<ResultSet, SourceError> {
    let options = RunOptions::default();
    files.engine.run(&address("shop.db"), query, &options, CancellationToken::new()).await
}

async fn content(files: &Files) -> String {
    files.json("SELECT id, name FROM shops ORDER BY id").await
}

#[tokio::test]
async fn values_are_bound_as_they_are() {
    let files = Files::new();
    let odd = "it's \\ \"a\" \u{fc}\u{1f600} ?1 --";
    for (parameter, json) in [
        (Parameter::Null, serde_json::json!([[null, "null"]])),
        (Parameter::Text(odd.to_owned()), serde_json::json!([[odd, "text"]])),
        (Parameter::Integer(i64::MIN), serde_json::json!([[i64::MIN, "integer"]])),
        (Parameter::Float(1.5), serde_json::json!([[1.5, "real"]])),
        (Parameter::Bool(true), serde_json::json!([[1, "integer"]])),
    ] {
        let query = unsealed::fenced("SELECT ?1, typeof(?1)", vec![parameter], fence(&[], &["typeof"]));
        assert_eq!(rows(&run(&files, &query).await.expect("it runs")), json.to_string());
    }
    for (sql, parameters) in [
        ("SELECT ?1", vec![]),
        ("SELECT 1", vec![Parameter::Null]),
        ("SELECT ?1", vec![Parameter::List(vec![])]),
    ] {
        let refused = run(&files, &unsealed::fenced(sql, parameters, fence(&[], &[]))).await;
        assert!(matches!(refused, Err(SourceError::Statement { .. })), "{sql}: {refused:?}");
    }
}

#[tokio::test]
async fn the_wall_behind_the_guard_lets_nothing_else_through() {
    let files = Files::new();
    files.run("CREATE VIEW spy AS SELECT shop FROM orders").await.expect("made");
    for (sql, relations, functions) in [
        ("SELECT name FROM main.shops", &["shops"][..], &[][..]),
        ("SELECT upper(s.name) FROM (SELECT * FROM main.shops) AS s", &["SHOPS"], &["upper"]),
        ("WITH a AS MATERIALIZED (SELECT * FROM main.shops) SELECT count(*) FROM a", &["shops"], &["count"]),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3) SELECT i FROM n", &[], &[]),
        // A view reads what its owner had it read.
        ("SELECT name FROM main.v", &["v"], &[]),
    ] {
        let result = run(&files, &read(sql, relations, functions)).await;
        assert!(result.is_ok(), "{sql}: {result:?}");
    }
    for (sql, relations, functions) in [
        ("SELECT shop FROM main.orders", &["shops"][..], &[][..]),
        ("SELECT count(*) FROM main.orders", &["shops"], &["count"]),
        ("SELECT name FROM main.shops WHERE EXISTS (SELECT 1 FROM main.orders)", &["shops"], &[]),
        ("SELECT (SELECT max(no) FROM main.orders)", &["shops"], &["max"]),
        ("SELECT shop FROM main.spy", &["shops"], &[]),
        ("SELECT shop FROM main.spy", &["v", "shops"], &[]),
        // The name of a WITH query is anyone's choice.
        ("WITH v AS (SELECT shop FROM main.orders) SELECT * FROM v", &["v"], &[]),
        ("WITH shops AS (SELECT shop FROM main.orders) SELECT * FROM shops", &["shops", "v"], &[]),
        ("SELECT sql FROM main.sqlite_schema", &["shops"], &[]),
        ("SELECT * FROM pragma_table_info('orders')", &["shops"], &[]),
        ("PRAGMA table_info(orders)", &["shops"], &[]),
        ("SELECT upper(name) FROM main.shops", &["shops"], &[]),
        ("SELECT name FROM main.shops WHERE name LIKE 'a'", &["shops"], &["upper"]),
        ("DELETE FROM main.shops", &["shops"], &[]),
    ] {
        for _ in 0..2 {
            let refused = run(&files, &read(sql, relations, functions)).await;
            match refused {
                Err(SourceError::Statement { message, .. }) => {
                    assert!(!message.contains("orders") && !message.contains("main"), "{sql}: {message}");
                }
                other => panic!("{sql}: {other:?}"),
            }
        }
        let plan = files
            .engine
            .explain(&address("shop.db"), &read(sql, relations, functions), &RunOptions::default())
            .await;
        assert!(plan.is_err(), "{sql}: {plan:?}");
    }
    let stray = write("DELETE FROM main.v", false, false, None);
    assert!(run(&files, &stray).await.is_err());
    let elsewhere = write("CREATE TABLE main.mine (a)", false, false, None);
    assert!(run(&files, &elsewhere).await.is_err());
}

#[tokio::test]
async fn what_columns_are_generated_by_may_be_called() {
    let files = Files::new();
    let made = "CREATE TABLE people (mail TEXT, host TEXT AS (substr(mail, instr(mail, '@') + 1)) STORED)";
    files.run(made).await.expect("made");
    for sql in [
        "SELECT DISTINCT p.* FROM (SELECT mail, host FROM main.people) AS p JOIN main.shops AS s ON s.name = p.host",
        "SELECT host FROM main.people UNION SELECT name FROM main.shops",
    ] {
        let result = run(&files, &read(sql, &["people", "shops"], &[])).await;
        assert!(result.is_ok(), "{sql}: {result:?}");
    }
    let other = run(&files, &read("SELECT upper(host) FROM main.people", &["people"], &[])).await;
    assert!(matches!(other, Err(SourceError::Statement { .. })), "{other:?}");
}

#[tokio::test]
async fn writes_are_checked_and_undone() {
    let files = Files::new();
    let before = content(&files).await;
    for sql in [
        "INSERT INTO main.shops VALUES (3, 'Oslo', 1), (4, 'Bonn', 0) RETURNING id, open = 1",
        "UPDATE main.shops SET name = name || 'x' RETURNING name, NULL",
        "UPDATE main.shops SET open = 5 RETURNING open",
        "INSERT INTO main.shops VALUES (3, 'Oslo', 1)",
    ] {
        for returns_rows in [true, false] {
            let refused = run(&files, &write(sql, true, returns_rows, None)).await;
            assert!(matches!(refused, Err(SourceError::RowRefused)), "{sql}: {refused:?}");
            assert_eq!(content(&files).await, before, "{sql}");
        }
    }
    for (sql, check) in [
        ("UPDATE main.shops SET open = 1 RETURNING id, 1", true),
        ("DELETE FROM main.shops", false),
        ("INSERT INTO main.shops VALUES (3, 'a', 1), (4, 'b', 0) RETURNING 1", true),
    ] {
        let refused = run(&files, &write(sql, check, true, Some(1))).await;
        assert!(matches!(refused, Err(SourceError::TooManyRows { limit: 1 })), "{sql}: {refused:?}");
        assert_eq!(content(&files).await, before, "{sql}");
    }
    let insert = "INSERT INTO main.shops VALUES (3, 'Oslo', 1), (4, 'Bonn', 0) RETURNING id, id > 2";
    let shown = run(&files, &write(insert, true, true, Some(2))).await.expect("both are fine");
    assert_eq!((rows(&shown), shown.columns.len(), shown.affected), ("[[3],[4]]".to_owned(), 1, Some(2)));
    let counted = run(&files, &write("UPDATE main.shops SET open = 0 RETURNING 1", true, false, None)).await;
    let counted = counted.expect("all are fine");
    assert_eq!((counted.rows.len(), counted.columns.len(), counted.affected), (0, 0, Some(4)));
    assert_eq!(counted.more_rows, 0);
    let deleted = run(&files, &write("DELETE FROM main.shops WHERE id > 2", false, false, Some(2))).await;
    assert_eq!(deleted.expect("two rows").affected, Some(2));
    assert_eq!(content(&files).await, before);
}

#[tokio::test]
async fn errors_print_nothing_of_rows_and_references_look_alike() {
    let files = Files::new();
    let mut seen = Vec::new();
    for sql in [
        "INSERT INTO main.orders VALUES (2, 1, NULL) RETURNING shop = 1",
        "INSERT INTO main.orders VALUES (77, 1, NULL) RETURNING shop = 1",
        "INSERT INTO main.orders VALUES (77, 1, NULL) RETURNING true",
    ] {
        seen.push(format!("{:?}", run(&files, &write(sql, true, true, None)).await.expect_err("refused")));
    }
    seen.dedup();
    assert_eq!(seen, ["RowRefused"]);
    for (sql, code) in [
        ("INSERT INTO main.shops VALUES (1, 'x', 1) RETURNING 1", "23505"),
        ("INSERT INTO main.shops VALUES (9, 'Paris', 1) RETURNING 1", "23505"),
        ("INSERT INTO main.shops VALUES (9, NULL, 1) RETURNING 1", "23000"),
    ] {
        match run(&files, &write(sql, true, true, None)).await {
            Err(SourceError::Constraint { message, sqlstate }) => {
                assert_eq!(sqlstate, code, "{sql}");
                assert!(!message.contains("shops"), "{message}");
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn triggers_and_cascades_do_their_owners_work() {
    let files = Files::new();
    for sql in [
        "CREATE TABLE log (what TEXT)",
        "CREATE TRIGGER noted AFTER INSERT ON shops BEGIN INSERT INTO log SELECT upper(new.name); END",
        "CREATE TABLE shelves (shop INT REFERENCES shops ON DELETE CASCADE)",
        "INSERT INTO shelves VALUES (2)",
    ] {
        files.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    run(&files, &write("INSERT INTO main.shops VALUES (3, 'Oslo', 1) RETURNING 1", true, true, None))
        .await
        .expect("the trigger may write");
    assert_eq!(files.json("SELECT what FROM log").await, r#"[["OSLO"]]"#);
    run(&files, &write("DELETE FROM main.shops WHERE id = 2", false, false, None)).await.expect("cascades");
    assert_eq!(files.json("SELECT count(*) FROM shelves").await, "[[0]]");
    let peeking =
        run(&files, &write("INSERT INTO main.log VALUES ('x') RETURNING 1", true, true, None)).await;
    assert!(peeking.is_err(), "{peeking:?}");
}
