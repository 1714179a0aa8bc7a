//! Taking rows in: all of them, or none.
//!
//! Reading order: `spool` keeps what the caller sends until it is whole, `records` and `infer` look at CSV, `rows` makes
//! batches of any of the formats and `write` a Parquet file of them, and here the file becomes a part of the table.

pub(crate) mod infer;
mod records;
mod rows;
mod spool;
mod write;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use futures::stream::BoxStream;
use ringfence_engine::{LoadMode, LoadedTable, SourceError, TableLoad};
use tokio_util::sync::CancellationToken;

use crate::tables::{HeldVersion, KeptColumn, Manifest, StagedPart, Tables, is_name};
use crate::{columns, failure, files};

pub(crate) use keys::Keys;

mod keys;

/// Longest name of a column, in bytes.
const LONGEST_COLUMN: usize = 255;
const MOST_COLUMNS: usize = 1_000;
/// Names of the guard's begin so (`crates/guard/src/rewrite.rs`).
const GUARDS_NAMES: &str = "_rf_";

/// Why a load came to nothing.
pub(crate) enum Failed {
    Io(io::Error),
    Told(SourceError),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<SourceError> for Failed {
    fn from(error: SourceError) -> Self {
        Self::Told(error)
    }
}

impl From<Failed> for SourceError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Io(error) => failure::of_io(&error),
            Failed::Told(error) => error,
        }
    }
}

pub(crate) fn data(message: impl Into<String>) -> Failed {
    Failed::Told(SourceError::Data(message.into()))
}

/// A load that was asked for, checked as far as it can be without its rows.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) load: TableLoad,
    pub(crate) types: BTreeMap<String, DataType>,
    /// The table's keys, if rows are added to it, or those that were given.
    pub(crate) keys: Vec<String>,
    /// What the table's columns are, when rows are added to it.
    pub(crate) existing: Option<Vec<KeptColumn>>,
}

/// Takes the body in. `keys` looks whether keys are unique.
pub(crate) async fn load(
    lake: &Path,
    load: TableLoad,
    body: BoxStream<'static, Result<Bytes, SourceError>>,
    keys: &Keys,
) -> Result<LoadedTable, SourceError> {
    let tables = Tables::of(lake);
    let wanted = blocking({
        let (tables, lake) = (tables.clone(), lake.to_owned());
        move || check(&tables, &lake, load)
    })
    .await?;
    let stop = CancellationToken::new();
    let _stop_when_dropped = stop.clone().drop_guard();
    let mut staged = blocking({
        let tables = tables.clone();
        move || Ok(tables.stage()?)
    })
    .await?;
    let spooled = spool::spool(staged.path(), body, wanted.load.max_bytes).await?;
    let (written, returned) = blocking({
        let wanted = wanted.clone();
        move || {
            let written = rows::write(&wanted, spooled, staged.path(), &stop)?;
            Ok((written, staged))
        }
    })
    .await?;
    staged = returned;
    let mut attempts = 0;
    loop {
        let held = hold_old(&tables, &wanted).await?;
        let known = held.as_ref().map(|held| held.manifest.version);
        if !wanted.keys.is_empty() {
            let old = held.as_ref().map(|held| held.files.clone()).unwrap_or_default();
            keys.refuse_repeated(&written, staged.path(), old, &wanted.keys).await?;
        }
        let committing = {
            let (tables, wanted, written) = (tables.clone(), wanted.clone(), written.clone());
            move || {
                let done = commit(&tables, &wanted, &written, &mut staged, known)?;
                Ok((done, staged))
            }
        };
        let (done, returned) = blocking(committing).await?;
        staged = returned;
        match done {
            Some(manifest) => return Ok(told(&wanted.load.table, &written, &manifest)),
            // Somebody else added rows meanwhile: with keys, all of them have to be looked at together.
            None if attempts < 5 => attempts += 1,
            None => return Err(SourceError::Conflict),
        }
    }
}

/// The rows that stay, when keys have to be looked for among them too.
async fn hold_old(tables: &Tables, wanted: &Wanted) -> Result<Option<HeldVersion>, SourceError> {
    if wanted.load.mode == LoadMode::Replace || wanted.existing.is_none() {
        return Ok(None);
    }
    let (tables, table) = (tables.clone(), wanted.load.table.clone());
    blocking(move || Ok(tables.hold(&table)?)).await
}

/// `None` when the table changed since its keys were looked at.
fn commit(
    tables: &Tables,
    wanted: &Wanted,
    written: &write::Written,
    staged: &mut StagedPart,
    known: Option<u64>,
) -> Result<Option<Manifest>, Failed> {
    let part = staged.part(written.rows);
    let mut is_outdated = false;
    let committed = tables.commit(&wanted.load.table, staged, |now| {
        let version = now.as_ref().map_or(0, |now| now.version);
        let mut manifest = match (wanted.load.mode, &wanted.existing, now) {
            (LoadMode::Append, Some(existing), Some(now)) => {
                is_outdated = !now.keys.is_empty() && known != Some(now.version);
                if is_outdated || now.columns != *existing || now.keys != wanted.keys {
                    return Err(Failed::Told(SourceError::Conflict));
                }
                now
            }
            // The table went, or came, while the rows did.
            (LoadMode::Append, Some(_), None) | (LoadMode::Append, None, Some(_)) => {
                return Err(Failed::Told(SourceError::Conflict));
            }
            (LoadMode::Append, None, None) | (LoadMode::Replace, ..) => {
                Manifest::new(written.columns.clone(), wanted.keys.clone())
            }
        };
        manifest.version = version + 1;
        if part.rows > 0 {
            manifest.parts.push(part);
        }
        Ok(manifest)
    });
    match committed {
        Ok(manifest) => Ok(Some(manifest)),
        Err(_) if is_outdated => Ok(None),
        Err(error) => Err(error),
    }
}

fn told(table: &str, written: &write::Written, manifest: &Manifest) -> LoadedTable {
    LoadedTable {
        table: table.to_owned(),
        loaded: written.rows,
        rows: manifest.rows(),
        columns: manifest.columns.iter().map(|kept| (kept.name.clone(), kept.data_type.clone())).collect(),
        version: manifest.version,
    }
}

fn check(tables: &Tables, lake: &Path, load: TableLoad) -> Result<Wanted, Failed> {
    if !is_name(&load.table) {
        return Err(data("a table's name has letters, digits, `_`, `-` and spaces, and at most 120 bytes"));
    }
    let mut types = BTreeMap::new();
    for (column, name) in &load.types {
        let Some(data_type) = columns::named(name) else {
            return Err(data(format!(
                "\"{name}\" is no type: use text, boolean, smallint, integer, bigint, real, double precision, numeric(p,s), \
                 date, time, timestamp, timestamptz or bytea"
            )));
        };
        types.insert(column.clone(), data_type);
    }
    let manifest = tables.manifest(&load.table)?;
    if manifest.is_none() && files::one(lake, &load.table)?.is_some() {
        return Err(Failed::Told(SourceError::TableConflict(format!(
            "\"{}\" is a file that somebody put into the lake: remove it there, or load under another name",
            load.table
        ))));
    }
    let (keys, existing) = match (load.mode, manifest) {
        (LoadMode::Append, Some(manifest)) => {
            if !load.keys.is_empty() && load.keys != manifest.keys {
                return Err(Failed::Told(SourceError::TableConflict(
                    "the table has other keys: they are chosen when it is replaced".to_owned(),
                )));
            }
            (manifest.keys, Some(manifest.columns))
        }
        _ => (load.keys.clone(), None),
    };
    Ok(Wanted { load, types, keys, existing })
}

/// Whether the columns can be a table's.
pub(crate) fn check_columns(names: &[String], wanted: &Wanted) -> Result<(), Failed> {
    if names.is_empty() || names.len() > MOST_COLUMNS {
        return Err(data(format!("a table has 1 to {MOST_COLUMNS} columns, and here are {}", names.len())));
    }
    for (index, name) in names.iter().enumerate() {
        let reserved =
            name.get(..GUARDS_NAMES.len()).is_some_and(|start| start.eq_ignore_ascii_case(GUARDS_NAMES));
        if name.is_empty() || name.len() > LONGEST_COLUMN || name.chars().any(char::is_control) || reserved {
            return Err(data(format!(
                "column {}: a name has 1 to {LONGEST_COLUMN} bytes, no control characters, and does not begin with {GUARDS_NAMES}",
                index + 1
            )));
        }
        if names[..index].contains(name) {
            return Err(data(format!("two columns are called \"{name}\"")));
        }
    }
    match wanted.types.keys().chain(&wanted.load.keys).find(|name| !names.contains(name)) {
        Some(name) => Err(data(format!("there is no column \"{name}\": there are {}", names.join(", ")))),
        None => Ok(()),
    }
}

/// The columns of the table that rows are added to, in its order, as places among those that came.
pub(crate) fn places(existing: &[KeptColumn], names: &[String]) -> Result<Vec<usize>, Failed> {
    let place = |column: &KeptColumn| names.iter().position(|name| *name == column.name);
    let places: Option<Vec<usize>> = existing.iter().map(place).collect();
    places.filter(|places| places.len() == names.len()).ok_or_else(|| {
        let known: Vec<&str> = existing.iter().map(|column| column.name.as_str()).collect();
        Failed::Told(SourceError::TableConflict(format!(
            "the rows have other columns than the table, which has {}",
            known.join(", ")
        )))
    })
}

pub(crate) fn of_datafusion(error: &DataFusionError) -> Failed {
    Failed::Told(failure::of(error, true))
}

/// Work that waits for the disk, on a thread for such work.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failed> + Send + 'static,
) -> Result<T, SourceError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| SourceError::Lost)?;
    Ok(done?)
}

/// Where the rows of a part are, in its directory.
pub(crate) fn rows_file(part: &Path) -> PathBuf {
    part.join("rows.parquet")
}
