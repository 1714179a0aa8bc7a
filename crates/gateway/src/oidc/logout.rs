//! Signing out: here first and then at the provider (RP-Initiated Logout 1.0), or at the provider and then here (Back-Channel
//! Logout 1.0).

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::opaque::encoded;
use super::{Provider, claims};
use crate::sessions::{EndedSession, SignInSource};
use crate::{CallLog, Code, Gateway, Refused};

/// What a logout token says that it is.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// How old a logout token may be, in seconds.
const OLDEST: i64 = 600;

impl Gateway {
    /// Where a browser goes whose session has ended here, so that it ends at its provider, too; then it comes back to
    /// `return_to`, which the provider knows. `None` for sessions of other sources, and when the provider ends none.
    pub async fn leave_provider(&self, ended: &EndedSession, return_to: &str) -> Option<String> {
        let name = ended.source.strip_prefix("oidc:")?;
        let provider = self.shared.providers.named(name)?;
        let metadata = provider.metadata().await.ok()?;
        let endpoint = metadata.end_session_endpoint.as_deref()?;
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        let (client, return_to) = (encoded(&provider.config.client_id), encoded(return_to));
        Some(format!("{endpoint}{joint}client_id={client}&post_logout_redirect_uri={return_to}"))
    }

    /// Ends the sessions that a provider's logout token names. Whatever is wrong with the token is one answer.
    pub async fn provider_signed_out(
        &self,
        log: &Arc<CallLog>,
        provider: &str,
        token: &str,
    ) -> Result<(), Refused> {
        log.set_action("end-outside-sessions");
        let provider = self.shared.providers.named(provider).ok_or_else(|| Refused::not_found("provider"))?;
        let named = provider.logout(token, Timestamp::now().as_second()).await.map_err(|reason| {
            tracing::info!(reason, "a logout token is not accepted");
            Refused::new(Code::InvalidRequest, "the logout token is not accepted")
        })?;
        let source = SignInSource::Oidc(provider.config.source.name.clone());
        let (id, subject) = (named.id.as_deref(), named.subject.as_deref());
        self.end_outside_sessions(log, &source, id, subject).await.map(drop)
    }
}

/// Whose sessions end.
struct Named {
    id: Option<String>,
    subject: Option<String>,
}

impl Provider {
    async fn logout(&self, token: &str, now: i64) -> Result<Named, &'static str> {
        let audience = [self.config.client_id.clone()];
        let types = ["logout+jwt", "application/logout+jwt", "jwt"];
        let verified = self.signed(token, &types, &audience, now).await?;
        let said = verified.claims;
        let is_event = said.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object);
        // Back-Channel Logout, section 2.6: an ID token must not do as a logout token.
        if !is_event || said.contains_key("nonce") {
            return Err("no logout token");
        }
        if verified.issued_at < now.saturating_sub(OLDEST) {
            return Err("too old");
        }
        let text = |claim: &str| said.get(claim).and_then(Value::as_str).filter(|text| !text.is_empty());
        let id = text("sid").map(str::to_owned);
        let subject = text("sub").map(|subject| claims::subject_of(&self.config, subject));
        if id.is_none() && subject.is_none() {
            return Err("it names nobody");
        }
        Ok(Named { id, subject })
    }
}
