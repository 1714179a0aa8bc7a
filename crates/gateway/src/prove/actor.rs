//! Somebody as whom statements are run, and what they are meant to see.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringfence_policy::expression::PrincipalPath;
use ringfence_policy::intent::{Reach, relation_name};
use ringfence_policy::{Intent, Principal, RelationName};
use serde_json::Value;

use super::world::Table;
use crate::guarded::Seat;

/// A principal before the policy that is proven.
pub(super) struct Actor {
    pub(super) seat: Arc<Seat>,
    /// What the principal's own tenant is called in the rows.
    own: BTreeSet<String>,
    crossings: Vec<HeldCrossing>,
    /// Numbers of the intent's restrictions that hold for the principal.
    restricted: Vec<usize>,
    roles: Vec<String>,
}

/// A crossing of the intent that the principal has.
struct HeldCrossing {
    name: String,
    relations: Option<Vec<RelationName>>,
    /// `None` for all.
    tenants: Option<BTreeSet<String>>,
    writes: bool,
}

/// What a row is to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Of their tenant.
    Own,
    /// Meant for everybody, or nobody's.
    Shared,
    /// Another tenant's, which the intent lets them see.
    Crossing(String),
    /// Another tenant's, or outside what their role is held to.
    Foreign,
}

impl Actor {
    pub(super) fn new(seat: Arc<Seat>, value: &PrincipalPath, intent: &Intent, schema: &str) -> Self {
        let principal = &seat.principal;
        let roles = roles_of(principal);
        let holds = |wanted: &[String]| wanted.iter().any(|role| roles.contains(role));
        let held = intent.crossings.iter().filter(|crossing| crossing.roles.as_deref().is_none_or(holds));
        let crossings = held.filter_map(|crossing| {
            let named = |names: &Vec<ringfence_policy::placed::Placed<String>>| {
                names.iter().filter_map(|name| relation_name(schema, &name.value)).collect()
            };
            Some(HeldCrossing {
                name: crossing.name.clone(),
                relations: crossing.relations.as_ref().map(named),
                tenants: match crossing.reach()? {
                    Reach::All => None,
                    Reach::Those(path) => Some(texts(principal, &path)),
                },
                writes: crossing.writes,
            })
        });
        let crossings = crossings.collect();
        let restricted = intent.restricted.iter().enumerate();
        let restricted = restricted.filter(|(_, it)| holds(&it.roles)).map(|(number, _)| number).collect();
        Self { own: texts(principal, value), crossings, restricted, roles, seat }
    }

    /// Whether one of the roles is held.
    pub(super) fn holds(&self, roles: &[String]) -> bool {
        roles.iter().any(|role| self.roles.contains(role))
    }

    /// The names of all roles that are held.
    pub(super) fn roles(&self) -> &[String] {
        &self.roles
    }

    /// What the row is to them who read it.
    pub(super) fn standing(&self, table: &Table, row: usize) -> Standing {
        let held_to = |number: &usize| {
            let found = table.held.iter().find(|(known, _)| known == number);
            found.is_none_or(|(_, holds)| holds.get(row).copied().unwrap_or(false))
        };
        if !self.restricted.iter().all(held_to) {
            return Standing::Foreign;
        }
        let owners = table.owners.get(row);
        if table.shared.get(row).copied().unwrap_or(false) || owners.is_none_or(BTreeSet::is_empty) {
            return Standing::Shared;
        }
        self.standing_of(&table.name, &owners.into_iter().flatten(), false)
    }

    /// Whether they are meant to change the row.
    pub(super) fn may_change(&self, table: &Table, row: usize) -> bool {
        let owners = table.owners.get(row);
        owners.is_none_or(|owners| owners.is_empty() || self.may_change_of(&table.name, owners))
    }

    /// Whether they are meant to change rows of these tenants.
    pub(super) fn may_change_of(&self, relation: &RelationName, owners: &BTreeSet<String>) -> bool {
        self.standing_of(relation, &owners.iter(), true) != Standing::Foreign
    }

    fn standing_of<'o>(
        &self,
        relation: &RelationName,
        owners: &(impl Iterator<Item = &'o String> + Clone),
        writes: bool,
    ) -> Standing {
        if owners.clone().any(|owner| self.own.contains(owner)) {
            return Standing::Own;
        }
        let reaches = |crossing: &&HeldCrossing| {
            (crossing.writes || !writes)
                && crossing.relations.as_ref().is_none_or(|relations| relations.contains(relation))
                && crossing
                    .tenants
                    .as_ref()
                    .is_none_or(|tenants| owners.clone().any(|owner| tenants.contains(owner)))
        };
        match self.crossings.iter().find(reaches) {
            Some(crossing) => Standing::Crossing(crossing.name.clone()),
            None => Standing::Foreign,
        }
    }

    /// What the own tenant is called in the rows, when it is one value.
    pub(super) fn own(&self) -> &BTreeSet<String> {
        &self.own
    }
}

/// Names of product roles and data roles.
pub(super) fn roles_of(principal: &Principal) -> Vec<String> {
    let product = principal.roles.iter().map(|role| role.name().to_owned());
    product.chain(principal.data_roles.iter().cloned()).collect()
}

fn texts(principal: &Principal, path: &PrincipalPath) -> BTreeSet<String> {
    let text = |value: &Value| match value {
        Value::Null | Value::Object(_) | Value::Array(_) => None,
        Value::String(text) => Some(text.clone()),
        other @ (Value::Bool(_) | Value::Number(_)) => Some(other.to_string()),
    };
    match principal.value(path).as_deref() {
        Some(Value::Array(values)) => values.iter().filter_map(text).collect(),
        Some(value) => text(value).into_iter().collect(),
        None => BTreeSet::new(),
    }
}
