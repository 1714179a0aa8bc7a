//! A transaction of several fenced statements on one leased session.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::explain::cost_within;
use super::launch::launch_within;
use super::pool::{Lease, Pools, Wish};
use super::reading::Reading;
use super::rows::Broken;
use super::run::{break_off, give_up};
use super::session::{Purpose, Tidy};
use super::transaction::{Failure, LEAVE_ASIDE, Opening, Transaction};
use crate::transaction::{Session, Statement};
use crate::watchdog::Watchdog;
use crate::{Isolation, ResultSet, RunOptions, SourceAddress, SourceError};

/// A session with a transaction in it.
pub(super) struct Together {
    lease: Lease,
    isolation: Isolation,
}

/// Why a statement came to nothing.
pub(super) enum Stopped {
    Failed(Failure),
    /// Rows could not be had. How many bytes there may be.
    Broken(Broken, u64),
    /// Refused by us when it was over.
    Over(SourceError),
    /// Refused by us, and it still runs.
    Running(SourceError),
}

impl Together {
    /// Begins, and says when the whole must be over.
    pub(super) async fn begin(
        pools: &Arc<Pools>,
        address: &SourceAddress,
        options: &RunOptions,
        isolation: Isolation,
        cancel: CancellationToken,
        closing: CancellationToken,
    ) -> Result<(Self, Watchdog), SourceError> {
        let purpose = match isolation {
            Isolation::ReadOnly => Purpose::FencedRead,
            Isolation::ReadCommitted | Isolation::RepeatableRead => Purpose::FencedWrite,
        };
        let opening = Opening::isolated(isolation, options)?;
        let mut lease = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(SourceError::Cancelled),
            () = closing.cancelled() => return Err(SourceError::Cancelled),
            lease = pools.lease(address, purpose, Wish::Warm) => lease?,
        };
        let mut whole = Watchdog::new(options.timeout, cancel, closing);
        let session = lease.session()?;
        session.in_flight = true;
        match whole.guard(opening.begin(&session.client)).await {
            Ok(Ok(())) => Ok((Self { lease, isolation }, whole)),
            Ok(Err(failure)) => {
                let tidy = Tidy { transaction: Transaction::ReadWrite, discard: false };
                Err(give_up(lease, &failure, tidy, true))
            }
            Err(stop) => {
                lease.stop().await;
                Err(stop)
            }
        }
    }

    /// What is still open of it.
    fn tidy(&self) -> Tidy {
        let transaction = match self.isolation {
            Isolation::ReadOnly => Transaction::ReadOnly,
            Isolation::ReadCommitted | Isolation::RepeatableRead => Transaction::ReadWrite,
        };
        Tidy { transaction, discard: false }
    }

    async fn end(mut self, word: &str) -> Result<(), SourceError> {
        let done = self.lease.session()?.client.batch_execute(word).await;
        match done {
            Ok(()) => {
                let transaction = match self.isolation {
                    Isolation::ReadOnly => Transaction::ReadOnly,
                    Isolation::ReadCommitted | Isolation::RepeatableRead => Transaction::None,
                };
                self.lease.give_back(Tidy { transaction, discard: false });
                Ok(())
            }
            Err(error) => {
                let tidy = self.tidy();
                Err(give_up(self.lease, &Failure::Database(error), tidy, true))
            }
        }
    }
}

impl Session for Together {
    type Failure = Stopped;

    async fn run(&mut self, statement: &Statement) -> Result<ResultSet, Stopped> {
        let Statement { query, options } = statement;
        let is_read = query.fence().is_some_and(|fence| !fence.writes);
        // The session is one for writing, where an owner's functions may stand before those of the database.
        let aside = is_read && self.isolation != Isolation::ReadOnly;
        let session = self.lease.session().map_err(Stopped::Over)?;
        let launched = launch_within(session, query, options, aside).await.map_err(Stopped::Failed)?;
        let mut reading = Reading::of(launched, query, options).map_err(Stopped::Running)?;
        reading.want_at_most(options.max_rows);
        let mut rows = Vec::new();
        loop {
            let filled = reading.fill().await;
            let (batch, has_ended) = filled.map_err(|broken| Stopped::Broken(broken, reading.max_bytes()))?;
            rows.extend(batch);
            if has_ended {
                break;
            }
            reading.refuse_excess().map_err(Stopped::Running)?;
        }
        let affected = reading.settle().map_err(Stopped::Over)?;
        if aside {
            let left = session.client.batch_execute(LEAVE_ASIDE).await;
            left.map_err(|error| Stopped::Failed(Failure::Database(error)))?;
        }
        Ok(ResultSet { columns: reading.columns().to_vec(), rows, more_rows: reading.omitted(), affected })
    }

    async fn cost(&mut self, statement: &Statement) -> Result<Option<f64>, Stopped> {
        let session = self.lease.session().map_err(Stopped::Over)?;
        let asked = cost_within(&session.client, &statement.query).await;
        let (cost, looked_up_types) = asked.map_err(Stopped::Failed)?;
        session.looked_up_types |= looked_up_types;
        Ok(cost)
    }

    async fn give_up(self, failure: Stopped) -> SourceError {
        let tidy = self.tidy();
        match failure {
            Stopped::Failed(failure) => give_up(self.lease, &failure, tidy, true),
            Stopped::Broken(broken, max_bytes) => break_off(self.lease, broken, tidy, true, max_bytes).await,
            Stopped::Over(refused) => {
                self.lease.give_back(tidy);
                refused
            }
            Stopped::Running(refused) => {
                self.lease.stop().await;
                refused
            }
        }
    }

    async fn stop(self) {
        self.lease.stop().await;
    }

    async fn commit(mut self) -> Result<(), SourceError> {
        if !self.lease.session()?.watch.is_in_transaction() {
            // COMMIT would answer as if all were well.
            self.lease.stop().await;
            return Err(SourceError::Lost);
        }
        self.end("COMMIT").await
    }

    async fn roll_back(self) -> Result<(), SourceError> {
        self.end("ROLLBACK").await
    }
}
