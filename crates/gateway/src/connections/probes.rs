//! How many credentials are tried at once for people who wait: each takes a connection of its own to a server that may
//! never answer.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use ringfence_policy::OrgId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::{Code, Refused};

/// On the whole node, and of one organization.
const AT_ONCE: usize = 8;
pub(super) const PER_ORGANIZATION: usize = 2;
/// How long one waits for its turn.
const WAIT: Duration = Duration::from_secs(3);
/// Organizations kept in mind before those are forgotten that try nothing now.
const MOST_ORGANIZATIONS: usize = 1024;

/// Turns at trying credentials.
pub(crate) struct Probes {
    all: Arc<Semaphore>,
    organizations: Mutex<HashMap<OrgId, Weak<Semaphore>>>,
}

/// The right to try one connection's credentials.
pub(super) struct Turn {
    _of_organization: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Probes {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(AT_ONCE)), organizations: Mutex::default() }
    }
}

impl Probes {
    /// Waits for a turn, not for long. The organization's own comes first, so that nobody waits for the own
    /// organization with a turn of all in hand.
    pub(super) async fn turn(&self, org: &OrgId) -> Result<Turn, Refused> {
        let own = self.of_organization(org);
        let turn = async {
            let own = own.acquire_owned().await?;
            let of_all = self.all.clone().acquire_owned().await?;
            Ok::<_, tokio::sync::AcquireError>(Turn { _of_organization: own, _of_all: of_all })
        };
        match timeout(WAIT, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Refused::new(
                Code::SourceBusy,
                "too many connections are being tried at once: try again, or save without validating",
            )),
        }
    }

    fn of_organization(&self, org: &OrgId) -> Arc<Semaphore> {
        let mut organizations = self.organizations.lock();
        if let Some(known) = organizations.get(org).and_then(Weak::upgrade) {
            return known;
        }
        if organizations.len() >= MOST_ORGANIZATIONS {
            organizations.retain(|_, turns| turns.strong_count() > 0);
        }
        let made = Arc::new(Semaphore::new(PER_ORGANIZATION));
        organizations.insert(org.clone(), Arc::downgrade(&made));
        made
    }
}
