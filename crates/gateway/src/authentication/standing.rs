//! Whether what a call rests on still holds while it runs: its key, who presented it, and as whom it runs.

use ringfence_policy::principal::may_impersonate;
use ringfence_policy::{Credential, Permission, Principal, UserId};
use ringfence_store::access_keys::KeyHash;
use ringfence_store::sessions::Session;
use ringfence_store::{Store, StoreError};

use super::{PrincipalCache, principal_of};
use crate::acting::may_still_speak;
use crate::call::now_ms;

impl PrincipalCache {
    /// Whether nothing about the principal is known to have changed since it was resolved. No look into the store.
    pub(crate) fn is_unchanged(&self, principal: &Principal) -> bool {
        principal.standing.is_none_or(|standing| {
            standing.presented[0] == self.versions.of(&KeyHash(standing.key))
                && standing.presented[1] == self.versions.of(principal.authenticated_user())
                && standing.acting == self.versions.of(principal.account())
        })
    }
}

/// Whether a query of this principal would be let in now. Asks the store, and no copy: a copy may be about to change.
pub(crate) async fn may_still_query(store: &Store, principal: &Principal) -> Result<bool, StoreError> {
    let presenter = principal.authenticated_user();
    if store.tenants().is_suspended(&principal.tenant).await? {
        return Ok(false);
    }
    // A token stands until it ends: what the store has to say is of its user alone.
    if let Some(standing) = principal.standing
        && standing.credential != Credential::Token
        && holder(store, standing.credential, &KeyHash(standing.key)).await?.as_ref() != Some(presenter)
    {
        return Ok(false);
    }
    let Some(acting) = now(store, principal.account()).await? else {
        return Ok(false);
    };
    if principal.application.is_some() {
        let may_query = acting.may(Permission::UsageApi) && acting.may(Permission::ReadDatabases);
        return Ok(may_query && may_still_speak(store, &acting, principal).await?);
    }
    // Who moved to another tenant may still query, but not what was asked for from the old one.
    if (&acting.org, &acting.tenant) != (&principal.org, &principal.tenant)
        || !acting.may(Permission::ReadDatabases)
    {
        return Ok(false);
    }
    if principal.acted_by.is_none() {
        return Ok(acting.may(Permission::UsageApi));
    }
    let presenter = now(store, presenter).await?;
    Ok(presenter.is_some_and(|presenter| {
        presenter.may(Permission::UsageApi) && may_impersonate(&presenter, &acting).is_ok()
    }))
}

/// The user as a principal, as the store has it now.
pub(crate) async fn now(store: &Store, user: &UserId) -> Result<Option<Principal>, StoreError> {
    Ok(store.users().account(user).await?.map(principal_of))
}

/// Whose a credential is, and the session when it is one.
pub(super) struct Held {
    pub(super) owner: UserId,
    pub(super) session: Option<Session>,
}

/// What the store has of a credential now.
pub(super) async fn held(
    store: &Store,
    credential: Credential,
    hash: &KeyHash,
) -> Result<Option<Held>, StoreError> {
    match credential {
        Credential::AccessKey => {
            Ok(store.access_keys().find(hash).await?.map(|owner| Held { owner, session: None }))
        }
        Credential::Session => {
            let session = store.sessions().find(hash, now_ms()).await?;
            Ok(session.map(|session| Held { owner: session.user.clone(), session: Some(session) }))
        }
        Credential::Password => {
            Ok(store.basic_credentials().holder(hash).await?.map(|owner| Held { owner, session: None }))
        }
        Credential::Token => Ok(None),
    }
}

/// Whose a credential is now.
pub(super) async fn holder(
    store: &Store,
    credential: Credential,
    hash: &KeyHash,
) -> Result<Option<UserId>, StoreError> {
    Ok(held(store, credential, hash).await?.map(|held| held.owner))
}
