//! What operators see of queries: how many ended how, and how long they took.

use std::time::Instant;

use crate::{Code, Refused};

/// One query being watched. Dropped before its end, it counts as abandoned.
pub(super) struct Observation {
    began: Instant,
    ended: bool,
}

impl Observation {
    pub(super) fn begin() -> Self {
        Self { began: Instant::now(), ended: false }
    }

    pub(super) fn end(mut self, refused: Option<&Refused>) {
        self.ended = true;
        self.record(refused.map_or("done", |refused| outcome(refused.code)));
    }

    fn record(&self, outcome: &'static str) {
        metrics::counter!("ringfence_queries_total", "outcome" => outcome).increment(1);
        metrics::histogram!("ringfence_query_duration_seconds").record(self.began.elapsed().as_secs_f64());
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if !self.ended {
            self.record("abandoned");
        }
    }
}

fn outcome(code: Code) -> &'static str {
    match code {
        Code::QueryFailed => "failed",
        Code::QueryTimedOut => "timed_out",
        Code::QueryCancelled => "cancelled",
        Code::ResultTooLarge => "too_large",
        Code::SourceUnreachable | Code::SourceCredentials | Code::SourceNotAllowed | Code::SourceLost => {
            "source"
        }
        Code::SourceBusy | Code::TooManyQueries => "busy",
        Code::AuditUnavailable | Code::StoreUnavailable | Code::ShuttingDown | Code::Internal => {
            "unavailable"
        }
        _ => "refused",
    }
}
