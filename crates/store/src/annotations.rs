//! What people say about a source: descriptions and manual constraints. One document per source, changed
//! under optimistic locking.

use std::collections::BTreeMap;

use ringfence_policy::Constraint;
use serde::{Deserialize, Serialize};

use crate::changes::Change;
use crate::database::{params, to_json, transact};
use crate::sources::SourceId;
use crate::{Store, StoreError};

/// The document. Names are as stored in the database.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// Per schema: a description as JSON (an object with `summary`, `common_questions`, `common_tables`).
    pub schemas: BTreeMap<String, serde_json::Value>,
    /// Per schema, per relation.
    pub relations: BTreeMap<String, BTreeMap<String, RelationNotes>>,
}

/// What is said about one relation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct RelationNotes {
    pub description: Option<String>,
    pub columns: BTreeMap<String, String>,
    /// When given, they stand in for the database's own primary key.
    pub primary: Option<Vec<Constraint>>,
    /// When given, they stand in for the database's own foreign keys.
    pub foreign: Option<Vec<Constraint>>,
}

/// The repository of annotations.
pub struct AnnotationsOf<'a>(pub(crate) &'a Store);

impl AnnotationsOf<'_> {
    /// The document with its version; empty at version 0 when nobody said anything.
    pub async fn get(&self, source: SourceId) -> Result<(i64, Annotations), StoreError> {
        let select = "SELECT version, document FROM annotations WHERE source_id = $1";
        let rows = self.0.inner.database.query(select, params![source.0]).await?;
        rows.first().map_or(Ok((0, Annotations::default())), |row| Ok((row.integer(0)?, row.json(1)?)))
    }

    /// Writes the document if its version is still that; [`StoreError::Conflict`] else. Publishes a change of the source.
    pub async fn put(
        &self,
        source: SourceId,
        version: i64,
        annotations: &Annotations,
    ) -> Result<(), StoreError> {
        let document = to_json(annotations)?;
        let write = if version == 0 {
            "INSERT INTO annotations (source_id, version, document) VALUES ($1, CAST($2 AS BIGINT) + 1, $3) ON CONFLICT DO NOTHING"
        } else {
            "UPDATE annotations SET version = version + 1, document = $3 WHERE source_id = $1 AND version = $2"
        };
        transact!(self.0.inner.database, tx => {
            let written = tx.execute(write, params![source.0, version, &document]).await;
            if written.map_err(|failure| failure.reference_is_missing("source"))? == 0 {
                return Err(StoreError::Conflict { what: "the source's annotations" });
            }
            tx.announce(Change::Source(source));
        })
    }
}
