//! A token: a JWT (RFC 7519) that an application signed, in which it names one of its users.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use ringfence_policy::id::{MAX_ID_BYTES, check_name};
use ringfence_policy::{Agent, Attributes, KeyName, Principal, TenantId, UserId};
use serde::Deserialize;

use super::{ActingConfig, PublicKey, Spoken, agent, signatures};

/// Longest token, in bytes.
pub const MAX_BYTES: usize = 8 * 1024;
/// How far clocks may be apart, in seconds.
pub const LEEWAY: u64 = 30;
/// Roles of one user.
pub const MAX_ROLES: usize = 100;

/// What is wrong with a token, or with what it says. The reasons are for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not what it should look like: its sender can see that, too.
    Malformed(&'static str),
    /// It was good.
    Expired,
    /// Anything else, which is one answer.
    Refused(&'static str),
}

/// A token that was signed by the application and is good now.
#[derive(Debug)]
pub(super) struct VerifiedToken {
    pub(super) spoken: Spoken,
    /// Until when, in seconds since the epoch.
    pub(super) until: i64,
}

/// The claims. One that is not known is refused: who misspells `roles` would not say of the user what they mean to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    // Checked by the library.
    #[serde(rename = "aud")]
    _aud: Audience,
    exp: u64,
    iat: u64,
    #[serde(default, rename = "nbf")]
    _nbf: Option<u64>,
    #[serde(default, rename = "jti")]
    _jti: Option<String>,
    sub: String,
    #[serde(default)]
    org: Option<String>,
    tenant: String,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    attributes: Attributes,
    #[serde(default)]
    agent: Option<String>,
    /// RFC 8693, section 4.1: who acts for the subject.
    #[serde(default)]
    act: Option<Actor>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(#[expect(dead_code, reason = "the library reads it")] String),
    Many(#[expect(dead_code, reason = "the library reads it")] Vec<String>),
}

#[derive(Debug, Deserialize)]
struct Actor {
    sub: String,
}

/// The id of the key that the token says it was signed with.
pub(super) fn kid_of(token: &str) -> Result<KeyName, Fault> {
    let header = decode_header(token).map_err(|error| match error.kind() {
        // Such as `none`.
        ErrorKind::InvalidAlgorithmName => Fault::Refused("an unknown algorithm"),
        _ => Fault::Malformed("the header is not that of a JWT"),
    })?;
    if header.crit.is_some() {
        // RFC 7515, section 4.1.11: who does not know an extension must refuse the token.
        return Err(Fault::Refused("extensions that are not known"));
    }
    if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
        return Err(Fault::Refused("another type of token"));
    }
    let kid = header.kid.ok_or(Fault::Malformed("no key id"))?;
    KeyName::new(&kid).map_err(|_| Fault::Malformed("a key id that can't be one"))
}

/// Checks signature and claims. `now` is in seconds since the epoch.
//
// INVARIANT: the algorithm is the key's, never the token's choice. Held by the test `a_key_verifies_one_algorithm`.
pub(super) fn verify(
    token: &str,
    key: &PublicKey,
    application: &Principal,
    config: &ActingConfig,
    now: i64,
) -> Result<VerifiedToken, Fault> {
    signatures::install();
    let mut validation = Validation::new(key.algorithm());
    validation.set_audience(&[&config.audience]);
    validation.set_issuer(&[&application.user]);
    validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    let claims =
        decode::<Claims>(token, key.decoding(), &validation).map_err(|error| fault_of(error.kind()))?;
    let Claims { iss, exp, iat, sub, org, tenant, roles, attributes, agent, act, .. } = claims.claims;
    if iss != application.user.as_str() {
        return Err(Fault::Refused("another issuer"));
    }
    if org.is_some_and(|org| org != application.org.as_str()) {
        return Err(Fault::Refused("another organization"));
    }
    let until = good_until(exp, iat, config.max_lifetime.as_secs(), now)?;
    let agent = match (agent, act.map(|actor| actor.sub)) {
        (Some(one), Some(other)) if one != other => return Err(Fault::Refused("two agents")),
        (one, other) => one.or(other),
    };
    let agent = agent.map(|name| agent::checked(&name).map(|name| Agent::Vouched(name.to_owned())));
    let agent = agent.transpose().map_err(Fault::Refused)?;
    Ok(VerifiedToken { spoken: checked(&tenant, &sub, roles, attributes, agent)?, until })
}

/// When the token ends, if its times are in order.
fn good_until(exp: u64, iat: u64, longest: u64, now: i64) -> Result<i64, Fault> {
    let now = u64::try_from(now).map_err(|_| Fault::Refused("the clock stands before 1970"))?;
    if iat > now.saturating_add(LEEWAY) {
        return Err(Fault::Refused("signed in the future"));
    }
    if exp <= iat || exp - iat > longest {
        return Err(Fault::Refused("good for longer than a token may be"));
    }
    let until = exp.saturating_add(LEEWAY);
    if until <= now {
        return Err(Fault::Expired);
    }
    i64::try_from(until).map_err(|_| Fault::Refused("good for ever"))
}

fn fault_of(kind: &ErrorKind) -> Fault {
    match kind {
        ErrorKind::ExpiredSignature => Fault::Expired,
        ErrorKind::InvalidSignature => Fault::Refused("another signature"),
        ErrorKind::InvalidAlgorithm => Fault::Refused("another algorithm than the key's"),
        ErrorKind::InvalidAudience => Fault::Refused("another audience"),
        ErrorKind::InvalidIssuer => Fault::Refused("another issuer"),
        ErrorKind::ImmatureSignature => Fault::Refused("not good yet"),
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::Json(_) => {
            Fault::Malformed("a claim is missing, unknown, or of another type")
        }
        ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => {
            Fault::Malformed("not the three parts of a JWT")
        }
        _ => Fault::Refused("the library refuses it"),
    }
}

/// Names as they may be, by whichever way they came.
pub(super) fn checked(
    tenant: &str,
    user: &str,
    roles: Vec<String>,
    attributes: Attributes,
    agent: Option<Agent>,
) -> Result<Spoken, Fault> {
    let tenant = TenantId::new(tenant).map_err(|_| Fault::Malformed("a tenant that can't be one"))?;
    let user = UserId::new(user).map_err(|_| Fault::Malformed("a user that can't be one"))?;
    if roles.len() > MAX_ROLES {
        return Err(Fault::Malformed("too many roles"));
    }
    let is_name = |name: &String| check_name("name", name, MAX_ID_BYTES).is_ok();
    if !roles.iter().all(is_name) || !attributes.keys().all(is_name) {
        return Err(Fault::Malformed("a role or an attribute whose name can't be one"));
    }
    Ok(Spoken { tenant, user, roles, attributes, agent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_order() {
        let check = |exp, iat, now| good_until(exp, iat, 600, now);
        assert_eq!(check(1_600, 1_000, 1_000), Ok(1_630));
        assert_eq!(check(1_600, 1_000, 1_629), Ok(1_630), "clocks may be apart");
        assert_eq!(check(1_600, 1_000, 1_630), Err(Fault::Expired));
        assert_eq!(check(1_000, 500, 9_999), Err(Fault::Expired));
        for (exp, iat, now) in [
            (1_601, 1_000, 1_000),
            (1_000, 1_000, 1_000),
            (900, 1_000, 1_000),
            (1_100, 1_031, 1_000),
            (u64::MAX, 1_000, 1_000),
            (u64::MAX, u64::MAX - 1, 1_000),
            (1_600, 1_000, -1),
        ] {
            assert!(matches!(check(exp, iat, now), Err(Fault::Refused(_))), "{exp} {iat} {now}");
        }
    }

    #[test]
    fn only_a_jwt_with_a_key_id_has_one() {
        use base64::Engine as _;
        let kid = |header: &str| {
            let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
            kid_of(&format!("{encoded}.e30.AA"))
        };
        assert_eq!(kid(r#"{"alg":"ES256","kid":"k","typ":"jwt"}"#), Ok(KeyName::new("k").unwrap()));
        for refused in [
            r#"{"alg":"none","kid":"k"}"#,
            r#"{"alg":"NONE","kid":"k"}"#,
            r#"{"alg":"ES256","kid":"k","crit":["b64"],"b64":false}"#,
            r#"{"alg":"ES256","kid":"k","typ":"dpop+jwt"}"#,
        ] {
            assert!(kid(refused).is_err(), "{refused}");
        }
        for malformed in [r#"{"alg":"ES256"}"#, r#"{"kid":"k"}"#, r#"{"alg":"ES256","kid":""}"#, "[]", ""] {
            assert!(matches!(kid(malformed), Err(Fault::Malformed(_))), "{malformed}");
        }
        for malformed in ["", "a", "a.b", "..", "a.b.c.d"] {
            assert!(matches!(kid_of(malformed), Err(Fault::Malformed(_))), "{malformed}");
        }
    }
}
