//! Runs one statement on a SQLite file.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ringfence_guard::{GuardedQuery, Parameter, StatementKind};
use rusqlite::hooks::{AuthContext, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Rows, Statement};
use tokio_util::sync::CancellationToken;

use super::outlet::Outlet;
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

    /// For a part of the work, which may take no longer than that by itself.
    pub(super) fn within(&self, limit: Duration) -> Self {
        let own = Self::new(limit, self.tokens.clone());
        if own.deadline < self.deadline { own } else { self.clone() }
    }

    pub(super) async fn wait(&self) -> SourceError {
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

/// A statement by itself, and where its rows go.
pub(super) struct Job {
    pub(super) database: String,
    /// The one whose directories count.
    pub(super) organization: String,
    pub(super) limits: Arc<EngineLimits>,
    pub(super) query: GuardedQuery,
    pub(super) options: RunOptions,
    pub(super) stops: Stops,
}

/// A statement, and what it is held to.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) query: &'a GuardedQuery,
    pub(super) options: &'a RunOptions,
    pub(super) limits: &'a EngineLimits,
    pub(super) stops: &'a Stops,
}

/// How a statement ended.
pub(super) struct Done {
    pub(super) affected: Option<u64>,
    /// Rows left out.
    pub(super) omitted: u64,
    /// Rows that wait until they may stay.
    pub(super) held: Vec<Vec<Row>>,
}

impl Job {
    /// Tells the columns once they are known, then sends rows.
    pub(super) fn run(self, mut outlet: Outlet) {
        let last = match self.execute(&mut outlet) {
            Ok(Done { affected, omitted, .. }) => Piece::End { affected, omitted },
            Err(error) => Piece::Failed(error),
        };
        outlet.finish(last, &self.stops);
    }

    fn execute(&self, outlet: &mut Outlet) -> Result<Done, SourceError> {
        let path = place::resolve(&self.database, &self.organization, &self.limits.sqlite_directories)?;
        let Self { query, options, limits, stops, .. } = self;
        let work = Work { query, options, limits, stops };
        let is_checked = Checked::of(query).is_some();
        // Of a transaction, begin and end are ours: they pass no fence.
        let fence = if is_checked { None } else { query.fence() };
        let walls = fence::Walls { read_only: query.read_only(), touched: None, fence };
        let mut connection = fence::open_walled(&path, walls, limits, stops)?;
        if !is_checked {
            return work.perform(&connection, outlet);
        }
        let failed = |error: rusqlite::Error| work.failed(&error);
        // The right to write at once: one that is had later can be refused for what another wrote meanwhile.
        connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        fence::hold(&mut connection, None, query.fence(), stops).map_err(failed)?;
        // What fails from here on is rolled back as the connection is closed.
        let mut done = work.perform(&connection, outlet)?;
        fence::hold(&mut connection, None, None, stops).map_err(failed)?;
        connection.execute_batch("COMMIT").map_err(failed)?;
        for batch in std::mem::take(&mut done.held) {
            outlet.send(batch, stops)?;
        }
        Ok(done)
    }
}

impl Work<'_> {
    /// Runs it, in the transaction that is open. An error leaves it to the caller to undo what was done.
    pub(super) fn perform(self, connection: &Connection, outlet: &mut Outlet) -> Result<Done, SourceError> {
        let mut checked = Checked::of(self.query);
        let mut statement = connection.prepare(self.query.sql()).map_err(|error| self.failed(&error))?;
        bind(&mut statement, self.query.parameters()).map_err(|error| self.failed(&error))??;
        let declared = declared(&statement);
        let has_rows = !declared.is_empty();
        let changes_rows = !statement.readonly() && self.query.kind() == StatementKind::Effect;
        let mut rows = statement.raw_query();
        let (held, omitted) = self.read(&mut rows, declared, checked.as_mut(), outlet)?;
        drop(rows);
        drop(statement);
        let Some(checked) = checked else {
            return Ok(Done { affected: changes_rows.then(|| connection.changes()), omitted, held });
        };
        let affected = checked.settle(has_rows, Some(connection.changes()))?;
        let omitted = if checked.wanted(1) == 0 { 0 } else { omitted };
        Ok(Done { affected: Some(affected), omitted, held })
    }

    fn failed(&self, error: &rusqlite::Error) -> SourceError {
        if self.query.fence().is_some() {
            failure::of_fenced(error, self.stops, self.limits)
        } else {
            failure::of(error, self.stops, self.limits)
        }
    }

    /// Reads the rows; answers those that wait for the end, and how many were left out.
    fn read(
        &self,
        rows: &mut Rows<'_>,
        declared: Vec<(String, Option<String>)>,
        mut checked: Option<&mut Checked>,
        outlet: &mut Outlet,
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
                tell_columns(declared, row, checked.as_deref(), self.options.max_columns, outlet)?;
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
                let batch = std::mem::take(&mut batch);
                self.send_or_hold(batch, checked.is_some(), &mut held, outlet)?;
                batch_bytes = 0;
            }
        }
        if !batch.is_empty() {
            self.send_or_hold(batch, checked.is_some(), &mut held, outlet)?;
        }
        Ok((held, omitted))
    }

    fn send_or_hold(
        &self,
        batch: Vec<Row>,
        waits: bool,
        held: &mut Vec<Vec<Row>>,
        outlet: &mut Outlet,
    ) -> Result<(), SourceError> {
        if waits {
            held.push(batch);
            return Ok(());
        }
        outlet.send(batch, self.stops)
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
    outlet: &mut Outlet,
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
    outlet.tell(named);
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
