//! What runs: a bounded number of queries per user, all stopped when the gateway stops.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use ringfence_policy::{ConnectionKey, UserId};
use ringfence_store::Store;
use ringfence_store::changes::Change;
use tokio::sync::Notify;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::submitted::Submitted;
use crate::{Code, Gateway, GatewayConfig, Refused, Shared};

/// How long stopping waits for statements to end in their databases.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How often results that nobody may read any more are dropped.
const PURGE_EVERY: Duration = Duration::from_secs(10);

/// Submitted queries and results kept for reading, bounded.
pub(crate) struct RunningQueries {
    active: Arc<Active>,
    pub(super) submitted: Mutex<Submitted>,
    stopping: CancellationToken,
    per_user: usize,
}

#[derive(Default)]
struct Active {
    users: Mutex<HashMap<UserId, usize>>,
    /// Told when nobody has anything running.
    idle: Notify,
}

/// A place among the queries that a user may have. Dropped, it stops the statement and frees the place.
pub(super) struct Permit {
    pub(super) cancel: CancellationToken,
    active: Arc<Active>,
    user: UserId,
}

impl RunningQueries {
    /// Nothing runs.
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        Self {
            active: Arc::default(),
            submitted: Mutex::new(Submitted::new(config.result_memory, config.result_retention)),
            stopping: CancellationToken::new(),
            per_user: config.queries_per_user,
        }
    }

    /// A place for one more query of the user.
    pub(super) fn enter(&self, user: &UserId) -> Result<Permit, Refused> {
        if self.stopping.is_cancelled() {
            return Err(Refused::new(Code::ShuttingDown, "the server is shutting down: try again later"));
        }
        let mut users = self.active.users.lock();
        let count = users.entry(user.clone()).or_default();
        if *count >= self.per_user {
            return Err(Refused::new(
                Code::TooManyQueries,
                format!("too many queries at once: wait for one of your {} to end", self.per_user),
            ));
        }
        *count += 1;
        Ok(Permit { cancel: self.stopping.child_token(), active: self.active.clone(), user: user.clone() })
    }

    /// Stops and forgets what was submitted on a connection that is no longer the user's.
    pub(crate) fn forget_connection(&self, user: &UserId, key: &ConnectionKey) {
        self.submitted.lock().forget(|owner, of| owner == user && of == key);
    }

    /// Stops and forgets what a user submitted who is gone: whoever gets the id next inherits nothing.
    pub(crate) fn forget_user(&self, user: &UserId) {
        self.submitted.lock().forget(|owner, _| owner == user);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.cancel.cancel();
        let mut users = self.active.users.lock();
        if let Some(count) = users.get_mut(&self.user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                users.remove(&self.user);
            }
        }
        if users.is_empty() {
            self.active.idle.notify_waiters();
        }
    }
}

/// Watches for users that go, and for results whose time is over.
pub(crate) fn start(gateway: &Gateway) {
    let news = gateway.shared.store.subscribe();
    let stopping = gateway.shared.running.stopping.clone();
    tokio::spawn(stopping.run_until_cancelled_owned(watch(news, Arc::downgrade(&gateway.shared))));
}

/// Takes no more queries, stops those that run, and ends indexing.
pub(crate) async fn stop_all(gateway: &Gateway) {
    let running = &gateway.shared.running;
    gateway.shared.indexer.stop();
    running.stopping.cancel();
    let ended = async {
        loop {
            let idle = running.active.idle.notified();
            if running.active.users.lock().is_empty() {
                return;
            }
            idle.await;
        }
    };
    if timeout(STOP_LIMIT, ended).await.is_err() {
        tracing::warn!("some queries did not stop in time");
    }
}

async fn watch(mut news: Receiver<Change>, shared: Weak<Shared>) {
    let mut ticks = interval(PURGE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let suspects = tokio::select! {
            change = news.recv() => match change {
                Ok(Change::User(user)) => Suspects::One(user),
                Ok(Change::Everything) | Err(RecvError::Lagged(_)) => Suspects::All,
                Ok(_) => continue,
                Err(RecvError::Closed) => return,
            },
            _ = ticks.tick() => Suspects::None,
        };
        let Some(shared) = shared.upgrade() else { return };
        let suspects = match suspects {
            Suspects::None => Vec::new(),
            Suspects::One(user) => vec![user],
            Suspects::All => shared.running.submitted.lock().users(),
        };
        shared.running.submitted.lock().purge();
        forget_gone(&shared.store, &shared.running, suspects).await;
    }
}

enum Suspects {
    None,
    One(UserId),
    All,
}

/// Asks for the connections, too: an id that was deleted and made again in between has none of the old ones.
async fn forget_gone(store: &Store, running: &RunningQueries, users: Vec<UserId>) {
    for user in users {
        if !running.submitted.lock().has_any_of(&user) {
            continue;
        }
        let (exists, kept) = (store.users().get(&user).await, store.connections().list(&user).await);
        match (exists, kept) {
            (Ok(None), _) => running.forget_user(&user),
            (Ok(Some(_)), Ok(kept)) => {
                let gone = |key: &ConnectionKey| !kept.iter().any(|connection| connection.key == *key);
                running.submitted.lock().forget(|owner, key| *owner == user && gone(key));
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, user.id = %user, "whether results may be kept can't be looked up");
            }
        }
    }
}
