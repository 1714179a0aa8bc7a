//! Tenants.

use ringfence_policy::{Attributes, OrgId, TenantId};

use crate::changes::Change;
use crate::database::{Row, params, to_json, transact};
use crate::{Store, StoreError};

/// A tenant of an organization.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Tenant {
    pub id: TenantId,
    pub org: OrgId,
    pub name: Option<String>,
    pub variables: Option<Attributes>,
}

/// The repository of tenants.
pub struct Tenants<'a>(pub(crate) &'a Store);

impl Tenants<'_> {
    /// Adds it. Duplicate id: [`StoreError::Duplicate`]; unknown organization: [`StoreError::Missing`] of "organization".
    pub async fn create(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let variables = tenant.variables.as_ref().map(to_json).transpose()?;
        transact!(self.0.inner.database, tx => {
            let insert = "INSERT INTO tenants (id, org_id, name, variables) VALUES ($1, $2, $3, $4)";
            let values = params![&tenant.id, &tenant.org, tenant.name.as_ref(), variables.as_ref()];
            tx.execute(insert, values).await.map_err(|failure| failure.on_insert("tenant", "organization"))?;
        })
    }

    /// Changes what is given; `None` keeps. A tenant never moves to another organization.
    pub async fn update(
        &self,
        id: &TenantId,
        name: Option<&str>,
        variables: Option<&Attributes>,
    ) -> Result<(), StoreError> {
        let variables = variables.map(to_json).transpose()?;
        transact!(self.0.inner.database, tx => {
            let update = "UPDATE tenants SET name = COALESCE($2, name), variables = COALESCE($3, variables) \
                          WHERE id = $1";
            if tx.execute(update, params![id, name, variables.as_ref()]).await? == 0 {
                return Err(StoreError::Missing { what: "tenant" });
            }
            tx.announce(Change::Directory);
        })
    }

    /// Removes it. [`StoreError::InUse`] while it has users.
    pub async fn delete(&self, id: &TenantId) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            crate::likes::withdraw_from_tenant(tx, id).await?;
            crate::access_rules::withdraw_from_tenant(tx, id).await?;
            let deleted = tx.execute("DELETE FROM tenants WHERE id = $1", params![id]).await;
            if deleted.map_err(|failure| failure.reference_is_use("tenant", "users"))? == 0 {
                return Err(StoreError::Missing { what: "tenant" });
            }
            tx.announce(Change::Directory);
        })
    }

    /// Suspends it, or lets it in again; publishes the change. Answers whether that changed anything.
    pub async fn suspend(&self, id: &TenantId, at: Option<i64>) -> Result<bool, StoreError> {
        transact!(self.0.inner.database, tx => {
            let select = "SELECT suspended_at FROM tenants WHERE id = $1 FOR UPDATE";
            let rows = tx.query(select, params![id]).await?;
            let was = rows.first().ok_or(StoreError::Missing { what: "tenant" })?.optional_integer(0)?;
            if was.is_some() == at.is_some() {
                false
            } else {
                tx.execute("UPDATE tenants SET suspended_at = $2 WHERE id = $1", params![id, at]).await?;
                tx.announce(Change::Directory);
                true
            }
        })
    }

    /// Whether it is suspended. One that is not there is not.
    pub async fn is_suspended(&self, id: &TenantId) -> Result<bool, StoreError> {
        let select = "SELECT 1 FROM tenants WHERE id = $1 AND suspended_at IS NOT NULL";
        Ok(!self.0.inner.database.query(select, params![id]).await?.is_empty())
    }

    /// The one with that id.
    pub async fn get(&self, id: &TenantId) -> Result<Option<Tenant>, StoreError> {
        let select = "SELECT id, org_id, name, variables FROM tenants WHERE id = $1";
        self.0.inner.database.query(select, params![id]).await?.first().map(read).transpose()
    }

    /// Those of an organization, in order of creation.
    pub async fn list(&self, org: &OrgId) -> Result<Vec<Tenant>, StoreError> {
        let select = "SELECT id, org_id, name, variables FROM tenants WHERE org_id = $1 ORDER BY ordinal";
        self.0.inner.database.query(select, params![org]).await?.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<Tenant, StoreError> {
    Ok(Tenant {
        id: row.id(0)?,
        org: row.id(1)?,
        name: row.optional_text(2)?.map(str::to_owned),
        variables: row.optional_json(3)?,
    })
}
