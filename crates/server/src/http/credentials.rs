//! What a request's headers say about who asks.

use axum::http::{HeaderMap, HeaderName, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringfence_gateway::{Acting, Code, PlainPrincipal, Refused};
use secrecy::SecretString;
use zeroize::Zeroizing;

const IMPERSONATE: HeaderName = HeaderName::from_static("x-waii-impersonate-user");
const PRINCIPAL: HeaderName = HeaderName::from_static("x-ringfence-principal");
const PROVIDER: HeaderName = HeaderName::from_static("x-ringfence-provider");
const AGENT: HeaderName = HeaderName::from_static("x-ringfence-agent");

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

/// The presented name and password; `None` when there is no `Authorization`, or one of another kind. One that is not as it should
/// be is refused.
pub(super) fn presented_pair(headers: &HeaderMap) -> Result<Option<(String, SecretString)>, Refused> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some((scheme, encoded)) =
        values.next().and_then(|value| value.to_str().ok()).and_then(|text| text.split_once(' '))
    else {
        return Ok(None);
    };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let refuse = || {
        Refused::new(
            Code::AuthenticationRequired,
            "send one header Authorization: Basic <user:password in base64>",
        )
    };
    if values.next().is_some() {
        return Err(refuse());
    }
    let pair = STANDARD.decode(encoded.trim()).map_err(|_| refuse())?;
    let pair = Zeroizing::new(String::from_utf8(pair).map_err(|_| refuse())?);
    // RFC 7617: the name ends at the first colon.
    let (user, password) = pair.split_once(':').ok_or_else(refuse)?;
    if user.is_empty() || password.is_empty() {
        return Err(refuse());
    }
    Ok(Some((user.to_owned(), password.into())))
}

/// INVARIANT: a header that is present is never ignored, or the request would run as somebody else than it asked for.
/// The test `an_impersonation_header_is_never_ignored` holds it.
pub(super) fn impersonated_user(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    one_text(headers, &IMPERSONATE, |_| {
        Refused::invalid("x-waii-impersonate-user must be one non-empty user id in UTF-8")
    })
}

/// Names of headers in which applications name their users in plain text.
#[derive(Debug, Clone)]
pub(crate) struct PlainHeaders {
    pub(crate) tenant: HeaderName,
    pub(crate) user: HeaderName,
    pub(crate) roles: HeaderName,
    pub(crate) attributes: HeaderName,
}

impl Default for PlainHeaders {
    fn default() -> Self {
        Self {
            tenant: HeaderName::from_static("x-ringfence-tenant"),
            user: HeaderName::from_static("x-ringfence-user"),
            roles: HeaderName::from_static("x-ringfence-roles"),
            attributes: HeaderName::from_static("x-ringfence-attributes"),
        }
    }
}

/// The user whom an application acts for, by a token or by plain headers; whether the latter are trusted is the gateway's
/// to say.
///
/// INVARIANT: no header of these that is present is ever ignored, for the reason above. The test
/// `what_names_a_user_is_never_ignored` holds it.
pub(super) fn acting<'a>(
    headers: &'a HeaderMap,
    plain: &PlainHeaders,
) -> Result<Option<Acting<'a>>, Refused> {
    let token = one_text(headers, &PRINCIPAL, |_| {
        Refused::new(Code::InvalidPrincipalToken, "send one header X-Ringfence-Principal: <JWT>")
    })?;
    let PlainHeaders { tenant, user, roles, attributes } = plain;
    let text = |name: &HeaderName| {
        one_text(headers, name, |name| {
            Refused::new(Code::InvalidPrincipalToken, format!("send one header {name} with a text in UTF-8"))
        })
    };
    let (tenant, user, roles, attributes) = (text(tenant)?, text(user)?, text(roles)?, text(attributes)?);
    match (token, tenant, user) {
        (None, None, None) if roles.is_none() && attributes.is_none() => Ok(None),
        (Some(token), None, None) if roles.is_none() && attributes.is_none() => {
            Ok(Some(Acting::Token(token)))
        }
        (None, Some(tenant), Some(user)) => {
            Ok(Some(Acting::Headers(PlainPrincipal { tenant, user, roles, attributes })))
        }
        (Some(_), _, _) => Err(Refused::new(
            Code::InvalidPrincipalToken,
            "name the user either in a token or in plain headers, not in both",
        )),
        (None, _, _) => Err(Refused::new(
            Code::InvalidPrincipalToken,
            "plain headers that name a user name tenant and user at least: send both, or none of the headers",
        )),
    }
}

/// The agent that the caller says it is.
pub(super) fn named_agent(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    one_text(headers, &AGENT, |_| Refused::invalid("X-Ringfence-Agent must be one non-empty name in UTF-8"))
}

/// The `OpenID` provider that an opaque token is of, where there are several.
pub(super) fn named_provider(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    one_text(headers, &PROVIDER, |_| Refused::invalid("X-Ringfence-Provider must be one name of a provider"))
}

/// The text of a header that may be left out; one that is there must be one text, and not empty.
fn one_text<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    refuse: impl Fn(&HeaderName) -> Refused,
) -> Result<Option<&'a str>, Refused> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(refuse(name));
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| refuse(name))?.trim();
    if text.is_empty() { Err(refuse(name)) } else { Ok(Some(text)) }
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

    #[test]
    fn a_pair_is_one_basic_credential() {
        use secrecy::ExposeSecret as _;

        let read = |values: &[&[u8]]| {
            let pairs: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
            let pair = presented_pair(&headers(&pairs))?;
            Ok::<_, Refused>(pair.map(|(user, password)| format!("{user} {}", password.expose_secret())))
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[b"Bearer abc"]), Ok(None));
        assert_eq!(read(&[b"Basic YW5uOnNlY3JldA=="]), Ok(Some("ann secret".to_owned())));
        assert_eq!(read(&[b"basic  YW5uOmE6Yg== "]), Ok(Some("ann a:b".to_owned())));
        for bad in [
            &[b"Basic ".as_slice()][..],
            &[b"Basic YW5u"],
            &[b"Basic OnNlY3JldA=="],
            &[b"Basic YW5uOg=="],
            &[b"Basic YW5uOnNlY3JldA"],
            &[b"Basic /////w=="],
            &[b"Basic YW5uOnNlY3JldA==", b"Basic YW5uOnNlY3JldA=="],
            &[b"Basic YW5uOnNlY3JldA==", b"Bearer abc"],
        ] {
            assert_eq!(read(bad).unwrap_err().code, Code::AuthenticationRequired, "{bad:?}");
        }
    }

    #[test]
    fn what_names_a_user_is_never_ignored() {
        let read = |pairs: &[(&'static str, &[u8])]| {
            let headers = headers(pairs);
            acting(&headers, &PlainHeaders::default())
                .map(|acting| acting.map(|acting| format!("{acting:?}")))
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("x-ringfence-principal", b"a.b.c")]), Ok(Some(r#"Token("a.b.c")"#.to_owned())));
        let plain =
            read(&[("x-ringfence-tenant", b"t"), ("x-ringfence-user", b"u"), ("x-ringfence-roles", b"r")]);
        assert!(plain.clone().unwrap().unwrap().starts_with("Headers"), "{plain:?}");
        let refused: [&[(&'static str, &[u8])]; 9] = [
            &[("x-ringfence-principal", b"")],
            &[("x-ringfence-principal", b"a"), ("x-ringfence-principal", b"a")],
            &[("x-ringfence-principal", b"\xff")],
            &[("x-ringfence-tenant", b"t")],
            &[("x-ringfence-user", b"u")],
            &[("x-ringfence-roles", b"r")],
            &[("x-ringfence-attributes", b"{}")],
            &[("x-ringfence-tenant", b"t"), ("x-ringfence-user", b"u"), ("x-ringfence-user", b"v")],
            &[("x-ringfence-principal", b"a"), ("x-ringfence-roles", b"r")],
        ];
        for pairs in refused {
            assert_eq!(read(pairs).unwrap_err().code, Code::InvalidPrincipalToken, "{pairs:?}");
        }
    }

    #[test]
    fn an_agent_has_one_name() {
        assert_eq!(named_agent(&headers(&[])), Ok(None));
        assert_eq!(named_agent(&headers(&[("x-ringfence-agent", b"assistant")])), Ok(Some("assistant")));
        let twice: &[(&'static str, &[u8])] = &[("x-ringfence-agent", b"a"), ("x-ringfence-agent", b"b")];
        assert_eq!(named_agent(&headers(twice)).unwrap_err().code, Code::InvalidRequest);
    }
}
