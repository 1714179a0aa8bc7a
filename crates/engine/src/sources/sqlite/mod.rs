//! SQLite files. Each call opens the file anew, on a thread for blocking work: so nothing carries over.
//!
//! Reading order: `place` decides which file, `fence` what statements may do to it (within `bounds` that the guard says), `run` runs one (`together`
//! several in a transaction) and hands its rows to an `outlet`, `introspect` reads
//! the catalog.

mod bounds;
mod failure;
mod fence;
mod introspect;
mod outlet;
mod place;
mod run;
mod together;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use ringfence_guard::GuardedQuery;
use ringfence_policy::Catalog;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::capacity::{Capacity, Slot};
use crate::fenced;
use crate::result::{BATCHES_AHEAD, Threaded};
use crate::transaction::drive;
use crate::watchdog::Watchdog;
use crate::{EngineLimits, Isolation, RowStream, RunOptions, SourceAddress, SourceError, SourceTransaction};

use outlet::Outlet;
use run::{Job, Stops};
use together::Together;

/// Work of our own on a file (probing, introspection) takes no longer.
const OWN_LIMIT: Duration = Duration::from_mins(1);

/// All SQLite sources.
pub(crate) struct Sqlite {
    limits: Arc<EngineLimits>,
    capacity: Capacity,
    tasks: TaskTracker,
    closing: CancellationToken,
    /// How many threads may work on one file, by scope and name; gone when none does.
    files: Mutex<HashMap<(String, PathBuf), Weak<Semaphore>>>,
}

/// The right to work on a file.
struct Permit {
    _slot: Slot,
    _place: OwnedSemaphorePermit,
}

impl Sqlite {
    pub(crate) fn new(
        limits: Arc<EngineLimits>,
        capacity: Capacity,
        tasks: TaskTracker,
        closing: CancellationToken,
    ) -> Self {
        Self { limits, capacity, tasks, closing, files: Mutex::new(HashMap::new()) }
    }

    pub(crate) async fn probe(&self, address: &SourceAddress) -> Result<(), SourceError> {
        let limits = Arc::clone(&self.limits);
        self.blocking(address, move |path, stops| {
            let connection = fence::open(&path, &limits, &stops)?;
            // The header is read with the first page only.
            connection
                .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
                .map_err(|error| failure::of(&error, &stops, &limits))
        })
        .await
    }

    pub(crate) async fn introspect(
        &self,
        address: &SourceAddress,
        progress: &(dyn Fn(&str, usize, usize) + Send + Sync),
    ) -> Result<Catalog, SourceError> {
        let limits = Arc::clone(&self.limits);
        progress("main", 0, 0);
        let catalog =
            self.blocking(address, move |path, stops| introspect::introspect(&path, &limits, &stops)).await?;
        progress("main", catalog.relation_count(), catalog.relation_count());
        Ok(catalog)
    }

    /// SQLite says while it compiles a statement which tables it would touch; nothing is executed.
    pub(crate) async fn explain(
        &self,
        address: &SourceAddress,
        query: &GuardedQuery,
        options: &RunOptions,
    ) -> Result<Vec<(String, String)>, SourceError> {
        refuse_options(&*fenced::options(query, options)?)?;
        let (limits, query) = (Arc::clone(&self.limits), query.clone());
        self.blocking(address, move |path, stops| run::explain(&path, &query, &limits, &stops)).await
    }

    pub(crate) async fn start(
        &self,
        address: &SourceAddress,
        query: &GuardedQuery,
        options: &RunOptions,
        cancel: CancellationToken,
    ) -> Result<RowStream, SourceError> {
        let options = &*fenced::options(query, options)?;
        refuse_options(options)?;
        let permit = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(SourceError::Cancelled),
            permit = self.permit(address) => permit?,
        };
        let halt = CancellationToken::new();
        let (columns_sender, columns) = oneshot::channel();
        let (sender, pieces) = mpsc::channel(BATCHES_AHEAD);
        let job = Job {
            database: address.database.clone(),
            organization: address.pool_scope.clone(),
            limits: Arc::clone(&self.limits),
            query: query.clone(),
            options: options.clone(),
            stops: Stops::new(options.timeout, [halt.clone(), cancel.clone(), self.closing.clone()]),
        };
        let runtime = Handle::current();
        self.tasks.spawn_blocking(move || {
            job.run(Outlet::Streamed { columns: Some(columns_sender), sender, runtime });
            drop(permit);
        });
        let watchdog = Watchdog::new(options.timeout, cancel, self.closing.clone());
        let mut threaded = Threaded { pieces, watchdog, halt: Some(halt.drop_guard()) };
        match threaded.watchdog.guard(columns).await {
            Ok(Ok(columns)) => Ok(RowStream::threaded(columns?, threaded)),
            Ok(Err(_)) => Err(SourceError::Lost),
            Err(stop) => Err(stop),
        }
    }

    pub(crate) async fn begin(
        &self,
        address: &SourceAddress,
        options: &RunOptions,
        isolation: Isolation,
        cancel: CancellationToken,
    ) -> Result<SourceTransaction, SourceError> {
        refuse_options(&RunOptions { current_schema: None, ..options.clone() })?;
        let permit = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(SourceError::Cancelled),
            permit = self.permit(address) => permit?,
        };
        let (transaction, driven) = SourceTransaction::new(isolation, options, self.closing.clone());
        let whole = Watchdog::new(options.timeout, cancel.clone(), self.closing.clone());
        let stops = Stops::new(options.timeout, [driven.halt.clone(), cancel, self.closing.clone()]);
        let (limits, runtime) = (Arc::clone(&self.limits), Handle::current());
        let (database, organization) = (address.database.clone(), address.pool_scope.clone());
        let (begun_sender, begun) = oneshot::channel();
        self.tasks.spawn_blocking(move || {
            let opened = place::resolve(&database, &organization, &limits.sqlite_directories)
                .and_then(|path| Together::begin(&path, isolation, limits, stops));
            match opened {
                // The thread serves this transaction alone, so it may as well wait on it.
                Ok(session) => {
                    if begun_sender.send(Ok(())).is_ok() {
                        runtime.block_on(drive(session, driven, whole));
                    }
                }
                Err(error) => drop(begun_sender.send(Err(error))),
            }
            drop(permit);
        });
        begun.await.map_err(|_| SourceError::Lost)??;
        Ok(transaction)
    }

    /// The file that the address means.
    pub(crate) fn place(&self, address: &SourceAddress) -> Result<String, SourceError> {
        let path = place::resolve(&address.database, &address.pool_scope, &self.limits.sqlite_directories)?;
        Ok(format!("sqlite://{}", path.display()))
    }

    /// Runs work of our own on a thread for blocking work.
    async fn blocking<T: Send + 'static>(
        &self,
        address: &SourceAddress,
        work: impl FnOnce(PathBuf, Stops) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let permit = self.permit(address).await?;
        let halt = CancellationToken::new();
        let stops = Stops::new(OWN_LIMIT, [halt.clone(), self.closing.clone(), CancellationToken::new()]);
        let (database, limits) = (address.database.clone(), Arc::clone(&self.limits));
        let organization = address.pool_scope.clone();
        let _stop_when_dropped = halt.drop_guard();
        let working = self.tasks.spawn_blocking(move || {
            let done = place::resolve(&database, &organization, &limits.sqlite_directories)
                .and_then(|path| work(path, stops));
            drop(permit);
            done
        });
        working.await.map_err(|_| SourceError::Lost)?
    }

    async fn permit(&self, address: &SourceAddress) -> Result<Permit, SourceError> {
        // By the file, not its spelling: a pool is not widened by writing its name otherwise.
        let path = place::resolve(&address.database, &address.pool_scope, &self.limits.sqlite_directories)?;
        let key = (address.pool_scope.clone(), path);
        let file = {
            let mut files = self.files.lock();
            files.retain(|_, file| file.strong_count() > 0);
            let known = files.get(&key).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let file = Arc::new(Semaphore::new(self.limits.max_connections_per_pool.max(1)));
                files.insert(key, Arc::downgrade(&file));
                file
            })
        };
        let taking = async {
            let place = file.acquire_owned().await.ok()?;
            Some(Permit { _place: place, _slot: self.capacity.take().await? })
        };
        timeout(self.limits.pool_wait, taking).await.ok().flatten().ok_or(SourceError::Busy)
    }
}

/// A file has one schema that statements can name, and no settings.
fn refuse_options(options: &RunOptions) -> Result<(), SourceError> {
    if options.current_schema.as_deref().is_some_and(|schema| !schema.eq_ignore_ascii_case("main")) {
        return Err(SourceError::Option("a SQLite database has one schema: main".to_owned()));
    }
    if !options.session_parameters.is_empty() {
        return Err(SourceError::Option("SQLite has no session parameters".to_owned()));
    }
    Ok(())
}
