//! Pools: made on demand, bounded, and gone when idle.

use std::time::Duration;

use ringfence_engine::{Engine, EngineLimits, RunOptions, SourceError};
use tokio_util::sync::CancellationToken;

use crate::world::{World, open, rows, run_at};

#[tokio::test]
async fn sessions_are_shared_within_a_scope_only() {
    // One place: a session that is being cleaned would have a second one opened beside it.
    let world = World::with_places(1).await;
    let pid = world.json("SELECT pg_backend_pid()").await;
    assert_eq!(world.json("SELECT pg_backend_pid()").await, pid);
    let other = ringfence_engine::SourceAddress { pool_scope: "other".to_owned(), ..world.address() };
    let run = |address| {
        let engine = world.engine.clone();
        async move {
            engine
                .run(
                    &address,
                    &open("SELECT pg_backend_pid()"),
                    &RunOptions::default(),
                    CancellationToken::new(),
                )
                .await
        }
    };
    assert_ne!(rows(&run(other).await.expect("runs")), pid);
    let wrong = ringfence_engine::SourceAddress { password: Some("wrong".into()), ..world.address() };
    assert!(
        matches!(run(wrong).await, Err(SourceError::Credentials(_))),
        "an idle session is no way around the password"
    );
    assert_eq!(world.engine.open_connections(), 2);
    world.engine.evict(&world.address());
    world.until_open(1).await;
    assert_ne!(world.json("SELECT pg_backend_pid()").await, pid);
}

#[tokio::test]
async fn a_full_pool_is_busy_and_the_engine_closes_idle_sessions_for_others() {
    let world = World::with(EngineLimits {
        max_connections_per_pool: 2,
        max_connections: 2,
        pool_wait: Duration::from_secs(2),
        ..EngineLimits::default()
    })
    .await;
    let cancel = CancellationToken::new();
    let sleeper = |address: ringfence_engine::SourceAddress| {
        let (engine, cancel) = (world.engine.clone(), cancel.clone());
        tokio::spawn(async move {
            engine.run(&address, &open("SELECT pg_sleep(604)"), &RunOptions::default(), cancel).await
        })
    };
    let sleepers = [sleeper(world.address()), sleeper(world.address())];
    world.until_active("SELECT pg_sleep(604)", 2).await;
    assert!(matches!(world.run("SELECT 1").await, Err(SourceError::Busy)));
    let other = ringfence_engine::SourceAddress { pool_scope: "other".to_owned(), ..world.address() };
    let refused =
        world.engine.run(&other, &open("SELECT 1"), &RunOptions::default(), CancellationToken::new()).await;
    assert!(matches!(refused, Err(SourceError::Busy)), "{refused:?}");
    cancel.cancel();
    for sleeper in sleepers {
        assert!(matches!(sleeper.await.expect("no panic"), Err(SourceError::Cancelled)));
    }
    // Each of these takes the place of an idle session of another scope.
    for scope in 0..6 {
        let address =
            ringfence_engine::SourceAddress { pool_scope: format!("scope {scope}"), ..world.address() };
        let result = run_at(&world.engine, &address, "SELECT 1").await;
        assert!(result.is_ok() || scope == 0, "{scope}: {result:?}");
        assert!(world.engine.open_connections() <= 2);
    }
}

#[tokio::test]
async fn idle_sessions_are_closed() {
    let world =
        World::with(EngineLimits { idle_timeout: Duration::from_millis(100), ..EngineLimits::default() })
            .await;
    for _ in 0..2 {
        world.run("SELECT 1").await.expect("runs");
        world.until_open(0).await;
    }
}

#[tokio::test]
async fn many_callers_get_each_their_own_answer() {
    let world = World::with_places(3).await;
    let callers: Vec<_> = (0..200)
        .map(|i| {
            let (engine, address) = (world.engine.clone(), world.address());
            tokio::spawn(async move {
                let sql = match i % 4 {
                    0 => format!("SELECT {i}"),
                    1 => format!("SELECT set_config('my.x', '{i}', false)::int"),
                    2 => format!("SELECT {i} + 0 * 1/(1 - 1 * {})", i % 3),
                    _ => format!("SELECT i + {i} - 1 FROM generate_series(1, 1) i"),
                };
                (
                    i,
                    sql.clone(),
                    engine.run(&address, &open(&sql), &RunOptions::default(), CancellationToken::new()).await,
                )
            })
        })
        .collect();
    for caller in callers {
        let (i, sql, result) = caller.await.expect("no panic");
        match result {
            Ok(result) => assert_eq!(rows(&result), format!("[[{i}]]"), "{sql}"),
            Err(error) => {
                assert!(matches!(error, SourceError::Statement { .. }) && i % 4 == 2, "{sql}: {error:?}");
            }
        }
    }
    until_at_most(&world.engine, 3).await;
}

async fn until_at_most(engine: &Engine, most: usize) {
    crate::world::until("the cap", || engine.open_connections() <= most).await;
}

#[tokio::test]
async fn shutdown_cancels_what_runs_and_closes_everything() {
    let world = World::with_places(2).await;
    world.run("SELECT 1").await.expect("runs");
    let (engine, address) = (world.engine.clone(), world.address());
    let running = tokio::spawn(async move {
        engine
            .run(&address, &open("SELECT pg_sleep(605)"), &RunOptions::default(), CancellationToken::new())
            .await
    });
    world.until_active("SELECT pg_sleep(605)", 1).await;
    world.engine.shutdown().await;
    assert!(matches!(running.await.expect("no panic"), Err(SourceError::Cancelled)));
    world.until_active("SELECT pg_sleep(605)", 0).await;
    world.until_open(0).await;
    assert!(matches!(world.run("SELECT 1").await, Err(SourceError::Cancelled)));
}
