//! Cubes: definitions on a place of an organization, each change a version of its own.

use ringfence_policy::UserId;

use crate::changes::Change;
use crate::database::{Row, params, transact};
use crate::policies::PolicyPlace;
use crate::{Store, StoreError};

/// A version of a cube.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct CubeVersion {
    pub name: String,
    /// From 1, without gaps.
    pub version: i64,
    /// As its author wrote it; empty when it takes the cube away.
    pub document: String,
    pub author: UserId,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Whether it takes the cube away.
    pub removed: bool,
}

/// The repository of cubes.
pub struct Cubes<'a>(pub(crate) &'a Store);

const SELECT: &str = "SELECT name, version, document, author, created_at, removed FROM cubes c";

impl Cubes<'_> {
    /// Adds a version, which counts from then on, and answers its number. As cubes say how the policy's restrictions merge,
    /// it is published as a change of the policy.
    pub async fn put(&self, place: &PolicyPlace, new: &CubeVersion) -> Result<i64, StoreError> {
        let id = place.id();
        transact!(self.0.inner.database, tx => {
            let last = "SELECT COALESCE(MAX(version), 0) FROM cubes WHERE identity = $1 AND name = $2";
            let rows = tx.query(last, params![&id.0, &new.name]).await?;
            let version = rows.first().map_or(Ok(0), |row| row.integer(0))?.saturating_add(1);
            let insert = "INSERT INTO cubes (identity, org_id, name, version, document, author, created_at, removed) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
            let values = params![
                &id.0, &place.org, &new.name, version, &new.document, &new.author, new.created_at,
                i64::from(new.removed)
            ];
            // Of two that come at once, one is told that the other was first.
            tx.execute(insert, values).await.map_err(|failure| failure.on_insert("version of the cube", "organization"))?;
            tx.announce(Change::Policy(id.clone()));
            version
        })
    }

    /// The versions that count, by name.
    pub async fn current(&self, place: &PolicyPlace) -> Result<Vec<CubeVersion>, StoreError> {
        let select = format!(
            "{SELECT} WHERE identity = $1 AND removed = 0 AND version = \
             (SELECT MAX(l.version) FROM cubes l WHERE l.identity = c.identity AND l.name = c.name) ORDER BY name"
        );
        self.0.inner.database.query(&select, params![place.id().0]).await?.iter().map(read).collect()
    }

    /// All versions of one, the newest first.
    pub async fn history(&self, place: &PolicyPlace, name: &str) -> Result<Vec<CubeVersion>, StoreError> {
        let select = format!("{SELECT} WHERE identity = $1 AND name = $2 ORDER BY version DESC");
        self.0.inner.database.query(&select, params![place.id().0, name]).await?.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<CubeVersion, StoreError> {
    Ok(CubeVersion {
        name: row.text(0)?.to_owned(),
        version: row.integer(1)?,
        document: row.text(2)?.to_owned(),
        author: row.id(3)?,
        created_at: row.integer(4)?,
        removed: row.integer(5)? != 0,
    })
}
