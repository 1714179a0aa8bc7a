//! Through what a caller sees a connection: a policy, access rules, content filters; or nothing, on an open one.

use std::sync::Arc;

use ringfence_engine::SourceAddress;
use ringfence_policy::{ConnectionKind, OrgId, Policy, Principal};
use ringfence_store::access_rules::RulePlace;
use ringfence_store::connections::Connection;
use ringfence_store::policies::PolicyPlace;

use crate::access_rules::RuleSet;
use crate::connections::address_of;
use crate::policies::LoadedPolicy;
use crate::{Call, Code, Gateway, Refused};

/// What stands between a caller and a connection.
pub(crate) struct Lens {
    /// Where nobody put a policy, one that allows everything.
    pub(crate) policy: Arc<LoadedPolicy>,
    pub(crate) rules: Arc<RuleSet>,
    pub(crate) breadth: Breadth,
}

/// How much of the catalog there is, before policy and rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Breadth {
    /// A policy is on the connection: it narrows what the content filters show.
    Policy,
    /// What the content filters show.
    Filters,
    /// Everything: the connection may go beyond its content filters.
    Everything,
}

impl Lens {
    /// The policy alone, without rules.
    pub(crate) fn of_policy(policy: Arc<LoadedPolicy>) -> Self {
        Self { policy, rules: Arc::default(), breadth: Breadth::Policy }
    }

    /// Whether nobody put a policy on the connection.
    pub(crate) fn is_confined(&self) -> bool {
        self.breadth != Breadth::Policy
    }
}

impl Gateway {
    /// What the principal sees the connection through; `None` when it is open to them. `connection` may be a copy.
    //
    // INVARIANT: policy and rules are asked for each time, by the place that the connection leads to. Held by the tests
    // `a_change_takes_effect_at_once` and `a_rule_takes_effect_at_once`.
    //
    // INVARIANT: users of an application look through a policy or not at all: nothing else knows them from one another. Held
    // by the test `an_open_connection_is_closed_to_the_users_of_an_application`.
    pub(crate) async fn lens(
        &self,
        principal: &Principal,
        connection: &Connection,
        address: &SourceAddress,
    ) -> Result<Option<Lens>, Refused> {
        let lens = self.lens_of_anybody(principal, connection, address).await?;
        if principal.application.is_some() && lens.as_ref().is_none_or(Lens::is_confined) {
            return Err(Refused::new(
                Code::NotPermitted,
                "the connection has no policy that would keep an application's users apart: ask an administrator to put one",
            ));
        }
        Ok(lens)
    }

    async fn lens_of_anybody(
        &self,
        principal: &Principal,
        connection: &Connection,
        address: &SourceAddress,
    ) -> Result<Option<Lens>, Refused> {
        let shared = &self.shared;
        let Some(place) = self.place_of(&principal.org, address)? else { return Ok(None) };
        let rules = self.rules_on(&principal.org, &place, address.kind).await?;
        let policy =
            shared.policies.of(&shared.store, place.clone(), address.kind, &address.database).await?;
        if let Some(policy) = policy {
            // A tenant's own database is under the rules of the place that gives it.
            let rules = if policy.place == place {
                rules
            } else {
                self.rules_on(&principal.org, &policy.place, address.kind).await?
            };
            return Ok(Some(Lens { policy, rules, breadth: Breadth::Policy }));
        }
        let breadth = if connection.spec.db_access_policy.allow_access_beyond_db_content_filter {
            Breadth::Everything
        } else {
            Breadth::Filters
        };
        if breadth == Breadth::Everything && !rules.bind(principal) {
            return Ok(None);
        }
        let everything = Policy::open(address.kind, first_schemas(address));
        let policy = Arc::new(LoadedPolicy::draft(place, everything));
        Ok(Some(Lens { policy, rules, breadth }))
    }

    /// The rules that bind somebody of the organization there.
    pub(crate) async fn rules_on(
        &self,
        org: &OrgId,
        place: &PolicyPlace,
        kind: ConnectionKind,
    ) -> Result<Arc<RuleSet>, Refused> {
        let shared = &self.shared;
        shared.rules.of(&shared.store, org, RulePlace::new(&place.place), kind).await
    }

    /// The same for the one who calls.
    pub(crate) async fn lens_on(
        &self,
        call: &Call,
        connection: &Connection,
    ) -> Result<Option<Lens>, Refused> {
        let address = address_of(connection, &call.principal().org)?;
        self.lens(call.principal(), connection, &address).await
    }
}

/// Where names without a schema are looked up.
fn first_schemas(address: &SourceAddress) -> Vec<String> {
    match address.kind {
        ConnectionKind::Mysql => vec![address.database.clone()],
        ConnectionKind::Postgresql | ConnectionKind::Sqlite | ConnectionKind::Lake | ConnectionKind::Push => {
            Vec::new()
        }
    }
}
