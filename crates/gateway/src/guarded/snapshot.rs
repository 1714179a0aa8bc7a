//! A guarded connection at one version: its catalog, whole and filtered, its policy, and the cubes beside it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;
use ringfence_policy::{Catalog, OrgId, Principal, Question, View};
use ringfence_store::Store;
use ringfence_store::policies::PolicyPlace;
use ringfence_store::sources::SourceId;

use super::attributes::Settled;
use super::lens::Breadth;
use super::reads::Reads;
use super::tenants::Tenants;
use super::views::{Seat, Views};
use crate::access_rules::RuleSet;
use crate::catalog::Shown;
use crate::policies::{CubeHere, LoadedPolicy, hierarchies};
use crate::{Call, Gateway, Refused};

/// How long a copy is trusted when no news of changes arrive. News do arrive: this is the second line.
const TRUST: Duration = Duration::from_mins(1);
/// Guarded sources in memory.
const KEPT: NonZeroUsize = NonZeroUsize::new(128).expect("128 is not zero");

/// Principals of one snapshot that are remembered, and fewer where each tenant has a snapshot.
const SEATS: NonZeroUsize = NonZeroUsize::new(1_024).expect("1024 is not zero");
const SEATS_OF_TENANT: NonZeroUsize = NonZeroUsize::new(128).expect("128 is not zero");

/// Catalog and policy that belong together, with the views that were made of them.
pub(crate) struct Snapshot {
    pub(crate) policy: Arc<LoadedPolicy>,
    pub(crate) shown: Arc<Shown>,
    /// By name.
    pub(crate) cubes: Vec<CubeHere>,
    pub(super) settled: Settled,
    pub(super) breadth: Breadth,
    views: Views,
    pub(super) reads: Reads,
    tenants: Tenants,
}

impl Snapshot {
    /// Catalog and policy, with what of the policy can't be held on this catalog.
    pub(crate) fn of(policy: Arc<LoadedPolicy>, shown: Arc<Shown>, breadth: Breadth) -> Self {
        Self::sized(policy, shown, breadth, SEATS)
    }

    /// The same for the tenant of one schema.
    pub(super) fn of_tenant(policy: Arc<LoadedPolicy>, shown: Arc<Shown>, breadth: Breadth) -> Self {
        Self::sized(policy, shown, breadth, SEATS_OF_TENANT)
    }

    fn sized(policy: Arc<LoadedPolicy>, shown: Arc<Shown>, breadth: Breadth, seats: NonZeroUsize) -> Self {
        if policy.policy.is_nobodys() {
            // What fits and what does not is found out for each tenant.
            return Self::made(policy, shown, breadth, seats);
        }
        let mut drift = policy.policy.drift_from(&shown.unfiltered, &policy.footprint);
        if !Arc::ptr_eq(&shown.catalog, &shown.unfiltered) {
            drift.hide_gone();
        }
        let policy = if drift.is_empty() { policy } else { Arc::new(policy.drifted(drift)) };
        let cubes = policy.cubes.here(&shown.unfiltered, policy.policy.kind, policy.schema());
        let hierarchies = hierarchies(&cubes);
        let policy = if hierarchies.is_empty() { policy } else { Arc::new(policy.grouped(&hierarchies)) };
        Self { cubes, ..Self::made(policy, shown, breadth, seats) }
    }

    fn made(policy: Arc<LoadedPolicy>, shown: Arc<Shown>, breadth: Breadth, seats: NonZeroUsize) -> Self {
        Self {
            views: Views::of(&shown.catalog, seats),
            reads: Reads::default(),
            settled: Settled::new(seats),
            tenants: Tenants::default(),
            cubes: Vec::new(),
            policy,
            shown,
            breadth,
        }
    }

    /// What there is for the principal, where each tenant has a schema; otherwise this.
    pub(crate) async fn for_tenant_of(self: &Arc<Self>, principal: &Principal) -> Result<Arc<Self>, Refused> {
        self.tenants.snapshot(self, principal).await
    }

    /// What the principal sees.
    pub(crate) fn seat(
        &self,
        principal: &Principal,
        schema: Option<&str>,
        rules: &Arc<RuleSet>,
        store: &Store,
    ) -> Arc<Seat> {
        self.views.seat(self, rules, principal, schema, store)
    }

    /// The seat with another view: of what holds while one statement runs.
    pub(crate) fn seat_with(&self, seat: &Seat, view: View) -> Arc<Seat> {
        self.views.seat_with(seat, view)
    }

    /// The seat of somebody who sees nothing at all.
    pub(crate) fn blind_seat(&self, principal: &Arc<Principal>, rules: &Arc<RuleSet>) -> Arc<Seat> {
        self.views.blind_seat(principal, rules)
    }

    /// What there is to see, before anybody looks.
    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        match self.breadth {
            Breadth::Policy | Breadth::Filters => &self.shown.catalog,
            Breadth::Everything => &self.shown.unfiltered,
        }
    }

    /// What a decision about the one on the seat depends on: the same as its view was made of.
    pub(crate) fn question<'a>(&'a self, seat: &'a Seat) -> Question<'a> {
        self.question_of(&seat.principal, &seat.rules)
    }

    /// What a decision about somebody depends on.
    pub(super) fn question_of<'a>(&'a self, principal: &'a Principal, rules: &'a RuleSet) -> Question<'a> {
        Question {
            policy: &self.policy.policy,
            catalog: self.catalog(),
            unfiltered: &self.shown.unfiltered,
            rules: &rules.rules,
            principal,
        }
    }
}

/// Snapshots by source and place, bounded.
//
// INVARIANT: a snapshot counts while neither its source nor its policy changed since it was read. Held by the tests
// `a_change_takes_effect_at_once` and `filters_narrow_what_a_policy_shows`.
pub(crate) struct SnapshotCache {
    copies: Mutex<LruCache<(SourceId, PolicyPlace, Breadth), Copied>>,
}

#[derive(Clone)]
struct Copied {
    snapshot: Arc<Snapshot>,
    org: OrgId,
    epoch: u64,
    read_at: Instant,
}

impl SnapshotCache {
    pub(crate) fn new() -> Self {
        Self { copies: Mutex::new(LruCache::new(KEPT)) }
    }
}

impl Gateway {
    /// The source under that policy; `None` before the first index is complete.
    pub(super) async fn snapshot(
        &self,
        call: &Call,
        source: SourceId,
        policy: Arc<LoadedPolicy>,
        breadth: Breadth,
    ) -> Result<Option<Arc<Snapshot>>, Refused> {
        let shared = &self.shared;
        let org = &call.principal().org;
        let key = (source, policy.place.clone(), breadth);
        let epoch = shared.catalogs.epoch_of(source);
        let known = shared.snapshots.copies.lock().get(&key).cloned();
        let known = known.filter(|copy| copy.org == *org && copy.snapshot.policy.is(&policy));
        if let Some(copy) =
            known.as_ref().filter(|copy| copy.epoch == epoch && copy.read_at.elapsed() < TRUST)
        {
            return Ok(Some(copy.snapshot.clone()));
        }
        let Some(stored) = shared.store.sources().get(source).await? else { return Ok(None) };
        // A user may have moved to another organization since: what the old one shares stays there.
        if stored.org != *org {
            return Ok(None);
        }
        let Some(shown) = shared.catalogs.shown(&shared.store, stored).await? else { return Ok(None) };
        // The same catalog and policy have the same views: they, and the plans made for them, stay.
        let same = known.filter(|copy| Arc::ptr_eq(&copy.snapshot.shown, &shown));
        let snapshot =
            same.map_or_else(|| Arc::new(Snapshot::of(policy, shown, breadth)), |copy| copy.snapshot);
        let copy = Copied { snapshot: snapshot.clone(), org: org.clone(), epoch, read_at: Instant::now() };
        shared.snapshots.copies.lock().put(key, copy);
        Ok(Some(snapshot))
    }
}
