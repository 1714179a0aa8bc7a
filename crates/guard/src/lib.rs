//! The guard: the only place where a statement becomes something that may run.
//!
//! [`GuardedQuery`] has no public constructor; the functions of this crate make it from a statement and what the
//! principal is entitled to. The engine runs nothing else, so unguarded SQL can't be written down above it.
//!
//! # What this version admits
//! Connections in open mode only: the owner's own database, any SQL. For these the guard holds that
//! 1. a call is one statement (a second one is refused here, and again by the database, which is asked to
//!    prepare the text as one statement);
//! 2. a statement does not begin or end transactions, and does not move data through the client connection (COPY);
//! 3. a read-only connection gets a query marked read-only, which the engine runs in a read-only transaction, and
//!    no statement that names a large-object function, which such a transaction does not stop before `PostgreSQL` 16
//!    (a text that a function of the database itself puts together is out of reach: SECURITY.md says so);
//! 4. what may leave something behind in the session is marked so, and the engine then keeps nothing of the session
//!    but the connection. Statements that leave nothing by themselves keep its prepared statements: see [`session`].
//!
//! It is pure: no IO, no clock, no drivers.

mod admit;
mod breadth;
mod casts;
mod conditions;
mod dialect;
mod expressions;
mod fence;
mod fingerprint;
mod functions;
mod guarded;
mod inserts;
mod labels;
mod named;
mod operators;
mod queries;
mod refusal;
mod relations;
mod rewrite;
mod sealed;
mod session;
mod sources;
mod statement;
mod types;
mod verify;
mod writes;
#[cfg(feature = "unsealed")]
pub mod unsealed;

pub use guarded::{GuardedPlan, guard};
pub use named::{NamedRelation, NamedRelations};
pub use refusal::Refusal;
pub use sealed::{Fence, GuardedQuery, Parameter, StatementKind};
pub use statement::MAX_STATEMENT_BYTES;

use ringfence_policy::{ConnectionKind, OpenAccess};

/// Admits one statement on an open connection.
pub fn open(statement: &str, kind: ConnectionKind, access: OpenAccess) -> Result<GuardedQuery, Refusal> {
    let read = statement::read(statement, kind)?;
    if access.read_only {
        statement::refuse_large_objects(&read)?;
        if kind == ConnectionKind::Mysql {
            statement::refuse_more_than_reading(&read)?;
        }
    }
    Ok(sealed::seal(read, kind, access))
}
