//! Settings with a scope: the tightest target wins; which that is, is decided above.

use ringfence_policy::{ConnectionKey, OrgId, TenantId, UserId};

use crate::audience::{audience_of, audiences_around};
use crate::database::{Row, Value, params, to_json, transact};
use crate::{Store, StoreError};

/// Whom a setting is for; `None` stands for anyone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ParameterTarget {
    pub org: Option<OrgId>,
    pub tenant: Option<TenantId>,
    pub user: Option<UserId>,
    pub connection: Option<ConnectionKey>,
}

/// A setting.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ParameterSetting {
    pub target: ParameterTarget,
    pub name: String,
    pub value: serde_json::Value,
}

/// The repository of settings.
pub struct Parameters<'a>(pub(crate) &'a Store);

impl Parameters<'_> {
    /// Sets, replacing what was set for exactly that target. [`StoreError::Missing`] of "target" when its organization,
    /// tenant or user does not exist: one that is made later must inherit nothing.
    pub async fn set(&self, setting: &ParameterSetting) -> Result<(), StoreError> {
        let ParameterTarget { org, tenant, user, connection } = &setting.target;
        let (audience, value) = (audience_of(&setting.target), to_json(&setting.value)?);
        transact!(self.0.inner.database, tx => {
            let upsert = "INSERT INTO parameters (audience, name, org_id, tenant_id, user_id, connection, value) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7) \
                          ON CONFLICT (audience, name) DO UPDATE SET value = excluded.value";
            let values = params![
                &audience, &setting.name, org.as_ref(), tenant.as_ref(), user.as_ref(), connection.as_ref(), &value,
            ];
            let written = tx.execute(upsert, values).await;
            written.map_err(|failure| failure.reference_is_missing("target"))?;
        })
    }

    /// Removes what was set for exactly that target; nothing there is no error.
    pub async fn delete(&self, target: &ParameterTarget, name: &str) -> Result<(), StoreError> {
        let audience = audience_of(target);
        transact!(self.0.inner.database, tx => {
            let delete = "DELETE FROM parameters WHERE audience = $1 AND name = $2";
            tx.execute(delete, params![&audience, name]).await?;
        })
    }

    /// Every setting whose target fits this user (org, tenant, user) on this connection, in name order.
    pub async fn applicable(
        &self,
        org: &OrgId,
        tenant: &TenantId,
        user: &UserId,
        connection: Option<&ConnectionKey>,
    ) -> Result<Vec<ParameterSetting>, StoreError> {
        let audiences = audiences_around(org, tenant, user, connection);
        let places = placeholders(1, audiences.len());
        let select = format!(
            "SELECT org_id, tenant_id, user_id, connection, name, value FROM parameters \
             WHERE audience IN ({places}) ORDER BY name, audience"
        );
        let values = audiences.into_iter().map(Value::from).collect();
        self.0.inner.database.query(&select, values).await?.iter().map(read).collect()
    }
}

/// The placeholders `$first, ...` of a list.
pub(crate) fn placeholders(first: usize, count: usize) -> String {
    (first..first + count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

pub(crate) fn read_target(row: &Row, first: usize) -> Result<ParameterTarget, StoreError> {
    Ok(ParameterTarget {
        org: row.optional_id(first)?,
        tenant: row.optional_id(first + 1)?,
        user: row.optional_id(first + 2)?,
        connection: row.optional_id(first + 3)?,
    })
}

fn read(row: &Row) -> Result<ParameterSetting, StoreError> {
    Ok(ParameterSetting { target: read_target(row, 0)?, name: row.text(4)?.to_owned(), value: row.json(5)? })
}
