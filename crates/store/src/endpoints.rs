//! Published endpoints: documents of an organization, each change a version of its own.

use ringfence_policy::{OrgId, UserId};

use crate::changes::Change;
use crate::database::{Row, params, transact};
use crate::{Store, StoreError};

/// A version of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct EndpointVersion {
    pub name: String,
    /// From 1, without gaps.
    pub version: i64,
    /// As its author wrote it; empty when it takes the endpoint away.
    pub document: String,
    /// Whose connection the statement runs on.
    pub author: UserId,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Whether it takes the endpoint away.
    pub removed: bool,
}

/// The repository of published endpoints.
pub struct Endpoints<'a>(pub(crate) &'a Store);

const SELECT: &str = "SELECT name, version, document, author, created_at, removed FROM endpoints e";

impl Endpoints<'_> {
    /// Adds a version, which counts from then on, and answers its number. Publishes the change.
    pub async fn put(&self, org: &OrgId, new: &EndpointVersion) -> Result<i64, StoreError> {
        transact!(self.0.inner.database, tx => {
            let last = "SELECT COALESCE(MAX(version), 0) FROM endpoints WHERE org_id = $1 AND name = $2";
            let rows = tx.query(last, params![org, &new.name]).await?;
            let version = rows.first().map_or(Ok(0), |row| row.integer(0))?.saturating_add(1);
            let insert = "INSERT INTO endpoints (org_id, name, version, document, author, created_at, removed) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7)";
            let values = params![
                org, &new.name, version, &new.document, &new.author, new.created_at, i64::from(new.removed)
            ];
            // Of two that come at once, one is told that the other was first.
            tx.execute(insert, values).await.map_err(|failure| failure.on_insert("version of the endpoint", "organization"))?;
            tx.announce(Change::Endpoints(org.clone()));
            version
        })
    }

    /// The versions that count, by name.
    pub async fn current(&self, org: &OrgId) -> Result<Vec<EndpointVersion>, StoreError> {
        let select = format!(
            "{SELECT} WHERE org_id = $1 AND removed = 0 AND version = \
             (SELECT MAX(l.version) FROM endpoints l WHERE l.org_id = e.org_id AND l.name = e.name) ORDER BY name"
        );
        self.0.inner.database.query(&select, params![org]).await?.iter().map(read).collect()
    }

    /// All versions of one, the newest first.
    pub async fn history(&self, org: &OrgId, name: &str) -> Result<Vec<EndpointVersion>, StoreError> {
        let select = format!("{SELECT} WHERE org_id = $1 AND name = $2 ORDER BY version DESC");
        self.0.inner.database.query(&select, params![org, name]).await?.iter().map(read).collect()
    }

    /// Whether any organization ever published one.
    pub async fn any(&self) -> Result<bool, StoreError> {
        Ok(!self.0.inner.database.query("SELECT 1 FROM endpoints LIMIT 1", params![]).await?.is_empty())
    }
}

fn read(row: &Row) -> Result<EndpointVersion, StoreError> {
    Ok(EndpointVersion {
        name: row.text(0)?.to_owned(),
        version: row.integer(1)?,
        document: row.text(2)?.to_owned(),
        author: row.id(3)?,
        created_at: row.integer(4)?,
        removed: row.integer(5)? != 0,
    })
}
