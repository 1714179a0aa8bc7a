//! Restrictions of data roles that are said at run time, beside the policy of a place.

use std::collections::BTreeMap;

use ringfence_policy::UserId;
use serde_json::Value;

use crate::changes::Change;
use crate::database::{params, to_json, transact};
use crate::policies::PolicyPlace;
use crate::{Store, StoreError};

/// The restrictions of each role, as JSON.
pub type ByRole = BTreeMap<String, Value>;

/// What is said of a place.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Restricted {
    /// Counts changes; 0 before the first.
    pub version: i64,
    pub roles: ByRole,
}

/// The repository of restrictions.
pub struct Restrictions<'a>(pub(crate) &'a Store);

impl Restrictions<'_> {
    /// What is said of the place.
    pub async fn on(&self, place: &PolicyPlace) -> Result<Restricted, StoreError> {
        let select = "SELECT version, document FROM restrictions WHERE identity = $1";
        let rows = self.0.inner.database.query(select, params![place.id().0]).await?;
        let row = rows.first().map(|row| Ok(Restricted { version: row.integer(0)?, roles: row.json(1)? }));
        row.transpose().map(Option::unwrap_or_default)
    }

    /// Changes what is said of one role: `None` says nothing of it any more. Answers whether anything was said of it before.
    /// [`StoreError::Missing`] where no policy was ever put, [`StoreError::Conflict`] when somebody was faster. Publishes
    /// the change as one of the policy.
    pub async fn put(
        &self,
        place: &PolicyPlace,
        known: &Restricted,
        (role, entries): (&str, Option<&Value>),
        (author, now): (&UserId, i64),
    ) -> Result<bool, StoreError> {
        let id = place.id();
        let mut roles = known.roles.clone();
        let was = match entries {
            Some(entries) => roles.insert(role.to_owned(), entries.clone()).is_some(),
            None => roles.remove(role).is_some(),
        };
        let document = to_json(&roles)?;
        transact!(self.0.inner.database, tx => {
            // The update changes nothing: it locks the place, and says whether it is there.
            let lock = "UPDATE guarded_places SET version = version WHERE identity = $1";
            if tx.execute(lock, params![&id.0]).await? == 0 {
                return Err(StoreError::Missing { what: "policy" });
            }
            let rows = tx.query("SELECT version FROM restrictions WHERE identity = $1", params![&id.0]).await?;
            let current = rows.first().map_or(Ok(0), |row| row.integer(0))?;
            if current != known.version {
                return Err(StoreError::Conflict { what: "the restrictions" });
            }
            let upsert = "INSERT INTO restrictions (identity, version, document, author, changed_at) \
                          VALUES ($1, $2, $3, $4, $5) ON CONFLICT (identity) DO UPDATE SET version = excluded.version, \
                          document = excluded.document, author = excluded.author, changed_at = excluded.changed_at";
            let values = params![&id.0, current.saturating_add(1), &document, author, now];
            tx.execute(upsert, values).await?;
            tx.announce(Change::Policy(id.clone()));
        })?;
        Ok(was)
    }
}
