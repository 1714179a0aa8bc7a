//! Access rules: filters and blocks on tables of a place.

use ringfence_policy::{OrgId, TenantId, UserId};

use crate::audience::digest;
use crate::changes::Change;
use crate::database::{Row, Transaction, params, transact};
use crate::{Store, StoreError};

/// A data source, however connections to it are spelt, in news of changes and in the store. Unlike a policy, a rule may be
/// for several organizations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RulePlace(pub(crate) String);

/// A rule as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct StoredRule {
    /// Among the rules of one owner on one place.
    pub id: String,
    pub name: String,
    /// As stored in the database.
    pub schema: String,
    /// As stored in the database.
    pub table: String,
    /// Any when `None`, and so are the other two.
    pub org: Option<OrgId>,
    pub tenant: Option<TenantId>,
    pub user: Option<UserId>,
    /// Which rows are shown; `None` blocks the table.
    pub expression: Option<String>,
    pub author: UserId,
    /// The author's rank when it was written: changing it takes as much.
    pub author_rank: u8,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}

/// What a repository calls a rule of which another stands in the way.
pub const RULE_ID: &str = "access rule of that id";
/// See [`RULE_ID`].
pub const RULE_SCOPE: &str = "access rule on that table for that scope";

/// The repository of access rules.
pub struct AccessRules<'a>(pub(crate) &'a Store);

impl RulePlace {
    /// Of a data source as the engine names it.
    pub fn new(place: &str) -> Self {
        Self(digest(&[Some(place)]))
    }
}

impl AccessRules<'_> {
    /// The rules on the place, in the order in which they were added; with `org`, those that bind somebody of it.
    pub async fn list(&self, place: &RulePlace, org: Option<&OrgId>) -> Result<Vec<StoredRule>, StoreError> {
        let select = "SELECT id, name, schema_name, table_name, org_id, tenant_id, user_id, expression, author, \
                      author_rank, created_at FROM access_rules WHERE place = $1";
        let (condition, values) = match org {
            Some(org) => ("AND (org_id IS NULL OR org_id = $2)", params![&place.0, org]),
            None => ("", params![&place.0]),
        };
        let select = format!("{select} {condition} ORDER BY ordinal");
        self.0.inner.database.query(&select, values).await?.iter().map(read).collect()
    }

    /// Adds them, or replaces those of the same id, scope and table: all or none. [`StoreError::Duplicate`] of [`RULE_ID`]
    /// when the id is another rule's, of [`RULE_SCOPE`] when the scope and table are; [`StoreError::Missing`] of "scope" when
    /// the organization, tenant or user does not exist. Publishes the change.
    pub async fn put(&self, place: &RulePlace, rules: &[StoredRule]) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            for rule in rules {
                put(tx, place, rule).await?;
            }
            tx.announce(Change::AccessRules(place.clone()));
        })
    }

    /// Removes those of these owners and ids; others are no error. Publishes the change.
    pub async fn remove(
        &self,
        place: &RulePlace,
        rules: &[(Option<OrgId>, String)],
    ) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            for (org, id) in rules {
                let delete = "DELETE FROM access_rules WHERE place = $1 AND owner = $2 AND id = $3";
                tx.execute(delete, params![&place.0, owner(org.as_ref()), id]).await?;
            }
            tx.announce(Change::AccessRules(place.clone()));
        })
    }
}

async fn put(tx: &mut Transaction, place: &RulePlace, rule: &StoredRule) -> Result<(), StoreError> {
    let StoredRule {
        id,
        name,
        schema,
        table,
        org,
        tenant,
        user,
        expression,
        author,
        author_rank,
        created_at,
    } = rule;
    let scope = digest(&[
        org.as_ref().map(OrgId::as_str),
        tenant.as_ref().map(TenantId::as_str),
        user.as_ref().map(UserId::as_str),
        Some(schema),
        Some(table),
    ]);
    let upsert = "INSERT INTO access_rules (place, owner, id, name, schema_name, table_name, org_id, tenant_id, \
                  user_id, scope, expression, author, author_rank, created_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
                  ON CONFLICT (place, owner, id) DO UPDATE SET name = excluded.name, \
                  expression = excluded.expression, author = excluded.author, author_rank = excluded.author_rank \
                  WHERE access_rules.scope = excluded.scope";
    let values = params![
        &place.0,
        owner(org.as_ref()),
        id,
        name,
        schema,
        table,
        org.as_ref(),
        tenant.as_ref(),
        user.as_ref(),
        scope,
        expression.as_ref(),
        author,
        u32::from(*author_rank),
        *created_at,
    ];
    let written =
        tx.execute(upsert, values).await.map_err(|failure| failure.on_insert(RULE_SCOPE, "scope"))?;
    // Another rule has the id: the update did not match it.
    if written == 0 { Err(StoreError::Duplicate { what: RULE_ID }) } else { Ok(()) }
}

/// Tells of the rules that go with the user: the foreign keys' ON DELETE CASCADE removes them.
pub(crate) async fn withdraw_from_user(tx: &mut Transaction, user: &UserId) -> Result<(), StoreError> {
    announce_places(tx, "user_id", user.as_str()).await
}

/// As [`withdraw_from_user`].
pub(crate) async fn withdraw_from_tenant(tx: &mut Transaction, tenant: &TenantId) -> Result<(), StoreError> {
    announce_places(tx, "tenant_id", tenant.as_str()).await
}

/// As [`withdraw_from_user`].
pub(crate) async fn withdraw_from_organization(tx: &mut Transaction, org: &OrgId) -> Result<(), StoreError> {
    announce_places(tx, "org_id", org.as_str()).await
}

async fn announce_places(tx: &mut Transaction, column: &str, id: &str) -> Result<(), StoreError> {
    let select = format!("SELECT DISTINCT place FROM access_rules WHERE {column} = $1");
    for row in tx.query(&select, params![id]).await? {
        tx.announce(Change::AccessRules(RulePlace(row.text(0)?.to_owned())));
    }
    Ok(())
}

fn owner(org: Option<&OrgId>) -> &str {
    org.map_or("", OrgId::as_str)
}

fn read(row: &Row) -> Result<StoredRule, StoreError> {
    Ok(StoredRule {
        id: row.text(0)?.to_owned(),
        name: row.text(1)?.to_owned(),
        schema: row.text(2)?.to_owned(),
        table: row.text(3)?.to_owned(),
        org: row.optional_id(4)?,
        tenant: row.optional_id(5)?,
        user: row.optional_id(6)?,
        expression: row.optional_text(7)?.map(str::to_owned),
        author: row.id(8)?,
        // No rank that was written is larger; one that is takes the most to change.
        author_rank: u8::try_from(row.integer(9)?).unwrap_or(u8::MAX),
        created_at: row.integer(10)?,
    })
}
