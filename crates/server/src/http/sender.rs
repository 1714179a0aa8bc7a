//! Whether a page of another site made a browser send a request (CSRF).
//!
//! Browsers say so themselves: in `Sec-Fetch-Site`, which pages can't write, else in `Origin`. What says neither comes from no
//! browser of these years, and brings no cookie that it does not hold itself; `SameSite` on the cookie is the wall behind this one.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, header};
use ringfence_gateway::{Code, Refused};

use super::requested_at::RequestedAt;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who made the browser send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// No browser, as far as one can tell.
    Program,
    /// A page of this very origin, or the person in front of it.
    Own,
    /// A page of another origin, another sub-domain among them.
    Foreign,
}

impl Sender {
    pub(crate) fn of(headers: &HeaderMap, host: Option<&str>) -> Self {
        let mut sites = headers.get_all(FETCH_SITE).iter();
        if let Some(site) = sites.next() {
            let is_own = matches!(site.as_bytes(), b"same-origin" | b"none") && sites.next().is_none();
            return if is_own { Self::Own } else { Self::Foreign };
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else { return Self::Program };
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let is_own = origins.next().is_none() && host.is_some_and(|host| is_at(&origin, host));
        if is_own { Self::Own } else { Self::Foreign }
    }
}

/// Whether the origin's host and port are these. The scheme may differ: a proxy may have taken TLS off.
fn is_at(origin: &str, host: &str) -> bool {
    let at = |scheme: &str, port: &str| {
        origin.strip_prefix(scheme).is_some_and(|authority| {
            let without = |text: &str| text.strip_suffix(port).unwrap_or(text).to_owned();
            !authority.is_empty() && without(authority) == without(host)
        })
    };
    at("https://", ":443") || at("http://", ":80")
}

/// Refuses what a page of another site asks to be changed.
// INVARIANT: no cookie carries a change that another origin asked for. Held by the tests beside `sign_in`.
pub(crate) fn refuse_foreign_change(parts: &Parts, at: &RequestedAt) -> Result<(), Refused> {
    let is_reading = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if is_reading || Sender::of(&parts.headers, at.host()) != Sender::Foreign {
        return Ok(());
    }
    Err(foreign())
}

/// The refusal of what another site's page sends.
pub(crate) fn foreign() -> Refused {
    Refused::new(Code::CrossSiteRequest, "a page of another site asked for this: it is not done")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn sender(pairs: &[(&'static str, &'static str)]) -> Sender {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Sender::of(&headers, Some("data.example.com"))
    }

    #[test]
    fn browsers_say_who_asked() {
        assert_eq!(sender(&[]), Sender::Program);
        for own in [
            &[("sec-fetch-site", "same-origin")][..],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://data.example.com")],
            &[("origin", "https://Data.Example.com:443")],
            &[("origin", "http://data.example.com")],
            // What pages can't write counts before what they can make differ.
            &[("sec-fetch-site", "same-origin"), ("origin", "null")],
        ] {
            assert_eq!(sender(own), Sender::Own, "{own:?}");
        }
        for foreign in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "anything")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://data.example.com")],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "https://")],
            &[("origin", "https://evil.example.com")],
            &[("origin", "https://data.example.com.evil.org")],
            &[("origin", "https://data.example.com:8443")],
            &[("origin", "https://evil.org/data.example.com")],
            &[("origin", "https://data.example.com"), ("origin", "https://evil.org")],
        ] {
            assert_eq!(sender(foreign), Sender::Foreign, "{foreign:?}");
        }
    }
}
