//! Guarded connections: what a policy makes of a connection for the one who asks.
//!
//! Reading order: [`lens`] finds out whether a connection is guarded, and by what; [`snapshot`] holds catalog and policy at
//! one version, [`tenants`] the part of it that is one tenant's where each has a schema, [`attributes`] what a policy reads of a principal in the connection, [`views`] what each principal sees,
//! [`plans`] the statements behind the fences of a view, [`reads`] what a view of the database itself reads.

mod attributes;
mod lens;
mod plans;
mod reads;
mod snapshot;
mod tenants;
mod views;

use std::sync::Arc;

use ringfence_engine::SourceAddress;
use ringfence_policy::{ConnectionKind, OrgId};
use ringfence_store::connections::{Connection, Proof};
use ringfence_store::policies::PolicyPlace;

pub(crate) use attributes::{AttributeCache, WrittenAttributes};
pub(crate) use lens::{Breadth, Lens};
pub(crate) use plans::{PlanCache, Planned, shown};
pub(crate) use snapshot::{Snapshot, SnapshotCache};
pub(crate) use views::{Seat, Told};

use crate::catalog::find_schema;
use crate::connections::address_of;
use crate::policies::LoadedPolicy;
use crate::{Call, Code, Gateway, Refused};

/// What a guarded statement was seen through.
#[derive(Clone)]
pub(crate) struct Through {
    pub(crate) policy: Arc<LoadedPolicy>,
    pub(crate) seat: Arc<Seat>,
    /// As the caller named it.
    pub(crate) schema: Option<String>,
}

impl Gateway {
    /// The place that a policy on this address binds: the same for everybody of the organization, whoever signs in and
    /// however the connection is spelt. `None` for a pushed catalog, which has no rows.
    pub(crate) fn place_of(
        &self,
        org: &OrgId,
        address: &SourceAddress,
    ) -> Result<Option<PolicyPlace>, Refused> {
        if address.kind == ConnectionKind::Push {
            return Ok(None);
        }
        let place = self.shared.engine.place(address)?;
        Ok(Some(PolicyPlace { org: org.clone(), place }))
    }

    /// The policy on that address; `None` on an open connection.
    pub(crate) async fn policy_on(
        &self,
        org: &OrgId,
        address: &SourceAddress,
    ) -> Result<Option<Arc<LoadedPolicy>>, Refused> {
        let Some(place) = self.place_of(org, address)? else { return Ok(None) };
        self.shared.policies.of(&self.shared.store, place, address.kind, &address.database).await
    }

    /// The connection as the one who asks sees it through the lens. `connection` may be a copy.
    pub(crate) async fn seat(
        &self,
        call: &Call,
        connection: &Connection,
        lens: Lens,
        current_schema: Option<&str>,
    ) -> Result<(Arc<Snapshot>, Arc<Seat>), Refused> {
        let source = if connection.proof == Proof::Proven {
            connection.source
        } else {
            // A copy may be older than the proof. What is shared is not for those whose credentials were not seen to work.
            let fresh = self.connection_of(call, connection.key.as_str()).await?;
            self.ask_for_proof(call, &fresh);
            if fresh.proof != Proof::Proven {
                return Err(not_ready());
            }
            fresh.source
        };
        let Lens { policy, rules, breadth } = lens;
        let snapshot = self.snapshot(call, source, policy, breadth).await?.ok_or_else(not_ready)?;
        let snapshot = snapshot.for_tenant_of(call.principal()).await?;
        self.leads_home(&snapshot.policy, &address_of(connection, &call.principal().org)?)?;
        // Clients show names in other letters than the database stores them. In a schema that is not there nothing is found.
        let schema = current_schema.and_then(|name| find_schema(snapshot.catalog(), name));
        let stored = schema.map(|schema| schema.name.as_str());
        let principal = self.with_attributes(&call.principal, connection, &snapshot).await?;
        let seat = snapshot.seat(&principal, stored, &rules, &self.shared.store);
        Ok((snapshot, seat))
    }

    /// Refuses a connection to a database that another tenant has, or nobody: whoever names it means to be there.
    fn leads_home(&self, policy: &LoadedPolicy, address: &SourceAddress) -> Result<(), Refused> {
        if policy.policy.tenancy.as_ref().is_none_or(|tenancy| tenancy.database().is_none()) {
            return Ok(());
        }
        let here = self.shared.engine.place(address)?;
        if here == policy.place.place
            || here == self.shared.engine.place(&policy.destination(address.clone()))?
        {
            return Ok(());
        }
        Err(Refused::new(
            Code::TenantScopeRequired,
            "this connection leads to a database that is not your tenant's: use the one that your administrator gave you",
        ))
    }

    /// Whether the caller sees what they saw through that seat: the same policy, the same view, the same values.
    pub(crate) async fn still_sees(
        &self,
        call: &Call,
        connection: &Connection,
        through: Option<&Through>,
    ) -> Result<bool, Refused> {
        let address = address_of(connection, &call.principal().org)?;
        match (self.lens(call.principal(), connection, &address).await?, through) {
            (None, None) => Ok(true),
            (Some(now), Some(then)) if now.policy.is(&then.policy) => {
                let (_, seat) = self.seat(call, connection, now, then.schema.as_deref()).await?;
                Ok(seat.shows_what(&then.seat))
            }
            (None | Some(_), _) => Ok(false),
        }
    }

    /// Whether the connection is guarded, as far as its address tells.
    pub(crate) async fn policy_of(
        &self,
        call: &Call,
        connection: &Connection,
    ) -> Result<Option<Arc<LoadedPolicy>>, Refused> {
        let org = &call.principal().org;
        self.policy_on(org, &address_of(connection, org)?).await
    }

    /// Whether a policy is on that address. What can't be found out to be open is taken for guarded.
    pub(crate) async fn is_guarded(&self, org: &OrgId, address: &SourceAddress) -> bool {
        !matches!(self.policy_on(org, address).await, Ok(None))
    }
}

pub(crate) fn not_ready() -> Refused {
    Refused::new(
        Code::CatalogNotReady,
        "this connection is guarded and not indexed yet: wait until its status is completed",
    )
}
