//! A transaction of several fenced statements on one open file.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::outlet::Outlet;
use super::run::{Done, Stops, Work};
use super::{failure, fence};
use crate::transaction::{Session, Statement};
use crate::{EngineLimits, Isolation, ResultSet, SourceError};

/// A file with a transaction open. What it does, it does on the thread that polls it.
pub(super) struct Together {
    connection: Connection,
    limits: Arc<EngineLimits>,
    stops: Stops,
}

impl Together {
    pub(super) fn begin(
        path: &Path,
        isolation: Isolation,
        limits: Arc<EngineLimits>,
        stops: Stops,
    ) -> Result<Self, SourceError> {
        let read_only = isolation == Isolation::ReadOnly;
        let walls = fence::Walls { read_only, ..fence::Walls::default() };
        let connection = fence::open_walled(path, walls, &limits, &stops)?;
        // The right to write at once: one that is had later can be refused for what another wrote meanwhile.
        let begin = if read_only { "BEGIN" } else { "BEGIN IMMEDIATE" };
        connection.execute_batch(begin).map_err(|error| failure::of_fenced(&error, &stops, &limits))?;
        Ok(Self { connection, limits, stops })
    }

    fn end(mut self, word: &str) -> Result<(), SourceError> {
        // What is not ended here is rolled back as the file is closed.
        let done = fence::hold(&mut self.connection, None, None, &self.stops)
            .and_then(|()| self.connection.execute_batch(word));
        done.map_err(|error| failure::of_fenced(&error, &self.stops, &self.limits))
    }
}

impl Session for Together {
    type Failure = SourceError;

    async fn run(&mut self, statement: &Statement) -> Result<ResultSet, SourceError> {
        let Statement { query, options } = statement;
        let stops = self.stops.within(options.timeout);
        // INVARIANT: each statement meets its own fence, not that of the one before. tests/engine/transactions.rs holds it.
        fence::hold(&mut self.connection, None, query.fence(), &stops)
            .map_err(|error| failure::of_fenced(&error, &stops, &self.limits))?;
        let work = Work { query, options, limits: &self.limits, stops: &stops };
        let mut outlet = Outlet::gathering();
        let Done { affected, omitted, held } = work.perform(&self.connection, &mut outlet)?;
        for batch in held {
            outlet.send(batch, &stops)?;
        }
        let (columns, rows) = match outlet {
            Outlet::Gathered { columns, rows } => (columns, rows),
            Outlet::Streamed { .. } => (Vec::new(), Vec::new()),
        };
        Ok(ResultSet { columns, rows, more_rows: omitted, affected })
    }

    async fn cost(&mut self, _: &Statement) -> Result<Option<f64>, SourceError> {
        Ok(None)
    }

    async fn give_up(self, failure: SourceError) -> SourceError {
        failure
    }

    async fn stop(self) {}

    async fn commit(self) -> Result<(), SourceError> {
        self.end("COMMIT")
    }

    async fn roll_back(self) -> Result<(), SourceError> {
        self.end("ROLLBACK")
    }
}
