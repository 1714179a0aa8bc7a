//! How many backend connections the engine may hold, over all sources.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts open connections and hands out the right to open one.
#[derive(Clone)]
pub(crate) struct Capacity {
    places: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    most: usize,
}

/// The right to hold one connection; dropped when the connection's socket is closed.
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Capacity {
    pub(crate) fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(most)), waiting: Arc::new(AtomicUsize::new(0)), most }
    }

    pub(crate) fn try_take(&self) -> Option<Slot> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(|permit| Slot { _permit: permit })
    }

    /// Waits for a slot. While someone waits, pools close what they would else keep idle.
    pub(crate) async fn take(&self) -> Option<Slot> {
        let _waiting = Waiting::new(&self.waiting);
        Arc::clone(&self.places).acquire_owned().await.ok().map(|permit| Slot { _permit: permit })
    }

    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn open(&self) -> usize {
        self.most.saturating_sub(self.places.available_permits())
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
