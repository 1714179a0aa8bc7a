//! Requests to OpenID providers: bounded in time and size, without redirects and without proxies.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderValue, Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ringfence_gateway::oidc::web::{Sending, Unreachable, Web, WebAnswer, WebRequest};
use secrecy::ExposeSecret as _;
use tokio::time::timeout;

/// From the name of the host to the end of the answer.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The largest answer: a set of keys is some kilobytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Sends them.
pub(crate) struct Outgoing(Client<HttpsConnector<HttpConnector>, Body>);

impl Outgoing {
    /// With the roots of this machine.
    pub(crate) fn new() -> std::io::Result<Self> {
        let provider = rustls::crypto::ring::default_provider();
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    async fn ask(&self, request: WebRequest) -> Result<WebAnswer, Unreachable> {
        let WebRequest { url, authorization, form } = request;
        let uri: Uri = url.parse().map_err(|_| Unreachable)?;
        let mut sent = Request::new(Body::empty());
        *sent.uri_mut() = uri;
        let headers = sent.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("ringfence/", env!("CARGO_PKG_VERSION"))));
        if let Some(authorization) = authorization {
            let mut value = HeaderValue::from_str(authorization.expose_secret()).map_err(|_| Unreachable)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(form) = form {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            *sent.method_mut() = Method::POST;
            *sent.body_mut() = Body::from(form.expose_secret().to_owned());
        }
        let answer = self.0.request(sent).await.map_err(|_| Unreachable)?;
        let (head, body) = answer.into_parts();
        let body = to_bytes(Body::new(body), MAX_ANSWER_BYTES).await.map_err(|_| Unreachable)?;
        Ok(WebAnswer { status: head.status.as_u16(), body: body.into() })
    }
}

impl Web for Outgoing {
    fn send(&self, request: WebRequest) -> Sending<'_> {
        Box::pin(async move { timeout(TIME_LIMIT, self.ask(request)).await.unwrap_or(Err(Unreachable)) })
    }
}
