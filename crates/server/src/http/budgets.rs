//! Budgets as headers: what is left of them, for clients that want to slow down before they are refused.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ringfence_gateway::queries::{BudgetReport, Concurrency, Rate};

/// Adds what the statement ran under. `RateLimit-Policy` and `RateLimit` are those of the IETF's draft
/// (draft-ietf-httpapi-ratelimit-headers), lists that may have another member for the server's own limit.
pub(crate) fn write(budget: BudgetReport, headers: &mut HeaderMap) {
    let BudgetReport { max_rows, timeout, concurrency, rate } = budget;
    let mut add = |name: &'static str, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.append(HeaderName::from_static(name), value);
        }
    };
    if let Some(rows) = max_rows {
        add("ringfence-budget-rows", rows.to_string());
    }
    if let Some(timeout) = timeout {
        add("ringfence-budget-time-ms", timeout.as_millis().to_string());
    }
    if let Some(Concurrency { limit, used }) = concurrency {
        add("ringfence-budget-concurrency", format!("{limit};used={used}"));
    }
    if let Some(Rate { limit, remaining, reset }) = rate {
        // A part of a second is a second more: who comes back then finds what was promised.
        let seconds = reset.as_secs() + u64::from(reset.subsec_nanos() > 0);
        add("ratelimit-policy", format!("\"tenant\";q={limit};w=60"));
        add("ratelimit", format!("\"tenant\";r={remaining};t={seconds}"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn budgets_stand_beside_the_servers_own_limit() {
        let mut headers = HeaderMap::new();
        headers.insert("ratelimit", HeaderValue::from_static("\"default\";r=9;t=1"));
        let budget = BudgetReport {
            max_rows: Some(10),
            timeout: Some(Duration::from_millis(1500)),
            concurrency: Some(Concurrency { limit: 4, used: 1 }),
            rate: Some(Rate { limit: 60, remaining: 58, reset: Duration::from_millis(1200) }),
        };
        write(budget, &mut headers);
        let check = |name: &str, expected: &[&str]| {
            let all: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
            assert_eq!(all, expected, "{name}");
        };
        check("ratelimit", &["\"default\";r=9;t=1", "\"tenant\";r=58;t=2"]);
        check("ratelimit-policy", &["\"tenant\";q=60;w=60"]);
        check("ringfence-budget-rows", &["10"]);
        check("ringfence-budget-time-ms", &["1500"]);
        check("ringfence-budget-concurrency", &["4;used=1"]);
    }
}
