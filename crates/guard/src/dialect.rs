//! What differs between databases, as data: quoting and case, functions, operators, types, the barrier.

mod mysql;
mod postgres;
mod sqlite;

use std::cell::Cell;

use ringfence_policy::ConnectionKind;
use sqlparser::ast::Expr;
use sqlparser::dialect::Dialect as ParserDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

pub(crate) use postgres::SYMMETRIC;

/// A kind of SQL.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of a kind of SQL")]
pub(crate) struct Dialect {
    pub(crate) kind: ConnectionKind,
    /// What identifiers are quoted with.
    pub(crate) quote: char,
    /// Longest identifier in bytes; longer ones would be cut, and then mean another.
    pub(crate) identifier_bytes: usize,
    /// Whether names written without quotes become lower case.
    pub(crate) folds: bool,
    /// Whether names of columns and aliases are the same in upper and lower case.
    pub(crate) caseless: bool,
    /// Whether names of relations are.
    pub(crate) caseless_relations: bool,
    /// The schema that the database's own functions are named with, so that no other is found.
    pub(crate) function_schema: Option<&'static str>,
    /// Ends a derived table that the planner must not look into.
    pub(crate) barrier: &'static str,
    /// Before a statement: tells its plan, and executes nothing.
    pub(crate) explain: &'static str,
    /// What makes LIKE read a backslash as callers expect.
    pub(crate) like_escape: &'static str,
    /// Whether placeholders are numbered (`$1`) or stand in order (`?`).
    pub(crate) numbered: bool,
    /// Whether every common table expression of a WITH sees the others without RECURSIVE.
    pub(crate) always_recursive: bool,
    /// Functions that may be called, in order of name.
    pub(crate) functions: &'static [&'static str],
    /// Functions that are words of the grammar: they take no schema, and some no parentheses.
    pub(crate) keywords: &'static [&'static str],
    /// Functions without parentheses.
    pub(crate) bare: &'static [&'static str],
    /// Operators, as they are written, that may be used.
    pub(crate) operators: &'static [&'static str],
    /// Types that a cast may name, beyond those of the grammar.
    pub(crate) types: &'static [&'static str],
    /// Columns that every table has and that nobody made.
    pub(crate) system_columns: &'static [&'static str],
}

impl Dialect {
    /// The dialect of a kind of connection; `None` when it takes no statements.
    pub(crate) fn of(kind: ConnectionKind) -> Option<&'static Self> {
        match kind {
            ConnectionKind::Postgresql => Some(&postgres::DIALECT),
            ConnectionKind::Sqlite => Some(&sqlite::DIALECT),
            ConnectionKind::Mysql => Some(&mysql::DIALECT),
            ConnectionKind::Push => None,
        }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.kind == ConnectionKind::Postgresql
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.kind == ConnectionKind::Sqlite
    }

    pub(crate) fn is_mysql(&self) -> bool {
        self.kind == ConnectionKind::Mysql
    }

    /// How the parser reads callers' texts; it gives up after so many steps.
    pub(crate) fn reader(&self, steps: usize) -> Box<dyn ParserDialect> {
        let steps = Steps(Cell::new(steps));
        match self.kind {
            ConnectionKind::Postgresql | ConnectionKind::Push => Box::new(postgres::Reader { steps }),
            ConnectionKind::Sqlite => Box::new(sqlite::Reader { steps }),
            ConnectionKind::Mysql => Box::new(mysql::Reader { escapes: true, steps }),
        }
    }

    /// How what the guard prints is split into tokens.
    pub(crate) fn printed(&self) -> Box<dyn ParserDialect> {
        if self.is_mysql() {
            Box::new(mysql::Reader { escapes: false, steps: Steps::default() })
        } else {
            self.reader(0)
        }
    }

    pub(crate) fn is_function(&self, name: &str) -> bool {
        self.functions.contains(&name)
    }
}

/// What is left of the steps that the parser may take. Where it is not sure what it reads it tries one thing and then
/// another, and so on within each: some texts of a hundred bytes would keep it busy for hours.
#[derive(Debug, Default)]
struct Steps(Cell<usize>);

impl Steps {
    /// Stands where the parser asks how an operand begins: nothing of ours, or the end. The parser takes this error, and
    /// no other, for its own end, whatever it was trying.
    fn take(&self) -> Option<Result<Expr, ParserError>> {
        match self.0.get().checked_sub(1) {
            Some(left) => {
                self.0.set(left);
                None
            }
            None => Some(Err(ParserError::RecursionLimitExceeded)),
        }
    }
}

/// Whether that word stands so many tokens ahead.
fn word_after(parser: &Parser, ahead: usize, text: &str) -> bool {
    matches!(&parser.peek_nth_token_ref(ahead).token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}
