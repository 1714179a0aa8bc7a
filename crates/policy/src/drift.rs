//! Drift: a database that moved away from under its policy.
//!
//! A column that `fields` masks and that was renamed since is a new column, which nothing masks. So access to a relation is
//! suspended as soon as the catalog lacks something that its protection rests on, or has it with another type; all other
//! relations go on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalog::Catalog;
use crate::check::walk;
use crate::expression::RelationName;
use crate::lint::Warning;
use crate::policy::Policy;

/// The columns that a policy names, with the types that they had at some moment: schema, relation, column, type.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Footprint(BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>);

impl Footprint {
    /// The type that the column had.
    pub fn type_of(&self, relation: &RelationName, column: &str) -> Option<&str> {
        self.0.get(&relation.schema)?.get(&relation.name)?.get(column).map(String::as_str)
    }

    /// The same of a schema that is made like another one: what was there when the policy was put is meant of both.
    #[must_use]
    pub fn moved(mut self, from: &str, to: &str) -> Self {
        if let Some(relations) = self.0.remove(from) {
            self.0.insert(to.to_owned(), relations);
        }
        self
    }

    pub(crate) fn put(&mut self, relation: &RelationName, column: &str, data_type: &str) {
        let of_schema = self.0.entry(relation.schema.clone()).or_default();
        of_schema.entry(relation.name.clone()).or_default().insert(column.to_owned(), data_type.to_owned());
    }
}

/// Relations whose protection can't be held any more, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drift {
    suspended: BTreeMap<RelationName, Vec<Warning>>,
    /// Suspended relations that the catalog does not have at all.
    gone: Vec<RelationName>,
}

impl Drift {
    /// Whether access to the relation is suspended.
    pub fn suspends(&self, relation: &RelationName) -> bool {
        self.suspended.contains_key(relation)
    }

    /// Whether nothing is suspended.
    pub fn is_empty(&self) -> bool {
        self.suspended.is_empty()
    }

    /// What is suspended, and why.
    pub fn suspended(&self) -> impl Iterator<Item = (&RelationName, &[Warning])> {
        self.suspended.iter().map(|(relation, warnings)| (relation, warnings.as_slice()))
    }

    /// Why anything is suspended, in the order of the document.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut all: Vec<Warning> = self.suspended.values().flatten().cloned().collect();
        all.sort_by_key(|warning| (warning.problem.line, warning.problem.column));
        all.dedup();
        all
    }

    /// Suspended relations that are not there at all, which therefore look suspended to those who could see them.
    pub(crate) fn gone(&self) -> &[RelationName] {
        &self.gone
    }

    /// For a caller whose catalog is narrowed: whether what is gone would pass the filters can't be told any more, so it
    /// is missing for everybody.
    pub fn hide_gone(&mut self) {
        self.gone.clear();
    }
}

impl Policy {
    /// What the policy rests on in the catalog, unfiltered: to be kept with it, and held against later catalogs.
    pub fn footprint(&self, catalog: &Catalog) -> Footprint {
        walk(self, catalog, &Footprint::default()).found
    }

    /// What of the policy can't be held on the catalog, unfiltered. Types are compared as far as `before` has them.
    pub fn drift_from(&self, catalog: &Catalog, before: &Footprint) -> Drift {
        let mut drift = Drift::default();
        for fault in walk(self, catalog, before).faults.into_iter().filter(|fault| fault.suspends) {
            if let Some(relation) = fault.warning.relation.clone() {
                drift.suspended.entry(relation).or_default().push(fault.warning);
            }
        }
        let is_gone = |relation: &&RelationName| catalog.relation(&relation.schema, &relation.name).is_none();
        drift.gone = drift.suspended.keys().filter(is_gone).cloned().collect();
        drift
    }
}
