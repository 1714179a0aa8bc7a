//! What users keep for themselves: free keys, any JSON.

use ringfence_policy::{Attributes, UserId};

use crate::database::{Row, params, to_json, transact};
use crate::{Store, StoreError};

/// The repository of user configuration.
pub struct UserConfig<'a>(pub(crate) &'a Store);

impl UserConfig<'_> {
    /// Deletes, then updates, and answers the whole map in key order. With nothing to do it only reads.
    /// [`StoreError::Missing`] of "user" when something is to be kept for nobody.
    pub async fn update(
        &self,
        user: &UserId,
        updated: &Attributes,
        deleted: &[String],
    ) -> Result<Attributes, StoreError> {
        let database = &self.0.inner.database;
        if updated.is_empty() && deleted.is_empty() {
            return read(&database.query(SELECT, params![user]).await?);
        }
        transact!(database, tx => {
            for name in deleted {
                tx.execute("DELETE FROM user_config WHERE user_id = $1 AND name = $2", params![user, name]).await?;
            }
            for (name, value) in updated {
                let upsert = "INSERT INTO user_config (user_id, name, value) VALUES ($1, $2, $3) \
                              ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value";
                let written = tx.execute(upsert, params![user, name, to_json(value)?]).await;
                written.map_err(|failure| failure.reference_is_missing("user"))?;
            }
            read(&tx.query(SELECT, params![user]).await?)?
        })
    }
}

const SELECT: &str = "SELECT name, value FROM user_config WHERE user_id = $1 ORDER BY name";

fn read(rows: &[Row]) -> Result<Attributes, StoreError> {
    rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.json(1)?))).collect()
}
