//! Rates, places, time, and how the server ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use ringfence_testkit::Postgres;
use serde_json::json;
use tokio_postgres::Client;

use crate::process::{ADMIN_KEY, Server};
use crate::world::{World, connect, make_database};

#[tokio::test]
async fn requests_are_counted_per_key() {
    let server = Server::start_with(&[("RINGFENCE_SERVER__RATE_LIMIT_PER_MINUTE", "3")]).await;
    // The key is not known before its first request, for which its peer pays too.
    for remaining in ["2", "1", "0"] {
        let answer = server.call(ADMIN_KEY, "get-user-info", &json!({})).await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit-remaining")), (200, remaining));
        assert_eq!(answer.header("ratelimit-limit"), "3");
    }
    let refused = server.call(ADMIN_KEY, "get-user-info", &json!({})).await;
    assert_eq!(refused.status, 429, "{}", refused.text);
    assert!(!refused.detail().is_empty());
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit-remaining"), "0");
    // The peer has paid one request; two are left for guesses, however many keys are guessed.
    let guesses =
        async |n: usize| server.call(&format!("guess-{n}"), "get-user-info", &json!({})).await.status;
    assert_eq!(
        [guesses(1).await, guesses(2).await, guesses(3).await].map(|status| status.as_u16()),
        [401, 401, 429]
    );
}

#[tokio::test]
async fn a_full_server_says_so() {
    let postgres = Postgres::shared().await;
    make_database(postgres, "full_db").await;
    let server = Server::start_with(&[("RINGFENCE_SERVER__MAX_IN_FLIGHT", "1")]).await;
    let scope = connect(&server, ADMIN_KEY, postgres, "full_db").await;
    let slow = json!({ "scope": scope, "query": "SELECT pg_sleep(2)" });
    let deadline = Instant::now() + Duration::from_secs(30);
    // Either may find the one place taken by the other: the slow one asks again until it is its own.
    let slow = async {
        loop {
            let answer = server.call(ADMIN_KEY, "run-query", &slow).await;
            if answer.status != 503 || Instant::now() > deadline {
                return answer;
            }
        }
    };
    let quick = async {
        loop {
            let answer = server.call(ADMIN_KEY, "get-user-info", &json!({})).await;
            if answer.status != 200 || Instant::now() > deadline {
                return answer;
            }
        }
    };
    let (slow, quick) = futures::future::join(slow, quick).await;
    assert_eq!(slow.status, 200, "{}", slow.text);
    assert_eq!(quick.status, 503, "{}", quick.text);
    assert_eq!(quick.header("retry-after"), "1");
    assert!(!quick.detail().is_empty());
}

#[tokio::test]
async fn one_user_can_not_hold_all_places_and_who_does_not_read_holds_none() {
    let postgres = Postgres::shared().await;
    make_database(postgres, "share_db").await;
    let limits = [("RINGFENCE_LIMITS__REQUESTS_PER_USER", "2"), ("RINGFENCE_SERVER__STALL_TIMEOUT", "4s")];
    let server = Server::start_with(&limits).await;
    let world = World::make(&server).await;
    let scope = connect(&server, &world.banana, postgres, "share_db").await;
    let slow = json!({ "scope": scope, "query": "SELECT pg_sleep(300)" });
    let id = server.done(&world.banana, "submit-query", &slow).await["query_id"].clone();
    // Waiting for a result is as good as a query.
    let wait = json!({ "scope": scope, "query_id": id });
    let waits = async { server.call(&world.banana, "get-query-result", &wait).await };
    let others = async {
        let deadline = Instant::now() + Duration::from_secs(60);
        let refused = loop {
            let answer = server.call(&world.banana, "get-user-info", &json!({})).await;
            if answer.status != 200 || Instant::now() > deadline {
                break answer;
            }
        };
        assert_eq!(refused.status, 503, "{}", refused.text);
        assert_eq!(refused.header("retry-after"), "1");
        for key in [&world.apple, &world.stone] {
            server.done(key, "get-user-info", &json!({})).await;
        }
    };
    tokio::select! {
        _ = futures::future::join(waits, async { server.call(&world.banana, "get-query-result", &wait).await }) =>
            panic!("the query ended"),
        () = others => {}
    }
    // Both places are free again when those who waited have left.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let asking = || async { server.call(&world.banana, "get-user-info", &json!({})).await };
        let (one, other) = futures::future::join(asking(), asking()).await;
        if (one.status.as_u16(), other.status.as_u16()) == (200, 200) {
            break;
        }
        assert!(Instant::now() < deadline, "{}", one.text);
    }
    // Answers that are never read, as many as the user has places.
    let large = json!({ "scope": scope, "query": "SELECT repeat('x', 12000000)", "max_rows": 1 }).to_string();
    let unread: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
            let head = format!(
                "POST /api/run-query HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{large}",
                world.banana,
                large.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            let mut begun = [0; 12];
            stream.read_exact(&mut begun).unwrap();
            let mut rest = [0; 700];
            let length = if begun.ends_with(b"200") { 0 } else { stream.read(&mut rest).unwrap() };
            assert_eq!(&begun, b"HTTP/1.1 200", "{}", String::from_utf8_lossy(&rest[..length]));
            stream
        })
        .collect();
    let answer = server.call(&world.banana, "get-user-info", &json!({})).await;
    assert_eq!(answer.status, 503, "their places are held: {}", answer.text);
    let deadline = Instant::now() + Duration::from_mins(1);
    while server.call(&world.banana, "get-user-info", &json!({})).await.status != 200 {
        assert!(Instant::now() < deadline, "who does not read holds a place");
    }
    drop(unread);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408() {
    let server = Server::start_with(&[("RINGFENCE_SERVER__REQUEST_TIMEOUT", "1s")]).await;
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "POST /api/update-config HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN_KEY}\r\ncontent-length: 10\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("\"detail\""), "{answer}");
}

#[tokio::test]
async fn a_client_that_leaves_stops_its_query() {
    let postgres = Postgres::shared().await;
    make_database(postgres, "leave_db").await;
    let server = Server::start().await;
    let scope = connect(&server, ADMIN_KEY, postgres, "leave_db").await;
    let slow = json!({ "scope": scope, "query": "SELECT pg_sleep(300)" });
    let client = postgres.client("postgres").await;
    let call = server.call(ADMIN_KEY, "run-query", &slow);
    tokio::select! {
        answer = call => panic!("it answered: {}", answer.text),
        () = until_running(&client, "leave_db", true) => {}
    }
    until_running(&client, "leave_db", false).await;
}

async fn until_running(client: &Client, database: &str, wanted: bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state = 'active'";
        let count: i64 = client.query_one(query, &[&database]).await.unwrap().get(0);
        if (count > 0) == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "running: {count}");
        tokio::time::sleep(Duration::from_millis(20)).await; // poll: for a statement to begin or end
    }
}

#[tokio::test]
async fn it_ends_when_asked_to_and_lets_running_requests_end() {
    let postgres = Postgres::shared().await;
    make_database(postgres, "drain_db").await;
    let mut server = Server::start().await;
    let scope = connect(&server, ADMIN_KEY, postgres, "drain_db").await;
    let ready = server.get(&format!("{}/readyz", server.admin_url)).await;
    assert_eq!((ready.status.as_u16(), ready.text.as_str()), (200, "ready\n"));
    let slow = json!({ "scope": scope, "query": "SELECT pg_sleep(3), 1 AS n" });
    let pid = server.pid().to_string();
    let client = postgres.client("postgres").await;
    let stop = async {
        until_running(&client, "drain_db", true).await;
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let ready = server.get(&format!("{}/readyz", server.admin_url)).await;
            if ready.status != 200 || Instant::now() > deadline {
                return ready;
            }
        }
    };
    let (slow, ready) = futures::future::join(server.call(ADMIN_KEY, "run-query", &slow), stop).await;
    assert_eq!(slow.status, 200, "{}", slow.text);
    assert_eq!((ready.status.as_u16(), ready.text.as_str()), (503, "draining\n"));
    let status = server.ended(Duration::from_secs(15)).await;
    assert!(status.is_some_and(|status| status.success()), "{status:?}: {}", server.log());
}

#[tokio::test]
async fn the_operator_sees_health_and_figures() {
    let server = Server::start().await;
    server.done(ADMIN_KEY, "get-user-info", &json!({})).await;
    server.send("no/such/endpoint", &[], "{}").await;
    let alive = server.get(&format!("{}/healthz", server.admin_url)).await;
    assert_eq!((alive.status.as_u16(), alive.text.as_str()), (200, "alive\n"));
    let figures = server.get(&format!("{}/metrics", server.admin_url)).await.text;
    for line in [
        r#"ringfence_http_requests_total{door="api",route="/api/get-user-info",status="200"} 1"#,
        r#"ringfence_http_requests_total{door="api",route="/api/{*endpoint}",status="404"} 1"#,
    ] {
        assert!(figures.contains(line), "{line} is not in {figures}");
    }
    assert!(figures.contains("ringfence_http_request_duration_seconds"), "{figures}");
    let log = server.log();
    assert!(!log.contains(ADMIN_KEY), "the log holds a key: {log}");
}
