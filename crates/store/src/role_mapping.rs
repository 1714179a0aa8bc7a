//! Role mapping: what a role of an outside source means here.

use ringfence_policy::Role;

use crate::changes::Change;
use crate::database::{Row, params, to_json, transact};
use crate::{Store, StoreError};

/// Roles of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleSet {
    /// Product roles.
    pub roles: Vec<Role>,
    /// Names of data roles.
    pub data_roles: Vec<String>,
}

impl RoleSet {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.data_roles.is_empty()
    }

    /// Adds those of the other that are not in it, and puts data roles in order, so that who has the same ones sees through
    /// the same view.
    pub fn extend(&mut self, other: &Self) {
        for role in &other.roles {
            if !self.roles.contains(role) {
                self.roles.push(*role);
            }
        }
        self.data_roles.extend(other.data_roles.iter().cloned());
        self.data_roles.sort();
        self.data_roles.dedup();
    }
}

/// A role of a source, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedRole {
    /// As the source spells it.
    pub outside_role: String,
    /// What who has it gets here.
    pub means: RoleSet,
}

/// The repository of role mappings.
pub struct RoleMapping<'a>(pub(crate) &'a Store);

impl RoleMapping<'_> {
    /// Says what the role means from now on. Publishes the change: whoever arrived before has what the role meant then.
    pub async fn put(&self, source: &str, mapped: &MappedRole) -> Result<(), StoreError> {
        let (roles, data_roles) = (to_json(&mapped.means.roles)?, to_json(&mapped.means.data_roles)?);
        transact!(self.0.inner.database, tx => {
            let upsert = "INSERT INTO role_mapping (source, outside_role, roles, data_roles) \
                          VALUES ($1, $2, $3, $4) ON CONFLICT (source, outside_role) \
                          DO UPDATE SET roles = excluded.roles, data_roles = excluded.data_roles";
            tx.execute(upsert, params![source, &mapped.outside_role, &roles, &data_roles]).await?;
            tx.announce(Change::Directory);
        })
    }

    /// The role means nothing from now on. Answers whether it did.
    pub async fn delete(&self, source: &str, outside_role: &str) -> Result<bool, StoreError> {
        transact!(self.0.inner.database, tx => {
            let delete = "DELETE FROM role_mapping WHERE source = $1 AND outside_role = $2";
            let deleted = tx.execute(delete, params![source, outside_role]).await? > 0;
            if deleted {
                tx.announce(Change::Directory);
            }
            deleted
        })
    }

    /// All of a source, by name.
    pub async fn list(&self, source: &str) -> Result<Vec<MappedRole>, StoreError> {
        let select = "SELECT outside_role, roles, data_roles FROM role_mapping WHERE source = $1 \
                      ORDER BY outside_role";
        let rows = self.0.inner.database.query(select, params![source]).await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<MappedRole, StoreError> {
    let means = RoleSet { roles: row.json(1)?, data_roles: row.json(2)? };
    Ok(MappedRole { outside_role: row.text(0)?.to_owned(), means })
}
