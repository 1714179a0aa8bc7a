//! What an open connection lets a principal do. Guarded connections get entitlements per relation instead.

/// How a statement is to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// Run it and hand back its rows.
    Execute,
    /// Have the database plan it only; nothing is executed.
    Explain,
}

/// The entitlement of an open connection: the owner's own database, any SQL, unless it is set read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenAccess {
    /// Statements run in a read-only transaction that no statement can leave.
    pub read_only: bool,
}
