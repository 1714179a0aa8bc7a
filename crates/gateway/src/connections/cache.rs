//! Copies of connections, for the road that every query takes.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use ringfence_policy::{ConnectionKey, UserId};
use ringfence_store::connections::Connection;
use ringfence_store::sources::SourceId;
use ringfence_store::{Store, StoreError};

use crate::GatewayConfig;
use crate::versions::Versions;

/// How long a copy is trusted when no news of changes arrive. News do arrive: this is the second line.
const TRUST: Duration = Duration::from_mins(1);
/// Places for users who change their lists.
const SAVING: usize = 64;

/// Connections by user and key, bounded, with their passwords opened. A copy says where to run and as whom; it does not
/// say whether the credentials were proven, which background work changes.
// INVARIANT: a query that starts after a change of its connection was answered sees the change; the tests
// `connections::cached` hold it.
pub(crate) struct ConnectionCache {
    copies: Cache<(UserId, ConnectionKey), Copied>,
    versions: Versions,
    saving: [tokio::sync::Mutex<()>; SAVING],
    hasher: RandomState,
}

#[derive(Clone)]
struct Copied {
    connection: Arc<Connection>,
    of_user: u64,
    of_source: u64,
}

impl ConnectionCache {
    /// As many copies as principals.
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        Self {
            copies: Cache::builder().max_capacity(config.principal_cache).time_to_live(TRUST).build(),
            versions: Versions::new(),
            saving: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
            hasher: RandomState::new(),
        }
    }

    /// Saves to this user's list one after the other, as far as this node goes. Held for one transaction, so that users who
    /// share a place hardly notice.
    pub(super) async fn save_alone(&self, user: &UserId) -> tokio::sync::MutexGuard<'_, ()> {
        // Only the low bits count, so that a narrower usize changes nothing.
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is all that is used")]
        let place = self.hasher.hash_one(user) as usize % SAVING;
        self.saving[place].lock().await
    }

    /// Trusts no copy of this user's connections any more.
    pub(crate) fn forget_user(&self, user: &UserId) {
        self.versions.advance(user);
    }

    /// Trusts no copy of connections to this source any more.
    pub(crate) fn forget_source(&self, source: SourceId) {
        self.versions.advance(&source);
    }

    /// Trusts no copy any more.
    pub(crate) fn forget_all(&self) {
        self.versions.advance_all();
    }

    /// The user's connection of that key.
    pub(crate) async fn get(
        &self,
        store: &Store,
        user: &UserId,
        key: &ConnectionKey,
    ) -> Result<Option<Arc<Connection>>, StoreError> {
        let name = (user.clone(), key.clone());
        match self.copies.get(&name).await {
            Some(copy) if self.stands(&copy) => Ok(Some(copy.connection)),
            _ => Box::pin(self.read(store, name)).await,
        }
    }

    async fn read(
        &self,
        store: &Store,
        name: (UserId, ConnectionKey),
    ) -> Result<Option<Arc<Connection>>, StoreError> {
        let changes = self.versions.changes();
        let Some(connection) = store.connections().get(&name.0, &name.1).await? else {
            return Ok(None);
        };
        let connection = Arc::new(connection);
        let copy = Copied {
            of_user: self.versions.of(&connection.user),
            of_source: self.versions.of(&connection.source),
            connection: connection.clone(),
        };
        // What changed since reading began may be what was read.
        if changes == self.versions.changes() {
            self.copies.insert(name, copy).await;
        }
        Ok(Some(connection))
    }

    fn stands(&self, copy: &Copied) -> bool {
        copy.of_user == self.versions.of(&copy.connection.user)
            && copy.of_source == self.versions.of(&copy.connection.source)
    }
}
