//! The webhook of approvals: each change of a ticket on this node is posted, signed, to one address.
//!
//! It tells that something changed; what holds is what `/v1/approvals` says. A change that can't be delivered after some
//! tries is given up, and one that comes while too many wait is left out: both are logged and counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ringfence_engine::Egress;
use ringfence_gateway::Gateway;
use ringfence_gateway::approvals::ApprovalNews;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::config::Approvals;
use crate::config::secret::Secret;

/// One try, from the name of the host to the answer's status.
const TRY_LIMIT: Duration = Duration::from_secs(10);
/// Tries of one change, and the pause after the first; each further one doubles it.
const TRIES: u32 = 7;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Shorter secrets can be guessed.
const SHORTEST_SECRET: usize = 16;

/// What is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WebhookInvalid {
    #[error(
        "`approvals.webhook_url` is no address: write it like https://hooks.example.com/ringfence, without a user name"
    )]
    Url,
    #[error("`approvals.webhook_url` and `approvals.webhook_secret` go together: set both or none")]
    Half,
    #[error("`approvals.webhook_secret` has fewer than {SHORTEST_SECRET} characters")]
    ShortSecret,
}

/// Where news go, and what signs them.
pub(crate) struct Webhook {
    target: Target,
    secret: Secret,
    egress: Egress,
    tls: TlsConnector,
    pause: Duration,
}

/// An address that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    host: String,
    port: u16,
    is_https: bool,
    /// As in the header `Host`.
    authority: String,
    path: PathAndQuery,
}

/// Why a try came to nothing.
#[derive(Debug, thiserror::Error)]
enum Undelivered {
    #[error("the host is unknown, or connections to it are not allowed")]
    NotAllowed,
    #[error("it can't be connected to: {0}")]
    Unreachable(std::io::ErrorKind),
    #[error("it did not answer in time")]
    TimedOut,
    #[error("the connection broke")]
    Broken,
    #[error("it answered {0}")]
    Refused(StatusCode),
}

impl Undelivered {
    /// Whether the same may go well later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Refused(status) => {
                !status.is_client_error()
                    || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(status)
            }
            _ => true,
        }
    }
}

impl Webhook {
    /// `None` when none is wanted.
    pub(crate) fn of(settings: &Approvals, egress: Egress) -> Result<Option<Self>, WebhookInvalid> {
        let (url, secret) = match (&settings.webhook_url, &settings.webhook_secret) {
            (None, None) => return Ok(None),
            (Some(url), Some(secret)) => (url, secret.clone()),
            _ => return Err(WebhookInvalid::Half),
        };
        if secret.expose().len() < SHORTEST_SECRET {
            return Err(WebhookInvalid::ShortSecret);
        }
        let target = Target::read(url).ok_or(WebhookInvalid::Url)?;
        Ok(Some(Self { target, secret, egress, tls: connector(), pause: FIRST_PAUSE }))
    }

    /// Posts news until there are none any more.
    pub(crate) async fn run(self, gateway: Gateway) {
        let mut news = gateway.approval_news();
        // Else the gateway would live as long as this.
        drop(gateway);
        loop {
            match news.recv().await {
                Ok(change) => self.post(&change).await,
                Err(RecvError::Lagged(missed)) => {
                    metrics::counter!("ringfence_webhook_lost_total").increment(missed);
                    tracing::error!(
                        webhook.missed = missed,
                        "changes of approvals were not posted: too many waited"
                    );
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Tries until it is delivered, or given up.
    async fn post(&self, news: &ApprovalNews) {
        let delivery = uuid::Uuid::new_v4().simple().to_string();
        let body =
            json!({"type": "approval.changed", "delivery": delivery, "approval": shown(news)}).to_string();
        let mut pause = self.pause;
        for attempt in 1..=TRIES {
            let tried = timeout(TRY_LIMIT, self.deliver(&body, &delivery)).await;
            let Err(undelivered) = tried.unwrap_or(Err(Undelivered::TimedOut)) else {
                metrics::counter!("ringfence_webhook_delivered_total").increment(1);
                return;
            };
            let goes_on = attempt < TRIES && undelivered.may_pass();
            // Neither the path, in which some hide a token, nor the secret.
            tracing::warn!(
                webhook.host = %self.target.host, approval.id = %news.id, webhook.attempt = attempt, error = %undelivered,
                "a change of an approval could not be posted{}", if goes_on { ": tried again" } else { "" }
            );
            if !goes_on {
                metrics::counter!("ringfence_webhook_lost_total").increment(1);
                return;
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    async fn deliver(&self, body: &str, delivery: &str) -> Result<(), Undelivered> {
        let Target { host, port, is_https, .. } = &self.target;
        let stream = self.connect(host, *port).await?;
        let request = self.request(body, delivery, jiff::Timestamp::now().as_second());
        let status = if *is_https {
            let name = ServerName::try_from(host.clone()).map_err(|_| Undelivered::NotAllowed)?;
            let stream = self.tls.connect(name, stream).await;
            send(stream.map_err(|error| Undelivered::Unreachable(error.kind()))?, request).await?
        } else {
            send(stream, request).await?
        };
        if status.is_success() { Ok(()) } else { Err(Undelivered::Refused(status)) }
    }

    /// To an address that connections may lead to, whatever the name means by now.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Undelivered> {
        let found = lookup_host((host, port)).await.map_err(|_| Undelivered::NotAllowed)?;
        let allowed: Vec<SocketAddr> =
            found.filter(|address| self.egress.permits(host, address.ip())).collect();
        if allowed.is_empty() {
            return Err(Undelivered::NotAllowed);
        }
        let connected = TcpStream::connect(allowed.as_slice()).await;
        connected.map_err(|error| Undelivered::Unreachable(error.kind()))
    }

    fn request(&self, body: &str, delivery: &str, at: i64) -> Request<Body> {
        let mut request = Request::new(Body::from(body.to_owned()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(self.target.path.clone());
        let headers = [
            (header::HOST.as_str(), self.target.authority.clone()),
            (header::CONTENT_TYPE.as_str(), "application/json".to_owned()),
            (header::USER_AGENT.as_str(), concat!("ringfence/", env!("CARGO_PKG_VERSION")).to_owned()),
            ("ringfence-delivery", delivery.to_owned()),
            ("ringfence-timestamp", at.to_string()),
            ("ringfence-signature", format!("v1={}", signature(&self.secret, at, body))),
        ];
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (header::HeaderName::try_from(name), value.parse()) {
                map.insert(name, value);
            }
        }
        *request.headers_mut() = map;
        request
    }
}

impl Target {
    fn read(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        // An IPv6 address stands in brackets.
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        (!host.is_empty()).then(|| Self { host, port, is_https, authority: authority.to_string(), path })
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Body>,
) -> Result<StatusCode, Undelivered> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|_| Undelivered::Broken)?;
    let answered = async { sender.send_request(request).await.map_err(|_| Undelivered::Broken) };
    tokio::select! {
        answer = answered => answer.map(|answer| answer.status()),
        _ = connection => Err(Undelivered::Broken),
    }
}

/// HMAC-SHA-256 over the time and the body, in hexadecimal digits: a body that is sent again later has another time.
fn signature(secret: &Secret, at: i64, body: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
        unreachable!("HMAC takes keys of any length")
    };
    mac.update(format!("{at}.{body}").as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn shown(news: &ApprovalNews) -> Value {
    let time = |at: i64| jiff::Timestamp::from_millisecond(at).unwrap_or_default().to_string();
    json!({
        "id": news.id, "state": news.state, "model": news.model, "action": news.action, "org": news.org,
        "tenant": news.tenant, "requester": news.requester, "approver": news.approver, "failure": news.failure,
        "created_at": time(news.created_at), "expires_at": time(news.expires_at),
        "decided_at": news.decided_at.map(time), "executed_at": news.executed_at.map(time),
    })
}

/// TLS with the roots of this machine.
fn connector() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap_or_else(|error| unreachable!("ring speaks TLS 1.2 and 1.3: {error}"));
    TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests;
