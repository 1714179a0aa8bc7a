//! Runs one statement on a SQLite file.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ringfence_guard::{GuardedQuery, StatementKind};
use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, Rows, Statement};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{failure, fence, place};
use crate::result::{Piece, Row, check_columns};
use crate::value::{Value, float, hex};
use crate::{COUNTED_ROWS, EngineLimits, ResultColumn, RunOptions, SourceError};

const BATCH_ROWS: usize = 256;
const BATCH_BYTES: u64 = 256 * 1024;

/// What ends the work on a file early.
#[derive(Clone)]
pub(super) struct Stops {
    deadline: Instant,
    limit: Duration,
    tokens: [CancellationToken; 3],
}

impl Stops {
    pub(super) fn new(limit: Duration, tokens: [CancellationToken; 3]) -> Self {
        Self { deadline: Instant::now() + limit.min(Duration::from_hours(768)), limit, tokens }
    }

    pub(super) fn reached(&self) -> Option<SourceError> {
        if self.tokens.iter().any(CancellationToken::is_cancelled) {
            Some(SourceError::Cancelled)
        } else if Instant::now() >= self.deadline {
            Some(self.timed_out())
        } else {
            None
        }
    }

    pub(super) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    async fn wait(&self) -> SourceError {
        let [first, second, third] = &self.tokens;
        tokio::select! {
            () = first.cancelled() => SourceError::Cancelled,
            () = second.cancelled() => SourceError::Cancelled,
            () = third.cancelled() => SourceError::Cancelled,
            () = tokio::time::sleep_until(self.deadline.into()) => self.timed_out(),
        }
    }

    fn timed_out(&self) -> SourceError {
        SourceError::TimedOut { limit_ms: u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// A statement, and where its rows go.
pub(super) struct Job {
    pub(super) database: String,
    /// The one whose directories count.
    pub(super) organization: String,
    pub(super) limits: Arc<EngineLimits>,
    pub(super) query: GuardedQuery,
    pub(super) options: RunOptions,
    pub(super) stops: Stops,
    pub(super) runtime: Handle,
    pub(super) sender: mpsc::Sender<Piece>,
}

type Columns = Result<Arc<[ResultColumn]>, SourceError>;

/// How a statement ended: rows changed, and rows left out.
type Ended = (Option<u64>, u64);

impl Job {
    /// Tells the columns once they are known, then sends rows.
    pub(super) fn run(self, columns: oneshot::Sender<Columns>) {
        let mut columns = Some(columns);
        let last = match self.execute(&mut columns) {
            Ok((affected, omitted)) => Piece::End { affected, omitted },
            Err(error) => Piece::Failed(error),
        };
        match (columns, last) {
            (Some(columns), Piece::Failed(error)) => drop(columns.send(Err(error))),
            (_, last) => drop(self.send(last)),
        }
    }

    fn execute(&self, columns: &mut Option<oneshot::Sender<Columns>>) -> Result<Ended, SourceError> {
        let path = place::resolve(&self.database, &self.organization, &self.limits.sqlite_directories)?;
        let connection = fence::open(&path, self.query.read_only(), &self.limits, &self.stops)?;
        let failed = |error: &rusqlite::Error| failure::of(error, &self.stops, &self.limits);
        let mut statement = connection.prepare(self.query.sql()).map_err(|error| failed(&error))?;
        refuse_parameters(&statement)?;
        let declared = declared(&statement);
        let changes_rows = !statement.readonly() && self.query.kind() == StatementKind::Effect;
        let mut rows = statement.raw_query();
        let ended = self.read(&mut rows, declared, columns)?;
        drop(rows);
        drop(statement);
        Ok((changes_rows.then(|| connection.changes()), ended))
    }

    /// Reads the rows; answers how many were left out.
    fn read(
        &self,
        rows: &mut Rows<'_>,
        declared: Vec<(String, Option<String>)>,
        columns: &mut Option<oneshot::Sender<Columns>>,
    ) -> Result<u64, SourceError> {
        let names: u64 = declared.iter().map(|(name, _)| name.len() as u64).sum();
        let mut declared = Some(declared);
        let (mut wanted, mut omitted, mut bytes_left) =
            (self.options.max_rows, 0_u64, self.options.max_bytes);
        let (mut batch, mut batch_bytes) = (Vec::new(), 0);
        loop {
            let row = rows.next().map_err(|error| failure::of(&error, &self.stops, &self.limits))?;
            if let Some(declared) = declared.take() {
                tell_columns(declared, row, columns)?;
            }
            let Some(row) = row else { break };
            if wanted == 0 {
                omitted += 1;
                let enough = omitted > self.options.max_rows.max(COUNTED_ROWS);
                if enough && self.query.kind() == StatementKind::Read {
                    break;
                }
                continue;
            }
            wanted -= 1;
            let (decoded, size) =
                decode(row).map_err(|error| failure::of(&error, &self.stops, &self.limits))?;
            bytes_left = bytes_left
                .checked_sub(size.saturating_add(names))
                .ok_or(SourceError::TooLarge { limit_bytes: self.options.max_bytes })?;
            batch.push(decoded);
            batch_bytes += size;
            if batch.len() >= BATCH_ROWS || batch_bytes >= BATCH_BYTES {
                self.send(Piece::Rows(std::mem::take(&mut batch)))?;
                batch_bytes = 0;
            }
        }
        if !batch.is_empty() {
            self.send(Piece::Rows(batch))?;
        }
        Ok(omitted)
    }

    /// Waits until there is room, or the run must end.
    fn send(&self, piece: Piece) -> Result<(), SourceError> {
        let piece = match self.sender.try_send(piece) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(SourceError::Cancelled),
            Err(mpsc::error::TrySendError::Full(piece)) => piece,
        };
        self.runtime.block_on(async {
            tokio::select! {
                sent = self.sender.send(piece) => sent.map_err(|_| SourceError::Cancelled),
                stop = self.stops.wait() => Err(stop),
            }
        })
    }
}

/// The tables of `main` that a statement would touch.
pub(super) fn explain(
    path: &Path,
    sql: &str,
    limits: &EngineLimits,
    stops: &Stops,
) -> Result<Vec<(String, String)>, SourceError> {
    let touched = fence::Touched::default();
    let connection = fence::open_watched(path, true, limits, stops, Some(Arc::clone(&touched)))?;
    let statement = connection.prepare(sql).map_err(|error| failure::of(&error, stops, limits))?;
    refuse_parameters(&statement)?;
    drop(statement);
    let tables = std::mem::take(&mut *touched.lock().unwrap_or_else(PoisonError::into_inner));
    let stored =
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name = ?1 COLLATE NOCASE";
    let mut found = BTreeSet::new();
    for (database, table) in tables {
        if database.is_some_and(|database| database != "main") || table.starts_with("sqlite_") {
            continue;
        }
        let name = connection.query_row(stored, [table], |row| row.get::<_, String>(0)).optional();
        let name = name.map_err(|error| failure::of(&error, stops, limits))?;
        found.extend(name.map(|name| ("main".to_owned(), name)));
    }
    Ok(found.into_iter().collect())
}

fn refuse_parameters(statement: &Statement<'_>) -> Result<(), SourceError> {
    if statement.parameter_count() == 0 {
        return Ok(());
    }
    Err(SourceError::Statement {
        message: "the statement has a parameter without a value".to_owned(),
        sqlstate: None,
    })
}

fn declared(statement: &Statement<'_>) -> Vec<(String, Option<String>)> {
    let columns = statement.columns();
    columns
        .map(|column| (column.name().to_owned(), column.decl_type().map(str::to_ascii_lowercase)))
        .collect()
}

/// An expression has no declared type: its type is that of the first row's value.
fn tell_columns(
    declared: Vec<(String, Option<String>)>,
    first: Option<&rusqlite::Row<'_>>,
    columns: &mut Option<oneshot::Sender<Columns>>,
) -> Result<(), SourceError> {
    let named = declared.into_iter().enumerate().map(|(index, (name, declared))| {
        let stored =
            || first.and_then(|row| row.get_ref(index).ok()).map_or("null", storage_class).to_owned();
        ResultColumn {
            name,
            type_name: declared.filter(|declared| !declared.is_empty()).unwrap_or_else(stored),
        }
    });
    let named: Vec<ResultColumn> = named.collect();
    check_columns(&named)?;
    if let Some(columns) = columns.take() {
        drop(columns.send(Ok(named.into())));
    }
    Ok(())
}

fn storage_class(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Null => "null",
        ValueRef::Integer(_) => "integer",
        ValueRef::Real(_) => "real",
        ValueRef::Text(_) => "text",
        ValueRef::Blob(_) => "blob",
    }
}

/// A row's values, and roughly what they take in memory.
fn decode(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Row, u64)> {
    let count = row.as_ref().column_count();
    let mut values = Vec::with_capacity(count);
    let mut size = size_of::<Row>() + count * size_of::<Value>();
    for index in 0..count {
        values.push(match row.get_ref(index)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Real(number) => float(number),
            ValueRef::Text(bytes) => {
                size += bytes.len();
                Value::Text(String::from_utf8_lossy(bytes).into_owned())
            }
            ValueRef::Blob(bytes) => {
                size += bytes.len() * 2;
                Value::Text(hex(bytes))
            }
        });
    }
    Ok((values, size as u64))
}
