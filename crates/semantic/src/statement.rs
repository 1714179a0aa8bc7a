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
        let quote = if self.kind == ConnectionKind::Mysql { '`' } else { '"' };
        self.text.push(quote);
        for character in name.chars() {
            if character == quote {
                self.text.push(quote);
            }
            self.text.push(character);
        }
        self.text.push(quote);
    }

    pub(crate) fn relation(&mut self, relation: &RelationName) {
        self.name(&relation.schema);
        self.text(".");
        self.name(&relation.name);
    }

    /// A column of the relation called [`ROW`].
    pub(crate) fn column(&mut self, name: &str) {
        self.text(ROW);
        self.text(".");
        self.name(name);
    }

    pub(crate) fn parameter(&mut self, value: Value) {
        self.parameters.push(value);
        match self.kind {
            ConnectionKind::Mysql => self.text("?"),
            ConnectionKind::Sqlite => self.text(&format!("?{}", self.parameters.len())),
            ConnectionKind::Postgresql | ConnectionKind::Push => {
                self.text(&format!("${}", self.parameters.len()));
            }
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

/// What the relation of a statement is called in it.
pub(crate) const ROW: &str = "t";
