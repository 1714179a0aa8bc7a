//! Opaque access tokens: the provider is asked what one is worth, by introspection (RFC 7662) or where it tells about users.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::discovery::plain;
use super::token::{Verified, seconds};
use super::web::WebRequest;
use super::{AccessTokens, Provider, claims};

impl Provider {
    /// What the provider says of the token now.
    pub(super) async fn look_up(&self, token: &str, now: i64) -> Result<Verified, &'static str> {
        let trust = i64::try_from(self.config.opaque_trust.as_secs()).unwrap_or(i64::MAX);
        let longest = now.saturating_add(trust);
        if self.config.access_tokens == AccessTokens::ByUserinfo {
            let claims = self.userinfo(token).await?;
            return Ok(Verified { claims, until: longest, issued_at: now });
        }
        let mut claims = self.introspect(token).await?;
        let until = seconds(&claims, "exp").map_or(longest, |end| end.min(longest));
        if until <= now {
            return Err("it has expired");
        }
        if seconds(&claims, "nbf").is_some_and(|begin| begin > now) {
            return Err("it is not good yet");
        }
        // Many providers say no more than whose it is: who that is, they say elsewhere.
        if claims::at(&claims, &self.config.name_claim).is_none() {
            let told = self.userinfo(token).await?;
            if told.get("sub") != claims.get("sub") {
                return Err("the provider says two subjects of one token");
            }
            for (name, value) in told {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(Verified { claims, until, issued_at: now })
    }

    async fn introspect(&self, token: &str) -> Result<Map<String, Value>, &'static str> {
        let metadata = self.metadata().await?;
        let url = metadata.introspection_endpoint.clone().ok_or("the provider does not introspect")?;
        let form = format!("token={}&token_type_hint=access_token", encoded(token));
        let authorization = self.client_authorization();
        let form = match &authorization {
            Some(_) => form,
            None => format!("{form}&client_id={}", encoded(&self.config.client_id)),
        };
        let claims: Map<String, Value> =
            self.ask(WebRequest { url, authorization, form: Some(form.into()) }).await?;
        if claims.get("active") != Some(&Value::Bool(true)) {
            return Err("the provider says that it counts no more");
        }
        if claims.get("iss").is_some_and(|issuer| issuer != self.config.issuer.as_str()) {
            return Err("another issuer");
        }
        if !self.is_for_us(&claims) {
            return Err("another audience");
        }
        Ok(claims)
    }

    /// By its audience, or where it has none by whose token it is.
    // INVARIANT: a token that somebody gave to another application of the provider is not good here. Held by the tests of
    // `test_oidc.py`.
    fn is_for_us(&self, claims: &Map<String, Value>) -> bool {
        let ours = |name: &Value| {
            name.as_str().is_some_and(|name| self.config.audiences.iter().any(|one| one == name))
        };
        match claims.get("aud") {
            None | Some(Value::Null) => {
                claims.get("client_id").and_then(Value::as_str) == Some(self.config.client_id.as_str())
            }
            Some(Value::Array(audiences)) => audiences.iter().any(ours),
            Some(audience) => ours(audience),
        }
    }

    pub(super) async fn userinfo(&self, token: &str) -> Result<Map<String, Value>, &'static str> {
        let metadata = self.metadata().await?;
        let url = metadata.userinfo_endpoint.clone().ok_or("the provider tells nothing about users")?;
        let authorization = Some(SecretString::from(format!("Bearer {token}")));
        self.ask(WebRequest { authorization, ..plain(url) }).await
    }

    /// Who we are, as RFC 6749 writes it in section 2.3.1.
    pub(super) fn client_authorization(&self) -> Option<SecretString> {
        let secret = self.config.client_secret.as_ref()?;
        let (id, secret) = (encoded(&self.config.client_id), encoded(secret.expose_secret()));
        Some(format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))).into())
    }
}

/// As in a form.
pub(super) fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn forms_hold_any_text() {
        assert_eq!(encoded("a-b._~9"), "a-b._~9");
        assert_eq!(encoded("a b&c=d%\u{e9}+"), "a%20b%26c%3Dd%25%C3%A9%2B");
    }
}
