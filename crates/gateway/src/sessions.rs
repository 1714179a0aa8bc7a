//! Sign-in sessions: opened for a user whom something vouches for, found again by a cookie's secret, ended by whoever may.
//!
//! Who vouches (a password, a directory, a provider) is found out before [`Gateway::open_session`] is called; from then on the
//! session is the user's own, with the user's roles as they are at each request. `docs/decisions/0014-sign-in.md` says why.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringfence_policy::{Credential, Permission, Principal, UserId};
use ringfence_store::access_keys::KeyHash;
use ringfence_store::sessions::{self as stored, Outside, hash_of};
use secrecy::{ExposeSecret as _, SecretString};

use crate::call::{now_ms, plain};
use crate::{Call, CallLog, Code, Gateway, Refused};

/// Longest name of a browser that a session keeps, in bytes.
const LONGEST_AGENT: usize = 160;

/// How long sessions count, and how many of them one user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionsConfig {
    /// How long one may go unused.
    pub idle: Duration,
    /// How long one counts however much it is used.
    pub absolute: Duration,
    /// Of one user at once; the oldest end.
    pub per_user: u32,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self { idle: Duration::from_hours(1), absolute: Duration::from_hours(12), per_user: 20 }
    }
}

/// What vouched for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignInSource {
    /// A password that is kept here.
    Password,
    /// A user directory of that name.
    Directory(String),
    /// An `OpenID` provider of that name.
    Oidc(String),
}

impl fmt::Display for SignInSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password => f.write_str("password"),
            Self::Directory(name) => write!(f, "directory:{name}"),
            Self::Oidc(name) => write!(f, "oidc:{name}"),
        }
    }
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Client<'a> {
    /// The address.
    pub address: Option<IpAddr>,
    /// What the browser calls itself.
    pub agent: Option<&'a str>,
}

/// A session to open.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// Who signed in.
    pub user: &'a UserId,
    /// What vouched for that.
    pub source: SignInSource,
    /// What the source calls the session.
    pub outside_id: Option<&'a str>,
    /// What the source calls the user.
    pub outside_subject: Option<&'a str>,
    /// The secret that the request already had, whatever it was: that session ends.
    pub replaces: Option<&'a str>,
    /// From where.
    pub client: Client<'a>,
}

/// A session that was opened.
#[derive(Debug)]
pub struct OpenedSession {
    /// What the cookie holds. It is nowhere else.
    pub secret: SecretString,
    /// Whose it is.
    pub principal: Arc<Principal>,
    /// The session's id in lists.
    pub id: String,
    /// When it ends at the latest, in milliseconds since the epoch.
    pub expires_at: i64,
}

/// A session that was ended at its holder's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct EndedSession {
    pub user: UserId,
    /// As [`SignInSource`] is written.
    pub source: String,
    pub outside_id: Option<String>,
    pub outside_subject: Option<String>,
}

/// A session in a list.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ListedSession {
    pub session: stored::Session,
    /// Whether it is the one that the list was asked for with.
    pub is_current: bool,
}

impl Gateway {
    /// Opens a session for a user whom `source` vouches for. The session that the request had before ends in the same step, so
    /// that nobody can plant one.
    pub async fn open_session(
        &self,
        log: &Arc<CallLog>,
        new: NewSession<'_>,
    ) -> Result<OpenedSession, Refused> {
        log.set_action("sign-in");
        self.shared.audit.has_room().await?;
        let source = new.source.to_string();
        log.set_object(&source);
        let found = self.shared.principals.principal(&self.shared.store, new.user).await?;
        let principal = found.ok_or_else(sign_in_refused)?;
        log.set_principal(&principal);
        if !principal.may(Permission::UsageApi) {
            return Err(Refused::lacks(Permission::UsageApi));
        }
        let secret = new_session_secret();
        let hash = hash_of(secret.expose_secret());
        let replaced = new.replaces.map(hash_of);
        let config = &self.shared.config.sessions;
        let now = now_ms();
        let session = stored::Session {
            hash,
            id: hex::encode(rand::random::<[u8; 12]>()),
            user: principal.user.clone(),
            org: principal.org.clone(),
            tenant: principal.tenant.clone(),
            source,
            outside_id: new.outside_id.map(str::to_owned),
            outside_subject: new.outside_subject.map(str::to_owned),
            opened_at: now,
            last_used_at: now,
            idle_ms: milliseconds(config.idle),
            expires_at: now.saturating_add(milliseconds(config.absolute)),
            address: new.client.address.map(shortened).unwrap_or_default(),
            agent: agent_label(new.client.agent),
        };
        let opened =
            self.shared.store.sessions().open(&session, replaced.as_ref(), config.per_user.max(1)).await;
        for hash in replaced.iter().chain([&hash]) {
            self.shared.forget_key(hash);
        }
        opened?;
        Ok(OpenedSession { secret, principal, id: session.id, expires_at: session.expires_at })
    }

    /// Ends the session of that secret. None, when there was none: signing out twice is no mistake.
    pub async fn end_session(
        &self,
        log: &Arc<CallLog>,
        secret: &str,
    ) -> Result<Option<EndedSession>, Refused> {
        log.set_action("sign-out");
        self.shared.audit.has_room().await?;
        let hash = hash_of(secret);
        if let Some(principal) = self.shared.principals.session_user(&self.shared.store, &hash).await {
            log.set_principal(&principal);
        }
        let ended = self.shared.store.sessions().end(&hash).await;
        self.shared.forget_key(&hash);
        let Some(session) = ended? else { return Ok(None) };
        log.set_object(&session.source);
        Ok(Some(EndedSession {
            user: session.user,
            source: session.source,
            outside_id: session.outside_id,
            outside_subject: session.outside_subject,
        }))
    }

    /// Ends what an outside source says has ended: its session `id`, or all of its user `subject`. Answers how many ended.
    pub async fn end_outside_sessions(
        &self,
        log: &Arc<CallLog>,
        source: &SignInSource,
        id: Option<&str>,
        subject: Option<&str>,
    ) -> Result<usize, Refused> {
        log.set_action("end-outside-sessions");
        self.shared.audit.has_room().await?;
        let source = source.to_string();
        log.set_object(&source);
        let ended =
            self.shared.store.sessions().end_outside(Outside { source: &source, id, subject }).await?;
        self.forget_sessions(&ended);
        Ok(ended.len())
    }

    /// The caller's own sessions.
    pub async fn list_sessions(&self, call: &Call) -> Result<Vec<ListedSession>, Refused> {
        call.log.set_action("list-sessions");
        let user = call.own_account()?;
        self.sessions_of(call, user).await
    }

    /// Ends one of the caller's own. One of somebody else is answered like one that does not exist.
    pub async fn revoke_session(&self, call: &Call, id: &str) -> Result<(), Refused> {
        call.log.set_action("revoke-session");
        call.log.set_object(id);
        let user = call.own_account()?;
        self.end_session_of(user, id).await
    }

    /// Another user's sessions. Needs `write:user`, and that the caller may manage the user.
    pub async fn list_sessions_of(&self, call: &Call, user: &str) -> Result<Vec<ListedSession>, Refused> {
        call.log.set_action("list-user-sessions");
        call.log.set_object(user);
        call.needs(Permission::WriteUser)?;
        let user = self.manageable_user(call, &UserId::new(user)?).await?;
        self.sessions_of(call, &user.id).await
    }

    /// Ends another user's session of that id, or all of them. Needs what listing them needs.
    pub async fn revoke_sessions_of(&self, call: &Call, user: &str, id: Option<&str>) -> Result<(), Refused> {
        call.log.set_action("revoke-user-sessions");
        call.log.set_object(user);
        call.needs(Permission::WriteUser)?;
        let user = self.manageable_user(call, &UserId::new(user)?).await?;
        if let Some(id) = id {
            return self.end_session_of(&user.id, id).await;
        }
        let ended = self.shared.store.sessions().end_all(&user.id).await?;
        self.forget_sessions(&ended);
        Ok(())
    }

    async fn sessions_of(&self, call: &Call, user: &UserId) -> Result<Vec<ListedSession>, Refused> {
        let current = call
            .principal
            .standing
            .filter(|standing| standing.credential == Credential::Session)
            .map(|standing| KeyHash(standing.key));
        let sessions = self.shared.store.sessions().list(user, now_ms()).await?;
        let listed =
            |session: stored::Session| ListedSession { is_current: current == Some(session.hash), session };
        Ok(sessions.into_iter().map(listed).collect())
    }

    async fn end_session_of(&self, user: &UserId, id: &str) -> Result<(), Refused> {
        let ended = self.shared.store.sessions().end_one(user, id).await?;
        let ended = ended.ok_or_else(|| Refused::not_found("session"))?;
        self.shared.forget_key(&ended);
        Ok(())
    }

    fn forget_sessions(&self, ended: &[KeyHash]) {
        for hash in ended {
            self.shared.forget_key(hash);
        }
    }
}

/// The one answer to whoever signs in and may not, whatever the reason.
pub(crate) fn sign_in_refused() -> Refused {
    Refused::new(Code::SignInRefused, "the user name or the password is wrong")
}

/// 256 random bits, with a mark of its own for scanners.
fn new_session_secret() -> SecretString {
    let bits: [u8; 32] = rand::random();
    format!("rfs_{}", URL_SAFE_NO_PAD.encode(bits)).into()
}

fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// The network of an address: enough to know one's own sessions by, and not where somebody was.
fn shortened(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            if let Some(mapped) = address.to_ipv4_mapped() {
                return shortened(IpAddr::V4(mapped));
            }
            let [a, b, c, ..] = address.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

fn agent_label(agent: Option<&str>) -> String {
    let agent = agent.unwrap_or_default();
    plain(&agent[..agent.floor_char_boundary(LONGEST_AGENT.min(agent.len()))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shortened() {
        for (address, network) in [
            ("203.0.113.77", "203.0.113.0/24"),
            ("::ffff:203.0.113.77", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ] {
            assert_eq!(shortened(address.parse().unwrap()), network);
        }
    }

    #[test]
    fn a_session_is_no_access_key() {
        let secret = new_session_secret();
        assert_ne!(hash_of(secret.expose_secret()), KeyHash::of(secret.expose_secret()));
    }

    #[test]
    fn what_a_browser_calls_itself_is_cut() {
        assert_eq!(agent_label(None), "");
        assert_eq!(agent_label(Some("a\nb")), "a\u{fffd}b");
        assert!(agent_label(Some(&"\u{e9}".repeat(500))).len() <= LONGEST_AGENT);
    }
}
