//! Ends what runs for keys and users that were deleted, or may no longer do it.
//!
//! News come in through [`Suspects`], from this node's own changes and from others'; one task looks each of them up
//! in the store. What can't be looked up stays a suspect until it can.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use ringfence_policy::{ConnectionKey, Principal, UserId};
use ringfence_store::access_keys::KeyHash;
use ringfence_store::{Store, StoreError};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::RunningQueries;
use crate::authentication::standing::may_still_query;
use crate::{Gateway, Shared};

/// How often results that nobody may read any more are dropped, and those looked up who could not be before.
const UPKEEP_EVERY: Duration = Duration::from_secs(10);
/// With more names than this, everybody is looked up.
const MOST_NAMES: usize = 1024;

/// Whom news came about since the last look.
#[derive(Default)]
pub(crate) struct Suspects {
    names: Mutex<Names>,
    arrived: Arc<Notify>,
}

#[derive(Default)]
struct Names {
    everybody: bool,
    users: HashSet<UserId>,
    keys: HashSet<[u8; 32]>,
}

impl Suspects {
    fn add(&self, add: impl FnOnce(&mut Names)) {
        let mut names = self.names.lock();
        add(&mut names);
        if names.users.len() + names.keys.len() > MOST_NAMES {
            *names = Names { everybody: true, ..Names::default() };
        }
        drop(names);
        self.arrived.notify_one();
    }
}

impl RunningQueries {
    /// Something about the user changed. To be called after copies of it are trusted no more.
    pub(crate) fn suspect_user(&self, user: &UserId) {
        self.suspects.add(|names| {
            names.users.insert(user.clone());
        });
    }

    /// The key may be gone. To be called after copies of it are trusted no more.
    pub(crate) fn suspect_key(&self, key: &KeyHash) {
        self.suspects.add(|names| {
            names.keys.insert(key.0);
        });
    }

    /// News may have been missed.
    pub(crate) fn suspect_everybody(&self) {
        self.suspects.add(|names| names.everybody = true);
    }
}

impl Names {
    fn include(&self, principal: &Principal) -> bool {
        self.everybody
            || self.users.contains(principal.account())
            || self.users.contains(principal.authenticated_user())
            || principal.standing.is_some_and(|standing| self.keys.contains(&standing.key))
    }
}

/// Watches for users and keys that go, and for results whose time is over.
pub(crate) fn start(gateway: &Gateway) {
    let stopping = gateway.shared.running.stopping.clone();
    let arrived = gateway.shared.running.suspects.arrived.clone();
    // A weak hold: a gateway that nobody has any more needs no watch.
    tokio::spawn(stopping.run_until_cancelled_owned(watch(Arc::downgrade(&gateway.shared), arrived)));
}

async fn watch(shared: Weak<Shared>, arrived: Arc<Notify>) {
    let mut ticks = interval(UPKEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut again = false;
    loop {
        tokio::select! {
            () = arrived.notified() => {}
            _ = ticks.tick() => {}
        }
        let Some(shared) = shared.upgrade() else { return };
        shared.running.submitted.lock().purge();
        let mut names = std::mem::take(&mut *shared.running.suspects.names.lock());
        names.everybody |= again;
        let ended = end_revoked(&shared.store, &shared.running, &names).await;
        again = ended.is_err();
        if let Err(error) = ended {
            tracing::warn!(%error, "whether queries may run on can't be looked up: tried again soon");
        }
    }
}

async fn end_revoked(store: &Store, running: &RunningQueries, names: &Names) -> Result<(), StoreError> {
    for principal in running.principals(|principal| names.include(principal)) {
        if !may_still_query(store, &principal).await? {
            tracing::info!(user.id = %principal.user, "what runs for a key or user that changed is cancelled");
            running.stop(&principal);
        }
    }
    let users = running.submitted.lock().users();
    for user in users.into_iter().filter(|user| names.everybody || names.users.contains(user)) {
        forget_gone(store, running, user).await?;
    }
    Ok(())
}

/// Asks for the connections, too: an id that was deleted and made again in between has none of the old ones.
async fn forget_gone(store: &Store, running: &RunningQueries, user: UserId) -> Result<(), StoreError> {
    if store.users().get(&user).await?.is_none() {
        running.forget_user(&user);
        return Ok(());
    }
    let kept = store.connections().list(&user).await?;
    let gone = |key: &ConnectionKey| !kept.iter().any(|connection| connection.key == *key);
    running.submitted.lock().forget(|owner, key| *owner == user && gone(key));
    Ok(())
}
