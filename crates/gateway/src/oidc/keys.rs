//! A provider's keys (RFC 7517): kept, read again in time and when a token names an unknown one.

use std::sync::Arc;

use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::discovery::{keep, known, plain, trust};
use super::{Algorithm, Provider};
use crate::acting::WebKey;

/// Keys of one provider that are looked at.
const MAX_KEYS: usize = 100;

/// The keys that can verify something.
pub(super) struct KeySet(Vec<VerifyingKey>);

struct VerifyingKey {
    kid: Option<String>,
    /// What it is for, if it says so.
    algorithm: Option<Algorithm>,
    key: Arc<DecodingKey>,
    /// What it can do.
    web_key: WebKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Map<String, Value>>,
}

impl KeySet {
    /// What can't be used is left out: a provider may have keys for others, too.
    fn read(document: Document) -> Self {
        Self(document.keys.into_iter().take(MAX_KEYS).filter_map(VerifyingKey::read).collect())
    }

    /// The key of that id that signs so. Without an id there must be one such key only.
    //
    // INVARIANT: a key verifies only what it is made for: one for RSA no HMAC, whatever the token says. Held by the corpus in
    // `cases/oidc`.
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<Arc<DecodingKey>> {
        let mut fitting = self.0.iter().filter(|key| {
            key.algorithm.is_none_or(|own| own == algorithm)
                && algorithm.fits(&key.web_key)
                && kid.is_none_or(|kid| key.kid.as_deref() == Some(kid))
        });
        let first = fitting.next()?;
        if kid.is_none() && fitting.next().is_some() { None } else { Some(first.key.clone()) }
    }
}

impl VerifyingKey {
    fn read(sent: Map<String, Value>) -> Option<Self> {
        let text = |member: &str| sent.get(member).and_then(Value::as_str);
        if text("use").is_some_and(|used| used != "sig") {
            return None;
        }
        let algorithm = match text("alg") {
            Some(name) => Some(name.parse().ok()?),
            None => None,
        };
        let kid = text("kid").map(str::to_owned);
        let web_key: WebKey = serde_json::from_value(sent.into()).ok()?;
        let (_, key) = web_key.decoding().ok()?;
        Some(Self { kid, algorithm, key: Arc::new(key), web_key })
    }
}

impl Provider {
    /// The key that a token says it is signed with.
    pub(super) async fn key(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<DecodingKey>, &'static str> {
        const UNKNOWN: &str = "the provider has no such key";
        let seen = known(&self.keys, trust());
        if let Some(key) = seen.as_ref().and_then(|keys| keys.find(kid, algorithm)) {
            return Ok(key);
        }
        let _turn = self.turn.lock().await;
        let now = known(&self.keys, trust());
        // Somebody has read them while this one waited.
        if let (Some(seen), Some(now)) = (&seen, &now)
            && !Arc::ptr_eq(seen, now)
        {
            return now.find(kid, algorithm).ok_or(UNKNOWN);
        }
        if let Some(key) = now.as_ref().and_then(|keys| keys.find(kid, algorithm)) {
            return Ok(key);
        }
        self.read_keys().await?.find(kid, algorithm).ok_or(UNKNOWN)
    }

    /// Reads the keys, but not more often than so: anybody can name keys that don't exist.
    async fn read_keys(&self) -> Result<Arc<KeySet>, &'static str> {
        let read = match self.read_metadata().await {
            Err(reason) => Err(reason),
            Ok(_) if self.readings.check().is_err() => Err("the provider's keys were read too often"),
            Ok(metadata) => self.ask::<Document>(plain(metadata.jwks_uri.clone())).await,
        };
        keep(&self.keys, read.map(KeySet::read))
    }
}
