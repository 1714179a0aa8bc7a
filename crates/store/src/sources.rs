//! Sources: what connections of one key and one physical target share within an organization: filters, the index
//! and its status.

use std::collections::BTreeMap;

use ringfence_policy::filter::{PatternFilter, SearchContext};
use ringfence_policy::{Catalog, ConnectionKey, ConnectionSpec, OrgId, UserId};
use serde::{Deserialize, Serialize};

use crate::audience::digest;
use crate::changes::Change;
use crate::database::{Row, Transaction, Value, params, to_json, transact};
use crate::parameters::placeholders;
use crate::{Store, StoreError};

/// A source's id, made by the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceId(pub i64);

/// How far indexing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum IndexStatus {
    NotStarted,
    Indexing,
    Completed,
    Failed,
}

/// Progress within one schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "plain fields")]
pub struct SchemaProgress {
    pub total: u32,
    pub pending: u32,
}

/// The state of a source.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Source {
    pub id: SourceId,
    pub org: OrgId,
    pub key: ConnectionKey,
    pub target: String,
    pub content_filters: Vec<SearchContext>,
    pub pattern_filters: Vec<PatternFilter>,
    pub status: IndexStatus,
    pub schemas: BTreeMap<String, SchemaProgress>,
    /// Why indexing failed.
    pub diagnostics: Option<String>,
    /// Grows with each change and refresh; work for an older generation is thrown away.
    pub generation: i64,
}

/// What indexing reports.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct IndexReport {
    pub status: IndexStatus,
    pub schemas: BTreeMap<String, SchemaProgress>,
    pub diagnostics: Option<String>,
}

/// The repository of sources.
pub struct Sources<'a>(pub(crate) &'a Store);

impl Sources<'_> {
    /// The one with that id.
    pub async fn get(&self, id: SourceId) -> Result<Option<Source>, StoreError> {
        Ok(self.get_many(&[id]).await?.pop())
    }

    /// Those with these ids, in one query, in any order.
    pub async fn get_many(&self, ids: &[SourceId]) -> Result<Vec<Source>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(MOST_PARAMETERS) {
            let select = format!(
                "SELECT id, org_id, key, target, content_filters, pattern_filters, status, schemas, diagnostics, \
                 generation FROM sources WHERE id IN ({})",
                placeholders(1, ids.len())
            );
            let values = ids.iter().map(|id| Value::from(id.0)).collect();
            for row in self.0.inner.database.query(&select, values).await? {
                found.push(read(&row)?);
            }
        }
        Ok(found)
    }

    /// Sets `not-started` and answers the new generation.
    pub async fn restart(&self, id: SourceId) -> Result<i64, StoreError> {
        transact!(self.0.inner.database, tx => {
            tx.announce(Change::Source(id));
            next_generation(tx, id).await?
        })
    }

    /// Replaces the filters, sets `not-started` and answers the new generation.
    pub async fn set_filters(
        &self,
        id: SourceId,
        contexts: &[SearchContext],
        patterns: &[PatternFilter],
    ) -> Result<i64, StoreError> {
        transact!(self.0.inner.database, tx => {
            write_filters(tx, id, contexts, patterns).await?;
            tx.announce(Change::Source(id));
            next_generation(tx, id).await?
        })
    }

    /// Takes the work on a generation for one node until `lease_until_ms`; false when another node has it, its work has
    /// ended, or the generation has passed. A node that has it may take it again, to keep it longer.
    pub async fn claim(
        &self,
        id: SourceId,
        generation: i64,
        node: &str,
        now_ms: i64,
        lease_until_ms: i64,
    ) -> Result<bool, StoreError> {
        transact!(self.0.inner.database, tx => {
            let update = "UPDATE sources SET lease_node = $3, lease_until = $5 WHERE id = $1 AND generation = $2 \
                          AND status IN ('not-started', 'indexing') \
                          AND (lease_node IS NULL OR lease_node = $3 OR lease_until <= $4)";
            tx.execute(update, params![id.0, generation, node, now_ms, lease_until_ms]).await? == 1
        })
    }

    /// Writes progress; false (and nothing written) when the generation has passed.
    pub async fn report(
        &self,
        id: SourceId,
        generation: i64,
        report: &IndexReport,
    ) -> Result<bool, StoreError> {
        transact!(self.0.inner.database, tx => { write_report(tx, id, generation, report).await? })
    }

    /// Writes the catalog and `report` in one transaction; false when the generation has passed. Publishes the change.
    pub async fn complete(
        &self,
        id: SourceId,
        generation: i64,
        catalog: &Catalog,
        report: &IndexReport,
    ) -> Result<bool, StoreError> {
        let document = to_json(catalog)?.into_bytes();
        transact!(self.0.inner.database, tx => {
            let current = write_report(tx, id, generation, report).await?;
            if current {
                let upsert = "INSERT INTO catalogs (source_id, generation, document) VALUES ($1, $2, $3) \
                              ON CONFLICT (source_id) DO UPDATE \
                              SET generation = excluded.generation, document = excluded.document";
                tx.execute(upsert, params![id.0, generation, &document[..]]).await?;
                tx.announce(Change::Source(id));
            }
            current
        })
    }

    /// The catalog as indexed last, unfiltered, with the generation it belongs to.
    pub async fn catalog(&self, id: SourceId) -> Result<Option<(i64, Catalog)>, StoreError> {
        let select = "SELECT generation, document FROM catalogs WHERE source_id = $1";
        let rows = self.0.inner.database.query(select, params![id.0]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let catalog = serde_json::from_slice(row.blob(1)?);
        let catalog = catalog.map_err(|_| StoreError::Corrupt("a catalog can't be read".to_owned()))?;
        Ok(Some((row.integer(0)?, catalog)))
    }

    /// Sources whose indexing has not ended, oldest first, to be taken up again after a restart.
    pub async fn unfinished(&self) -> Result<Vec<(SourceId, OrgId)>, StoreError> {
        let select = "SELECT id, org_id FROM sources WHERE status IN ('not-started', 'indexing') ORDER BY id";
        let rows = self.0.inner.database.query(select, params![]).await?;
        rows.iter().map(|row| Ok((SourceId(row.integer(0)?), row.id(1)?))).collect()
    }
}

/// How many values one statement takes.
const MOST_PARAMETERS: usize = 500;

/// Whom connections of a user belong to at last.
pub(crate) struct SourceIdentity<'a> {
    pub(crate) org: &'a OrgId,
    pub(crate) key: &'a ConnectionKey,
    pub(crate) target: &'a str,
}

/// Finds the source or makes it with the spec's filters, and locks it until the transaction ends, so that nobody
/// removes it meanwhile. Tells whether it is new.
pub(crate) async fn find_or_make(
    tx: &mut Transaction,
    identity: &SourceIdentity<'_>,
    spec: &ConnectionSpec,
) -> Result<(SourceId, bool), StoreError> {
    let SourceIdentity { org, key, target } = identity;
    let digest = digest(&[Some(org.as_str()), Some(key.as_str()), Some(target)]);
    // The update changes nothing: it makes an existing row come back, locked.
    let insert = "INSERT INTO sources \
                  (identity, org_id, key, target, content_filters, pattern_filters, status, schemas, generation) \
                  VALUES ($1, $2, $3, $4, '[]', '[]', 'not-started', '{}', 0) \
                  ON CONFLICT (identity) DO UPDATE SET identity = excluded.identity RETURNING id, generation";
    let rows = tx.query(insert, params![digest, *org, *key, *target]).await;
    let rows = rows.map_err(|failure| failure.reference_is_missing("organization"))?;
    let row = rows
        .first()
        .ok_or_else(|| StoreError::Corrupt("a source was written and is not there".to_owned()))?;
    let (id, is_new) = (SourceId(row.integer(0)?), row.integer(1)? == 0);
    if is_new {
        adopt_filters(tx, id, spec).await?;
        next_generation(tx, id).await?;
    }
    Ok((id, is_new))
}

/// Makes a spec's filters the source's.
pub(crate) async fn adopt_filters(
    tx: &mut Transaction,
    id: SourceId,
    spec: &ConnectionSpec,
) -> Result<(), StoreError> {
    let contexts = spec.content_filters.as_deref().unwrap_or_default();
    write_filters(tx, id, contexts, spec.db_content_filters.as_deref().unwrap_or_default()).await
}

/// Starts indexing anew: whoever works on an older generation works for nothing.
pub(crate) async fn next_generation(tx: &mut Transaction, id: SourceId) -> Result<i64, StoreError> {
    let update = "UPDATE sources SET generation = generation + 1, status = 'not-started', schemas = '{}', \
                  diagnostics = NULL, lease_node = NULL, lease_until = NULL WHERE id = $1 RETURNING generation";
    let rows = tx.query(update, params![id.0]).await?;
    rows.first().ok_or(StoreError::Missing { what: "source" })?.integer(0)
}

/// The sources on a user's list, each once.
pub(crate) async fn used_by(tx: &mut Transaction, user: &UserId) -> Result<Vec<SourceId>, StoreError> {
    let select = "SELECT DISTINCT source_id FROM connections WHERE user_id = $1 ORDER BY source_id";
    let rows = tx.query(select, params![user]).await?;
    rows.iter().map(|row| row.integer(0).map(SourceId)).collect()
}

/// Removes a source that is on nobody's list any more, with its catalog and annotations.
pub(crate) async fn remove_if_unused(tx: &mut Transaction, id: SourceId) -> Result<(), StoreError> {
    // Locked by a statement of its own, so that the next one sees what others wrote before they let the source go.
    tx.query("SELECT id FROM sources WHERE id = $1 FOR UPDATE", params![id.0]).await?;
    let delete = "DELETE FROM sources WHERE id = $1 \
                  AND NOT EXISTS (SELECT 1 FROM connections WHERE source_id = $1)";
    tx.execute(delete, params![id.0]).await?;
    Ok(())
}

/// Gives all connections of a user sources of another organization.
pub(crate) async fn move_connections(
    tx: &mut Transaction,
    user: &UserId,
    org: &OrgId,
) -> Result<(), StoreError> {
    let select = "SELECT c.ordinal, c.key, c.spec, s.id, s.target FROM connections c \
                  JOIN sources s ON s.id = c.source_id WHERE c.user_id = $1 ORDER BY c.ordinal";
    for row in tx.query(select, params![user]).await? {
        let (key, spec): (ConnectionKey, ConnectionSpec) = (row.id(1)?, row.json(2)?);
        let old = SourceId(row.integer(3)?);
        let identity = SourceIdentity { org, key: &key, target: row.text(4)? };
        let (new, _) = find_or_make(tx, &identity, &spec).await?;
        let update = "UPDATE connections SET source_id = $2 WHERE ordinal = $1";
        tx.execute(update, params![row.integer(0)?, new.0]).await?;
        remove_if_unused(tx, old).await?;
        tx.announce(Change::Source(old));
        tx.announce(Change::Source(new));
    }
    Ok(())
}

async fn write_filters(
    tx: &mut Transaction,
    id: SourceId,
    contexts: &[SearchContext],
    patterns: &[PatternFilter],
) -> Result<(), StoreError> {
    let update = "UPDATE sources SET content_filters = $2, pattern_filters = $3 WHERE id = $1";
    tx.execute(update, params![id.0, to_json(contexts)?, to_json(patterns)?]).await?;
    Ok(())
}

async fn write_report(
    tx: &mut Transaction,
    id: SourceId,
    generation: i64,
    report: &IndexReport,
) -> Result<bool, StoreError> {
    let update =
        "UPDATE sources SET status = $3, schemas = $4, diagnostics = $5 WHERE id = $1 AND generation = $2";
    let (status, schemas) = (status_text(report.status), to_json(&report.schemas)?);
    let values = params![id.0, generation, status, schemas, report.diagnostics.as_ref()];
    Ok(tx.execute(update, values).await? == 1)
}

fn status_text(status: IndexStatus) -> &'static str {
    match status {
        IndexStatus::NotStarted => "not-started",
        IndexStatus::Indexing => "indexing",
        IndexStatus::Completed => "completed",
        IndexStatus::Failed => "failed",
    }
}

fn read_status(text: &str) -> Result<IndexStatus, StoreError> {
    let all = [IndexStatus::NotStarted, IndexStatus::Indexing, IndexStatus::Completed, IndexStatus::Failed];
    let found = all.into_iter().find(|status| status_text(*status) == text);
    found.ok_or_else(|| StoreError::Corrupt("a source has a status that is not known".to_owned()))
}

fn read(row: &Row) -> Result<Source, StoreError> {
    Ok(Source {
        id: SourceId(row.integer(0)?),
        org: row.id(1)?,
        key: row.id(2)?,
        target: row.text(3)?.to_owned(),
        content_filters: row.json(4)?,
        pattern_filters: row.json(5)?,
        status: read_status(row.text(6)?)?,
        schemas: row.json(7)?,
        diagnostics: row.optional_text(8)?.map(str::to_owned),
        generation: row.integer(9)?,
    })
}
