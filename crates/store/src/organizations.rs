//! Organizations.

use ringfence_policy::{Attributes, OrgId};

use crate::changes::Change;
use crate::database::{Row, params, to_json, transact};
use crate::{Store, StoreError};

/// An organization: the outermost boundary.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Organization {
    pub id: OrgId,
    pub name: Option<String>,
    pub variables: Option<Attributes>,
}

/// The repository of organizations.
pub struct Organizations<'a>(pub(crate) &'a Store);

impl Organizations<'_> {
    /// Adds it. [`StoreError::Duplicate`] when the id is taken.
    pub async fn create(&self, organization: &Organization) -> Result<(), StoreError> {
        let variables = organization.variables.as_ref().map(to_json).transpose()?;
        transact!(self.0.inner.database, tx => {
            let insert = "INSERT INTO organizations (id, name, variables) VALUES ($1, $2, $3)";
            let values = params![&organization.id, organization.name.as_ref(), variables.as_ref()];
            tx.execute(insert, values).await.map_err(|failure| failure.taken_is("organization"))?;
        })
    }

    /// Changes what is given; `None` keeps. [`StoreError::Missing`] for an unknown id.
    pub async fn update(
        &self,
        id: &OrgId,
        name: Option<&str>,
        variables: Option<&Attributes>,
    ) -> Result<(), StoreError> {
        let variables = variables.map(to_json).transpose()?;
        transact!(self.0.inner.database, tx => {
            let update = "UPDATE organizations SET name = COALESCE($2, name), variables = COALESCE($3, variables) \
                          WHERE id = $1";
            if tx.execute(update, params![id, name, variables.as_ref()]).await? == 0 {
                return Err(StoreError::Missing { what: "organization" });
            }
            tx.announce(Change::Directory);
        })
    }

    /// Removes it. [`StoreError::InUse`] while it has tenants, [`StoreError::Missing`] for an unknown id.
    pub async fn delete(&self, id: &OrgId) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            crate::likes::withdraw_from_organization(tx, id).await?;
            crate::access_rules::withdraw_from_organization(tx, id).await?;
            let delete = "DELETE FROM organizations WHERE id = $1";
            let deleted = tx.execute(delete, params![id]).await;
            if deleted.map_err(|failure| failure.reference_is_use("organization", "tenants"))? == 0 {
                return Err(StoreError::Missing { what: "organization" });
            }
            tx.announce(Change::Directory);
        })
    }

    /// The one with that id.
    pub async fn get(&self, id: &OrgId) -> Result<Option<Organization>, StoreError> {
        let select = "SELECT id, name, variables FROM organizations WHERE id = $1";
        self.0.inner.database.query(select, params![id]).await?.first().map(read).transpose()
    }

    /// All, in order of creation.
    pub async fn list(&self) -> Result<Vec<Organization>, StoreError> {
        let select = "SELECT id, name, variables FROM organizations ORDER BY ordinal";
        self.0.inner.database.query(select, params![]).await?.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<Organization, StoreError> {
    Ok(Organization {
        id: row.id(0)?,
        name: row.optional_text(1)?.map(str::to_owned),
        variables: row.optional_json(2)?,
    })
}
