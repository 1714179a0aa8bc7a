//! Principals of users whom a provider's token names: the token is not in the store, the user is.

use ringfence_policy::{Credential, Principal, Standing, UserId};
use ringfence_store::Store;
use ringfence_store::access_keys::KeyHash;

use super::{Miss, PrincipalCache};
use crate::Refused;

impl PrincipalCache {
    /// The version of what rests on a credential: read before anything that it is to stand for.
    pub(crate) fn version_of(&self, hash: &KeyHash) -> u64 {
        self.versions.of(hash)
    }

    /// The user as the holder of that token. None when there is no such user, or a disabled one.
    pub(crate) async fn by_token(
        &self,
        store: &Store,
        user: &UserId,
        hash: &KeyHash,
        version: u64,
    ) -> Result<Option<Principal>, Refused> {
        let copy = match self.by_user(store, user).await {
            Ok(copy) => copy,
            Err(Miss::Unknown { .. }) => return Ok(None),
            Err(Miss::Failed(refused)) => return Err(refused),
        };
        let standing = Standing {
            credential: Credential::Token,
            key: hash.0,
            presented: [version, copy.version],
            acting: copy.version,
            signed_by: None,
        };
        Ok(Some(Principal { standing: Some(standing), ..Principal::clone(&copy.principal) }))
    }
}
