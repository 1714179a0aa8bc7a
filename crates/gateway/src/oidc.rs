//! OpenID Connect: providers vouch for users, by the access tokens that requests present.
//!
//! Reading order: [`ProviderConfig`] is what the operator says of a provider, [`discovery`] what it says of itself, [`keys`] how
//! it signs, [`token`] checks what it signed, [`opaque`] asks about what it did not, [`claims`] reads either as an arrival,
//! and [`bearer`] makes a principal of it. [`code_flow`] signs browsers in, [`logout`] signs them out. `docs/decisions/0015-openid-connect.md` says why it is so.

mod bearer;
mod claims;
mod code_flow;
mod discovery;
mod keys;
mod logout;
mod opaque;
mod token;
pub mod web;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use parking_lot::RwLock;
use secrecy::SecretString;
use tokio::sync::{Mutex, Semaphore};

use crate::arrivals::Source;
pub(crate) use bearer::{TokenCache, token_refused};
pub use code_flow::{Callback, Leaving};
use discovery::{Fresh, Metadata};
use keys::KeySet;
pub use token::{Algorithm, AlgorithmUnknown};
use web::{NoWeb, Web};

/// The way to a claim through objects, such as `resource_access`, `shop`, `roles`.
pub type ClaimPath = Vec<String>;

/// What the operator says of a provider.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// How far it is believed of its users; its name is the provider's.
    pub source: Source,
    /// As it calls itself, to the letter.
    pub issuer: String,
    /// Who we are to it.
    pub client_id: String,
    /// What proves it; a public client has none.
    pub client_secret: Option<SecretString>,
    /// What browsers are to be allowed to know, `openid` among it.
    pub scopes: Vec<String>,
    /// What its users are called here.
    pub name_claim: ClaimPath,
    /// Where their roles are; all of them count.
    pub roles_claims: Vec<ClaimPath>,
    /// Where their organization is, when the source has none of its own.
    pub organization_claim: Option<ClaimPath>,
    /// Where their tenant is, when the source has none of its own.
    pub tenant_claim: Option<ClaimPath>,
    /// Attributes of theirs, and where each is.
    pub attributes: BTreeMap<String, ClaimPath>,
    /// Of these a token must be for one.
    pub audiences: Vec<String>,
    /// What its keys may sign with.
    pub algorithms: Vec<Algorithm>,
    /// What its access tokens are.
    pub access_tokens: AccessTokens,
    /// How long at most an answer about an opaque token counts.
    pub opaque_trust: Duration,
}

/// What a provider's access tokens are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessTokens {
    /// JWTs, checked here.
    Jwt,
    /// Texts that only the provider can read: asked about (RFC 7662).
    Introspected,
    /// The same, for providers that do not introspect: shown where they say who the user is. For which application such a
    /// token was made is not known.
    ByUserinfo,
}

/// The providers, and the way to them.
#[derive(Clone)]
pub struct OidcConfig {
    /// Each with a name of its own.
    pub providers: Vec<ProviderConfig>,
    /// Sends requests to them.
    pub web: Arc<dyn Web>,
}

impl Default for OidcConfig {
    fn default() -> Self {
        Self { providers: Vec::new(), web: Arc::new(NoWeb) }
    }
}

impl fmt::Debug for OidcConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcConfig").field("providers", &self.providers).finish_non_exhaustive()
    }
}

/// Requests that may be on their way to one provider.
const REQUESTS_AT_ONCE: usize = 32;
/// What is read again because of an unknown key or after a failure: so many times at once, and once in this time after.
const READ_AGAIN_AT_ONCE: NonZeroU32 = NonZeroU32::new(3).expect("three is not zero");
const READ_AGAIN_EVERY: Duration = Duration::from_secs(20);

/// A provider, and what is known of it.
pub(crate) struct Provider {
    config: ProviderConfig,
    web: Arc<dyn Web>,
    metadata: RwLock<Option<Fresh<Metadata>>>,
    keys: RwLock<Option<Fresh<KeySet>>>,
    /// Held while one of the two is read, so that those who need it meanwhile wait instead of reading it, too.
    turn: Mutex<()>,
    readings: DefaultDirectRateLimiter,
    requests: Semaphore,
}

/// All providers.
pub(crate) struct Providers(Vec<Arc<Provider>>);

impl Providers {
    pub(crate) fn new(config: &OidcConfig) -> Self {
        let provider = |config: &ProviderConfig, web: &Arc<dyn Web>| {
            let quota =
                Quota::with_period(READ_AGAIN_EVERY).map(|quota| quota.allow_burst(READ_AGAIN_AT_ONCE));
            Arc::new(Provider {
                config: config.clone(),
                web: web.clone(),
                metadata: RwLock::default(),
                keys: RwLock::default(),
                turn: Mutex::default(),
                readings: RateLimiter::direct(quota.unwrap_or(Quota::per_minute(READ_AGAIN_AT_ONCE))),
                requests: Semaphore::new(REQUESTS_AT_ONCE),
            })
        };
        Self(config.providers.iter().map(|one| provider(one, &config.web)).collect())
    }

    /// Those of that issuer: an organization may have several clients of one.
    fn of_issuer<'a, 'i>(&'a self, issuer: &'i str) -> impl Iterator<Item = &'a Arc<Provider>> + use<'a, 'i> {
        self.0.iter().filter(move |provider| {
            provider.config.issuer == issuer && provider.config.access_tokens == AccessTokens::Jwt
        })
    }

    /// Whom to ask about an opaque token: the named one, or the only one there is. A token is a secret between its user and
    /// its provider, so that no other is ever asked about it.
    fn for_opaque(&self, named: Option<&str>) -> Option<&Arc<Provider>> {
        let mut opaque = self.0.iter().filter(|provider| {
            provider.config.access_tokens != AccessTokens::Jwt
                && named.is_none_or(|name| name == provider.config.source.name)
        });
        let first = opaque.next();
        if opaque.next().is_some() { None } else { first }
    }

    /// The provider of that name.
    fn named(&self, name: &str) -> Option<&Arc<Provider>> {
        self.0.iter().find(|provider| provider.config.source.name == name)
    }

    /// The configured source of that name.
    pub(crate) fn source(&self, name: &str) -> Option<&Source> {
        self.0.iter().map(|provider| &provider.config.source).find(|source| source.name == name)
    }
}
