//! Passwords of technical users: one for each, kept as a sealed hash, never shown.
//!
//! What a password is checked against is the gateway's to know; here it is a text.

use ringfence_policy::{OrgId, UserId};
use secrecy::{ExposeSecret as _, SecretString};

use crate::access_keys::KeyHash;
use crate::changes::Change;
use crate::database::{Row, params, transact};
use crate::sealing::{basic_credential_place, sealer};
use crate::{Store, StoreError};

/// What a technical user's password is checked against.
#[derive(Debug, Clone)]
pub struct StoredPassword {
    /// Stands for this password of this user; another password has another one.
    pub stamp: KeyHash,
    /// The password's hash, with everything that checking it needs.
    pub hash: SecretString,
}

/// That a user has a password.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct BasicCredential {
    pub user: UserId,
    pub org: OrgId,
    /// Milliseconds since the epoch.
    pub changed_at: i64,
}

/// The repository of technical users' passwords.
pub struct BasicCredentials<'a>(pub(crate) &'a Store);

impl BasicCredentials<'_> {
    /// Gives the user this password in place of any other, and answers whether there was none. `Missing` of "user" when there
    /// is no such user. `stamp` must be new.
    pub async fn put(
        &self,
        user: &UserId,
        password: &StoredPassword,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        transact!(self.0.inner.database, tx => {
            let in_force = sealer(tx, &self.0.inner.keyring).await?;
            let sealed = in_force.seal(&basic_credential_place(user.as_str()), password.hash.expose_secret().as_bytes())?;
            let delete = "DELETE FROM basic_credentials WHERE user_id = $1 RETURNING stamp";
            let replaced = tx.query(delete, params![user]).await?;
            for row in &replaced {
                tx.announce(Change::Key(KeyHash::read(row, 0)?));
            }
            let insert = "INSERT INTO basic_credentials (user_id, stamp, sealed, changed_at) VALUES ($1, $2, $3, $4)";
            let inserted = tx.execute(insert, params![user, &password.stamp.0[..], sealed, now_ms]).await;
            inserted.map_err(|failure| failure.on_insert("credential", "user"))?;
            replaced.is_empty()
        })
    }

    /// Keeps another hash of the same password, if it is still the user's. Nobody has to hear of it.
    pub async fn upgrade(&self, user: &UserId, password: &StoredPassword) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            let in_force = sealer(tx, &self.0.inner.keyring).await?;
            let sealed = in_force.seal(&basic_credential_place(user.as_str()), password.hash.expose_secret().as_bytes())?;
            let update = "UPDATE basic_credentials SET sealed = $3 WHERE user_id = $1 AND stamp = $2";
            tx.execute(update, params![user, &password.stamp.0[..], sealed]).await?;
        })
    }

    /// What the user's password is checked against.
    pub async fn find(&self, user: &UserId) -> Result<Option<StoredPassword>, StoreError> {
        let select = "SELECT stamp, sealed FROM basic_credentials WHERE user_id = $1";
        let rows = self.0.inner.database.query(select, params![user]).await?;
        let read = |row: &Row| {
            let place = basic_credential_place(user.as_str());
            let hash = self.0.inner.keyring.unseal_text(&place, row.blob(1)?)?;
            Ok(StoredPassword { stamp: KeyHash::read(row, 0)?, hash })
        };
        rows.first().map(read).transpose()
    }

    /// Whose password that stamp stands for.
    pub async fn holder(&self, stamp: &KeyHash) -> Result<Option<UserId>, StoreError> {
        let select = "SELECT user_id FROM basic_credentials WHERE stamp = $1";
        let rows = self.0.inner.database.query(select, params![&stamp.0[..]]).await?;
        rows.first().map(|row| row.id(0)).transpose()
    }

    /// Who has one: of that organization, or of all; by name.
    pub async fn list(&self, org: Option<&OrgId>) -> Result<Vec<BasicCredential>, StoreError> {
        let select = "SELECT c.user_id, u.org_id, c.changed_at FROM basic_credentials c \
                      JOIN users u ON u.id = c.user_id WHERE $1 = '' OR u.org_id = $1 ORDER BY c.user_id";
        let rows = self.0.inner.database.query(select, params![org.map_or("", OrgId::as_str)]).await?;
        let read = |row: &Row| {
            Ok(BasicCredential { user: row.id(0)?, org: row.id(1)?, changed_at: row.integer(2)? })
        };
        rows.iter().map(read).collect()
    }

    /// Takes the user's password away. Answers its stamp, if there was one.
    pub async fn delete(&self, user: &UserId) -> Result<Option<KeyHash>, StoreError> {
        transact!(self.0.inner.database, tx => {
            let delete = "DELETE FROM basic_credentials WHERE user_id = $1 RETURNING stamp";
            let rows = tx.query(delete, params![user]).await?;
            let stamp = rows.first().map(|row| KeyHash::read(row, 0)).transpose()?;
            if let Some(stamp) = stamp {
                tx.announce(Change::Key(stamp));
            }
            stamp
        })
    }
}
