//! The guard: the only place where a statement becomes something that may run.
//!
//! [`GuardedQuery`] has no public constructor; the functions of this crate make it from a statement and what the
//! principal is entitled to. The engine runs nothing else, so unguarded SQL can't be written down above it.
//!
//! # Whom it defends against
//! Somebody who may send any statement to a guarded connection, as often as they like, who knows the schema, the policy and
//! this code, and wants to see, change or infer what their entitlements leave out.
//!
//! # The guarded road: [`guard`]
//! A statement is read ([`admit`]), walked once and printed anew ([`rewrite`]), read again ([`verify`]), and sealed with
//! the principal's values ([`guarded`]). What holds:
//! 1. Nothing is printed that the walk did not look at: a kind of expression, function, operator, type or clause that is
//!    on no list is refused. The caller's text never reaches the database.
//! 2. A relation that is read stands behind its fence ([`fence`]): a derived table of the columns that exist for the
//!    principal, masked, with the rows that exist for it. So a hidden column or row is not there for any clause to name.
//! 3. A relation that is changed stands raw ([`writes`], [`inserts`]): every one of its columns is looked up and refused or
//!    replaced by its mask, its rows are narrowed by the policy first, and what a new row must fulfil comes back as a last
//!    column, which the engine checks before it commits. Rows that an INSERT proposes are checked before that as well
//!    ([`proposed`]), so that no key of a row that the principal could not have written is ever compared with others.
//! 4. What may raise an error is computed on rows that the principal sees, and on no other: fences get the dialect's
//!    optimization fence where a planner could run it earlier, and conditions of a change stand behind CASE.
//! 5. The principal's values are parameters. A plan holds none, so that everybody with an equal view shares it.
//! 6. A database's own catalogs are not read: what may be asked of them is made of the view ([`system`]).
//! 7. Names are qualified: relations by their schema, functions and types by the database's own. The sessions that read
//!    look names up nowhere else; those that change rows keep the owner's search path, for the owner's triggers.
//!
//! [`attribute_query`] seals what a policy itself reads about a principal: one column of raw rows, read-only, printed by the
//! same writer and verified in the same way. No caller's text is in it.
//!
//! Reading order: `refusal`, `dialect`, `admit`, `rewrite`, `relations`, `fence`, `queries`, `sources`, `expressions`,
//! `functions`, `system`, `writes`, `inserts`, `proposed`, `verify`, `guarded`, `sealed`.
//!
//! # Looking at one row: [`inspect_row`]
//! For those who rule over a policy, and for nobody else: the gateway asks for their rank. It holds what the policy and the
//! catalog say, and values as parameters; no text of the caller's is in it, and it runs in a read-only transaction.
//!
//! # The open road: [`open`]
//! The owner's own database, any SQL. Here the guard holds that
//! 1. a call is one statement (a second one is refused here, and again by the database, which is asked to
//!    prepare the text as one statement);
//! 2. a statement does not begin or end transactions, and does not move data through the client connection (COPY);
//! 3. a read-only connection gets a query marked read-only, which the engine runs in a read-only transaction, and
//!    no statement that names a large-object function, which such a transaction does not stop before `PostgreSQL` 16
//!    (a text that a function of the database itself puts together is out of reach: SECURITY.md says so);
//! 4. what may leave something behind in the session is marked so, and the engine then keeps nothing of the session
//!    but the connection. Statements that leave nothing by themselves keep its prepared statements: see [`session`].
//!
//! # What is not defended
//! - Timing, and the load that a statement makes within its budgets.
//! - That a key which spans tenants is taken: an insert tells, and nothing more than that.
//! - The owner of the database: their triggers, column defaults, operators and casts run as they wrote them, and in
//!   statements that change rows an operator of theirs that fits better than the database's own is taken.
//!
//! It is pure: no IO, no clock, no drivers.

mod admit;
mod breadth;
mod comparisons;
mod conditions;
mod data_types;
mod dialect;
mod expressions;
mod fence;
mod fingerprint;
mod functions;
mod guarded;
mod inserts;
mod inspect;
mod labels;
mod lift;
mod liftable;
mod named;
mod operator;
mod operators;
mod proposed;
mod queries;
mod refusal;
mod relations;
mod rewrite;
mod sealed;
mod session;
mod sources;
mod statement;
mod system;

mod verify;
mod writes;
#[cfg(feature = "unsealed")]
pub mod unsealed;

pub use guarded::{GuardedPlan, PlanParameter, attribute_query, guard, guard_lifted, inspect_row};
pub use inspect::Inspection;
pub use lift::{Scanned, scan};
pub use named::NamedRelation;
pub use operator::OperatorQuery;
pub use proposed::REFUSED;
pub use refusal::Refusal;
pub use sealed::{Fence, GuardedQuery, Parameter, StatementKind};
pub use statement::MAX_STATEMENT_BYTES;

use std::sync::Arc;

use ringfence_policy::{ConnectionKind, OpenAccess};

use dialect::Dialect;
use sealed::Sealed;

/// What a statement names, as far as its words tell: for explaining it, when it may not run either.
pub fn named_relations(statement: &str, kind: ConnectionKind) -> Result<Vec<NamedRelation>, Refusal> {
    Ok(named::read(&statement::read(statement, kind)?))
}

/// Admits one statement on an open connection.
pub fn open(statement: &str, kind: ConnectionKind, access: OpenAccess) -> Result<GuardedQuery, Refusal> {
    Ok(open_plan(statement, kind, access)?.bind(Vec::new()))
}

/// A statement that was admitted on an open connection, for all texts that differ from it in lifted literals alone.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenPlan {
    sealed: Arc<Sealed>,
    lifted: Vec<bool>,
}

impl OpenPlan {
    /// Which of the text's literals are parameters.
    pub fn lifted(&self) -> &[bool] {
        &self.lifted
    }

    /// The statement without literals and comments.
    pub fn fingerprint_text(&self) -> &str {
        self.sealed.fingerprint()
    }

    /// The relations that the statement names.
    pub fn named_relations(&self) -> &[NamedRelation] {
        self.sealed.named()
    }

    /// The query. `values` are [`Scanned::values`].
    pub fn bind(&self, values: Vec<Parameter>) -> GuardedQuery {
        GuardedQuery::of(&self.sealed, values)
    }
}

/// Admits one statement on an open connection, with its literals in it.
pub fn open_plan(statement: &str, kind: ConnectionKind, access: OpenAccess) -> Result<OpenPlan, Refusal> {
    let read = admitted(statement, kind, access)?;
    Ok(OpenPlan { sealed: Arc::new(sealed::seal(read, access)), lifted: Vec::new() })
}

/// Finds the literals of a text for an open connection. `None` where they have to stay in it.
pub fn scan_open(text: &str, kind: ConnectionKind, access: OpenAccess) -> Option<Scanned<'_>> {
    let scanned = scan(text, kind)?;
    // There texts are looked into, too, and each is judged for itself.
    let is_suspect = access.read_only && scanned.any_text(statement::writes_large_objects);
    (!is_suspect).then_some(scanned)
}

/// Admits one statement on an open connection, with those literals lifted whose place allows it. Only plain reads have
/// any: should the database find fault with a lifted one, it can be asked about the text as it was written.
pub fn open_lifted(
    scanned: &Scanned<'_>,
    kind: ConnectionKind,
    access: OpenAccess,
) -> Result<OpenPlan, Refusal> {
    let read = admitted(scanned.text(), kind, access)?;
    let nothing = || vec![false; scanned.literals().len()];
    let lifted = match (&read.tokens, Dialect::of(kind)) {
        (Some(tokens), Some(dialect)) => liftable::liftable(scanned, tokens, dialect),
        _ => nothing(),
    };
    let mut sealed = sealed::seal(read, access);
    if sealed.is_plain_read() && lifted.contains(&true) {
        sealed.replace_text(scanned.with_placeholders(&lifted));
        return Ok(OpenPlan { sealed: Arc::new(sealed), lifted });
    }
    Ok(OpenPlan { sealed: Arc::new(sealed), lifted: nothing() })
}

fn admitted(
    statement: &str,
    kind: ConnectionKind,
    access: OpenAccess,
) -> Result<statement::ReadStatement, Refusal> {
    let read = statement::read(statement, kind)?;
    if access.read_only {
        statement::refuse_large_objects(&read)?;
        if kind == ConnectionKind::Mysql {
            statement::refuse_more_than_reading(&read)?;
        }
    }
    Ok(read)
}
