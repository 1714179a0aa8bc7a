//! What statements may do, how long, and with how much memory.

use std::time::Duration;

use ringfence_engine::{Explained, RunOptions, SourceError};
use ringfence_guard::{Parameter, open};
use ringfence_policy::{ConnectionKind, OpenAccess};
use tokio_util::sync::CancellationToken;

use crate::{World, address, sqlstate};

fn numbers(count: usize) -> String {
    format!("n\n{}", (0..count).map(|n| format!("{n}\n")).collect::<Vec<_>>().concat())
}

#[tokio::test]
async fn statements_only_read() {
    let world = World::new();
    world.load("t", "n\n1\n").await;
    let out = world.lake.join("out.csv");
    for statement in [
        format!("COPY t TO '{}'", out.display()),
        "CREATE EXTERNAL TABLE u STORED AS CSV LOCATION '/etc/passwd'".to_owned(),
        "CREATE TABLE u AS SELECT 1".to_owned(),
        "INSERT INTO t VALUES (2)".to_owned(),
        "DELETE FROM t".to_owned(),
        "DROP TABLE t".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        "EXPLAIN ANALYZE SELECT * FROM t".to_owned(),
        "SHOW TABLES".to_owned(),
        "DESCRIBE t".to_owned(),
        "SELECT * FROM '/etc/passwd'".to_owned(),
        "SELECT * FROM information_schema.df_settings".to_owned(),
        "SELECT * FROM generate_series(1, 3)".to_owned(),
    ] {
        assert!(world.open(&statement).await.is_err(), "{statement}");
    }
    assert!(!out.exists());
    assert_eq!(world.json("SELECT n FROM t").await, "[[1]]");
}

#[tokio::test]
async fn deep_and_long_statements_do_not_end_the_process() {
    let world = World::new();
    let deep = |levels: usize| format!("SELECT length(''{})", "||'x'".repeat(levels));
    assert!(world.open(&deep(30_000)).await.is_err());
    // As deep as one can be: it may be refused, and it may be answered.
    let _ = world.open(&deep(6_000)).await;
    let _ = world.open(&format!("SELECT {}1{}", "(".repeat(15_000), ")".repeat(15_000))).await;
    assert!(world.open("SELECT repeat('x', 900000000)").await.is_err());
    assert_eq!(world.json("SELECT 1").await, "[[1]]");
}

#[tokio::test]
async fn a_lake_is_inside_its_directories() {
    let world = World::new();
    assert!(world.engine.probe(&address("shop")).await.is_ok());
    for outside in ["../outside", "/etc", "", "nowhere", "shop/../../outside"] {
        let probed = world.engine.probe(&address(outside)).await;
        assert!(matches!(probed, Err(SourceError::FileNotAllowed(_))), "{outside}: {probed:?}");
    }
    let place = world.engine.place(&address("shop")).unwrap();
    assert_eq!(world.engine.place(&address("./shop/")).unwrap(), place);
}

#[tokio::test]
async fn parameters_take_the_type_of_their_place() {
    let world = World::new();
    world.load("t", "n,s,d\n1,a,2024-01-31\n2,b,2024-02-01\n").await;
    let text = |text: &str| Parameter::Text(text.to_owned());
    for (sql, parameters, expected) in [
        (r#"SELECT "n" FROM "public"."t" WHERE "n" = $1"#, vec![text("2")], 1),
        (
            r#"SELECT "n" FROM "public"."t" WHERE "d" > $1 AND "s" = $2"#,
            vec![text("2024-01-31"), text("b")],
            1,
        ),
        (r#"SELECT "n" FROM "public"."t" LIMIT $1"#, vec![text("1")], 1),
        (
            r#"SELECT "n" FROM "public"."t" WHERE "n" IN ($1, $2)"#,
            vec![Parameter::Integer(1), Parameter::Null],
            1,
        ),
    ] {
        let result = world.fenced(sql, parameters).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(result.rows.len(), expected, "{sql}");
    }
    let wrong = world.fenced(r#"SELECT 1 FROM "public"."t" WHERE "n" = $1"#, vec![text("x")]).await;
    assert_eq!(sqlstate(wrong), "22P02");
    let missing = world.fenced(r#"SELECT 1 FROM "public"."t" WHERE "n" = $1"#, Vec::new()).await;
    assert!(missing.is_err());
}

#[tokio::test]
async fn a_query_ends_in_time_and_when_it_is_cancelled() {
    let world = World::new();
    world.load("t", &numbers(3_000)).await;
    let sql = "SELECT count(*) FROM t a, t b, t c WHERE (a.n + b.n * c.n) % 7 = 3";
    let query = open(sql, ConnectionKind::Lake, OpenAccess { read_only: false }).unwrap();
    let options = RunOptions { timeout: Duration::from_millis(200), ..RunOptions::default() };
    let late = world.engine.run(&address("shop"), &query, &options, CancellationToken::new()).await;
    assert!(matches!(late, Err(SourceError::TimedOut { .. })), "{late:?}");
    let cancel = CancellationToken::new();
    let (address, unlimited) = (address("shop"), RunOptions::default());
    let running = world.engine.run(&address, &query, &unlimited, cancel.clone());
    let cancelling = async {
        tokio::task::yield_now().await;
        cancel.cancel();
    };
    let (cancelled, ()) = tokio::join!(running, cancelling);
    assert!(matches!(cancelled, Err(SourceError::Cancelled)), "{cancelled:?}");
    assert_eq!(world.json("SELECT count(*) FROM t").await, "[[3000]]");
}

#[tokio::test]
async fn rows_and_bytes_are_limited() {
    let world = World::new();
    world.load("t", &numbers(10_000)).await;
    let query = open("SELECT n FROM t", ConnectionKind::Lake, OpenAccess { read_only: false }).unwrap();
    let options = RunOptions { max_rows: 10, ..RunOptions::default() };
    let few = world.engine.run(&address("shop"), &query, &options, CancellationToken::new()).await.unwrap();
    assert_eq!(few.rows.len(), 10);
    assert!(few.more_rows > 0);
    let options = RunOptions { max_bytes: 10_000, ..RunOptions::default() };
    let large = world.engine.run(&address("shop"), &query, &options, CancellationToken::new()).await;
    assert!(matches!(large, Err(SourceError::TooLarge { .. })), "{large:?}");
}

#[tokio::test]
async fn what_does_not_fit_into_memory_goes_to_the_disk_or_is_refused() {
    let rows = (0..100_000)
        .map(|n| format!("{},{}\n", (n * 7_919) % 100_000, "y".repeat(100)))
        .collect::<Vec<_>>()
        .concat();
    let csv = format!("n,pad\n{rows}");
    let sql =
        "SELECT max(r), max(pad) FROM (SELECT pad, row_number() OVER (ORDER BY pad, n) AS r FROM t) AS x";
    let spilling = World::with(|settings| settings.memory_bytes = 8 * 1024 * 1024);
    spilling.load("t", &csv).await;
    let last = spilling.open(sql).await.unwrap();
    assert_eq!(last.rows.len(), 1);
    let full = World::with(|settings| (settings.memory_bytes, settings.spill_bytes) = (1024 * 1024, 0));
    full.load("t", &csv).await;
    let refused = full.open(sql).await;
    assert!(matches!(refused, Err(SourceError::OutOfMemory(_))), "{refused:?}");
    assert_eq!(full.json("SELECT count(*) FROM t").await, "[[100000]]");
}

#[tokio::test]
async fn a_plan_names_the_relations_that_it_reads() {
    let world = World::new();
    world.load("t", "n\n1\n").await;
    world.load("u", "n\n1\n").await;
    let sql = "SELECT 1 FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.n = t.n)";
    let query = open(sql, ConnectionKind::Lake, OpenAccess { read_only: false }).unwrap();
    let plan = world.engine.explain(&address("shop"), &query, &RunOptions::default()).await.unwrap();
    let Explained::Plan(mut read) = plan else { panic!("{plan:?}") };
    read.sort();
    let public = |name: &str| ("public".to_owned(), name.to_owned());
    assert_eq!(read, [public("t"), public("u")]);
    let lines = world.json("EXPLAIN SELECT n FROM t").await;
    assert!(lines.contains("TableScan") && !lines.contains(world.lake.to_str().unwrap()), "{lines}");
}

/// A filter makes `y` constant, and a total makes it null: who takes it for constant in both puts rows into wrong windows.
#[tokio::test]
async fn windows_over_totals_are_right() {
    let world = World::new();
    let rows =
        (0..60).map(|n| format!("a{},{},b{}\n", n % 3, 2024 + n % 2, n % 5)).collect::<Vec<_>>().concat();
    world.load("t", &format!("a,y,b\n{rows}")).await;
    let sums = world
        .json(
            "WITH c AS (SELECT a, y, b, 3 - (grouping(a) + grouping(y) + grouping(b)) AS d, count(*) AS n FROM t \
             WHERE y = 2024 GROUP BY ROLLUP (a, y, b)), \
             w AS (SELECT d, n, max(CASE WHEN d = 2 THEN n END) OVER (PARTITION BY a, y) AS whole FROM c WHERE d > 0) \
             SELECT d, count(*), count(whole), min(whole) FROM w GROUP BY d ORDER BY d",
        )
        .await;
    assert_eq!(sums, "[[1,3,0,null],[2,3,3,10],[3,15,15,10]]");
}

/// What a filter says of an expression must not mislead the plans behind it.
#[tokio::test]
async fn filters_on_expressions_can_be_sorted_behind() {
    let world = World::new();
    world.load("f", "p,y,q\na,2024,1\nb,2025,2\n,2026,3\nz,2027,4\n").await;
    world.load("d", "p,c\na,x\nb,\n").await;
    let rows = world
        .json(
            "WITH facts AS (SELECT coalesce(d.c, 'N/A') AS l0, f.y AS l1, f.q AS c0 FROM f LEFT JOIN d ON d.p = f.p \
             WHERE coalesce(d.c, 'N/A') >= 'N/A' AND coalesce(d.c, 'N/A') <= 'N/A'), \
             cells AS (SELECT 2 AS d, l0, l1, sum(c0) AS m FROM facts GROUP BY l0, l1) \
             SELECT l0, l1, m FROM cells WHERE NOT (m IS NULL) ORDER BY l0, l1 LIMIT 1000",
        )
        .await;
    assert_eq!(rows, r#"[["N/A",2025,2],["N/A",2026,3],["N/A",2027,4]]"#);
}
