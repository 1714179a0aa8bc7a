//! Policies in memory, parsed, for the road that every query takes.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use ringfence_policy::{ConnectionKind, Drift, Footprint, Policy};
use ringfence_store::Store;
use ringfence_store::policies::{Guarding, PolicyId, PolicyPlace, PolicyVersion};

use crate::versions::Versions;
use crate::{Code, GatewayConfig, Refused};

/// How long a copy is trusted when no news of changes arrive. News do arrive: this is the second line.
const TRUST: Duration = Duration::from_mins(1);
/// Places that are remembered, open ones too.
const KEPT: u64 = 4_096;

/// What holds of a place.
#[derive(Clone)]
pub(crate) enum Guard {
    /// There is no policy on it.
    Open,
    /// This one counts.
    Policy(Arc<LoadedPolicy>),
    /// It is guarded, and nobody can say how: nothing runs.
    Unusable,
}

/// A version of a policy that can be decided with.
pub(crate) struct LoadedPolicy {
    pub(crate) place: PolicyPlace,
    pub(crate) version: i64,
    created_at: i64,
    pub(crate) policy: Policy,
    /// What the policy rested on when it was put.
    pub(crate) footprint: Footprint,
}

impl LoadedPolicy {
    /// Of a place that nobody put this policy on. Versions of others begin at 1.
    pub(crate) fn draft(place: PolicyPlace, policy: Policy) -> Self {
        Self { place, version: 0, created_at: 0, policy, footprint: Footprint::default() }
    }

    /// The same, with what of it can't be held on the catalog that it is decided with.
    pub(crate) fn drifted(&self, drift: Drift) -> Self {
        let Self { place, version, created_at, policy, footprint } = self;
        let policy = Policy { drift, ..policy.clone() };
        let (place, footprint) = (place.clone(), footprint.clone());
        Self { place, version: *version, created_at: *created_at, policy, footprint }
    }

    /// Whether it is the same version of the same policy. A version never changes; the moment tells policies apart
    /// whose organization was made anew.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (&self.place, self.version, self.created_at) == (&other.place, other.version, other.created_at)
    }
}

/// Policies by place, bounded. Every copy carries the version of its place as it was before the store was read.
// INVARIANT: a query that starts after a policy was put sees that policy; the test `a_change_takes_effect_at_once` holds
// it.
pub(crate) struct PolicyCache {
    copies: Cache<PolicyPlace, Copied>,
    versions: Versions,
}

#[derive(Clone)]
struct Copied {
    guard: Guard,
    version: u64,
}

impl PolicyCache {
    pub(crate) fn new(_config: &GatewayConfig) -> Self {
        Self {
            copies: Cache::builder().max_capacity(KEPT).time_to_live(TRUST).build(),
            versions: Versions::new(),
        }
    }

    /// Trusts no copy of this policy any more.
    pub(crate) fn forget(&self, policy: &PolicyId) {
        self.versions.advance(policy);
    }

    /// Trusts no copy any more.
    pub(crate) fn forget_all(&self) {
        self.versions.advance_all();
    }

    /// What holds of the place now.
    pub(crate) async fn of(
        &self,
        store: &Store,
        place: PolicyPlace,
        kind: ConnectionKind,
    ) -> Result<Guard, Refused> {
        match self.copies.get(&place).await {
            Some(copy) if copy.version == self.versions.of(&place.id()) => Ok(copy.guard),
            _ => Box::pin(self.read(store, place, kind)).await,
        }
    }

    async fn read(&self, store: &Store, place: PolicyPlace, kind: ConnectionKind) -> Result<Guard, Refused> {
        let version = self.versions.of(&place.id());
        let guard = match store.policies().current(&place).await? {
            Guarding::Open => Guard::Open,
            Guarding::Guarded(stored) => load(place.clone(), stored, kind).await?,
            Guarding::Lost => {
                tracing::error!(policy.place = %place.place, "a policy's current version is missing");
                Guard::Unusable
            }
        };
        // A copy that was overtaken carries a version that is never asked for.
        self.copies.insert(place, Copied { guard: guard.clone(), version }).await;
        Ok(guard)
    }
}

/// On a thread of its own: large documents take their time.
async fn load(place: PolicyPlace, stored: PolicyVersion, kind: ConnectionKind) -> Result<Guard, Refused> {
    let PolicyVersion { version, document, created_at, footprint, .. } = stored;
    let footprint = footprint_of(footprint.as_deref());
    let loading = tokio::task::spawn_blocking(move || Policy::load(super::DOCUMENT, &document, kind));
    match loading.await.map_err(|stopped| Refused::internal(&stopped))? {
        Ok(policy) => {
            Ok(Guard::Policy(Arc::new(LoadedPolicy { place, version, created_at, policy, footprint })))
        }
        Err(invalid) => {
            tracing::error!(policy.place = %place.place, policy.version = version, error = %invalid, "a stored policy can't be used");
            Ok(Guard::Unusable)
        }
    }
}

/// The footprint that was stored; without one, names are looked up and types are not compared.
pub(super) fn footprint_of(stored: Option<&str>) -> Footprint {
    stored.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// What a caller hears on a guarded connection whose policy nobody can read.
pub(crate) fn unusable() -> Refused {
    Refused::new(
        Code::PolicyUnusable,
        "this connection is guarded, and its policy can't be used: nothing runs until an administrator puts one that can",
    )
}
