//! The rows of one statement, read under its limits and checks, whoever has the session.

use std::sync::Arc;

use ringfence_guard::GuardedQuery;

use super::form::Form;
use super::launch::Launched;
use super::prepared::Shape;
use super::rows::{Batch, Broken, Budget, Rows, poll_batch};
use crate::fenced::Checked;
use crate::result::{ResultColumn, Row, check_columns};
use crate::{RunOptions, SourceError};

/// A statement's rows on their way.
pub(super) struct Reading {
    rows: Rows,
    columns: Arc<[ResultColumn]>,
    forms: Arc<[Form]>,
    /// What may still undo the statement.
    checked: Option<Checked>,
    /// Whether it has a result at all.
    has_rows: bool,
    /// How many more rows are wanted; those after them are counted only.
    wanted: u64,
    omitted: u64,
    bytes_left: u64,
    max_bytes: u64,
    /// Bytes of all column names: an answer may repeat them in every row.
    names: u64,
}

impl Reading {
    /// An error leaves the statement running.
    pub(super) fn of(
        launched: Launched,
        query: &GuardedQuery,
        options: &RunOptions,
    ) -> Result<Self, SourceError> {
        let Launched { rows, shape: Shape { columns, forms, .. } } = launched;
        let checked = Checked::of(query);
        let has_rows = !columns.is_empty();
        let columns = match &checked {
            None => columns,
            Some(checked) => checked.shown(columns.to_vec())?.into(),
        };
        check_columns(&columns, options.max_columns)?;
        Ok(Self {
            rows,
            names: columns.iter().map(|column| column.name.len() as u64).sum(),
            columns,
            forms,
            wanted: checked.as_ref().map_or(u64::MAX, |checked| checked.wanted(u64::MAX)),
            checked,
            has_rows,
            omitted: 0,
            bytes_left: options.max_bytes,
            max_bytes: options.max_bytes,
        })
    }

    pub(super) fn columns(&self) -> &Arc<[ResultColumn]> {
        &self.columns
    }

    /// Decodes no more than that many rows; the rest is counted.
    pub(super) fn want_at_most(&mut self, rows: u64) {
        self.wanted = self.checked.as_ref().map_or(rows, |checked| checked.wanted(rows));
    }

    pub(super) fn omitted(&self) -> u64 {
        // Rows that only the guard asked for are not missed.
        if self.columns.is_empty() { 0 } else { self.omitted }
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Whether rows must wait until the database has kept them all.
    pub(super) fn is_checked(&self) -> bool {
        self.checked.is_some()
    }

    /// The next rows, none when those that came are only counted; and whether they were the last.
    pub(super) async fn fill(&mut self) -> Result<(Vec<Row>, bool), Broken> {
        let mut batch = Batch::default();
        let Self { rows, forms, names, wanted, omitted, bytes_left, checked, .. } = self;
        let has_ended = std::future::poll_fn(|cx| {
            let (names, checked) = (*names, checked.as_mut());
            poll_batch(rows, forms, &mut batch, Budget { wanted, omitted, bytes_left, names, checked }, cx)
        });
        let has_ended = has_ended.await?;
        Ok((batch.rows, has_ended))
    }

    /// Whether the rows so far are too many.
    pub(super) fn refuse_excess(&self) -> Result<(), SourceError> {
        self.checked.as_ref().map_or(Ok(()), Checked::refuse_excess)
    }

    /// Rows changed, as the database tells when all was read.
    pub(super) fn told(&self) -> Option<u64> {
        self.rows.affected()
    }

    /// The rows changed, if they may stay; `None` for a statement that nothing undoes.
    pub(super) fn settle(&self) -> Result<Option<u64>, SourceError> {
        self.checked.as_ref().map(|checked| checked.settle(self.has_rows, self.told())).transpose()
    }
}
