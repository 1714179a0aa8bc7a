//! Whether what a call rests on still holds while it runs: its key, who presented it, and as whom it runs.

use ringfence_policy::principal::may_impersonate;
use ringfence_policy::{Permission, Principal, UserId};
use ringfence_store::access_keys::KeyHash;
use ringfence_store::{Store, StoreError};

use super::{PrincipalCache, principal_of};
use crate::acting::may_still_speak;

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
    if let Some(standing) = principal.standing
        && store.access_keys().find(&KeyHash(standing.key)).await?.as_ref() != Some(presenter)
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
