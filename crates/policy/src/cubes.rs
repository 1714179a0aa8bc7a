//! What cubes say about a policy: which columns are levels of one hierarchy, and which rows belong to which.
//!
//! A cube is defined beside the policy of its place, and raw SQL there must show what the cube shows. So the hierarchies of
//! cubes decide how restrictions merge, and the joins of cubes hand restrictions on, exactly as `hierarchies` and `joins` of
//! the policy's own document do.

use std::collections::{BTreeMap, BTreeSet};

use crate::compile::{names, relations};
use crate::expression::RelationName;
use crate::placed::Place;
use crate::policy::{Gate, Hierarchy, Join, Policy, Restriction};

/// A hierarchy of a cube.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CubeHierarchy {
    /// For explanations.
    pub name: String,
    /// The columns that its levels are.
    pub levels: Vec<(RelationName, String)>,
}

/// A join of a cube: a row that is joined to a hidden row is hidden, too.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct CubeJoin {
    pub from: RelationName,
    pub column: String,
    pub target: RelationName,
    pub target_column: String,
}

/// Joins of the policy and of cubes that inherit in a circle together, or too deep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("inherited joins of the policy and of cubes go on from {from} in a circle, or too deep")]
pub struct CircularJoins {
    /// Where it was seen.
    pub from: RelationName,
}

/// A relation as a document names it: `table` or `schema.table`, a part with a dot in double quotes.
pub fn relation_name(written: &str, schema: &str) -> Option<RelationName> {
    match names::split(written)?.as_slice() {
        [name] => Some(RelationName::new(schema, name)),
        [schema, name] => Some(RelationName::new(schema, name)),
        _ => None,
    }
}

/// In which hierarchies a column is: that of the policy's document, and those of cubes by their place in the list.
type Standing<'a> = (Option<String>, &'a BTreeSet<usize>);

impl Policy {
    /// The policy with joins of cubes beside its own. Whoever inherits, inherits through both.
    pub fn with_cube_joins<'j>(
        mut self,
        joins: impl IntoIterator<Item = &'j CubeJoin>,
    ) -> Result<Self, CircularJoins> {
        for CubeJoin { from, column, target, target_column } in joins {
            let of_relation = self.joins.entry(from.clone()).or_default();
            let is_same = |join: &Join| {
                join.column == *column
                    && join.target == *target
                    && join.target_column == *target_column
                    && join.inherit
                    && join.gate.is_for_everybody()
            };
            if of_relation.iter().any(is_same) {
                continue;
            }
            of_relation.push(Join {
                column: column.clone(),
                target: target.clone(),
                target_column: target_column.clone(),
                inherit: true,
                gate: Gate::default(),
                place: Place::default(),
            });
        }
        match relations::endless(&self.joins) {
            Some(join) => Err(CircularJoins { from: join.0.clone() }),
            None => Ok(self),
        }
    }

    /// The policy with hierarchies of cubes beside its own.
    //
    // INVARIANT: restrictions on two columns are alternatives only where every hierarchy that has one of them has the other,
    // whoever defined it. A column that two hierarchies claim differently is by itself, which shows less. Held by the test
    // `a_column_of_two_hierarchies_is_by_itself`.
    #[must_use]
    pub fn with_cube_hierarchies(mut self, hierarchies: &[CubeHierarchy]) -> Self {
        for (relation, restrictions) in &mut self.restrictions {
            let standing = |restriction: &Restriction| {
                let is_level = |hierarchy: &CubeHierarchy| {
                    hierarchy
                        .levels
                        .iter()
                        .any(|(of, column)| of == relation && *column == restriction.column)
                };
                let holding = hierarchies.iter().enumerate().filter(|(_, hierarchy)| is_level(hierarchy));
                holding.map(|(index, _)| index).collect::<BTreeSet<usize>>()
            };
            let all: Vec<BTreeSet<usize>> = restrictions.iter().map(standing).collect();
            let labels = labels(restrictions, &all, hierarchies);
            for (restriction, label) in restrictions.iter_mut().zip(labels) {
                restriction.hierarchy = label;
            }
        }
        self
    }
}

/// What restrictions of one relation are merged by, in their order.
fn labels(
    restrictions: &[Restriction],
    standings: &[BTreeSet<usize>],
    hierarchies: &[CubeHierarchy],
) -> Vec<Hierarchy> {
    // A column that nobody groups stays what the policy's document makes of it.
    let of_document = |restriction: &Restriction| match &restriction.hierarchy {
        Hierarchy::Named(name) => Some(name.clone()),
        Hierarchy::Column(_) => None,
    };
    let keys: BTreeSet<Standing<'_>> = restrictions
        .iter()
        .zip(standings)
        .map(|(restriction, standing)| (of_document(restriction), standing))
        .collect();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut names: BTreeMap<Standing<'_>, Hierarchy> = BTreeMap::new();
    for key in keys {
        let (own, standing) = &key;
        let first = standing.first().and_then(|index| hierarchies.get(*index)).map(|it| it.name.clone());
        let Some(name) = own.clone().or(first) else { continue };
        // Two that only share their name are two.
        let numbered = (2_u32..).map(|number| format!("{name} ({number})"));
        let mut candidates = std::iter::once(name.clone()).chain(numbered);
        if let Some(label) = candidates.find(|candidate| !taken.contains(candidate)) {
            taken.insert(label.clone());
            names.insert(key, Hierarchy::Named(label));
        }
    }
    let label = |(restriction, standing): (&Restriction, &BTreeSet<usize>)| {
        let known = names.get(&(of_document(restriction), standing)).cloned();
        known.unwrap_or_else(|| Hierarchy::Column(restriction.column.clone()))
    };
    restrictions.iter().zip(standings).map(label).collect()
}
