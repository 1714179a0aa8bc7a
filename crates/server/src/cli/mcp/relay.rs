//! Messages from standard input to the server, and its answers to standard output: one JSON document on a line.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use bytes::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::cli::failure::Failure;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// Where a message of the later versions of the protocol says which one it is of.
const VERSION_IN_MESSAGE: &str = "/params/_meta/io.modelcontextprotocol~1protocolVersion";
/// The first version in which headers repeat what a message asks for.
const FIRST_WITH_NAMES: &str = "2026-07-28";
/// JSON-RPC's own codes: what can't be read, and what a server makes of its own trouble.
const PARSE_ERROR: i64 = -32700;
const SERVER_ERROR: i64 = -32000;

/// The largest answer. The server's own are far smaller.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Hands messages on until standard input ends and the last answer is out.
pub(super) async fn relay(endpoint: Uri, key: SecretString) -> Result<(), Failure> {
    let (answers, outgoing) = mpsc::channel(64);
    let relay =
        Relay { client: client()?, endpoint, credential: credential(&key)?, answers, known: Arc::default() };
    let writer = tokio::spawn(write_lines(outgoing));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut running = JoinSet::new();
    let mut requests: HashMap<String, AbortHandle> = HashMap::new();
    while let Some(line) = lines.next_line().await? {
        while running.try_join_next().is_some() {}
        requests.retain(|_, request| !request.is_finished());
        if line.trim().is_empty() {
            continue;
        }
        let Ok(message) = serde_json::from_str::<Value>(&line) else {
            relay.answer(error(&Value::Null, PARSE_ERROR, "this line is no JSON", Value::Null)).await;
            continue;
        };
        if let Some(id) = cancelled(&message) {
            // The server hears of it by the end of the connection.
            requests.remove(&id).inspect(AbortHandle::abort);
        } else if message["method"] == "initialize" {
            // What comes after it depends on its answer.
            relay.hand_on(message).await;
        } else {
            let id = message.get("id").map(Value::to_string);
            let relay = relay.clone();
            let handle = running.spawn(async move { relay.hand_on(message).await });
            if let Some(id) = id {
                requests.insert(id, handle);
            }
        }
    }
    while running.join_next().await.is_some() {}
    drop(relay);
    // A reader that has gone away is no failure of ours.
    let _ = writer.await;
    Ok(())
}

#[derive(Clone)]
struct Relay {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    endpoint: Uri,
    credential: HeaderValue,
    answers: mpsc::Sender<String>,
    known: Arc<Mutex<Known>>,
}

/// What the server said at the beginning, to be repeated with each message.
#[derive(Default, Clone)]
struct Known {
    session: Option<HeaderValue>,
    version: Option<HeaderValue>,
}

impl Relay {
    /// Sends a message and writes what comes back. Only a request is answered.
    async fn hand_on(&self, message: Value) {
        let answer = match self.send(&message).await {
            Ok((status, headers, body)) => self.read(&message, status, &headers, &body),
            Err(text) => Err((text, Value::Null)),
        };
        let Some(id) = message.get("id").cloned() else { return };
        match answer {
            Ok(Some(answer)) => self.answer(answer).await,
            Ok(None) => {}
            Err((text, data)) => self.answer(error(&id, SERVER_ERROR, &text, data)).await,
        }
    }

    async fn send(&self, message: &Value) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut request = Request::new(Body::from(message.to_string()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        let headers = request.headers_mut();
        headers.extend(headers_of(message, known));
        headers.insert(AUTHORIZATION, self.credential.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = self.client.request(request).await.map_err(|failed| unreachable_server(&failed))?;
        let (head, body) = response.into_parts();
        let body = to_bytes(Body::new(body), MAX_ANSWER_BYTES).await;
        Ok((head.status, head.headers, body.map_err(|failed| unreachable_server(&failed))?))
    }

    /// The server's message; what is none is an error with what it said.
    fn read(
        &self,
        message: &Value,
        status: StatusCode,
        headers: &HeaderMap,
        bytes: &[u8],
    ) -> Result<Option<Value>, (String, Value)> {
        let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
        if body.get("jsonrpc").is_some() {
            if message["method"] == "initialize" && status == StatusCode::OK {
                let version = body.pointer("/result/protocolVersion").and_then(Value::as_str);
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.session = headers.get(SESSION_ID).cloned();
                known.version = version.and_then(|version| HeaderValue::from_str(version).ok());
            }
            return Ok(Some(body));
        }
        if status.is_success() {
            return if bytes.is_empty() {
                Ok(None)
            } else {
                Err(("the answer is no message".to_owned(), body))
            };
        }
        let said = |name: &str| body.get(name).and_then(Value::as_str);
        let text = match (said("code"), said("detail"), said("hint")) {
            (Some(code), Some(detail), Some(hint)) => format!("{code}: {detail} ({hint})"),
            (Some(code), Some(detail), None) => format!("{code}: {detail}"),
            _ => format!("the server answered {status}"),
        };
        Err((text, body))
    }

    async fn answer(&self, answer: Value) {
        let _ = self.answers.send(answer.to_string()).await;
    }
}

/// Follows no redirect and no proxy: nothing but the address that was given gets the key.
pub(in crate::cli) fn client() -> Result<Client<HttpsConnector<HttpConnector>, Body>, Failure> {
    let provider = rustls::crypto::ring::default_provider();
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(provider)
        .map_err(|error| Failure::from(error).about("the certificates of this machine"))?
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

pub(in crate::cli) fn credential(key: &SecretString) -> Result<HeaderValue, Failure> {
    let mut credential = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))
        .map_err(|_| Failure::usage("the access key has characters that no key has"))?;
    credential.set_sensitive(true);
    Ok(credential)
}

/// What goes beside a message: the session and the version of the protocol, and what the message itself says.
fn headers_of(message: &Value, known: Known) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let own = message.pointer(VERSION_IN_MESSAGE).and_then(Value::as_str);
    let own = own.and_then(|version| HeaderValue::from_str(version).ok());
    let version = own.or(known.version);
    let named = version.as_ref().is_some_and(|version| version.as_bytes() >= FIRST_WITH_NAMES.as_bytes());
    let method = message["method"].as_str().and_then(|method| HeaderValue::from_str(method).ok());
    if let Some(method) = method.filter(|_| named) {
        let name = if method == "tools/call" { message["params"]["name"].as_str() } else { None };
        if let Some(name) = name.and_then(|name| HeaderValue::from_str(name).ok()) {
            headers.insert(NAME, name);
        }
        headers.insert(METHOD, method);
    }
    headers.extend(version.map(|version| (PROTOCOL_VERSION, version)));
    headers.extend(known.session.map(|session| (SESSION_ID, session)));
    headers
}

/// The request that a notification says nobody waits for any more.
fn cancelled(message: &Value) -> Option<String> {
    let is_cancelled = message["method"] == "notifications/cancelled";
    is_cancelled.then(|| message.pointer("/params/requestId").map(Value::to_string))?
}

fn error(id: &Value, code: i64, message: &str, data: Value) -> Value {
    let mut error = json!({"code": code, "message": message});
    if !data.is_null() {
        error["data"] = data;
    }
    json!({"jsonrpc": "2.0", "id": id, "error": error})
}

/// What is wrong with the way to the server. The error's own text has nothing of what was sent.
fn unreachable_server(failed: &dyn std::error::Error) -> String {
    let mut text = format!("the server can't be reached: {failed}");
    let mut cause = failed.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

async fn write_lines(mut lines: mpsc::Receiver<String>) {
    let mut output = tokio::io::stdout();
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        if output.write_all(line.as_bytes()).await.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_beside_it_what_it_is() {
        let known = || Known {
            session: Some(HeaderValue::from_static("s")),
            version: Some(HeaderValue::from_static("2025-06-18")),
        };
        let call = json!({"method": "tools/call", "params": {"name": "query"}});
        let earlier = headers_of(&call, known());
        assert_eq!(earlier.get(SESSION_ID).unwrap(), "s");
        assert_eq!(earlier.get(PROTOCOL_VERSION).unwrap(), "2025-06-18");
        assert_eq!(earlier.get(METHOD), None);
        let mut call = call;
        call["params"]["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
        let later = headers_of(&call, Known::default());
        assert_eq!(later.get(METHOD).unwrap(), "tools/call");
        assert_eq!(later.get(NAME).unwrap(), "query");
        assert_eq!(later.get(PROTOCOL_VERSION).unwrap(), "2026-07-28");
        assert_eq!(later.get(SESSION_ID), None);
    }

    #[test]
    fn a_cancelled_request_is_known_by_its_id() {
        let notice = json!({"method": "notifications/cancelled", "params": {"requestId": "a"}});
        assert_eq!(cancelled(&notice).as_deref(), Some("\"a\""));
        assert_eq!(cancelled(&json!({"method": "tools/call", "params": {"requestId": 1}})), None);
    }
}
