//! Connections of the kind `lake`: a directory of files, run by Apache DataFusion inside this process.
//!
//! Reading order: `session` is what all queries share, `files` and `tables` are the two kinds of tables (files that somebody
//! put there, and what was loaded), `snapshot` what one query sees of both, `barrier` the wall that a fence ends in, `run` one
//! statement, and `load` how rows come in. Nothing here knows users or policies: what runs is a
//! [`ringfence_guard::GuardedQuery`], as in every source.
//!
//! It is a crate of its own, behind the cargo feature `lake` of the server, because DataFusion takes long to build
//! (`docs/decisions/0019-the-lake.md`).

mod barrier;
mod columns;
mod constants;
mod failure;
mod files;
mod load;
mod run;
mod session;
mod snapshot;
mod tables;
mod value;
mod yielding;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::execution::session_state::SessionState;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use ringfence_engine::directories::find;
use ringfence_engine::{
    EmbeddedRows, EmbeddedSource, LoadedTable, RunOptions, SourceAddress, SourceError, TableLoad,
};
use ringfence_guard::GuardedQuery;
use ringfence_policy::{Catalog, Column, Constraint, Relation, Schema};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use session::LakeSettings;

use load::Keys;
use snapshot::{Shapes, Snapshot};
use tables::Tables;

/// Tables of files whose columns are remembered.
const REMEMBERED_SHAPES: NonZeroUsize = NonZeroUsize::new(1_000).expect("more than none");
/// For plans as deep as the longest statement makes them (`run`). It is reserved, not used, until one is.
const STACK_BYTES: usize = 256 * 1024 * 1024;
/// Messages that may wait for who reads a result.
const AHEAD: usize = 2;

/// The lakes of a process.
pub struct Lake {
    directories: Vec<PathBuf>,
    base: SessionState,
    shapes: Arc<Shapes>,
    /// Threads of our own: what computes must not keep those waiting that answer requests.
    runtime: Option<Runtime>,
}

impl Lake {
    /// Starts the threads.
    pub fn new(settings: &LakeSettings) -> Result<Self, String> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(settings.threads.max(1))
            .thread_name("lake")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| format!("the lake's threads can't be started: {error}"))?;
        let base = session::base(settings).map_err(|error| format!("the lake can't be set up: {error}"))?;
        let shapes = Arc::new(Mutex::new(lru::LruCache::new(REMEMBERED_SHAPES)));
        Ok(Self { directories: settings.directories.clone(), base, shapes, runtime: Some(runtime) })
    }

    fn runtime(&self) -> Result<&Runtime, SourceError> {
        self.runtime.as_ref().ok_or(SourceError::Lost)
    }

    /// The directory that the address means.
    //
    // INVARIANT: it is inside one that the organization may open. Held by `a_lake_is_inside_its_directories`.
    fn directory(&self, address: &SourceAddress) -> Result<PathBuf, SourceError> {
        find(&address.database, &address.pool_scope, &self.directories, Path::is_dir).ok_or_else(|| {
            SourceError::FileNotAllowed(
                "there is no such directory among those that this gateway may open as a lake: ask its operator"
                    .to_owned(),
            )
        })
    }

    fn snapshot(&self, address: &SourceAddress) -> Result<Arc<Snapshot>, SourceError> {
        let lake = self.directory(address)?;
        let runtime = self.runtime()?.handle().clone();
        Ok(Snapshot::new(lake, self.base.clone(), Arc::clone(&self.shapes), runtime))
    }

    /// Runs work on the lake's threads; it stops when nobody waits for it any more.
    async fn on_threads<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, SourceError>> + Send + 'static,
    ) -> Result<T, SourceError> {
        let mut running = tokio::task::JoinSet::new();
        running.spawn_on(work, self.runtime()?.handle());
        running.join_next().await.and_then(Result::ok).ok_or(SourceError::Lost)?
    }
}

impl Drop for Lake {
    fn drop(&mut self) {
        // Waiting for them is not allowed where this may be dropped.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl EmbeddedSource for Lake {
    fn probe<'a>(&'a self, address: &'a SourceAddress) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let snapshot = self.snapshot(address)?;
            self.on_threads(async move { names(snapshot).await.map(drop) }).await
        })
    }

    fn introspect<'a>(&'a self, address: &'a SourceAddress) -> BoxFuture<'a, Result<Catalog, SourceError>> {
        Box::pin(async move {
            let lake = self.directory(address)?;
            let snapshot = self.snapshot(address)?;
            self.on_threads(introspect(lake, snapshot)).await
        })
    }

    fn start<'a>(
        &'a self,
        address: &'a SourceAddress,
        query: &'a GuardedQuery,
        options: &'a RunOptions,
    ) -> BoxFuture<'a, Result<EmbeddedRows, SourceError>> {
        Box::pin(async move {
            let snapshot = self.snapshot(address)?;
            let (query, options) = (query.clone(), options.clone());
            let planned = self.on_threads(async move { run::plan(snapshot, &query).await }).await?;
            let columns = planned.columns(&options)?;
            let (outlet, pieces) = mpsc::channel(AHEAD);
            let halt = CancellationToken::new();
            let halted = halt.clone();
            self.runtime()?.spawn(async move {
                tokio::select! {
                    biased;
                    () = halted.cancelled() => {}
                    () = planned.run(options, outlet) => {}
                }
            });
            Ok(EmbeddedRows { columns, pieces, halt: halt.drop_guard() })
        })
    }

    fn explain<'a>(
        &'a self,
        address: &'a SourceAddress,
        query: &'a GuardedQuery,
    ) -> BoxFuture<'a, Result<Vec<(String, String)>, SourceError>> {
        Box::pin(async move {
            let snapshot = self.snapshot(address)?;
            let query = query.clone();
            self.on_threads(async move { run::plan(snapshot, &query).await?.relations() }).await
        })
    }

    fn place(&self, address: &SourceAddress) -> Result<String, SourceError> {
        Ok(format!("lake://{}", self.directory(address)?.display()))
    }

    fn load<'a>(
        &'a self,
        address: &'a SourceAddress,
        load: TableLoad,
        body: BoxStream<'static, Result<Bytes, SourceError>>,
    ) -> BoxFuture<'a, Result<LoadedTable, SourceError>> {
        Box::pin(async move {
            let lake = self.directory(address)?;
            let keys = Keys::new(self.base.clone());
            self.on_threads(async move { load::load(&lake, load, body, &keys).await }).await
        })
    }

    fn remove<'a>(
        &'a self,
        address: &'a SourceAddress,
        table: &'a str,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let (lake, table) = (self.directory(address)?, table.to_owned());
            self.on_threads(async move {
                let removing = move || match Tables::of(&lake).remove(&table) {
                    Ok(true) => Ok(()),
                    Ok(false) => {
                        Err(SourceError::NoTable("there is no loaded table of that name".to_owned()))
                    }
                    Err(error) => Err(failure::of_io(&error)),
                };
                tokio::task::spawn_blocking(removing).await.map_err(|_| SourceError::Lost)?
            })
            .await
        })
    }
}

async fn names(snapshot: Arc<Snapshot>) -> Result<Vec<String>, SourceError> {
    let looking = tokio::task::spawn_blocking(move || snapshot.names());
    looking.await.map_err(|_| SourceError::Lost)?.map_err(|error| failure::of_io(&error))
}

/// The tables, in order of name. A file that can't be read is no table, which its owner finds in the log.
async fn introspect(lake: PathBuf, snapshot: Arc<Snapshot>) -> Result<Catalog, SourceError> {
    let mut relations = Vec::new();
    for name in names(Arc::clone(&snapshot)).await? {
        match snapshot.describe(&name).await {
            Ok(Some((schema, keys))) => {
                let column = |field: &Arc<datafusion::arrow::datatypes::Field>| Column {
                    name: field.name().clone(),
                    data_type: columns::sql_type(field.data_type()),
                    nullable: !keys.contains(field.name()),
                    ..Column::default()
                };
                let columns = schema.fields().iter().map(column).collect();
                let constraints = if keys.is_empty() {
                    Vec::new()
                } else {
                    vec![Constraint::Primary { columns: keys.clone() }]
                };
                relations.push(Relation { name, columns, constraints, ..Relation::default() });
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(lake.table = name, %error, "a table of a lake can't be read"),
        }
    }
    let database = lake.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let schema = Schema { name: session::SCHEMA.to_owned(), relations };
    Ok(Catalog { database, schemas: vec![schema] })
}
