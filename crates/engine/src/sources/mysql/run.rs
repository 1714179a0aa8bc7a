//! Runs one statement on a leased session, in a task of its own that keeps to the time limit also when nobody asks.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{BinaryProtocol, Column, Conn, Params, QueryResult, Statement};
use mysql_common::named_params::ParsedNamedParams;
use ringfence_guard::{GuardedQuery, Parameter, StatementKind};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::connect::Purpose;
use super::outlet::Outlet;
use super::pool::{Lease, Pools};
use super::{failure, value};
use crate::fenced::Checked;
use crate::result::{BATCHES_AHEAD, Piece, Row, Threaded, check_columns};
use crate::watchdog::Watchdog;
use crate::{COUNTED_ROWS, EngineLimits, ResultColumn, RowStream, RunOptions, SourceAddress, SourceError};

const BATCH_ROWS: usize = 256;
const BATCH_BYTES: u64 = 256 * 1024;

/// Everything about one run.
pub(super) struct Request<'a> {
    pub(super) address: &'a SourceAddress,
    pub(super) query: &'a GuardedQuery,
    pub(super) options: &'a RunOptions,
}

/// A statement by itself.
struct Job {
    query: GuardedQuery,
    options: RunOptions,
    limits: Arc<EngineLimits>,
}

/// A statement, and what it is held to.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) query: &'a GuardedQuery,
    pub(super) options: &'a RunOptions,
}

/// How a statement ended.
pub(super) struct Done {
    pub(super) affected: Option<u64>,
    /// Rows left out.
    pub(super) omitted: u64,
    /// Rows that wait until they may stay.
    pub(super) held: Vec<Vec<Row>>,
    pub(super) shown: Arc<[ResultColumn]>,
    /// It goes on, and nobody wants to know what comes.
    runs_on: bool,
}

/// What was read: rows that wait for the end, how many were left out, and whether there would be more.
type Rest = (Vec<Vec<Row>>, u64, bool);

/// Why a statement did not end well.
pub(super) enum Failure {
    /// The database refused it, and waits for the next.
    Database(mysql_async::Error),
    /// We did, when it was over or had not begun.
    Refused(SourceError),
    /// We did, and it still runs.
    Running(SourceError),
}

impl From<mysql_async::Error> for Failure {
    fn from(error: mysql_async::Error) -> Self {
        Self::Database(error)
    }
}

pub(super) async fn start(
    pools: &Arc<Pools>,
    request: Request<'_>,
    cancel: CancellationToken,
    closing: CancellationToken,
) -> Result<RowStream, SourceError> {
    let Request { address, query, options } = request;
    let lease = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(SourceError::Cancelled),
        () = closing.cancelled() => return Err(SourceError::Cancelled),
        lease = pools.lease(address, Purpose::of(query)) => lease?,
    };
    let halt = CancellationToken::new();
    let (columns_sender, columns) = oneshot::channel();
    let (sender, pieces) = mpsc::channel(BATCHES_AHEAD);
    let limits = Arc::clone(&pools.connector.limits);
    let job = Job { query: query.clone(), options: options.clone(), limits };
    let outlet = Outlet::Streamed { columns: Some(columns_sender), sender };
    let watchdog = || Watchdog::new(options.timeout, cancel.clone(), closing.clone());
    pools.connector.tasks.spawn(job.run(lease, outlet, watchdog(), halt.clone()));
    let threaded = Threaded { pieces, watchdog: watchdog(), halt: Some(halt.drop_guard()) };
    // The task ends by itself in time, and says why.
    match columns.await {
        Ok(columns) => Ok(RowStream::threaded(columns?, threaded)),
        Err(_) => Err(SourceError::Lost),
    }
}

/// Has the database parse a statement; nothing is executed.
pub(super) async fn prepare(
    pools: &Arc<Pools>,
    request: Request<'_>,
    closing: CancellationToken,
) -> Result<(), SourceError> {
    let Request { address, query, options } = request;
    let mut lease = pools.lease(address, Purpose::of(query)).await?;
    let mut watchdog = Watchdog::new(options.timeout, CancellationToken::new(), closing);
    let preparing = prepared(lease.conn()?, query, options);
    match watchdog.guard(preparing).await {
        Ok(Ok(_)) => {
            lease.give_back();
            Ok(())
        }
        Ok(Err(failure)) => Err(give_up(lease, failure, query, &pools.connector.limits).await),
        Err(stop) => {
            lease.stop().await;
            Err(stop)
        }
    }
}

impl Job {
    /// Tells the columns once they are known, then sends rows.
    async fn run(
        self,
        mut lease: Lease,
        mut outlet: Outlet,
        mut watchdog: Watchdog,
        halt: CancellationToken,
    ) {
        let stopped = async {
            tokio::select! {
                biased;
                () = halt.cancelled() => SourceError::Cancelled,
                stop = watchdog.stopped() => stop,
            }
        };
        let ended = match lease.conn() {
            Err(lost) => Err(lost),
            Ok(conn) => {
                let done = tokio::select! {
                    biased;
                    stop = stopped => Err(Failure::Running(stop)),
                    done = self.execute(conn, &mut outlet) => done,
                };
                match done {
                    Ok(ended) => {
                        if ended.runs_on {
                            lease.stop().await;
                        } else {
                            lease.give_back();
                        }
                        Ok(ended)
                    }
                    Err(failure) => Err(give_up(lease, failure, &self.query, &self.limits).await),
                }
            }
        };
        let last = match ended {
            Ok(Done { affected, omitted, .. }) => Piece::End { affected, omitted },
            Err(error) => Piece::Failed(error),
        };
        outlet.finish(last).await;
    }

    async fn execute(&self, conn: &mut Conn, outlet: &mut Outlet) -> Result<Done, Failure> {
        let Self { query, options, .. } = self;
        let is_checked = Checked::of(query).is_some();
        let statement = prepared(conn, query, options).await?;
        if query.read_only() {
            conn.query_drop("START TRANSACTION READ ONLY").await?;
        } else if is_checked {
            conn.query_drop("START TRANSACTION").await?;
        }
        // Refused, or failed, it is undone as the session is reset.
        let mut done = Work { query, options }.perform(conn, &statement, outlet).await?;
        if is_checked {
            conn.query_drop("COMMIT").await?;
            // A statement that may be undone says its columns when it is not.
            outlet.tell(&done.shown);
            for batch in std::mem::take(&mut done.held) {
                send(outlet, batch).await?;
            }
        }
        Ok(done)
    }
}

impl Work<'_> {
    /// Runs it, in the transaction that is open. An error leaves it to the caller to undo what was done.
    pub(super) async fn perform(
        self,
        conn: &mut Conn,
        statement: &Statement,
        outlet: &mut Outlet,
    ) -> Result<Done, Failure> {
        let mut checked = Checked::of(self.query);
        let mut result = conn.exec_iter(statement, params(self.query.parameters())?).await?;
        let described = result.columns().filter(|columns| !columns.is_empty());
        let shown = described.as_deref().map(described_columns).unwrap_or_default();
        let shown = match &checked {
            Some(checked) => checked.shown(shown).map_err(Failure::Running)?,
            None => shown,
        };
        check_columns(&shown, self.options.max_columns).map_err(Failure::Running)?;
        let names = shown.iter().map(|column| column.name.len() as u64).sum();
        let shown: Arc<[ResultColumn]> = shown.into();
        if checked.is_none() {
            outlet.tell(&shown);
        }
        let (held, omitted, runs_on) = match &described {
            Some(described) => self.read(&mut result, described, checked.as_mut(), names, outlet).await?,
            None => (Vec::new(), 0, false),
        };
        if runs_on {
            return Ok(Done { affected: None, omitted, held, shown, runs_on });
        }
        let told = result.affected_rows();
        result.drop_result().await?;
        let Some(checked) = checked else {
            let affected = described.is_none().then_some(told).filter(|_| self.counts_rows());
            return Ok(Done { affected, omitted, held, shown, runs_on });
        };
        let affected = checked.settle(described.is_some(), Some(told)).map_err(Failure::Refused)?;
        let omitted = if checked.wanted(1) == 0 { 0 } else { omitted };
        Ok(Done { affected: Some(affected), omitted, held, shown, runs_on })
    }

    /// Whether the statement changes rows; others say 0, or what means nothing.
    fn counts_rows(self) -> bool {
        let sql = self.query.sql().trim_start();
        let word = sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        self.query.kind() == StatementKind::Effect
            && ["INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"]
                .iter()
                .any(|changing| changing.eq_ignore_ascii_case(word))
    }

    /// Reads the rows that are wanted.
    async fn read(
        self,
        result: &mut QueryResult<'_, '_, BinaryProtocol>,
        described: &[Column],
        mut checked: Option<&mut Checked>,
        names: u64,
        outlet: &mut Outlet,
    ) -> Result<Rest, Failure> {
        let most = self.options.max_rows;
        let mut wanted = checked.as_ref().map_or(most, |checked| checked.wanted(most));
        let (mut omitted, mut bytes_left) = (0_u64, self.options.max_bytes);
        let (mut held, mut batch, mut batch_bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(row) = result.next().await? {
            let (mut row, size) = value::row(described, row);
            if let Some(checked) = checked.as_deref_mut() {
                checked.count();
                checked.check(&mut row);
                checked.refuse_excess().map_err(Failure::Running)?;
            }
            if wanted == 0 {
                omitted += 1;
                // An effect runs to its end, or it would be undone.
                let is_enough = omitted > most.max(COUNTED_ROWS) && outlet.may_stop();
                if is_enough && self.query.kind() == StatementKind::Read {
                    send(outlet, batch).await?;
                    return Ok((held, omitted, true));
                }
                continue;
            }
            wanted -= 1;
            let too_large = SourceError::TooLarge { limit_bytes: self.options.max_bytes };
            bytes_left =
                bytes_left.checked_sub(size.saturating_add(names)).ok_or(Failure::Running(too_large))?;
            batch.push(row);
            batch_bytes += size;
            if batch.len() >= BATCH_ROWS || batch_bytes >= BATCH_BYTES {
                let full = std::mem::take(&mut batch);
                batch_bytes = 0;
                if checked.is_some() {
                    held.push(full);
                } else {
                    send(outlet, full).await?;
                }
            }
        }
        if checked.is_some() {
            held.push(batch);
        } else {
            send(outlet, batch).await?;
        }
        Ok((held, omitted, false))
    }
}

async fn send(outlet: &mut Outlet, batch: Vec<Row>) -> Result<(), Failure> {
    if outlet.send(batch).await { Ok(()) } else { Err(Failure::Running(SourceError::Cancelled)) }
}

/// Sets the schema and prepares: the text is one statement, or the database says that it is none.
pub(super) async fn prepared(
    conn: &mut Conn,
    query: &GuardedQuery,
    options: &RunOptions,
) -> Result<Statement, Failure> {
    let refused = |message: String| {
        Failure::Refused(SourceError::Statement { message, sqlstate: Some("42000".to_owned()) })
    };
    // The driver would make a placeholder of `:name`, and of what it takes for one inside of a string: then the text that
    // runs would not be the text that was judged.
    let text = query.sql().as_bytes();
    let same = ParsedNamedParams::parse(text).is_ok_and(|parsed| parsed.query() == text);
    if !same {
        return Err(refused("the statement has a colon before a name: write a space after it".to_owned()));
    }
    if let Some(schema) = &options.current_schema {
        let shown: String = schema.chars().filter(|c| !c.is_control()).take(64).collect();
        let using = conn.query_drop(format!("USE `{}`", schema.replace('`', "``"))).await;
        using.map_err(|_| {
            Failure::Refused(SourceError::Option(format!("there is no schema \"{shown}\" in this database")))
        })?;
    }
    let statement = conn.prep(query.sql()).await?;
    let (given, wanted) = (query.parameters().len(), usize::from(statement.num_params()));
    if given != wanted {
        return Err(refused(format!("there are {given} values for {wanted} parameters")));
    }
    Ok(statement)
}

fn params(parameters: &[Parameter]) -> Result<Params, Failure> {
    if parameters.is_empty() {
        return Ok(Params::Empty);
    }
    let values = parameters.iter().map(|parameter| {
        Ok(match parameter {
            Parameter::Null => mysql_async::Value::NULL,
            Parameter::Text(text) => mysql_async::Value::Bytes(text.as_bytes().to_vec()),
            Parameter::Integer(number) => mysql_async::Value::Int(*number),
            Parameter::Float(number) => mysql_async::Value::Double(*number),
            Parameter::Bool(truth) => mysql_async::Value::Int(i64::from(*truth)),
            Parameter::List(_) => {
                return Err(Failure::Refused(SourceError::Statement {
                    message: "MySQL has no arrays: give each value a parameter".to_owned(),
                    sqlstate: Some("42000".to_owned()),
                }));
            }
        })
    });
    Ok(Params::Positional(values.collect::<Result<_, _>>()?))
}

fn described_columns(columns: &[Column]) -> Vec<ResultColumn> {
    let named = columns.iter().map(|column| ResultColumn {
        name: column.name_str().into_owned(),
        type_name: value::type_name(column).to_owned(),
    });
    named.collect()
}

/// After an error of the database the session is still good, unless the error was its end.
pub(super) async fn give_up(
    lease: Lease,
    failure: Failure,
    query: &GuardedQuery,
    limits: &EngineLimits,
) -> SourceError {
    match failure {
        Failure::Refused(error) => {
            lease.give_back();
            error
        }
        Failure::Running(error) => {
            lease.stop().await;
            error
        }
        Failure::Database(error) => {
            let told = match query.fence() {
                Some(fence) => failure::of_fenced(&error, fence, limits),
                None => failure::of_statement(&error, limits),
            };
            if error.is_fatal() || matches!(told, SourceError::Lost) {
                lease.close();
            } else {
                lease.give_back();
            }
            told
        }
    }
}
