//! Several guarded queries that take effect together, or not at all.
//!
//! A task of its own has the session, so that the limits hold also while nobody asks for anything: an open transaction
//! keeps locks in somebody's database.

use std::sync::{Arc, OnceLock};

use ringfence_guard::GuardedQuery;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::watchdog::Watchdog;
use crate::written::Writing;
use crate::{ResultSet, RunOptions, SourceError, fenced};

/// What the queries of one transaction see of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Each query sees what was committed before it began. On `MySQL` and `SQLite` it is as `RepeatableRead`.
    ReadCommitted,
    /// All see what was committed before the first began. On `SQLite` nobody else writes meanwhile.
    RepeatableRead,
    /// The same, and queries that change rows are refused: for several reads that must fit together.
    ReadOnly,
}

/// An open transaction. Dropped, or when a call of it is dropped before it answers, it is rolled back.
//
// INVARIANT: of a transaction that was not committed nothing stays, and its place in the pool is free again.
// tests/engine/transactions.rs holds it, for each kind of source.
pub struct SourceTransaction {
    commands: mpsc::Sender<Command>,
    isolation: Isolation,
    settings: Vec<(crate::SessionParameter, String)>,
    /// Why the transaction ended by itself.
    ended: Arc<OnceLock<SourceError>>,
    /// Cancelled, it ends the transaction and what runs in it.
    halt: CancellationToken,
    _halt_when_dropped: DropGuard,
    /// Until it has ended, if it may change something.
    writing: Option<Writing>,
}

/// What the holder of a transaction asks of its task.
pub(crate) enum Command {
    Run(Box<Statement>, oneshot::Sender<Result<ResultSet, SourceError>>),
    Cost(Box<Statement>, oneshot::Sender<Result<Option<f64>, SourceError>>),
    Commit(oneshot::Sender<Result<(), SourceError>>),
    RollBack(oneshot::Sender<Result<(), SourceError>>),
}

/// A query of a transaction.
pub(crate) struct Statement {
    pub(crate) query: GuardedQuery,
    pub(crate) options: RunOptions,
}

/// A session with a transaction in it. Dropped, what it runs is stopped and everything undone.
pub(crate) trait Session: Send + Sized {
    /// Why a query came to nothing, and how that leaves the session.
    type Failure: Send;

    fn run(&mut self, statement: &Statement)
    -> impl Future<Output = Result<ResultSet, Self::Failure>> + Send;

    /// What the database expects the query to cost, in its own unit; `None` where it gives no estimate.
    fn cost(
        &mut self,
        statement: &Statement,
    ) -> impl Future<Output = Result<Option<f64>, Self::Failure>> + Send;

    /// Undoes everything after a query that came to nothing. What to tell the one who asked.
    fn give_up(self, failure: Self::Failure) -> impl Future<Output = SourceError> + Send;

    /// Stops the query that runs, and undoes everything.
    fn stop(self) -> impl Future<Output = ()> + Send;

    fn commit(self) -> impl Future<Output = Result<(), SourceError>> + Send;

    fn roll_back(self) -> impl Future<Output = Result<(), SourceError>> + Send;
}

/// What the task of a transaction works with.
pub(crate) struct Driven {
    commands: mpsc::Receiver<Command>,
    ended: Arc<OnceLock<SourceError>>,
    pub(crate) halt: CancellationToken,
    closing: CancellationToken,
}

impl SourceTransaction {
    /// The holder's end, and the task's.
    pub(crate) fn new(
        isolation: Isolation,
        options: &RunOptions,
        closing: CancellationToken,
    ) -> (Self, Driven) {
        // One at a time: whoever asks waits for the answer.
        let (sender, commands) = mpsc::channel(1);
        let (ended, halt) = (Arc::new(OnceLock::new()), CancellationToken::new());
        let own = Self {
            commands: sender,
            isolation,
            settings: options.session_parameters.clone(),
            ended: Arc::clone(&ended),
            halt: halt.clone(),
            _halt_when_dropped: halt.clone().drop_guard(),
            writing: None,
        };
        (own, Driven { commands, ended, halt, closing })
    }

    /// The same of one that may change something.
    pub(crate) fn writing(self, writing: Option<Writing>) -> Self {
        Self { writing, ..self }
    }

    /// Runs one query and gathers up to `options.max_rows` rows. `options.timeout` is the query's own, within that of the
    /// transaction; its session parameters are those that the transaction began with, or none. Queries in open mode are
    /// refused. An error ends the transaction: everything is undone, and later calls answer an error.
    pub async fn run(
        &mut self,
        query: &GuardedQuery,
        options: &RunOptions,
    ) -> Result<ResultSet, SourceError> {
        let statement = self.admit_or_end(query, options)?;
        self.ask(|answer| Command::Run(Box::new(statement), answer)).await
    }

    /// What the database expects the query to cost, asked for in the session that would run it. Only a read-only transaction
    /// says: planning may call an owner's functions, which must change nothing.
    pub async fn cost(
        &mut self,
        query: &GuardedQuery,
        options: &RunOptions,
    ) -> Result<Option<f64>, SourceError> {
        if self.isolation != Isolation::ReadOnly {
            let refused =
                SourceError::Option("costs are estimated in read-only transactions: ask before".to_owned());
            self.end(refused.clone());
            return Err(refused);
        }
        let statement = self.admit_or_end(query, options)?;
        self.ask(|answer| Command::Cost(Box::new(statement), answer)).await
    }

    /// Makes everything last. On `Lost` it is not known whether it did.
    pub async fn commit(mut self) -> Result<(), SourceError> {
        self.ask(Command::Commit).await?;
        self.write_no_more();
        Ok(())
    }

    /// Undoes everything, and returns when the database said so.
    pub async fn roll_back(mut self) -> Result<(), SourceError> {
        match self.ask(Command::RollBack).await {
            // It came to that by itself.
            Err(_) if self.ended.get().is_some() => {}
            done => done?,
        }
        self.write_no_more();
        Ok(())
    }

    fn write_no_more(&mut self) {
        if let Some(writing) = self.writing.take() {
            writing.end();
        }
    }

    /// What is refused ends the transaction, as every error does.
    fn admit_or_end(&self, query: &GuardedQuery, options: &RunOptions) -> Result<Statement, SourceError> {
        self.admit(query, options).inspect_err(|refused| self.end(refused.clone()))
    }

    /// INVARIANT: an open statement may hold anything, COMMIT among it: it never gets into a transaction.
    fn admit(&self, query: &GuardedQuery, options: &RunOptions) -> Result<Statement, SourceError> {
        let Some(fence) = query.fence() else {
            return Err(SourceError::Option(
                "only statements that the guard has fenced run in a transaction: run this one by itself"
                    .to_owned(),
            ));
        };
        if fence.writes && self.isolation == Isolation::ReadOnly {
            return Err(SourceError::Statement {
                message: "a read-only transaction changes no rows".to_owned(),
                sqlstate: Some("25006".to_owned()),
            });
        }
        let mut options = fenced::options(query, options)?.into_owned();
        let settings = std::mem::take(&mut options.session_parameters);
        if !settings.is_empty() && settings != self.settings {
            return Err(SourceError::Option(
                "session parameters are those that the transaction began with".to_owned(),
            ));
        }
        Ok(Statement { query: query.clone(), options })
    }

    async fn ask<T>(
        &mut self,
        command: impl FnOnce(oneshot::Sender<Result<T, SourceError>>) -> Command,
    ) -> Result<T, SourceError> {
        let (sender, answer) = oneshot::channel();
        // Whoever stops waiting wants no more of it.
        let halt = self.halt.clone().drop_guard();
        let answered = match self.commands.send(command(sender)).await {
            Ok(()) => answer.await,
            Err(_) => return Err(self.over()),
        };
        match answered {
            Ok(Ok(done)) => {
                halt.disarm();
                Ok(done)
            }
            Ok(Err(error)) => {
                self.end(undone());
                Err(error)
            }
            Err(_) => Err(self.over()),
        }
    }

    fn end(&self, why: SourceError) {
        self.halt.cancel();
        // The first reason counts.
        let _ = self.ended.set(why);
    }

    fn over(&self) -> SourceError {
        self.ended.get().cloned().unwrap_or(SourceError::Lost)
    }
}

/// Does what the holder asks until it asks for the end, goes away, or must stop.
pub(crate) async fn drive<S: Session>(mut session: S, driven: Driven, mut whole: Watchdog) {
    let Driven { mut commands, ended, halt, closing } = driven;
    let stopped = async |whole: &mut Watchdog| {
        tokio::select! {
            biased;
            () = halt.cancelled() => SourceError::Cancelled,
            stop = whole.stopped() => stop,
        }
    };
    loop {
        let command = tokio::select! {
            biased;
            stop = stopped(&mut whole) => Err(stop),
            command = commands.recv() => Ok(command),
        };
        match command {
            Ok(Some(Command::Run(statement, answer))) => {
                let mut own = Watchdog::new(statement.options.timeout, halt.clone(), closing.clone());
                let done = tokio::select! {
                    biased;
                    stop = stopped(&mut whole) => Err(stop),
                    stop = own.stopped() => Err(stop),
                    done = session.run(&statement) => Ok(done),
                };
                if let Some(same) = settle(session, done, answer, &ended).await {
                    session = same;
                    continue;
                }
            }
            Ok(Some(Command::Cost(statement, answer))) => {
                let mut own = Watchdog::new(statement.options.timeout, halt.clone(), closing.clone());
                let done = tokio::select! {
                    biased;
                    stop = stopped(&mut whole) => Err(stop),
                    stop = own.stopped() => Err(stop),
                    done = session.cost(&statement) => Ok(done),
                };
                if let Some(same) = settle(session, done, answer, &ended).await {
                    session = same;
                    continue;
                }
            }
            Ok(Some(Command::Commit(answer))) => {
                let done = tokio::select! {
                    biased;
                    done = session.commit() => done,
                    // It may have come through, or not: nobody knows.
                    _ = stopped(&mut whole) => Err(SourceError::Lost),
                };
                let _ = answer.send(done);
            }
            Ok(Some(Command::RollBack(answer))) => {
                let _ = answer.send(session.roll_back().await);
            }
            Ok(None) => report(session.roll_back().await),
            Err(stop) => {
                let _ = ended.set(stop);
                report(session.roll_back().await);
            }
        }
        return;
    }
}

/// Answers what was asked. The session goes on, unless that came to nothing.
async fn settle<S: Session, T>(
    session: S,
    done: Result<Result<T, S::Failure>, SourceError>,
    answer: oneshot::Sender<Result<T, SourceError>>,
    ended: &OnceLock<SourceError>,
) -> Option<S> {
    let error = match done {
        Ok(Ok(result)) => {
            // Nobody waiting means that the halt is on.
            let _ = answer.send(Ok(result));
            return Some(session);
        }
        Ok(Err(failure)) => session.give_up(failure).await,
        Err(stop) => {
            session.stop().await;
            stop
        }
    };
    let _ = ended.set(undone());
    let _ = answer.send(Err(error));
    None
}

/// Nobody waits for the end of a transaction that ends by itself.
fn report(rolled_back: Result<(), SourceError>) {
    if let Err(error) = rolled_back {
        tracing::debug!(%error, "a transaction ended with its session");
    }
}

/// What calls after the end are answered.
fn undone() -> SourceError {
    SourceError::Statement {
        message: "the transaction was undone after an error: begin another".to_owned(),
        sqlstate: Some("25P02".to_owned()),
    }
}
