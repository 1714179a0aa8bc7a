//! A source that runs inside this process. It is linked only where it is wanted, so that a build without it is ready in
//! minutes: whoever makes the engine hands it in.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use ringfence_guard::GuardedQuery;
use ringfence_policy::{Catalog, ConnectionKind};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::result::{Piece, Row, Threaded};
use crate::watchdog::Watchdog;
use crate::{Engine, ResultColumn, RowStream, RunOptions, SourceAddress, SourceError, fenced};

/// What a lake does for the engine, which keeps its time limits and stops it.
pub trait EmbeddedSource: Send + Sync + 'static {
    /// Whether there is a lake at the address.
    fn probe<'a>(&'a self, address: &'a SourceAddress) -> BoxFuture<'a, Result<(), SourceError>>;

    /// The tables, their columns and sizes.
    fn introspect<'a>(&'a self, address: &'a SourceAddress) -> BoxFuture<'a, Result<Catalog, SourceError>>;

    /// Begins a query; its rows come through `feed`, whose dropping stops it.
    fn start<'a>(
        &'a self,
        address: &'a SourceAddress,
        query: &'a GuardedQuery,
        options: &'a RunOptions,
    ) -> BoxFuture<'a, Result<EmbeddedRows, SourceError>>;

    /// The relations that the query reads, as (schema, relation), each once; nothing is executed.
    fn explain<'a>(
        &'a self,
        address: &'a SourceAddress,
        query: &'a GuardedQuery,
    ) -> BoxFuture<'a, Result<Vec<(String, String)>, SourceError>>;

    /// What the address physically is.
    fn place(&self, address: &SourceAddress) -> Result<String, SourceError>;

    /// Takes rows into a table: all of them, or none.
    fn load<'a>(
        &'a self,
        address: &'a SourceAddress,
        load: TableLoad,
        body: BoxStream<'static, Result<Bytes, SourceError>>,
    ) -> BoxFuture<'a, Result<LoadedTable, SourceError>>;

    /// Removes a table that was loaded.
    fn remove<'a>(
        &'a self,
        address: &'a SourceAddress,
        table: &'a str,
    ) -> BoxFuture<'a, Result<(), SourceError>>;
}

/// A query's rows as they come.
pub struct EmbeddedRows {
    /// Of the result, before anything is read.
    pub columns: Arc<[ResultColumn]>,
    /// What was read.
    pub pieces: mpsc::Receiver<EmbeddedPiece>,
    /// Dropped, it stops the query.
    pub halt: DropGuard,
}

/// What an embedded source tells about a result.
pub enum EmbeddedPiece {
    /// At least one row.
    Rows(Vec<Row>),
    /// There are no more; so many were left out.
    End {
        /// 0 when all came.
        omitted: u64,
    },
    /// It can't go on.
    Failed(SourceError),
}

/// Rows for a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableLoad {
    /// The table's name.
    pub table: String,
    /// How the rows are written.
    pub format: LoadFormat,
    /// What becomes of the rows that are there.
    pub mode: LoadMode,
    /// Columns whose values together no two rows share; none of them is null.
    pub keys: Vec<String>,
    /// Types of columns, by name; those of the others follow from the rows.
    pub types: Vec<(String, String)>,
    /// The most bytes that the body may have.
    pub max_bytes: u64,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadFormat {
    /// With a line of names first.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow's IPC stream.
    Arrow,
}

/// What becomes of the rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadMode {
    /// The new ones take their place.
    Replace,
    /// They stay.
    Append,
}

/// A table after its load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedTable {
    /// The table's name.
    pub table: String,
    /// Rows that came with this load.
    pub loaded: u64,
    /// Rows that it has now.
    pub rows: u64,
    /// Names and types of its columns.
    pub columns: Vec<(String, String)>,
    /// Counts the table's loads.
    pub version: u64,
}

impl Engine {
    pub(crate) fn embedded(&self) -> Result<&Arc<dyn EmbeddedSource>, SourceError> {
        self.shared.embedded.as_ref().ok_or(SourceError::NotBuilt)
    }

    /// Starts a query in the embedded source, under its limits.
    pub(crate) async fn start_embedded(
        &self,
        address: &SourceAddress,
        query: &GuardedQuery,
        options: &RunOptions,
        cancel: CancellationToken,
    ) -> Result<RowStream, SourceError> {
        let options = &*fenced::options(query, options)?;
        refuse_options(options)?;
        let mut watchdog = Watchdog::new(options.timeout, cancel, self.shared.closing.clone());
        let starting = self.embedded()?.start(address, query, options);
        let EmbeddedRows { columns, pieces, halt } = watchdog.guard(starting).await??;
        let (sender, relayed) = mpsc::channel(1);
        self.shared.tasks.spawn(relay(pieces, sender));
        Ok(RowStream::threaded(columns, Threaded { pieces: relayed, watchdog, halt: Some(halt) }))
    }

    /// Takes rows into a table of a lake: all of them, or none.
    pub async fn load(
        &self,
        address: &SourceAddress,
        load: TableLoad,
        body: BoxStream<'static, Result<Bytes, SourceError>>,
    ) -> Result<LoadedTable, SourceError> {
        lakes_only(address)?;
        let writing = self.writing_at(address);
        let loaded = self.embedded()?.load(address, load, body).await?;
        writing.end();
        Ok(loaded)
    }

    /// Removes a table of a lake that was loaded.
    pub async fn remove_table(&self, address: &SourceAddress, table: &str) -> Result<(), SourceError> {
        lakes_only(address)?;
        let writing = self.writing_at(address);
        self.embedded()?.remove(address, table).await?;
        writing.end();
        Ok(())
    }
}

fn lakes_only(address: &SourceAddress) -> Result<(), SourceError> {
    if address.kind == ConnectionKind::Lake {
        return Ok(());
    }
    Err(SourceError::Option("tables are loaded into connections of the kind `lake` only".to_owned()))
}

async fn relay(mut pieces: mpsc::Receiver<EmbeddedPiece>, sender: mpsc::Sender<Piece>) {
    while let Some(piece) = pieces.recv().await {
        let piece = match piece {
            EmbeddedPiece::Rows(rows) => Piece::Rows(rows),
            EmbeddedPiece::End { omitted } => Piece::End { affected: None, omitted },
            EmbeddedPiece::Failed(error) => Piece::Failed(error),
        };
        if sender.send(piece).await.is_err() {
            return;
        }
    }
}

/// A lake has one schema that statements can name, and no settings.
pub(crate) fn refuse_options(options: &RunOptions) -> Result<(), SourceError> {
    if options.current_schema.as_deref().is_some_and(|schema| !schema.eq_ignore_ascii_case("public")) {
        return Err(SourceError::Option("a lake has one schema: public".to_owned()));
    }
    if !options.session_parameters.is_empty() {
        return Err(SourceError::Option("a lake has no session parameters".to_owned()));
    }
    Ok(())
}
