//! The cookies of sign-in: what they are called, how they are set and read.

use axum::http::{HeaderMap, HeaderValue, header};
use ringfence_gateway::{Code, Refused};

/// Which requests of other sites bring the cookies along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SameSite {
    Lax,
    Strict,
}

/// How cookies are made.
#[derive(Debug, Clone)]
pub(crate) struct Cookies {
    session: &'static str,
    form: &'static str,
    journey: &'static str,
    attributes: &'static str,
    /// Of the cookie that a browser must bring back from a provider, and so from another site.
    journey_attributes: &'static str,
}

/// Longest value that is looked at.
const LONGEST: usize = 128;

impl Cookies {
    /// Those for HTTPS alone have the prefix that keeps other hosts, and pages without TLS, from setting them (RFC 6265bis).
    pub(crate) fn new(secure: bool, same_site: SameSite) -> Self {
        let attributes = match (secure, same_site) {
            (true, SameSite::Lax) => "; Path=/; HttpOnly; SameSite=Lax; Secure",
            (true, SameSite::Strict) => "; Path=/; HttpOnly; SameSite=Strict; Secure",
            (false, SameSite::Lax) => "; Path=/; HttpOnly; SameSite=Lax",
            (false, SameSite::Strict) => "; Path=/; HttpOnly; SameSite=Strict",
        };
        let (session, form, journey) = if secure {
            ("__Host-ringfence-session", "__Host-ringfence-form", "__Host-ringfence-journey")
        } else {
            ("ringfence-session", "ringfence-form", "ringfence-journey")
        };
        let journey_attributes = if secure {
            "; Path=/; HttpOnly; SameSite=Lax; Secure"
        } else {
            "; Path=/; HttpOnly; SameSite=Lax"
        };
        Self { session, form, journey, attributes, journey_attributes }
    }

    /// The session's secret. Two of them are one too many: which of them is meant is not ours to guess.
    pub(crate) fn session<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a str>, Refused> {
        one(headers, self.session)
            .map_err(|()| Refused::new(Code::SessionEnded, "the session has ended: sign in again"))
    }

    /// What the sign-in page's form must repeat.
    pub(crate) fn form<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        one(headers, self.form).ok().flatten()
    }

    /// The secret of a browser that is on its way to a provider and back.
    pub(crate) fn journey<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        one(headers, self.journey).ok().flatten()
    }

    pub(crate) fn set_journey(&self, secret: &str) -> Option<HeaderValue> {
        let text = format!("{}={secret}; Max-Age=600{}", self.journey, self.journey_attributes);
        HeaderValue::from_str(&text).ok()
    }

    pub(crate) fn clear_journey(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("{}=; Max-Age=0{}", self.journey, self.journey_attributes)).ok()
    }

    pub(crate) fn set_session(&self, secret: &str) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("{}={secret}{}", self.session, self.attributes)).ok()
    }

    pub(crate) fn clear_session(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("{}=; Max-Age=0{}", self.session, self.attributes)).ok()
    }

    pub(crate) fn set_form(&self, token: &str) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("{}={token}{}", self.form, self.attributes)).ok()
    }
}

/// The cookie of that name, if there is one; an error, if there are more.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ()> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut found = pairs
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.split_once('='))
        .filter(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim());
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(()),
        (Some(value), None) if value.is_empty() || value.len() > LONGEST => Err(()),
        (value, None) => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cookies: &Cookies, values: &[&str]) -> Result<Option<String>, Code> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::COOKIE, HeaderValue::from_str(value).unwrap());
        }
        let session = cookies.session(&headers);
        session.map(|secret| secret.map(str::to_owned)).map_err(|refused| refused.code)
    }

    #[test]
    fn a_session_is_one_cookie() {
        let cookies = Cookies::new(true, SameSite::Lax);
        let secret = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(read(&cookies, &[]), Ok(None));
        assert_eq!(read(&cookies, &["a=b; c"]), Ok(None));
        assert_eq!(read(&cookies, &["a=b; __Host-ringfence-session=x=y"]), secret("x=y"));
        assert_eq!(read(&cookies, &["a=b", "__Host-ringfence-session=x"]), secret("x"));
        // Without the prefix it may have been set by another host: it is none of ours.
        assert_eq!(read(&cookies, &["ringfence-session=x; __host-ringfence-session=x"]), Ok(None));
        let long = format!("__Host-ringfence-session={}", "x".repeat(LONGEST + 1));
        for tampered in [
            &["__Host-ringfence-session=x; __Host-ringfence-session=y"][..],
            &["__Host-ringfence-session=x", "__Host-ringfence-session=x"],
            &["__Host-ringfence-session="],
            &[&long],
        ] {
            assert_eq!(read(&cookies, tampered), Err(Code::SessionEnded), "{tampered:?}");
        }
    }

    #[test]
    fn cookies_are_set_narrowly() {
        let text = |value: Option<HeaderValue>| value.unwrap().to_str().unwrap().to_owned();
        let secure = Cookies::new(true, SameSite::Strict);
        assert_eq!(
            text(secure.set_session("x")),
            "__Host-ringfence-session=x; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            text(secure.clear_session()),
            "__Host-ringfence-session=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        let plain = Cookies::new(false, SameSite::Lax);
        assert_eq!(text(plain.set_form("x")), "ringfence-form=x; Path=/; HttpOnly; SameSite=Lax");
    }
}
