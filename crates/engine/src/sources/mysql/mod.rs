//! MySQL and MariaDB.
//!
//! Reading order: `connect` opens a session, `pool` lends it and cleans it up, `run` runs a statement on it (`together` several in a
//! transaction), whose values `value` reads and whose rows go to an `outlet`; `introspect` reads the catalog. `docs/decisions/0005-mysql.md` says why it differs from PostgreSQL.

mod connect;
mod failure;
mod introspect;
mod outlet;
mod pool;
mod run;
mod together;
mod value;

use std::sync::Arc;

use ringfence_guard::GuardedQuery;
use ringfence_policy::Catalog;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::capacity::Capacity;
use crate::transaction::drive;
use crate::{
    EngineLimits, Explained, Isolation, RowStream, RunOptions, SessionParameter, SourceAddress, SourceError,
    SourceTransaction, fenced,
};

use connect::Connector;
use pool::Pools;
use run::Request;
use together::Together;

/// All MySQL and MariaDB sources.
pub(crate) struct Mysql {
    pools: Arc<Pools>,
    closing: CancellationToken,
}

impl Mysql {
    pub(crate) fn new(
        limits: Arc<EngineLimits>,
        capacity: Capacity,
        tasks: TaskTracker,
        closing: CancellationToken,
    ) -> Self {
        Self { pools: Pools::new(Connector { limits, tasks }, capacity), closing }
    }

    pub(crate) async fn probe(&self, address: &SourceAddress) -> Result<(), SourceError> {
        self.pools.probe(address).await
    }

    pub(crate) async fn introspect(
        &self,
        address: &SourceAddress,
        progress: &(dyn Fn(&str, usize, usize) + Send + Sync),
    ) -> Result<Catalog, SourceError> {
        introspect::introspect(&self.pools, self.closing.clone(), address, progress).await
    }

    /// The database parses the statement. Its plans name aliases where relations should be, so they say nothing.
    pub(crate) async fn explain(
        &self,
        address: &SourceAddress,
        query: &GuardedQuery,
        options: &RunOptions,
    ) -> Result<Explained, SourceError> {
        let options = &*fenced::options(query, options)?;
        refuse_parameters(&options.session_parameters)?;
        run::prepare(&self.pools, Request { address, query, options }, self.closing.clone()).await?;
        Ok(Explained::NoPlan)
    }

    pub(crate) async fn start(
        &self,
        address: &SourceAddress,
        query: &GuardedQuery,
        options: &RunOptions,
        cancel: CancellationToken,
    ) -> Result<RowStream, SourceError> {
        let options = &*fenced::options(query, options)?;
        refuse_parameters(&options.session_parameters)?;
        run::start(&self.pools, Request { address, query, options }, cancel, self.closing.clone()).await
    }

    pub(crate) async fn begin(
        &self,
        address: &SourceAddress,
        options: &RunOptions,
        isolation: Isolation,
        cancel: CancellationToken,
    ) -> Result<SourceTransaction, SourceError> {
        refuse_parameters(&options.session_parameters)?;
        let closing = self.closing.clone();
        let (session, whole) =
            Together::begin(&self.pools, address, options, isolation, cancel, closing.clone()).await?;
        let (transaction, driven) = SourceTransaction::new(isolation, options, closing);
        self.pools.connector.tasks.spawn(drive(session, driven, whole));
        Ok(transaction)
    }

    pub(crate) fn evict(&self, address: &SourceAddress) {
        self.pools.evict(address);
    }

    pub(crate) fn evict_all(&self) {
        self.pools.evict_all();
    }
}

/// The settings that a caller may name are PostgreSQL's.
fn refuse_parameters(parameters: &[(SessionParameter, String)]) -> Result<(), SourceError> {
    match parameters.first() {
        None => Ok(()),
        Some((parameter, _)) => {
            Err(SourceError::Option(format!("{parameter:?} is no session parameter of MySQL or MariaDB")))
        }
    }
}
