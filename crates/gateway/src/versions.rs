//! Versions: how copies know that they are no longer true.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

const STRIPES: usize = 4096;

/// Versions of everything that copies are kept of, in bounded memory: those that share a stripe change together, which
/// costs a reading and nothing else.
pub(crate) struct Versions {
    stripes: Box<[AtomicU64]>,
    changes: AtomicU64,
    hasher: RandomState,
}

impl Versions {
    pub(crate) fn new() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
            changes: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }

    fn stripe(&self, of: &impl Hash) -> &AtomicU64 {
        // Only the low bits count, so that a narrower usize changes nothing.
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is all that is used")]
        let place = self.hasher.hash_one(of) as usize % self.stripes.len();
        &self.stripes[place]
    }

    pub(crate) fn of(&self, of: &impl Hash) -> u64 {
        self.stripe(of).load(Ordering::SeqCst)
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    pub(crate) fn advance(&self, of: &impl Hash) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.stripe(of).fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn advance_all(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        for stripe in &self.stripes {
            stripe.fetch_add(1, Ordering::SeqCst);
        }
    }
}
