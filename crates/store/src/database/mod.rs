//! The two databases behind one small interface: SQL text in their common subset with `$1` placeholders, values of
//! four kinds, rows, and transactions that announce what they changed once they are durable.

mod failure;
mod postgres;
mod postgres_listen;
mod postgres_tls;
mod postgres_wire;
mod sqlite;
mod value;

pub(crate) use failure::Failure;
pub(crate) use postgres::Postgres;
pub(crate) use sqlite::Sqlite;
pub(crate) use value::{Row, Value, params, to_json};

use tokio::sync::broadcast;

use crate::changes::Change;

/// How often a transaction is run again after the database gave it up in favour of another.
pub(crate) const ATTEMPTS: u32 = 5;

/// Which database it is, where the texts have to differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// One of the two databases.
pub(crate) enum Database {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Database {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs one reading statement on its own. It sees one state of the database.
    pub(crate) async fn query(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.query(sql, params).await,
            Self::Postgres(postgres) => postgres.query(sql, params).await,
        }
    }

    /// Begins a writing transaction. Dropped without a commit, it is rolled back.
    pub(crate) async fn begin(&self) -> Result<Transaction, Failure> {
        let back_end = match self {
            Self::Sqlite(sqlite) => BackEnd::Sqlite(sqlite.begin().await?),
            Self::Postgres(postgres) => BackEnd::Postgres(Box::new(postgres.begin().await?)),
        };
        Ok(Transaction { back_end, changes: Vec::new() })
    }
}

/// A writing transaction.
pub(crate) struct Transaction {
    back_end: BackEnd,
    changes: Vec<Change>,
}

enum BackEnd {
    Sqlite(sqlite::Session),
    Postgres(Box<postgres::Session>),
}

impl Transaction {
    /// Runs a statement and answers its rows.
    pub(crate) async fn query(&mut self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, Failure> {
        match &mut self.back_end {
            BackEnd::Sqlite(session) => session.query(sql, params).await,
            BackEnd::Postgres(session) => session.query(sql, params).await,
        }
    }

    /// Runs a statement and answers how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: &str, params: Vec<Value>) -> Result<u64, Failure> {
        match &mut self.back_end {
            BackEnd::Sqlite(session) => session.execute(sql, params).await,
            BackEnd::Postgres(session) => session.execute(sql, params).await,
        }
    }

    /// Runs a statement once for each set of parameters, in order, up to the first failure.
    pub(crate) async fn execute_each(&mut self, sql: &str, sets: Vec<Vec<Value>>) -> Result<(), Failure> {
        match &mut self.back_end {
            BackEnd::Sqlite(session) => session.execute_each(sql, sets).await,
            BackEnd::Postgres(session) => session.execute_each(sql, sets).await,
        }
    }

    /// Runs several statements without parameters, such as a migration.
    pub(crate) async fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        match &mut self.back_end {
            BackEnd::Sqlite(session) => session.batch(sql).await,
            BackEnd::Postgres(session) => session.batch(sql).await,
        }
    }

    /// Tells this change to all listeners once the transaction is durable.
    pub(crate) fn announce(&mut self, change: Change) {
        if !self.changes.contains(&Change::Everything) && !self.changes.contains(&change) {
            self.changes.push(change);
            if self.changes.len() > MOST_CHANGES {
                self.changes = vec![Change::Everything];
            }
        }
    }

    /// Makes the transaction durable, then announces its changes. A caller that stops waiting changes neither.
    pub(crate) async fn commit(self) -> Result<(), Failure> {
        match self.back_end {
            BackEnd::Sqlite(session) => session.commit(self.changes).await,
            BackEnd::Postgres(session) => session.commit(self.changes).await,
        }
    }

    /// Undoes the transaction, so that its connection can be used again at once.
    pub(crate) async fn roll_back(self) {
        match self.back_end {
            // Its thread rolls back when the session is dropped.
            BackEnd::Sqlite(session) => drop(session),
            BackEnd::Postgres(session) => session.roll_back().await,
        }
    }
}

/// Above this many changes in one transaction, listeners are told to trust no copy: it is cheaper for all.
const MOST_CHANGES: usize = 64;

/// Sends the changes to those who listen in this process; nobody listening is no error.
fn publish(listeners: &broadcast::Sender<Change>, changes: Vec<Change>) {
    for change in changes {
        let _ = listeners.send(change);
    }
}

/// Runs the body in a writing transaction and commits it: `transact!(database, tx => { ... })`, where the body may use
/// `?` on anything that becomes a [`StoreError`](crate::StoreError) and ends in a value. The body runs again when the
/// database gave the transaction up for another's sake; whatever else fails, nothing is written.
// A macro, because a function that takes an async closure over `&mut Transaction` can't promise a `Send` future.
macro_rules! transact {
    ($database:expr, $tx:ident => $body:block) => {{
        let mut attempt = 1;
        loop {
            let mut transaction = $database.begin().await?;
            let outcome = {
                let $tx = &mut transaction;
                async { Ok::<_, $crate::StoreError>($body) }.await
            };
            let outcome = match outcome {
                Ok(value) => transaction.commit().await.map(|()| value).map_err($crate::StoreError::from),
                Err(error) => {
                    transaction.roll_back().await;
                    Err(error)
                }
            };
            match outcome {
                Err($crate::StoreError::Conflict { what: $crate::database::GAVE_WAY })
                    if attempt < $crate::database::ATTEMPTS =>
                {
                    attempt += 1;
                }
                outcome => break outcome,
            }
        }
    }};
}
pub(crate) use transact;

/// What a conflict is about when the database itself chose a loser between two transactions.
pub(crate) const GAVE_WAY: &str = "the control store";
