//! Background indexing: reads what a source holds and keeps it in the store.
//!
//! A job belongs to a source. It first tries the credentials of those who wait for their proof, then takes the work
//! on the source's generation under a lease, so that of many nodes one does it, and writes the catalog. A newer
//! generation (a refresh, changed filters) makes the work of an older one worthless, which the store sees to.

mod job;
mod proving;
mod queue;
mod reading;

use std::sync::{Arc, Weak};
use std::time::Duration;

use ringfence_policy::{Catalog, ContentFilters, OrgId};
use ringfence_store::sources::{IndexReport, IndexStatus, SchemaProgress, Source, SourceId};

pub(crate) use queue::Wish;
use queue::{Ended, Job, Queue};

use crate::{Gateway, GatewayConfig, Refused, Shared};

/// How often work that was left lying is looked for: after a crash of this node, or of another one.
const SWEEP: Duration = Duration::from_secs(5);
/// Times to write a pushed catalog's status before giving up: each loss means that someone else wrote.
const ATTEMPTS: usize = 16;

/// Runs indexing jobs, a bounded number at once.
pub(crate) struct Indexer {
    queue: Arc<Queue>,
    workers: usize,
}

impl Indexer {
    /// An indexer that does nothing until [`start`].
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        let workers = config.indexing_at_once.max(1);
        // Databases that do not answer hold up their own organization, not the others.
        Self { queue: Arc::new(Queue::new(workers / 2)), workers }
    }

    /// Asks for work on a source. Asking twice is asking once; the larger wish counts.
    pub(crate) fn enqueue(&self, source: SourceId, org: &OrgId, wish: Wish) {
        self.queue.push(source, org, wish);
    }

    /// Ends the workers. Work under way is left for the next start, or for another node.
    pub(crate) fn stop(&self) {
        self.queue.close();
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Starts the workers, takes up what was left unfinished, and watches for users that go.
pub(crate) fn start(gateway: &Gateway) {
    let shared = Arc::downgrade(&gateway.shared);
    let queue = &gateway.shared.indexer.queue;
    for _ in 0..gateway.shared.indexer.workers {
        tokio::spawn(work(queue.clone(), shared.clone()));
    }
    tokio::spawn(sweep(queue.clone(), shared));
}

/// One worker. It holds the gateway only while it has a job, so that a gateway that is dropped goes away.
async fn work(queue: Arc<Queue>, shared: Weak<Shared>) {
    while let Some(job) = queue.next().await {
        let Some(shared) = shared.upgrade() else { return };
        let gateway = Gateway { shared };
        let ended = run(&gateway, &job).await;
        if queue.done(job.source, ended) {
            metrics::counter!("ringfence_indexing_superseded_total").increment(1);
        }
    }
}

async fn run(gateway: &Gateway, job: &Job) -> Ended {
    let outcome = tokio::select! {
        biased;
        () = job.superseded.cancelled() => return Ended::Interrupted,
        outcome = job::run(gateway, job.source, job.wish) => outcome,
    };
    outcome.unwrap_or_else(|refused| {
        // The store is away, most likely: the sweep finds the source again.
        tracing::warn!(source.id = job.source.0, error = %refused, "indexing was interrupted");
        Ended::Interrupted
    })
}

async fn sweep(queue: Arc<Queue>, shared: Weak<Shared>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = queue.closed() => return,
            _ = ticks.tick() => {}
        }
        let Some(shared) = shared.upgrade() else { return };
        match shared.store.sources().unfinished().await {
            Ok(unfinished) => {
                for (source, org) in unfinished {
                    queue.push(source, &org, Wish::Resume);
                }
            }
            Err(error) => tracing::warn!(%error, "unfinished indexing can't be looked up"),
        }
    }
}

/// Completes a source that is pushed: there is nothing to read, what was pushed is the catalog.
pub(crate) async fn complete_pushed(gateway: &Gateway, id: SourceId) -> Result<(), Refused> {
    let sources = gateway.shared.store.sources();
    for _ in 0..ATTEMPTS {
        let Some(source) = sources.get(id).await? else {
            return Ok(());
        };
        let catalog = match sources.catalog(id).await? {
            Some((_, catalog)) => catalog,
            None => Catalog { database: pushed_database(gateway, id).await?, schemas: Vec::new() },
        };
        let report = completed(&source, &catalog)?;
        if sources.complete(id, source.generation, &catalog, &report).await? {
            gateway.shared.catalogs.forget(id);
            return Ok(());
        }
    }
    Err(Refused::new(crate::Code::Conflict, "the catalog is being changed by others: try again"))
}

async fn pushed_database(gateway: &Gateway, id: SourceId) -> Result<String, Refused> {
    let connections = gateway.shared.store.connections().of_source(&id).await?;
    let database = connections.first().and_then(|connection| connection.spec.database_name().ok());
    Ok(database.unwrap_or_default().to_owned())
}

/// The report of a catalog that is complete: it counts what the filters show.
pub(crate) fn completed(source: &Source, catalog: &Catalog) -> Result<IndexReport, Refused> {
    let filters = ContentFilters::new(&source.content_filters, &source.pattern_filters)
        .map_err(|invalid| Refused::internal(&invalid))?;
    let shown = if filters.is_empty() { catalog.clone() } else { filters.narrow(catalog) };
    let count =
        |relations: usize| SchemaProgress { total: u32::try_from(relations).unwrap_or(u32::MAX), pending: 0 };
    Ok(IndexReport {
        status: IndexStatus::Completed,
        schemas: shown
            .schemas
            .iter()
            .map(|schema| (schema.name.clone(), count(schema.relations.len())))
            .collect(),
        diagnostics: None,
    })
}
