//! Policies: documents that guard a place of an organization, each change a version of its own.

use std::fmt;

use ringfence_policy::{OrgId, UserId};

use crate::audience::digest;
use crate::changes::Change;
use crate::database::{Row, params, transact};
use crate::{Store, StoreError};

/// What a policy guards: a physical data source within an organization, however connections to it are spelt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PolicyPlace {
    /// Policies of one organization do not bind another.
    pub org: OrgId,
    /// The data source, as the engine names it.
    pub place: String,
}

/// Stands for a [`PolicyPlace`] in news of changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PolicyId(pub(crate) String);

/// A version of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct PolicyVersion {
    /// From 1, without gaps.
    pub version: i64,
    pub document: String,
    pub author: UserId,
    pub comment: Option<String>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// What it rested on in the database when it was put, as JSON; `None` when that was not known.
    pub footprint: Option<String>,
    /// Whether it takes the policy away: nothing is guarded from it on. Its document is empty.
    pub removed: bool,
}

/// A version to be.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct PolicyDraft {
    pub document: String,
    pub author: UserId,
    pub comment: Option<String>,
    pub created_at: i64,
    /// As in [`PolicyVersion`].
    pub footprint: Option<String>,
    /// As in [`PolicyVersion`].
    pub removed: bool,
}

/// Which version a writer takes for the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever there is.
    Any,
    /// None yet, or none any more.
    None,
    /// This one.
    Version(i64),
}

/// What holds of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guarding {
    /// No policy was ever put on it, or the last one was removed.
    Open,
    /// This one counts.
    Guarded(PolicyVersion),
    /// It is guarded, and the version that counts is not there: nothing may run.
    Lost,
}

/// The repository of policies.
pub struct Policies<'a>(pub(crate) &'a Store);

impl PolicyPlace {
    /// What stands for it in news.
    pub fn id(&self) -> PolicyId {
        PolicyId(digest(&[Some(self.org.as_str()), Some(&self.place)]))
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Policies<'_> {
    /// The version that counts.
    //
    // INVARIANT: a place that was guarded once never looks open, also when its versions are gone, unless the version that
    // counts says so. Held by the tests `a_lost_version_is_not_an_open_place` and `a_removed_policy_leaves_its_history`.
    pub async fn current(&self, place: &PolicyPlace) -> Result<Guarding, StoreError> {
        let select = "SELECT g.version, p.version, p.document, p.author, p.comment, p.created_at, p.footprint, p.removed \
                      FROM guarded_places g LEFT JOIN policies p ON p.identity = g.identity AND p.version = g.version \
                      WHERE g.identity = $1";
        let rows = self.0.inner.database.query(select, params![place.id().0]).await?;
        match rows.first() {
            None => Ok(Guarding::Open),
            Some(row) if row.optional_integer(1)?.is_none() => Ok(Guarding::Lost),
            Some(row) => {
                let version = read(row, 1)?;
                Ok(if version.removed { Guarding::Open } else { Guarding::Guarded(version) })
            }
        }
    }

    /// Adds a version, which counts from then on, and answers its number. [`StoreError::Conflict`] when another version
    /// is current than `expected`. Publishes the change.
    pub async fn put(
        &self,
        place: &PolicyPlace,
        expected: Expected,
        draft: &PolicyDraft,
    ) -> Result<i64, StoreError> {
        let id = place.id();
        transact!(self.0.inner.database, tx => {
            // The update changes nothing: it makes an existing row come back, locked.
            let lock = "INSERT INTO guarded_places (identity, org_id, place, version) VALUES ($1, $2, $3, 0) \
                        ON CONFLICT (identity) DO UPDATE SET identity = excluded.identity RETURNING version";
            let rows = tx.query(lock, params![&id.0, &place.org, &place.place]).await;
            let rows = rows.map_err(|failure| failure.reference_is_missing("organization"))?;
            let current = rows.first().map_or(Ok(0), |row| row.integer(0))?;
            let of_current = "SELECT removed FROM policies WHERE identity = $1 AND version = $2";
            let rows = tx.query(of_current, params![&id.0, current]).await?;
            let removed = rows.first().map_or(Ok(0), |row| row.integer(0))? != 0;
            let meant = match expected {
                Expected::Any => true,
                Expected::None => current == 0 || removed,
                Expected::Version(version) => current == version,
            };
            if !meant {
                return Err(StoreError::Conflict { what: "the policy" });
            }
            let version = current.saturating_add(1);
            let insert = "INSERT INTO policies (identity, version, document, author, comment, created_at, footprint, removed) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
            let PolicyDraft { document, author, comment, created_at, footprint, removed } = draft;
            let values = params![
                &id.0, version, document, author, comment.as_ref(), *created_at, footprint.as_ref(),
                i64::from(*removed)
            ];
            tx.execute(insert, values).await?;
            let advance = "UPDATE guarded_places SET version = $2 WHERE identity = $1";
            tx.execute(advance, params![&id.0, version]).await?;
            tx.announce(Change::Policy(id.clone()));
            version
        })
    }

    /// Publishes that rows were written which attributes of the policy there are read from. Stores nothing.
    pub async fn attributes_changed(&self, place: &PolicyPlace) -> Result<(), StoreError> {
        let id = place.id();
        transact!(self.0.inner.database, tx => {
            tx.announce(Change::Attributes(id.clone()));
        })
    }

    /// The places of an organization that a policy was ever put on.
    pub async fn places(&self, org: &OrgId) -> Result<Vec<PolicyPlace>, StoreError> {
        let select = "SELECT place FROM guarded_places WHERE org_id = $1 ORDER BY place";
        let rows = self.0.inner.database.query(select, params![org]).await?;
        rows.iter().map(|row| Ok(PolicyPlace { org: org.clone(), place: row.text(0)?.to_owned() })).collect()
    }

    /// One version.
    pub async fn version(
        &self,
        place: &PolicyPlace,
        version: i64,
    ) -> Result<Option<PolicyVersion>, StoreError> {
        let select = format!("{SELECT} WHERE identity = $1 AND version = $2");
        let rows = self.0.inner.database.query(&select, params![place.id().0, version]).await?;
        rows.first().map(|row| read(row, 0)).transpose()
    }

    /// All versions, the newest first.
    pub async fn history(&self, place: &PolicyPlace) -> Result<Vec<PolicyVersion>, StoreError> {
        let select = format!("{SELECT} WHERE identity = $1 ORDER BY version DESC");
        let rows = self.0.inner.database.query(&select, params![place.id().0]).await?;
        rows.iter().map(|row| read(row, 0)).collect()
    }
}

const SELECT: &str =
    "SELECT version, document, author, comment, created_at, footprint, removed FROM policies";

fn read(row: &Row, first: usize) -> Result<PolicyVersion, StoreError> {
    Ok(PolicyVersion {
        version: row.integer(first)?,
        document: row.text(first + 1)?.to_owned(),
        author: row.id(first + 2)?,
        comment: row.optional_text(first + 3)?.map(str::to_owned),
        created_at: row.integer(first + 4)?,
        footprint: row.optional_text(first + 5)?.map(str::to_owned),
        removed: row.integer(first + 6)? != 0,
    })
}
