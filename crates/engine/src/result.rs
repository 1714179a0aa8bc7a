//! Results: columns, then rows, streamed or gathered.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

use crate::SourceError;
use crate::sources::postgres::Running;
use crate::value::Value;
use crate::watchdog::Watchdog;
use crate::written::Writing;

/// A row's values in the order of the columns.
pub type Row = Vec<Value>;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    /// As the database names it; names may repeat.
    pub name: String,
    /// The type's name in the database (`int8`, `text`).
    pub type_name: String,
}

/// Longer names and more columns come from nobody who means well, and an answer may repeat the names in every row.
const LONGEST_NAME: usize = 1024;
const MOST_COLUMNS: usize = 2_000;

/// `most`: how many the run allows.
pub fn check_columns(columns: &[ResultColumn], most: Option<u32>) -> Result<(), SourceError> {
    let too_wide =
        columns.len() > MOST_COLUMNS || columns.iter().any(|column| column.name.len() > LONGEST_NAME);
    if too_wide {
        return Err(SourceError::TooWide { columns: MOST_COLUMNS, name_bytes: LONGEST_NAME });
    }
    match most {
        Some(limit) if columns.len() as u64 > u64::from(limit) => Err(SourceError::TooManyColumns { limit }),
        Some(_) | None => Ok(()),
    }
}

/// A gathered result.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ResultSet {
    pub columns: Vec<ResultColumn>,
    pub rows: Vec<Vec<Value>>,
    /// How many rows were left out: 0 when all came; a lower bound when the statement was stopped early.
    pub more_rows: u64,
    /// Rows changed by a statement that changes rows.
    pub affected: Option<u64>,
}

impl ResultSet {
    /// What it takes in memory, in bytes.
    pub fn bytes(&self) -> u64 {
        let columns = self
            .columns
            .iter()
            .map(|column| size_of::<ResultColumn>() + column.name.capacity() + column.type_name.capacity());
        let rows = self.rows.iter().map(|row| {
            let room = (row.capacity() - row.len()) * size_of::<Value>();
            (size_of::<Row>() + room) as u64 + row.iter().map(Value::bytes).sum::<u64>()
        });
        columns.sum::<usize>() as u64 + rows.sum::<u64>()
    }
}

/// A result under way.
pub struct RowStream {
    columns: Arc<[ResultColumn]>,
    rows: Rows,
    omitted: u64,
    affected: Option<u64>,
    /// Until the statement has ended, if it may change something.
    writing: Option<Writing>,
}

enum Rows {
    /// Read by whoever asks for rows: for results that end with their first rows, as most do.
    Direct(Box<Running>, TaskTracker),
    /// Read by a task of its own, which keeps to the time limit also when nobody asks for rows.
    Pumped(mpsc::Receiver<Piece>),
    /// Read by a blocking thread.
    Threaded(Box<Threaded>),
    Ended,
}

/// What the reader of a result tells.
pub(crate) enum Piece {
    Rows(Vec<Row>),
    End { affected: Option<u64>, omitted: u64 },
    Failed(SourceError),
}

/// A result that a blocking thread reads.
pub(crate) struct Threaded {
    pub(crate) pieces: mpsc::Receiver<Piece>,
    pub(crate) watchdog: Watchdog,
    /// Dropped, it tells the thread to stop.
    pub(crate) halt: Option<DropGuard>,
}

/// How many batches may wait for the one who asks for rows: back-pressure reaches the database beyond that.
pub(crate) const BATCHES_AHEAD: usize = 2;

/// How long a blocking thread has to stop before it is left to itself.
const HALT_LIMIT: std::time::Duration = std::time::Duration::from_millis(500);

impl RowStream {
    pub(crate) fn direct(running: Running, tasks: TaskTracker) -> Self {
        Self::of(Arc::clone(running.columns()), Rows::Direct(Box::new(running), tasks))
    }

    pub(crate) fn threaded(columns: Arc<[ResultColumn]>, threaded: Threaded) -> Self {
        Self::of(columns, Rows::Threaded(Box::new(threaded)))
    }

    fn of(columns: Arc<[ResultColumn]>, rows: Rows) -> Self {
        Self { columns, rows, omitted: 0, affected: None, writing: None }
    }

    /// The same of a statement that may change something.
    pub(crate) fn writing(self, writing: Option<Writing>) -> Self {
        Self { writing, ..self }
    }

    /// The columns; empty for a statement without a result.
    pub fn columns(&self) -> &[ResultColumn] {
        &self.columns
    }

    /// The next rows (at least one), or `None` at the end. Errors end the stream.
    pub async fn next(&mut self) -> Result<Option<Vec<Vec<Value>>>, SourceError> {
        let piece = match &mut self.rows {
            Rows::Ended => return Ok(None),
            Rows::Direct(running, _) => read(running).await,
            Rows::Pumped(pieces) => pieces.recv().await.unwrap_or(Piece::Failed(SourceError::Lost)),
            Rows::Threaded(threaded) => threaded.next().await,
        };
        match piece {
            Piece::Rows(rows) => {
                self.pump();
                Ok(Some(rows))
            }
            Piece::End { affected, omitted } => {
                (self.rows, self.affected, self.omitted) = (Rows::Ended, affected, omitted);
                if let Some(writing) = self.writing.take() {
                    writing.end();
                }
                Ok(None)
            }
            Piece::Failed(error) => {
                self.rows = Rows::Ended;
                self.writing = None;
                Err(error)
            }
        }
    }

    /// Rows changed, known at the end.
    pub fn affected(&self) -> Option<u64> {
        self.affected
    }

    pub(crate) fn omitted(&self) -> u64 {
        self.omitted
    }

    /// Hands a result that goes on to a task of its own.
    fn pump(&mut self) {
        let (running, tasks) = match std::mem::replace(&mut self.rows, Rows::Ended) {
            Rows::Direct(running, tasks) if !running.is_finished() => (running, tasks),
            other => {
                self.rows = other;
                return;
            }
        };
        let (sender, pieces) = mpsc::channel(BATCHES_AHEAD);
        tasks.spawn(pump(running, sender));
        self.rows = Rows::Pumped(pieces);
    }
}

/// The next rows of a result, or how it ended.
async fn read(running: &mut Running) -> Piece {
    loop {
        match running.next_batch().await {
            Ok(Some(rows)) if rows.is_empty() => {}
            Ok(Some(rows)) => return Piece::Rows(rows),
            Ok(None) => {
                return Piece::End { affected: running.affected(), omitted: running.omitted() };
            }
            Err(error) => return Piece::Failed(error),
        }
    }
}

/// Ends when the result does, or when the receiver is gone: dropping `running` stops the statement.
async fn pump(mut running: Box<Running>, sender: mpsc::Sender<Piece>) {
    loop {
        let piece = tokio::select! {
            biased;
            () = sender.closed() => return,
            piece = read(&mut running) => piece,
        };
        let last = !matches!(piece, Piece::Rows(_));
        let sent = tokio::select! {
            biased;
            sent = sender.send(piece) => sent.is_ok(),
            stop = running.stopped() => {
                running.stop().await;
                // Full as the channel is, this waits for the one who asks for rows; nothing runs meanwhile.
                let _ = sender.send(Piece::Failed(stop)).await;
                false
            }
        };
        if last || !sent {
            return;
        }
    }
}

impl Threaded {
    async fn next(&mut self) -> Piece {
        match self.watchdog.guard(self.pieces.recv()).await {
            Ok(piece) => piece.unwrap_or(Piece::Failed(SourceError::Lost)),
            Err(stop) => {
                drop(self.halt.take());
                let ending = async { while self.pieces.recv().await.is_some() {} };
                if tokio::time::timeout(HALT_LIMIT, ending).await.is_err() {
                    tracing::warn!("a thread that reads a file did not stop in time");
                }
                Piece::Failed(stop)
            }
        }
    }
}
