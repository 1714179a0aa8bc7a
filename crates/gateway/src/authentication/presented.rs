//! Who presents a request: by what credential, in which order of precedence.

use std::sync::Arc;

use ringfence_policy::{Credential, Principal};
use ringfence_store::Store;
use ringfence_store::access_keys::KeyHash;
use ringfence_store::sessions;

use super::{Credentials, Miss, PrincipalCache};
use crate::call::now_ms;
use crate::oidc::token_refused;
use crate::sessions::sign_in_refused;
use crate::{Code, Gateway, Refused};

impl Gateway {
    /// The account whose credential the request presents, before anybody is acted for.
    pub(super) async fn presenter(&self, credentials: &Credentials<'_>) -> Result<Arc<Principal>, Refused> {
        if let Some(key) = credentials.access_key.filter(|key| !key.is_empty()) {
            let claims = &credentials.claims;
            if self.is_token(key) {
                let user = self.token_holder(key).await?;
                return if claims.agree_with(&user.tenant) { Ok(user) } else { Err(token_refused()) };
            }
            let presented = self.shared.principals.by_key(&self.shared.store, &KeyHash::of(key)).await;
            if let Err(Miss::Unknown { .. }) = presented
                && let Some(holder) = Box::pin(self.opaque_holder(key, credentials.provider)).await
            {
                let user = holder?;
                return if claims.agree_with(&user.tenant) { Ok(user) } else { Err(token_refused()) };
            }
            return presented.map_err(|miss| {
                miss.refused(|| Refused::new(Code::KeyUnknown, "the access key is not valid"))
            });
        }
        let claims = &credentials.claims;
        if let Some(pair) = credentials.basic {
            let user = self.basic_user(pair, credentials.client).await?;
            return if claims.agree_with(&user.tenant) { Ok(user) } else { Err(sign_in_refused()) };
        }
        if let Some(secret) = credentials.session {
            let user = self.session_holder(secret).await?;
            // INVARIANT: a session opens nothing at another tenant's address. Held by the test
            // `a_session_is_for_its_own_tenants_address`.
            return if claims.agree_with(&user.tenant) { Ok(user) } else { Err(session_ended()) };
        }
        Err(Refused::new(Code::AuthenticationRequired, "give an access key: Authorization: Bearer <key>"))
    }

    async fn session_holder(&self, secret: &str) -> Result<Arc<Principal>, Refused> {
        let hash = sessions::hash_of(secret);
        let now = now_ms();
        let used = self.shared.principals.by_session(&self.shared.store, &hash, now).await;
        let used = used.map_err(|miss| miss.refused(session_ended))?;
        if used.is_due {
            // Nobody waits for it: at worst another request says so a little later.
            let store = self.shared.store.clone();
            tokio::spawn(async move {
                if let Err(error) = store.sessions().touch(&hash, now).await {
                    tracing::warn!(%error, "that a sign-in session was used can't be written down");
                }
            });
        }
        Ok(used.principal)
    }
}

/// One answer for sessions that have ended and for those that never were.
fn session_ended() -> Refused {
    Refused::new(Code::SessionEnded, "the session has ended: sign in again")
}

impl Miss {
    /// The refusal, with these words for what is not there.
    fn refused(self, unknown: impl FnOnce() -> Refused) -> Refused {
        match self {
            Self::Unknown { .. } => unknown(),
            Self::Failed(refused) => refused,
        }
    }
}

/// A session that was used just now.
struct Used {
    principal: Arc<Principal>,
    /// Whether to write that down.
    is_due: bool,
}

impl PrincipalCache {
    async fn by_session(&self, store: &Store, hash: &KeyHash, now_ms: i64) -> Result<Used, Miss> {
        // Twice, because another node may have seen it used since this one made its copy.
        for _ in 0..2 {
            let copy = self.by_credential(store, Credential::Session, hash).await?;
            if let Some(live) = copy.live
                && live.is_used(now_ms)
            {
                return Ok(Used { principal: copy.user.principal, is_due: live.is_due(now_ms) });
            }
            self.keys.invalidate(hash).await;
        }
        Err(Miss::Unknown { version: self.versions.of(hash) })
    }

    /// The user whose password that stamp stands for.
    pub(crate) async fn password_user(
        &self,
        store: &Store,
        stamp: &KeyHash,
    ) -> Result<Option<Arc<Principal>>, Refused> {
        match self.by_credential(store, Credential::Password, stamp).await {
            Ok(copy) => Ok(Some(copy.user.principal)),
            Err(Miss::Unknown { .. }) => Ok(None),
            Err(Miss::Failed(refused)) => Err(refused),
        }
    }

    /// The user of a session that counts; asking is no use of it.
    pub(crate) async fn session_user(&self, store: &Store, hash: &KeyHash) -> Option<Arc<Principal>> {
        let copy = self.by_credential(store, Credential::Session, hash).await.ok()?;
        Some(copy.user.principal)
    }
}
