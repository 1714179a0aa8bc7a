//! Liked queries.

use ringfence_policy::{ConnectionKey, OrgId, Principal, TenantId, UserId};

use crate::audience::{audience_of, audiences_around, digest};
use crate::database::{Row, Transaction, Value, params, to_json, transact};
use crate::parameters::{ParameterTarget, placeholders, read_target};
use crate::{Store, StoreError};

/// A liked query.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct LikedQuery {
    pub uuid: String,
    pub owner: UserId,
    /// The owner's organization: a publication never leaves it.
    pub org: OrgId,
    pub connection: ConnectionKey,
    pub ask: String,
    pub query: String,
    pub rewrite_question: bool,
    pub detailed_steps: Option<Vec<String>>,
    /// To whom it is published; `None` keeps it to its owner.
    pub published: Option<ParameterTarget>,
    pub created_at: i64,
}

/// The repository of liked queries.
pub struct Likes<'a>(pub(crate) &'a Store);

impl Likes<'_> {
    /// Adds, replacing the owner's like of the same connection and ask. [`StoreError::Missing`] of "target" when the
    /// owner, or whom it is published to, does not exist.
    pub async fn put(&self, like: &LikedQuery) -> Result<(), StoreError> {
        let steps = like.detailed_steps.as_ref().map(to_json).transpose()?;
        let target = like.published.clone().unwrap_or_default();
        let audience = like.published.as_ref().map(audience_of);
        transact!(self.0.inner.database, tx => {
            let values = params![
                &like.uuid, &like.owner, &like.org, &like.connection, digest(&[Some(&like.ask)]), &like.ask,
                &like.query, like.rewrite_question, steps.as_ref(), like.created_at, audience.as_ref(),
                target.org.as_ref(), target.tenant.as_ref(), target.user.as_ref(), target.connection.as_ref(),
            ];
            tx.execute(UPSERT, values).await.map_err(|failure| failure.reference_is_missing("target"))?;
        })
    }

    /// Removes the owner's like of that connection and ask; none there is no error.
    pub async fn delete(
        &self,
        owner: &UserId,
        connection: &ConnectionKey,
        ask: &str,
    ) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            let delete = "DELETE FROM likes WHERE owner_id = $1 AND connection = $2 AND question = $3";
            tx.execute(delete, params![owner, connection, digest(&[Some(ask)])]).await?;
        })
    }

    /// The principal's own on that connection, and those published to it within its organization; oldest first.
    pub async fn visible_to(
        &self,
        principal: &Principal,
        connection: &ConnectionKey,
    ) -> Result<Vec<LikedQuery>, StoreError> {
        let audiences =
            audiences_around(&principal.org, &principal.tenant, &principal.user, Some(connection));
        // INVARIANT: a publication never leaves its organization, whatever its target says
        // (test `publications_never_cross_organizations`).
        let select = format!(
            "SELECT uuid, owner_id, org_id, connection, ask, query, rewrite_question, detailed_steps, created_at, \
             audience, audience_org, audience_tenant, audience_user, audience_connection FROM likes \
             WHERE connection = $1 AND (owner_id = $2 OR (org_id = $3 AND audience IN ({}))) \
             ORDER BY created_at, ordinal",
            placeholders(4, audiences.len())
        );
        let mut values = params![connection, &principal.user, &principal.org];
        values.extend(audiences.into_iter().map(Value::from));
        self.0.inner.database.query(&select, values).await?.iter().map(read).collect()
    }
}

const UPSERT: &str = "INSERT INTO likes (uuid, owner_id, org_id, connection, question, ask, query, rewrite_question, \
     detailed_steps, created_at, audience, audience_org, audience_tenant, audience_user, audience_connection) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
     ON CONFLICT (owner_id, connection, question) DO UPDATE SET uuid = excluded.uuid, org_id = excluded.org_id, \
     query = excluded.query, rewrite_question = excluded.rewrite_question, \
     detailed_steps = excluded.detailed_steps, created_at = excluded.created_at, audience = excluded.audience, \
     audience_org = excluded.audience_org, audience_tenant = excluded.audience_tenant, \
     audience_user = excluded.audience_user, audience_connection = excluded.audience_connection";

/// What was published to a user who goes becomes its owner's alone: it must not pass to a later one of that name.
pub(crate) async fn withdraw_from_user(tx: &mut Transaction, user: &UserId) -> Result<(), StoreError> {
    withdraw(tx, "audience_user = $1", user.into()).await
}

/// As [`withdraw_from_user`].
pub(crate) async fn withdraw_from_tenant(tx: &mut Transaction, tenant: &TenantId) -> Result<(), StoreError> {
    withdraw(tx, "audience_tenant = $1", tenant.into()).await
}

/// As [`withdraw_from_user`]; and what was published within the organization, by owners who have moved away.
pub(crate) async fn withdraw_from_organization(tx: &mut Transaction, org: &OrgId) -> Result<(), StoreError> {
    withdraw(tx, "audience_org = $1", org.into()).await?;
    withdraw(tx, "audience IS NOT NULL AND org_id = $1", org.into()).await
}

async fn withdraw(tx: &mut Transaction, condition: &str, id: Value) -> Result<(), StoreError> {
    let update = format!(
        "UPDATE likes SET audience = NULL, audience_org = NULL, audience_tenant = NULL, audience_user = NULL, \
         audience_connection = NULL WHERE {condition}"
    );
    tx.execute(&update, vec![id]).await?;
    Ok(())
}

fn read(row: &Row) -> Result<LikedQuery, StoreError> {
    let published = row.optional_text(9)?.is_some();
    Ok(LikedQuery {
        uuid: row.text(0)?.to_owned(),
        owner: row.id(1)?,
        org: row.id(2)?,
        connection: row.id(3)?,
        ask: row.text(4)?.to_owned(),
        query: row.text(5)?.to_owned(),
        rewrite_question: row.integer(6)? != 0,
        detailed_steps: row.optional_json(7)?,
        published: if published { Some(read_target(row, 10)?) } else { None },
        created_at: row.integer(8)?,
    })
}
