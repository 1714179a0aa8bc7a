//! Rows that are hidden because the row they belong to is hidden.

use super::Decision;
use crate::entitlement::Denial;
use crate::expression::{BinaryOperator, Expression, Literal, RelationName, SubQuery};
use crate::policy::Join;
use crate::reason::{Clause, Effect, Part};

impl Decision<'_> {
    /// For every inherited join: there is a row on the other side that the principal sees.
    pub(super) fn inherited(&mut self, name: &RelationName) -> Result<Expression, Denial> {
        let Some(joins) = self.question.policy.joins.get(name) else { return Ok(Expression::truth(true)) };
        let mut all = Expression::truth(true);
        for join in joins {
            if join.inherit && join.gate.admits(&self.roles) {
                all = all.and(self.through(join)?);
            }
        }
        Ok(all)
    }

    /// INVARIANT: a target that the principal does not see at all hides every row, else a block on it would show more.
    /// Held by the test `what_hides_the_target_hides_the_rows`. Chains end: the policy has no circles.
    fn through(&mut self, join: &Join) -> Result<Expression, Denial> {
        // What narrows the target is told once, as the join's own reason.
        let told = self.reasons.take();
        let target = self.target_rows(&join.target);
        self.reasons = told;
        let rows = target?;
        if rows == Expression::truth(true) {
            return Ok(rows);
        }
        let condition = joined(join, rows);
        let clause =
            || Clause { part: Part::Inherited, written: condition.clone(), condition: condition.clone() };
        self.because_of(Effect::Narrows, Some(join.place), clause, || {
            format!("the join of {} to {}, whose rows are narrowed", join.column, join.target)
        });
        Ok(condition)
    }

    fn target_rows(&mut self, target: &RelationName) -> Result<Expression, Denial> {
        let is_gone = self.question.policy.drift.gone().contains(target);
        if !is_gone && self.question.catalog.relation(&target.schema, &target.name).is_none() {
            return Ok(Expression::truth(false));
        }
        match self.visible(target) {
            Ok(model) => self.rows(target, model).map(|rows| rows.condition),
            Err(Denial::Invisible(_)) => Ok(Expression::truth(false)),
            Err(denial @ (Denial::ScopeRequired { .. } | Denial::Suspended)) => Err(denial),
        }
    }
}

/// There is a row of the join's target for which the condition holds.
fn joined(join: &Join, rows: Expression) -> Expression {
    if rows == Expression::truth(false) {
        return rows;
    }
    let alias = fresh_alias(&rows);
    let column = |qualifier: Option<String>, name: &str| {
        Box::new(Expression::Column { qualifier, name: name.to_owned() })
    };
    let equal = Expression::Binary {
        left: column(Some(alias.clone()), &join.target_column),
        operator: BinaryOperator::Equal,
        right: column(None, &join.column),
    };
    let condition = Some(equal.and(qualified(rows, &alias)));
    let select = Expression::Literal(Literal::Number("1".to_owned()));
    let query = Box::new(SubQuery { from: vec![(join.target.clone(), alias)], select, condition });
    Expression::Exists { query, negated: false }
}

/// An alias that nothing in the expression has.
fn fresh_alias(expression: &Expression) -> String {
    let mut taken = Vec::new();
    aliases(expression, &mut taken);
    let first = "inherited".to_owned();
    let numbered = (2_u32..).map(|number| format!("inherited_{number}"));
    std::iter::once(first).chain(numbered).find(|alias| !taken.contains(alias)).unwrap_or_default()
}

fn aliases(expression: &Expression, found: &mut Vec<String>) {
    expression.for_each_part(&mut |part| {
        if let Expression::InQuery { query, .. } | Expression::Exists { query, .. } = part {
            found.extend(query.from.iter().map(|(_, alias)| alias.clone()));
        }
    });
}

/// The predicate of a relation, moved into a sub-query over it: its own columns get the alias.
fn qualified(mut expression: Expression, alias: &str) -> Expression {
    expression.for_each_part_mut(&mut |part| {
        if let Expression::Column { qualifier: qualifier @ None, name: _ } = part {
            *qualifier = Some(alias.to_owned());
        }
    });
    expression
}
