//! Transactions of several fenced statements on MariaDB.

use std::time::{Duration, Instant};

use ringfence_engine::{EngineLimits, Isolation, ResultSet, RunOptions, SourceError, SourceTransaction};
use ringfence_guard::{Fence, GuardedQuery, unsealed};
use tokio_util::sync::CancellationToken;

use crate::mysql::{Shop, open};
use crate::world::{rows, timeout};

fn read(sql: &str) -> GuardedQuery {
    unsealed::fenced(sql, Vec::new(), Fence { returns_rows: true, ..Fence::default() })
}

fn write(sql: &str) -> GuardedQuery {
    unsealed::fenced(sql, Vec::new(), Fence { writes: true, max_rows: Some(5), ..Fence::default() })
}

fn checked(sql: &str) -> GuardedQuery {
    let fence = Fence { writes: true, check_column: true, returns_rows: true, ..Fence::default() };
    unsealed::fenced(sql, Vec::new(), fence)
}

async fn shop(places: usize) -> Shop {
    let shop = Shop::with(EngineLimits { max_connections_per_pool: places, ..EngineLimits::default() }).await;
    for sql in [
        "CREATE TABLE orders (id INT PRIMARY KEY, note VARCHAR(20) NOT NULL)",
        "INSERT INTO orders VALUES (1, 'x'), (2, 'x'), (3, 'x'), (4, 'x'), (5, 'x'), (6, 'x')",
    ] {
        shop.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    shop
}

async fn begin(shop: &Shop, isolation: Isolation, options: &RunOptions) -> SourceTransaction {
    let cancel = CancellationToken::new();
    shop.engine.begin(&shop.address(), options, isolation, cancel).await.expect("it begins")
}

async fn run(transaction: &mut SourceTransaction, query: &GuardedQuery) -> Result<ResultSet, SourceError> {
    transaction.run(query, &RunOptions::default()).await
}

async fn notes(shop: &Shop) -> String {
    shop.json("SELECT id, note FROM orders WHERE note <> 'x' ORDER BY id").await
}

/// Until nobody holds a row that others may want to change.
async fn until_over(shop: &Shop) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while shop.server.sql("SELECT id FROM shop.orders FOR UPDATE SKIP LOCKED").lines().count() != 6 {
        assert!(Instant::now() < deadline, "a lock stays");
        tokio::time::sleep(Duration::from_millis(20)).await; // poll: until the deadline above
    }
}

const FIRST: &str = "UPDATE orders SET note = 'a' WHERE id = 1";
const SECOND: &str = "UPDATE orders SET note = 'b' WHERE id = 2";

#[tokio::test]
async fn what_is_committed_lasts_together() {
    let shop = shop(1).await;
    let mut transaction = begin(&shop, Isolation::RepeatableRead, &RunOptions::default()).await;
    assert_eq!(run(&mut transaction, &write(FIRST)).await.expect("runs").affected, Some(1));
    let own = run(&mut transaction, &read("SELECT note FROM orders WHERE id = 1")).await.expect("runs");
    assert_eq!(rows(&own), r#"[["a"]]"#);
    let made = checked("INSERT INTO orders VALUES (7, 'c') RETURNING id, TRUE");
    let made = run(&mut transaction, &made).await.expect("runs");
    assert_eq!((rows(&made).as_str(), made.affected, made.columns.len()), ("[[7]]", Some(1), 1));
    assert_eq!(notes(&shop).await, "[]", "nobody else sees it");
    transaction.commit().await.expect("kept");
    assert_eq!(notes(&shop).await, r#"[[1,"a"],[7,"c"]]"#);
}

#[tokio::test]
async fn whatever_ends_it_undoes_everything() {
    let shop = shop(1).await;
    for way in ["check", "rows", "key", "statement", "drop", "idle", "open", "back", "writes"] {
        let whole = timeout(if way == "idle" { 500 } else { 60_000 });
        let mut transaction = begin(&shop, Isolation::ReadCommitted, &whole).await;
        run(&mut transaction, &write(FIRST)).await.expect("runs");
        let ended = match way {
            "check" => {
                run(&mut transaction, &checked("INSERT INTO orders VALUES (8, 'c') RETURNING id, FALSE"))
                    .await
            }
            "rows" => run(&mut transaction, &write("UPDATE orders SET note = 'c'")).await,
            "key" => run(&mut transaction, &write("INSERT INTO orders VALUES (2, 'c')")).await,
            "statement" => {
                let sleeping = write("UPDATE orders SET note = sleep(60) WHERE id = 2");
                transaction.run(&sleeping, &timeout(200)).await
            }
            "idle" => {
                until_over(&shop).await;
                run(&mut transaction, &write(SECOND)).await
            }
            "open" => run(&mut transaction, &open("SELECT 1", false)).await,
            "writes" => run(&mut transaction, &read("SELECT * FROM nowhere")).await,
            _ => Err(SourceError::Cancelled),
        };
        assert!(ended.is_err(), "{way}");
        match way {
            "back" => transaction.roll_back().await.expect("undone"),
            "drop" => drop(transaction),
            _ => assert!(transaction.commit().await.is_err(), "{way}"),
        }
        until_over(&shop).await;
        assert_eq!(notes(&shop).await, "[]", "{way}");
        let mut next = begin(&shop, Isolation::ReadCommitted, &RunOptions::default()).await;
        run(&mut next, &write(SECOND)).await.expect("the place is free");
        let left = run(&mut next, &read("SELECT @@autocommit, @@tx_isolation")).await.expect("runs");
        assert_eq!(rows(&left), r#"[[1,"REPEATABLE-READ"]]"#, "{way}");
        next.roll_back().await.expect("undone");
    }
}

#[tokio::test]
async fn reads_of_one_transaction_fit_together() {
    let shop = shop(2).await;
    let counted = read("SELECT count(*) FROM orders");
    let mut transaction = begin(&shop, Isolation::ReadOnly, &RunOptions::default()).await;
    shop.run("DELETE FROM orders WHERE id > 2").await.expect("runs");
    assert_eq!(rows(&run(&mut transaction, &counted).await.expect("runs")), "[[6]]");
    let many =
        read("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i FROM n");
    let few = transaction.run(&many, &RunOptions { max_rows: 1, ..RunOptions::default() }).await;
    assert_eq!(few.expect("runs").more_rows, 899);
    assert_eq!(rows(&run(&mut transaction, &counted).await.expect("runs")), "[[6]]");
    assert!(run(&mut transaction, &write(FIRST)).await.is_err());
}

#[tokio::test]
async fn conflicts_say_so() {
    let shop = shop(2).await;
    let mut first = begin(&shop, Isolation::RepeatableRead, &RunOptions::default()).await;
    let mut second = begin(&shop, Isolation::RepeatableRead, &RunOptions::default()).await;
    run(&mut first, &write(FIRST)).await.expect("runs");
    run(&mut second, &write(SECOND)).await.expect("runs");
    let (one, other) = (write(SECOND), write(FIRST));
    let (one, other) = tokio::join!(async { run(&mut first, &one).await.map(drop) }, async {
        run(&mut second, &other).await.map(drop)
    });
    let conflicts = [&one, &other].into_iter().filter(|ended| matches!(ended, Err(SourceError::Conflict)));
    assert_eq!(conflicts.count(), 1, "{one:?} {other:?}");
    drop((first, second));
    until_over(&shop).await;
    assert_eq!(notes(&shop).await, "[]");
}
