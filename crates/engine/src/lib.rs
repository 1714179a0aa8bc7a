//! Data sources: pools made on demand, introspection, and running guarded queries under limits.
//!
//! The public API takes no SQL text: only a [`ringfence_guard::GuardedQuery`] runs. Statements of our own
//! (introspection, session clean-up) are private to the sources. The one exception is [`operator`]: statements of a command
//! of the one who runs this, under a type that no request can make.

pub mod address;
mod capacity;
pub mod directories;
pub mod egress;
mod embedded;
mod examined;
mod fenced;
pub mod limits;
pub mod operator;
mod place;
pub mod result;
mod sources;
mod transaction;
pub mod value;
mod watchdog;
mod written;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringfence_guard::{GuardedQuery, StatementKind};
use ringfence_policy::{Catalog, ConnectionKind};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use address::SourceAddress;
pub use egress::{Egress, HostRule};
pub use embedded::{
    EmbeddedPiece, EmbeddedRows, EmbeddedSource, LoadFormat, LoadMode, LoadedTable, TableLoad,
};
pub use examined::Examined;
pub use limits::{EngineLimits, RunOptions, SessionParameter};
pub use result::{ResultColumn, ResultSet, RowStream};
pub use transaction::{Isolation, SourceTransaction};
pub use value::Value;
pub use written::{DataVersion, EVERYWHERE, Ended};

use capacity::Capacity;
use sources::mysql::Mysql;
use sources::postgres::{Postgres, Running};
use sources::sqlite::Sqlite;
use written::{Writing, Written};

/// Why a source did not do it. The texts are safe to show to the one who owns the connection: the database's primary
/// message at most, never an address with credentials, a stack or a password.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// The database refused the statement: its primary message and SQLSTATE.
    #[error("{message}")]
    Statement {
        /// The database's primary message.
        message: String,
        /// Five characters, where the database has them.
        sqlstate: Option<String>,
    },
    /// The statement was undone: a row that it made is not one that the caller may write, or it broke a reference. One
    /// text and one code for both, so that a hidden row and a missing one look alike.
    #[error("the change would leave a row that you may not write, or a reference without its row")]
    RowRefused,
    /// The statement was undone: it changed more rows than the policy lets it.
    #[error("the statement changes more than {limit} rows: narrow it")]
    TooManyRows {
        /// The limit.
        limit: u64,
    },
    /// The database's constraints refused a change on a guarded connection, where its own words could print rows.
    #[error("{message}")]
    Constraint {
        /// Ours, the same for all constraints of a kind.
        message: &'static str,
        /// Of class 23.
        sqlstate: String,
    },
    /// Another transaction came first, or each waited for the other. Nothing of it was done: the same again may go well.
    #[error("somebody else changed the same rows at the same time: try again")]
    Conflict,
    /// The statement named a setting or schema that may not be set.
    #[error("{0}")]
    Option(String),
    /// The address leads nowhere: refused, unknown or not allowed host, not answering within the time for connecting.
    #[error("{0}")]
    Unreachable(String),
    /// The database did not accept the user and password.
    #[error("{0}")]
    Credentials(String),
    /// The file is outside the directories that the configuration allows, or there is none.
    #[error("{0}")]
    FileNotAllowed(String),
    /// It took longer than allowed and was stopped in the database.
    #[error("the query took longer than {limit_ms} ms and was stopped: narrow it or ask for more time")]
    TimedOut {
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// It was cancelled, and was stopped in the database.
    #[error("the query was cancelled")]
    Cancelled,
    /// A row, or all rows together, are larger than allowed.
    #[error("the result is larger than {limit_bytes} bytes: select fewer columns or rows")]
    TooLarge {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// More columns, or a longer name of one, than anybody needs.
    #[error("the result has more than {columns} columns, or a column name of more than {name_bytes} bytes")]
    TooWide {
        /// Columns allowed.
        columns: usize,
        /// Bytes of a name allowed.
        name_bytes: usize,
    },
    /// The result has more columns than the run allows.
    #[error("the result has more than {limit} columns: select those that you need")]
    TooManyColumns {
        /// The limit.
        limit: u32,
    },
    /// Every place in the pool was taken for too long.
    #[error("the connection is busy: too many queries at once, try again")]
    Busy,
    /// The connection broke while the query ran; whether it took effect is unknown.
    #[error("the connection to the database was lost while the query ran: check whether it took effect")]
    Lost,
    /// The kind of connection is left out of this build.
    #[error(
        "this build has no lake: build it with `--features lake`, or take a release, which has it (docs/lake.md)"
    )]
    NotBuilt,
    /// Rows that can't be taken in, and where they stand. Nothing of the load was.
    #[error("{0}")]
    Data(String),
    /// There is no such table to load into or to remove.
    #[error("{0}")]
    NoTable(String),
    /// The table is not one that is loaded, or has other columns.
    #[error("{0}")]
    TableConflict(String),
    /// The memory that queries share is used up, on disk too.
    #[error("{0}")]
    OutOfMemory(String),
}

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    postgres: Postgres,
    sqlite: Sqlite,
    mysql: Mysql,
    embedded: Option<Arc<dyn EmbeddedSource>>,
    capacity: Capacity,
    written: Written,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// What planning a statement found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explained {
    /// The statement has a plan. These are the relations that it reads or changes, as (schema, relation), each once.
    Plan(Vec<(String, String)>),
    /// The statement parses, and the database has no plan for its kind (`CREATE`, `SET`): nothing else was looked at, not
    /// even whether what it names exists.
    NoPlan,
}

/// How long [`Engine::shutdown`] waits for statements to end and sockets to close.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// A read whose result goes on for more rows than this beyond what is wanted is stopped, not counted to its end.
pub const COUNTED_ROWS: u64 = 256;

impl Engine {
    /// Makes an engine; pools come into being on demand.
    pub fn new(limits: EngineLimits) -> Self {
        Self::with_embedded(limits, None)
    }

    /// The same with a source that runs inside this process, where the build has one.
    pub fn with_embedded(limits: EngineLimits, embedded: Option<Arc<dyn EmbeddedSource>>) -> Self {
        let limits = Arc::new(limits);
        let capacity = Capacity::new(limits.max_connections);
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let postgres = Postgres::new(Arc::clone(&limits), capacity.clone(), tasks.clone(), closing.clone());
        let mysql = Mysql::new(Arc::clone(&limits), capacity.clone(), tasks.clone(), closing.clone());
        let sqlite = Sqlite::new(limits, capacity.clone(), tasks.clone(), closing.clone());
        let written = Written::new();
        let shared = Shared { postgres, sqlite, mysql, embedded, capacity, written, tasks, closing };
        Self { shared: Arc::new(shared) }
    }

    /// Connects and signs in on a fresh connection, so that the credentials are proven now.
    pub async fn probe(&self, address: &SourceAddress) -> Result<(), SourceError> {
        match address.kind {
            ConnectionKind::Postgresql => self.shared.postgres.probe(address).await,
            ConnectionKind::Sqlite => self.shared.sqlite.probe(address).await,
            ConnectionKind::Mysql => self.shared.mysql.probe(address).await,
            ConnectionKind::Lake => self.embedded()?.probe(address).await,
            ConnectionKind::Push => Err(nothing_to_query()),
        }
    }

    /// Reads what the credentials can see. `progress` hears (schema, relations done, relations in all).
    pub async fn introspect(
        &self,
        address: &SourceAddress,
        progress: &(dyn Fn(&str, usize, usize) + Send + Sync),
    ) -> Result<Catalog, SourceError> {
        match address.kind {
            ConnectionKind::Postgresql => self.shared.postgres.introspect(address, progress).await,
            ConnectionKind::Sqlite => self.shared.sqlite.introspect(address, progress).await,
            ConnectionKind::Mysql => self.shared.mysql.introspect(address, progress).await,
            ConnectionKind::Lake => {
                progress("public", 0, 0);
                let catalog = self.embedded()?.introspect(address).await?;
                progress("public", catalog.relation_count(), catalog.relation_count());
                Ok(catalog)
            }
            ConnectionKind::Push => Err(nothing_to_query()),
        }
    }

    /// Asks the database what the connection's own user may do. PostgreSQL only.
    pub async fn examine(&self, address: &SourceAddress) -> Result<Examined, SourceError> {
        match address.kind {
            ConnectionKind::Postgresql => self.shared.postgres.examine(address).await,
            ConnectionKind::Sqlite | ConnectionKind::Mysql | ConnectionKind::Lake | ConnectionKind::Push => {
                Err(nothing_to_query())
            }
        }
    }

    /// Runs a query and streams its rows. Dropping the stream, or `cancel`, stops the statement in the database.
    /// `options.max_rows` does not apply: the caller stops when it has enough.
    pub async fn stream(
        &self,
        address: &SourceAddress,
        query: &GuardedQuery,
        options: &RunOptions,
        cancel: CancellationToken,
    ) -> Result<RowStream, SourceError> {
        let writing = self.writing(address, query);
        let stream = match address.kind {
            ConnectionKind::Postgresql => {
                let running = self.shared.postgres.start(address, query, options, cancel).await?;
                RowStream::direct(running, self.shared.tasks.clone())
            }
            ConnectionKind::Sqlite => {
                let options = RunOptions { max_rows: u64::MAX, ..options.clone() };
                self.shared.sqlite.start(address, query, &options, cancel).await?
            }
            ConnectionKind::Mysql => {
                let options = RunOptions { max_rows: u64::MAX, ..options.clone() };
                self.shared.mysql.start(address, query, &options, cancel).await?
            }
            ConnectionKind::Lake => {
                let options = RunOptions { max_rows: u64::MAX, ..options.clone() };
                self.start_embedded(address, query, &options, cancel).await?
            }
            ConnectionKind::Push => return Err(nothing_to_query()),
        };
        Ok(stream.writing(writing))
    }

    /// Runs a query and gathers up to `options.max_rows` rows.
    pub async fn run(
        &self,
        address: &SourceAddress,
        query: &GuardedQuery,
        options: &RunOptions,
        cancel: CancellationToken,
    ) -> Result<ResultSet, SourceError> {
        let writing = self.writing(address, query);
        let ran = match address.kind {
            ConnectionKind::Postgresql => {
                let running = self.shared.postgres.start(address, query, options, cancel).await?;
                gather(running, query.kind(), options.max_rows).await
            }
            ConnectionKind::Sqlite => {
                drain(self.shared.sqlite.start(address, query, options, cancel).await?).await
            }
            ConnectionKind::Mysql => {
                drain(self.shared.mysql.start(address, query, options, cancel).await?).await
            }
            ConnectionKind::Lake => drain(self.start_embedded(address, query, options, cancel).await?).await,
            ConnectionKind::Push => Err(nothing_to_query()),
        };
        if ran.is_ok()
            && let Some(writing) = writing
        {
            writing.end();
        }
        ran
    }

    /// Begins a transaction: several guarded queries that take effect together, or not at all. `options.timeout` is for all
    /// of it, waiting for its holder included; its session parameters hold to its end.
    pub async fn begin(
        &self,
        address: &SourceAddress,
        options: &RunOptions,
        isolation: Isolation,
        cancel: CancellationToken,
    ) -> Result<SourceTransaction, SourceError> {
        fenced::refuse_bending(options)?;
        let transaction = match address.kind {
            ConnectionKind::Postgresql => {
                self.shared.postgres.begin(address, options, isolation, cancel).await?
            }
            ConnectionKind::Sqlite => self.shared.sqlite.begin(address, options, isolation, cancel).await?,
            ConnectionKind::Mysql => self.shared.mysql.begin(address, options, isolation, cancel).await?,
            ConnectionKind::Lake => {
                return Err(SourceError::Option(
                    "a lake has no transactions: its tables are loaded as a whole".to_owned(),
                ));
            }
            ConnectionKind::Push => return Err(nothing_to_query()),
        };
        let may_write = isolation != Isolation::ReadOnly;
        Ok(transaction.writing(may_write.then(|| self.writing_at(address))))
    }

    /// Has the database plan the query (EXPLAIN, nothing is executed).
    pub async fn explain(
        &self,
        address: &SourceAddress,
        query: &GuardedQuery,
        options: &RunOptions,
    ) -> Result<Explained, SourceError> {
        match address.kind {
            ConnectionKind::Postgresql => self.shared.postgres.explain(address, query, options).await,
            // SQLite compiles every kind of statement.
            ConnectionKind::Sqlite => {
                self.shared.sqlite.explain(address, query, options).await.map(Explained::Plan)
            }
            ConnectionKind::Mysql => self.shared.mysql.explain(address, query, options).await,
            ConnectionKind::Lake => {
                embedded::refuse_options(&*fenced::options(query, options)?)?;
                self.embedded()?.explain(address, query).await.map(Explained::Plan)
            }
            ConnectionKind::Push => Err(nothing_to_query()),
        }
    }

    /// What the database expects the query to cost, in its own unit, before it runs. `None` where it does not say: `PostgreSQL`
    /// alone does for every statement.
    pub async fn cost(
        &self,
        address: &SourceAddress,
        query: &GuardedQuery,
        options: &RunOptions,
    ) -> Result<Option<f64>, SourceError> {
        match address.kind {
            ConnectionKind::Postgresql => self.shared.postgres.cost(address, query, options).await,
            ConnectionKind::Sqlite | ConnectionKind::Mysql | ConnectionKind::Lake => Ok(None),
            ConnectionKind::Push => Err(nothing_to_query()),
        }
    }

    /// What the address physically is: the same text for every spelling of one database, whoever signs in. For `SQLite`
    /// the file itself, links resolved; an error when it may not be opened.
    pub fn place(&self, address: &SourceAddress) -> Result<String, SourceError> {
        match address.kind {
            ConnectionKind::Postgresql | ConnectionKind::Mysql | ConnectionKind::Push => {
                Ok(place::of_network(address))
            }
            ConnectionKind::Sqlite => self.shared.sqlite.place(address),
            ConnectionKind::Lake => self.embedded()?.place(address),
        }
    }

    /// Where the data at the address stand: another version after every statement of this process that may have changed
    /// them. What is written past this process is in it only where the source itself keeps versions, or others tell of it.
    pub fn data_version(&self, address: &SourceAddress) -> Result<DataVersion, SourceError> {
        let said = match address.kind {
            // These databases have no version of their data that could be asked for in less time than a statement takes. Loads of
            // a lake come through here; files that somebody puts beside them have no versions.
            ConnectionKind::Postgresql
            | ConnectionKind::Sqlite
            | ConnectionKind::Mysql
            | ConnectionKind::Lake
            | ConnectionKind::Push => None,
        };
        Ok(self.shared.written.version(&self.place(address)?, said))
    }

    /// Waits until something was written through this process, and answers where: places as [`Self::place`] names them, or
    /// [`EVERYWHERE`]. For one who tells others; what was abandoned has to be heard of once more.
    pub async fn next_written(&self) -> BTreeMap<String, Ended> {
        self.shared.written.next().await
    }

    /// The same without waiting: nothing may have been written.
    pub fn take_written(&self) -> BTreeMap<String, Ended> {
        self.shared.written.take()
    }

    /// Tells this engine from others, for whoever hears what it told.
    pub fn teller(&self) -> u64 {
        self.shared.written.teller()
    }

    /// Others wrote there.
    pub fn heard_written(&self, place: &str) {
        self.shared.written.heard(place);
    }

    /// What the query may write, until that is dropped.
    fn writing(&self, address: &SourceAddress, query: &GuardedQuery) -> Option<Writing> {
        written::may_write(query).then(|| self.writing_at(address))
    }

    fn writing_at(&self, address: &SourceAddress) -> Writing {
        // A file that can't be found now may be there when it is written to.
        self.shared.written.begin(self.place(address).unwrap_or_else(|_| EVERYWHERE.to_owned()))
    }

    /// Closes the pool of that address: its connection was changed or removed.
    pub fn evict(&self, address: &SourceAddress) {
        self.shared.postgres.evict(address);
        self.shared.mysql.evict(address);
    }

    /// Backend connections open now, over all pools: for metrics and tests.
    pub fn open_connections(&self) -> usize {
        self.shared.capacity.open()
    }

    /// Closes everything; running statements are cancelled first.
    pub async fn shutdown(&self) {
        self.shared.closing.cancel();
        self.shared.postgres.evict_all();
        self.shared.mysql.evict_all();
        self.shared.tasks.close();
        if tokio::time::timeout(SHUTDOWN_LIMIT, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                engine.open = self.open_connections(),
                "some backend connections did not close in time"
            );
        }
    }
}

async fn gather(mut running: Running, kind: StatementKind, max_rows: u64) -> Result<ResultSet, SourceError> {
    running.want_at_most(max_rows);
    let mut rows = Vec::new();
    while let Some(batch) = running.next_batch().await? {
        rows.extend(batch);
        // An effect runs to its end, or it would be undone.
        if kind == StatementKind::Read && running.omitted() > max_rows.max(COUNTED_ROWS) {
            running.abandon();
        }
    }
    let columns = running.columns().to_vec();
    Ok(ResultSet { columns, rows, more_rows: running.omitted(), affected: running.affected() })
}

/// Of a stream that leaves rows out by itself.
async fn drain(mut stream: RowStream) -> Result<ResultSet, SourceError> {
    let mut rows = Vec::new();
    while let Some(batch) = stream.next().await? {
        rows.extend(batch);
    }
    let columns = stream.columns().to_vec();
    Ok(ResultSet { columns, rows, more_rows: stream.omitted(), affected: stream.affected() })
}

fn nothing_to_query() -> SourceError {
    SourceError::Unreachable(
        "this connection holds a pushed catalog only: there is no database to reach".to_owned(),
    )
}
