//! Where a source is, and as whom to sign in.

use ringfence_policy::ConnectionKind;
use secrecy::SecretString;

/// Everything needed to connect. Two equal addresses (password included) in one `pool_scope` share a pool.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct SourceAddress {
    pub kind: ConnectionKind,
    /// Keeps pools of different organizations apart: the organization's id.
    pub pool_scope: String,
    pub host: String,
    pub port: Option<u16>,
    /// The database's name; for `SQLite` the file as the user gave it, checked against the allowed directories at each use.
    pub database: String,
    pub username: Option<String>,
    pub password: Option<SecretString>,
    /// `disable`, `prefer` (default), `require`, `verify-full`; from the connection's `parameters.sslmode`.
    pub sslmode: Option<String>,
}
