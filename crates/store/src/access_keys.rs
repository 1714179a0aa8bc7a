//! Access keys: looked up by SHA-256 of the secret, and sealed as well, because their owner may list them in full.

use ringfence_policy::{KeyName, UserId};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use crate::changes::Change;
use crate::database::{Row, Transaction, params, transact};
use crate::sealing::{access_key_place, sealer};
use crate::{Store, StoreError};

/// A named secret of a user.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct AccessKey {
    pub secret: SecretString,
    pub user: UserId,
    pub name: KeyName,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}

/// The SHA-256 of an access key's secret, or what stands for another credential ([`crate::sessions::hash_of`]): no two kinds
/// of credentials share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// Hashes a secret as presented by a caller.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    pub(crate) fn read(row: &Row, column: usize) -> Result<Self, StoreError> {
        let hash = row.blob(column)?.try_into();
        hash.map(Self).map_err(|_| StoreError::Corrupt("a credential's hash is not 32 bytes long".to_owned()))
    }
}

/// The repository of access keys.
pub struct AccessKeys<'a>(pub(crate) &'a Store);

impl AccessKeys<'_> {
    /// Adds a key. [`StoreError::Duplicate`] when the user has one of that name, or anyone has that secret;
    /// [`StoreError::Missing`] of "user" when there is no such user.
    pub async fn create(
        &self,
        user: &UserId,
        name: &KeyName,
        secret: &SecretString,
        now_ms: i64,
    ) -> Result<AccessKey, StoreError> {
        let hash = KeyHash::of(secret.expose_secret());
        transact!(self.0.inner.database, tx => {
            let in_force = sealer(tx, &self.0.inner.keyring).await?;
            let place = access_key_place(user.as_str(), name.as_str());
            let sealed = in_force.seal(&place, secret.expose_secret().as_bytes())?;
            let insert = "INSERT INTO access_keys (user_id, name, hash, sealed, created_at) \
                          VALUES ($1, $2, $3, $4, $5)";
            let inserted = tx.execute(insert, params![user, name, &hash.0[..], sealed, now_ms]).await;
            inserted.map_err(|failure| failure.on_insert("access key", "user"))?;
            // Someone may keep the news that this secret is nobody's.
            tx.announce(Change::Key(hash));
        })?;
        Ok(AccessKey { secret: secret.clone(), user: user.clone(), name: name.clone(), created_at: now_ms })
    }

    /// The user's keys, in order of creation.
    pub async fn list(&self, user: &UserId) -> Result<Vec<AccessKey>, StoreError> {
        let select = "SELECT name, sealed, created_at FROM access_keys WHERE user_id = $1 ORDER BY ordinal";
        let rows = self.0.inner.database.query(select, params![user]).await?;
        let read = |row: &Row| {
            let name: KeyName = row.id(0)?;
            let place = access_key_place(user.as_str(), name.as_str());
            let secret = self.0.inner.keyring.unseal_text(&place, row.blob(1)?)?;
            Ok(AccessKey { secret, user: user.clone(), created_at: row.integer(2)?, name })
        };
        rows.iter().map(read).collect()
    }

    /// Removes the user's keys of those names; unknown names are no error. Publishes the change. Answers how many went.
    pub async fn delete(&self, user: &UserId, names: &[KeyName]) -> Result<u64, StoreError> {
        transact!(self.0.inner.database, tx => {
            let mut deleted = 0;
            for name in names {
                deleted += delete_one(tx, user, name).await?;
            }
            deleted
        })
    }

    /// Whose key it is.
    pub async fn find(&self, hash: &KeyHash) -> Result<Option<UserId>, StoreError> {
        let select = "SELECT user_id FROM access_keys WHERE hash = $1";
        let rows = self.0.inner.database.query(select, params![&hash.0[..]]).await?;
        rows.first().map(|row| row.id(0)).transpose()
    }
}

async fn delete_one(tx: &mut Transaction, user: &UserId, name: &KeyName) -> Result<u64, StoreError> {
    let delete = "DELETE FROM access_keys WHERE user_id = $1 AND name = $2 RETURNING hash";
    let mut deleted = 0;
    for row in tx.query(delete, params![user, name]).await? {
        tx.announce(Change::Key(KeyHash::read(&row, 0)?));
        deleted += 1;
    }
    Ok(deleted)
}
