//! Runs one statement on a leased session.

use std::sync::Arc;

use ringfence_guard::GuardedQuery;
use tokio_util::sync::CancellationToken;

use super::failure;
use super::launch::{launch, text_id};
use super::pool::{Lease, Pools, Wish};
use super::reading::Reading;
use super::rows::Broken;
use super::session::{Purpose, Tidy};
use super::transaction::{Failure, Transaction};
use crate::result::{ResultColumn, Row};
use crate::watchdog::Watchdog;
use crate::{RunOptions, SourceAddress, SourceError};

/// A statement under way.
pub(crate) struct Running {
    lease: Option<Lease>,
    reading: Reading,
    watchdog: Watchdog,
    tidy: Tidy,
    text: u64,
    /// The guard rewrote the statement.
    fenced: bool,
    affected: Option<u64>,
}

/// Everything about one run.
pub(super) struct Request<'a> {
    pub(super) address: &'a SourceAddress,
    pub(super) query: &'a GuardedQuery,
    pub(super) options: &'a RunOptions,
    pub(super) cancel: CancellationToken,
    pub(super) closing: CancellationToken,
}

impl Running {
    pub(super) async fn start(pools: &Arc<Pools>, request: Request<'_>) -> Result<Self, SourceError> {
        let Request { address, query, options, cancel, closing } = request;
        let wish = if query.may_change_session() { Wish::Cold } else { Wish::Warm };
        let mut lease = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(SourceError::Cancelled),
            () = closing.cancelled() => return Err(SourceError::Cancelled),
            lease = pools.lease(address, Purpose::of(query), wish) => lease?,
        };
        let mut watchdog = Watchdog::new(options.timeout, cancel, closing);
        let fenced = query.fence().is_some();
        let mut tidy = Tidy { transaction: Transaction::None, discard: query.may_change_session() };
        let launching = launch(lease.session()?, query, options, &mut tidy.transaction);
        let launched = watchdog.guard(launching).await;
        let launched = match launched {
            Err(stop) => {
                lease.stop().await;
                return Err(stop);
            }
            Ok(Err(failure)) => return Err(give_up(lease, &failure, tidy, fenced)),
            Ok(Ok(launched)) => launched,
        };
        let reading = match Reading::of(launched, query, options) {
            Ok(reading) => reading,
            Err(refused) => {
                lease.stop().await;
                return Err(refused);
            }
        };
        let text = text_id(query.sql());
        Ok(Self { lease: Some(lease), reading, watchdog, tidy, text, fenced, affected: None })
    }

    pub(crate) fn columns(&self) -> &Arc<[ResultColumn]> {
        self.reading.columns()
    }

    pub(crate) fn affected(&self) -> Option<u64> {
        self.affected
    }

    /// Decodes no more than that many rows; the rest is counted.
    pub(crate) fn want_at_most(&mut self, rows: u64) {
        self.reading.want_at_most(rows);
    }

    pub(crate) fn omitted(&self) -> u64 {
        self.reading.omitted()
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
        if !self.reading.is_checked() {
            return self.read_batch().await;
        }
        let mut rows = Vec::new();
        while let Some(batch) = self.read_batch().await? {
            rows.extend(batch);
            if let Err(excess) = self.reading.refuse_excess()
                && !self.is_finished()
            {
                self.stop().await;
                return Err(excess);
            }
        }
        Ok((!rows.is_empty()).then_some(rows))
    }

    async fn read_batch(&mut self) -> Result<Option<Vec<Row>>, SourceError> {
        if self.lease.is_none() {
            return Ok(None);
        }
        match self.watchdog.guard(self.reading.fill()).await {
            Err(stop) => {
                self.stop().await;
                Err(stop)
            }
            Ok(Err(broken)) => Err(self.break_off(broken).await),
            Ok(Ok((rows, false))) => Ok(Some(rows)),
            Ok(Ok((rows, true))) => {
                self.finish().await?;
                Ok((!rows.is_empty()).then_some(rows))
            }
        }
    }

    async fn break_off(&mut self, broken: Broken) -> SourceError {
        let Some(mut lease) = self.lease.take() else {
            return SourceError::Lost;
        };
        if let Broken::Database(error) = &broken
            && self.tidy.transaction == Transaction::AssumedReadOnly
            && failure::is_write_in_read(error)
            && let Ok(session) = lease.session()
        {
            // Rows are gone to the caller, so it can't run again; the next time it runs as what it is.
            session.note_write(self.text);
        }
        break_off(lease, broken, self.tidy, self.fenced, self.reading.max_bytes()).await
    }

    async fn finish(&mut self) -> Result<(), SourceError> {
        let Some(mut lease) = self.lease.take() else {
            return Ok(());
        };
        let session = lease.session()?;
        if session.watch.changed_rows() {
            self.affected = self.reading.told();
        }
        match self.reading.settle() {
            Ok(None) => {}
            Ok(affected) => self.affected = affected,
            Err(refused) => {
                // The transaction is still open: tidying up rolls it back.
                lease.give_back(self.tidy);
                return Err(refused);
            }
        }
        // What only read has nothing to commit, and nobody waits for it to be rolled back.
        if self.tidy.transaction == Transaction::ReadWrite {
            match self.watchdog.guard(session.client.batch_execute("COMMIT")).await {
                Ok(Ok(())) => self.tidy.transaction = Transaction::None,
                Ok(Err(error)) => {
                    return Err(give_up(lease, &Failure::Database(error), self.tidy, self.fenced));
                }
                Err(stop) => {
                    lease.stop().await;
                    return Err(stop);
                }
            }
        }
        lease.give_back(self.tidy);
        Ok(())
    }
}

/// After rows that could not be had.
pub(super) async fn break_off(
    mut lease: Lease,
    broken: Broken,
    tidy: Tidy,
    fenced: bool,
    max_bytes: u64,
) -> SourceError {
    match broken {
        Broken::Database(error) => give_up(lease, &Failure::Database(error), tidy, fenced),
        Broken::TooLarge => {
            lease.stop().await;
            SourceError::TooLarge { limit_bytes: max_bytes }
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

/// After an error of the database the session is still good, unless the error was its end.
pub(super) fn give_up(mut lease: Lease, failure: &Failure, tidy: Tidy, fenced: bool) -> SourceError {
    let Ok(session) = lease.session() else {
        return SourceError::Lost;
    };
    let error = match failure {
        Failure::Refused(error) => error.clone(),
        Failure::Database(error) | Failure::Unwrapped(error) if fenced => {
            failure::of_fenced(error, &session.watch)
        }
        Failure::Database(error) | Failure::Unwrapped(error) => failure::of_statement(error, &session.watch),
        Failure::Setting(error) => match failure::of_statement(error, &session.watch) {
            SourceError::Statement { message, .. } => SourceError::Option(message),
            other => other,
        },
    };
    session.in_flight = false;
    let is_over = matches!(failure, Failure::Unwrapped(_)) || session.client.is_closed();
    match error {
        SourceError::Statement { .. }
        | SourceError::Constraint { .. }
        | SourceError::RowRefused
        | SourceError::Conflict
        | SourceError::Option(_)
            if !is_over =>
        {
            lease.give_back(tidy);
        }
        _ => lease.close(),
    }
    error
}
