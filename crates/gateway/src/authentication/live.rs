//! Until when a sign-in session counts, and when that it was used is written down.

use std::sync::atomic::{AtomicI64, Ordering};

use ringfence_store::sessions::Session;

/// That a session was used is written at most this often, so that a busy browser costs the store nothing.
const WRITTEN_EVERY_MS: i64 = 60_000;
/// So many times at least within the idle time, so that no node takes a session for idle that another one serves.
const TIMES_PER_IDLE: i64 = 4;

/// A session as this node sees it used. All times are in milliseconds since the epoch.
#[derive(Debug)]
pub(crate) struct Live {
    expires_at: i64,
    idle_ms: i64,
    used_at: AtomicI64,
    written_at: AtomicI64,
}

impl Live {
    pub(super) fn of(session: &Session) -> Self {
        Self {
            expires_at: session.expires_at,
            idle_ms: session.idle_ms,
            used_at: AtomicI64::new(session.last_used_at),
            written_at: AtomicI64::new(session.last_used_at),
        }
    }

    /// Whether it counts at this time. When it does, it has been used now.
    pub(super) fn is_used(&self, now_ms: i64) -> bool {
        let idle_until = self.used_at.load(Ordering::Relaxed).saturating_add(self.idle_ms);
        let is_open = now_ms < self.expires_at && now_ms < idle_until;
        if is_open {
            self.used_at.fetch_max(now_ms, Ordering::Relaxed);
        }
        is_open
    }

    /// Whether it is time to write down that it was used. Of several who ask at once, one hears so.
    pub(super) fn is_due(&self, now_ms: i64) -> bool {
        let every = WRITTEN_EVERY_MS.min(self.idle_ms / TIMES_PER_IDLE);
        let written_at = self.written_at.load(Ordering::Relaxed);
        now_ms.saturating_sub(written_at) >= every
            && self
                .written_at
                .compare_exchange(written_at, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Live {
        Live {
            expires_at: 100_000,
            idle_ms: 1_000,
            used_at: AtomicI64::new(0),
            written_at: AtomicI64::new(0),
        }
    }

    #[test]
    fn use_puts_the_idle_end_off_and_the_absolute_one_never() {
        let session = live();
        for now in (0..100_000).step_by(999) {
            assert!(session.is_used(now), "{now}");
        }
        assert!(!session.is_used(100_000));
        let session = live();
        assert!(!session.is_used(1_000));
        assert!(!session.is_used(1_001), "asking for it in vain is no use of it");
    }

    #[test]
    fn use_is_written_seldom_and_often_enough() {
        let session = live();
        let written: Vec<i64> = (0..1_000).filter(|now| session.is_due(*now)).collect();
        assert_eq!(written, [250, 500, 750]);
    }
}
