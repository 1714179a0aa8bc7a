//! The part of a snapshot that one tenant has, where the policy gives each tenant a schema or a database of its own.
//!
//! It is a snapshot by itself: catalog and policy hold the tenant's schema and the shared ones, and nothing else, so that all
//! that is made of it (views, plans, catalogs, error texts) can't name another tenant's. Nothing about the tenant is kept in
//! a session of the database.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use ringfence_engine::address::within;
use ringfence_policy::{Denial, Principal, Realm};

use super::snapshot::Snapshot;
use crate::catalog::of_tenant;
use crate::{Code, Refused};

/// Tenants of one snapshot that are remembered.
const KEPT: NonZeroUsize = NonZeroUsize::new(1_024).expect("1024 is not zero");

/// Snapshots of tenants, bounded. They go with the snapshot that they are part of: at any change of policy or catalog.
//
// INVARIANT: the key is the resolved schema, whole, so that two tenants share no view and no plan. Held by the test
// `two_tenants_share_no_plan`.
pub(super) struct Tenants {
    known: Mutex<LruCache<String, Arc<Snapshot>>>,
}

impl Default for Tenants {
    fn default() -> Self {
        // Most snapshots have none: room is made as they come.
        Self { known: Mutex::new(LruCache::unbounded()) }
    }
}

impl Tenants {
    pub(super) async fn snapshot(
        &self,
        whole: &Arc<Snapshot>,
        principal: &Principal,
    ) -> Result<Arc<Snapshot>, Refused> {
        let policy = &whole.policy.policy;
        let Some(tenancy) = &policy.tenancy else { return Ok(whole.clone()) };
        let own = tenancy.own(principal, policy.kind);
        let is_home = |own: &String| {
            tenancy.realm == Realm::Database && within(&whole.policy.place.place).1.eq_ignore_ascii_case(own)
        };
        let own = if own.as_ref().is_ok_and(is_home) { Err(tenancy.denial()) } else { own };
        let schema = own.map_err(|denial| homeless(&denial, tenancy.realm))?;
        if tenancy.resolved.as_ref() == Some(&schema) {
            return Ok(whole.clone());
        }
        if let Some(known) = self.known.lock().get(&schema) {
            return Ok(known.clone());
        }
        let (whole, name) = (whole.clone(), schema.clone());
        // Large documents and catalogs take their time.
        let making = tokio::task::spawn_blocking(move || make(&whole, &name));
        let made = Arc::new(making.await.map_err(|stopped| Refused::internal(&stopped))??);
        let mut known = self.known.lock();
        known.put(schema, made.clone());
        while known.len() > KEPT.get() {
            known.pop_lru();
        }
        Ok(made)
    }
}

fn make(whole: &Snapshot, schema: &str) -> Result<Snapshot, Refused> {
    let policy = Arc::new(whole.policy.for_tenant(schema)?);
    let shown = match &whole.policy.policy.tenancy {
        Some(tenancy) => Arc::new(of_tenant(&whole.shown, tenancy, schema)),
        None => whole.shown.clone(),
    };
    Ok(Snapshot::of_tenant(policy, shown, whole.breadth))
}

/// What somebody hears whose values make no schema or database that may be theirs.
fn homeless(denial: &Denial, realm: Realm) -> Refused {
    let what = match realm {
        Realm::Schema => "schema",
        Realm::Database => "database",
    };
    let attribute = match denial {
        Denial::ScopeRequired { attribute } => attribute.as_str(),
        Denial::Invisible(_) | Denial::Suspended => "a value",
    };
    Refused::new(
        Code::TenantScopeRequired,
        format!(
            "this connection has a {what} for each tenant, and {attribute} of yours names none that may be yours: ask your administrator"
        ),
    )
}
