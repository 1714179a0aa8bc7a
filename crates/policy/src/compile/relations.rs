//! What lies between relations: joins, hierarchies and the restrictions of roles.

use std::collections::HashMap;

use serde_json::Value;

use super::{ByRelation, Compiler, gate};
use crate::document::{Document, JoinEntry, RestrictionEntry};
use crate::expression::{Expression, IsTest, Literal, RelationName};
use crate::placed::{Place, Placed};
use crate::policy::{Hierarchy, Join, Restriction};

/// Longest chain of inherited joins: each is a sub-query inside the one before.
const MAX_CHAIN: usize = 8;

impl Compiler<'_> {
    pub(super) fn joins(&mut self, entries: &[JoinEntry]) -> ByRelation<Vec<Join>> {
        let mut joins: ByRelation<Vec<Join>> = HashMap::new();
        for entry in entries {
            let from = self.relation_column(&entry.from);
            let to = self.relation_column(&entry.to);
            let (Some((relation, column)), Some((target, target_column))) = (from, to) else { continue };
            joins.entry(relation).or_default().push(Join {
                column,
                target,
                target_column,
                inherit: entry.inherit,
                gate: gate(entry.roles.as_ref(), &entry.except_roles),
                place: entry.from.place,
            });
        }
        self.refuse_circles(&joins);
        joins
    }

    /// INVARIANT: following inherited joins ends. Held by the test `joins_do_not_inherit_in_a_circle`.
    fn refuse_circles(&mut self, joins: &ByRelation<Vec<Join>>) {
        for (start, join) in all_endless(joins) {
            let message =
                format!("inherited joins go on from {start} in a circle, or more than {MAX_CHAIN} deep");
            self.problem(join.place, message);
        }
    }

    pub(super) fn restrictions(&mut self, document: &Document) -> ByRelation<Vec<Restriction>> {
        let hierarchies = self.hierarchies(document);
        let mut restrictions: ByRelation<Vec<Restriction>> = HashMap::new();
        for (role, entries) in &document.restrictions.0 {
            for entry in entries {
                let Some((relation, condition)) = self.restriction(entry) else { continue };
                let column = entry.column.value.clone();
                let hierarchy = hierarchies.get(&(relation.clone(), column.clone()));
                restrictions.entry(relation).or_default().push(Restriction {
                    role: role.value.clone(),
                    hierarchy: hierarchy.cloned().unwrap_or_else(|| Hierarchy::Column(column.clone())),
                    column,
                    condition,
                    place: entry.column.place,
                });
            }
        }
        restrictions
    }

    fn restriction(&mut self, entry: &RestrictionEntry) -> Option<(RelationName, Expression)> {
        let relation = self.relation(&entry.table)?;
        let condition = match (&entry.values, &entry.condition) {
            (Some(values), None) => self.one_of(&entry.column, values)?,
            (None, Some(condition)) => self.condition(condition, Some(&relation))?,
            (None, None) | (Some(_), Some(_)) => {
                self.problem(entry.column.place, "a restriction has either `in` or `condition`");
                return None;
            }
        };
        Some((relation, condition))
    }

    fn one_of(&mut self, column: &Placed<String>, values: &[Value]) -> Option<Expression> {
        let operand = || Box::new(Expression::Column { qualifier: None, name: column.value.clone() });
        let mut list = Vec::new();
        let mut condition = Expression::truth(false);
        for value in values {
            match literal(value) {
                Some(Literal::Null) => {
                    condition = Expression::Is { operand: operand(), test: IsTest::Null, negated: false };
                }
                Some(literal) => list.push(Expression::Literal(literal)),
                None => {
                    self.problem(column.place, "values of `in` are texts, numbers, true, false or null");
                    return None;
                }
            }
        }
        if !list.is_empty() {
            condition = Expression::InList { operand: operand(), list, negated: false }.or(condition);
        }
        Some(condition)
    }

    /// Which hierarchy a column is a level of.
    fn hierarchies(&mut self, document: &Document) -> HashMap<(RelationName, String), Hierarchy> {
        let mut found: HashMap<(RelationName, String), Hierarchy> = HashMap::new();
        for (name, columns) in &document.hierarchies.0 {
            let mut table: Option<RelationName> = None;
            for column in columns {
                let Some((relation, level)) = self.relation_column(column) else { continue };
                if table.get_or_insert_with(|| relation.clone()) != &relation {
                    // The union over two tables could not be said by a condition on either.
                    self.problem(column.place, "all columns of a hierarchy are of one table");
                }
                if found.insert((relation, level), Hierarchy::Named(name.value.clone())).is_some() {
                    self.twice(column.place);
                }
            }
        }
        found
    }

    fn twice(&mut self, place: Place) {
        self.problem(place, "a column is a level of one hierarchy only");
    }
}

/// An inherited join from which following them does not end, and the relation that it begins at.
pub(crate) fn endless(joins: &ByRelation<Vec<Join>>) -> Option<(&RelationName, &Join)> {
    all_endless(joins).next()
}

fn all_endless(joins: &ByRelation<Vec<Join>>) -> impl Iterator<Item = (&RelationName, &Join)> {
    let all = joins.iter().flat_map(|(start, first)| first.iter().map(move |join| (start, join)));
    all.filter(|(_, join)| {
        let mut reached: Vec<&RelationName> = if join.inherit { vec![&join.target] } else { Vec::new() };
        for _ in 0..MAX_CHAIN {
            let next = reached.iter().filter_map(|relation| joins.get(*relation)).flatten();
            reached = next.filter(|join| join.inherit).map(|join| &join.target).collect();
            reached.sort();
            reached.dedup();
        }
        !reached.is_empty()
    })
}

fn literal(value: &Value) -> Option<Literal> {
    match value {
        Value::Null => Some(Literal::Null),
        Value::Bool(truth) => Some(Literal::Bool(*truth)),
        Value::Number(number) => Some(Literal::Number(number.to_string())),
        Value::String(text) => Some(Literal::Text(text.clone())),
        Value::Array(_) | Value::Object(_) => None,
    }
}
