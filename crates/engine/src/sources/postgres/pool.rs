//! Pools of sessions, one for each address, made on demand and gone when idle.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use secrecy::ExposeSecret;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::{Connector, cancel_token};
use super::session::{Purpose, Session, Tidy};
use crate::capacity::{Capacity, Slot};
use crate::{SourceAddress, SourceError};

/// How long one attempt at stopping a statement waits for its end, and how many attempts are made.
const STOP_WAIT: Duration = Duration::from_millis(500);
const STOP_ATTEMPTS: usize = 3;

/// All pools.
pub(super) struct Pools {
    pub(super) connector: Connector,
    capacity: Capacity,
    hasher: RandomState,
    by_address: Mutex<HashMap<u64, Vec<Arc<Pool>>>>,
    swept: AtomicBool,
}

/// The sessions of one address and purpose.
//
// INVARIANT: a session serves one purpose all its life: what an open statement did to one, a fenced statement never
// meets. tests/engine/fenced.rs holds it.
struct Pool {
    address: SourceAddress,
    purpose: Purpose,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
    closed: AtomicBool,
}

/// Which session to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// The one with the most statements prepared.
    Warm,
    /// The one with the fewest: it will be cleaned and lose them.
    Cold,
}

impl Pools {
    pub(super) fn new(connector: Connector, capacity: Capacity) -> Arc<Self> {
        Arc::new(Self {
            connector,
            capacity,
            hasher: RandomState::new(),
            by_address: Mutex::new(HashMap::new()),
            swept: AtomicBool::new(false),
        })
    }

    /// A clean session of that address, waiting for a place as long as the limits say.
    pub(super) async fn lease(
        self: &Arc<Self>,
        address: &SourceAddress,
        purpose: Purpose,
        wish: Wish,
    ) -> Result<Lease, SourceError> {
        let deadline = Instant::now() + self.connector.limits.pool_wait;
        let pool = self.pool(address, purpose);
        let place = match Arc::clone(&pool.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => match timeout_at(deadline, Arc::clone(&pool.places).acquire_owned()).await {
                Ok(Ok(place)) => place,
                _ => return Err(SourceError::Busy),
            },
        };
        let mut lease = Lease { session: None, place: Some(place), pool, pools: Arc::clone(self) };
        lease.session = Some(if let Some(session) = lease.pool.take_idle(wish) {
            session
        } else {
            let slot = self.slot(deadline).await?;
            self.connector.open(&lease.pool.address, purpose, slot).await?
        });
        Ok(lease)
    }

    /// A session outside every pool, to prove credentials.
    pub(super) async fn fresh(&self, address: &SourceAddress) -> Result<Session, SourceError> {
        let slot = self.slot(Instant::now() + self.connector.limits.pool_wait).await?;
        self.connector.open(address, Purpose::Open, slot).await
    }

    /// Closes the idle sessions of that address; those at work are closed when they are done.
    pub(super) fn evict(&self, address: &SourceAddress) {
        let mut by_address = self.by_address.lock();
        for purpose in Purpose::ALL {
            let hash = self.hash(address, purpose);
            let Some(pools) = by_address.get_mut(&hash) else {
                continue;
            };
            pools.retain(|pool| {
                let evicted = pool.is_of(address, purpose);
                if evicted {
                    pool.close();
                }
                !evicted
            });
            if pools.is_empty() {
                by_address.remove(&hash);
            }
        }
    }

    pub(super) fn evict_all(&self) {
        for pool in self.by_address.lock().drain().flat_map(|(_, pools)| pools) {
            pool.close();
        }
    }

    fn pool(self: &Arc<Self>, address: &SourceAddress, purpose: Purpose) -> Arc<Pool> {
        let hash = self.hash(address, purpose);
        let mut by_address = self.by_address.lock();
        let pools = by_address.entry(hash).or_default();
        if let Some(pool) = pools.iter().find(|pool| pool.is_of(address, purpose)) {
            return Arc::clone(pool);
        }
        let pool = Arc::new(Pool {
            address: address.clone(),
            purpose,
            places: Arc::new(Semaphore::new(self.connector.limits.max_connections_per_pool.max(1))),
            idle: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
        });
        pools.push(Arc::clone(&pool));
        if !self.swept.swap(true, Ordering::AcqRel) {
            // Not among the tasks that a shutdown waits for: it holds nothing, and ends by itself.
            tokio::spawn(sweep(Arc::downgrade(self), self.connector.limits.idle_timeout));
        }
        pool
    }

    fn hash(&self, address: &SourceAddress, purpose: Purpose) -> u64 {
        let password = address.password.as_ref().map(ExposeSecret::expose_secret);
        let place = (&address.pool_scope, &address.host, address.port, &address.database);
        self.hasher.hash_one((place, &address.username, password, &address.sslmode, purpose))
    }

    /// The right to open a connection; when there is none left, an idle session of some other pool gives way.
    async fn slot(&self, deadline: Instant) -> Result<Slot, SourceError> {
        if let Some(slot) = self.capacity.try_take() {
            return Ok(slot);
        }
        let waiting = self.capacity.take();
        self.close_one_idle();
        match timeout_at(deadline, waiting).await {
            Ok(Some(slot)) => Ok(slot),
            _ => Err(SourceError::Busy),
        }
    }

    fn close_one_idle(&self) {
        let by_address = self.by_address.lock();
        let oldest = by_address
            .values()
            .flatten()
            .filter_map(|pool| Some((pool.idle.lock().iter().map(|session| session.idle_since).min()?, pool)))
            .min_by_key(|(since, _)| *since);
        if let Some((since, pool)) = oldest {
            let mut idle = pool.idle.lock();
            if let Some(index) = idle.iter().position(|session| session.idle_since == since) {
                idle.swap_remove(index);
            }
        }
    }

    /// Closes what was idle for too long and forgets pools that hold nothing. `false` when no pool is left.
    fn sweep_once(&self, idle_timeout: Duration) -> bool {
        let now = Instant::now();
        let mut by_address = self.by_address.lock();
        by_address.retain(|_, pools| {
            pools.retain(|pool| {
                let mut idle = pool.idle.lock();
                idle.retain(|session| {
                    session.is_usable() && now.duration_since(session.idle_since) < idle_timeout
                });
                // Whoever holds a lease holds the pool too, and takes it from this map under its lock.
                !idle.is_empty() || Arc::strong_count(pool) > 1
            });
            !pools.is_empty()
        });
        if by_address.is_empty() {
            self.swept.store(false, Ordering::Release);
        }
        !by_address.is_empty()
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

impl Pool {
    fn is_of(&self, address: &SourceAddress, purpose: Purpose) -> bool {
        fn password(address: &SourceAddress) -> Option<&str> {
            address.password.as_ref().map(ExposeSecret::expose_secret)
        }
        let own = &self.address;
        self.purpose == purpose
            && (&own.pool_scope, &own.host, own.port, &own.database)
                == (&address.pool_scope, &address.host, address.port, &address.database)
            && (&own.username, &own.sslmode) == (&address.username, &address.sslmode)
            && password(own) == password(address)
    }

    fn take_idle(&self, wish: Wish) -> Option<Session> {
        let mut idle = self.idle.lock();
        loop {
            let found = match wish {
                Wish::Warm => idle.iter().enumerate().max_by_key(|(_, session)| session.kept_statements()),
                Wish::Cold => idle.iter().enumerate().min_by_key(|(_, session)| session.kept_statements()),
            };
            let session = found.map(|(index, _)| index).map(|index| idle.swap_remove(index))?;
            if session.is_usable() {
                return Some(session);
            }
        }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.idle.lock().clear();
    }
}

/// A session that one statement has to itself. Dropped before it was given back, what it runs is stopped in the
/// database and it is closed.
//
// INVARIANT: a session that was cancelled, or whose result was not read to its end, is never used again: a late
// cancel request would hit the next borrower. tests/engine/hygiene.rs holds it.
pub(super) struct Lease {
    session: Option<Session>,
    place: Option<OwnedSemaphorePermit>,
    pool: Arc<Pool>,
    pools: Arc<Pools>,
}

impl Lease {
    pub(super) fn session(&mut self) -> Result<&mut Session, SourceError> {
        self.session.as_mut().ok_or(SourceError::Lost)
    }

    /// Hands the session on after tidying it up, which nobody waits for.
    pub(super) fn give_back(mut self, tidy: Tidy) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        session.in_flight = false;
        let tasks = self.pools.connector.tasks.clone();
        tasks.spawn(async move {
            if session.tidy(tidy).await {
                self.put(session);
            }
        });
    }

    /// Closes the session; nothing runs on it.
    pub(super) fn close(mut self) {
        drop(self.session.take());
    }

    /// Stops what the session runs: returns when the database has been told, and closes the session in the background
    /// once the statement ended.
    pub(super) async fn stop(mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        let token = cancel_token(&session.client);
        let (pools, address) = (Arc::clone(&self.pools), self.pool.address.clone());
        pools.connector.cancel(&address, &token).await;
        pools.connector.tasks.spawn(finish_stopping(self, session, 1));
    }

    fn put(&mut self, mut session: Session) {
        if session.is_usable()
            && !self.pool.closed.load(Ordering::Acquire)
            && !self.pools.capacity.is_awaited()
        {
            session.idle_since = Instant::now();
            self.pool.idle.lock().push(session);
        }
        // The place is free only now: its next holder finds the session.
        drop(self.place.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        if !session.in_flight || session.client.is_closed() || tokio::runtime::Handle::try_current().is_err()
        {
            return;
        }
        let rest = Self {
            session: None,
            place: self.place.take(),
            pool: Arc::clone(&self.pool),
            pools: Arc::clone(&self.pools),
        };
        self.pools.connector.tasks.spawn(finish_stopping(rest, session, 0));
    }
}

/// A cancel request can arrive before the statement began and is lost then: so it is sent until the session answers
/// again. The lease keeps the place in the pool until the socket is closed.
async fn finish_stopping(lease: Lease, session: Session, sent: usize) {
    let token = cancel_token(&session.client);
    for attempt in sent..=STOP_ATTEMPTS {
        if attempt > 0 && timeout(STOP_WAIT, session.client.simple_query("")).await.is_ok() {
            break;
        }
        if attempt < STOP_ATTEMPTS {
            lease.pools.connector.cancel(&lease.pool.address, &token).await;
        }
    }
    drop(session);
    drop(lease);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ringfence_policy::ConnectionKind;
    use tokio_util::task::TaskTracker;

    use super::{Connector, Pools, Purpose, Wish};
    use crate::capacity::Capacity;
    use crate::{EngineLimits, SourceAddress};

    #[tokio::test]
    async fn a_pool_without_sessions_vanishes() {
        let limits = EngineLimits { idle_timeout: Duration::from_mins(10), ..EngineLimits::default() };
        let connector = Connector { limits: Arc::new(limits), tasks: TaskTracker::new() };
        let pools = Pools::new(connector, Capacity::new(8));
        for port in 1..100 {
            let address = SourceAddress {
                kind: ConnectionKind::Postgresql,
                pool_scope: "org".to_owned(),
                host: "0.0.0.0".to_owned(),
                port: Some(port),
                database: "none".to_owned(),
                username: None,
                password: None,
                sslmode: None,
            };
            assert!(pools.lease(&address, Purpose::Open, Wish::Warm).await.is_err());
        }
        assert!(!pools.by_address.lock().is_empty());
        assert!(!pools.sweep_once(Duration::from_mins(10)));
        assert!(pools.by_address.lock().is_empty());
        assert_eq!(pools.capacity.open(), 0);
    }
}
