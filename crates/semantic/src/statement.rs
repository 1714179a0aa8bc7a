//! Statements in the making: names quoted, values as parameters, in the words of one dialect.

use ringfence_policy::{ConnectionKind, RelationName};
use serde_json::Value;

use crate::refusal::Refusal;

/// A statement and what its placeholders stand for. It is not guarded: it is what a caller could have written.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// SQL with the dialect's placeholders (`$1`, `?1`, `?`).
    pub text: String,
    /// In the placeholders' order: texts, numbers, booleans and null; lists for `PostgreSQL`'s arrays.
    pub parameters: Vec<Value>,
}

/// Writes one statement.
pub(crate) struct Writer {
    pub(crate) kind: ConnectionKind,
    text: String,
    parameters: Vec<Value>,
}

impl Writer {
    pub(crate) fn new(kind: ConnectionKind) -> Self {
        Self { kind, text: String::new(), parameters: Vec::new() }
    }

    pub(crate) fn finish(self) -> Statement {
        Statement { text: self.text, parameters: self.parameters }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// A name as stored.
    pub(crate) fn name(&mut self, name: &str) {
        self.text.push_str(&quoted(self.kind, name));
    }

    pub(crate) fn relation(&mut self, relation: &RelationName) {
        self.name(&relation.schema);
        self.text(".");
        self.name(&relation.name);
    }

    /// A column of the relation called [`ROW`].
    pub(crate) fn column(&mut self, name: &str) {
        self.text(&column_of(self.kind, ROW, name));
    }

    pub(crate) fn parameter(&mut self, value: Value) {
        self.parameters.push(value);
        match self.kind {
            ConnectionKind::Mysql => self.text("?"),
            ConnectionKind::Sqlite => self.text(&format!("?{}", self.parameters.len())),
            ConnectionKind::Postgresql | ConnectionKind::Lake | ConnectionKind::Push => {
                self.text(&format!("${}", self.parameters.len()));
            }
        }
    }

    /// That the operand is one of the values, or none of them. A few are a list; many are one parameter, so that the text does
    /// not grow with them: a statement may have a thousand placeholders, and one text serves all numbers of values.
    pub(crate) fn one_of(&mut self, operand: &str, values: Vec<Value>, negated: bool) {
        let is_few = values.len() <= FEW || matches!(self.kind, ConnectionKind::Mysql | ConnectionKind::Lake);
        let holds_lists = values.iter().any(Value::is_array);
        self.text(operand);
        if is_few || holds_lists {
            self.text(if negated { " NOT IN (" } else { " IN (" });
            self.each(values, ", ", Self::parameter);
            self.text(")");
        } else if self.kind == ConnectionKind::Sqlite {
            self.text(if negated {
                " NOT IN (SELECT value FROM json_each("
            } else {
                " IN (SELECT value FROM json_each("
            });
            self.parameter(Value::String(Value::Array(values).to_string()));
            self.text("))");
        } else {
            self.text(if negated { " <> ALL (" } else { " = ANY (" });
            self.parameter(Value::Array(values));
            self.text(")");
        }
    }

    /// Each item, with a separator in between.
    pub(crate) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        separator: &str,
        mut write: impl FnMut(&mut Self, T) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.text(separator);
            }
            write(self, item)?;
        }
        Ok(())
    }

    /// The same of what can't go wrong.
    pub(crate) fn each<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        separator: &str,
        mut write: impl FnMut(&mut Self, T),
    ) {
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.text(separator);
            }
            write(self, item);
        }
    }
}

/// A name as stored, between quotes.
pub(crate) fn quoted(kind: ConnectionKind, name: &str) -> String {
    let quote = if kind == ConnectionKind::Mysql { '`' } else { '"' };
    let mut text = String::with_capacity(name.len().saturating_add(2));
    text.push(quote);
    for character in name.chars() {
        if character == quote {
            text.push(quote);
        }
        text.push(character);
    }
    text.push(quote);
    text
}

/// A column of what is called `alias` in the statement.
pub(crate) fn column_of(kind: ConnectionKind, alias: &str, name: &str) -> String {
    format!("{alias}.{}", quoted(kind, name))
}

/// Values of a list that are parameters of their own.
pub(crate) const FEW: usize = 16;

/// Placeholders of a statement that are ours to use: the guard takes a thousand.
pub(crate) const MOST_PARAMETERS: usize = 900;

/// What the relation of a statement is called in it.
pub(crate) const ROW: &str = "t";
