//! What a database lets the connection's own user do: for an operator who wants it to be little.

/// The user of a connection as its database sees it. Names are as stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Examined {
    /// The database's user.
    pub role: String,
    /// The server's version in its own words.
    pub version: String,
    /// The server's version as a number, such as 150004.
    pub version_number: i32,
    /// How far the server's clock is ahead of ours, in milliseconds, as far as one question can tell.
    pub clock_ahead_ms: i64,
    /// It may do anything.
    pub is_superuser: bool,
    /// Row-level security does not bind it.
    pub bypasses_row_security: bool,
    /// It may make roles or databases.
    pub makes_roles: bool,
    /// Relations that it owns, some of them.
    pub owns: Vec<String>,
    /// How many it owns.
    pub owned: i64,
    /// Schemas that it may make things in.
    pub creates_in: Vec<String>,
    /// Functions that reach files, other servers or other sessions, and that it may call.
    pub dangerous_functions: Vec<String>,
    /// Roles that give it such rights.
    pub dangerous_roles: Vec<String>,
    /// Relations that it may change although it does not own them, some of them.
    pub writes: Vec<String>,
}
