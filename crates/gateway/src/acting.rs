//! Acting for a principal: an application sends its own user's, beside its own access key.
//!
//! Reading order: [`Acting`] is what a front end hands over, [`token`] checks a signed one, [`signatures`] its signature,
//! [`reach`] what an application may say of a user at all, and [`Gateway::speak_for`] makes the principal.
//! `docs/decisions/0008-acting-for-a-principal.md` says why it is so.

pub mod agent;
mod reach;
mod signatures;
pub mod token;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use moka::future::Cache;
use ringfence_policy::{Agent, Attributes, KeyName, Principal, Standing, TenantId, UserId};
use ringfence_store::{Store, StoreError};
use sha2::{Digest as _, Sha256};

use crate::{Code, Gateway, GatewayConfig, Refused};
pub(crate) use reach::{Home, both_at_once, stays_within_reach};
pub(crate) use signatures::{KeyUnusable, PublicKey, WebKey};
use token::{Fault, VerifiedToken};

/// How the users of applications are taken on.
#[derive(Debug, Clone)]
pub struct ActingConfig {
    /// What a token's `aud` must name: this server, or all that share a store.
    pub audience: String,
    /// How long a token may be good for.
    pub max_lifetime: Duration,
    /// Applications that may name their users in plain headers.
    pub trusted_headers: Vec<UserId>,
}

impl Default for ActingConfig {
    fn default() -> Self {
        Self {
            audience: "ringfence".to_owned(),
            max_lifetime: Duration::from_mins(10),
            trusted_headers: Vec::new(),
        }
    }
}

/// Whom an application acts for, as a request says it.
#[derive(Debug, Clone, Copy)]
pub enum Acting<'a> {
    /// A JWT.
    Token(&'a str),
    /// Plain headers, which count from applications that the configuration names.
    Headers(PlainPrincipal<'a>),
}

/// The user of an application in plain headers.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "plain fields")]
pub struct PlainPrincipal<'a> {
    pub tenant: &'a str,
    pub user: &'a str,
    /// Names, separated by commas.
    pub roles: Option<&'a str>,
    /// A JSON object.
    pub attributes: Option<&'a str>,
}

/// What an application says of a user of its own.
#[derive(Debug, Clone)]
pub(crate) struct Spoken {
    tenant: TenantId,
    user: UserId,
    /// Names of product roles and data roles.
    roles: Vec<String>,
    attributes: Attributes,
    agent: Option<Agent>,
}

/// Why a user is not taken on. The caller hears no more than whether it is worth trying again; the log hears all.
pub(crate) enum Declined {
    /// For the token itself, or for what it says.
    Fault(Fault),
    /// The store could not be asked.
    Refused(Refused),
}

impl From<Fault> for Declined {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Refused> for Declined {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<StoreError> for Declined {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

impl Declined {
    /// For that reason, which is not told.
    pub(crate) fn because(reason: &'static str) -> Self {
        Self::Fault(Fault::Refused(reason))
    }
}

/// What was made of tokens before, bounded.
///
/// Every entry has the application's principal that it was made for, and counts for that very one. Whatever changes about
/// the application, its access key, its signing keys or its organization's tenants makes a new principal of it, for which
/// nothing is known: so nothing in here has to be looked for and taken out.
// INVARIANT: no principal outlives the signing key, the access key, the role or the tenant that it rests on. Held by the
// tests of `acting::revocation`.
pub(crate) struct ActingCache {
    /// By access key and token, with the time until which the token is good.
    principals: Cache<([u8; 32], [u8; 32]), Signed>,
    keys: Cache<([u8; 32], KeyName), Known<Arc<PublicKey>>>,
    homes: Cache<([u8; 32], TenantId), Known<Arc<Home>>>,
}

/// What was found out for an application.
#[derive(Clone)]
struct Known<T> {
    application: Arc<Principal>,
    what: T,
}

impl<T: Clone> Known<T> {
    fn of(application: &Arc<Principal>, what: T) -> Self {
        Self { application: application.clone(), what }
    }

    fn still(self, application: &Arc<Principal>) -> Option<T> {
        Arc::ptr_eq(&self.application, application).then_some(self.what)
    }
}

/// A principal, and until when.
type Signed = Known<(Arc<Principal>, i64)>;

/// How long anything is kept: no token is good for much longer.
const TRUST: Duration = Duration::from_mins(10);

impl ActingCache {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        let size = config.principal_cache;
        Self {
            principals: Cache::builder().max_capacity(size).time_to_live(TRUST).build(),
            keys: Cache::builder().max_capacity(size).time_to_live(TRUST).build(),
            homes: Cache::builder().max_capacity(size).time_to_live(TRUST).build(),
        }
    }
}

impl Gateway {
    /// The user for whom the application asks, as a principal that is nowhere more than the application.
    pub(crate) async fn speak_for(
        &self,
        application: &Arc<Principal>,
        acting: Acting<'_>,
    ) -> Result<Arc<Principal>, Refused> {
        reach::may_speak(application)?;
        let made = match acting {
            Acting::Token(token) => self.speak_by_token(application, token).await,
            Acting::Headers(plain) => self.speak_by_headers(application, plain).await,
        };
        made.map_err(|declined| {
            let (fault, refused) = match declined {
                Declined::Refused(refused) => return refused,
                Declined::Fault(fault) => (fault.reason(), fault.told(acting)),
            };
            tracing::info!(user.id = %application.user, reason = fault, "an application's user is not taken on");
            refused
        })
    }

    async fn speak_by_token(
        &self,
        application: &Arc<Principal>,
        token: &str,
    ) -> Result<Arc<Principal>, Declined> {
        if token.len() > token::MAX_BYTES {
            return Err(Fault::Malformed("longer than any token may be").into());
        }
        let now = Timestamp::now().as_second();
        let presented = standing_of(application)?.key;
        let cache = &self.shared.acting;
        let name = (presented, <[u8; 32]>::from(Sha256::digest(token.as_bytes())));
        if let Some(known) = cache.principals.get(&name).await
            && let Some((principal, until)) = known.still(application)
        {
            if until <= now {
                return Err(Fault::Expired.into());
            }
            return Ok(principal);
        }
        let kid = token::kid_of(token)?;
        let key = self.signing_key(application, kid).await?;
        let VerifiedToken { spoken, until } =
            token::verify(token, &key, application, &self.shared.config.acting, now)?;
        let principal = Arc::new(self.take_on(application, spoken, Some(key.digest)).await?);
        cache.principals.insert(name, Known::of(application, (principal.clone(), until))).await;
        Ok(principal)
    }

    async fn speak_by_headers(
        &self,
        application: &Arc<Principal>,
        plain: PlainPrincipal<'_>,
    ) -> Result<Arc<Principal>, Declined> {
        if !self.shared.config.acting.trusted_headers.contains(&application.user) {
            return Err(Refused::new(
                Code::NotPermitted,
                "headers that name a user are not trusted from you: send a signed token, or none of them",
            )
            .into());
        }
        let spoken = plain.read()?;
        Ok(Arc::new(self.take_on(application, spoken, None).await?))
    }

    /// The key of that application, and of no other.
    async fn signing_key(
        &self,
        application: &Arc<Principal>,
        kid: KeyName,
    ) -> Result<Arc<PublicKey>, Declined> {
        let name = (standing_of(application)?.key, kid);
        let keys = &self.shared.acting.keys;
        if let Some(known) = keys.get(&name).await
            && let Some(key) = known.still(application)
        {
            return Ok(key);
        }
        // One that does not exist is not remembered: there is no end of them, and one made now must work now.
        let found = self.shared.store.signing_keys().find(&application.user, &name.1).await?;
        let found = found.ok_or(Declined::because("the application has no key of that id"))?;
        let key = PublicKey::stored(&found).map_err(|invalid| Refused::internal(&invalid))?;
        let key = Arc::new(key);
        keys.insert(name, Known::of(application, key.clone())).await;
        Ok(key)
    }

    /// What the application says of its user, as far as it may say so.
    async fn take_on(
        &self,
        application: &Arc<Principal>,
        spoken: Spoken,
        signed_by: Option<[u8; 32]>,
    ) -> Result<Principal, Declined> {
        let home = self.home_of(application, &spoken.tenant).await?;
        let standing = Standing { signed_by, ..standing_of(application)? };
        reach::principal(application, &home, spoken, standing).map_err(Declined::because)
    }

    async fn home_of(&self, application: &Arc<Principal>, tenant: &TenantId) -> Result<Arc<Home>, Declined> {
        let name = (standing_of(application)?.key, tenant.clone());
        let homes = &self.shared.acting.homes;
        if let Some(known) = homes.get(&name).await
            && let Some(home) = known.still(application)
        {
            return Ok(home);
        }
        let home = Home::read(&self.shared.store, application, tenant).await?;
        // One answer for a tenant that is elsewhere, and for one that is nowhere.
        let home = home.ok_or(Declined::because("the tenant is none of the application's organization"))?;
        if self.shared.store.tenants().is_suspended(tenant).await? {
            return Err(crate::authentication::suspended().into());
        }
        let home = Arc::new(home);
        homes.insert(name, Known::of(application, home.clone())).await;
        Ok(home)
    }
}

/// Applications act by access keys, never as the operator.
fn standing_of(application: &Principal) -> Result<Standing, Declined> {
    application.standing.ok_or(Declined::because("no access key was presented"))
}

/// Whether the application may still act for this user of its, by what the store has now.
pub(crate) async fn may_still_speak(
    store: &Store,
    application: &Principal,
    principal: &Principal,
) -> Result<bool, StoreError> {
    if reach::may_speak(application).is_err()
        || stays_within_reach(application, principal).is_err()
        || Home::read(store, application, &principal.tenant).await?.is_none()
    {
        return Ok(false);
    }
    let Some(signed_by) = principal.standing.and_then(|standing| standing.signed_by) else {
        return Ok(true);
    };
    let keys = store.signing_keys().list(&application.user).await?;
    Ok(keys.iter().any(|key| signatures::digest_of(key) == signed_by))
}
