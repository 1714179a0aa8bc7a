//! What a caller is told of the budgets that its statements run under.

use std::time::Duration;

/// The budgets of the caller's own tenant; of several the tightest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct BudgetReport {
    pub max_rows: Option<u64>,
    pub timeout: Option<Duration>,
    pub concurrency: Option<Concurrency>,
    pub rate: Option<Rate>,
}

/// Statements of the tenant at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Concurrency {
    pub limit: u32,
    /// With this one.
    pub used: u32,
}

/// Statements of the tenant in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Rate {
    pub limit: u32,
    pub remaining: u32,
    /// Until all of them are free again; when there is none, until one is.
    pub reset: Duration,
}

impl BudgetReport {
    /// Of both the tighter.
    #[must_use]
    pub(super) fn tightened(self, other: Self) -> Self {
        let left = |held: &Concurrency| held.limit.saturating_sub(held.used);
        Self {
            max_rows: self.max_rows.into_iter().chain(other.max_rows).min(),
            timeout: self.timeout.into_iter().chain(other.timeout).min(),
            concurrency: self.concurrency.into_iter().chain(other.concurrency).min_by_key(left),
            rate: self.rate.into_iter().chain(other.rate).min_by_key(|rate| rate.remaining),
        }
    }
}
