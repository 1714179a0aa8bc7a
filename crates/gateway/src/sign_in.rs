//! Signing in with a name and a password: at the sign-in page, for a session, and with each request (Basic).
//!
//! Whatever is wrong (nobody of that name, another password, another tenant), the answer is one, and so is the work. The first
//! source that knows the name decides: passwords that are kept here, then the directories in the order of the configuration.

mod tenant_claims;

use std::sync::Arc;

use ringfence_policy::{Principal, UserId};
use ringfence_store::access_keys::KeyHash;
use ringfence_store::basic_credentials::StoredPassword;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

pub use tenant_claims::TenantClaims;

use crate::arrivals::Unwelcome;
use crate::directories::{Directory, Entry};
use crate::passwords::{LONGEST_PASSWORD, PasswordHash, Trying, until_told};
use crate::sessions::{Client, NewSession, OpenedSession, SignInSource, sign_in_refused};
use crate::{CallLog, Code, Gateway, Refused};

/// Where hashes of passwords that are kept here come from.
const OWN: &str = "password";

/// A name and a password.
#[derive(Debug, Clone, Copy)]
pub struct NameAndPassword<'a> {
    /// The user, as whoever knows the password calls it.
    pub user: &'a str,
    /// The password.
    pub password: &'a SecretString,
}

/// Somebody who signs in for a session.
#[derive(Debug)]
pub struct SignIn<'a> {
    /// Who they say they are.
    pub pair: NameAndPassword<'a>,
    /// What the request says of the tenant.
    pub claims: TenantClaims<'a>,
    /// From where.
    pub client: Client<'a>,
    /// The session secret that the request already had.
    pub replaces: Option<&'a str>,
}

/// Who somebody is, and what vouches for it.
struct Vouched {
    user: UserId,
    source: SignInSource,
    /// What the source calls the user.
    subject: Option<String>,
}

impl Gateway {
    /// Opens a session for whoever has the right password.
    pub async fn sign_in(&self, log: &Arc<CallLog>, sign_in: SignIn<'_>) -> Result<OpenedSession, Refused> {
        log.set_action("sign-in");
        self.shared.audit.has_room().await?;
        let SignIn { pair, claims, client, replaces } = sign_in;
        self.shared.passwords.let_try(Trying { user: pair.user, address: client.address })?;
        let begun = Instant::now();
        let signed_in = self.session_for(log, pair, claims, client, replaces).await;
        if signed_in.as_ref().is_err_and(|refused| refused.code == Code::SignInRefused) {
            until_told(begun).await;
        }
        signed_in
    }

    async fn session_for(
        &self,
        log: &Arc<CallLog>,
        pair: NameAndPassword<'_>,
        claims: TenantClaims<'_>,
        client: Client<'_>,
        replaces: Option<&str>,
    ) -> Result<OpenedSession, Refused> {
        let vouched = self.vouch(pair, client).await?;
        let found = self.shared.principals.principal(&self.shared.store, &vouched.user).await?;
        let principal = found.ok_or_else(sign_in_refused)?;
        // INVARIANT: whoever names another tenant is answered like whoever has the wrong password. Held by the test
        // `another_tenant_is_a_wrong_password`.
        if !claims.agree_with(&principal.tenant) {
            return Err(sign_in_refused());
        }
        let new = NewSession {
            user: &vouched.user,
            source: vouched.source,
            outside_id: None,
            outside_subject: vouched.subject.as_deref(),
            replaces,
            client,
        };
        self.open_session(log, new).await
    }

    /// Who the pair is, by the first source that knows the name.
    async fn vouch(&self, pair: NameAndPassword<'_>, client: Client<'_>) -> Result<Vouched, Refused> {
        if self.own_password(pair.user).await?.is_none() {
            for directory in &self.shared.config.directories {
                if let Some(entry) = self.look_up(directory, pair.user).await? {
                    return self.vouch_by(directory, entry, pair, client).await;
                }
            }
        }
        // Nobody's password costs as much as the last directory's would.
        let source = self.shared.config.directories.last().map(|directory| directory.source.name.as_str());
        let checked = self.check_own(pair, client, source).await?;
        let user = checked.ok_or_else(sign_in_refused)?.0;
        Ok(Vouched { user, source: SignInSource::Password, subject: None })
    }

    /// Takes in whoever has the password that the directory knows.
    async fn vouch_by(
        &self,
        directory: &Directory,
        entry: Entry,
        pair: NameAndPassword<'_>,
        client: Client<'_>,
    ) -> Result<Vouched, Refused> {
        let Entry { hash, arrival } = entry;
        let name = &directory.source.name;
        let trying = Trying { user: pair.user, address: client.address };
        let hash = within_length(hash, pair);
        if !self.shared.passwords.check(&of_directory(name), hash, trying, pair.password).await? {
            return Err(sign_in_refused());
        }
        let subject = arrival.subject.clone();
        match self.arrive(&directory.source, arrival).await {
            Ok(user) => {
                // What the directory says now counts for this very session.
                self.shared.principals.forget_user(&user);
                Ok(Vouched { user, source: SignInSource::Directory(name.clone()), subject: Some(subject) })
            }
            Err(Unwelcome::Refused(refused)) => Err(refused),
            Err(Unwelcome::Because(reason)) => {
                tracing::warn!(directory = name, reason, "a directory's user is not taken in");
                Err(sign_in_refused())
            }
        }
    }

    /// The user whose password this is, among those that are kept here. Nobody's costs as much as one of that directory.
    async fn check_own(
        &self,
        pair: NameAndPassword<'_>,
        client: Client<'_>,
        otherwise: Option<&str>,
    ) -> Result<Option<(UserId, StoredPassword)>, Refused> {
        let found = self.own_password(pair.user).await?;
        let hash = found.as_ref().and_then(|(_, stored)| readable(stored));
        let outdated = hash.as_ref().is_some_and(PasswordHash::is_outdated);
        let source = otherwise.filter(|_| found.is_none()).map_or_else(|| OWN.to_owned(), of_directory);
        let hash = within_length(hash, pair);
        let trying = Trying { user: pair.user, address: client.address };
        let is_right = self.shared.passwords.check(&source, hash, trying, pair.password).await?;
        let Some((user, stored)) = found.filter(|_| is_right) else { return Ok(None) };
        if outdated {
            self.upgrade(&user, &stored, pair.password).await;
        }
        Ok(Some((user, stored)))
    }

    async fn own_password(&self, user: &str) -> Result<Option<(UserId, StoredPassword)>, Refused> {
        let Ok(user) = UserId::new(user) else { return Ok(None) };
        let stored = self.shared.store.basic_credentials().find(&user).await?;
        Ok(stored.map(|stored| (user, stored)))
    }

    /// Keeps a better hash of a password that was right. When that fails, the old one still is one.
    async fn upgrade(&self, user: &UserId, stored: &StoredPassword, password: &SecretString) {
        let upgraded = async {
            let hash = self.shared.passwords.hash(password).await?.into_text();
            let better = StoredPassword { stamp: stored.stamp, hash };
            Ok::<_, Refused>(self.shared.store.basic_credentials().upgrade(user, &better).await?)
        };
        match upgraded.await {
            Ok(()) => tracing::info!(user.id = %user, "a password's hash was upgraded to argon2id"),
            Err(error) => tracing::warn!(user.id = %user, %error, "a password's hash can't be upgraded"),
        }
    }

    /// The technical user behind the pair of a request. What was right a moment ago is not worked on again, and counts only as
    /// long as the password is still the user's.
    pub(crate) async fn basic_user(
        &self,
        pair: NameAndPassword<'_>,
        client: Client<'_>,
    ) -> Result<Arc<Principal>, Refused> {
        let passwords = &self.shared.passwords;
        let name = passwords.pair(pair.user, pair.password);
        // Twice, because what is remembered may be of a password that is another by now.
        for _ in 0..2 {
            // Those who present the same at once wait for one check of it. Boxed, as what happens seldom and is large.
            let proving = Box::pin(self.prove_pair(pair, client));
            let stamp = passwords.pairs.try_get_with_by_ref(&name, proving).await;
            let stamp = stamp.map_err(|refused| Refused::clone(&refused))?;
            if let Some(principal) = self.shared.principals.password_user(&self.shared.store, &stamp).await? {
                return Ok(principal);
            }
            passwords.pairs.invalidate(&name).await;
        }
        Err(sign_in_refused())
    }

    /// What stands for the pair's password, when it is right.
    async fn prove_pair(&self, pair: NameAndPassword<'_>, client: Client<'_>) -> Result<KeyHash, Refused> {
        self.shared.passwords.let_try(Trying { user: pair.user, address: client.address })?;
        let begun = Instant::now();
        if let Some((_, stored)) = self.check_own(pair, client, None).await? {
            return Ok(stored.stamp);
        }
        until_told(begun).await;
        Err(sign_in_refused())
    }
}

/// Where hashes of a directory's passwords come from.
fn of_directory(name: &str) -> String {
    SignInSource::Directory(name.to_owned()).to_string()
}

/// What is longer than any password is nobody's.
fn within_length(hash: Option<PasswordHash>, pair: NameAndPassword<'_>) -> Option<PasswordHash> {
    hash.filter(|_| pair.password.expose_secret().len() <= LONGEST_PASSWORD)
}

/// The stored hash. One that can't be read is the operator's to mend, and nobody gets in by it.
fn readable(stored: &StoredPassword) -> Option<PasswordHash> {
    PasswordHash::read(stored.hash.expose_secret())
        .inspect_err(|error| tracing::error!(%error, "a stored password's hash can't be used"))
        .ok()
}
