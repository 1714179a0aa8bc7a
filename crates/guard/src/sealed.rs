//! The type that the engine runs, and the only code that makes one.

use ringfence_policy::{ConnectionKind, OpenAccess};

use crate::named::{self, NamedRelations};
use crate::statement::ReadStatement;
use crate::{fingerprint, session};

/// A statement that may run. Made by this crate alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardedQuery {
    sql: String,
    kind: StatementKind,
    read_only: bool,
    may_change_session: bool,
    fingerprint: String,
    named: NamedRelations,
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
    /// The text for the database.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// What the statement does.
    pub fn kind(&self) -> StatementKind {
        self.kind
    }

    /// Whether it must run in a read-only transaction.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// Whether the statement itself may leave anything in the session. Where not, what it calls still may: the engine
    /// cleans the session after every statement, and after these keeps nothing at all.
    pub fn may_change_session(&self) -> bool {
        self.may_change_session
    }

    /// The statement without literals and comments: what alike statements share.
    pub fn fingerprint_text(&self) -> &str {
        &self.fingerprint
    }

    /// The relations that the statement names.
    pub fn named_relations(&self) -> &NamedRelations {
        &self.named
    }
}

// INVARIANT: nothing outside this crate makes a GuardedQuery (the fields are private and there is no Default or
// Deserialize). The tidy test `guarded_query_is_sealed` looks for derives that would open it.
pub(crate) fn seal(statement: ReadStatement, source: ConnectionKind, access: OpenAccess) -> GuardedQuery {
    let kind = session::kind_of(&statement);
    GuardedQuery {
        may_change_session: session::may_change(&statement, kind),
        fingerprint: fingerprint::text(statement.tokens.as_deref()),
        named: named::read(&statement, source),
        sql: statement.sql,
        kind,
        read_only: access.read_only,
    }
}
