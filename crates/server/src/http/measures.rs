//! What operators see of requests: how many there were, and how long they took.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use axum::http::StatusCode;
use metrics::{Counter, Histogram};

use super::call::FrontEnd;

/// The measures of each route and status that was answered so far: as many as there are of these. The recorder finds a
/// measure by hashing its labels, each in memory of its own; here it is found once.
#[derive(Default)]
pub(crate) struct Measures {
    known: RwLock<HashMap<(FrontEnd, StatusCode), HashMap<String, Measure>>>,
}

#[derive(Clone)]
struct Measure {
    requests: Counter,
    duration: Histogram,
}

impl Measures {
    /// Counts an answered request.
    pub(super) fn record(&self, front_end: FrontEnd, route: &str, status: StatusCode, took: Duration) {
        let measure = self.find(front_end, route, status);
        measure.requests.increment(1);
        measure.duration.record(took.as_secs_f64());
    }

    fn find(&self, front_end: FrontEnd, route: &str, status: StatusCode) -> Measure {
        // Nothing in here panics halfway, so a poisoned map is as good as any.
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(measure) = known.get(&(front_end, status)).and_then(|routes| routes.get(route)) {
            return measure.clone();
        }
        drop(known);
        let measure = Measure::new(front_end, route, status);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.entry((front_end, status)).or_default().insert(route.to_owned(), measure.clone());
        measure
    }
}

impl Measure {
    fn new(front_end: FrontEnd, route: &str, status: StatusCode) -> Self {
        let door = match front_end {
            FrontEnd::Api => "api",
            FrontEnd::V1 => "v1",
            FrontEnd::Mcp => "mcp",
            FrontEnd::Endpoint => "endpoint",
            FrontEnd::Documents => "documents",
        };
        let labels =
            [("door", door.to_owned()), ("route", route.to_owned()), ("status", status.as_str().to_owned())];
        Self {
            requests: metrics::counter!("ringfence_http_requests_total", &labels),
            duration: metrics::histogram!("ringfence_http_request_duration_seconds", &labels),
        }
    }
}
