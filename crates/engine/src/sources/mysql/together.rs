//! A transaction of several fenced statements on one leased session.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use ringfence_guard::GuardedQuery;
use tokio_util::sync::CancellationToken;

use super::connect::Purpose;
use super::failure;
use super::outlet::Outlet;
use super::pool::{Lease, Pools};
use super::run::{Done, Failure, Work, give_up, prepared};
use crate::transaction::{Session, Statement};
use crate::watchdog::Watchdog;
use crate::{EngineLimits, Isolation, ResultSet, RunOptions, SourceAddress, SourceError};

/// A session with a transaction in it.
pub(super) struct Together {
    lease: Lease,
    limits: Arc<EngineLimits>,
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
        let mut lease = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(SourceError::Cancelled),
            () = closing.cancelled() => return Err(SourceError::Cancelled),
            lease = pools.lease(address, Purpose::Fenced) => lease?,
        };
        let mut whole = Watchdog::new(options.timeout, cancel, closing);
        let conn = lease.conn()?;
        let beginning = async {
            // Of the next transaction. Less would not do where the log of changes holds statements.
            conn.query_drop("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
            match isolation {
                Isolation::ReadOnly => {
                    conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await
                }
                Isolation::ReadCommitted | Isolation::RepeatableRead => {
                    conn.query_drop("START TRANSACTION").await
                }
            }
        };
        match whole.guard(beginning).await {
            Ok(Ok(())) => Ok((Self { lease, limits: Arc::clone(&pools.connector.limits) }, whole)),
            Ok(Err(error)) => {
                lease.close();
                Err(failure::of_statement(&error, &pools.connector.limits))
            }
            Err(stop) => {
                lease.stop().await;
                Err(stop)
            }
        }
    }

    async fn end(mut self, word: &str) -> Result<(), SourceError> {
        match self.lease.conn()?.query_drop(word).await {
            Ok(()) => {
                self.lease.give_back();
                Ok(())
            }
            Err(error) => {
                self.lease.close();
                Err(failure::of_fenced(&error, &ringfence_guard::Fence::default(), &self.limits))
            }
        }
    }
}

impl Session for Together {
    /// With the query that failed, whose fence says what its errors mean.
    type Failure = (Failure, GuardedQuery);

    async fn run(&mut self, statement: &Statement) -> Result<ResultSet, Self::Failure> {
        let Statement { query, options } = statement;
        let running = async {
            let conn = self.lease.conn().map_err(Failure::Refused)?;
            let prepared = prepared(conn, query, options).await?;
            let mut outlet = Outlet::Gathered(Vec::new());
            let done = Work { query, options }.perform(conn, &prepared, &mut outlet).await?;
            // A session keeps what it prepared until it is reset, and a transaction may have many statements.
            conn.close(prepared).await?;
            let Done { affected, omitted, held, shown, .. } = done;
            let mut rows = match outlet {
                Outlet::Gathered(rows) => rows,
                Outlet::Streamed { .. } => Vec::new(),
            };
            rows.extend(held.into_iter().flatten());
            Ok(ResultSet { columns: shown.to_vec(), rows, more_rows: omitted, affected })
        };
        running.await.map_err(|failure| (failure, query.clone()))
    }

    async fn cost(&mut self, _: &Statement) -> Result<Option<f64>, Self::Failure> {
        Ok(None)
    }

    async fn give_up(self, (failure, query): Self::Failure) -> SourceError {
        give_up(self.lease, failure, &query, &self.limits).await
    }

    async fn stop(self) {
        self.lease.stop().await;
    }

    async fn commit(self) -> Result<(), SourceError> {
        self.end("COMMIT").await
    }

    async fn roll_back(self) -> Result<(), SourceError> {
        self.end("ROLLBACK").await
    }
}
