//! `visible(row)` of a relation as one condition over the session's settings and the raw row.

use std::collections::{BTreeMap, BTreeSet};

use super::array_of;
use super::print::{Scope, identifier, json_of};
use crate::catalog::Catalog;
use crate::document::DefaultAccess;
use crate::expression::{BinaryOperator, Expression, PrincipalPath, RelationName};
use crate::policy::{Gate, Hierarchy, Model, Policy, Restriction, RowEffect};

const TRUE: &str = "true";
const FALSE: &str = "false";

/// Writes conditions, and remembers whether they read other relations.
pub(super) struct Rows<'a> {
    policy: &'a Policy,
    catalog: &'a Catalog,
    /// Whether a condition holds a sub-query over relations, which the role may not read itself.
    pub(super) has_queries: bool,
    aliases: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn of(policy: &'a Policy, catalog: &'a Catalog) -> Self {
        Self { policy, catalog, has_queries: false, aliases: 0 }
    }

    /// Which rows the principal of the session sees; `row` is what a row of the relation is called.
    pub(super) fn predicate(&mut self, name: &RelationName, row: &str) -> String {
        let model = self.policy.models.get(name);
        let visible = match model {
            Some(model) if model.allowed => gate(&model.gate),
            None if self.policy.default == DefaultAccess::Allow => TRUE.to_owned(),
            Some(_) | None => FALSE.to_owned(),
        };
        let mut own = TRUE.to_owned();
        if let Some(model) = model {
            let base = self.base(name, model, row);
            let narrow = self.narrow(name, model, row);
            own = or(&self.bypass(name, model, row), &and(&base, &narrow));
        }
        let restricted = self.restricted(name, row);
        let inherited = self.inherited(name, row);
        and(&and(&visible, &own), &and(&restricted, &inherited))
    }

    fn print(&mut self, name: &RelationName, row: &str, expression: &Expression) -> String {
        expression.for_each_part(&mut |part| {
            self.has_queries |= matches!(part, Expression::InQuery { .. } | Expression::Exists { .. });
        });
        Scope { catalog: self.catalog, relation: name, row, aliases: Vec::new() }.print(expression)
    }

    fn bypass(&mut self, name: &RelationName, model: &Model, row: &str) -> String {
        let mut any = FALSE.to_owned();
        for policy in model.row_policies.iter().filter(|policy| policy.effect == RowEffect::Bypass) {
            let condition = format!("({} IS TRUE)", self.print(name, row, &policy.condition));
            any = or(&any, &and(&gate(&policy.gate), &condition));
        }
        any
    }

    fn base(&mut self, name: &RelationName, model: &Model, row: &str) -> String {
        let mut base = TRUE.to_owned();
        for (column, path) in &model.scoping {
            let operand = Box::new(Expression::Column { qualifier: None, name: column.clone() });
            let values = crate::expression::ListShape::Many;
            let scope = Expression::InPrincipal { operand, path: path.clone(), values, negated: false };
            base = and(&base, &self.print(name, row, &scope));
        }
        for policy in model.row_policies.iter().filter(|policy| policy.effect == RowEffect::Extend) {
            // A missing value is an error to the guard, whatever extends the scope.
            let has_scope =
                model.scoping.iter().fold(TRUE.to_owned(), |all, (_, path)| and(&all, &is_set(path)));
            let condition = self.print(name, row, &policy.condition);
            base = or(&base, &and(&and(&has_scope, &gate(&policy.gate)), &condition));
        }
        base
    }

    fn narrow(&mut self, name: &RelationName, model: &Model, row: &str) -> String {
        let mut narrow = TRUE.to_owned();
        for policy in model.row_policies.iter().filter(|policy| policy.effect == RowEffect::Narrow) {
            let condition = self.print(name, row, &policy.condition);
            narrow = and(&narrow, &or(&negated(&gate(&policy.gate)), &condition));
        }
        narrow
    }

    /// The restrictions on the relation, by what they are merged by.
    fn hierarchies(&self, name: &RelationName) -> BTreeMap<&'a Hierarchy, Vec<&'a Restriction>> {
        let mut hierarchies: BTreeMap<&Hierarchy, Vec<&Restriction>> = BTreeMap::new();
        for restriction in self.policy.restrictions.get(name).into_iter().flatten() {
            hierarchies.entry(&restriction.hierarchy).or_default().push(restriction);
        }
        hierarchies
    }

    fn restricted(&mut self, name: &RelationName, row: &str) -> String {
        let mut all = TRUE.to_owned();
        for restrictions in self.hierarchies(name).into_values() {
            let roles: BTreeSet<&str> = restrictions.iter().map(|it| it.role.as_str()).collect();
            let mut allowed = negated(&holds(&roles));
            for restriction in restrictions {
                let role: BTreeSet<&str> = BTreeSet::from([restriction.role.as_str()]);
                let condition = self.print(name, row, &restriction.condition);
                allowed = or(&allowed, &and(&holds(&role), &condition));
            }
            all = and(&all, &allowed);
        }
        all
    }

    /// For every inherited join: all rows of the other side are seen, or there is one on it that is.
    fn inherited(&mut self, name: &RelationName, row: &str) -> String {
        let mut all = TRUE.to_owned();
        for join in self.policy.joins.get(name).into_iter().flatten().filter(|join| join.inherit) {
            let whole = self.sees_all(&join.target);
            self.aliases = self.aliases.saturating_add(1);
            let alias = identifier(&format!("ringfence_{}", self.aliases));
            let rows = self.predicate(&join.target, &alias);
            let (schema, table) = (identifier(&join.target.schema), identifier(&join.target.name));
            let (key, column) = (identifier(&join.target_column), identifier(&join.column));
            let exists = format!(
                "EXISTS (SELECT FROM {schema}.{table} AS {alias} WHERE {alias}.{key} = {row}.{column} AND {rows})"
            );
            self.has_queries = true;
            all = and(&all, &or(&negated(&gate(&join.gate)), &or(&whole, &exists)));
        }
        all
    }

    /// Whether nothing narrows the relation for the principal of the session, which then narrows nothing that inherits
    /// from it, not even rows that belong to none of its rows.
    fn sees_all(&mut self, name: &RelationName) -> String {
        let mut all = match self.policy.models.get(name) {
            None if self.policy.default == DefaultAccess::Allow => TRUE.to_owned(),
            None => return FALSE.to_owned(),
            Some(model) if !model.allowed => return FALSE.to_owned(),
            Some(model) => {
                let mut own = if model.scoping.is_empty() { TRUE } else { FALSE }.to_owned();
                for policy in &model.row_policies {
                    let decided = self.decided(name, &policy.condition);
                    match policy.effect {
                        RowEffect::Extend => own = or(&own, &and(&gate(&policy.gate), &decided)),
                        RowEffect::Narrow | RowEffect::Bypass => {}
                    }
                }
                for policy in model.row_policies.iter().filter(|policy| policy.effect == RowEffect::Narrow) {
                    let decided = self.decided(name, &policy.condition);
                    own = and(&own, &or(&negated(&gate(&policy.gate)), &decided));
                }
                let bypass = self.bypass(name, model, "NULL");
                and(&gate(&model.gate), &or(&bypass, &own))
            }
        };
        for restrictions in self.hierarchies(name).into_values() {
            let roles: BTreeSet<&str> = restrictions.iter().map(|it| it.role.as_str()).collect();
            all = and(&all, &negated(&holds(&roles)));
        }
        for join in self.policy.joins.get(name).into_iter().flatten().filter(|join| join.inherit) {
            let whole = self.sees_all(&join.target);
            all = and(&all, &or(&negated(&gate(&join.gate)), &whole));
        }
        all
    }

    /// Whether a condition is true of every row, as far as the principal alone decides it.
    fn decided(&mut self, name: &RelationName, condition: &Expression) -> String {
        match condition {
            Expression::Binary { left, operator: BinaryOperator::Or, right } => {
                or(&self.decided(name, left), &self.decided(name, right))
            }
            Expression::Binary { left, operator: BinaryOperator::And, right } => {
                and(&self.decided(name, left), &self.decided(name, right))
            }
            other => {
                let mut reads_rows = false;
                other.for_each_part(&mut |part| {
                    reads_rows |= matches!(
                        part,
                        Expression::Column { .. } | Expression::InQuery { .. } | Expression::Exists { .. }
                    );
                });
                if reads_rows {
                    FALSE.to_owned()
                } else {
                    format!("({} IS TRUE)", self.print(name, "NULL", other))
                }
            }
        }
    }
}

/// Whether the session's roles are among those that it is for.
fn gate(gate: &Gate) -> String {
    let named = gate.roles.as_ref().map_or_else(|| TRUE.to_owned(), |roles| holds(&set(roles)));
    let except = if gate.except.is_empty() { TRUE.to_owned() } else { negated(&holds(&set(&gate.except))) };
    and(&named, &except)
}

fn set(roles: &[String]) -> BTreeSet<&str> {
    roles.iter().map(String::as_str).collect()
}

/// Whether the session has one of the roles; never NULL.
fn holds(roles: &BTreeSet<&str>) -> String {
    if roles.is_empty() {
        return FALSE.to_owned();
    }
    format!("COALESCE({} ?| {}, false)", json_of(&PrincipalPath::Roles), array_of(roles))
}

/// Whether the principal has the value at all; never NULL.
fn is_set(path: &PrincipalPath) -> String {
    format!("COALESCE(jsonb_typeof({}) NOT IN ('null', 'object'), false)", json_of(path))
}

fn negated(condition: &str) -> String {
    match condition {
        TRUE => FALSE.to_owned(),
        FALSE => TRUE.to_owned(),
        other => format!("(NOT {other})"),
    }
}

fn and(one: &str, other: &str) -> String {
    match (one, other) {
        (FALSE, _) | (_, FALSE) => FALSE.to_owned(),
        (TRUE, rest) | (rest, TRUE) => rest.to_owned(),
        (one, other) => format!("({one} AND {other})"),
    }
}

fn or(one: &str, other: &str) -> String {
    match (one, other) {
        (TRUE, _) | (_, TRUE) => TRUE.to_owned(),
        (FALSE, rest) | (rest, FALSE) => rest.to_owned(),
        (one, other) => format!("({one} OR {other})"),
    }
}
