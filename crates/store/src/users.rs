//! Users.

use std::fmt::Write as _;

use ringfence_policy::{Attributes, OrgId, Role, TenantId, UserId};

use crate::access_keys::KeyHash;
use crate::changes::Change;
use crate::database::{Row, Transaction, params, to_json, transact};
use crate::role_mapping::RoleSet;
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
    /// Refused wherever it comes from.
    pub disabled: bool,
    /// What of roles and variables an outside source gives, for a user who comes from one. Not written with the user.
    pub outside: Option<Outside>,
}

/// What an outside source gives a user.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Outside {
    /// The source's name in the configuration.
    pub source: String,
    pub roles: Vec<Role>,
    pub data_roles: Vec<String>,
    pub variables: Attributes,
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
    pub disabled: Option<bool>,
    /// When, in milliseconds since the epoch: what an outside source said of the user before counts no more.
    pub at_ms: i64,
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
    ///
    /// What an outside source gives stays the source's when it is given again, and goes when it is left out, until the source
    /// says it anew.
    pub async fn update(&self, id: &UserId, change: &UserChange) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            let missing = || StoreError::Missing { what: "user" };
            tx.query("SELECT id FROM users WHERE id = $1 FOR UPDATE", params![id]).await?;
            let old = read_stored(tx, id).await?.ok_or_else(missing)?;
            let (org, mut new) = (old.org.clone(), old);
            new.apply(change);
            let update = "UPDATE users SET name = $2, tenant_id = $3, org_id = $4, variables = $5, roles = $6, \
                          data_roles = $7, disabled = $8 WHERE id = $1";
            let variables = new.variables.as_ref().map(to_json).transpose()?;
            let (roles, data_roles) = (to_json(&new.roles)?, to_json(&new.data_roles)?);
            let values = params![
                id, new.name.as_ref(), &new.tenant, &new.org, variables, roles, data_roles, new.disabled
            ];
            tx.execute(update, values).await.map_err(|failure| failure.reference_is_missing("tenant"))?;
            if let Some(outside) = &new.outside {
                keep_outside(tx, id, outside, change.at_ms).await?;
            }
            if new.org != org {
                sources::move_connections(tx, id, &new.org).await?;
            }
            tx.announce(Change::User(id.clone()));
        })
    }

    /// Removes the user with keys, connections, configuration, likes, history and settings; publishes the change.
    ///
    /// [`StoreError::InUse`] for one who is disabled and comes from an outside source: the source would make it anew.
    pub async fn delete(&self, id: &UserId) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            tx.query("SELECT id FROM users WHERE id = $1 FOR UPDATE", params![id]).await?;
            if find(tx, id).await?.is_some_and(|user| user.disabled && user.outside.is_some()) {
                let dependents = "a source outside that would make it anew: leave it disabled, or enable it first";
                return Err(StoreError::InUse { what: "user", dependents });
            }
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

    /// The user with the variables of tenant and organization, in one query; none when it is disabled.
    //
    // INVARIANT: every principal is made of an account, so that nobody is one whose user is disabled. Held by the tests of
    // `disabled`.
    pub async fn account(&self, id: &UserId) -> Result<Option<Account>, StoreError> {
        let select = format!(
            "SELECT {COLUMNS}, o.variables, t.variables, t.suspended_at FROM {TABLES} JOIN tenants t ON t.id = u.tenant_id \
             JOIN organizations o ON o.id = u.org_id WHERE u.id = $1 AND u.disabled = 0"
        );
        let rows = self.0.inner.database.query(&select, params![id]).await?;
        let read_account = |row: &Row| {
            let (org_variables, tenant_variables) = (row.optional_json(12)?, row.optional_json(13)?);
            let suspended = row.optional_integer(14)?.is_some();
            Ok(Account {
                user: Stored::read(row, 0)?.into_user(),
                org_variables,
                tenant_variables,
                suspended,
            })
        };
        rows.first().map(read_account).transpose()
    }

    /// Those that match, in order of creation.
    pub async fn list(&self, filter: &UserFilter) -> Result<Vec<User>, StoreError> {
        self.some(filter, u32::MAX).await
    }

    /// The first of those that match, at most so many.
    pub async fn some(&self, filter: &UserFilter, limit: u32) -> Result<Vec<User>, StoreError> {
        let mut select = format!("SELECT {COLUMNS} FROM {TABLES} WHERE 1 = 1");
        let mut values = params![];
        let conditions = [
            ("u.org_id", filter.org.as_ref().map(OrgId::as_str)),
            ("u.tenant_id", filter.tenant.as_ref().map(TenantId::as_str)),
            ("u.id", filter.user.as_ref().map(UserId::as_str)),
        ];
        for (column, value) in conditions {
            if let Some(value) = value {
                values.push(value.into());
                let _ = write!(select, " AND {column} = ${}", values.len());
            }
        }
        let _ = write!(select, " ORDER BY u.ordinal LIMIT {limit}");
        let rows = self.0.inner.database.query(&select, values).await?;
        rows.iter().map(|row| Ok(Stored::read(row, 0)?.into_user())).collect()
    }
}

const COLUMNS: &str = "u.id, u.tenant_id, u.org_id, u.name, u.variables, u.roles, u.data_roles, u.disabled, \
                       l.source, l.roles, l.data_roles, l.variables";
const TABLES: &str = "users u LEFT JOIN user_links l ON l.user_id = u.id";

/// A user as it is written: what was granted by hand, and what an outside source gives.
pub(crate) struct Stored {
    id: UserId,
    tenant: TenantId,
    org: OrgId,
    name: Option<String>,
    variables: Option<Attributes>,
    pub(crate) roles: Vec<Role>,
    pub(crate) data_roles: Vec<String>,
    disabled: bool,
    pub(crate) outside: Option<Outside>,
}

impl Stored {
    /// From a row with [`COLUMNS`] beginning at `first`.
    pub(crate) fn read(row: &Row, first: usize) -> Result<Self, StoreError> {
        let outside = match row.optional_text(first + 8)? {
            None => None,
            Some(source) => Some(Outside {
                source: source.to_owned(),
                roles: row.json(first + 9)?,
                data_roles: row.json(first + 10)?,
                variables: row.json(first + 11)?,
            }),
        };
        Ok(Self {
            id: row.id(first)?,
            tenant: row.id(first + 1)?,
            org: row.id(first + 2)?,
            name: row.optional_text(first + 3)?.map(str::to_owned),
            variables: row.optional_json(first + 4)?,
            roles: row.json(first + 5)?,
            data_roles: row.json(first + 6)?,
            disabled: row.integer(first + 7)? != 0,
            outside,
        })
    }

    /// With everything that counts, wherever it comes from. A source has the last word on the variables that it gives.
    pub(crate) fn into_user(self) -> User {
        let Self { id, tenant, org, name, mut variables, roles, data_roles, disabled, outside } = self;
        let mut all = RoleSet { roles, data_roles };
        if let Some(outside) = &outside {
            all.extend(&RoleSet { roles: outside.roles.clone(), data_roles: outside.data_roles.clone() });
            if !outside.variables.is_empty() {
                variables.get_or_insert_default().extend(outside.variables.clone());
            }
        }
        let RoleSet { roles, data_roles } = all;
        User { id, tenant, org, name, variables, roles, data_roles, disabled, outside }
    }

    fn apply(&mut self, change: &UserChange) {
        let none = Outside {
            source: String::new(),
            roles: Vec::new(),
            data_roles: Vec::new(),
            variables: Attributes::new(),
        };
        let mut outside = self.outside.take().unwrap_or_else(|| none.clone());
        if let Some(roles) = &change.roles {
            divide(roles, &mut self.roles, &mut outside.roles);
        }
        if let Some(data_roles) = &change.data_roles {
            divide(data_roles, &mut self.data_roles, &mut outside.data_roles);
        }
        if let Some(variables) = &change.variables {
            let by_hand = self.variables.take().unwrap_or_default();
            outside.variables.retain(|name, value| variables.get(name) == Some(value));
            let is_outside = |name: &str, value| {
                outside.variables.get(name) == Some(value) && by_hand.get(name) != Some(value)
            };
            let kept = variables.iter().filter(|(name, value)| !is_outside(name, value));
            self.variables = Some(kept.map(|(name, value)| (name.clone(), value.clone())).collect());
        }
        if let Some(name) = &change.name {
            self.name = Some(name.clone());
        }
        if let Some((tenant, org)) = &change.home {
            (self.tenant, self.org) = (tenant.clone(), org.clone());
        }
        self.disabled = change.disabled.unwrap_or(self.disabled);
        self.outside = Some(outside).filter(|outside| !outside.source.is_empty());
    }
}

/// What is wanted: by hand, but for what the source gives alone.
fn divide<T: PartialEq + Clone>(wanted: &[T], by_hand: &mut Vec<T>, outside: &mut Vec<T>) {
    outside.retain(|one| wanted.contains(one));
    let kept = wanted.iter().filter(|one| by_hand.contains(one) || !outside.contains(one));
    *by_hand = kept.cloned().collect();
}

async fn keep_outside(
    tx: &mut Transaction,
    id: &UserId,
    outside: &Outside,
    at_ms: i64,
) -> Result<(), StoreError> {
    let update = "UPDATE user_links SET roles = $2, data_roles = $3, variables = $4, \
                  as_of = CASE WHEN as_of < $5 THEN $5 ELSE as_of END WHERE user_id = $1";
    let (roles, data_roles) = (to_json(&outside.roles)?, to_json(&outside.data_roles)?);
    tx.execute(update, params![id, roles, data_roles, to_json(&outside.variables)?, at_ms]).await?;
    Ok(())
}

async fn read_stored(tx: &mut Transaction, id: &UserId) -> Result<Option<Stored>, StoreError> {
    let select = format!("SELECT {COLUMNS} FROM {TABLES} WHERE u.id = $1");
    tx.query(&select, params![id]).await?.first().map(|row| Stored::read(row, 0)).transpose()
}

/// The user within a transaction.
pub(crate) async fn find(tx: &mut Transaction, id: &UserId) -> Result<Option<User>, StoreError> {
    Ok(read_stored(tx, id).await?.map(Stored::into_user))
}

async fn insert(tx: &mut Transaction, user: &User) -> Result<(), StoreError> {
    let insert = "INSERT INTO users (id, tenant_id, org_id, name, variables, roles, data_roles, disabled) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let variables = user.variables.as_ref().map(to_json).transpose()?;
    let (roles, data_roles) = (to_json(&user.roles)?, to_json(&user.data_roles)?);
    let (name, disabled) = (user.name.as_ref(), user.disabled);
    let values = params![&user.id, &user.tenant, &user.org, name, variables, roles, data_roles, disabled];
    let inserted = tx.execute(insert, values).await;
    inserted.map(drop).map_err(|failure| failure.on_insert("user", "tenant"))
}
