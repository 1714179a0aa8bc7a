//! What an [`Expression`] comes to on a row in memory, in SQL's three-valued logic.
//!
//! It decides what depends on the principal alone, explains decisions on a given row, and is the second opinion in tests.
//! What databases disagree on (the order of texts, most functions) it does not guess: it says [`Unsupported`].

mod calls;
mod datum;

use std::collections::BTreeMap;

use crate::expression::{
    BinaryOperator, Expression, IsTest, Literal, PrincipalPath, PrincipalValue, RelationName, SubQuery,
};
use crate::principal::Principal;

pub use datum::Datum;

/// A row in memory.
pub type Row = BTreeMap<String, Datum>;

/// What an expression may read besides its row.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The rows of relations, for sub-queries.
    pub relations: &'a BTreeMap<RelationName, Vec<Row>>,
}

/// The expression can't be evaluated here, only by the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only the database can tell: {0}")]
pub struct Unsupported(pub &'static str);

/// The expression's value on a row; `None` where there is no row, only the principal.
pub fn evaluate(expression: &Expression, world: World<'_>, row: Option<&Row>) -> Result<Datum, Unsupported> {
    Evaluation { world, row, inner: Vec::new() }.value(expression)
}

/// Whether the condition is TRUE on the row: FALSE and NULL hide it alike.
pub fn holds(condition: &Expression, world: World<'_>, row: &Row) -> Result<bool, Unsupported> {
    evaluate(condition, world, Some(row)).map(|value| value == Datum::Bool(true))
}

struct Evaluation<'a> {
    world: World<'a>,
    row: Option<&'a Row>,
    /// Rows of the sub-queries around, by alias.
    inner: Vec<(&'a str, &'a Row)>,
}

type Value = Result<Datum, Unsupported>;

impl<'a> Evaluation<'a> {
    fn value(&mut self, expression: &'a Expression) -> Value {
        match expression {
            Expression::Column { qualifier, name } => self.column(qualifier.as_deref(), name),
            Expression::Principal(value) => self.principal(&value.path, value.item),
            Expression::Literal(literal) => Ok(Datum::from_literal(literal)),
            Expression::Not(operand) => Ok(Datum::truth(self.truth(operand)?.map(|truth| !truth))),
            Expression::Negate(operand) => self.value(operand)?.negated(),
            Expression::Binary { left, operator, right } => self.binary(left, *operator, right),
            Expression::Is { operand, test, negated } => {
                let value = self.value(operand)?;
                let holds = match test {
                    IsTest::Null => value == Datum::Null,
                    IsTest::True => value == Datum::Bool(true),
                    IsTest::False => value == Datum::Bool(false),
                };
                Ok(Datum::Bool(holds != *negated))
            }
            Expression::InList { operand, list, negated } => {
                let operand = self.value(operand)?;
                let list = list.iter().map(|item| self.value(item)).collect::<Result<Vec<_>, _>>()?;
                contains(&operand, &list, *negated)
            }
            Expression::InPrincipal { operand, path, values: _, negated } => {
                let operand = self.value(operand)?;
                match values_of(self.world.principal, path) {
                    Values::Missing => Ok(Datum::Null),
                    Values::One(value) => contains(&operand, &[value], *negated),
                    Values::List(list) => contains(&operand, &list, *negated),
                    Values::Structure => Err(Unsupported("a structure as a list")),
                }
            }
            Expression::InQuery { operand, query, negated } => {
                let operand = self.value(operand)?;
                let list = self.query(query)?;
                contains(&operand, &list, *negated)
            }
            Expression::Exists { query, negated } => {
                Ok(Datum::Bool(self.query(query)?.is_empty() == *negated))
            }
            Expression::Like { operand, pattern, any_case, negated } => {
                let (operand, pattern) = (self.value(operand)?, self.value(pattern)?);
                calls::like(&operand, &pattern, *any_case, *negated)
            }
            Expression::Call { function, arguments } => {
                let arguments =
                    arguments.iter().map(|argument| self.value(argument)).collect::<Result<Vec<_>, _>>()?;
                calls::call(function, &arguments)
            }
            Expression::Cast { operand, to } => self.value(operand)?.cast(to),
            Expression::Case { operand, branches, otherwise } => {
                self.case(operand.as_deref(), branches, otherwise.as_deref())
            }
        }
    }

    fn truth(&mut self, expression: &'a Expression) -> Result<Option<bool>, Unsupported> {
        self.value(expression)?.as_truth()
    }

    fn column(&self, qualifier: Option<&str>, name: &str) -> Value {
        let row = match qualifier {
            None => self.row,
            Some(alias) => self.inner.iter().rev().find(|(known, _)| *known == alias).map(|(_, row)| *row),
        };
        row.and_then(|row| row.get(name)).cloned().ok_or(Unsupported("a column without a row"))
    }

    fn principal(&self, path: &PrincipalPath, item: Option<usize>) -> Value {
        match (values_of(self.world.principal, path), item) {
            (Values::Missing, _) => Ok(Datum::Null),
            (Values::One(value), None | Some(0)) => Ok(value),
            (Values::List(list), Some(item)) => list.get(item).cloned().ok_or(Unsupported("no such item")),
            (Values::One(_) | Values::List(_) | Values::Structure, _) => {
                Err(Unsupported("a list as a value"))
            }
        }
    }

    fn binary(&mut self, left: &'a Expression, operator: BinaryOperator, right: &'a Expression) -> Value {
        match operator {
            BinaryOperator::And | BinaryOperator::Or => {
                // AND is decided by one FALSE, OR by one TRUE, whatever the other side is, even unknown to us.
                let deciding = operator == BinaryOperator::Or;
                match (self.truth(left), self.truth(right)) {
                    (Ok(Some(truth)), _) | (_, Ok(Some(truth))) if truth == deciding => {
                        Ok(Datum::Bool(truth))
                    }
                    (Err(unsupported), _) | (_, Err(unsupported)) => Err(unsupported),
                    (Ok(Some(_)), Ok(Some(_))) => Ok(Datum::Bool(!deciding)),
                    (Ok(_), Ok(_)) => Ok(Datum::Null),
                }
            }
            BinaryOperator::Equal | BinaryOperator::NotEqual => {
                let negated = operator == BinaryOperator::NotEqual;
                // An attribute that holds a list is equal to what is one of it, as when it is resolved.
                match (self.list(left), self.list(right)) {
                    (None, Some(list)) => contains(&self.value(left)?, &list, negated),
                    (Some(list), None) => contains(&self.value(right)?, &list, negated),
                    (None, None) | (Some(_), Some(_)) => {
                        self.value(left)?.combined(operator, &self.value(right)?)
                    }
                }
            }
            _ => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                left.combined(operator, &right)
            }
        }
    }

    fn list(&self, expression: &Expression) -> Option<Vec<Datum>> {
        let Expression::Principal(PrincipalValue { path, item: None }) = expression else { return None };
        match values_of(self.world.principal, path) {
            Values::List(list) => Some(list),
            Values::Missing | Values::One(_) | Values::Structure => None,
        }
    }

    fn case(
        &mut self,
        operand: Option<&'a Expression>,
        branches: &'a [(Expression, Expression)],
        otherwise: Option<&'a Expression>,
    ) -> Value {
        let operand = operand.map(|operand| self.value(operand)).transpose()?;
        for (condition, result) in branches {
            let condition = self.value(condition)?;
            let chosen = match &operand {
                None => condition.as_truth()?,
                Some(operand) => operand.equals(&condition)?,
            };
            if chosen == Some(true) {
                return self.value(result);
            }
        }
        otherwise.map_or(Ok(Datum::Null), |otherwise| self.value(otherwise))
    }

    /// The column of the sub-query, for each of its rows.
    fn query(&mut self, query: &'a SubQuery) -> Result<Vec<Datum>, Unsupported> {
        let mut found = Vec::new();
        self.nested(query, &query.from, &mut found)?;
        Ok(found)
    }

    fn nested(
        &mut self,
        query: &'a SubQuery,
        from: &'a [(RelationName, String)],
        found: &mut Vec<Datum>,
    ) -> Result<(), Unsupported> {
        let Some(((relation, alias), rest)) = from.split_first() else {
            let shown = match &query.condition {
                None => true,
                Some(condition) => self.truth(condition)? == Some(true),
            };
            if shown {
                found.push(self.value(&query.select)?);
            }
            return Ok(());
        };
        let rows = self.world.relations.get(relation).ok_or(Unsupported("rows of another relation"))?;
        for row in rows {
            self.inner.push((alias, row));
            let result = self.nested(query, rest, found);
            self.inner.pop();
            result?;
        }
        Ok(())
    }
}

/// `IN`: TRUE when one is equal, else NULL when one can't be told, else FALSE.
fn contains(operand: &Datum, list: &[Datum], negated: bool) -> Value {
    let mut unknown = false;
    for item in list {
        match operand.equals(item)? {
            Some(true) => return Ok(Datum::Bool(!negated)),
            Some(false) => {}
            None => unknown = true,
        }
    }
    Ok(if unknown { Datum::Null } else { Datum::Bool(negated) })
}

/// What a path of the principal holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    /// Nothing, or null.
    Missing,
    /// One value.
    One(Datum),
    /// A list of plain values.
    List(Vec<Datum>),
    /// An object, or a list that holds lists or objects.
    Structure,
}

/// What the principal has at the path.
pub(crate) fn values_of(principal: &Principal, path: &PrincipalPath) -> Values {
    let text = |text: &str| Values::One(Datum::Text(text.to_owned()));
    let attribute = match path {
        PrincipalPath::Variable(name) => return values_of(principal, &principal.variable(name)),
        PrincipalPath::OrgId => return text(principal.org.as_str()),
        PrincipalPath::TenantId => return text(principal.tenant.as_str()),
        PrincipalPath::UserId => return text(principal.user.as_str()),
        PrincipalPath::Agent => {
            return principal
                .agent
                .as_ref()
                .map_or(Values::Missing, |agent| text(agent.as_policies_see_it()));
        }
        PrincipalPath::Roles => {
            let names = role_names(principal).map(|name| Datum::Text(name.to_owned()));
            return Values::List(names.collect());
        }
        PrincipalPath::Permissions => {
            let names =
                principal.permissions.iter().map(|permission| Datum::Text(permission.name().to_owned()));
            return Values::List(names.collect());
        }
        PrincipalPath::Attribute(parts) => {
            let Some((first, rest)) = parts.split_first() else { return Values::Missing };
            let mut value = principal.attributes.get(first);
            for part in rest {
                value = value.and_then(|value| value.get(part));
            }
            value
        }
    };
    match attribute {
        None | Some(serde_json::Value::Null) => Values::Missing,
        Some(serde_json::Value::Array(items)) => {
            let list: Option<Vec<Datum>> = items.iter().map(Datum::from_json).collect();
            list.map_or(Values::Structure, Values::List)
        }
        Some(value) => Datum::from_json(value).map_or(Values::Structure, Values::One),
    }
}

/// Names of product roles, then of data roles.
pub(crate) fn role_names(principal: &Principal) -> impl Iterator<Item = &str> {
    principal.roles.iter().map(|role| role.name()).chain(principal.data_roles.iter().map(String::as_str))
}

impl Datum {
    /// The value of a constant.
    pub fn from_literal(literal: &Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Bool(truth) => Self::Bool(*truth),
            Literal::Number(number) => Self::number(number),
            Literal::Text(text) => Self::Text(text.clone()),
        }
    }
}
