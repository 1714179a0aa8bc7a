//! Signing browsers in: the authorization code flow with PKCE (RFC 7636), state and nonce.
//!
//! Nothing is kept here while somebody is at the provider. The browser has one secret in a cookie, and everything that has to
//! come back, or to be proved, is made of it: any node can go on where another began, and nobody else's browser can.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::hmac;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::opaque::encoded;
use super::web::WebRequest;
use super::{Provider, claims};
use crate::arrivals::Unwelcome;
use crate::sessions::{Client, NewSession, OpenedSession, SignInSource};
use crate::{CallLog, Code, Gateway, Refused, TenantClaims};

/// How long somebody may be at the provider, in seconds.
const AWAY_AT_MOST: i64 = 600;
/// Longest code that a provider sends along.
const MAX_CODE_BYTES: usize = 4096;

/// A browser that leaves for a provider.
#[derive(Debug, Clone, Copy)]
pub struct Leaving<'a> {
    /// The secret in the browser's cookie, which is for this one journey.
    pub secret: &'a str,
    /// Where the provider sends it back to.
    pub redirect_uri: &'a str,
    /// Where it goes then: a place of this server.
    pub return_to: &'a str,
}

/// A browser that comes back.
#[derive(Debug, Clone, Copy)]
pub struct Callback<'a> {
    /// From its cookie.
    pub secret: &'a str,
    /// The same as when it left.
    pub redirect_uri: &'a str,
    /// What the provider sends along: the code, our state, and who it is.
    pub code: &'a str,
    #[expect(missing_docs, reason = "said above")]
    pub state: &'a str,
    #[expect(missing_docs, reason = "said above")]
    pub issuer: Option<&'a str>,
    /// What the request says of the tenant.
    pub claims: TenantClaims<'a>,
    /// From where.
    pub client: Client<'a>,
    /// The session secret that the request already had.
    pub replaces: Option<&'a str>,
}

/// What the provider gives for a code.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    #[serde(default)]
    access_token: Option<String>,
}

/// Something that only this browser's journey has, by its purpose.
fn derived(secret: &str, purpose: &str, of: &[&str]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    for part in [&[purpose], of].concat() {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(context.sign().as_ref())
}

/// What the provider hands back unread: until when it counts, where the browser goes then, and the proof that this browser was
/// sent to this provider with it.
fn state_of(secret: &str, provider: &str, until: i64, return_to: &str) -> String {
    let until = until.to_string();
    let proof = derived(secret, "state", &[provider, &until, return_to]);
    format!("{until}.{}.{proof}", URL_SAFE_NO_PAD.encode(return_to))
}

/// Where the browser goes, if the state is this browser's own and of this provider.
//
// INVARIANT: nobody signs in by somebody else's journey. Held by the tests below and those of `test_browser.py`.
fn returns_to(secret: &str, provider: &str, state: &str, now: i64) -> Option<String> {
    let (until, rest) = state.split_once('.')?;
    let (place, _) = rest.split_once('.')?;
    let place = String::from_utf8(URL_SAFE_NO_PAD.decode(place).ok()?).ok()?;
    let until: i64 = until.parse().ok()?;
    let own = state_of(secret, provider, until, &place);
    // Compared as digests, so that how much of it was right can't be timed.
    (Sha256::digest(&own) == Sha256::digest(state) && now < until).then_some(place)
}

/// One answer for all that goes wrong on the way.
fn refused(unwelcome: Unwelcome) -> Refused {
    match unwelcome {
        Unwelcome::Refused(refused) => refused,
        Unwelcome::Because(reason) => {
            tracing::info!(reason, "a browser is not signed in by its provider");
            Refused::new(Code::SignInRefused, "signing in with the provider came to nothing: try again")
        }
    }
}

impl Gateway {
    /// The provider's address for a browser that is to sign in there. A provider that is not configured is not found.
    pub async fn leave_for_provider(&self, provider: &str, leaving: Leaving<'_>) -> Result<String, Refused> {
        let provider = self.shared.providers.named(provider).ok_or_else(|| Refused::not_found("provider"))?;
        let metadata = provider.metadata().await.map_err(|reason| refused(Unwelcome::Because(reason)))?;
        let endpoint = metadata.authorization_endpoint.as_deref();
        let endpoint =
            endpoint.ok_or_else(|| refused(Unwelcome::Because("the provider signs no browsers in")))?;
        let config = &provider.config;
        let until = Timestamp::now().as_second().saturating_add(AWAY_AT_MOST);
        let verifier = derived(leaving.secret, "verifier", &[]);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let parameters = [
            ("response_type", "code"),
            ("client_id", &config.client_id),
            ("redirect_uri", leaving.redirect_uri),
            ("scope", &config.scopes.join(" ")),
            ("state", &state_of(leaving.secret, &config.source.name, until, leaving.return_to)),
            ("nonce", &derived(leaving.secret, "nonce", &[])),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let query: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        Ok(format!("{endpoint}{joint}{}", query.join("&")))
    }

    /// Opens a session for a browser that the provider sent back, and says where it goes.
    pub async fn return_from_provider(
        &self,
        log: &Arc<CallLog>,
        provider: &str,
        callback: Callback<'_>,
    ) -> Result<(OpenedSession, String), Refused> {
        log.set_action("sign-in");
        self.shared.audit.has_room().await?;
        let provider = self.shared.providers.named(provider).ok_or_else(|| Refused::not_found("provider"))?;
        let now = Timestamp::now().as_second();
        let name = &provider.config.source.name;
        let place = returns_to(callback.secret, name, callback.state, now)
            .ok_or_else(|| refused(Unwelcome::Because("the state is not this browser's")))?;
        let claims = provider.redeem(&callback, now).await;
        let claims = claims.map_err(|reason| refused(Unwelcome::Because(reason)))?;
        let as_of = super::token::seconds(&claims, "iat").unwrap_or(now).saturating_mul(1000);
        let arrival = claims::arrival(&provider.config, &claims, as_of)
            .map_err(|reason| refused(Unwelcome::Because(reason)))?;
        let subject = arrival.subject.clone();
        let user = self.arrive(&provider.config.source, arrival).await.map_err(refused)?;
        let principal = self.shared.principals.principal(&self.shared.store, &user).await?;
        if !principal.is_some_and(|principal| callback.claims.agree_with(&principal.tenant)) {
            return Err(refused(Unwelcome::Because("the request is for another tenant")));
        }
        let session = NewSession {
            user: &user,
            source: SignInSource::Oidc(name.clone()),
            outside_id: claims.get("sid").and_then(Value::as_str),
            outside_subject: Some(&subject),
            replaces: callback.replaces,
            client: callback.client,
        };
        Ok((self.open_session(log, session).await?, place))
    }
}

impl Provider {
    /// What the provider says of whoever brought the code.
    async fn redeem(&self, callback: &Callback<'_>, now: i64) -> Result<Map<String, Value>, &'static str> {
        let metadata = self.metadata().await?;
        // RFC 9207: else a code of another provider could be slipped in.
        match callback.issuer {
            Some(issuer) if issuer != self.config.issuer => return Err("another provider answers"),
            None if metadata.authorization_response_iss_parameter_supported => {
                return Err("the provider does not say who it is");
            }
            _ => {}
        }
        if callback.code.is_empty() || callback.code.len() > MAX_CODE_BYTES {
            return Err("a code that can't be one");
        }
        let url = metadata.token_endpoint.clone().ok_or("the provider gives no tokens")?;
        let authorization = self.client_authorization();
        let mut form = format!(
            "grant_type=authorization_code&code={}&redirect_uri={}&code_verifier={}",
            encoded(callback.code),
            encoded(callback.redirect_uri),
            encoded(&derived(callback.secret, "verifier", &[]))
        );
        if authorization.is_none() {
            form = format!("{form}&client_id={}", encoded(&self.config.client_id));
        }
        let tokens: Tokens = self.ask(WebRequest { url, authorization, form: Some(form.into()) }).await?;
        let audience = [self.config.client_id.clone()];
        let mut claims = self.signed(&tokens.id_token, &["jwt"], &audience, now).await?.claims;
        if claims.get("nonce").and_then(Value::as_str) != Some(&derived(callback.secret, "nonce", &[])) {
            return Err("the token is of another journey");
        }
        // Core, section 3.1.3.7: a token for several says for whom it was made.
        if claims.get("azp").is_some_and(|party| party != self.config.client_id.as_str()) {
            return Err("the token was made for another application");
        }
        let config = &self.config;
        let is_missing = |path: &Vec<String>| claims::at(&claims, path).is_none();
        if is_missing(&config.name_claim) || config.roles_claims.iter().any(is_missing) {
            let token = tokens.access_token.ok_or("the provider says too little about the user")?;
            let told = self.userinfo(&token).await?;
            if told.get("sub") != claims.get("sub") {
                return Err("the provider says two subjects of one user");
            }
            for (name, value) in told {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_one_browsers_for_one_provider_and_a_while() {
        let state = state_of("secret", "corporate", 100, "/docs?a=b");
        assert_eq!(returns_to("secret", "corporate", &state, 99).as_deref(), Some("/docs?a=b"));
        assert_eq!(returns_to("secret", "corporate", &state, 100), None, "too late");
        assert_eq!(returns_to("other", "corporate", &state, 99), None, "another browser");
        assert_eq!(returns_to("secret", "elsewhere", &state, 99), None, "another provider");
        let proof = state.rsplit('.').next().unwrap();
        let changed = [
            format!("999.{}.{proof}", URL_SAFE_NO_PAD.encode("/docs?a=b")),
            format!("100.{}.{proof}", URL_SAFE_NO_PAD.encode("/else")),
            format!("100.{}.", URL_SAFE_NO_PAD.encode("/docs?a=b")),
            String::new(),
            "..".to_owned(),
            format!("{state}x"),
        ];
        for state in changed {
            assert_eq!(returns_to("secret", "corporate", &state, 99), None, "{state}");
        }
    }

    #[test]
    fn what_is_shown_does_not_tell_the_rest() {
        let all = ["verifier", "nonce", "state"].map(|purpose| derived("secret", purpose, &[]));
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
        // RFC 7636, section 4.1: 43 to 128 characters.
        assert_eq!(all[0].len(), 43);
    }
}
