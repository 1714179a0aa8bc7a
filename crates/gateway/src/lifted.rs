//! Plans of statements, kept for all texts that differ in lifted literals alone.
//!
//! A text is asked for in two steps. Its skeleton, with a mark for each literal, tells which of its literals are lifted;
//! the text with marks for those alone is what the plan is kept under. Where all are lifted, which is most often so, one
//! step is enough. A text that the scanner does not read is asked for as it is.

use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use ringfence_guard::{Parameter, Refusal, Scanned};

/// Locks, so that threads seldom wait for each other.
const SHARDS: usize = 16;
/// Longer statements are planned each time: together the kept ones take some megabytes.
const LONGEST: usize = 4096;

/// What is kept of a statement.
pub(crate) trait Plan {
    /// Which of the text's literals are parameters of it.
    fn lifted(&self) -> &[bool];

    /// Whether it is too large to be kept.
    fn is_large(&self) -> bool {
        false
    }
}

/// A part of the cache, by the hash of what was asked.
type Shard<Q, P> = Mutex<LruCache<u64, Arc<Kept<Q, P>>>>;

/// Plans by what was asked beside the text, and the text; bounded.
pub(crate) struct LiftedCache<Q, P> {
    shards: [Shard<Q, P>; SHARDS],
    hasher: RandomState,
}

struct Kept<Q, P> {
    question: Q,
    /// A text, with marks for literals or without.
    text: Box<str>,
    what: What<P>,
}

enum What<P> {
    Plan(Arc<P>),
    /// Of a skeleton some of whose literals stay: which are lifted.
    Lifted(Arc<[bool]>),
}

impl<P> Clone for What<P> {
    fn clone(&self) -> Self {
        match self {
            Self::Plan(plan) => Self::Plan(Arc::clone(plan)),
            Self::Lifted(lifted) => Self::Lifted(Arc::clone(lifted)),
        }
    }
}

/// A plan, and what the text's lifted literals are.
pub(crate) struct Found<P> {
    pub(crate) plan: Arc<P>,
    pub(crate) values: Vec<Parameter>,
    /// Whether it was known before.
    pub(crate) cached: bool,
}

impl<Q: Clone + Eq + Hash, P: Plan> LiftedCache<Q, P> {
    /// Keeps so many entries behind each lock.
    pub(crate) fn new(kept: NonZeroUsize) -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(LruCache::new(kept))), hasher: RandomState::new() }
    }

    /// Finds the plan, or has it made. `scan` finds the text's literals, where they may be lifted at all.
    pub(crate) fn find<'t>(
        &self,
        question: &Q,
        statement: &'t str,
        scan: impl FnOnce() -> Option<Scanned<'t>>,
        make: impl FnOnce(Option<&Scanned<'t>>) -> Result<P, Refusal>,
    ) -> Result<Found<P>, Refusal> {
        if statement.len() > LONGEST {
            let plan = Arc::new(make(None)?);
            return Ok(Found { plan, values: Vec::new(), cached: false });
        }
        let Some(scanned) = scan() else {
            if let Some(What::Plan(plan)) = self.get(question, statement) {
                return Ok(Found { plan, values: Vec::new(), cached: true });
            }
            let plan = Arc::new(make(None)?);
            if !plan.is_large() {
                self.put(question, statement, What::Plan(Arc::clone(&plan)));
            }
            return Ok(Found { plan, values: Vec::new(), cached: false });
        };
        let known = match self.get(question, scanned.skeleton()) {
            Some(What::Lifted(lifted)) => self.get(question, &scanned.key(&lifted)),
            known => known,
        };
        if let Some(What::Plan(plan)) = known {
            return Ok(Found { values: scanned.values(plan.lifted()), plan, cached: true });
        }
        let plan = Arc::new(make(Some(&scanned))?);
        let lifted = plan.lifted();
        if plan.is_large() {
            return Ok(Found { values: scanned.values(lifted), plan, cached: false });
        }
        let key = scanned.key(lifted);
        if key != scanned.skeleton() {
            self.put(question, scanned.skeleton(), What::Lifted(lifted.into()));
        }
        self.put(question, &key, What::Plan(Arc::clone(&plan)));
        Ok(Found { values: scanned.values(lifted), plan, cached: false })
    }

    /// How many entries there are, and what their texts take in bytes.
    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, usize) {
        let mut size = (0, 0);
        for shard in &self.shards {
            for (_, kept) in shard.lock().iter() {
                size = (size.0 + 1, size.1 + kept.text.len());
            }
        }
        size
    }

    fn get(&self, question: &Q, text: &str) -> Option<What<P>> {
        let place = self.hasher.hash_one((question, text));
        // INVARIANT: what is kept counts for the very question and text it was made for, never for a hash of them. Held by
        // the tests `two_views_never_share_a_plan` and `an_answer_counts_for_its_own_question`.
        let counts = |kept: &&Arc<Kept<Q, P>>| *kept.text == *text && kept.question == *question;
        self.shard(place).lock().get(&place).filter(counts).map(|kept| kept.what.clone())
    }

    fn put(&self, question: &Q, text: &str, what: What<P>) {
        let place = self.hasher.hash_one((question, text));
        let kept = Kept { question: question.clone(), text: text.into(), what };
        self.shard(place).lock().put(place, Arc::new(kept));
    }

    fn shard(&self, place: u64) -> &Mutex<LruCache<u64, Arc<Kept<Q, P>>>> {
        // Only the low bits count, so that a narrower usize changes nothing.
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is all that is used")]
        let shard = place as usize % SHARDS;
        &self.shards[shard]
    }
}
