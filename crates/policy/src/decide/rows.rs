//! `visible(row) = base AND narrow AND roles AND inherited AND rule`

use std::collections::BTreeMap;

use super::Decision;
use crate::entitlement::Denial;
use crate::evaluate::{Datum, Values, World, evaluate, values_of};
use crate::expression::{
    BinaryOperator, Expression, FEW, ListShape, PrincipalPath, PrincipalValue, RelationName,
};
use crate::policy::{Hierarchy, Model, RowEffect};
use crate::reason::{Effect, Subject};
use crate::resolve::{required, resolve_filter};
use crate::rule::{Ruling, ruling};

/// Which rows a principal sees of a relation.
pub(super) struct Rows {
    /// For which it is TRUE.
    pub(super) condition: Expression,
    /// The row policy that lifted the scope.
    pub(super) bypass: Option<String>,
}

impl Decision<'_> {
    pub(super) fn rows(&mut self, name: &RelationName, model: Option<&Model>) -> Result<Rows, Denial> {
        let bypass = model.and_then(|model| self.bypass(model));
        let mut condition = Expression::truth(true);
        if let Some(model) = model.filter(|_| bypass.is_none()) {
            condition = self.base(model)?.and(self.narrow(model)?);
        }
        let condition =
            condition.and(self.restricted(name)?).and(self.inherited(name)?).and(self.ruled(name)?);
        Ok(Rows { condition, bypass })
    }

    /// The row policy that lifts scope and narrow policies for the principal. What can't be decided does not hold.
    fn bypass(&mut self, model: &Model) -> Option<String> {
        let relations = BTreeMap::new();
        let world = World { principal: self.question.principal, relations: &relations };
        let policy = model.row_policies.iter().find(|policy| {
            policy.effect == RowEffect::Bypass
                && policy.gate.admits(&self.roles)
                && evaluate(&policy.condition, world, None) == Ok(Datum::Bool(true))
        })?;
        let name = policy.name.clone();
        self.because(Subject::Rows, Effect::Lifts, Some(policy.place), || format!("the row policy {name}"));
        Some(name)
    }

    /// All scoping entries hold, or some policy that extends holds.
    fn base(&mut self, model: &Model) -> Result<Expression, Denial> {
        let mut base = Expression::truth(true);
        for (column, path) in &model.scoping {
            base = base.and(self.scope(column, path)?);
            self.because(Subject::Rows, Effect::Narrows, Some(model.place), || {
                format!("the scope {column} = {path}")
            });
        }
        for policy in &model.row_policies {
            if policy.effect == RowEffect::Extend && policy.gate.admits(&self.roles) {
                base = base.or(resolve_filter(&policy.condition, self.question.principal)?);
                self.because(Subject::Rows, Effect::Extends, Some(policy.place), || {
                    format!("the row policy {}", policy.name)
                });
            }
        }
        Ok(base)
    }

    /// INVARIANT: a missing value is an error, never "no filter"; an empty list is no rows. Held by the tests of
    /// `tests/policy/law.rs`.
    fn scope(&self, column: &str, path: &PrincipalPath) -> Result<Expression, Denial> {
        let operand = Box::new(Expression::Column { qualifier: None, name: column.to_owned() });
        match values_of(self.question.principal, path) {
            Values::Missing | Values::Structure => Err(required(path)),
            Values::One(_) => {
                let value = Expression::Principal(PrincipalValue { path: path.clone(), item: None });
                Ok(Expression::Binary {
                    left: operand,
                    operator: BinaryOperator::Equal,
                    right: Box::new(value),
                })
            }
            Values::List(list) if list.is_empty() => Ok(Expression::truth(false)),
            Values::List(list) => {
                let values = if list.len() <= FEW { ListShape::Few(list.len()) } else { ListShape::Many };
                Ok(Expression::InPrincipal { operand, path: path.clone(), values, negated: false })
            }
        }
    }

    /// Every other row policy's condition holds.
    fn narrow(&mut self, model: &Model) -> Result<Expression, Denial> {
        let mut narrow = Expression::truth(true);
        for policy in &model.row_policies {
            if policy.effect == RowEffect::Narrow && policy.gate.admits(&self.roles) {
                narrow = narrow.and(resolve_filter(&policy.condition, self.question.principal)?);
                self.because(Subject::Rows, Effect::Narrows, Some(policy.place), || {
                    format!("the row policy {}", policy.name)
                });
            }
        }
        Ok(narrow)
    }

    /// For each hierarchy that one of the principal's roles restricts: what any of them allows. Of several hierarchies: all.
    fn restricted(&mut self, name: &RelationName) -> Result<Expression, Denial> {
        let Some(restrictions) = self.question.policy.restrictions.get(name) else {
            return Ok(Expression::truth(true));
        };
        let mut hierarchies: BTreeMap<&Hierarchy, Expression> = BTreeMap::new();
        for restriction in restrictions {
            if !self.roles.contains(&restriction.role.as_str()) {
                continue;
            }
            let condition = resolve_filter(&restriction.condition, self.question.principal)?;
            let allowed = hierarchies.entry(&restriction.hierarchy).or_insert(Expression::truth(false));
            *allowed = std::mem::replace(allowed, Expression::truth(false)).or(condition);
            self.because(Subject::Rows, Effect::Narrows, Some(restriction.place), || {
                format!("the restriction of {} on {}", restriction.role, restriction.column)
            });
        }
        Ok(hierarchies.into_values().fold(Expression::truth(true), Expression::and))
    }

    /// The filter rule of the tightest scope.
    fn ruled(&mut self, name: &RelationName) -> Result<Expression, Denial> {
        match ruling(self.question.rules, name, self.question.principal) {
            Ruling::Blocked(_) => Ok(Expression::truth(false)),
            Ruling::Filters(filters) => {
                let mut all = Expression::truth(true);
                for (rule, condition) in filters {
                    all = all.and(resolve_filter(condition, self.question.principal)?);
                    self.because(Subject::Rows, Effect::Narrows, None, || {
                        format!("the access rule {}", rule.id)
                    });
                }
                Ok(all)
            }
        }
    }
}
