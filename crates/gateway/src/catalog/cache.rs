//! Narrowed catalogs in memory, bounded by their approximate size.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringfence_store::Store;
use ringfence_store::sources::{IndexStatus, Source, SourceId};

use super::shown::{self, Shown};
use crate::{GatewayConfig, Refused};

/// All catalogs together, in bytes.
const CAPACITY_BYTES: u64 = 64 * 1024 * 1024;
/// What nobody looked at for so long goes.
const IDLE: Duration = Duration::from_mins(30);
/// Sources share these counters: forgetting one may cost another a reload, and memory does not grow with sources.
const EPOCHS: usize = 4_096;

/// Catalogs in memory, bounded, by source and generation.
pub(crate) struct CatalogCache {
    shown: moka::future::Cache<Place, Arc<Shown>>,
    epochs: Vec<AtomicU64>,
}

/// What an entry was made from. What was forgotten has an epoch that is never asked for again, and so has whatever was
/// being loaded meanwhile: a slow load can't bring back the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    source: SourceId,
    generation: i64,
    /// The catalog of a generation differs before and after its index is complete.
    completed: bool,
    epoch: u64,
}

/// Why nothing could be loaded.
enum Absent {
    NotIndexed,
    Refused(Refused),
}

impl CatalogCache {
    /// An empty cache.
    pub(crate) fn new(_config: &GatewayConfig) -> Self {
        let shown = moka::future::Cache::builder()
            .max_capacity(CAPACITY_BYTES)
            .weigher(|_: &Place, shown: &Arc<Shown>| u32::try_from(shown.bytes).unwrap_or(u32::MAX))
            .time_to_idle(IDLE)
            .build();
        Self { shown, epochs: (0..EPOCHS).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Forgets what is kept of the source: its filters, catalog or annotations changed.
    pub(crate) fn forget(&self, source: SourceId) {
        if let Some(epoch) = self.epoch(source) {
            epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Forgets everything: some news may have been missed.
    pub(crate) fn forget_all(&self) {
        for epoch in &self.epochs {
            epoch.fetch_add(1, Ordering::AcqRel);
        }
        self.shown.invalidate_all();
    }

    /// What the source shows through its filters. `source` was read just now: its filters are those that count.
    pub(crate) async fn shown(&self, store: &Store, source: Source) -> Result<Option<Arc<Shown>>, Refused> {
        let place = Place {
            source: source.id,
            generation: source.generation,
            completed: source.status == IndexStatus::Completed,
            epoch: self.epoch_of(source.id),
        };
        let load = async { load(store, source).await?.ok_or(Absent::NotIndexed) };
        match self.shown.try_get_with(place, load).await {
            Ok(shown) => Ok(Some(shown)),
            Err(absent) => match &*absent {
                Absent::NotIndexed => Ok(None),
                Absent::Refused(refused) => Err(refused.clone()),
            },
        }
    }

    /// Differs once what is kept of the source is no longer true.
    pub(crate) fn epoch_of(&self, source: SourceId) -> u64 {
        self.epoch(source).map_or(0, |epoch| epoch.load(Ordering::Acquire))
    }

    fn epoch(&self, source: SourceId) -> Option<&AtomicU64> {
        let slot = usize::try_from(source.0.unsigned_abs()).unwrap_or(0) % EPOCHS;
        self.epochs.get(slot)
    }
}

async fn load(store: &Store, source: Source) -> Result<Option<Arc<Shown>>, Absent> {
    let refused = |error| Absent::Refused(Refused::from(error));
    let Some((_, catalog)) = store.sources().catalog(source.id).await.map_err(refused)? else {
        return Ok(None);
    };
    let (_, annotations) = store.annotations().get(source.id).await.map_err(refused)?;
    shown::show(source, catalog, annotations).await.map(Some).map_err(Absent::Refused)
}
