//! A value in memory, compared as databases agree to compare.

use std::cmp::Ordering;

use super::Unsupported;
use crate::expression::BinaryOperator;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    /// NULL.
    Null,
    /// TRUE or FALSE.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// Another number.
    Real(f64),
    /// A text.
    Text(String),
}

impl Datum {
    /// TRUE, FALSE, or NULL for what is unknown.
    pub fn truth(truth: Option<bool>) -> Self {
        truth.map_or(Self::Null, Self::Bool)
    }

    /// A number as it is written in SQL or JSON.
    pub fn number(text: &str) -> Self {
        if let Ok(whole) = text.parse() {
            return Self::Integer(whole);
        }
        text.parse().map_or_else(|_| Self::Text(text.to_owned()), Self::Real)
    }

    /// A plain JSON value; `None` for lists and objects.
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        match value {
            serde_json::Value::Null => Some(Self::Null),
            serde_json::Value::Bool(truth) => Some(Self::Bool(*truth)),
            serde_json::Value::Number(number) => Some(Self::number(&number.to_string())),
            serde_json::Value::String(text) => Some(Self::Text(text.clone())),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
        }
    }

    /// As a condition.
    pub(super) fn as_truth(&self) -> Result<Option<bool>, Unsupported> {
        match self {
            Self::Null => Ok(None),
            Self::Bool(truth) => Ok(Some(*truth)),
            Self::Integer(_) | Self::Real(_) | Self::Text(_) => Err(Unsupported("a value as a condition")),
        }
    }

    pub(super) fn equals(&self, other: &Self) -> Result<Option<bool>, Unsupported> {
        if let (Self::Text(one), Self::Text(other)) = (self, other) {
            return Ok(Some(one == other));
        }
        Ok(self.compared(other)?.map(Ordering::is_eq))
    }

    /// The order of two values; `None` when one is NULL. Texts are in the order of the database's collation, which we
    /// don't know. A text that meets a number is read as one, as a parameter or a constant without a type is.
    fn compared(&self, other: &Self) -> Result<Option<Ordering>, Unsupported> {
        let incomparable = Err(Unsupported("the order of these values"));
        match (self, other) {
            (Self::Null, _) | (_, Self::Null) => Ok(None),
            (Self::Integer(one), Self::Integer(other)) => Ok(Some(one.cmp(other))),
            (Self::Real(one), Self::Real(other)) => Ok(one.partial_cmp(other)),
            (Self::Integer(one), Self::Real(other)) => Ok(real(*one).partial_cmp(other)),
            (Self::Real(one), Self::Integer(other)) => Ok(one.partial_cmp(&real(*other))),
            (Self::Bool(one), Self::Bool(other)) => Ok(Some(one.cmp(other))),
            (Self::Text(text), Self::Integer(_) | Self::Real(_)) => match Self::number(text) {
                Self::Text(_) => incomparable,
                number => number.compared(other),
            },
            (Self::Integer(_) | Self::Real(_), Self::Text(_)) => {
                Ok(other.compared(self)?.map(Ordering::reverse))
            }
            (Self::Text(text), Self::Bool(truth)) | (Self::Bool(truth), Self::Text(text)) => {
                match text.as_str() {
                    "true" => Ok(Some(true.cmp(truth))),
                    "false" => Ok(Some(false.cmp(truth))),
                    _ => incomparable,
                }
            }
            (Self::Text(_), Self::Text(_)) | (Self::Bool(_), _) | (_, Self::Bool(_)) => incomparable,
        }
    }

    pub(super) fn negated(self) -> Result<Self, Unsupported> {
        match self {
            Self::Null => Ok(Self::Null),
            Self::Integer(number) => {
                number.checked_neg().map(Self::Integer).ok_or(Unsupported("an overflow"))
            }
            Self::Real(number) => Ok(Self::Real(-number)),
            Self::Bool(_) | Self::Text(_) => Err(Unsupported("minus of what is no number")),
        }
    }

    /// The result of an operator other than AND and OR.
    pub(super) fn combined(&self, operator: BinaryOperator, other: &Self) -> Result<Self, Unsupported> {
        let ordered = |test: fn(Ordering) -> bool| Ok(Self::truth(self.compared(other)?.map(test)));
        match operator {
            BinaryOperator::Equal => Ok(Self::truth(self.equals(other)?)),
            BinaryOperator::NotEqual => Ok(Self::truth(self.equals(other)?.map(|equal| !equal))),
            BinaryOperator::Less => ordered(Ordering::is_lt),
            BinaryOperator::LessOrEqual => ordered(Ordering::is_le),
            BinaryOperator::Greater => ordered(Ordering::is_gt),
            BinaryOperator::GreaterOrEqual => ordered(Ordering::is_ge),
            BinaryOperator::Plus => self.arithmetic(other, i128::checked_add),
            BinaryOperator::Minus => self.arithmetic(other, i128::checked_sub),
            BinaryOperator::Multiply => self.arithmetic(other, i128::checked_mul),
            BinaryOperator::Concatenate => match (self.shown(), other.shown()) {
                (Some(one), Some(other)) => Ok(Self::Text(one + &other)),
                _ => Ok(Self::Null),
            },
            BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::JsonMember
            | BinaryOperator::JsonMemberText
            | BinaryOperator::And
            | BinaryOperator::Or => Err(Unsupported("this operator")),
        }
    }

    fn arithmetic(
        &self,
        other: &Self,
        operation: fn(i128, i128) -> Option<i128>,
    ) -> Result<Self, Unsupported> {
        match (self, other) {
            (Self::Null, _) | (_, Self::Null) => Ok(Self::Null),
            (Self::Integer(one), Self::Integer(other)) => {
                operation(*one, *other).map(Self::Integer).ok_or(Unsupported("an overflow"))
            }
            _ => Err(Unsupported("arithmetic on other than whole numbers")),
        }
    }

    /// As text; `None` for NULL.
    pub(super) fn shown(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Bool(truth) => Some(truth.to_string()),
            Self::Integer(number) => Some(number.to_string()),
            Self::Real(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.clone()),
        }
    }

    pub(super) fn cast(&self, to: &str) -> Result<Self, Unsupported> {
        match (self, to) {
            (Self::Null, _) => Ok(Self::Null),
            (Self::Text(_) | Self::Integer(_), "text") => Ok(self.shown().map_or(Self::Null, Self::Text)),
            (Self::Integer(_), "integer" | "bigint" | "numeric") | (Self::Bool(_), "boolean") => {
                Ok(self.clone())
            }
            (Self::Text(text), "integer" | "bigint") => match Self::number(text) {
                whole @ Self::Integer(_) => Ok(whole),
                _ => Err(Unsupported("a cast of a text that is no number")),
            },
            _ => Err(Unsupported("this cast")),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "databases compare whole numbers with floats in floats")]
fn real(whole: i128) -> f64 {
    whole as f64
}
