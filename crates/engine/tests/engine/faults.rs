//! Addresses that lead nowhere, and backends that die or hang.

use std::time::Duration;

use ringfence_engine::{Egress, EngineLimits, RunOptions, SourceAddress, SourceError};
use tokio_util::sync::CancellationToken;

use crate::world::{World, address, open, run_at, timeout};

type Expected = fn(&SourceError) -> bool;

fn quick() -> EngineLimits {
    EngineLimits {
        max_connections_per_pool: 1,
        connect_timeout: Duration::from_secs(2),
        pool_wait: Duration::from_secs(20),
        ..EngineLimits::default()
    }
}

/// Addresses with something wrong, and a port that accepts and never answers.
fn wrong_addresses(
    good: &SourceAddress,
) -> (std::net::TcpListener, Vec<(&'static str, SourceAddress, Expected)>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let silent = listener.local_addr().expect("bound").port();
    let free = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        listener.local_addr().expect("bound").port()
    };
    let credentials: Expected = |error| matches!(error, SourceError::Credentials(_));
    let unreachable: Expected = |error| matches!(error, SourceError::Unreachable(_));
    let refused: Expected = |error| matches!(error, SourceError::Option(_));
    let cases = vec![
        ("wrong password", SourceAddress { password: Some("hunter2".into()), ..good.clone() }, credentials),
        ("no password", SourceAddress { password: None, ..good.clone() }, credentials),
        ("unknown user", SourceAddress { username: Some("nobody".to_owned()), ..good.clone() }, credentials),
        ("unknown database", SourceAddress { database: "none".to_owned(), ..good.clone() }, unreachable),
        ("closed port", address(free), unreachable),
        ("silent port", address(silent), unreachable),
        (
            "unknown host",
            SourceAddress { host: "does-not-exist.invalid".to_owned(), ..good.clone() },
            unreachable,
        ),
        ("no TLS", SourceAddress { sslmode: Some("require".to_owned()), ..good.clone() }, unreachable),
        ("bad sslmode", SourceAddress { sslmode: Some("maybe".to_owned()), ..good.clone() }, refused),
    ];
    (listener, cases)
}

#[tokio::test]
async fn an_address_that_does_not_work_says_why() {
    let world = World::with(quick()).await;
    assert!(world.engine.probe(&world.address()).await.is_ok());
    let (_silent, cases) = wrong_addresses(&world.address());
    let plain = SourceAddress { sslmode: Some("disable".to_owned()), ..world.address() };
    for (what, address, expected) in cases {
        let error = world.engine.probe(&address).await.expect_err(what);
        assert!(expected(&error), "{what}: {error:?}");
        assert!(!error.to_string().contains("hunter2") && !error.to_string().contains("secret"), "{error}");
        let run = run_at(&world.engine, &address, "SELECT 1").await;
        assert!(expected(&run.expect_err(what)), "{what}");
    }
    world.until_open(0).await;
    assert!(world.engine.probe(&plain).await.is_ok());
}

#[tokio::test]
async fn a_backend_that_is_killed_is_an_error_and_no_leak() {
    let world = World::with(quick()).await;
    for (sql, like) in [
        ("SELECT pg_sleep(606)", "SELECT pg_sleep(606)"),
        ("SELECT '::1'::inet, pg_sleep(606)", "%inet, pg_sleep(606)"),
    ] {
        let (engine, address, query) = (world.engine.clone(), world.address(), open(sql));
        let running = tokio::spawn(async move {
            engine.run(&address, &query, &RunOptions::default(), CancellationToken::new()).await
        });
        world.until_active(like, 1).await;
        let client = world.server.client("shop").await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'owner' AND state = 'active'";
        client.query(kill, &[]).await.expect("terminated");
        let lost = running.await.expect("no panic");
        assert!(matches!(lost, Err(SourceError::Lost)), "{lost:?}");
        world.until_open(0).await;
        assert_eq!(world.json("SELECT 1").await, "[[1]]");
    }
    // kill -9 takes the whole server down; it comes back.
    let (engine, address) = (world.engine.clone(), world.address());
    let running = tokio::spawn(async move {
        engine
            .run(&address, &open("SELECT pg_sleep(607)"), &RunOptions::default(), CancellationToken::new())
            .await
    });
    world.until_active("SELECT pg_sleep(607)", 1).await;
    let client = world.server.client("shop").await;
    let row = client
        .query_one("SELECT pid FROM pg_stat_activity WHERE usename = 'owner' AND state = 'active'", &[])
        .await;
    let pid: i32 = row.expect("one is active").get(0);
    let killed = std::process::Command::new("kill").arg("-9").arg(pid.to_string()).status();
    assert!(killed.expect("kill is installed").success());
    let lost = running.await.expect("no panic");
    assert!(matches!(lost, Err(SourceError::Lost)), "{lost:?}");
    world.until_open(0).await;
}

#[tokio::test]
async fn a_session_that_died_while_idle_is_not_used() {
    let world = World::with(quick()).await;
    world.run("SELECT 1").await.expect("runs");
    world.server.restart().await;
    world.until_open(0).await;
    assert_eq!(world.json("SELECT 1").await, "[[1]]");
}

#[tokio::test]
async fn a_backend_that_hangs_is_left_in_time() {
    let world = World::with(quick()).await;
    world.run("SELECT 1").await.expect("runs");
    world.server.pause();
    // The idle session is taken, and nothing comes back, unless it was still being cleaned when the server stopped; then
    // not even connecting works.
    let hung = world.run_with("SELECT 2", &timeout(300)).await;
    let left = matches!(hung, Err(SourceError::TimedOut { limit_ms: 300 } | SourceError::Unreachable(_)));
    assert!(left, "{hung:?}");
    let unreachable = world.run_with("SELECT 3", &timeout(300)).await;
    assert!(matches!(unreachable, Err(SourceError::Unreachable(_))), "{unreachable:?}");
    world.until_open(0).await;
    world.server.resume();
    assert_eq!(world.json("SELECT 4").await, "[[4]]");
}

#[tokio::test]
async fn a_backend_that_hangs_while_it_is_cleaned_or_probed_is_left_in_time() {
    let world = World::with(quick()).await;
    world.run("SET work_mem = '8MB'").await.expect("runs");
    world.server.pause();
    assert!(matches!(world.engine.probe(&world.address()).await, Err(SourceError::Unreachable(_))));
    world.until_open(0).await;
    world.server.resume();
    assert_eq!(world.json("SHOW work_mem").await, r#"[["4MB"]]"#);
}

/// TLS with a certificate that nobody vouches for.
#[tokio::test]
async fn sslmode_is_kept() {
    let world = World::with(quick()).await;
    let client = world.server.client("postgres").await;
    // As the server's own user, because the key must be its own.
    let make = "COPY (SELECT 1) TO PROGRAM 'openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
                -keyout server.key -out server.crt && chmod 600 server.key'";
    client.batch_execute(make).await.expect("openssl makes a certificate");
    client.batch_execute("ALTER SYSTEM SET ssl = on").await.expect("set");
    client.batch_execute("SELECT pg_reload_conf()").await.expect("reloaded");
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let at = |mode: &str| SourceAddress { sslmode: Some(mode.to_owned()), ..world.address() };
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while world.engine.probe(&at("require")).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "TLS never came");
        tokio::time::sleep(Duration::from_millis(20)).await; // poll: until the deadline above
    }
    for (mode, expected) in [("prefer", "[[true]]"), ("require", "[[true]]"), ("disable", "[[false]]")] {
        let result = run_at(&world.engine, &at(mode), encrypted).await.expect("runs");
        assert_eq!(crate::world::rows(&result), expected, "{mode}");
    }
    let unknown = world.engine.probe(&at("verify-full")).await;
    assert!(matches!(unknown, Err(SourceError::Unreachable(_))), "{unknown:?}");
    // Rows are watched, and statements cancelled, through TLS too.
    let query = open("SELECT pg_sleep(608)");
    let stopped = world.engine.run(&at("require"), &query, &timeout(100), CancellationToken::new()).await;
    assert!(matches!(stopped, Err(SourceError::TimedOut { .. })), "{stopped:?}");
    world.until_active("SELECT pg_sleep(608)", 0).await;
    let large = run_at(&world.engine, &at("require"), "SELECT repeat('x', 20000000)").await;
    assert!(matches!(large, Err(SourceError::TooLarge { .. })), "{large:?}");
}

#[tokio::test]
async fn nothing_is_connected_to_that_is_not_allowed() {
    let world = World::with(EngineLimits {
        egress: Egress { denied: vec!["loopback".parse().expect("a rule")], ..Egress::default() },
        ..quick()
    })
    .await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let port = listener.local_addr().expect("bound").port();
    let mut answers = Vec::new();
    for host in ["127.0.0.1", "localhost", "::1", "", "169.254.169.254", "does-not-exist.invalid"] {
        let address = SourceAddress { host: host.to_owned(), ..address(port) };
        let error = world.engine.probe(&address).await.expect_err(host);
        assert!(matches!(error, SourceError::Unreachable(_)), "{host}: {error:?}");
        let named = if host.is_empty() { "localhost" } else { host };
        answers.push(error.to_string().replace(named, "HOST"));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "whether a name exists is not told: {answers:?}");
    let arrived = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(arrived.is_err(), "a connection was made");
}
