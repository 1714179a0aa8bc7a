//! Where a statement's columns and rows go.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::result::{Piece, Row};
use crate::{ResultColumn, SourceError};

pub(super) type Columns = Result<Arc<[ResultColumn]>, SourceError>;

pub(super) enum Outlet {
    /// To somebody who reads them as they come.
    Streamed { columns: Option<oneshot::Sender<Columns>>, sender: mpsc::Sender<Piece> },
    /// Kept until the statement ended.
    Gathered(Vec<Row>),
}

impl Outlet {
    /// Once, before the first row.
    pub(super) fn tell(&mut self, told: &Arc<[ResultColumn]>) {
        if let Self::Streamed { columns, .. } = self
            && let Some(columns) = columns.take()
        {
            drop(columns.send(Ok(Arc::clone(told))));
        }
    }

    /// Waits until there is room. `false`: nobody wants rows any more.
    pub(super) async fn send(&mut self, batch: Vec<Row>) -> bool {
        match self {
            Self::Gathered(rows) => {
                rows.extend(batch);
                true
            }
            Self::Streamed { .. } if batch.is_empty() => true,
            Self::Streamed { sender, .. } => sender.send(Piece::Rows(batch)).await.is_ok(),
        }
    }

    /// Whether a read may be stopped when enough of it was seen.
    pub(super) fn may_stop(&self) -> bool {
        matches!(self, Self::Streamed { .. })
    }

    /// Says how it ended.
    pub(super) async fn finish(self, last: Piece) {
        let Self::Streamed { columns, sender } = self else { return };
        match (columns, last) {
            (Some(columns), Piece::Failed(error)) => drop(columns.send(Err(error))),
            // Full as the channel is, this waits for the one who asks for rows; nothing runs meanwhile.
            (_, last) => drop(sender.send(last).await),
        }
    }
}
