//! Limits of the engine and of one run.

use std::path::PathBuf;
use std::time::Duration;

use crate::Egress;

/// Limits for all sources together.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct EngineLimits {
    pub max_connections_per_pool: usize,
    pub max_connections: usize,
    pub connect_timeout: Duration,
    /// How long to wait for a place in the pool.
    pub pool_wait: Duration,
    pub idle_timeout: Duration,
    /// The largest single message (so, row) that a backend may send, in bytes.
    pub max_row_bytes: usize,
    /// Prepared statements kept per backend connection.
    pub prepared_statements: usize,
    /// Directories whose `SQLite` files may be opened; links are resolved before the check. `{org}` in one stands for the
    /// organization that asks; one without is open to all of them.
    pub sqlite_directories: Vec<PathBuf>,
    /// The largest value of `SQLite`, in bytes, where rows may be larger: one call of a function such as `instr` can't be
    /// stopped, and takes time that grows with the square of this.
    pub max_sqlite_value_bytes: usize,
    /// Hosts that connections may lead to.
    pub egress: Egress,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            max_connections_per_pool: 16,
            max_connections: 512,
            connect_timeout: Duration::from_secs(5),
            pool_wait: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(1),
            max_row_bytes: 16 * 1024 * 1024,
            prepared_statements: 256,
            sqlite_directories: Vec::new(),
            max_sqlite_value_bytes: 1024 * 1024,
            egress: Egress::default(),
        }
    }
}

impl EngineLimits {
    /// The largest value, and the largest stored row, of a `SQLite` file.
    pub(crate) fn sqlite_length(&self) -> usize {
        self.max_row_bytes.min(self.max_sqlite_value_bytes)
    }
}

/// A setting that a caller may change for one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are PostgreSQL's names")]
pub enum SessionParameter {
    TimeZone,
    DateStyle,
    IntervalStyle,
    ExtraFloatDigits,
    StatementTimeout,
    LockTimeout,
    WorkMem,
}

impl SessionParameter {
    /// The setting of that name, in any case; `None` for one that may not be set.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "timezone" => Self::TimeZone,
            "datestyle" => Self::DateStyle,
            "intervalstyle" => Self::IntervalStyle,
            "extra_float_digits" => Self::ExtraFloatDigits,
            "statement_timeout" => Self::StatementTimeout,
            "lock_timeout" => Self::LockTimeout,
            "work_mem" => Self::WorkMem,
            _ => return None,
        })
    }
}

/// What one run may use.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct RunOptions {
    pub timeout: Duration,
    pub max_rows: u64,
    /// Of all rows together, as held in memory.
    pub max_bytes: u64,
    /// The schema that unqualified names mean, found without regard to case; for this query only.
    pub current_schema: Option<String>,
    /// For this query only.
    pub session_parameters: Vec<(SessionParameter, String)>,
    /// Columns that the result may have.
    pub max_columns: Option<u32>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(1),
            max_rows: 10_000,
            max_bytes: 64 * 1024 * 1024,
            current_schema: None,
            session_parameters: Vec::new(),
            max_columns: None,
        }
    }
}
