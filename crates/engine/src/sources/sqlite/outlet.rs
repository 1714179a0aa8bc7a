//! Where a statement's columns and rows go.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::run::Stops;
use crate::result::{Piece, Row};
use crate::{ResultColumn, SourceError};

pub(super) type Columns = Result<Arc<[ResultColumn]>, SourceError>;

pub(super) enum Outlet {
    /// To somebody who reads them as they come.
    Streamed { columns: Option<oneshot::Sender<Columns>>, sender: mpsc::Sender<Piece>, runtime: Handle },
    /// Kept until the statement ended.
    Gathered { columns: Vec<ResultColumn>, rows: Vec<Row> },
}

impl Outlet {
    pub(super) fn gathering() -> Self {
        Self::Gathered { columns: Vec::new(), rows: Vec::new() }
    }

    /// Once, before the first row.
    pub(super) fn tell(&mut self, told: Vec<ResultColumn>) {
        match self {
            Self::Streamed { columns, .. } => {
                if let Some(columns) = columns.take() {
                    drop(columns.send(Ok(told.into())));
                }
            }
            Self::Gathered { columns, .. } => *columns = told,
        }
    }

    /// Waits until there is room, or the run must end.
    pub(super) fn send(&mut self, batch: Vec<Row>, stops: &Stops) -> Result<(), SourceError> {
        match self {
            Self::Gathered { rows, .. } => {
                rows.extend(batch);
                Ok(())
            }
            Self::Streamed { sender, runtime, .. } => push(sender, runtime, Piece::Rows(batch), stops),
        }
    }

    /// Says how it ended.
    pub(super) fn finish(self, last: Piece, stops: &Stops) {
        let Self::Streamed { columns, sender, runtime } = self else { return };
        match (columns, last) {
            (Some(columns), Piece::Failed(error)) => drop(columns.send(Err(error))),
            (_, last) => drop(push(&sender, &runtime, last, stops)),
        }
    }
}

fn push(
    sender: &mpsc::Sender<Piece>,
    runtime: &Handle,
    piece: Piece,
    stops: &Stops,
) -> Result<(), SourceError> {
    let piece = match sender.try_send(piece) {
        Ok(()) => return Ok(()),
        Err(mpsc::error::TrySendError::Closed(_)) => return Err(SourceError::Cancelled),
        Err(mpsc::error::TrySendError::Full(piece)) => piece,
    };
    runtime.block_on(async {
        tokio::select! {
            sent = sender.send(piece) => sent.map_err(|_| SourceError::Cancelled),
            stop = stops.wait() => Err(stop),
        }
    })
}
