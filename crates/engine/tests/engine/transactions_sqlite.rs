//! Transactions of several fenced statements on SQLite files.

use std::time::Duration;

use ringfence_engine::{Isolation, ResultSet, RunOptions, SourceError, SourceTransaction};
use ringfence_guard::{Fence, GuardedQuery, unsealed};
use tokio_util::sync::CancellationToken;

use crate::sqlite::{Files, address, query};
use crate::world::{rows, timeout, until};

fn read(sql: &str, relations: &[&str]) -> GuardedQuery {
    unsealed::fenced(sql, Vec::new(), fence(relations))
}

fn write(sql: &str, relations: &[&str]) -> GuardedQuery {
    let fence = Fence { writes: true, check_column: true, max_rows: Some(2), ..fence(relations) };
    unsealed::fenced(sql, Vec::new(), fence)
}

fn fence(relations: &[&str]) -> Fence {
    Fence {
        returns_rows: true,
        relations: relations.iter().map(|name| ("main".to_owned(), (*name).to_owned())).collect(),
        ..Fence::default()
    }
}

async fn begin(files: &Files, isolation: Isolation) -> SourceTransaction {
    begin_until(files, isolation, &RunOptions::default(), CancellationToken::new()).await.expect("it begins")
}

async fn begin_until(
    files: &Files,
    isolation: Isolation,
    options: &RunOptions,
    cancel: CancellationToken,
) -> Result<SourceTransaction, SourceError> {
    files.engine.begin(&address("shop.db"), options, isolation, cancel).await
}

async fn run(transaction: &mut SourceTransaction, query: &GuardedQuery) -> Result<ResultSet, SourceError> {
    transaction.run(query, &RunOptions::default()).await
}

async fn content(files: &Files) -> String {
    files.json("SELECT name FROM shops ORDER BY id").await
}

const FIRST: &str = "UPDATE main.shops SET name = 'Lyon' WHERE id = 1 RETURNING id, 1";
const SECOND: &str = "INSERT INTO main.orders VALUES (1, 7, NULL) RETURNING no, 1";
const BEFORE: &str = r#"[["Paris"],["Rome"]]"#;

#[tokio::test]
async fn what_is_committed_lasts_together() {
    let files = Files::new();
    let mut transaction = begin(&files, Isolation::RepeatableRead).await;
    let first = run(&mut transaction, &write(FIRST, &["shops"])).await.expect("runs");
    assert_eq!((rows(&first).as_str(), first.affected, first.columns.len()), ("[[1]]", Some(1), 1));
    let own = run(&mut transaction, &read("SELECT name FROM main.shops WHERE id = 1", &["shops"])).await;
    assert_eq!(rows(&own.expect("runs")), r#"[["Lyon"]]"#);
    run(&mut transaction, &write(SECOND, &["orders", "shops"])).await.expect("runs");
    assert_eq!(content(&files).await, BEFORE, "nobody else sees it");
    transaction.commit().await.expect("kept");
    assert_eq!(content(&files).await, r#"[["Lyon"],["Rome"]]"#);
    assert_eq!(files.json("SELECT no FROM orders").await, "[[7]]");
}

#[tokio::test]
async fn each_statement_meets_its_own_fence() {
    let files = Files::new();
    let shops = "SELECT name FROM main.shops";
    let orders = "SELECT no FROM main.orders";
    for (sql, relations, before) in [
        (orders, &["shops"][..], write(FIRST, &["shops", "orders"])),
        (shops, &["orders"], read(shops, &["shops"])),
        ("SELECT upper(no) FROM main.orders", &["orders"], read(shops, &["shops"])),
        // A read after a write writes nothing.
        ("DELETE FROM main.shops RETURNING id", &["shops"], write(FIRST, &["shops"])),
        // The guard makes no such query.
        ("COMMIT", &["shops"], write(FIRST, &["shops"])),
    ] {
        let mut transaction = begin(&files, Isolation::RepeatableRead).await;
        run(&mut transaction, &before).await.expect("runs");
        let refused = run(&mut transaction, &read(sql, relations)).await;
        assert!(matches!(refused, Err(SourceError::Statement { .. })), "{sql}: {refused:?}");
        assert!(transaction.commit().await.is_err());
        assert_eq!(content(&files).await, BEFORE, "{sql}");
    }
    // And no more than its own: what the one before could not touch, the next may.
    let mut transaction = begin(&files, Isolation::ReadOnly).await;
    for (sql, relations) in [(shops, &["shops"]), (orders, &["orders"]), (shops, &["shops"])] {
        run(&mut transaction, &read(sql, relations)).await.expect("runs");
    }
}

#[tokio::test]
async fn whatever_ends_it_undoes_everything() {
    let files = Files::new();
    let long = read(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0",
        &["shops"],
    );
    for way in ["check", "rows", "key", "statement", "drop", "drop a call", "cancel", "idle", "open", "back"]
    {
        let cancel = CancellationToken::new();
        let whole = timeout(if way == "idle" { 300 } else { 60_000 });
        let begun = begin_until(&files, Isolation::ReadCommitted, &whole, cancel.clone()).await;
        let mut transaction = begun.expect("it begins");
        run(&mut transaction, &write(FIRST, &["shops"])).await.expect("runs");
        let ended = match way {
            "check" => {
                let sql = "UPDATE main.shops SET name = 'Nice' WHERE id = 2 RETURNING id, 0";
                run(&mut transaction, &write(sql, &["shops"])).await
            }
            "rows" => {
                let sql = "INSERT INTO main.orders VALUES (1, 1, 1), (1, 2, 1), (1, 3, 1) RETURNING no, 1";
                run(&mut transaction, &write(sql, &["shops", "orders"])).await
            }
            "key" => {
                let sql = "INSERT INTO main.shops VALUES (2, 'x', 1) RETURNING id, 1";
                run(&mut transaction, &write(sql, &["shops"])).await
            }
            "statement" => transaction.run(&long, &timeout(100)).await,
            "drop a call" => {
                let dropped =
                    tokio::time::timeout(Duration::from_millis(100), run(&mut transaction, &long)).await;
                dropped.unwrap_or(Err(SourceError::Cancelled))
            }
            "cancel" => {
                cancel.cancel();
                run(&mut transaction, &write(SECOND, &["shops", "orders"])).await
            }
            "idle" => {
                until("the file is closed", || files.engine.open_connections() == 0).await;
                run(&mut transaction, &write(SECOND, &["shops", "orders"])).await
            }
            "open" => run(&mut transaction, &query("SELECT 1", false)).await,
            _ => Err(SourceError::Cancelled),
        };
        assert!(ended.is_err(), "{way}");
        if way == "back" {
            transaction.roll_back().await.expect("undone");
        } else if way == "drop" {
            drop(transaction);
        } else {
            assert!(transaction.commit().await.is_err(), "{way}");
        }
        until("the file is closed", || files.engine.open_connections() == 0).await;
        let mut next = begin(&files, Isolation::ReadCommitted).await;
        run(&mut next, &write(FIRST, &["shops"])).await.expect("nobody holds a lock");
        drop(next);
        assert_eq!(content(&files).await, BEFORE, "{way}");
        assert_eq!(files.json("SELECT count(*) FROM orders").await, "[[0]]", "{way}");
        until("the file is closed", || files.engine.open_connections() == 0).await;
    }
}

#[tokio::test]
async fn one_writes_at_a_time() {
    let files = Files::new();
    let mut first = begin(&files, Isolation::RepeatableRead).await;
    run(&mut first, &write(FIRST, &["shops"])).await.expect("runs");
    let short = timeout(300);
    let second = begin_until(&files, Isolation::RepeatableRead, &short, CancellationToken::new()).await.err();
    assert!(matches!(second, Some(SourceError::Conflict)), "{second:?}");
    // Readers see what was before, and hold the picture.
    first.commit().await.expect("kept");
    let mut reader = begin(&files, Isolation::ReadOnly).await;
    let refused = run(&mut reader, &write(FIRST, &["shops"])).await;
    assert!(matches!(&refused, Err(SourceError::Statement { sqlstate: Some(code), .. }) if code == "25006"));
}
