//! Reading a source under a lease: renewed while the work lasts, with progress for those who watch.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use ringfence_engine::SourceError;
use ringfence_store::connections::Connection;
use ringfence_store::sources::{IndexReport, IndexStatus, SchemaProgress, Source};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::job::Read;
use crate::connections::address_of;
use crate::{Gateway, Refused};

/// How long another node leaves this one's work alone. A node that dies holds up its sources for this long.
const LEASE: Duration = Duration::from_secs(15);
/// How often progress is written, and the lease renewed.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// How long reading one source may take.
const READING_LIMIT: Duration = Duration::from_mins(30);

/// Takes the work on the source's generation, or renews it. False when another node has it or the generation passed.
pub(super) async fn lease(gateway: &Gateway, source: &Source) -> Result<bool, Refused> {
    let now = jiff::Timestamp::now().as_millisecond();
    let until = now.saturating_add(i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX));
    let node = &gateway.shared.config.node;
    Ok(gateway.shared.store.sources().claim(source.id, source.generation, node, now, until).await?)
}

/// Reads what the connection's credentials can see.
pub(super) async fn read(
    gateway: &Gateway,
    source: &Source,
    connection: &Connection,
) -> Result<Read, Refused> {
    let address = address_of(connection, &source.org)?;
    let schemas = Mutex::new(BTreeMap::<String, SchemaProgress>::new());
    let count = |relations: usize| u32::try_from(relations).unwrap_or(u32::MAX);
    let progress = |schema: &str, done: usize, all: usize| {
        let progress = SchemaProgress { total: count(all), pending: count(all.saturating_sub(done)) };
        schemas.lock().insert(schema.to_owned(), progress);
    };
    if !report(gateway, source, BTreeMap::new()).await? {
        return Ok(Read::Passed);
    }
    let work = timeout(READING_LIMIT, gateway.shared.engine.introspect(&address, &progress));
    tokio::pin!(work);
    let mut ticks = interval(REPORT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    loop {
        tokio::select! {
            read = &mut work => return Ok(match read {
                Ok(Ok(catalog)) => Read::Catalog(Box::new(catalog)),
                Ok(Err(error)) => Read::Failed(error, schemas.lock().clone()),
                Err(_) => Read::Failed(
                    SourceError::Unreachable("reading the catalog took too long".to_owned()),
                    schemas.lock().clone(),
                ),
            }),
            _ = ticks.tick() => {
                let so_far = schemas.lock().clone();
                if !lease(gateway, source).await? || !report(gateway, source, so_far).await? {
                    return Ok(Read::Passed);
                }
            }
        }
    }
}

async fn report(
    gateway: &Gateway,
    source: &Source,
    schemas: BTreeMap<String, SchemaProgress>,
) -> Result<bool, Refused> {
    let report = IndexReport { status: IndexStatus::Indexing, schemas, diagnostics: None };
    Ok(gateway.shared.store.sources().report(source.id, source.generation, &report).await?)
}
