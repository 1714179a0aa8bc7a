//! Access tokens that are JWTs (RFC 7519, RFC 9068): whether a provider signed one for us, and for now.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm as Signature, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::Provider;
use crate::acting::{WebKey, install_verifiers};

/// Longest token, in bytes: larger ones don't fit into a header that servers take.
pub(super) const MAX_BYTES: usize = 16 * 1024;
/// Longest id of a key.
const MAX_KID_BYTES: usize = 512;
/// How far clocks may be apart, in seconds.
const LEEWAY: u64 = 30;
/// Claims that only tokens of other kinds have: those that tell a client who signed in, or that somebody signed out.
const OF_OTHER_TOKENS: [&str; 4] = ["nonce", "at_hash", "c_hash", "events"];

/// How a token may be signed: only ever with the private half of a key whose public half is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithm(Signature);

/// Every one that may be configured.
const ALGORITHMS: [(&str, Signature); 8] = [
    ("RS256", Signature::RS256),
    ("RS384", Signature::RS384),
    ("RS512", Signature::RS512),
    ("PS256", Signature::PS256),
    ("PS384", Signature::PS384),
    ("PS512", Signature::PS512),
    ("ES256", Signature::ES256),
    ("EdDSA", Signature::EdDSA),
];

impl Algorithm {
    /// Those that are allowed unless the configuration says otherwise.
    pub const DEFAULT: [Self; 4] =
        [Self(Signature::RS256), Self(Signature::PS256), Self(Signature::ES256), Self(Signature::EdDSA)];

    /// Whether a key can have signed so.
    pub(super) fn fits(self, key: &WebKey) -> bool {
        matches!(
            (key, self.0),
            (WebKey::Point { .. }, Signature::ES256)
                | (WebKey::Edwards { .. }, Signature::EdDSA)
                | (
                    WebKey::Rsa { .. },
                    Signature::RS256
                        | Signature::RS384
                        | Signature::RS512
                        | Signature::PS256
                        | Signature::PS384
                        | Signature::PS512
                )
        )
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = ALGORITHMS.iter().find(|(_, signature)| *signature == self.0);
        f.write_str(named.map_or("none", |(name, _)| name))
    }
}

/// A name of none that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown algorithm: use some of RS256, RS384, RS512, PS256, PS384, PS512, ES256, EdDSA")]
pub struct AlgorithmUnknown;

impl FromStr for Algorithm {
    type Err = AlgorithmUnknown;

    fn from_str(text: &str) -> Result<Self, AlgorithmUnknown> {
        let found = ALGORITHMS.iter().find(|(name, _)| *name == text);
        found.map(|(_, signature)| Self(*signature)).ok_or(AlgorithmUnknown)
    }
}

/// What a token says, once it is believed.
pub(super) struct Verified {
    pub(super) claims: Map<String, Value>,
    /// Both in seconds since the epoch.
    pub(super) until: i64,
    pub(super) issued_at: i64,
}

/// Whether a text looks like a JWT, a broken one included. No access key does. One of five parts is encrypted: only its provider
/// can read it.
pub(super) fn is_jwt(text: &str) -> bool {
    let dots = text.bytes().filter(|byte| *byte == b'.').count();
    text.starts_with("eyJ") && dots > 0 && dots != 4
}

/// Who the token says has made it: which is not believed, and only says whom to ask for keys.
pub(super) fn alleged_issuer(token: &str) -> Result<String, &'static str> {
    if token.len() > MAX_BYTES {
        return Err("longer than any token may be");
    }
    let claims = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
    let claims = claims.and_then(|claims| serde_json::from_slice::<Map<String, Value>>(&claims).ok());
    match claims.ok_or("no JWT")?.get("iss") {
        Some(Value::String(issuer)) => Ok(issuer.clone()),
        _ => Err("no issuer"),
    }
}

impl Provider {
    /// Checks signature and claims. `now` is in seconds since the epoch.
    //
    // INVARIANT: nothing that the token says chooses the key but its id among the provider's own, and nothing that it says
    // chooses an algorithm that the configuration or the key does not. Held by the corpus in `cases/oidc`.
    pub(super) async fn verify(&self, token: &str, now: i64) -> Result<Verified, &'static str> {
        let types = ["jwt", "at+jwt", "application/at+jwt"];
        let verified = self.signed(token, &types, &self.config.audiences, now).await?;
        if OF_OTHER_TOKENS.iter().any(|claim| verified.claims.contains_key(*claim)) {
            return Err("a token of another kind");
        }
        if verified.claims.get("typ").is_some_and(|typ| typ != "Bearer" && typ != "JWT") {
            return Err("a token of another kind");
        }
        Ok(verified)
    }

    /// The same for any token that the provider signs: of one of the types, for one of the audiences.
    pub(super) async fn signed(
        &self,
        token: &str,
        types: &[&str],
        audiences: &[String],
        now: i64,
    ) -> Result<Verified, &'static str> {
        install_verifiers();
        if token.len() > MAX_BYTES {
            return Err("longer than any token may be");
        }
        let header = decode_header(token).map_err(|_| "the header is not that of a JWT")?;
        let algorithm = Algorithm(header.alg);
        if !self.config.algorithms.contains(&algorithm) {
            return Err("an algorithm that is not allowed");
        }
        if header.crit.is_some() || header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() {
            return Err("a header that brings its own key, or asks for what is not known");
        }
        let typ = header.typ.as_deref().map(str::to_ascii_lowercase);
        if typ.as_deref().is_some_and(|typ| !types.contains(&typ)) {
            return Err("another type of token");
        }
        let kid = header.kid.as_deref();
        if kid.is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Err("a key id that can't be one");
        }
        let key = self.key(kid, algorithm).await?;
        let mut validation = Validation::new(header.alg);
        validation.set_audience(audiences);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss"]);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        let token = decode::<Map<String, Value>>(token, &key, &validation);
        let claims = token.map_err(|_| "signature, issuer, audience or time are wrong")?.claims;
        // An array of issuers, or one of expiries, is something that the library reads in its own way.
        if !claims.get("iss").is_some_and(Value::is_string) {
            return Err("an issuer that is no text");
        }
        let until = seconds(&claims, "exp").ok_or("no time of its end")?;
        let issued_at = seconds(&claims, "iat").ok_or("no time of its making")?;
        let leeway = i64::try_from(LEEWAY).unwrap_or_default();
        if issued_at > now.saturating_add(leeway) {
            return Err("made in the future");
        }
        Ok(Verified { claims, until: until.saturating_add(leeway), issued_at })
    }
}

/// A time, whole or with parts of a second.
pub(super) fn seconds(claims: &Map<String, Value>, claim: &str) -> Option<i64> {
    let number = claims.get(claim)?;
    #[expect(clippy::cast_possible_truncation, reason = "parts of a second are left out")]
    let whole = |number: f64| number.is_finite().then_some(number as i64);
    number.as_i64().or_else(|| number.as_f64().and_then(whole))
}
