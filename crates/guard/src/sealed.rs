//! The type that the engine runs, and the only code that makes one.

use std::sync::Arc;

use ringfence_policy::{ConnectionKind, OpenAccess};

use crate::named::{self, NamedRelations};
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
    named: NamedRelations,
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

    /// The relations that the statement names.
    pub fn named_relations(&self) -> &NamedRelations {
        &self.sealed.named
    }

    /// What the placeholders stand for, in their order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
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
    pub(crate) named: NamedRelations,
}

impl Sealed {
    /// Whether the statement reads, and leaves nothing in a session by itself.
    pub(crate) fn is_plain_read(&self) -> bool {
        self.kind == StatementKind::Read && !self.may_change_session
    }

    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn named(&self) -> &NamedRelations {
        &self.named
    }

    pub(crate) fn replace_text(&mut self, text: String) {
        self.sql = text;
    }
}

// INVARIANT: nothing outside this crate makes a GuardedQuery (the fields are private and there is no Default or
// Deserialize). The tidy test `guarded_query_is_sealed` looks for derives that would open it.
pub(crate) fn seal(statement: ReadStatement, source: ConnectionKind, access: OpenAccess) -> Sealed {
    let kind = session::kind_of(&statement);
    Sealed {
        may_change_session: session::may_change(&statement, kind),
        fingerprint: fingerprint::text(statement.tokens.as_deref()),
        named: named::read(&statement, source),
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
