//! Where answers are kept: so many bytes of them, those that were asked for last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use ringfence_engine::ResultSet;

use super::KeptAnswers;
use super::key::AnswerKey;

/// An answer that takes more than this part of the memory is made each time: it would drive out too many others.
const LARGEST_PART: u64 = 16;
/// What an entry takes beside its rows.
const ENTRY_BYTES: u64 = 256;

/// Answers within a bound of bytes. The one that was not asked for the longest goes first.
pub(super) struct Shelf {
    answers: LruCache<AnswerKey, Kept>,
    bytes: u64,
    most: u64,
}

struct Kept {
    result: Arc<ResultSet>,
    bytes: u64,
    made: Instant,
    until: Option<Instant>,
}

impl Kept {
    /// Nobody is given it any more. A moment that no clock reaches never comes.
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Shelf {
    pub(super) fn new(most: u64) -> Self {
        Self { answers: LruCache::unbounded(), bytes: 0, most }
    }

    /// The answer, and how old it is, when it is younger than that.
    pub(super) fn get(&mut self, key: &AnswerKey, oldest: Duration) -> Option<(Arc<ResultSet>, Duration)> {
        let now = Instant::now();
        if self.answers.peek(key)?.is_over(now) {
            self.take(key);
            return None;
        }
        let kept = self.answers.get(key)?;
        let age = now.saturating_duration_since(kept.made);
        (age < oldest).then(|| (Arc::clone(&kept.result), age))
    }

    /// Keeps an answer that was made then, for so long.
    pub(super) fn put(&mut self, key: AnswerKey, result: &Arc<ResultSet>, made: Instant, time: Duration) {
        self.take(&key);
        let now = Instant::now();
        while self.answers.peek_lru().is_some_and(|(_, oldest)| oldest.is_over(now)) {
            self.drop_oldest();
        }
        let bytes = result.bytes().saturating_add(ENTRY_BYTES);
        if bytes > self.most / LARGEST_PART {
            return;
        }
        while self.bytes.saturating_add(bytes) > self.most && !self.answers.is_empty() {
            self.drop_oldest();
        }
        self.bytes = self.bytes.saturating_add(bytes);
        let until = made.checked_add(time);
        self.answers.put(key, Kept { result: Arc::clone(result), bytes, made, until });
    }

    pub(super) fn size(&self) -> KeptAnswers {
        KeptAnswers { entries: self.answers.len(), bytes: self.bytes }
    }

    fn take(&mut self, key: &AnswerKey) {
        if let Some(kept) = self.answers.pop(key) {
            self.bytes = self.bytes.saturating_sub(kept.bytes);
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, kept)) = self.answers.pop_lru() {
            self.bytes = self.bytes.saturating_sub(kept.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use ringfence_engine::Value;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn of_bytes(bytes: usize) -> Arc<ResultSet> {
        let rows = vec![vec![Value::Text("x".repeat(bytes))]];
        Arc::new(ResultSet { columns: Vec::new(), rows, more_rows: 0, affected: None })
    }

    fn put(shelf: &mut Shelf, number: u8, bytes: usize) {
        shelf.put(AnswerKey::numbered(number), &of_bytes(bytes), Instant::now(), HOUR);
    }

    fn has(shelf: &mut Shelf, number: u8) -> bool {
        shelf.get(&AnswerKey::numbered(number), HOUR).is_some()
    }

    #[test]
    fn memory_is_bounded_and_the_longest_unused_go_first() {
        let mut shelf = Shelf::new(100_000);
        for number in 0..200 {
            put(&mut shelf, number, 4_000);
            assert!(has(&mut shelf, 0), "what is asked for stays");
            assert!(shelf.size().bytes <= 100_000);
        }
        let KeptAnswers { entries, bytes } = shelf.size();
        assert!(entries < 30 && bytes > 90_000, "{entries} in {bytes}");
        assert!(has(&mut shelf, 199) && !has(&mut shelf, 1));
        while shelf.size().entries > 0 {
            shelf.drop_oldest();
        }
        assert_eq!(shelf.size().bytes, 0, "what is counted in is counted out");
    }

    #[test]
    fn a_large_answer_drives_nobody_out() {
        let mut shelf = Shelf::new(100_000);
        put(&mut shelf, 1, 4_000);
        put(&mut shelf, 2, 7_000);
        assert!(has(&mut shelf, 1) && !has(&mut shelf, 2));
        put(&mut shelf, 1, 7_000);
        assert!(!has(&mut shelf, 1), "the older answer is not true any more");
        assert_eq!(shelf.size(), KeptAnswers { entries: 0, bytes: 0 });
    }

    #[test]
    fn an_answer_counts_for_its_time_and_no_longer() {
        let mut shelf = Shelf::new(100_000);
        let (key, ago) =
            (AnswerKey::numbered(1), Instant::now().checked_sub(Duration::from_mins(1)).unwrap());
        shelf.put(key, &of_bytes(1), ago, HOUR);
        assert!(shelf.get(&key, Duration::from_secs(59)).is_none(), "somebody wants a newer one");
        let (_, age) = shelf.get(&key, HOUR).expect("others take it");
        assert!(age >= Duration::from_mins(1));
        shelf.put(key, &of_bytes(1), ago, Duration::from_secs(59));
        assert!(shelf.get(&key, HOUR).is_none());
        assert_eq!(shelf.size(), KeptAnswers { entries: 0, bytes: 0 }, "what is over is gone");
    }
}
