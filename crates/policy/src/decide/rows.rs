//! `visible(row) = base AND narrow AND roles AND inherited AND rule`

use std::collections::BTreeMap;

use super::Decision;
use crate::entitlement::Denial;
use crate::evaluate::{Datum, Values, World, evaluate, values_of};
use crate::expression::{
    BinaryOperator, Expression, FEW, ListShape, Literal, PrincipalPath, PrincipalValue, RelationName,
};
use crate::policy::{Hierarchy, Model, RowEffect, RowPolicy, SOFT_DELETE};
use crate::reason::{Clause, Effect, Part, Subject};
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
    /// [`Self::rows`] without what hides rows that were removed softly, and told to nobody.
    pub(super) fn rows_with_removed(
        &mut self,
        name: &RelationName,
        model: &Model,
    ) -> Result<Expression, Denial> {
        let mut lasting = model.clone();
        lasting.row_policies.retain(|policy| policy.name != SOFT_DELETE);
        let reasons = self.reasons.take();
        let rows = self.rows(name, Some(&lasting));
        self.reasons = reasons;
        rows.map(|rows| rows.condition)
    }

    pub(super) fn rows(&mut self, name: &RelationName, model: Option<&Model>) -> Result<Rows, Denial> {
        let bypass = model.and_then(|model| self.bypass(model));
        let mut condition = Expression::truth(true);
        if let Some(model) = model {
            if bypass.is_none() {
                condition = self.base(model)?.and(self.narrow(model)?);
            } else if self.reasons.is_some() {
                self.tell_lifted(model);
            }
        }
        let condition =
            condition.and(self.restricted(name)?).and(self.inherited(name)?).and(self.ruled(name)?);
        Ok(Rows { condition, bypass })
    }

    /// The row policy that lifts scope and narrow policies for the principal. What can't be decided does not hold.
    fn bypass(&mut self, model: &Model) -> Option<String> {
        let relations = BTreeMap::new();
        let world = World { principal: self.question.principal, relations: &relations };
        for policy in model.row_policies.iter().filter(|policy| policy.effect == RowEffect::Bypass) {
            if !self.admits(policy) {
                continue;
            }
            let value = evaluate(&policy.condition, world, None);
            let holds = value == Ok(Datum::Bool(true));
            let condition = match value {
                Ok(Datum::Bool(truth)) => Expression::truth(truth),
                _ => Expression::Literal(Literal::Null),
            };
            let effect = if holds { Effect::Lifts } else { Effect::Nothing };
            let clause = || Clause { part: Part::Bypass, written: policy.condition.clone(), condition };
            self.because_of(effect, Some(policy.place), clause, || format!("the row policy {}", policy.name));
            if holds {
                return Some(policy.name.clone());
            }
        }
        None
    }

    /// What a bypass lifts, for those who ask for the reasons. Attributes that it needs are not needed.
    fn tell_lifted(&mut self, model: &Model) {
        self.is_lifted = true;
        let told = self.base(model).and_then(|_| self.narrow(model));
        self.is_lifted = false;
        if let Err(denial) = told {
            self.because(Subject::Rows, Effect::Nothing, Some(model.place), || denial.to_string());
        }
    }

    /// Whether the policy is for the principal's roles.
    fn admits(&mut self, policy: &RowPolicy) -> bool {
        let admits = policy.gate.admits(&self.roles);
        if !admits {
            self.because(Subject::Rows, Effect::Nothing, Some(policy.place), || {
                format!("the row policy {}, which is {}", policy.name, policy.gate.describe())
            });
        }
        admits
    }

    /// All scoping entries hold, or some policy that extends holds.
    fn base(&mut self, model: &Model) -> Result<Expression, Denial> {
        let mut base = Expression::truth(true);
        for (column, path) in &model.scoping {
            let condition = self.scope(column, path)?;
            let clause =
                || Clause { part: Part::Scope, written: scoped(column, path), condition: condition.clone() };
            self.because_of(Effect::Narrows, Some(model.place), clause, || {
                format!("the scope {column} = {path}")
            });
            base = base.and(condition);
        }
        for policy in &model.row_policies {
            if policy.effect == RowEffect::Extend && self.admits(policy) {
                base = base.or(self.by_policy(policy, Part::Extends, Effect::Extends)?);
            }
        }
        Ok(base)
    }

    /// A row policy's condition for the principal.
    fn by_policy(&mut self, policy: &RowPolicy, part: Part, effect: Effect) -> Result<Expression, Denial> {
        let condition = resolve_filter(&policy.condition, self.question.principal)?;
        let who = self.question.principal;
        let clause = || Clause::of(part, &policy.condition, &condition, who);
        self.because_of(effect, Some(policy.place), clause, || format!("the row policy {}", policy.name));
        Ok(condition)
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
            if policy.effect == RowEffect::Narrow && self.admits(policy) {
                narrow = narrow.and(self.by_policy(policy, Part::Narrow, Effect::Narrows)?);
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
            let part = Part::Restriction(restriction.hierarchy.clone());
            let who = self.question.principal;
            let clause = || Clause::of(part, &restriction.condition, &condition, who);
            self.because_of(Effect::Narrows, Some(restriction.place), clause, || {
                format!("the restriction of {} on {}", restriction.role, restriction.column)
            });
            let allowed = hierarchies.entry(&restriction.hierarchy).or_insert(Expression::truth(false));
            *allowed = std::mem::replace(allowed, Expression::truth(false)).or(condition);
        }
        Ok(hierarchies.into_values().fold(Expression::truth(true), Expression::and))
    }

    /// The filter rule of the tightest scope.
    fn ruled(&mut self, name: &RelationName) -> Result<Expression, Denial> {
        match ruling(self.question.rules, name, self.question.principal) {
            Ruling::Blocked(_) => Ok(Expression::truth(false)),
            Ruling::Filters(filters) => {
                let mut all = Expression::truth(true);
                for (rule, written) in filters {
                    let condition = resolve_filter(written, self.question.principal)?;
                    let who = self.question.principal;
                    let clause = || Clause::of(Part::AccessRule, written, &condition, who);
                    self.because_of(Effect::Narrows, None, clause, || format!("the access rule {}", rule.id));
                    all = all.and(condition);
                }
                Ok(all)
            }
        }
    }
}

/// A scope as the document says it.
fn scoped(column: &str, path: &PrincipalPath) -> Expression {
    Expression::Binary {
        left: Box::new(Expression::Column { qualifier: None, name: column.to_owned() }),
        operator: BinaryOperator::Equal,
        right: Box::new(Expression::Principal(PrincipalValue { path: path.clone(), item: None })),
    }
}
