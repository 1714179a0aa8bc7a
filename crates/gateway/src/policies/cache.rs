//! Policies in memory, parsed, for the road that every query takes.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use ringfence_engine::SourceAddress;
use ringfence_engine::address::within;
use ringfence_policy::cubes::CubeHierarchy;
use ringfence_policy::{Beside, ConnectionKind, Drift, Footprint, Policy, Tenancy};
use ringfence_store::Store;
use ringfence_store::policies::{Guarding, PolicyId, PolicyPlace, PolicyVersion};

use super::cubes::Definitions;
use crate::versions::Versions;
use crate::{Code, GatewayConfig, Refused};

/// How long a copy is trusted when no news of changes arrive. News do arrive: this is the second line.
const TRUST: Duration = Duration::from_mins(1);
/// Places that are remembered, open ones too.
const KEPT: u64 = 4_096;

/// What holds of a place.
#[derive(Clone)]
enum Guard {
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
    /// The database whose tables its names without a schema mean; empty where that makes no difference.
    home: String,
    pub(crate) version: i64,
    created_at: i64,
    /// Of the restrictions beside it.
    beside: i64,
    pub(crate) policy: Policy,
    /// What the policy rested on when it was put.
    pub(crate) footprint: Footprint,
    /// The cubes beside it, whose joins are among the policy's.
    pub(crate) cubes: Arc<Definitions>,
}

impl LoadedPolicy {
    /// Of a place that nobody put this policy on. Versions of others begin at 1.
    pub(crate) fn draft(place: PolicyPlace, policy: Policy) -> Self {
        let (footprint, cubes) = (Footprint::default(), Arc::default());
        Self { place, home: String::new(), version: 0, created_at: 0, beside: 0, policy, footprint, cubes }
    }

    /// The same beside the cubes of the place, whose joins it has.
    pub(crate) fn draft_beside(
        place: PolicyPlace,
        policy: Policy,
        (cubes, home): (Arc<Definitions>, String),
    ) -> Self {
        Self { home, cubes, ..Self::draft(place, policy) }
    }

    /// The same with what of it can't be held on the catalog that it is decided with.
    pub(crate) fn drifted(&self, drift: Drift) -> Self {
        self.made_into(Policy { drift, ..self.policy.clone() }, self.footprint.clone())
    }

    /// The same with what cubes on the catalog say of how restrictions merge.
    pub(crate) fn grouped(&self, hierarchies: &[CubeHierarchy]) -> Self {
        self.made_into(self.policy.clone().with_cube_hierarchies(hierarchies), self.footprint.clone())
    }

    /// Where names without a schema are looked up.
    pub(crate) fn schema(&self) -> &str {
        schema_of(&self.policy, &self.home)
    }

    fn made_into(&self, policy: Policy, footprint: Footprint) -> Self {
        let Self { place, home, version, created_at, beside, policy: _, footprint: _, cubes } = self;
        let (version, created_at, beside) = (*version, *created_at, *beside);
        let (place, home, cubes) = (place.clone(), home.clone(), cubes.clone());
        Self { place, home, version, created_at, beside, policy, footprint, cubes }
    }

    /// Where statements go of those whom it was made for: to their tenant's own database, where each has one.
    //
    // INVARIANT: whatever database of the family a connection names, it is the caller's own that hears the statement. Held
    // by the Python test `test_a_statement_goes_to_the_tenants_own_database`.
    pub(crate) fn destination(&self, address: SourceAddress) -> SourceAddress {
        match self.policy.tenancy.as_ref().and_then(Tenancy::database) {
            Some(own) => address.beside(own),
            None => address,
        }
    }

    /// The same for the tenant of that schema or database.
    pub(crate) fn for_tenant(&self, schema: &str) -> Result<Self, Refused> {
        let Self { place, version, policy, footprint, cubes, .. } = self;
        let template = policy.tenancy.as_ref().and_then(|tenancy| tenancy.template.as_deref());
        let footprint = match template {
            Some(template) => footprint.clone().moved(template, schema),
            None => footprint.clone(),
        };
        let policy = policy.for_tenant(schema).map_err(|invalid| {
            tracing::error!(policy.place = %place.place, policy.version = version, error = %invalid, "a policy can't be made for a tenant");
            unusable()
        })?;
        let own = schema_of(&policy, schema).to_owned();
        let policy = cubes.joined(policy, &own).map_err(|circular| {
            tracing::error!(policy.place = %place.place, policy.version = version, error = %circular, "a policy can't be used beside its cubes");
            unusable()
        })?;
        Ok(self.made_into(policy, footprint))
    }

    /// Which version of which policy it is, with which restrictions and cubes beside it.
    pub(crate) fn identity(&self) -> impl std::fmt::Debug {
        let cubes: Vec<_> = self.cubes.versions().collect();
        (&self.place, &self.home, self.version, self.created_at, self.beside, cubes)
    }

    /// Whether it is the same version of the same policy, with the same restrictions and cubes beside it. A version never
    /// changes; the moment tells policies apart whose organization was made anew.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let parts = |it: &Self| (it.version, it.created_at, it.beside);
        self.place == other.place
            && self.home == other.home
            && parts(self) == parts(other)
            && self.cubes.are(&other.cubes)
    }
}

/// Policies by place, bounded. Every copy carries the version of its place as it was before the store was read.
// INVARIANT: a query that starts after a policy was put sees that policy; the test `a_change_takes_effect_at_once` holds
// it.
pub(crate) struct PolicyCache {
    copies: Cache<(PolicyPlace, String), Copied>,
    versions: Versions,
}

#[derive(Clone)]
struct Copied {
    guard: Guard,
    version: u64,
    /// All changes of policies so far, where it hangs on those of other places.
    changes: Option<u64>,
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

    /// The policy on the place now; `None` when it is open. A place that may be a tenant's database is under the policy that
    /// gives tenants databases there.
    //
    // INVARIANT: a guarded connection whose policy is lost or can't be read runs nothing. Held by the test
    // `a_policy_that_can_not_be_used_refuses_everything`.
    pub(crate) async fn of(
        &self,
        store: &Store,
        place: PolicyPlace,
        kind: ConnectionKind,
        database: &str,
    ) -> Result<Option<Arc<LoadedPolicy>>, Refused> {
        // One policy binds all databases of a MySQL server, and its names mean those of each.
        let home = if kind == ConnectionKind::Mysql { database.to_owned() } else { String::new() };
        let key = (place, home);
        let guard = match self.copies.get(&key).await {
            Some(copy) if self.counts(&copy, &key.0) => copy.guard,
            _ => Box::pin(self.read(store, key, kind)).await?,
        };
        match guard {
            Guard::Open => Ok(None),
            Guard::Policy(policy) => Ok(Some(policy)),
            Guard::Unusable => Err(unusable()),
        }
    }

    async fn read(
        &self,
        store: &Store,
        key: (PolicyPlace, String),
        kind: ConnectionKind,
    ) -> Result<Guard, Refused> {
        let place = &key.0;
        let (version, changes) = (self.versions.of(&place.id()), self.versions.changes());
        let own = read(store, place, &key.1, kind).await?;
        let is_open = matches!(own, Guard::Open);
        let guard = if is_open { self.family(store, place, kind).await? } else { own };
        // A copy that was overtaken carries a version that is never asked for.
        let changes = is_open.then_some(changes);
        self.copies.insert(key, Copied { guard: guard.clone(), version, changes }).await;
        Ok(guard)
    }

    fn counts(&self, copy: &Copied, place: &PolicyPlace) -> bool {
        copy.version == self.versions.of(&place.id())
            && copy.changes.is_none_or(|changes| changes == self.versions.changes())
    }

    /// The policy of another place on the same server that gives each tenant a database, of which this may be one.
    //
    // INVARIANT: a tenant's database is not open to whoever registers a connection to it. Held by the Python test
    // `test_a_tenants_database_is_under_the_familys_policy`.
    async fn family(
        &self,
        store: &Store,
        place: &PolicyPlace,
        kind: ConnectionKind,
    ) -> Result<Guard, Refused> {
        if !matches!(kind, ConnectionKind::Postgresql | ConnectionKind::Sqlite) {
            return Ok(Guard::Open);
        }
        let (server, database) = within(&place.place);
        let mut found = Guard::Open;
        for other in store.policies().places(&place.org).await? {
            if other == *place || within(&other.place).0 != server {
                continue;
            }
            match self.own(store, other, kind).await? {
                Guard::Open => {}
                Guard::Policy(policy) => {
                    let tenancy = policy.policy.tenancy.as_ref();
                    if !tenancy.is_some_and(|tenancy| tenancy.may_be_a_tenants(database)) {
                        continue;
                    }
                    if !matches!(found, Guard::Open) {
                        tracing::error!(policy.place = %place.place, "two policies give tenants this database");
                        return Ok(Guard::Unusable);
                    }
                    found = Guard::Policy(policy);
                }
                // It may be the one that gives tenants their databases.
                Guard::Unusable => return Ok(Guard::Unusable),
            }
        }
        Ok(found)
    }

    /// The policy that was put on the place itself, in memory where it is known: many places on one server ask for it.
    async fn own(&self, store: &Store, place: PolicyPlace, kind: ConnectionKind) -> Result<Guard, Refused> {
        let key = (place, String::new());
        // What hangs on other places is not its own.
        let known = self.copies.get(&key).await.filter(|copy| copy.changes.is_none());
        if let Some(copy) = known.filter(|copy| self.counts(copy, &key.0)) {
            return Ok(copy.guard);
        }
        let version = self.versions.of(&key.0.id());
        let guard = read(store, &key.0, &key.1, kind).await?;
        if !matches!(guard, Guard::Open) {
            self.copies.insert(key, Copied { guard: guard.clone(), version, changes: None }).await;
        }
        Ok(guard)
    }
}

/// The place's own policy, as it is stored.
async fn read(
    store: &Store,
    place: &PolicyPlace,
    home: &str,
    kind: ConnectionKind,
) -> Result<Guard, Refused> {
    match store.policies().current(place).await? {
        Guarding::Open => Ok(Guard::Open),
        Guarding::Guarded(stored) => {
            let beside = beside(store, place).await?;
            match Definitions::on(store, place).await {
                Ok(cubes) => load((place.clone(), home.to_owned()), stored, kind, beside, cubes).await,
                Err(refused) if refused.code == Code::PolicyUnusable => Ok(Guard::Unusable),
                Err(refused) => Err(refused),
            }
        }
        Guarding::Lost => {
            tracing::error!(policy.place = %place.place, "a policy's current version is missing");
            Ok(Guard::Unusable)
        }
    }
}

/// What is said beside the policy of the place, and the version of that; `None` when it can't be read.
pub(super) async fn beside(store: &Store, place: &PolicyPlace) -> Result<(i64, Option<Beside>), Refused> {
    let said = store.restrictions().on(place).await?;
    let read = crate::restrictions::read(&said.roles).inspect_err(
        |invalid| tracing::error!(policy.place = %place.place, error = %invalid, "stored restrictions can't be used"),
    );
    Ok((said.version, read.ok()))
}

/// On a thread of its own: large documents take their time.
//
// INVARIANT: a policy whose restrictions can't be read or held beside it runs nothing. Held by the test
// `restrictions_that_can_not_be_used_refuse_everything`.
async fn load(
    (place, home): (PolicyPlace, String),
    stored: PolicyVersion,
    kind: ConnectionKind,
    (beside, said): (i64, Option<Beside>),
    cubes: Arc<Definitions>,
) -> Result<Guard, Refused> {
    let Some(said) = said else { return Ok(Guard::Unusable) };
    let PolicyVersion { version, document, created_at, footprint, .. } = stored;
    let footprint = footprint_of(footprint.as_deref());
    let database = home.clone();
    let loading = tokio::task::spawn_blocking(move || {
        Policy::load_beside(super::DOCUMENT, &document, (kind, &database), &said)
    });
    match loading.await.map_err(|stopped| Refused::internal(&stopped))? {
        Ok(policy) => {
            // INVARIANT: a policy that can't be held beside its cubes runs nothing: without their joins it would show more.
            // Held by the test `cubes_and_a_policy_that_go_in_a_circle_run_nothing`.
            let schema = schema_of(&policy, &home).to_owned();
            let policy = match cubes.joined(policy, &schema) {
                Ok(policy) => policy,
                Err(circular) => {
                    tracing::error!(policy.place = %place.place, policy.version = version, error = %circular, "a policy can't be used beside its cubes");
                    return Ok(Guard::Unusable);
                }
            };
            let loaded = LoadedPolicy { place, home, version, created_at, beside, policy, footprint, cubes };
            Ok(Guard::Policy(Arc::new(loaded)))
        }
        Err(invalid) => {
            tracing::error!(policy.place = %place.place, policy.version = version, error = %invalid, "a stored policy can't be used");
            Ok(Guard::Unusable)
        }
    }
}

/// Where names without a schema are looked up on that database.
pub(super) fn schema_of<'a>(policy: &'a Policy, home: &'a str) -> &'a str {
    // There a schema is a database, and which one the policy alone does not say.
    if policy.schema().is_empty() { home } else { policy.schema() }
}

/// The footprint that was stored; without one, names are looked up and types are not compared.
pub(super) fn footprint_of(stored: Option<&str>) -> Footprint {
    stored.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// What a caller hears on a guarded connection whose policy nobody can read.
pub(super) fn unusable() -> Refused {
    Refused::new(
        Code::PolicyUnusable,
        "this connection is guarded, and its policy can't be used: nothing runs until an administrator puts one that can",
    )
}
