//! News of changes: at once in this process, within a second from other nodes and processes.

use std::collections::BTreeSet;

use ringfence_policy::{OrgId, UserId};

use crate::access_keys::KeyHash;
use crate::access_rules::RulePlace;
use crate::database::transact;
use crate::policies::PolicyId;
use crate::sources::SourceId;
use crate::{Store, StoreError};

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
    /// Rows were written at that place, as the engine names it.
    Data {
        /// The engine that tells it.
        teller: u64,
        place: String,
    },
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

    /// Publishes that rows were written at these places, for other nodes than that of the teller. Stores nothing.
    pub async fn data_changed(&self, teller: u64, places: BTreeSet<String>) -> Result<(), StoreError> {
        transact!(self.inner.database, tx => {
            for place in &places {
                tx.announce(Change::Data { teller, place: place.clone() });
            }
        })
    }
}
