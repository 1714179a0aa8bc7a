//! What a request's headers say about who asks.

use axum::http::{HeaderMap, HeaderName, header};
use ringfence_gateway::{Code, Refused};

const IMPERSONATE: HeaderName = HeaderName::from_static("x-waii-impersonate-user");

/// The presented key; `None` when there is no `Authorization`. Anything else that is no Bearer credential is refused.
pub(super) fn presented_key(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let refuse =
        || Refused::new(Code::AuthenticationRequired, "send one header Authorization: Bearer <access key>");
    if values.next().is_some() {
        return Err(refuse());
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| refuse())?;
    let (scheme, key) = text.split_once(' ').ok_or_else(refuse)?;
    let key = key.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !key.is_empty() { Ok(Some(key)) } else { Err(refuse()) }
}

/// INVARIANT: a header that is present is never ignored, or the request would run as somebody else than it asked for.
/// The test `an_impersonation_header_is_never_ignored` holds it.
pub(super) fn impersonated_user(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let mut values = headers.get_all(IMPERSONATE).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let refuse = || Refused::invalid("x-waii-impersonate-user must be one non-empty user id in UTF-8");
    if values.next().is_some() {
        return Err(refuse());
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| refuse())?.trim();
    if text.is_empty() { Err(refuse()) } else { Ok(Some(text)) }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn an_impersonation_header_is_never_ignored() {
        let read = |values: &[&[u8]]| {
            let pairs: Vec<_> = values.iter().map(|value| ("x-waii-impersonate-user", *value)).collect();
            impersonated_user(&headers(&pairs)).map(|user| user.map(str::to_owned))
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[b"banana-user"]), Ok(Some("banana-user".to_owned())));
        assert_eq!(read(&["j\u{fc}rgen".as_bytes()]), Ok(Some("j\u{fc}rgen".to_owned())));
        for bad in [&[b"".as_slice()][..], &[b"  "], &[b"\xff\xfe"], &[b"a", b"a"], &[b"a", b""]] {
            assert_eq!(read(bad).unwrap_err().code, Code::InvalidRequest, "{bad:?}");
        }
    }

    #[test]
    fn a_key_is_one_bearer_credential() {
        let read = |values: &[&[u8]]| {
            let pairs: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
            presented_key(&headers(&pairs)).map(|key| key.map(str::to_owned))
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[b"Bearer abc123"]), Ok(Some("abc123".to_owned())));
        assert_eq!(read(&[b"bearer  abc123 "]), Ok(Some("abc123".to_owned())));
        for bad in [
            &[b"abc123".as_slice()][..],
            &[b"Bearer "],
            &[b"Basic abc"],
            &[b"Bearer \xff"],
            &[b"Bearer a", b"Bearer b"],
        ] {
            assert_eq!(read(bad).unwrap_err().code, Code::AuthenticationRequired, "{bad:?}");
        }
    }
}
