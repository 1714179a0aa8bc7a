//! Signing keys: the public keys that applications sign their users' tokens with.

use ringfence_policy::{KeyName, UserId};

use crate::changes::Change;
use crate::database::{Row, params, transact};
use crate::{Store, StoreError};

/// A public key of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The application, which is a user.
    pub application: UserId,
    /// The key's id among those of the application, which a token's header names.
    pub kid: KeyName,
    /// The one algorithm that it verifies, such as `ES256`.
    pub algorithm: String,
    /// A JSON Web Key without private parts.
    pub public_key: String,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}

/// The repository of signing keys.
pub struct SigningKeys<'a>(pub(crate) &'a Store);

impl SigningKeys<'_> {
    /// Adds a key. [`StoreError::Duplicate`] when the application has one of that id; [`StoreError::Missing`] of "user" when
    /// there is no such user. Publishes a change of the application, as removing does: whoever keeps what was made of its
    /// tokens trusts it no more.
    pub async fn create(&self, key: &SigningKey) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            let insert = "INSERT INTO signing_keys (user_id, kid, algorithm, public_key, created_at) \
                          VALUES ($1, $2, $3, $4, $5)";
            let values =
                params![&key.application, &key.kid, &key.algorithm, &key.public_key, key.created_at];
            let inserted = tx.execute(insert, values).await;
            inserted.map_err(|failure| failure.on_insert("signing key", "user"))?;
            tx.announce(Change::User(key.application.clone()));
        })
    }

    /// The application's keys, in order of creation.
    pub async fn list(&self, application: &UserId) -> Result<Vec<SigningKey>, StoreError> {
        let select = "SELECT user_id, kid, algorithm, public_key, created_at FROM signing_keys WHERE user_id = $1 \
                      ORDER BY ordinal";
        self.0.inner.database.query(select, params![application]).await?.iter().map(read).collect()
    }

    /// The application's key of that id. Two applications may have keys of one id.
    pub async fn find(&self, application: &UserId, kid: &KeyName) -> Result<Option<SigningKey>, StoreError> {
        let select = "SELECT user_id, kid, algorithm, public_key, created_at FROM signing_keys WHERE user_id = $1 \
                      AND kid = $2";
        let rows = self.0.inner.database.query(select, params![application, kid]).await?;
        rows.first().map(read).transpose()
    }

    /// Removes it. Answers whether there was one.
    pub async fn delete(&self, application: &UserId, kid: &KeyName) -> Result<bool, StoreError> {
        transact!(self.0.inner.database, tx => {
            let delete = "DELETE FROM signing_keys WHERE user_id = $1 AND kid = $2";
            let deleted = tx.execute(delete, params![application, kid]).await? > 0;
            if deleted {
                tx.announce(Change::User(application.clone()));
            }
            deleted
        })
    }
}

fn read(row: &Row) -> Result<SigningKey, StoreError> {
    Ok(SigningKey {
        application: row.id(0)?,
        kid: row.id(1)?,
        algorithm: row.text(2)?.to_owned(),
        public_key: row.text(3)?.to_owned(),
        created_at: row.integer(4)?,
    })
}
