//! Each call has a trace id: the client's own, or a new one.

use axum::http::{HeaderMap, HeaderName};
use ringfence_policy::TraceId;

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace id of a valid `traceparent` (W3C Trace Context, section 3.2), else a new random one.
pub(super) fn trace_id_of(headers: &HeaderMap) -> TraceId {
    let given = headers.get(TRACE_PARENT).and_then(|value| read_trace_parent(value.to_str().ok()?));
    given.unwrap_or_else(new_trace_id)
}

fn read_trace_parent(text: &str) -> Option<TraceId> {
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_well_formed = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    // Version 00 has four parts; a later one may have more.
    let is_valid = is_well_formed
        && version != "ff"
        && !is_zero(trace)
        && !is_zero(parent)
        && (version != "00" || parts.next().is_none());
    if is_valid { TraceId::new(trace).ok() } else { None }
}

/// The time, then chance (W3C Trace Context, section 3.2.2.3, asks for it in the right-most bytes only): ids of one time
/// are neighbours in the audit log's index, and a commit of many records writes few of its pages.
fn new_trace_id() -> TraceId {
    let mut text = [0; uuid::fmt::Simple::LENGTH];
    let id = uuid::Builder::from_unix_timestamp_millis(milliseconds(), &rand::random()).into_uuid();
    match TraceId::new(id.simple().encode_lower(&mut text)) {
        Ok(id) => id,
        Err(_) => unreachable!("32 hexadecimal digits are a valid trace id"),
    }
}

fn milliseconds() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_continued_only_from_a_valid_traceparent() {
        const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        let valid = format!("00-{TRACE}-00f067aa0ba902b7-01");
        assert_eq!(read_trace_parent(&valid).unwrap().as_str(), TRACE);
        assert_eq!(
            read_trace_parent(&format!("cc-{TRACE}-00f067aa0ba902b7-01-more")).unwrap().as_str(),
            TRACE
        );
        let bad = [
            String::new(),
            format!("{valid}-more"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}x-00f067aa0ba902b7-01"),
        ];
        for text in bad {
            assert!(read_trace_parent(&text).is_none(), "{text}");
        }
        assert_eq!(new_trace_id().as_str().len(), 32);
    }
}
