//! Identify: from an access key, and perhaps a name to act for, to a principal.

mod operator;
pub(crate) mod standing;

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use ringfence_policy::principal::{may_impersonate, merge_attributes, permissions_of};
use ringfence_policy::{Permission, Principal, Standing, UserId};
use ringfence_store::access_keys::KeyHash;
use ringfence_store::users::Account;
use ringfence_store::{Store, StoreError};

use crate::acting::{Acting, agent, both_at_once};
use crate::versions::Versions;
use crate::{Call, CallLog, Code, Gateway, GatewayConfig, Refused};

/// How long a copy is trusted when no news of changes arrive. News do arrive: this is the second line.
const TRUST: Duration = Duration::from_mins(1);
/// How often a reading that was overtaken by a change is begun again before one is made without the cache.
const ATTEMPTS: usize = 3;

/// What a request says of who asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The access key.
    pub access_key: Option<&'a str>,
    /// The user whose place an administrator steps into.
    pub impersonate: Option<&'a str>,
    /// The user of its own that an application acts for.
    pub acting: Option<Acting<'a>>,
    /// The agent that the caller says it is.
    pub agent: Option<&'a str>,
}

impl Gateway {
    /// Resolves an access key to a principal, and steps into another user's place when `impersonate` names one. All
    /// refusals of impersonation are one answer. Never falls back to the caller's own identity.
    pub async fn authenticate(
        &self,
        log: &Arc<CallLog>,
        access_key: Option<&str>,
        impersonate: Option<&str>,
    ) -> Result<Call, Refused> {
        self.identify(log, Credentials { access_key, impersonate, ..Credentials::default() }).await
    }

    /// The same for all that a request may say of who asks.
    pub async fn identify(&self, log: &Arc<CallLog>, credentials: Credentials<'_>) -> Result<Call, Refused> {
        let Credentials { access_key, impersonate, acting, agent } = credentials;
        // A call that could leave no record is not begun.
        self.shared.audit.has_room().await?;
        let Some(access_key) = access_key.filter(|key| !key.is_empty()) else {
            return Err(Refused::new(
                Code::AuthenticationRequired,
                "give an access key: Authorization: Bearer <key>",
            ));
        };
        let presented = self.shared.principals.by_key(&self.shared.store, &KeyHash::of(access_key)).await;
        let caller = presented.map_err(|miss| match miss {
            Miss::Unknown { .. } => Refused::new(Code::KeyUnknown, "the access key is not valid"),
            Miss::Failed(refused) => refused,
        })?;
        log.set_principal(&caller);
        if !caller.may(Permission::UsageApi) {
            return Err(Refused::lacks(Permission::UsageApi));
        }
        let principal = match (impersonate, acting) {
            (None, None) => caller,
            (Some(_), Some(_)) => return Err(both_at_once()),
            (Some(target), None) => {
                log.set_object(target);
                Arc::new(self.step_into(&caller, target).await?)
            }
            // Boxed, as what happens seldom and is large.
            (None, Some(acting)) => Box::pin(self.speak_for(&caller, acting)).await?,
        };
        let principal = agent::claimed(principal, agent)?;
        log.set_principal(&principal);
        Ok(Call { principal, log: log.clone() })
    }

    /// The target as the caller acts for it. Unknown, elsewhere and too powerful are one answer.
    pub(crate) async fn step_into(&self, caller: &Principal, target: &str) -> Result<Principal, Refused> {
        let denied = || {
            Refused::new(Code::ImpersonationDenied, "impersonation denied: name a user that you may act for")
        };
        // Who may not impersonate at all learns nothing from how long the answer takes either.
        if !caller.may(Permission::UsageImpersonation) {
            return Err(denied());
        }
        let target = UserId::new(target).map_err(|_| denied())?;
        let (target, acting) = match self.shared.principals.by_user(&self.shared.store, &target).await {
            Ok(copy) => (copy.principal, copy.version),
            Err(Miss::Unknown { .. }) => return Err(denied()),
            Err(Miss::Failed(refused)) => return Err(refused),
        };
        may_impersonate(caller, &target).map_err(|_| denied())?;
        let standing = caller.standing.map(|standing| Standing { acting, ..standing });
        Ok(Principal { acted_by: Some(caller.user.clone()), standing, ..Principal::clone(&target) })
    }
}

/// Principals by hash of their key, bounded, dropped when they change.
///
/// Every copy carries the version of its user (and of its key) as it was *before* the store was read, and counts only
/// while that version stands. So a reading that began before a change can't outlive it, whenever it is put away.
// INVARIANT: a request that starts after a change was answered sees the change; the tests `revocation` hold it.
pub(crate) struct PrincipalCache {
    keys: Cache<KeyHash, KeyCopy>,
    users: Cache<UserId, UserCopy>,
    versions: Versions,
}

#[derive(Clone)]
struct UserCopy {
    principal: Arc<Principal>,
    version: u64,
}

#[derive(Clone)]
struct KeyCopy {
    user: UserCopy,
    version: u64,
}

/// Why there is no principal.
#[derive(Debug, Clone)]
enum Miss {
    /// There was none at that version.
    Unknown {
        version: u64,
    },
    Failed(Refused),
}

impl From<StoreError> for Miss {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl PrincipalCache {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        Self::with_capacity(config.principal_cache)
    }

    fn with_capacity(principals: u64) -> Self {
        Self {
            keys: Cache::builder().max_capacity(principals).time_to_live(TRUST).build(),
            users: Cache::builder().max_capacity(principals).time_to_live(TRUST).build(),
            versions: Versions::new(),
        }
    }

    /// Trusts no copy of this user and of its keys any more.
    pub(crate) fn forget_user(&self, user: &UserId) {
        self.versions.advance(user);
    }

    /// Trusts no copy behind this key any more.
    pub(crate) fn forget_key(&self, key: &KeyHash) {
        self.versions.advance(key);
    }

    /// Trusts no copy any more.
    pub(crate) fn forget_all(&self) {
        self.versions.advance_all();
    }

    async fn by_key(&self, store: &Store, hash: &KeyHash) -> Result<Arc<Principal>, Miss> {
        match self.keys.get(hash).await {
            Some(copy) if self.stands(hash, &copy) => Ok(copy.user.principal),
            // Boxed, because reading is rare and its future large: every call would carry it.
            _ => Box::pin(self.fresh_key(store, hash)).await,
        }
    }

    /// The user as whom a request would run.
    pub(crate) async fn principal(
        &self,
        store: &Store,
        user: &UserId,
    ) -> Result<Option<Arc<Principal>>, Refused> {
        match self.by_user(store, user).await {
            Ok(copy) => Ok(Some(copy.principal)),
            Err(Miss::Unknown { .. }) => Ok(None),
            Err(Miss::Failed(refused)) => Err(refused),
        }
    }

    async fn by_user(&self, store: &Store, user: &UserId) -> Result<UserCopy, Miss> {
        match self.users.get(user).await {
            Some(copy) if copy.version == self.versions.of(user) => Ok(copy),
            _ => Box::pin(self.fresh_user(store, user)).await,
        }
    }

    /// Those who miss at once share one reading. Unknown keys are not remembered: their number has no bound, and a key
    /// made now must work now.
    async fn fresh_key(&self, store: &Store, hash: &KeyHash) -> Result<Arc<Principal>, Miss> {
        for _ in 0..ATTEMPTS {
            match self.keys.try_get_with_by_ref(hash, self.read_key(store, hash)).await {
                Ok(copy) if self.stands(hash, &copy) => return Ok(copy.user.principal),
                Ok(_) => self.keys.invalidate(hash).await,
                // Someone else's reading, which began before the key was made.
                Err(miss) if self.overtaken(hash, &miss) => {}
                Err(miss) => return Err(Miss::clone(&miss)),
            }
        }
        Ok(self.read_key(store, hash).await?.user.principal)
    }

    async fn fresh_user(&self, store: &Store, user: &UserId) -> Result<UserCopy, Miss> {
        for _ in 0..ATTEMPTS {
            match self.users.try_get_with_by_ref(user, self.read_user(store, user)).await {
                Ok(copy) if copy.version == self.versions.of(user) => return Ok(copy),
                Ok(_) => self.users.invalidate(user).await,
                Err(miss) if self.overtaken(user, &miss) => {}
                Err(miss) => return Err(Miss::clone(&miss)),
            }
        }
        self.read_user(store, user).await
    }

    async fn read_key(&self, store: &Store, hash: &KeyHash) -> Result<KeyCopy, Miss> {
        let version = self.versions.of(hash);
        let changes = self.versions.changes();
        let unknown = Miss::Unknown { version };
        let Some(owner) = store.access_keys().find(hash).await? else {
            return Err(unknown);
        };
        let user = match self.by_user(store, &owner).await {
            Err(Miss::Unknown { .. }) => return Err(unknown),
            other => other?,
        };
        // Had the owner been deleted and made again since the key was found, this would be the new one, who never had
        // that key. Something did change, so ask again.
        if changes != self.versions.changes() && store.access_keys().find(hash).await? != Some(owner) {
            return Err(unknown);
        }
        // Of its own for each key: what runs under one must end with that one.
        let standing = Standing {
            key: hash.0,
            presented: [version, user.version],
            acting: user.version,
            signed_by: None,
        };
        let principal = Principal { standing: Some(standing), ..Principal::clone(&user.principal) };
        let user = UserCopy { principal: Arc::new(principal), version: user.version };
        Ok(KeyCopy { user, version })
    }

    async fn read_user(&self, store: &Store, user: &UserId) -> Result<UserCopy, Miss> {
        let version = self.versions.of(user);
        match store.users().account(user).await? {
            // INVARIANT: no principal of a suspended tenant is made, from whatever is presented. Held by the test
            // `a_suspended_tenant_gets_in_nowhere`.
            Some(account) if account.suspended => Err(Miss::Failed(suspended())),
            Some(account) => Ok(UserCopy { principal: Arc::new(principal_of(account)), version }),
            None => Err(Miss::Unknown { version }),
        }
    }

    fn stands(&self, hash: &KeyHash, copy: &KeyCopy) -> bool {
        copy.version == self.versions.of(hash)
            && copy.user.version == self.versions.of(&copy.user.principal.user)
    }

    fn overtaken(&self, of: &impl Hash, miss: &Miss) -> bool {
        matches!(miss, Miss::Unknown { version } if *version != self.versions.of(of))
    }
}

/// What everybody of a suspended tenant hears.
pub(crate) fn suspended() -> Refused {
    Refused::new(Code::TenantSuspended, "your tenant is suspended: ask whoever runs this service")
}

fn principal_of(account: Account) -> Principal {
    let Account { user, org_variables, tenant_variables, suspended: _ } = account;
    let attributes =
        merge_attributes([org_variables.as_ref(), tenant_variables.as_ref(), user.variables.as_ref()]);
    Principal {
        org: user.org,
        tenant: user.tenant,
        name: user.name.unwrap_or_else(|| user.id.to_string()),
        user: user.id,
        permissions: permissions_of(&user.roles),
        roles: user.roles,
        data_roles: user.data_roles.into(),
        attributes: Arc::new(attributes),
        acted_by: None,
        application: None,
        agent: None,
        standing: None,
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::Poll;

    use futures::future::{MaybeDone, maybe_done};
    use ringfence_policy::{KeyName, OrgId, Role, TenantId};
    use ringfence_store::organizations::Organization;
    use ringfence_store::tenants::Tenant;
    use ringfence_store::users::{User, UserChange};
    use ringfence_store::{SealingKey, StoreLocation};

    use super::*;

    fn ann() -> User {
        User {
            id: UserId::new("ann").unwrap(),
            tenant: TenantId::new("t").unwrap(),
            org: OrgId::new("o").unwrap(),
            name: None,
            variables: None,
            roles: vec![Role::ApiUser],
            data_roles: Vec::new(),
        }
    }

    /// A store with Ann and her key, and a cache in front of it.
    async fn world(dir: &tempfile::TempDir) -> (Store, PrincipalCache, KeyHash) {
        let location = StoreLocation::Sqlite(dir.path().join("store.db"));
        let store = Store::open(&location, SealingKey::generate()).await.unwrap();
        let (org, tenant) = (ann().org, ann().tenant);
        let organization = Organization { id: org.clone(), name: None, variables: None };
        store.organizations().create(&organization).await.unwrap();
        let tenant = Tenant { id: tenant, org, name: None, variables: None };
        store.tenants().create(&tenant).await.unwrap();
        store.users().create(&ann()).await.unwrap();
        let name = KeyName::new("first").unwrap();
        store.access_keys().create(&ann().id, &name, &"secret".into(), 1).await.unwrap();
        (store, PrincipalCache::with_capacity(10), KeyHash::of("secret"))
    }

    const ROUNDS: usize = 20;

    /// A reading that asks the store and is left there while other things happen. It may be through already: then it
    /// is an old one in any case. So each test does it more than once.
    async fn begin<F: Future>(reading: F, store: &Store) -> Pin<Box<MaybeDone<F>>> {
        let mut reading = Box::pin(maybe_done(reading));
        poll_fn(|context| Poll::Ready(reading.as_mut().poll(context).is_ready())).await;
        // What was asked before this has been answered, most likely; the tests hold either way.
        for _ in 0..3 {
            store.users().get(&ann().id).await.unwrap();
        }
        reading
    }

    async fn end<F: Future>(mut reading: Pin<Box<MaybeDone<F>>>) -> F::Output {
        reading.as_mut().await;
        reading.as_mut().take_output().unwrap()
    }

    #[tokio::test]
    async fn a_reading_that_began_before_a_change_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let (store, cache, hash) = world(&dir).await;
        let user = ann().id;
        for round in 0..ROUNDS {
            let role = if round % 2 == 0 { Role::TrialUser } else { Role::ApiUser };
            let of_user = begin(cache.read_user(&store, &user), &store).await;
            let of_key = begin(cache.read_key(&store, &hash), &store).await;
            let change = UserChange { roles: Some(vec![role]), ..UserChange::default() };
            store.users().update(&user, &change).await.unwrap();
            cache.forget_user(&user);
            assert_ne!(end(of_user).await.unwrap().version, cache.versions.of(&user));
            // This one may have asked for the user after the change and count; then it is the changed one.
            let copy = end(of_key).await.unwrap();
            assert!(!cache.stands(&hash, &copy) || copy.user.principal.roles == [role]);
            assert_eq!(cache.by_key(&store, &hash).await.unwrap().roles, [role]);
        }
    }

    #[tokio::test]
    async fn a_key_never_passes_to_a_later_user_of_that_name() {
        let dir = tempfile::tempdir().unwrap();
        let (store, cache, hash) = world(&dir).await;
        let name = KeyName::new("first").unwrap();
        for _ in 0..ROUNDS {
            let reading = begin(cache.read_key(&store, &hash), &store).await;
            store.users().delete(&ann().id).await.unwrap();
            cache.forget_user(&ann().id);
            store.users().create(&ann()).await.unwrap();
            cache.forget_user(&ann().id);
            if let Ok(copy) = end(reading).await {
                assert!(!cache.stands(&hash, &copy));
            }
            assert!(matches!(cache.by_key(&store, &hash).await, Err(Miss::Unknown { .. })));
            store.access_keys().create(&ann().id, &name, &"secret".into(), 1).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_key_that_was_deleted_meanwhile_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let (store, cache, hash) = world(&dir).await;
        let name = KeyName::new("first").unwrap();
        for _ in 0..ROUNDS {
            let reading = begin(cache.read_key(&store, &hash), &store).await;
            store.access_keys().delete(&ann().id, std::slice::from_ref(&name)).await.unwrap();
            cache.forget_key(&hash);
            if let Ok(copy) = end(reading).await {
                assert!(!cache.stands(&hash, &copy));
            }
            assert!(matches!(cache.by_key(&store, &hash).await, Err(Miss::Unknown { .. })));
            store.access_keys().create(&ann().id, &name, &"secret".into(), 1).await.unwrap();
            cache.forget_key(&hash);
        }
    }
}
