//! Runs one statement on a leased session.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::Stream;
use futures::future::join;
use ringfence_guard::GuardedQuery;
use tokio_postgres::SimpleQueryMessage;
use tokio_util::sync::CancellationToken;

use super::form::Form;
use super::pool::{Lease, Pools, Wish};
use super::prepared::Prepared;
use super::session::Tidy;
use super::transaction::{Failure, Opening, wants_text};
use super::{binary, failure, text};
use crate::result::{ResultColumn, Row};
use crate::value::Value;
use crate::watchdog::Watchdog;
use crate::{RunOptions, SourceAddress, SourceError};

const BATCH_ROWS: u64 = 256;
const BATCH_BYTES: u64 = 256 * 1024;

/// A statement under way.
pub(crate) struct Running {
    lease: Option<Lease>,
    rows: Rows,
    watchdog: Watchdog,
    columns: Arc<[ResultColumn]>,
    forms: Arc<[Form]>,
    in_transaction: bool,
    read_only: bool,
    discard: bool,
    /// How many more rows are wanted; those after them are counted only.
    wanted: u64,
    omitted: u64,
    bytes_left: u64,
    max_bytes: u64,
    affected: Option<u64>,
    /// Bytes of all column names: an answer may repeat them in every row.
    names: u64,
}

enum Rows {
    Binary(Pin<Box<tokio_postgres::RowStream>>),
    Text(Pin<Box<tokio_postgres::SimpleQueryStream>>, Option<u64>),
}

/// Everything about one run.
pub(super) struct Request<'a> {
    pub(super) address: &'a SourceAddress,
    pub(super) query: &'a GuardedQuery,
    pub(super) options: &'a RunOptions,
    pub(super) cancel: CancellationToken,
    pub(super) closing: CancellationToken,
}

/// Why a piece of the result could not be had.
enum Broken {
    Database(tokio_postgres::Error),
    Malformed,
    TooLarge,
}

impl Running {
    pub(super) async fn start(pools: &Arc<Pools>, request: Request<'_>) -> Result<Self, SourceError> {
        let Request { address, query, options, cancel, closing } = request;
        // Read-only means a transaction that is read-only, whatever the session's settings have become: a view may have
        // changed them.
        let opening = Opening::needed(query.read_only(), options)?;
        let wish = if query.may_change_session() { Wish::Cold } else { Wish::Warm };
        let mut lease = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(SourceError::Cancelled),
            () = closing.cancelled() => return Err(SourceError::Cancelled),
            lease = pools.lease(address, query.read_only(), wish) => lease?,
        };
        let mut watchdog = Watchdog::new(options.timeout, cancel, closing);
        let launched =
            watchdog.guard(launch(&mut lease, query.sql(), opening.as_ref(), wants_text(options))).await;
        let (rows, prepared) = match launched {
            Err(stop) => {
                lease.stop().await;
                return Err(stop);
            }
            Ok(Err(failure)) => {
                return Err(give_up(lease, &failure, opening.is_some(), query.may_change_session()));
            }
            Ok(Ok(launched)) => launched,
        };
        if let Err(too_large) = crate::result::check_columns(&prepared.columns) {
            lease.stop().await;
            return Err(too_large);
        }
        Ok(Self {
            lease: Some(lease),
            rows,
            watchdog,
            columns: Arc::clone(&prepared.columns),
            forms: Arc::clone(&prepared.forms),
            in_transaction: opening.is_some(),
            read_only: query.read_only(),
            discard: query.may_change_session(),
            wanted: u64::MAX,
            omitted: 0,
            bytes_left: options.max_bytes,
            max_bytes: options.max_bytes,
            affected: None,
            names: prepared.columns.iter().map(|column| column.name.len() as u64).sum(),
        })
    }

    pub(crate) fn columns(&self) -> &Arc<[ResultColumn]> {
        &self.columns
    }

    pub(crate) fn affected(&self) -> Option<u64> {
        self.affected
    }

    /// Decodes no more than that many rows; the rest is counted.
    pub(crate) fn want_at_most(&mut self, rows: u64) {
        self.wanted = rows;
    }

    pub(crate) fn omitted(&self) -> u64 {
        self.omitted
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.lease.is_none()
    }

    /// Stops the statement in the database; nobody waits for it.
    pub(crate) fn abandon(&mut self) {
        drop(self.lease.take());
    }

    /// Resolves when the run must end before its result did.
    pub(crate) async fn stopped(&mut self) -> SourceError {
        self.watchdog.stopped().await
    }

    /// Stops the statement in the database, and returns when the database was told.
    pub(crate) async fn stop(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.stop().await;
        }
    }

    /// The next rows, empty when rows came that are only counted; `None` at the end, when all is committed.
    pub(crate) async fn next_batch(&mut self) -> Result<Option<Vec<Row>>, SourceError> {
        if self.lease.is_none() {
            return Ok(None);
        }
        let mut batch = Batch::default();
        let (rows, forms, names) = (&mut self.rows, &self.forms, self.names);
        let (wanted, omitted, bytes_left) = (&mut self.wanted, &mut self.omitted, &mut self.bytes_left);
        let filling = std::future::poll_fn(|cx| {
            poll_batch(rows, forms, &mut batch, Budget { wanted, omitted, bytes_left, names }, cx)
        });
        match self.watchdog.guard(filling).await {
            Err(stop) => {
                self.stop().await;
                Err(stop)
            }
            Ok(Err(broken)) => Err(self.break_off(broken).await),
            Ok(Ok(false)) => Ok(Some(batch.rows)),
            Ok(Ok(true)) => {
                self.finish().await?;
                Ok((!batch.rows.is_empty()).then_some(batch.rows))
            }
        }
    }

    async fn break_off(&mut self, broken: Broken) -> SourceError {
        let Some(mut lease) = self.lease.take() else {
            return SourceError::Lost;
        };
        match broken {
            Broken::Database(error) => {
                give_up(lease, &Failure::Database(error), self.in_transaction, self.discard)
            }
            Broken::TooLarge => {
                lease.stop().await;
                SourceError::TooLarge { limit_bytes: self.max_bytes }
            }
            Broken::Malformed => {
                if let Ok(session) = lease.session() {
                    session.in_flight = false;
                }
                lease.close();
                SourceError::Statement {
                    message: "the database sent a value that is not what its type promises".to_owned(),
                    sqlstate: None,
                }
            }
        }
    }

    async fn finish(&mut self) -> Result<(), SourceError> {
        let Some(mut lease) = self.lease.take() else {
            return Ok(());
        };
        let session = lease.session()?;
        if session.watch.changed_rows() {
            self.affected = match &self.rows {
                Rows::Binary(rows) => rows.rows_affected(),
                Rows::Text(_, affected) => *affected,
            };
        }
        if self.in_transaction {
            // What only read has nothing to commit; rolled back, even a setting that a view changed is as it was.
            let end = if self.read_only { "ROLLBACK" } else { "COMMIT" };
            match self.watchdog.guard(session.client.batch_execute(end)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(give_up(lease, &Failure::Database(error), true, self.discard)),
                Err(stop) => {
                    lease.stop().await;
                    return Err(stop);
                }
            }
        }
        lease.give_back(Tidy { rollback: false, discard: self.discard });
        Ok(())
    }
}

/// Sends the statement; returns when its rows begin to come.
async fn launch(
    lease: &mut Lease,
    sql: &str,
    opening: Option<&Opening>,
    as_text: bool,
) -> Result<(Rows, Arc<Prepared>), Failure> {
    let session = lease.session().map_err(Failure::Refused)?;
    session.in_flight = true;
    let kept = session.kept_statement(sql);
    let was_kept = kept.is_some();
    let prepared = match (kept, opening) {
        (Some(prepared), None) => prepared,
        (Some(prepared), Some(opening)) => {
            opening.begin(&session.client).await?;
            prepared
        }
        (None, None) => Arc::new(Prepared::new(&session.client, sql).await.map_err(Failure::Database)?),
        (None, Some(opening)) => {
            // One round trip for both; preparing executes nothing, so it does no harm when beginning failed.
            let (begun, prepared) =
                join(opening.begin(&session.client), Prepared::new(&session.client, sql)).await;
            begun?;
            Arc::new(prepared.map_err(Failure::Database)?)
        }
    };
    if !was_kept {
        session.keep_statement(sql, &prepared);
    }
    prepared.refuse_parameters().map_err(Failure::Refused)?;
    if prepared.is_foreign() || as_text {
        // The text was prepared, so it is one statement here too.
        let rows = session.client.simple_query_raw(sql).await.map_err(Failure::Database)?;
        return Ok((Rows::Text(Box::pin(rows), None), prepared));
    }
    let none: [&(dyn tokio_postgres::types::ToSql + Sync); 0] = [];
    match session.client.query_raw(&prepared.statement, none).await {
        Ok(rows) => Ok((Rows::Binary(Box::pin(rows)), prepared)),
        Err(error) if was_kept && failure::is_stale_statement(&error) => {
            session.forget_statement(sql);
            if opening.is_some() {
                session.client.batch_execute("ROLLBACK").await.map_err(Failure::Database)?;
            }
            Box::pin(launch(lease, sql, opening, as_text)).await
        }
        Err(error) => Err(Failure::Database(error)),
    }
}

/// After an error of the database the session is still good, unless the error was its end.
pub(super) fn give_up(
    mut lease: Lease,
    failure: &Failure,
    in_transaction: bool,
    discard: bool,
) -> SourceError {
    let Ok(session) = lease.session() else {
        return SourceError::Lost;
    };
    let error = match failure {
        Failure::Refused(error) => error.clone(),
        Failure::Database(error) => failure::of_statement(error, &session.watch),
        Failure::Setting(error) => match failure::of_statement(error, &session.watch) {
            SourceError::Statement { message, .. } => SourceError::Option(message),
            other => other,
        },
    };
    session.in_flight = false;
    match error {
        SourceError::Statement { .. } | SourceError::Option(_) if !session.client.is_closed() => {
            lease.give_back(Tidy { rollback: in_transaction, discard });
        }
        _ => lease.close(),
    }
    error
}

#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    counted: u64,
    bytes: u64,
}

struct Budget<'a> {
    wanted: &'a mut u64,
    omitted: &'a mut u64,
    bytes_left: &'a mut u64,
    names: u64,
}

/// Takes the rows that are there: waits for the first only. Resolves to whether the result has ended.
fn poll_batch(
    rows: &mut Rows,
    forms: &[Form],
    batch: &mut Batch,
    budget: Budget<'_>,
    cx: &mut Context<'_>,
) -> Poll<Result<bool, Broken>> {
    let Budget { wanted, omitted, bytes_left, names } = budget;
    while batch.counted < BATCH_ROWS && batch.bytes < BATCH_BYTES {
        let piece = match rows.poll_piece(cx, forms, *wanted > 0) {
            Poll::Pending if batch.counted > 0 => return Poll::Ready(Ok(false)),
            other => ready!(other)?,
        };
        let Some((row, size)) = piece else {
            return Poll::Ready(Ok(true));
        };
        batch.counted += 1;
        batch.bytes += size;
        let Some(row) = row else {
            *omitted += 1;
            continue;
        };
        *wanted -= 1;
        *bytes_left = bytes_left.checked_sub(size.saturating_add(names)).ok_or(Broken::TooLarge)?;
        batch.rows.push(row);
    }
    Poll::Ready(Ok(false))
}

/// A row, decoded when it is wanted, and its size.
type Piece = Option<(Option<Row>, u64)>;

impl Rows {
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        forms: &[Form],
        decode: bool,
    ) -> Poll<Result<Piece, Broken>> {
        match self {
            Self::Binary(rows) => {
                let Some(row) = ready!(rows.as_mut().poll_next(cx)) else {
                    return Poll::Ready(Ok(None));
                };
                let row = row.map_err(Broken::Database)?;
                let size = held(row.raw_size_bytes(), forms);
                let decoded =
                    if decode { Some(decode_binary(&row, forms).ok_or(Broken::Malformed)?) } else { None };
                Poll::Ready(Ok(Some((decoded, size))))
            }
            Self::Text(rows, affected) => loop {
                let Some(message) = ready!(rows.as_mut().poll_next(cx)) else {
                    return Poll::Ready(Ok(None));
                };
                match message.map_err(Broken::Database)? {
                    SimpleQueryMessage::Row(row) => {
                        let size = held(
                            (0..row.len()).filter_map(|index| row.get(index)).map(str::len).sum(),
                            forms,
                        );
                        let decoded = decode.then(|| {
                            let cells = (0..row.len()).map(|index| (row.get(index), forms.get(index)));
                            cells
                                .map(|(text, form)| {
                                    text.map_or(Value::Null, |text| {
                                        text::value(form.unwrap_or(&Form::Foreign), text)
                                    })
                                })
                                .collect()
                        });
                        return Poll::Ready(Ok(Some((decoded, size))));
                    }
                    SimpleQueryMessage::CommandComplete(count) => *affected = Some(count),
                    _ => {}
                }
            },
        }
    }
}

/// Roughly what a row takes in memory.
fn held(raw: usize, forms: &[Form]) -> u64 {
    (raw + size_of::<Row>() + forms.len() * size_of::<Value>()) as u64
}

fn decode_binary(row: &tokio_postgres::Row, forms: &[Form]) -> Option<Row> {
    let mut values = Vec::with_capacity(forms.len());
    for (index, form) in forms.iter().enumerate() {
        values.push(match row.try_get::<_, Option<binary::Bytes<'_>>>(index).ok()? {
            None => Value::Null,
            Some(binary::Bytes(bytes)) => binary::value(form, bytes)?,
        });
    }
    Some(values)
}
