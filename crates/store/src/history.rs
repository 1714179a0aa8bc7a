//! Queries that were run, for their users' own eyes.

use ringfence_policy::{ConnectionKey, Identity, QueryId, UserId};

use crate::database::{Row, params, transact};
use crate::{Store, StoreError};

/// A query that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct HistoryEntry {
    pub id: QueryId,
    /// Whose query it was: an account's, or that of a user whom an application acted for.
    pub owner: Identity,
    pub connection: ConnectionKey,
    pub query: String,
    /// Milliseconds since the epoch.
    pub ran_at: i64,
}

/// A page of a user's history on one connection.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct HistoryPage {
    pub limit: u32,
    pub offset: u32,
    pub newest_first: bool,
    pub id: Option<QueryId>,
}

/// The repository of history.
pub struct History<'a>(pub(crate) &'a Store);

impl History<'_> {
    /// Adds entries in one transaction. Entries of users that are gone are dropped silently.
    pub async fn append(&self, entries: &[HistoryEntry]) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            // The lock keeps the user until the commit; one who is going is waited for, and then not found.
            let insert = "INSERT INTO history (id, user_id, connection, query, ran_at, behalf_tenant, behalf_user) \
                          SELECT $1, id, $3, $4, $5, $6, $7 FROM users WHERE id = $2 FOR SHARE";
            let row = |entry: &HistoryEntry| {
                let (account, [tenant, user]) = (&entry.owner.account, behalf(&entry.owner));
                params![&entry.id, account, &entry.connection, &entry.query, entry.ran_at, tenant, user]
            };
            tx.execute_each(insert, entries.iter().map(row).collect()).await?;
        })
    }

    /// Keeps the newest `kept` entries of the account on that connection.
    pub async fn prune(
        &self,
        user: &UserId,
        connection: &ConnectionKey,
        kept: u32,
    ) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            let delete = "DELETE FROM history WHERE user_id = $1 AND connection = $2 AND ordinal <= \
                          (SELECT ordinal FROM history WHERE user_id = $1 AND connection = $2 \
                           ORDER BY ordinal DESC LIMIT 1 OFFSET $3)";
            tx.execute(delete, params![user, connection, kept]).await?;
        })
    }

    /// The owner's queries on that connection, by the time they ran: not those of others who use the same account.
    pub async fn list(
        &self,
        owner: &Identity,
        connection: &ConnectionKey,
        page: &HistoryPage,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        let order = if page.newest_first { "ran_at DESC, ordinal DESC" } else { "ran_at, ordinal" };
        let [tenant, user] = behalf(owner);
        let mut values = params![&owner.account, connection, page.limit, page.offset, tenant, user];
        let mut only = "";
        if let Some(id) = &page.id {
            values.push(id.into());
            only = "AND id = $7";
        }
        let select = format!(
            "SELECT id, connection, query, ran_at FROM history WHERE user_id = $1 AND connection = $2 \
             AND behalf_tenant = $5 AND behalf_user = $6 {only} ORDER BY {order} LIMIT $3 OFFSET $4"
        );
        let rows = self.0.inner.database.query(&select, values).await?;
        rows.iter().map(|row| read(row, owner)).collect()
    }
}

/// The two columns that say for whom an account was used; ids are never empty.
fn behalf(owner: &Identity) -> [&str; 2] {
    owner.on_behalf_of.as_ref().map_or(["", ""], |(tenant, user)| [tenant.as_str(), user.as_str()])
}

fn read(row: &Row, owner: &Identity) -> Result<HistoryEntry, StoreError> {
    Ok(HistoryEntry {
        id: row.id(0)?,
        owner: owner.clone(),
        connection: row.id(1)?,
        query: row.text(2)?.to_owned(),
        ran_at: row.integer(3)?,
    })
}
