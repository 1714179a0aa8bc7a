//! The type that the engine runs, and the only code that makes one.

use std::sync::Arc;

use ringfence_policy::{ConnectionKind, OpenAccess};
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::dialect::Dialect;
use crate::named::{self, NamedRelation};
use crate::statement::ReadStatement;
use crate::{fingerprint, session};

/// A statement that may run. Made by this crate alone.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardedQuery {
    sealed: Arc<Sealed>,
    parameters: Vec<Parameter>,
}

/// What all queries of one plan share.
#[derive(Debug, PartialEq)]
pub(crate) struct Sealed {
    sql: String,
    kind: StatementKind,
    read_only: bool,
    may_change_session: bool,
    fingerprint: String,
    named: Vec<NamedRelation>,
    fence: Option<Fence>,
}

/// A value that the statement's placeholders stand for. The database decides its type from where it stands.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Parameter {
    Null,
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// An array. `PostgreSQL` alone has them.
    List(Vec<Parameter>),
}

impl Parameter {
    fn literal(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Text(text) => format!("'{}'", text.replace('\'', "''")),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Bool(value) => if *value { "TRUE" } else { "FALSE" }.to_owned(),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Parameter::literal).collect();
                format!("ARRAY[{}]", items.join(", "))
            }
        }
    }
}

/// What the engine must hold a statement to that the guard has rewritten.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fence {
    /// Whether the statement changes rows. Where not, it runs in a read-only transaction.
    pub writes: bool,
    /// Whether the last column of the result is the guard's: TRUE for each changed row that may be written. One that is
    /// not TRUE undoes the statement, and the caller never sees the column.
    pub check_column: bool,
    /// Whether the caller asked for the rows. Where not, the guard added RETURNING, and they are counted only.
    pub returns_rows: bool,
    /// How many rows the statement may change; one more undoes it.
    pub max_rows: Option<u64>,
    /// The column that the guard sets to NULL, which it does not take, where a row is in the way of an INSERT that may not
    /// be changed: that it is NULL says that the key is taken (`MySQL`).
    pub null_when_taken: Option<String>,
    /// The relations that the statement may touch, as (schema, relation).
    pub relations: Vec<(String, String)>,
    /// The functions that it may call, in lower case. Heeded where the database can be asked (`SQLite`).
    pub functions: Vec<String>,
}

/// What a statement does, as far as its first words tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    /// SELECT, VALUES, TABLE, and WITH that only reads: nothing is lost when it is stopped early.
    Read,
    /// Everything else: it runs to its end so that its effects are whole.
    Effect,
}

impl GuardedQuery {
    pub(crate) fn of(sealed: &Arc<Sealed>, parameters: Vec<Parameter>) -> Self {
        Self { sealed: Arc::clone(sealed), parameters }
    }

    /// The text for the database.
    pub fn sql(&self) -> &str {
        &self.sealed.sql
    }

    /// What the statement does.
    pub fn kind(&self) -> StatementKind {
        self.sealed.kind
    }

    /// Whether it must run in a read-only transaction.
    pub fn read_only(&self) -> bool {
        self.sealed.read_only
    }

    /// Whether the statement itself may leave anything in the session. Where not, what it calls still may: the engine
    /// cleans the session after every statement, and after these keeps nothing at all.
    pub fn may_change_session(&self) -> bool {
        self.sealed.may_change_session
    }

    /// The statement without literals and comments: what alike statements share.
    pub fn fingerprint_text(&self) -> &str {
        &self.sealed.fingerprint
    }

    /// The relations that the statement names, for the record of the call.
    pub fn named_relations(&self) -> &[NamedRelation] {
        &self.sealed.named
    }

    /// What the placeholders stand for, in their order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The text with the values in the place of its placeholders, for people to read; `None` when it can't be made. What is
    /// run is [`GuardedQuery::sql`].
    pub fn text_with_values(&self, kind: ConnectionKind) -> Option<String> {
        let printed = Dialect::of(kind)?.printed();
        let tokens = Tokenizer::new(&*printed, self.sql()).with_unescape(false).tokenize().ok()?;
        let mut unnumbered = 0_usize;
        let mut text = String::new();
        for token in tokens {
            let Token::Placeholder(placeholder) = &token else {
                text.push_str(&token.to_string());
                continue;
            };
            unnumbered = unnumbered.saturating_add(1);
            let number = placeholder.get(1..).and_then(|digits| digits.parse().ok()).unwrap_or(unnumbered);
            text.push_str(&self.parameters.get(number.checked_sub(1)?)?.literal());
        }
        Some(text)
    }

    /// What to hold the statement to, when the guard rewrote it; `None` on connections in open mode.
    pub fn fence(&self) -> Option<&Fence> {
        self.sealed.fence.as_ref()
    }
}

/// A rewritten statement, ready to be sealed.
pub(crate) struct FencedStatement {
    /// As printed by the guard, with the database's placeholders (`$1`, `?1`, `?`).
    pub(crate) sql: String,
    pub(crate) fence: Fence,
    pub(crate) fingerprint: String,
    pub(crate) named: Vec<NamedRelation>,
}

impl Sealed {
    /// Whether the statement reads, and leaves nothing in a session by itself.
    pub(crate) fn is_plain_read(&self) -> bool {
        self.kind == StatementKind::Read && !self.may_change_session
    }

    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn named(&self) -> &[NamedRelation] {
        &self.named
    }

    pub(crate) fn replace_text(&mut self, text: String) {
        self.sql = text;
    }
}

// INVARIANT: nothing outside this crate makes a GuardedQuery (the fields are private and there is no Default or
// Deserialize). The tidy test `guarded_query_is_sealed` looks for derives that would open it.
pub(crate) fn seal(statement: ReadStatement, access: OpenAccess) -> Sealed {
    let kind = session::kind_of(&statement);
    Sealed {
        may_change_session: session::may_change(&statement, kind),
        fingerprint: fingerprint::text(statement.tokens.as_deref()),
        named: named::read(&statement),
        sql: statement.sql,
        kind,
        read_only: access.read_only,
        fence: None,
    }
}

/// Seals a statement that the guard has rewritten. The guard's list has only functions that leave nothing in a session.
pub(crate) fn seal_fenced(statement: FencedStatement) -> Sealed {
    let FencedStatement { sql, fence, fingerprint, named } = statement;
    Sealed {
        sql,
        kind: if fence.writes { StatementKind::Effect } else { StatementKind::Read },
        read_only: !fence.writes,
        may_change_session: false,
        fingerprint,
        named,
        fence: Some(fence),
    }
}
