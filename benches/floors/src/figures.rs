//! Throughput and percentiles of one measurement.

use std::fmt;
use std::time::Duration;

/// What one client saw.
#[derive(Default)]
pub(crate) struct Observed {
    pub(crate) microseconds: Vec<u32>,
    pub(crate) errors: u64,
}

impl Observed {
    pub(crate) fn note(&mut self, took: Duration, well: bool) {
        if well {
            self.microseconds.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        } else {
            self.errors += 1;
        }
    }
}

/// All clients together.
pub(crate) struct Figures {
    sorted: Vec<u32>,
    errors: u64,
    took: Duration,
}

impl Figures {
    pub(crate) fn new(observed: Vec<Observed>, took: Duration) -> Self {
        let errors = observed.iter().map(|one| one.errors).sum();
        let mut sorted: Vec<u32> = observed.into_iter().flat_map(|one| one.microseconds).collect();
        sorted.sort_unstable();
        Self { sorted, errors, took }
    }

    fn percentile(&self, percent: usize) -> u32 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get(last * percent / 100).copied().unwrap_or(0)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered = u32::try_from(self.sorted.len()).unwrap_or(u32::MAX);
        let line = serde_json::json!({
            "answered": answered,
            "errors": self.errors,
            "per_second": f64::from(answered) / self.took.as_secs_f64(),
            "p50_us": self.percentile(50),
            "p99_us": self.percentile(99),
        });
        write!(f, "{line}")
    }
}
