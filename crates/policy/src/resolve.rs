//! An expression for one principal: what depends on the principal alone is decided here, once, before any statement.
//!
//! What is left has the shape that principals in the same situation share: their values are parameters, and only the
//! number of values in a list, or the truth of a condition about them, shows.

use std::collections::BTreeMap;

use crate::entitlement::Denial;
use crate::evaluate::{Datum, Values, World, evaluate, values_of};
use crate::expression::{
    BinaryOperator, Expression, FEW, ListShape, Literal, PrincipalPath, PrincipalValue, SubQuery,
};
use crate::principal::Principal;

/// The condition as a filter for the principal: as [`resolve`], and since only TRUE shows a row, NULL is FALSE.
pub fn resolve_filter(condition: &Expression, principal: &Principal) -> Result<Expression, Denial> {
    resolve(condition, principal).map(filter)
}

/// The expression for the principal.
pub fn resolve(expression: &Expression, principal: &Principal) -> Result<Expression, Denial> {
    Resolver { principal }.expression(expression)
}

struct Resolver<'a> {
    principal: &'a Principal,
}

type Resolved = Result<Expression, Denial>;

impl Resolver<'_> {
    fn expression(&self, expression: &Expression) -> Resolved {
        let resolved = match expression {
            Expression::Column { .. } | Expression::Literal(_) => return Ok(expression.clone()),
            Expression::Principal(value) => return self.value(value),
            Expression::Not(operand) => Expression::Not(self.boxed(operand)?),
            Expression::Negate(operand) => Expression::Negate(self.boxed(operand)?),
            Expression::Binary { left, operator, right } => return self.binary(left, *operator, right),
            Expression::Is { operand, test, negated } => {
                Expression::Is { operand: self.boxed(operand)?, test: *test, negated: *negated }
            }
            Expression::InList { operand, list, negated } => {
                Expression::InList { operand: self.boxed(operand)?, list: self.all(list)?, negated: *negated }
            }
            Expression::InPrincipal { operand, path, values: _, negated } => {
                self.in_principal(self.expression(operand)?, path, *negated)?
            }
            Expression::InQuery { operand, query, negated } => {
                let query = Box::new(self.query(query)?);
                return Ok(Expression::InQuery { operand: self.boxed(operand)?, query, negated: *negated });
            }
            Expression::Exists { query, negated } => {
                return Ok(Expression::Exists { query: Box::new(self.query(query)?), negated: *negated });
            }
            Expression::Like { operand, pattern, any_case, negated } => Expression::Like {
                operand: self.boxed(operand)?,
                pattern: self.boxed(pattern)?,
                any_case: *any_case,
                negated: *negated,
            },
            Expression::Call { function, arguments } => {
                Expression::Call { function: function.clone(), arguments: self.all(arguments)? }
            }
            Expression::Cast { operand, to } => {
                Expression::Cast { operand: self.boxed(operand)?, to: to.clone() }
            }
            Expression::Case { operand, branches, otherwise } => {
                return self.case(operand.as_deref(), branches, otherwise.as_deref());
            }
        };
        Ok(self.decided(resolved))
    }

    fn boxed(&self, expression: &Expression) -> Result<Box<Expression>, Denial> {
        self.expression(expression).map(Box::new)
    }

    fn all(&self, list: &[Expression]) -> Result<Vec<Expression>, Denial> {
        list.iter().map(|item| self.expression(item)).collect()
    }

    /// A missing value is NULL. A list or an object can't be one value: that is a fault of the principal's data.
    fn value(&self, value: &PrincipalValue) -> Resolved {
        match values_of(self.principal, &value.path) {
            // A rule that says less than its author meant would show more.
            Values::Missing if matches!(value.path, PrincipalPath::Variable(_)) => Err(required(&value.path)),
            Values::Missing => Ok(Expression::Literal(Literal::Null)),
            Values::One(_) => Ok(Expression::Principal(value.clone())),
            Values::List(_) | Values::Structure => Err(required(&value.path)),
        }
    }

    fn binary(&self, left: &Expression, operator: BinaryOperator, right: &Expression) -> Resolved {
        if matches!(operator, BinaryOperator::Equal | BinaryOperator::NotEqual) {
            let negated = operator == BinaryOperator::NotEqual;
            // An attribute that holds a list is equal to what is one of it.
            match (self.list(left), self.list(right)) {
                (None, Some(path)) => return self.one_of(left, &path, negated),
                (Some(path), None) => return self.one_of(right, &path, negated),
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
        let (left, right) = (self.expression(left)?, self.expression(right)?);
        Ok(match operator {
            BinaryOperator::And => left.and(right),
            BinaryOperator::Or => left.or(right),
            _ => self.decided(Expression::Binary { left: Box::new(left), operator, right: Box::new(right) }),
        })
    }

    fn list(&self, expression: &Expression) -> Option<PrincipalPath> {
        let Expression::Principal(PrincipalValue { path, item: None }) = expression else { return None };
        matches!(values_of(self.principal, path), Values::List(_)).then(|| path.clone())
    }

    fn one_of(&self, operand: &Expression, path: &PrincipalPath, negated: bool) -> Resolved {
        let operand = self.expression(operand)?;
        self.in_principal(operand, path, negated).map(|resolved| self.decided(resolved))
    }

    fn in_principal(&self, operand: Expression, path: &PrincipalPath, negated: bool) -> Resolved {
        let count = match values_of(self.principal, path) {
            Values::Missing if matches!(path, PrincipalPath::Variable(_)) => return Err(required(path)),
            Values::Missing => return Ok(Expression::Literal(Literal::Null)),
            Values::Structure => return Err(required(path)),
            Values::One(_) => 1,
            Values::List(list) => list.len(),
        };
        let values = match count {
            // In an access rule an empty list is NULL.
            0 if matches!(path, PrincipalPath::Variable(_)) => return Ok(Expression::Literal(Literal::Null)),
            0 => return Ok(Expression::truth(negated)),
            1..=FEW => ListShape::Few(count),
            _ => ListShape::Many,
        };
        Ok(Expression::InPrincipal { operand: Box::new(operand), path: path.clone(), values, negated })
    }

    fn query(&self, query: &SubQuery) -> Result<SubQuery, Denial> {
        let condition = query.condition.as_ref().map(|condition| self.expression(condition)).transpose()?;
        Ok(SubQuery { from: query.from.clone(), select: self.expression(&query.select)?, condition })
    }

    /// Branches whose condition is known not to hold go; the first that is known to hold ends the list.
    fn case(
        &self,
        operand: Option<&Expression>,
        branches: &[(Expression, Expression)],
        otherwise: Option<&Expression>,
    ) -> Resolved {
        let operand = operand.map(|operand| self.boxed(operand)).transpose()?;
        let mut kept = Vec::new();
        let mut last = None;
        for (condition, result) in branches {
            let (condition, result) = (self.expression(condition)?, self.expression(result)?);
            match (&operand, &condition) {
                (None, Expression::Literal(Literal::Bool(true))) => {
                    last = Some(result);
                    break;
                }
                (None, Expression::Literal(Literal::Bool(false) | Literal::Null)) => {}
                _ => kept.push((condition, result)),
            }
        }
        if last.is_none() {
            last = otherwise.map(|otherwise| self.expression(otherwise)).transpose()?;
        }
        Ok(if kept.is_empty() {
            last.unwrap_or(Expression::Literal(Literal::Null))
        } else {
            Expression::Case { operand, branches: kept, otherwise: last.map(Box::new) }
        })
    }

    /// A condition without columns becomes its truth, if it can be told here. Values stay what they are: a constant in
    /// place of a parameter would make a plan of its own for each principal.
    fn decided(&self, expression: Expression) -> Expression {
        let is_condition = match &expression {
            Expression::Not(_)
            | Expression::Is { .. }
            | Expression::InList { .. }
            | Expression::InPrincipal { .. }
            | Expression::Like { .. } => true,
            Expression::Binary { operator, .. } => matches!(
                operator,
                BinaryOperator::Equal
                    | BinaryOperator::NotEqual
                    | BinaryOperator::Less
                    | BinaryOperator::LessOrEqual
                    | BinaryOperator::Greater
                    | BinaryOperator::GreaterOrEqual
            ),
            _ => false,
        };
        if !is_condition {
            return expression;
        }
        let relations = BTreeMap::new();
        let world = World { principal: self.principal, relations: &relations };
        match evaluate(&expression, world, None) {
            Ok(Datum::Bool(truth)) => Expression::truth(truth),
            Ok(Datum::Null) => Expression::Literal(Literal::Null),
            // It has a column, or something that only the database knows.
            Ok(Datum::Integer(_) | Datum::Real(_) | Datum::Text(_)) | Err(_) => expression,
        }
    }
}

/// NULL as FALSE, wherever only TRUE counts: at the top and through AND and OR, but not under NOT.
fn filter(condition: Expression) -> Expression {
    match condition {
        Expression::Literal(Literal::Null) => Expression::truth(false),
        Expression::Binary { left, operator: BinaryOperator::And, right } => {
            filter(*left).and(filter(*right))
        }
        Expression::Binary { left, operator: BinaryOperator::Or, right } => filter(*left).or(filter(*right)),
        other => other,
    }
}

/// The principal lacks what the policy needs.
pub(crate) fn required(path: &PrincipalPath) -> Denial {
    Denial::ScopeRequired { attribute: path.to_string() }
}
