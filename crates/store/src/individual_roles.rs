//! Data roles that were granted to single users by hand, apart from what outside sources give them.

use ringfence_policy::{OrgId, UserId};

use crate::changes::Change;
use crate::database::{Row, params, to_json, transact};
use crate::{Store, StoreError};

/// The data roles that a user was granted by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct IndividualRoles {
    pub user: UserId,
    pub roles: Vec<String>,
}

/// The repository of such roles.
pub struct IndividualRolesOf<'a>(pub(crate) &'a Store);

impl IndividualRolesOf<'_> {
    /// The user's; none, when there is no such user.
    pub async fn get(&self, user: &UserId) -> Result<Option<Vec<String>>, StoreError> {
        let select = "SELECT data_roles FROM users WHERE id = $1";
        let rows = self.0.inner.database.query(select, params![user]).await?;
        rows.first().map(|row| row.json(0)).transpose()
    }

    /// Everybody's who has any: of that organization, or of all; in order of creation.
    pub async fn list(&self, org: Option<&OrgId>) -> Result<Vec<IndividualRoles>, StoreError> {
        let select = "SELECT id, data_roles FROM users WHERE data_roles <> '[]' AND ($1 = '' OR org_id = $1) ORDER BY ordinal";
        let rows = self.0.inner.database.query(select, params![org.map_or("", OrgId::as_str)]).await?;
        let read = |row: &Row| Ok(IndividualRoles { user: row.id(0)?, roles: row.json(1)? });
        rows.iter().map(read).collect()
    }

    /// Replaces the user's, and nothing that a source gives; publishes the change.
    pub async fn put(&self, user: &UserId, roles: &[String]) -> Result<(), StoreError> {
        let roles = to_json(&roles)?;
        transact!(self.0.inner.database, tx => {
            let update = "UPDATE users SET data_roles = $2 WHERE id = $1";
            if tx.execute(update, params![user, &roles]).await? == 0 {
                return Err(StoreError::Missing { what: "user" });
            }
            tx.announce(Change::User(user.clone()));
        })
    }
}
