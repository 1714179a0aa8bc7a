//! Runs one statement on a SQLite file.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ringfence_guard::{GuardedQuery, Parameter, StatementKind};
use rusqlite::hooks::{AuthContext, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, Rows, Statement};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{failure, fence, place};
use crate::fenced::Checked;
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
        let walls =
            fence::Walls { read_only: self.query.read_only(), touched: None, fence: self.query.fence() };
        let connection = fence::open_walled(&path, walls, &self.limits, &self.stops)?;
        let mut checked = Checked::of(&self.query);
        if checked.is_some() {
            // The right to write at once: one that is had later can be refused for what another wrote meanwhile.
            connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| self.failed(&error))?;
        }
        let mut statement = connection.prepare(self.query.sql()).map_err(|error| self.failed(&error))?;
        bind(&mut statement, self.query.parameters()).map_err(|error| self.failed(&error))??;
        let declared = declared(&statement);
        let has_rows = !declared.is_empty();
        let changes_rows = !statement.readonly() && self.query.kind() == StatementKind::Effect;
        let mut rows = statement.raw_query();
        let (held, omitted) = self.read(&mut rows, declared, checked.as_mut(), columns)?;
        drop(rows);
        drop(statement);
        let Some(checked) = checked else {
            return Ok((changes_rows.then(|| connection.changes()), omitted));
        };
        // What fails from here on, or failed before, is rolled back as the connection is closed.
        let affected = checked.settle(has_rows, Some(connection.changes()))?;
        connection.execute_batch("COMMIT").map_err(|error| self.failed(&error))?;
        for batch in held {
            self.send(Piece::Rows(batch))?;
        }
        Ok((Some(affected), if checked.wanted(1) == 0 { 0 } else { omitted }))
    }

    fn failed(&self, error: &rusqlite::Error) -> SourceError {
        if self.query.fence().is_some() {
            failure::of_fenced(error, &self.stops, &self.limits)
        } else {
            failure::of(error, &self.stops, &self.limits)
        }
    }

    /// Reads the rows; answers those that wait for the end, and how many were left out.
    fn read(
        &self,
        rows: &mut Rows<'_>,
        declared: Vec<(String, Option<String>)>,
        mut checked: Option<&mut Checked>,
        columns: &mut Option<oneshot::Sender<Columns>>,
    ) -> Result<(Vec<Vec<Row>>, u64), SourceError> {
        let names: u64 = declared.iter().map(|(name, _)| name.len() as u64).sum();
        let mut declared = Some(declared);
        let (mut omitted, mut bytes_left) = (0_u64, self.options.max_bytes);
        let mut wanted =
            checked.as_ref().map_or(self.options.max_rows, |checked| checked.wanted(self.options.max_rows));
        let (mut held, mut batch, mut batch_bytes) = (Vec::new(), Vec::new(), 0);
        loop {
            let row = rows.next().map_err(|error| self.failed(&error))?;
            if let Some(declared) = declared.take() {
                tell_columns(declared, row, checked.as_deref(), self.options.max_columns, columns)?;
            }
            let Some(row) = row else { break };
            let (mut decoded, size) = decode(row).map_err(|error| self.failed(&error))?;
            if let Some(checked) = checked.as_deref_mut() {
                checked.count();
                checked.check(&mut decoded);
                checked.refuse_excess()?;
            }
            if wanted == 0 {
                omitted += 1;
                let enough = omitted > self.options.max_rows.max(COUNTED_ROWS);
                if enough && self.query.kind() == StatementKind::Read {
                    break;
                }
                continue;
            }
            wanted -= 1;
            bytes_left = bytes_left
                .checked_sub(size.saturating_add(names))
                .ok_or(SourceError::TooLarge { limit_bytes: self.options.max_bytes })?;
            batch.push(decoded);
            batch_bytes += size;
            if batch.len() >= BATCH_ROWS || batch_bytes >= BATCH_BYTES {
                self.send_or_hold(std::mem::take(&mut batch), checked.is_some(), &mut held)?;
                batch_bytes = 0;
            }
        }
        if !batch.is_empty() {
            self.send_or_hold(batch, checked.is_some(), &mut held)?;
        }
        Ok((held, omitted))
    }

    fn send_or_hold(
        &self,
        batch: Vec<Row>,
        waits: bool,
        held: &mut Vec<Vec<Row>>,
    ) -> Result<(), SourceError> {
        if waits {
            held.push(batch);
            return Ok(());
        }
        self.send(Piece::Rows(batch))
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
    query: &GuardedQuery,
    limits: &EngineLimits,
    stops: &Stops,
) -> Result<Vec<(String, String)>, SourceError> {
    let touched = fence::Touched::default();
    let walls = fence::Walls { read_only: true, touched: Some(Arc::clone(&touched)), fence: query.fence() };
    let mut connection = fence::open_walled(path, walls, limits, stops)?;
    let failed = |error: &rusqlite::Error| match query.fence() {
        Some(_) => failure::of_fenced(error, stops, limits),
        None => failure::of(error, stops, limits),
    };
    let mut statement = connection.prepare(query.sql()).map_err(|error| failed(&error))?;
    bind(&mut statement, query.parameters()).map_err(|error| failed(&error))??;
    drop(statement);
    // What comes now is ours.
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>).map_err(|error| failed(&error))?;
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

/// Each placeholder needs a value, and each value a placeholder.
fn bind(
    statement: &mut Statement<'_>,
    parameters: &[Parameter],
) -> rusqlite::Result<Result<(), SourceError>> {
    let refused =
        |message: &str| Ok(Err(SourceError::Statement { message: message.to_owned(), sqlstate: None }));
    match parameters.len().cmp(&statement.parameter_count()) {
        Ordering::Less => return refused("the statement has a parameter without a value"),
        Ordering::Greater => return refused("there are more values than the statement has parameters"),
        Ordering::Equal => {}
    }
    for (index, parameter) in parameters.iter().enumerate() {
        let place = index + 1;
        match parameter {
            Parameter::Null => statement.raw_bind_parameter(place, rusqlite::types::Null)?,
            Parameter::Text(text) => statement.raw_bind_parameter(place, text)?,
            Parameter::Integer(number) => statement.raw_bind_parameter(place, number)?,
            Parameter::Float(number) => statement.raw_bind_parameter(place, number)?,
            Parameter::Bool(truth) => statement.raw_bind_parameter(place, truth)?,
            Parameter::List(_) => return refused("SQLite has no arrays: give each value a parameter"),
        }
    }
    Ok(Ok(()))
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
    checked: Option<&Checked>,
    most: Option<u32>,
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
    let mut named: Vec<ResultColumn> = named.collect();
    if let Some(checked) = checked {
        named = checked.shown(named)?;
    }
    check_columns(&named, most)?;
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
