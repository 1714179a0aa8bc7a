//! What a provider says of itself (`OpenID` Connect Discovery 1.0), and how long that counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Provider;
use super::web::WebRequest;

/// How long what a provider says counts before it is asked again.
const TRUST: Duration = Duration::from_mins(10);
/// How long it counts while the provider can't be asked: a key that was withdrawn because it leaked must end some day.
const TRUST_AT_MOST: Duration = Duration::from_hours(24);

/// What was read, and when.
pub(super) struct Fresh<T> {
    read_at: Instant,
    what: Arc<T>,
}

/// Where a provider answers what.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) jwks_uri: String,
    #[serde(default)]
    pub(super) authorization_endpoint: Option<String>,
    #[serde(default)]
    pub(super) token_endpoint: Option<String>,
    #[serde(default)]
    pub(super) end_session_endpoint: Option<String>,
    /// RFC 9207: whether it says in its answers who it is.
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    pub(super) introspection_endpoint: Option<String>,
    #[serde(default)]
    pub(super) userinfo_endpoint: Option<String>,
}

impl Metadata {
    fn addresses(&self) -> impl Iterator<Item = &String> {
        let named = [
            &self.authorization_endpoint, &self.token_endpoint, &self.end_session_endpoint,
            &self.introspection_endpoint, &self.userinfo_endpoint,
        ];
        named.into_iter().flatten().chain([&self.jwks_uri])
    }
}

impl Provider {
    /// Where the provider answers what.
    pub(super) async fn metadata(&self) -> Result<Arc<Metadata>, &'static str> {
        if let Some(known) = known(&self.metadata, TRUST) {
            return Ok(known);
        }
        let _turn = self.turn.lock().await;
        if let Some(known) = known(&self.metadata, TRUST) {
            return Ok(known);
        }
        self.read_metadata().await
    }

    /// The same for who has the turn.
    pub(super) async fn read_metadata(&self) -> Result<Arc<Metadata>, &'static str> {
        if let Some(known) = known(&self.metadata, TRUST) {
            return Ok(known);
        }
        let issuer = &self.config.issuer;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let read = match self.readings.check() {
            Ok(()) => self.ask::<Metadata>(plain(url)).await,
            Err(_) => Err("the provider was asked too often"),
        };
        let read = read.and_then(|metadata| {
            // Discovery 1.0, section 4.3: else anybody's document would do.
            if metadata.issuer != *issuer {
                return Err("the provider calls itself something else");
            }
            if !metadata.addresses().all(|address| is_as_safe(issuer, address)) {
                return Err("the provider names an address without TLS");
            }
            Ok(metadata)
        });
        keep(&self.metadata, read)
    }

    /// Asks for a JSON document.
    pub(super) async fn ask<T: DeserializeOwned>(&self, request: WebRequest) -> Result<T, &'static str> {
        let Ok(_place) = self.requests.try_acquire() else {
            return Err("too many requests are on their way to the provider");
        };
        let answer = self.web.send(request).await.map_err(|_| "the provider can't be reached")?;
        if answer.status != 200 {
            return Err("the provider refuses");
        }
        serde_json::from_slice(&answer.body).map_err(|_| "the provider's answer can't be read")
    }
}

/// A request that anybody may make.
pub(super) fn plain(url: String) -> WebRequest {
    WebRequest { url, authorization: None, form: None }
}

/// What was read within that time.
pub(super) fn known<T>(place: &RwLock<Option<Fresh<T>>>, within: Duration) -> Option<Arc<T>> {
    let place = place.read();
    place.as_ref().filter(|fresh| fresh.read_at.elapsed() < within).map(|fresh| fresh.what.clone())
}

/// Keeps what was read. When it was not, what was read before goes on for a while.
pub(super) fn keep<T>(
    place: &RwLock<Option<Fresh<T>>>,
    read: Result<T, &'static str>,
) -> Result<Arc<T>, &'static str> {
    match read {
        Ok(what) => {
            let what = Arc::new(what);
            *place.write() = Some(Fresh { read_at: Instant::now(), what: what.clone() });
            Ok(what)
        }
        Err(reason) => {
            tracing::warn!(reason, "an OpenID provider can't be asked");
            known(place, TRUST_AT_MOST).ok_or(reason)
        }
    }
}

/// The time after which what was read is read again.
pub(super) const fn trust() -> Duration {
    TRUST
}

/// Whether an address has TLS, or is of a provider that has none, on this machine.
fn is_as_safe(issuer: &str, address: &str) -> bool {
    address.starts_with("https://") || (issuer.starts_with("http://") && address.starts_with("http://"))
}
