//! Pools of sessions, one for each address and purpose, made on demand and gone when idle.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use mysql_async::Conn;
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::{Connector, Purpose};
use crate::capacity::{Capacity, Slot};
use crate::{SourceAddress, SourceError};

/// How long a session may take to become clean, or to say good-bye, before its socket is closed.
const TIDY_LIMIT: Duration = Duration::from_secs(5);

/// All pools.
pub(super) struct Pools {
    pub(super) connector: Connector,
    capacity: Capacity,
    by_key: Mutex<HashMap<Key, Arc<Pool>>>,
    swept: AtomicBool,
}

/// Who shares a pool: the same address with the same credentials, for the same purpose.
#[derive(Clone)]
struct Key {
    address: SourceAddress,
    purpose: Purpose,
}

struct Pool {
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
    closed: AtomicBool,
}

struct Session {
    conn: Conn,
    slot: Slot,
    idle_since: Instant,
}

impl Pools {
    pub(super) fn new(connector: Connector, capacity: Capacity) -> Arc<Self> {
        let (by_key, swept) = (Mutex::new(HashMap::new()), AtomicBool::new(false));
        Arc::new(Self { connector, capacity, by_key, swept })
    }

    /// A clean session, waiting for a place as long as the limits say.
    pub(super) async fn lease(
        self: &Arc<Self>,
        address: &SourceAddress,
        purpose: Purpose,
    ) -> Result<Lease, SourceError> {
        let deadline = Instant::now() + self.connector.limits.pool_wait;
        let key = Key { address: address.clone(), purpose };
        let pool = self.pool(&key);
        let waiting = Arc::clone(&pool.places).acquire_owned();
        let Ok(Ok(place)) = timeout_at(deadline, waiting).await else {
            return Err(SourceError::Busy);
        };
        let mut lease = Lease { session: None, place: Some(place), key, pool, pools: Arc::clone(self) };
        let idle = lease.pool.idle.lock().pop();
        lease.session = Some(if let Some(session) = idle {
            session
        } else {
            let slot = self.slot(deadline).await?;
            let conn = self.connector.open(address, purpose).await?;
            Session { conn, slot, idle_since: Instant::now() }
        });
        Ok(lease)
    }

    /// Signs in on a session outside every pool, to prove credentials.
    pub(super) async fn probe(&self, address: &SourceAddress) -> Result<(), SourceError> {
        let slot = self.slot(Instant::now() + self.connector.limits.pool_wait).await?;
        let conn = self.connector.open(address, Purpose::Open).await?;
        self.close(Session { conn, slot, idle_since: Instant::now() });
        Ok(())
    }

    /// Closes the idle sessions of that address; those at work are closed when they are done.
    pub(super) fn evict(&self, address: &SourceAddress) {
        for purpose in Purpose::ALL {
            let key = Key { address: address.clone(), purpose };
            let pool = self.by_key.lock().remove(&key);
            if let Some(pool) = pool {
                self.close_pool(&pool);
            }
        }
    }

    pub(super) fn evict_all(&self) {
        let pools: Vec<_> = self.by_key.lock().drain().collect();
        for (_, pool) in pools {
            self.close_pool(&pool);
        }
    }

    fn close_pool(&self, pool: &Pool) {
        pool.closed.store(true, Ordering::Release);
        let idle = std::mem::take(&mut *pool.idle.lock());
        for session in idle {
            self.close(session);
        }
    }

    /// Says good-bye in the background. The slot is free when the socket is closed.
    fn close(&self, session: Session) {
        let Session { conn, slot, .. } = session;
        self.connector.tasks.spawn(async move {
            // The driver marks the session as closed before it says so, and drops the socket with it.
            let _ = timeout(TIDY_LIMIT, conn.disconnect()).await;
            drop(slot);
        });
    }

    fn pool(self: &Arc<Self>, key: &Key) -> Arc<Pool> {
        let mut by_key = self.by_key.lock();
        if let Some(pool) = by_key.get(key) {
            return Arc::clone(pool);
        }
        let pool = Arc::new(Pool {
            places: Arc::new(Semaphore::new(self.connector.limits.max_connections_per_pool.max(1))),
            idle: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
        });
        by_key.insert(key.clone(), Arc::clone(&pool));
        if !self.swept.swap(true, Ordering::AcqRel) {
            // Not among the tasks that a shutdown waits for: it holds nothing, and ends by itself.
            tokio::spawn(sweep(Arc::downgrade(self), self.connector.limits.idle_timeout));
        }
        pool
    }

    /// The right to open a connection; when there is none left, an idle session of some other pool gives way.
    async fn slot(&self, deadline: Instant) -> Result<Slot, SourceError> {
        if let Some(slot) = self.capacity.try_take() {
            return Ok(slot);
        }
        let waiting = self.capacity.take();
        let idle = self.by_key.lock().values().find_map(|pool| pool.idle.lock().pop());
        if let Some(session) = idle {
            self.close(session);
        }
        match timeout_at(deadline, waiting).await {
            Ok(Some(slot)) => Ok(slot),
            _ => Err(SourceError::Busy),
        }
    }

    /// Closes what was idle for too long and forgets pools that hold nothing. `false` when no pool is left.
    fn sweep_once(&self, idle_timeout: Duration) -> bool {
        let now = Instant::now();
        let mut stale = Vec::new();
        let mut by_key = self.by_key.lock();
        by_key.retain(|_, pool| {
            let mut idle = pool.idle.lock();
            let is_stale = |session: &mut Session| now.duration_since(session.idle_since) >= idle_timeout;
            stale.extend(idle.extract_if(.., is_stale));
            // Whoever holds a lease holds the pool too, and takes it from this map under its lock.
            !idle.is_empty() || Arc::strong_count(pool) > 1
        });
        if by_key.is_empty() {
            self.swept.store(false, Ordering::Release);
        }
        let goes_on = !by_key.is_empty();
        drop(by_key);
        for session in stale {
            self.close(session);
        }
        goes_on
    }
}

async fn sweep(pools: Weak<Pools>, idle_timeout: Duration) {
    let pause = (idle_timeout / 2).clamp(Duration::from_millis(20), Duration::from_secs(30));
    loop {
        tokio::time::sleep(pause).await;
        let Some(pools) = pools.upgrade() else { return };
        if !pools.sweep_once(idle_timeout) {
            return;
        }
    }
}

/// A session that one statement has to itself. Dropped before it was given back, it is ended in the database, and what it
/// runs with it.
//
// INVARIANT: a session whose statement did not end is never used again. tests/engine/mysql_hygiene.rs holds it.
pub(super) struct Lease {
    session: Option<Session>,
    place: Option<OwnedSemaphorePermit>,
    key: Key,
    pool: Arc<Pool>,
    pools: Arc<Pools>,
}

impl Lease {
    pub(super) fn conn(&mut self) -> Result<&mut Conn, SourceError> {
        self.session.as_mut().map(|session| &mut session.conn).ok_or(SourceError::Lost)
    }

    /// Hands the session on after resetting it, which nobody waits for: what a statement left, an open transaction too, is
    /// gone before the next borrower.
    pub(super) fn give_back(mut self) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        let tasks = self.pools.connector.tasks.clone();
        tasks.spawn(async move {
            let clean = matches!(timeout(TIDY_LIMIT, session.conn.reset()).await, Ok(Ok(true)));
            let wanted = !self.pool.closed.load(Ordering::Acquire) && !self.pools.capacity.is_awaited();
            if clean && wanted {
                session.idle_since = Instant::now();
                self.pool.idle.lock().push(session);
            } else {
                self.pools.close(session);
            }
            // The place is free only now: its next holder finds the session.
            drop(self.place.take());
        });
    }

    /// Closes the session; nothing runs on it.
    pub(super) fn close(mut self) {
        if let Some(session) = self.session.take() {
            self.pools.close(session);
        }
    }

    /// Stops what the session runs: returns when the database has been told.
    pub(super) async fn stop(mut self) {
        if let Some(session) = self.session.take() {
            self.pools.connector.kill(&self.key.address, session.conn.id()).await;
            self.pools.close(session);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (pools, key, place) = (Arc::clone(&self.pools), self.key.clone(), self.place.take());
        let tasks = pools.connector.tasks.clone();
        tasks.spawn(async move {
            pools.connector.kill(&key.address, session.conn.id()).await;
            pools.close(session);
            drop(place);
        });
    }
}

impl Key {
    fn password(&self) -> Option<&str> {
        self.address.password.as_ref().map(ExposeSecret::expose_secret)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let (own, theirs) = (&self.address, &other.address);
        self.purpose == other.purpose
            && (&own.pool_scope, &own.host, own.port, &own.database)
                == (&theirs.pool_scope, &theirs.host, theirs.port, &theirs.database)
            && (&own.username, &own.sslmode) == (&theirs.username, &theirs.sslmode)
            && self.password() == other.password()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let own = &self.address;
        (&own.pool_scope, &own.host, own.port, &own.database, self.purpose).hash(state);
        (&own.username, &own.sslmode, self.password()).hash(state);
    }
}
