//! What runs: a bounded number of queries per user, all stopped when the gateway stops, and each when the key or the
//! user that it runs for is no longer what it was.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ringfence_policy::{ConnectionKey, Principal, TenantId, UserId};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::revoked::Suspects;
use super::submitted::Submitted;
use crate::authentication::standing::may_still_query;
use crate::{Call, Code, Gateway, GatewayConfig, Refused};

/// How long stopping waits for statements to end in their databases.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Submitted queries and results kept for reading, bounded.
pub(crate) struct RunningQueries {
    active: Arc<Active>,
    pub(super) submitted: Mutex<Submitted>,
    /// Whom news came about that may have to end.
    pub(super) suspects: Suspects,
    pub(super) stopping: CancellationToken,
    per_user: usize,
}

#[derive(Default)]
struct Active {
    users: Mutex<HashMap<Holder, Vec<Entry>>>,
    next: AtomicU64,
    /// Told when nobody has anything running.
    idle: Notify,
}

/// Whose places are counted together: an account's, and of an application those that it takes for one tenant, so that one
/// tenant's users do not take another's, and nobody gets more places by naming more users.
type Holder = (UserId, Option<TenantId>);

fn holder(principal: &Principal) -> Holder {
    let tenant = principal.application.is_some().then(|| principal.tenant.clone());
    (principal.account().clone(), tenant)
}

/// A query, or somebody who waits for the result of one.
struct Entry {
    principal: Arc<Principal>,
    cancel: CancellationToken,
    kind: Kind,
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Query,
    Wait,
}

/// A place among the queries that a user may have. Dropped, it stops the statement and frees the place.
pub(crate) struct Permit {
    pub(crate) cancel: CancellationToken,
    active: Arc<Active>,
    principal: Arc<Principal>,
    number: u64,
}

impl RunningQueries {
    /// Nothing runs.
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        Self {
            active: Arc::default(),
            submitted: Mutex::new(Submitted::new(config.result_memory, config.result_retention)),
            suspects: Suspects::default(),
            stopping: CancellationToken::new(),
            per_user: config.queries_per_user,
        }
    }

    fn register(&self, principal: &Arc<Principal>, kind: Kind) -> Result<Permit, Refused> {
        if kind == Kind::Query && self.stopping.is_cancelled() {
            return Err(Refused::new(Code::ShuttingDown, "the server is shutting down: try again later"));
        }
        let mut users = self.active.users.lock();
        let entries = users.entry(holder(principal)).or_default();
        let queries = entries.iter().filter(|entry| entry.kind == Kind::Query).count();
        if kind == Kind::Query && queries >= self.per_user {
            return Err(Refused::new(
                Code::TooManyQueries,
                format!("too many queries at once: wait for one of your {} to end", self.per_user),
            ));
        }
        let cancel = match kind {
            Kind::Query => self.stopping.child_token(),
            // Stopping ends the query, and that ends the wait for it.
            Kind::Wait => CancellationToken::new(),
        };
        let number = self.active.next.fetch_add(1, Ordering::Relaxed);
        entries.push(Entry { principal: principal.clone(), cancel: cancel.clone(), kind, number });
        Ok(Permit { cancel, active: self.active.clone(), principal: principal.clone(), number })
    }

    /// What runs under principals of which this holds. Each is named once.
    pub(super) fn principals(&self, is_meant: impl Fn(&Principal) -> bool) -> Vec<Arc<Principal>> {
        let users = self.active.users.lock();
        let mut found: Vec<Arc<Principal>> = Vec::new();
        for entry in users.values().flatten().filter(|entry| is_meant(&entry.principal)) {
            if !found.iter().any(|known| Arc::ptr_eq(known, &entry.principal)) {
                found.push(entry.principal.clone());
            }
        }
        found
    }

    /// Stops what runs under this very principal.
    pub(super) fn stop(&self, principal: &Arc<Principal>) {
        let users = self.active.users.lock();
        for entry in users.get(&holder(principal)).into_iter().flatten() {
            if Arc::ptr_eq(&entry.principal, principal) {
                entry.cancel.cancel();
            }
        }
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

impl Gateway {
    /// A place for one more query of the user.
    pub(crate) async fn enter(&self, call: &Call) -> Result<Permit, Refused> {
        self.attend(call, Kind::Query).await
    }

    /// The same for one who waits for a query that has its place already.
    pub(super) async fn wait_in_line(&self, call: &Call) -> Result<Permit, Refused> {
        self.attend(call, Kind::Wait).await
    }

    /// INVARIANT: a change that comes between finding out who asks and this (while the body arrived, say) ends the call,
    /// too: it is looked for after registering, and news look among the registered. Held by the test
    /// `a_call_that_was_begun_before_its_key_went_runs_nothing`.
    async fn attend(&self, call: &Call, kind: Kind) -> Result<Permit, Refused> {
        let permit = self.shared.running.register(&call.principal, kind)?;
        let unchanged = self.shared.principals.is_unchanged(&call.principal);
        if !unchanged && !Box::pin(may_still_query(&self.shared.store, &call.principal)).await? {
            return Err(revoked());
        }
        Ok(permit)
    }
}

/// What a call hears whose key or user is no longer what it was.
pub(super) fn revoked() -> Refused {
    Refused::new(Code::QueryCancelled, "the access key or its user was changed: the query was cancelled")
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.cancel.cancel();
        let mut users = self.active.users.lock();
        let holder = holder(&self.principal);
        if let Some(entries) = users.get_mut(&holder) {
            entries.retain(|entry| entry.number != self.number);
            if entries.is_empty() {
                users.remove(&holder);
            }
        }
        if users.is_empty() {
            self.active.idle.notify_waiters();
        }
    }
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
