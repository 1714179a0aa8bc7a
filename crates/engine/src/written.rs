//! What was written through this process, by place: so that whoever keeps answers knows that the data are others now.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use ringfence_guard::{GuardedQuery, StatementKind};
use tokio::sync::Notify;

/// Places that share a stripe change together, which costs a statement and nothing else.
const STRIPES: usize = 4096;
/// More places that are not told yet are told as [`EVERYWHERE`].
const MOST_UNTOLD: usize = 1024;

/// Stands for all places at once.
pub const EVERYWHERE: &str = "*";

/// Where the data of a source stand. Two that are equal mean that nothing was written in between that anybody here knows of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DataVersion {
    /// Counts what was written through this process, and what it heard of from others.
    written: u64,
    /// What the source itself says of its data, where it keeps versions of them.
    said: Option<u64>,
}

/// Counts of what was written, in bounded memory.
#[derive(Clone)]
pub(crate) struct Written(Arc<Counts>);

struct Counts {
    stripes: Box<[AtomicU64]>,
    hasher: RandomState,
    /// Which of this process's engines it is, for whoever hears of its own news.
    teller: u64,
    untold: Mutex<BTreeMap<String, Ended>>,
    news: Notify,
}

/// How what was written came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// The database said so.
    Known,
    /// Nobody waited for it: it may take effect a moment later.
    Abandoned,
}

/// Something is being written. Dropped, the place has another version.
//
// INVARIANT: whoever hears that a statement is done has answers from after it. The version moves when the statement has ended
// and before its answer is given. Held by the test `what_is_written_is_another_version`.
pub(crate) struct Writing {
    written: Written,
    place: String,
    ended: Ended,
}

impl Writing {
    /// The database has answered.
    pub(crate) fn end(mut self) {
        self.ended = Ended::Known;
    }
}

impl Written {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Counts {
            stripes: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
            teller: RandomState::new().hash_one("teller"),
            hasher: RandomState::new(),
            untold: Mutex::default(),
            news: Notify::new(),
        }))
    }

    pub(crate) fn version(&self, place: &str, said: Option<u64>) -> DataVersion {
        DataVersion { written: self.stripe(place).load(Ordering::SeqCst), said }
    }

    /// What may be written at the place until this is dropped.
    pub(crate) fn begin(&self, place: String) -> Writing {
        Writing { written: self.clone(), place, ended: Ended::Abandoned }
    }

    /// Something was written there, elsewhere; it is not told on.
    pub(crate) fn heard(&self, place: &str) {
        if place == EVERYWHERE {
            for stripe in &self.0.stripes {
                stripe.fetch_add(1, Ordering::SeqCst);
            }
        } else {
            self.stripe(place).fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(crate) fn teller(&self) -> u64 {
        self.0.teller
    }

    /// Waits until something was written; the places, each once.
    pub(crate) async fn next(&self) -> BTreeMap<String, Ended> {
        loop {
            let news = self.0.news.notified();
            let places = self.take();
            if !places.is_empty() {
                return places;
            }
            news.await;
        }
    }

    /// What was written and is not told yet.
    pub(crate) fn take(&self) -> BTreeMap<String, Ended> {
        std::mem::take(&mut *self.0.untold.lock())
    }

    fn stripe(&self, place: &str) -> &AtomicU64 {
        // Only the low bits count, so that a narrower usize changes nothing.
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is all that is used")]
        let stripe = self.0.hasher.hash_one(place) as usize % self.0.stripes.len();
        &self.0.stripes[stripe]
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.written.heard(&self.place);
        let counts = &self.written.0;
        let mut untold = counts.untold.lock();
        let (mut place, mut ended) = (std::mem::take(&mut self.place), self.ended);
        if untold.len() >= MOST_UNTOLD && !untold.contains_key(&place) {
            EVERYWHERE.clone_into(&mut place);
            ended = untold.values().copied().chain([ended]).max().unwrap_or(ended);
            untold.clear();
        }
        let known = untold.entry(place).or_insert(ended);
        *known = ended.max(*known);
        drop(untold);
        counts.news.notify_one();
    }
}

/// Whether the statement may change data. What an open statement calls that is not known to be harmless may do anything.
pub(crate) fn may_write(query: &GuardedQuery) -> bool {
    match query.fence() {
        Some(fence) => fence.writes,
        None => !query.read_only() && (query.kind() == StatementKind::Effect || query.may_change_session()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_place_has_a_version_of_its_own() {
        let written = Written::new();
        let version = |place: &str| written.version(place, None);
        let (one, other) = (version("one"), version("other"));
        let writing = written.begin("one".to_owned());
        assert_eq!(version("one"), one, "nothing is written yet");
        writing.end();
        assert_ne!(version("one"), one);
        assert_eq!(written.next().await, BTreeMap::from([("one".to_owned(), Ended::Known)]));
        for ended in [Ended::Abandoned, Ended::Known] {
            let writing = written.begin("one".to_owned());
            if ended == Ended::Known { writing.end() } else { drop(writing) }
        }
        assert_eq!(written.next().await, BTreeMap::from([("one".to_owned(), Ended::Abandoned)]));
        let now = version("one");
        written.heard("one");
        assert_ne!(version("one"), now);
        // Of 4096 stripes, two names seldom share one; where they do, all is well too.
        let all = (version("one"), version("other"));
        written.heard(EVERYWHERE);
        assert!(version("one") != all.0 && version("other") != all.1);
        assert_ne!(version("other"), other);
        assert_ne!(written.version("one", Some(1)), version("one"), "a source may count by itself");
    }

    #[tokio::test]
    async fn many_places_are_told_as_all() {
        let written = Written::new();
        for number in 0..=MOST_UNTOLD {
            written.begin(number.to_string()).end();
        }
        assert_eq!(written.next().await, BTreeMap::from([(EVERYWHERE.to_owned(), Ended::Known)]));
    }
}
