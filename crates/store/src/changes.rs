//! News of changes: at once in this process, within a second from other nodes and processes.

use ringfence_policy::{OrgId, UserId};

use crate::Store;
use crate::access_keys::KeyHash;
use crate::access_rules::RulePlace;
use crate::policies::PolicyId;
use crate::sources::SourceId;

/// What changed, for those who keep copies.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Change {
    User(UserId),
    /// An organization's or tenant's variables: every principal of theirs.
    Directory,
    Key(KeyHash),
    Source(SourceId),
    Policy(PolicyId),
    /// Rows were written that this policy's attributes are read from.
    Attributes(PolicyId),
    AccessRules(RulePlace),
    /// Endpoints that the organization publishes.
    Endpoints(OrgId),
    /// Some news may have been missed: trust no copy.
    Everything,
}

/// How many changes a slow listener may fall behind before it is told to trust no copy.
pub(crate) const BACKLOG: usize = 1024;

impl Store {
    /// Listens for changes made anywhere. A receiver that lags must treat it as [`Change::Everything`].
    pub fn subscribe(&self) -> tokio::sync::broadcast::Receiver<Change> {
        self.inner.listeners.subscribe()
    }
}
