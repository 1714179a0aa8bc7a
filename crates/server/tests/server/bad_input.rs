//! What no client should send.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::process::{ADMIN_KEY, Server};

fn authorized() -> (&'static str, String) {
    ("authorization", format!("Bearer {ADMIN_KEY}"))
}

#[tokio::test]
async fn bodies() {
    let server = Server::start().await;
    let (name, value) = authorized();
    let long = json!({ "name": "n".repeat(1024 * 1024) }).to_string();
    let deep = format!("{{\"updated\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("create-key", b"".to_vec()),
        ("create-key", b"{".to_vec()),
        ("create-key", b"[]".to_vec()),
        ("create-key", b"[\"n\"]".to_vec()),
        ("create-key", b"null".to_vec()),
        ("create-key", b"\"n\"".to_vec()),
        ("create-key", b"{} {}".to_vec()),
        ("create-key", b"{\"name\":5}".to_vec()),
        ("create-key", b"{\"name\":null}".to_vec()),
        ("create-key", b"{}".to_vec()),
        ("create-key", b"{\"name\":\"a\\u0000b\"}".to_vec()),
        ("create-key", b"{\"name\":\"a\0b\"}".to_vec()),
        ("create-key", b"{\"name\":\"a\xffb\"}".to_vec()),
        ("create-key", b"{\"name\":\"\\ud800\"}".to_vec()),
        ("create-key", b"{\"name\":\"a\\nb\"}".to_vec()),
        ("create-key", b"{\"name\":\"  \"}".to_vec()),
        ("create-key", b"\xef\xbb\xbf{\"name\":\"n\"}".to_vec()),
        ("create-user", b"{\"user\":{\"id\":\"u\",\"roles\":\"waii-user\"}}".to_vec()),
        ("create-user", b"{\"user\":{\"id\":\"u\",\"variables\":[1]}}".to_vec()),
        ("create-user", b"{\"user\":{\"id\":\"u\",\"tenant_id\":{}}}".to_vec()),
        ("create-user", b"{\"user\":\"u\"}".to_vec()),
        ("create-user", b"{\"user\":{\"id\":\"\"}}".to_vec()),
        ("delete-access-keys", b"{\"names\":{\"a\":1}}".to_vec()),
        ("update-config", b"{\"updated\":{\"a\":1e999}}".to_vec()),
        ("update-db-connect-info", b"{\"updated\":[{\"db_type\":\"postgresql\",\"port\":99999}]}".to_vec()),
        ("update-db-connect-info", b"{\"updated\":[null]}".to_vec()),
        ("update-db-connect-info", b"{\"updated\":{\"db_type\":\"x\"}}".to_vec()),
        ("update-db-connect-info", b"{\"removed\":\"all\"}".to_vec()),
        ("get-history", b"{\"scope\":\"s\",\"limit\":-1}".to_vec()),
        ("get-history", b"{\"scope\":\"s\",\"timestamp_sort_order\":\"up\"}".to_vec()),
        ("run-query", b"{\"scope\":\"s\",\"query\":[\"SELECT 1\"]}".to_vec()),
        ("run-query", b"{\"scope\":\"s\",\"query\":\"SELECT 1\",\"current_schema\":\"public\"}".to_vec()),
    ];
    let mut text = String::new();
    for (endpoint, body) in cases {
        let answer = server.send(endpoint, &[(name, &value)], body.clone()).await;
        assert_eq!(answer.status, 400, "{endpoint} {}: {}", String::from_utf8_lossy(&body), answer.text);
        let _ = writeln!(
            text,
            "{endpoint} {}
  {}",
            body.escape_ascii(),
            answer.detail()
        );
    }
    insta::assert_snapshot!(text);
    for (endpoint, body) in [("create-key", long), ("update-config", deep)] {
        let answer = server.send(endpoint, &[(name, &value)], body).await;
        assert_eq!(answer.status, 400, "{endpoint}: {}", answer.text);
        assert!(answer.detail().len() < 500, "what was sent is not sent back");
    }
    // A name said twice changes nobody else: either it is refused or the request runs as the key's owner.
    let twice = r#"{"name":"x","user_id":"a","user_id":"b","org_id":null}"#;
    assert_eq!(server.send("create-key", &[(name, &value)], twice).await.status, 200);
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_413() {
    let server = Server::start_with(&[("RINGFENCE_SERVER__MAX_BODY", "64KiB")]).await;
    let (name, value) = authorized();
    for length in [64 * 1024 + 1, 8 * 1024 * 1024] {
        let answer = server.send("update-config", &[(name, &value)], "x".repeat(length)).await;
        assert_eq!(answer.status, 413, "{}", answer.text);
        assert_eq!(answer.detail(), "the request body is larger than 65536 bytes: send less at once");
    }
    let fits = json!({ "updated": { "a": "x".repeat(60 * 1024) } });
    server.done(ADMIN_KEY, "update-config", &fits).await;
}

#[tokio::test]
async fn keys_and_headers_in_odd_forms() {
    let server = Server::start().await;
    for value in ["abc123", "Basic abc123", "Bearer", "Bearer  ", "Bearer abc123 x", "Bearer abc123,abc123"] {
        let answer = server.send("get-user-info", &[("authorization", value)], "{}").await;
        assert_eq!(answer.status, 401, "{value}: {}", answer.text);
    }
    let both = [("authorization", "Bearer abc123"), ("authorization", "Bearer other")];
    assert_eq!(server.send("get-user-info", &both, "{}").await.status, 401);
    let answer = server.send("get-user-info", &[("authorization", "bearer abc123")], "{}").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn a_trace_is_continued() {
    let server = Server::start().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = server.send("ping", &[("traceparent", parent)], "{}").await;
    assert_eq!(answer.header("x-request-id"), "4bf92f3577b34da6a3ce929d0e0e4736");
    let answer = server.send("nowhere", &[("traceparent", "nonsense")], "{}").await;
    assert_eq!(answer.header("x-request-id").len(), 32);
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// What the server says to bytes that no HTTP library would send.
fn raw(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The server may answer, and close, before it has read all.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn floods_of_headers_are_refused() {
    let server = Server::start().await;
    let many = (0..5000).fold(String::new(), |flood, n| flood + &format!("x-flood-{n}: y\r\n"));
    let many = format!("POST /api/ping HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    let long =
        format!("POST /api/ping HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "y".repeat(4 * 1024 * 1024));
    let path = format!("POST /api/{} HTTP/1.1\r\nhost: x\r\n\r\n", "p".repeat(4 * 1024 * 1024));
    for request in [many, long, path] {
        let answer = raw(&server, request.as_bytes());
        let is_refused = ["431", "400", "414"].iter().any(|status| answer.contains(status));
        // A client that still writes when the connection closes may see no answer at all.
        assert!(is_refused || answer.is_empty(), "{answer}");
    }
    assert!(raw(&server, b"nonsense\r\n\r\n").contains("400"));
    assert_eq!(server.send("ping", &[], "{}").await.status, 200, "and it still serves");
}
