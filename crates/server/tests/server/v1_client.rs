//! Speaking to `/v1/`.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use crate::process::{Answer, Server};

/// A client of one server's `/v1/`.
pub(crate) struct V1<'a> {
    server: &'a Server,
    client: Client,
}

impl<'a> V1<'a> {
    pub(crate) fn of(server: &'a Server) -> Self {
        Self { server, client: Client::builder().no_proxy().build().unwrap() }
    }

    /// A request as that key's owner; without a key when that is empty.
    pub(crate) fn request(&self, key: &str, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let request =
            self.client.request(method, format!("{}{path}", self.server.url)).timeout(Duration::from_mins(1));
        if key.is_empty() { request } else { request.bearer_auth(key) }
    }

    pub(crate) async fn ask(&self, key: &str, method: &str, path: &str, body: &Value) -> Answer {
        let request = self.request(key, method, path);
        read(if body.is_null() { request } else { request.json(body) }).await
    }

    /// Asks, and checks the status.
    pub(crate) async fn expect(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: Value,
        status: u16,
    ) -> Answer {
        let answer = self.ask(key, method, path, &body).await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.text);
        answer
    }

    /// Puts a connection's first policy.
    pub(crate) async fn put_policy(&self, key: &str, connection: &str, document: &str) {
        let request = self.request(key, "PUT", &format!("/v1/policies/{}", segment(connection)));
        let put = request.header("content-type", "application/yaml").body(document.to_owned());
        let answer = read(put).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }

    /// Asks, and checks status and code of the refusal.
    pub(crate) async fn refused(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: Value,
        status: u16,
        code: &str,
    ) -> Value {
        let answer = self.expect(key, method, path, body, status).await;
        assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path}");
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{method} {path}: {problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["trace_id"], answer.header("x-request-id"), "{problem}");
        problem
    }
}

pub(crate) async fn read(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, text: response.text().await.unwrap() }
}

/// One segment of a path.
pub(crate) fn segment(text: &str) -> String {
    text.bytes().fold(String::new(), |path, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            path + &char::from(byte).to_string()
        }
        _ => path + &format!("%{byte:02X}"),
    })
}
