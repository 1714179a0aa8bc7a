//! From a bearer token that is no access key to a principal, by way of a copy that lives no longer than the token.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use moka::future::Cache;
use ringfence_policy::Principal;
use ringfence_store::access_keys::KeyHash;
use sha2::{Digest as _, Sha256};

use super::token::{self, Verified};
use super::{Provider, claims};
use crate::arrivals::Unwelcome;
use crate::{Code, Gateway, GatewayConfig, Refused};

/// How long a copy is trusted: then signature and roles are looked at again, with the keys and the mapping of then.
const TRUST: Duration = Duration::from_mins(1);
/// How long it is remembered of a text that it is no token: so that whoever repeats it does not have the provider asked.
const DISTRUST: Duration = Duration::from_secs(10);
/// What access keys that are made here begin with: no provider is ever shown one.
const KEY_MARK: &str = "rf_";

/// Principals by digest of their token, bounded.
// INVARIANT: no copy outlives its token, its user's roles or its user. Held by the tests of `oidc`.
pub(crate) struct TokenCache {
    seen: Cache<KeyHash, Seen>,
    unknown: Cache<KeyHash, ()>,
}

#[derive(Clone)]
struct Seen {
    principal: Arc<Principal>,
    /// In seconds since the epoch.
    until: i64,
}

/// A text that is no access key.
#[derive(Clone, Copy)]
enum Presented<'a> {
    Jwt(&'a str),
    Opaque(&'a str, &'a Provider),
}

impl TokenCache {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        let size = config.principal_cache;
        Self {
            seen: Cache::builder().max_capacity(size).time_to_live(TRUST).build(),
            unknown: Cache::builder().max_capacity(size).time_to_live(DISTRUST).build(),
        }
    }
}

impl Gateway {
    /// Whether the text is for [`Gateway::token_holder`], and no access key whatever it holds.
    pub(crate) fn is_token(&self, text: &str) -> bool {
        !self.shared.providers.0.is_empty() && token::is_jwt(text)
    }

    /// The user whom a provider names in a token that it signed.
    pub(crate) async fn token_holder(&self, token: &str) -> Result<Arc<Principal>, Refused> {
        self.holder(token, Presented::Jwt(token)).await.map_err(refused)
    }

    /// The user whose opaque token it is. `None` when no provider can be asked about it. `named` is the provider's name as the
    /// request has it.
    pub(crate) async fn opaque_holder(
        &self,
        token: &str,
        named: Option<&str>,
    ) -> Option<Result<Arc<Principal>, Refused>> {
        if token.starts_with(KEY_MARK) || token.len() > token::MAX_BYTES {
            return None;
        }
        let provider = self.shared.providers.for_opaque(named)?;
        Some(self.holder(token, Presented::Opaque(token, provider)).await.map_err(refused))
    }

    async fn holder(&self, token: &str, presented: Presented<'_>) -> Result<Arc<Principal>, Unwelcome> {
        if token.len() > token::MAX_BYTES {
            return Err(Unwelcome::Because("longer than any token may be"));
        }
        let hash = hash_of(token);
        let cache = &self.shared.tokens;
        let now = Timestamp::now().as_second();
        let counts = |seen: &Seen| seen.until > now && self.shared.principals.is_unchanged(&seen.principal);
        if let Some(seen) = cache.seen.get(&hash).await {
            if counts(&seen) {
                return Ok(seen.principal);
            }
            cache.seen.invalidate(&hash).await;
        }
        if cache.unknown.get(&hash).await.is_some() {
            return Err(Unwelcome::Because("it was no token a moment ago"));
        }
        // Boxed, as what happens seldom and is large. Those who come at once share one look.
        let read = Box::pin(self.read_token(hash, presented, now));
        match cache.seen.try_get_with(hash, read).await {
            Ok(seen) if counts(&seen) => Ok(seen.principal),
            Ok(_) => {
                cache.seen.invalidate(&hash).await;
                Ok(Box::pin(self.read_token(hash, presented, now)).await?.principal)
            }
            Err(unwelcome) => {
                if let (Presented::Opaque(..), Unwelcome::Because(_)) = (presented, &*unwelcome) {
                    cache.unknown.insert(hash, ()).await;
                }
                Err(Unwelcome::clone(&unwelcome))
            }
        }
    }

    async fn read_token(&self, hash: KeyHash, presented: Presented<'_>, now: i64) -> Result<Seen, Unwelcome> {
        let version = self.shared.principals.version_of(&hash);
        let (provider, verified) = match presented {
            Presented::Opaque(token, provider) => (provider, provider.look_up(token, now).await),
            Presented::Jwt(token) => self.verified(token, now).await.map_err(Unwelcome::Because)?,
        };
        let Verified { claims, until, issued_at } = verified.map_err(Unwelcome::Because)?;
        let as_of = issued_at.saturating_mul(1000);
        let arrival = claims::arrival(&provider.config, &claims, as_of).map_err(Unwelcome::Because)?;
        let user = self.arrive(&provider.config.source, arrival).await?;
        let principals = &self.shared.principals;
        let principal = principals.by_token(&self.shared.store, &user, &hash, version).await;
        let principal = principal.map_err(Unwelcome::Refused)?;
        let principal = principal.ok_or(Unwelcome::Because("the user has gone meanwhile"))?;
        Ok(Seen { principal: Arc::new(principal), until })
    }

    /// By the first client of the issuer that the token is for.
    async fn verified<'a>(
        &'a self,
        token: &str,
        now: i64,
    ) -> Result<(&'a Provider, Result<Verified, &'static str>), &'static str> {
        let issuer = token::alleged_issuer(token)?;
        let mut last = Err("no provider is configured for the issuer");
        for provider in self.shared.providers.of_issuer(&issuer) {
            let verified = provider.verify(token, now).await;
            if verified.is_ok() {
                return Ok((provider, verified));
            }
            last = Ok((&**provider, verified));
        }
        last
    }
}

/// One answer for all that is wrong with a token, or with whom it names. The log hears what.
fn refused(unwelcome: Unwelcome) -> Refused {
    match unwelcome {
        Unwelcome::Refused(refused) => refused,
        Unwelcome::Because(reason) => {
            tracing::info!(reason, "a bearer token is not accepted");
            token_refused()
        }
    }
}

/// The one answer to a token that is not accepted.
pub(crate) fn token_refused() -> Refused {
    Refused::new(Code::TokenInvalid, "the token is not accepted: get a new one")
}

/// No access key and no session has it.
fn hash_of(token: &str) -> KeyHash {
    let mut hasher = Sha256::new();
    hasher.update(b"bearer token\0");
    hasher.update(token.as_bytes());
    KeyHash(hasher.finalize().into())
}
