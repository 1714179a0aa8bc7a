//! Rows, bytes, time.

use std::time::Duration;

use ringfence_engine::{EngineLimits, RunOptions, SourceError};
use tokio_util::sync::CancellationToken;

use crate::world::{World, open, timeout};

fn rows(max_rows: u64) -> RunOptions {
    RunOptions { max_rows, ..RunOptions::default() }
}

#[tokio::test]
async fn rows_beyond_the_cap_are_counted_or_stopped() {
    let world = World::with_places(1).await;
    for (all, most, kept, more) in [
        (10_u64, 10, 10, 0..=0),
        (11, 10, 10, 1..=1),
        (200, 10, 10, 190..=190),
        (5, 0, 0, 5..=5),
        (0, 0, 0, 0..=0),
    ] {
        let result =
            world.run_with(&format!("SELECT generate_series(1, {all})"), &rows(most)).await.expect("runs");
        assert_eq!(result.rows.len(), kept);
        assert!(more.contains(&result.more_rows), "{all} rows, at most {most}: {} more", result.more_rows);
    }
    let endless =
        world.run_with("SELECT i FROM (SELECT generate_series(1, 1000000000000) i) s", &rows(10)).await;
    let endless = endless.expect("it is stopped early");
    assert_eq!(endless.rows.len(), 10);
    assert!(endless.more_rows > 0);
    world.until_active("%generate_series(1, 1000000000000)%", 0).await;
    assert_eq!(world.json("SELECT 1").await, "[[1]]");
}

#[tokio::test]
async fn an_effect_is_whole_whatever_the_cap() {
    let world = World::with_places(1).await;
    world.run("CREATE TABLE t (a int)").await.expect("made");
    let sql = "INSERT INTO t SELECT generate_series(1, 5000) RETURNING a";
    let result = world.run_with(sql, &rows(10)).await.expect("runs");
    assert_eq!((result.rows.len(), result.more_rows, result.affected), (10, 4990, Some(5000)));
    assert_eq!(world.json("SELECT count(*) FROM t").await, "[[5000]]");
}

#[tokio::test]
async fn bytes_are_bounded_for_all_rows_and_for_each() {
    let world = World::with(EngineLimits {
        max_connections_per_pool: 1,
        max_row_bytes: 1024 * 1024,
        ..EngineLimits::default()
    })
    .await;
    let all = RunOptions { max_bytes: 100_000, ..RunOptions::default() };
    for sql in [
        "SELECT repeat('x', 1000) FROM generate_series(1, 1000)",
        "SELECT repeat('x', 1000), '::1'::inet FROM generate_series(1, 1000)",
    ] {
        let result = world.run_with(sql, &all).await;
        assert!(matches!(result, Err(SourceError::TooLarge { limit_bytes: 100_000 })), "{result:?}");
    }
    for sql in [
        "SELECT repeat('x', 2000000)",
        "SELECT repeat('x', 2000000), '::1'::inet",
        "DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', 2000000); END $$",
    ] {
        let result = world.run(sql).await;
        assert!(matches!(result, Err(SourceError::TooLarge { limit_bytes: 1_048_576 })), "{result:?}");
    }
    assert_eq!(world.json("SELECT length(repeat('x', 2000000))").await, "[[2000000]]");
    world.until_open(1).await;
}

#[tokio::test]
async fn time_is_bounded_wherever_it_is_spent() {
    let world = World::with_places(1).await;
    for sql in [
        "SELECT pg_sleep(602)",
        "SELECT count(*) FROM generate_series(1, 1000000000000)",
        "SELECT '::1'::inet, pg_sleep(602)",
        "DO $$ BEGIN LOOP END LOOP; END $$",
    ] {
        let result = world.run_with(sql, &timeout(100)).await;
        assert!(matches!(result, Err(SourceError::TimedOut { limit_ms: 100 })), "{sql}: {result:?}");
    }
    world.until_active("%", 0).await;
    // A statement that its own setting stops is an error of that statement.
    let options = RunOptions {
        session_parameters: vec![(ringfence_engine::SessionParameter::StatementTimeout, "50".to_owned())],
        ..RunOptions::default()
    };
    let stopped = world.run_with("SELECT pg_sleep(603)", &options).await;
    assert!(
        matches!(&stopped, Err(SourceError::Statement { sqlstate: Some(code), .. }) if code == "57014"),
        "{stopped:?}"
    );
}

#[tokio::test]
async fn a_stream_gives_every_row_in_order_and_keeps_its_time_limit() {
    let world = World::with_places(1).await;
    let query = open("SELECT i, repeat('x', 50) FROM generate_series(1, 20000) i");
    let mut stream = world
        .engine
        .stream(&world.address(), &query, &RunOptions::default(), CancellationToken::new())
        .await
        .expect("starts");
    assert_eq!(stream.columns().len(), 2);
    let mut next = 1;
    while let Some(batch) = stream.next().await.expect("goes on") {
        assert!(!batch.is_empty() && batch.len() <= 500);
        for row in batch {
            assert!(matches!(row[0], ringfence_engine::Value::Integer(i) if i == next));
            next += 1;
        }
    }
    assert_eq!(next, 20_001);
    assert!(stream.next().await.expect("stays ended").is_none());
    drop(stream);
    // Nobody asks for the second batch: the statement is stopped all the same.
    let endless = open("SELECT i FROM (SELECT generate_series(1, 1000000000000) i) s");
    let mut stream = world
        .engine
        .stream(&world.address(), &endless, &timeout(2000), CancellationToken::new())
        .await
        .expect("starts");
    assert!(stream.next().await.expect("goes on").is_some());
    world.until_active("%generate_series(1, 1000000000000)%", 0).await;
    let end = loop {
        match stream.next().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Err(SourceError::TimedOut { limit_ms: 2000 })), "{end:?}");
    assert_eq!(world.json("SELECT 1").await, "[[1]]");
}

#[tokio::test]
async fn copy_is_refused_and_never_hangs() {
    let world = World::with_places(1).await;
    world.run("CREATE TABLE t (a int)").await.expect("made");
    // The guard refuses COPY by its first word; these spellings are for the day that it misses one.
    for sql in ["COPY t TO STDOUT", "COPY t FROM STDIN", "COPY (SELECT 1) TO STDOUT"] {
        assert!(
            ringfence_guard::open(
                sql,
                ringfence_policy::ConnectionKind::Postgresql,
                ringfence_policy::OpenAccess { read_only: false }
            )
            .is_err()
        );
    }
    for sql in ["DO $$ BEGIN COPY t TO STDOUT; END $$", "DO $$ BEGIN EXECUTE 'COPY t FROM STDIN'; END $$"] {
        let refused = world
            .run_with(sql, &RunOptions { timeout: Duration::from_secs(20), ..RunOptions::default() })
            .await;
        assert!(matches!(refused, Err(SourceError::Statement { .. })), "{sql}: {refused:?}");
        assert_eq!(world.json("SELECT 1").await, "[[1]]");
    }
    {
        let sql = "SELECT 1; SELECT 2";
        assert!(
            ringfence_guard::open(
                sql,
                ringfence_policy::ConnectionKind::Postgresql,
                ringfence_policy::OpenAccess { read_only: false }
            )
            .is_err()
        );
    }
}
