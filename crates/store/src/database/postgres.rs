//! `PostgreSQL`: a small pool of connections with their prepared statements, and sessions that hold one of them for a
//! transaction. A connection that failed, timed out or was dropped in mid-work is closed, never reused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Statement};

use super::postgres_listen::{encode, listen};
use super::postgres_tls::Target;
use super::postgres_wire::{failure, parameters, row};
use super::{Failure, Row, Value, publish};
use crate::changes::Change;

const CONNECTIONS: usize = 12;
/// How long a request waits for a free connection, and how long a statement may take.
const PATIENCE: Duration = Duration::from_secs(10);
const CACHED_STATEMENTS: usize = 256;

/// The channel on which nodes tell each other of changes.
pub(super) const CHANNEL: &str = "ringfence_changes";

/// The shared database.
pub(crate) struct Postgres {
    pool: Arc<Pool>,
    listener: AbortHandle,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Postgres {
    /// Connects once, so that a wrong address shows at the start, and begins to listen for other nodes' changes.
    pub(crate) async fn open(
        url: &SecretString,
        listeners: broadcast::Sender<Change>,
    ) -> Result<Self, Failure> {
        let pool = Arc::new(Pool {
            target: Target::parse(url)?,
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            node: uuid::Uuid::new_v4().to_string(),
            listeners,
        });
        let (permit, connection) = pool.take().await?;
        pool.put_back(connection);
        drop(permit);
        let (target, node, listeners) = (pool.target.clone(), pool.node.clone(), pool.listeners.clone());
        let listener = tokio::spawn(listen(target, node, listeners)).abort_handle();
        Ok(Self { pool, listener })
    }

    pub(crate) async fn query(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, Failure> {
        loop {
            let (_permit, mut connection) = self.pool.take().await?;
            let outcome = connection.query(sql, &params).await;
            if outcome.is_err() && connection.is_stale() {
                continue;
            }
            self.pool.put_back(connection);
            return outcome;
        }
    }

    pub(super) async fn begin(&self) -> Result<Session, Failure> {
        loop {
            let (permit, mut connection) = self.pool.take().await?;
            match connection.batch("BEGIN").await {
                Ok(()) => {
                    let pool = Arc::clone(&self.pool);
                    return Ok(Session { pool, connection, failed: false, _permit: permit });
                }
                Err(_) if connection.is_stale() => {}
                Err(failure) => return Err(failure),
            }
        }
    }
}

/// An open transaction. Dropped, it closes its connection, and with it the transaction.
pub(super) struct Session {
    pool: Arc<Pool>,
    connection: Pooled,
    failed: bool,
    _permit: OwnedSemaphorePermit,
}

impl Session {
    pub(super) async fn query(&mut self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, Failure> {
        let outcome = self.connection.query(sql, &params).await;
        self.note(outcome)
    }

    pub(super) async fn execute(&mut self, sql: &str, params: Vec<Value>) -> Result<u64, Failure> {
        let outcome = self.connection.execute(sql, &params).await;
        self.note(outcome)
    }

    pub(super) async fn execute_each(&mut self, sql: &str, sets: Vec<Vec<Value>>) -> Result<(), Failure> {
        for params in sets {
            self.execute(sql, params).await?;
        }
        Ok(())
    }

    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        let outcome = self.connection.batch(sql).await;
        self.note(outcome)
    }

    pub(super) async fn commit(self, changes: Vec<Change>) -> Result<(), Failure> {
        // PostgreSQL answers the COMMIT of a failed transaction with a rollback and no error.
        if self.failed {
            return Err(Failure::Corrupt("a failed transaction can't be committed".to_owned()));
        }
        // A task of its own: a caller who stops waiting after the COMMIT was sent must not keep it from being announced.
        let task = tokio::spawn(self.commit_and_announce(changes));
        task.await.unwrap_or_else(|_| Err(Failure::Unavailable("the commit was interrupted".to_owned())))
    }

    async fn commit_and_announce(mut self, changes: Vec<Change>) -> Result<(), Failure> {
        for change in &changes {
            let payload = encode(&self.pool.node, change);
            self.connection.query("SELECT pg_notify($1, $2)", &[CHANNEL.into(), payload.into()]).await?;
        }
        self.connection.batch("COMMIT").await?;
        publish(&self.pool.listeners, changes);
        self.pool.put_back(self.connection);
        Ok(())
    }

    pub(super) async fn roll_back(mut self) {
        if self.connection.batch("ROLLBACK").await.is_ok() {
            self.pool.put_back(self.connection);
        }
    }

    fn note<T>(&mut self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        self.failed |= outcome.is_err();
        outcome
    }
}

struct Pool {
    target: Target,
    idle: Mutex<Vec<Pooled>>,
    permits: Arc<Semaphore>,
    node: String,
    listeners: broadcast::Sender<Change>,
}

impl Pool {
    async fn take(&self) -> Result<(OwnedSemaphorePermit, Pooled), Failure> {
        let waiting = timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned());
        let Ok(Ok(permit)) = waiting.await else {
            return Err(Failure::Unavailable("all connections to the database are busy".to_owned()));
        };
        while let Some(mut pooled) = self.pop_idle() {
            if !pooled.client.is_closed() {
                pooled.reused = true;
                return Ok((permit, pooled));
            }
        }
        Ok((permit, Pooled::connect(&self.target).await?))
    }

    fn pop_idle(&self) -> Option<Pooled> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put_back(&self, pooled: Pooled) {
        if !pooled.broken && !pooled.client.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(pooled);
        }
    }
}

/// A connection with its prepared statements.
struct Pooled {
    client: Client,
    statements: HashMap<String, Statement>,
    driver: AbortHandle,
    /// It lay idle in the pool, so that the server may have closed it without our knowing.
    reused: bool,
    /// A statement timed out and may still run.
    broken: bool,
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Pooled {
    async fn connect(target: &Target) -> Result<Self, Failure> {
        let (client, connection) = timeout(PATIENCE, target.connect()).await.map_err(|_| silent())??;
        let driver = tokio::spawn(async move {
            // Whoever uses the connection next hears of its end.
            let _ = connection.await;
        });
        let driver = driver.abort_handle();
        let mut pooled = Self { client, statements: HashMap::new(), driver, reused: false, broken: false };
        // The store leans on locks that last one statement's view; a server's stricter default would only add retries.
        let session = "SET default_transaction_isolation = 'read committed'; SET lock_timeout = '8s'; \
                       SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = 'warning'";
        pooled.batch(session).await?;
        Ok(pooled)
    }

    /// Whether a failure came from the server's having closed the connection while it lay idle: another one may do.
    fn is_stale(&self) -> bool {
        self.reused && self.client.is_closed()
    }

    async fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, Failure> {
        let statement = self.prepare(sql).await?;
        let answer = self.in_time(self.client.query(&statement, &parameters(params))).await;
        self.judge(answer)?.iter().map(row).collect()
    }

    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, Failure> {
        let statement = self.prepare(sql).await?;
        let answer = self.in_time(self.client.execute(&statement, &parameters(params))).await;
        self.judge(answer)
    }

    async fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        let answer = self.in_time(self.client.batch_execute(sql)).await;
        self.judge(answer)
    }

    async fn prepare(&mut self, sql: &str) -> Result<Statement, Failure> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let answer = self.in_time(self.client.prepare(sql)).await;
        let statement = self.judge(answer)?;
        if self.statements.len() >= CACHED_STATEMENTS {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Option<tokio_postgres::Error>> {
        timeout(PATIENCE, work).await.map_err(|_| None)?.map_err(Some)
    }

    fn judge<T>(&mut self, answer: Result<T, Option<tokio_postgres::Error>>) -> Result<T, Failure> {
        answer.map_err(|error| {
            let Some(error) = error else {
                self.broken = true;
                return silent();
            };
            failure(&error)
        })
    }
}

fn silent() -> Failure {
    Failure::Unavailable("the database did not answer in time".to_owned())
}
