//! A query sees one version of a table, and a load leaves one.

use ringfence_engine::{LoadMode, RunOptions, SourceError, TableLoad};
use ringfence_guard::open;
use ringfence_policy::{ConnectionKind, OpenAccess};
use tokio_util::sync::CancellationToken;

use crate::{World, address, load};

fn parts(world: &World) -> usize {
    std::fs::read_dir(world.lake.join(".ringfence/data")).unwrap().count()
}

fn version(number: usize) -> String {
    let rows =
        (0..20_000).map(|row| format!("{number},{row},{}\n", "x".repeat(50))).collect::<Vec<_>>().concat();
    format!("v,n,pad\n{rows}")
}

#[tokio::test]
async fn a_stream_keeps_its_version() {
    let world = World::new();
    world.load("t", &version(1)).await;
    let query =
        open("SELECT v, n, pad FROM t", ConnectionKind::Lake, OpenAccess { read_only: false }).unwrap();
    let options = RunOptions::default();
    let mut rows =
        world.engine.stream(&address("shop"), &query, &options, CancellationToken::new()).await.unwrap();
    let first = rows.next().await.unwrap().unwrap();
    world.load("t", &version(2)).await;
    world.engine.remove_table(&address("shop"), "t").await.unwrap();
    // The rows that it began with are still there, though nobody else sees them.
    assert_eq!(parts(&world), 1);
    assert!(world.open("SELECT 1 FROM t").await.is_err());
    let mut seen = first.len();
    while let Some(batch) = rows.next().await.unwrap() {
        assert!(batch.iter().all(|row| matches!(row[0], ringfence_engine::Value::Integer(1))));
        seen += batch.len();
    }
    assert_eq!(seen, 20_000);
    drop(rows);
    for _ in 0..500 {
        if parts(&world) == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await; // poll: they go when their last reader has ended
    }
    panic!("the old files are still there");
}

#[tokio::test]
async fn what_a_killed_load_left_is_removed() {
    let world = World::new();
    world.load("t", "n\n1\n").await;
    let left = world.lake.join(".ringfence/data/0197a4b6-0000-7000-8000-000000000000");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("rows.parquet"), "half").unwrap();
    std::fs::write(world.lake.join(".ringfence/tables/x.new"), "{").unwrap();
    assert_eq!(world.json("SELECT n FROM t").await, "[[1]]");
    world.load("u", "n\n2\n").await;
    assert!(!left.exists());
    assert_eq!(parts(&world), 2);
}

#[tokio::test]
async fn a_load_that_fails_leaves_nothing() {
    let world = World::new();
    world.load("t", "n\n1\n").await;
    let typed = TableLoad { types: vec![("n".to_owned(), "integer".to_owned())], ..load("t") };
    let failed = world.try_load(typed, "n\n1\nx\n").await;
    assert!(matches!(failed, Err(SourceError::Data(_))), "{failed:?}");
    assert_eq!(parts(&world), 1);
    assert_eq!(world.json("SELECT n FROM t").await, "[[1]]");
}

/// Rows of two loads at once are both there.
#[tokio::test]
async fn two_appends_at_once_lose_nothing() {
    let world = World::new();
    world.load("t", "n\n0\n").await;
    let append = || TableLoad { mode: LoadMode::Append, ..load("t") };
    let (one, two, three) = tokio::join!(
        world.try_load(append(), "n\n1\n"),
        world.try_load(append(), "n\n2\n"),
        world.try_load(append(), "n\n3\n"),
    );
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(world.json("SELECT n FROM t ORDER BY n").await, "[[0],[1],[2],[3]]");
}

/// With keys they look at each other: one of two equal ones is refused.
#[tokio::test]
async fn two_appends_at_once_do_not_repeat_a_key() {
    let world = World::new();
    world.try_load(TableLoad { keys: vec!["n".to_owned()], ..load("t") }, "n\n0\n").await.unwrap();
    let append = || TableLoad { mode: LoadMode::Append, ..load("t") };
    let (one, two) = tokio::join!(world.try_load(append(), "n\n1\n"), world.try_load(append(), "n\n1\n"));
    assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1, "{one:?} {two:?}");
    assert_eq!(world.json("SELECT n FROM t ORDER BY n").await, "[[0],[1]]");
}
