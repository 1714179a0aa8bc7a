//! PostgreSQL.
//!
//! Reading order: `connect` opens a `session` (through `watch` and `tls`), `pool` lends it, `run` runs a
//! statement on it: `launch` sends it and its `parameter`s, `prepared` or not, in the `transaction` that it needs, and its `rows` come; `form`
//! says how values are read (`reading`, for single statements and those of a transaction, `together`), from `binary` or, for
//! types that only PostgreSQL can put into words, from `text`.

mod binary;
mod clock;
mod connect;
mod explain;
mod failure;
mod form;
mod examine;
mod introspect;
mod launch;
pub(crate) mod number;
mod operator;
mod parameter;
mod pool;
mod prepared;
mod reading;
mod rows;
mod run;
mod session;
mod text;
mod tls;
mod together;
mod transaction;
mod watch;

use std::sync::Arc;

use ringfence_guard::GuardedQuery;
use ringfence_policy::Catalog;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use binary::json;
use connect::Connector;
pub(crate) use operator::OperatorClient;
use pool::Pools;
use run::Request;
pub(crate) use run::Running;
use together::Together;

use crate::capacity::Capacity;
use crate::fenced;
use crate::transaction::drive;
use crate::{EngineLimits, Explained, Isolation, RunOptions, SourceAddress, SourceError, SourceTransaction};

/// All PostgreSQL sources.
pub(crate) struct Postgres {
    pools: Arc<Pools>,
    closing: CancellationToken,
}

impl Postgres {
    pub(crate) fn new(
        limits: Arc<EngineLimits>,
        capacity: Capacity,
        tasks: TaskTracker,
        closing: CancellationToken,
    ) -> Self {
        Self { pools: Pools::new(Connector { limits, tasks }, capacity), closing }
    }

    pub(crate) async fn probe(&self, address: &SourceAddress) -> Result<(), SourceError> {
        drop(self.pools.fresh(address).await?);
        Ok(())
    }

    /// A session outside every pool, for an operator's command.
    pub(crate) async fn operate(&self, address: &SourceAddress) -> Result<OperatorClient, SourceError> {
        self.pools.fresh(address).await.map(OperatorClient::new)
    }

    pub(crate) async fn start(
        &self,
        address: &SourceAddress,
        query: &GuardedQuery,
        options: &RunOptions,
        cancel: CancellationToken,
    ) -> Result<Running, SourceError> {
        let closing = self.closing.clone();
        let options = &*fenced::options(query, options)?;
        Running::start(&self.pools, Request { address, query, options, cancel, closing }).await
    }

    pub(crate) async fn begin(
        &self,
        address: &SourceAddress,
        options: &RunOptions,
        isolation: Isolation,
        cancel: CancellationToken,
    ) -> Result<SourceTransaction, SourceError> {
        let closing = self.closing.clone();
        let options = RunOptions { current_schema: None, ..options.clone() };
        let (session, whole) =
            Together::begin(&self.pools, address, &options, isolation, cancel, closing.clone()).await?;
        let (transaction, driven) = SourceTransaction::new(isolation, &options, closing);
        self.pools.connector.tasks.spawn(drive(session, driven, whole));
        Ok(transaction)
    }

    pub(crate) async fn explain(
        &self,
        address: &SourceAddress,
        query: &GuardedQuery,
        options: &RunOptions,
    ) -> Result<Explained, SourceError> {
        let options = &*fenced::options(query, options)?;
        explain::explain(&self.pools, self.closing.clone(), address, query, options).await
    }

    pub(crate) async fn cost(
        &self,
        address: &SourceAddress,
        query: &GuardedQuery,
        options: &RunOptions,
    ) -> Result<Option<f64>, SourceError> {
        let options = &*fenced::options(query, options)?;
        explain::cost(&self.pools, self.closing.clone(), address, query, options).await
    }

    pub(crate) async fn introspect(
        &self,
        address: &SourceAddress,
        progress: &(dyn Fn(&str, usize, usize) + Send + Sync),
    ) -> Result<Catalog, SourceError> {
        introspect::introspect(&self.pools, self.closing.clone(), address, progress).await
    }

    pub(crate) async fn examine(&self, address: &SourceAddress) -> Result<crate::Examined, SourceError> {
        examine::examine(&self.pools, self.closing.clone(), address).await
    }

    pub(crate) fn evict(&self, address: &SourceAddress) {
        self.pools.evict(address);
    }

    pub(crate) fn evict_all(&self) {
        self.pools.evict_all();
    }
}
