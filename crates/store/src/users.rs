//! Users.

use std::fmt::Write as _;

use ringfence_policy::{Attributes, OrgId, Role, TenantId, UserId};

use crate::access_keys::KeyHash;
use crate::changes::Change;
use crate::database::{Row, Transaction, params, to_json, transact};
use crate::sources;
use crate::{Store, StoreError};

/// A user of a tenant.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct User {
    pub id: UserId,
    pub tenant: TenantId,
    pub org: OrgId,
    pub name: Option<String>,
    pub variables: Option<Attributes>,
    pub roles: Vec<Role>,
    /// Names of data roles, which restrict what is seen.
    pub data_roles: Vec<String>,
}

/// What to change of a user; `None` keeps.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct UserChange {
    pub name: Option<String>,
    /// The new tenant with its organization.
    pub home: Option<(TenantId, OrgId)>,
    pub variables: Option<Attributes>,
    pub roles: Option<Vec<Role>>,
    pub data_roles: Option<Vec<String>>,
}

/// Which users; all given conditions hold together.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct UserFilter {
    pub org: Option<OrgId>,
    pub tenant: Option<TenantId>,
    pub user: Option<UserId>,
}

/// A user with all that a principal is made of.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Account {
    pub user: User,
    pub org_variables: Option<Attributes>,
    pub tenant_variables: Option<Attributes>,
    /// Whether its tenant is suspended.
    pub suspended: bool,
}

/// The repository of users.
pub struct Users<'a>(pub(crate) &'a Store);

impl Users<'_> {
    /// Adds it. Duplicate: [`StoreError::Duplicate`]; tenant unknown or not in that organization: `Missing` of "tenant".
    pub async fn create(&self, user: &User) -> Result<(), StoreError> {
        self.create_many(std::slice::from_ref(user)).await
    }

    /// Adds them all or none, as [`Users::create`] does.
    pub async fn create_many(&self, users: &[User]) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            for user in users {
                insert(tx, user).await?;
                tx.announce(Change::User(user.id.clone()));
            }
        })
    }

    /// Changes what is given; publishes the change.
    ///
    /// Who moves to another organization takes connections along, but nothing that they shared with others there:
    /// each gets a source of the new organization.
    pub async fn update(&self, id: &UserId, change: &UserChange) -> Result<(), StoreError> {
        let variables = change.variables.as_ref().map(to_json).transpose()?;
        let roles = change.roles.as_ref().map(to_json).transpose()?;
        let data_roles = change.data_roles.as_ref().map(to_json).transpose()?;
        let (tenant, org) = change.home.as_ref().map(|(tenant, org)| (tenant, org)).unzip();
        transact!(self.0.inner.database, tx => {
            let missing = || StoreError::Missing { what: "user" };
            let rows = tx.query("SELECT org_id FROM users WHERE id = $1 FOR UPDATE", params![id]).await?;
            let old_org: OrgId = rows.first().ok_or_else(missing)?.id(0)?;
            let update = "UPDATE users SET name = COALESCE($2, name), tenant_id = COALESCE($3, tenant_id), \
                          org_id = COALESCE($4, org_id), variables = COALESCE($5, variables), \
                          roles = COALESCE($6, roles), data_roles = COALESCE($7, data_roles) WHERE id = $1";
            let (variables, roles, data_roles) = (variables.as_ref(), roles.as_ref(), data_roles.as_ref());
            let values = params![id, change.name.as_ref(), tenant, org, variables, roles, data_roles];
            tx.execute(update, values).await.map_err(|failure| failure.reference_is_missing("tenant"))?;
            if let Some(new_org) = org.filter(|org| **org != old_org) {
                sources::move_connections(tx, id, new_org).await?;
            }
            tx.announce(Change::User(id.clone()));
        })
    }

    /// Removes the user with keys, connections, configuration, likes, history and settings; publishes the change.
    pub async fn delete(&self, id: &UserId) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            let keys = tx.query("SELECT hash FROM access_keys WHERE user_id = $1", params![id]).await?;
            let used = sources::used_by(tx, id).await?;
            crate::likes::withdraw_from_user(tx, id).await?;
            crate::access_rules::withdraw_from_user(tx, id).await?;
            // Whatever else is the user's goes with the user, by the foreign keys' ON DELETE CASCADE.
            if tx.execute("DELETE FROM users WHERE id = $1", params![id]).await? == 0 {
                return Err(StoreError::Missing { what: "user" });
            }
            for source in used {
                sources::remove_if_unused(tx, source).await?;
                tx.announce(Change::Source(source));
            }
            for key in &keys {
                tx.announce(Change::Key(KeyHash::read(key, 0)?));
            }
            tx.announce(Change::User(id.clone()));
        })
    }

    /// The one with that id.
    pub async fn get(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        let filter = UserFilter { user: Some(id.clone()), ..UserFilter::default() };
        Ok(self.list(&filter).await?.pop())
    }

    /// The user with the variables of tenant and organization, in one query.
    pub async fn account(&self, id: &UserId) -> Result<Option<Account>, StoreError> {
        let select = "SELECT u.id, u.tenant_id, u.org_id, u.name, u.variables, u.roles, u.data_roles, \
                      o.variables, t.variables, t.suspended_at \
                      FROM users u JOIN tenants t ON t.id = u.tenant_id JOIN organizations o ON o.id = u.org_id \
                      WHERE u.id = $1";
        let rows = self.0.inner.database.query(select, params![id]).await?;
        let read_account = |row: &Row| {
            let (org_variables, tenant_variables) = (row.optional_json(7)?, row.optional_json(8)?);
            let suspended = row.optional_integer(9)?.is_some();
            Ok(Account { user: read(row)?, org_variables, tenant_variables, suspended })
        };
        rows.first().map(read_account).transpose()
    }

    /// Those that match, in order of creation.
    pub async fn list(&self, filter: &UserFilter) -> Result<Vec<User>, StoreError> {
        self.some(filter, u32::MAX).await
    }

    /// The first of those that match, at most so many.
    pub async fn some(&self, filter: &UserFilter, limit: u32) -> Result<Vec<User>, StoreError> {
        let mut select =
            "SELECT id, tenant_id, org_id, name, variables, roles, data_roles FROM users WHERE 1 = 1"
                .to_owned();
        let mut values = params![];
        let conditions = [
            ("org_id", filter.org.as_ref().map(OrgId::as_str)),
            ("tenant_id", filter.tenant.as_ref().map(TenantId::as_str)),
            ("id", filter.user.as_ref().map(UserId::as_str)),
        ];
        for (column, value) in conditions {
            if let Some(value) = value {
                values.push(value.into());
                let _ = write!(select, " AND {column} = ${}", values.len());
            }
        }
        let _ = write!(select, " ORDER BY ordinal LIMIT {limit}");
        self.0.inner.database.query(&select, values).await?.iter().map(read).collect()
    }
}

async fn insert(tx: &mut Transaction, user: &User) -> Result<(), StoreError> {
    let insert = "INSERT INTO users (id, tenant_id, org_id, name, variables, roles, data_roles) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let variables = user.variables.as_ref().map(to_json).transpose()?;
    let (roles, data_roles) = (to_json(&user.roles)?, to_json(&user.data_roles)?);
    let values = params![&user.id, &user.tenant, &user.org, user.name.as_ref(), variables, roles, data_roles];
    let inserted = tx.execute(insert, values).await;
    inserted.map(drop).map_err(|failure| failure.on_insert("user", "tenant"))
}

fn read(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        id: row.id(0)?,
        tenant: row.id(1)?,
        org: row.id(2)?,
        name: row.optional_text(3)?.map(str::to_owned),
        variables: row.optional_json(4)?,
        roles: row.json(5)?,
        data_roles: row.json(6)?,
    })
}
