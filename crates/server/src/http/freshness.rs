//! How new an answer has to be: what a request's `Cache-Control` says of answers that are kept, and how old the answer is.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use ringfence_gateway::Freshness;

/// What the request says (RFC 9111, section 5.2.1): `no-cache`, `no-store` and `max-age`; everything else is for caches on the way.
/// Where an age can't be read, nothing that is kept is new enough.
pub(crate) fn asked(headers: &HeaderMap) -> Freshness {
    let mut asked = Freshness::default();
    for value in headers.get_all(header::CACHE_CONTROL) {
        let Ok(text) = value.to_str() else { continue };
        for directive in text.split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            let oldest = match name.trim().to_ascii_lowercase().as_str() {
                "no-store" => {
                    asked.is_kept = false;
                    Duration::ZERO
                }
                "no-cache" => Duration::ZERO,
                "max-age" => {
                    let seconds = argument.trim().trim_matches('"').parse();
                    seconds.map_or(Duration::ZERO, Duration::from_secs)
                }
                _ => continue,
            };
            asked.oldest = Some(asked.oldest.map_or(oldest, |other| other.min(oldest)));
        }
    }
    asked
}

/// Says of an answer that was kept how old it is, in whole seconds.
pub(crate) fn tell(response: &mut Response, age: Option<Duration>) {
    if let Some(age) = age {
        response.headers_mut().insert(header::AGE, HeaderValue::from(age.as_secs()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(values: &[&'static str]) -> Freshness {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CACHE_CONTROL, HeaderValue::from_static(value));
        }
        asked(&headers)
    }

    #[test]
    fn what_is_asked_for_is_read() {
        let seconds = |oldest: u64| Some(Duration::from_secs(oldest));
        for (values, oldest, is_kept) in [
            (&[][..], None, true),
            (&["no-cache"], seconds(0), true),
            (&["No-Store"], seconds(0), false),
            (&["max-age=5"], seconds(5), true),
            (&["max-age=5, max-age = \"3\"", "max-age=9"], seconds(3), true),
            (&["max-age=soon"], seconds(0), true),
            (&["max-age=-1"], seconds(0), true),
            (&["no-transform, only-if-cached"], None, true),
        ] {
            assert_eq!(asking(values), Freshness { oldest, is_kept }, "{values:?}");
        }
    }
}
