//! `SQLite`: one thread owns the only writing connection and holds at most one transaction at a time; a few threads
//! read beside it (WAL). No tokio thread ever waits for the disk.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{broadcast, oneshot};

use super::{Failure, Row, Value, publish};
use crate::changes::Change;

const READERS: usize = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How often another process's writes are looked for.
const WATCH: Duration = Duration::from_millis(300);
const CACHED_STATEMENTS: usize = 128;

/// The embedded database. Its threads end when it is dropped.
pub(crate) struct Sqlite {
    writer: Sender<Begin>,
    readers: Sender<Read>,
}

impl Sqlite {
    /// Opens the file, made with mode 0600 when missing.
    pub(crate) async fn open(path: &Path, listeners: broadcast::Sender<Change>) -> Result<Self, Failure> {
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(&path, listeners)).await;
        opened.map_err(|_| gone())?
    }

    fn open_blocking(path: &Path, listeners: broadcast::Sender<Change>) -> Result<Self, Failure> {
        create_private(path)?;
        let writing = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        prepare_writer(&writing)?;
        let (writer, begins) = channel();
        spawn("store-writer", move || write_all(&writing, &begins, &listeners))?;
        let (readers, reads) = channel();
        let reads = Arc::new(Mutex::new(reads));
        for _ in 0..READERS {
            let reading = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let reads = Arc::clone(&reads);
            spawn("store-reader", move || read_all(&reading, &reads))?;
        }
        Ok(Self { writer, readers })
    }

    pub(crate) async fn query(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, Failure> {
        let (reply, answer) = oneshot::channel();
        self.readers.send(Read { sql: translate(sql), params, reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    pub(super) async fn begin(&self) -> Result<Session, Failure> {
        let (steps, taken) = channel();
        let (reply, begun) = oneshot::channel();
        self.writer.send(Begin { steps: taken, reply }).map_err(|_| gone())?;
        begun.await.map_err(|_| gone())??;
        Ok(Session { steps })
    }
}

/// An open transaction. Dropping it rolls back.
pub(super) struct Session {
    steps: Sender<Step>,
}

impl Session {
    pub(super) async fn query(&mut self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, Failure> {
        self.step(|reply| Step::Query { sql: translate(sql), params, reply }).await
    }

    pub(super) async fn execute(&mut self, sql: &str, params: Vec<Value>) -> Result<u64, Failure> {
        self.step(|reply| Step::Execute { sql: translate(sql), params, reply }).await
    }

    /// One message to the writer's thread for all of them.
    pub(super) async fn execute_each(&mut self, sql: &str, sets: Vec<Vec<Value>>) -> Result<(), Failure> {
        self.step(|reply| Step::ExecuteEach { sql: translate(sql), sets, reply }).await
    }

    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        self.step(|reply| Step::Batch { sql: sql.to_owned(), reply }).await
    }

    pub(super) async fn commit(mut self, changes: Vec<Change>) -> Result<(), Failure> {
        self.step(|reply| Step::Commit { changes, reply }).await
    }

    async fn step<T>(
        &mut self,
        step: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> Step,
    ) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        self.steps.send(step(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

struct Begin {
    steps: Receiver<Step>,
    reply: oneshot::Sender<Result<(), Failure>>,
}

enum Step {
    Query { sql: String, params: Vec<Value>, reply: oneshot::Sender<Result<Vec<Row>, Failure>> },
    Execute { sql: String, params: Vec<Value>, reply: oneshot::Sender<Result<u64, Failure>> },
    ExecuteEach { sql: String, sets: Vec<Vec<Value>>, reply: oneshot::Sender<Result<(), Failure>> },
    Batch { sql: String, reply: oneshot::Sender<Result<(), Failure>> },
    Commit { changes: Vec<Change>, reply: oneshot::Sender<Result<(), Failure>> },
}

struct Read {
    sql: String,
    params: Vec<Value>,
    reply: oneshot::Sender<Result<Vec<Row>, Failure>>,
}

/// The writer's life: transactions one by one, and between them a look for what other processes wrote.
fn write_all(connection: &Connection, begins: &Receiver<Begin>, listeners: &broadcast::Sender<Change>) {
    let mut seen = data_version(connection);
    let mut looked = Instant::now();
    loop {
        match begins.recv_timeout(WATCH) {
            Ok(begin) => run_transaction(connection, begin, listeners),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if looked.elapsed() >= WATCH {
            looked = Instant::now();
            // This connection's own commits don't move its data version: only another process's do.
            let now = data_version(connection);
            if now.is_some() && now != seen {
                seen = now;
                publish(listeners, vec![Change::Everything]);
            }
        }
    }
}

fn run_transaction(connection: &Connection, begin: Begin, listeners: &broadcast::Sender<Change>) {
    let outcome = connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| failure(&error));
    let in_transaction = outcome.is_ok();
    if begin.reply.send(outcome).is_ok() && in_transaction {
        while let Ok(step) = begin.steps.recv() {
            // After an error such as a full disk SQLite has rolled back on its own; another statement would then run,
            // and stay, outside any transaction. Dropping the step's reply fails it.
            if connection.is_autocommit() {
                break;
            }
            match step {
                Step::Query { sql, params, reply } => drop(reply.send(select(connection, &sql, params))),
                Step::Execute { sql, params, reply } => drop(reply.send(execute(connection, &sql, params))),
                Step::ExecuteEach { sql, sets, reply } => {
                    drop(reply.send(execute_each(connection, &sql, sets)));
                }
                Step::Batch { sql, reply } => {
                    drop(reply.send(connection.execute_batch(&sql).map_err(|error| failure(&error))));
                }
                Step::Commit { changes, reply } => {
                    let committed = connection.execute_batch("COMMIT").map_err(|error| failure(&error));
                    // Announced from here, so that a caller who has gone away keeps nobody from hearing it.
                    if committed.is_ok() {
                        publish(listeners, changes);
                    }
                    drop(reply.send(committed));
                    break;
                }
            }
        }
    }
    if !connection.is_autocommit() {
        // A rollback that fails leaves the connection in a transaction; the next BEGIN then fails and says so.
        let _ = connection.execute_batch("ROLLBACK");
    }
}

fn read_all(connection: &Connection, reads: &Mutex<Receiver<Read>>) {
    loop {
        // The guard is released before the statement runs, so that the readers take turns only in waiting.
        let read = match reads.lock() {
            Ok(reads) => reads.recv(),
            Err(_) => return,
        };
        let Ok(Read { sql, params, reply }) = read else {
            return;
        };
        if !reply.is_closed() {
            drop(reply.send(select(connection, &sql, params)));
        }
    }
}

fn select(connection: &Connection, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, Failure> {
    let run = || -> rusqlite::Result<Vec<Row>> {
        let mut statement = connection.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(params))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let values = (0..columns).map(|column| Ok(value(row.get_ref(column)?)));
            found.push(Row(values.collect::<rusqlite::Result<_>>()?));
        }
        Ok(found)
    };
    run().map_err(|error| failure(&error))
}

fn execute(connection: &Connection, sql: &str, params: Vec<Value>) -> Result<u64, Failure> {
    let run = || connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(params));
    run().map(|rows| u64::try_from(rows).unwrap_or(u64::MAX)).map_err(|error| failure(&error))
}

fn execute_each(connection: &Connection, sql: &str, sets: Vec<Vec<Value>>) -> Result<(), Failure> {
    let mut statement = connection.prepare_cached(sql).map_err(|error| failure(&error))?;
    for params in sets {
        statement.execute(rusqlite::params_from_iter(params)).map_err(|error| failure(&error))?;
        // See `run_transaction`: after some errors nothing may run any more.
        if connection.is_autocommit() {
            return Err(gone());
        }
    }
    Ok(())
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Integer(integer) => Value::Integer(integer),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(blob) => Value::Blob(blob.to_vec()),
        // The schema has no floating-point column.
        ValueRef::Null | ValueRef::Real(_) => Value::Null,
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => rusqlite::types::Null.into(),
            Self::Integer(integer) => (*integer).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Blob(blob) => blob.as_slice().into(),
        })
    }
}

/// The store's texts hold `$` only in placeholders, and lock rows in a way that `SQLite`'s single writer makes needless.
fn translate(sql: &str) -> String {
    sql.replace('$', "?").replace(" FOR UPDATE", "").replace(" FOR SHARE", "")
}

fn create_private(path: &Path) -> Result<(), Failure> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = options.open(path);
    opened
        .map(drop)
        .map_err(|error| Failure::Unavailable(format!("its file can't be opened for writing: {error}")))
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, Failure> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        Ok(connection)
    };
    open().map_err(|error| failure(&error))
}

fn prepare_writer(connection: &Connection) -> Result<(), Failure> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    let set = || -> rusqlite::Result<()> {
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)
    };
    // Two processes that turn a new file to WAL at once get a busy error that no busy timeout covers.
    loop {
        match set() {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            outcome => return outcome.map_err(|error| failure(&error)),
        }
    }
}

fn data_version(connection: &Connection) -> Option<i64> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0)).ok()
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn failure(error: &rusqlite::Error) -> Failure {
    let unavailable = |why: &str| Failure::Unavailable(why.to_owned());
    let Some(code) = error.sqlite_error_code() else {
        return Failure::Corrupt(format!("a statement does not fit the database: {error}"));
    };
    let extended = error.sqlite_error().map_or(0, |error| error.extended_code);
    match code {
        ErrorCode::ConstraintViolation => match extended {
            rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Failure::Reference,
            rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY => {
                Failure::Taken
            }
            _ => Failure::Corrupt(format!("the database refused a record (code {extended})")),
        },
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            unavailable("another process holds the database; wait for it or end it")
        }
        ErrorCode::DiskFull => unavailable("the disk is full"),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => unavailable("the database file is read-only"),
        ErrorCode::CannotOpen => unavailable("the database file can't be opened"),
        ErrorCode::SystemIoFailure => {
            Failure::Unavailable(format!("reading or writing failed (code {extended})"))
        }
        ErrorCode::OutOfMemory => unavailable("out of memory"),
        ErrorCode::DatabaseCorrupt => {
            Failure::Corrupt("the database file is damaged; restore a backup".to_owned())
        }
        ErrorCode::NotADatabase => Failure::Corrupt("the file is no SQLite database".to_owned()),
        _ => Failure::Corrupt(format!("SQLite answered with code {extended}")),
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| Failure::Unavailable(format!("no thread can be started: {error}")))
}

fn gone() -> Failure {
    Failure::Unavailable("the control store is shutting down".to_owned())
}
