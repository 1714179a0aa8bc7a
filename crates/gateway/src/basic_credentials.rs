//! Passwords of technical users, as administrators give and take them. Nobody reads one.

use ringfence_policy::{Permission, UserId};
use ringfence_store::access_keys::KeyHash;
use ringfence_store::basic_credentials::{BasicCredential, StoredPassword};
use secrecy::{ExposeSecret as _, SecretString};

use crate::call::{AskedOrg, now_ms};
use crate::passwords::{LONGEST_PASSWORD, PasswordHash, SHORTEST_PASSWORD};
use crate::{Call, Code, Gateway, Refused};

/// A password to give to a user.
#[derive(Debug)]
pub enum NewPassword {
    /// The password itself, of which a hash is made.
    Plain(SecretString),
    /// A hash that was made elsewhere: argon2id in PHC form, or passlib's `pbkdf2-sha256`.
    Hash(SecretString),
}

impl Gateway {
    /// Gives a user a password in place of any other, and answers whether there was none. Needs `write:user`, and that the
    /// caller may manage the user.
    pub async fn put_basic_credential(
        &self,
        call: &Call,
        user: &str,
        password: NewPassword,
    ) -> Result<bool, Refused> {
        call.log.set_action("put-basic-credential");
        call.log.set_object(user);
        call.needs(Permission::WriteUser)?;
        let user = self.manageable_user(call, &UserId::new(user)?).await?.id;
        let hash = match password {
            NewPassword::Plain(password) => {
                let length = password.expose_secret().len();
                if !(SHORTEST_PASSWORD..=LONGEST_PASSWORD).contains(&length) {
                    return Err(Refused::invalid(format!(
                        "a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} bytes"
                    )));
                }
                self.shared.passwords.hash(&password).await?
            }
            NewPassword::Hash(text) => PasswordHash::read(text.expose_secret())
                .map_err(|unusable| Refused::invalid(unusable.to_string()))?,
        };
        let password = StoredPassword { stamp: KeyHash(rand::random()), hash: hash.into_text() };
        let credentials = self.shared.store.basic_credentials();
        let replaced = credentials.find(&user).await?;
        let put = credentials.put(&user, &password, now_ms()).await;
        if let Some(replaced) = replaced {
            self.shared.forget_key(&replaced.stamp);
        }
        Ok(put?)
    }

    /// Takes a user's password away. Needs what giving one needs.
    pub async fn delete_basic_credential(&self, call: &Call, user: &str) -> Result<(), Refused> {
        call.log.set_action("delete-basic-credential");
        call.log.set_object(user);
        call.needs(Permission::WriteUser)?;
        let missing = || Refused::not_found("credential");
        // A user who is out of sight has no password that one could know of.
        let user = self.manageable_user(call, &UserId::new(user)?).await;
        let user =
            user.map_err(|refused| if refused.code == Code::NotFound { missing() } else { refused })?;
        let stamp = self.shared.store.basic_credentials().delete(&user.id).await?;
        self.shared.forget_key(&stamp.ok_or_else(missing)?);
        Ok(())
    }

    /// Who has a password, in the caller's organization; a super administrator may name another, and sees all without.
    pub async fn list_basic_credentials(
        &self,
        call: &Call,
        org: Option<&str>,
    ) -> Result<Vec<BasicCredential>, Refused> {
        call.log.set_action("list-basic-credentials");
        call.needs(Permission::WriteUser)?;
        match call.asked_org(org)? {
            AskedOrg::OutOfSight => Ok(Vec::new()),
            AskedOrg::Seen(org) => Ok(self.shared.store.basic_credentials().list(org.as_ref()).await?),
        }
    }
}
