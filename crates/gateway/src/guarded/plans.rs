//! Statements that the guard has put behind the fences of a view, kept for all who see through it.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use ringfence_guard::{GuardedPlan, Refusal, guard};
use ringfence_policy::ConnectionKind;

use super::views::Shape;

/// Locks, so that threads seldom wait for each other.
const SHARDS: usize = 16;
/// Plans behind each lock.
const KEPT: NonZeroUsize = NonZeroUsize::new(128).expect("128 is not zero");
/// Longer statements are guarded each time.
const LONGEST: usize = 4096;

/// Plans, bounded. A plan holds no principal's values.
pub(crate) struct PlanCache {
    shards: [Mutex<LruCache<u64, Arc<Kept>>>; SHARDS],
    hasher: RandomState,
}

struct Kept {
    shape: u64,
    statement: String,
    plan: Arc<GuardedPlan>,
}

impl PlanCache {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(LruCache::new(KEPT))), hasher: RandomState::new() }
    }

    /// Has the guard put the statement behind the shape's fences, unless it did. A shape belongs to one connection's
    /// snapshot, so its kind of source is always the same.
    pub(crate) fn plan(
        &self,
        statement: &str,
        kind: ConnectionKind,
        shape: &Shape,
    ) -> Result<Arc<GuardedPlan>, Refusal> {
        if statement.len() > LONGEST {
            return guard(statement, kind, &shape.view).map(Arc::new);
        }
        let place = self.hasher.hash_one((shape.number, statement));
        // INVARIANT: a kept plan counts for the very view and statement it was made for, never for a hash of them. Held
        // by the test `two_views_never_share_a_plan`.
        let counts = |kept: &&Arc<Kept>| kept.shape == shape.number && kept.statement == statement;
        if let Some(kept) = self.shard(place).lock().get(&place).filter(counts) {
            return Ok(kept.plan.clone());
        }
        let plan = Arc::new(guard(statement, kind, &shape.view)?);
        let kept = Kept { shape: shape.number, statement: statement.to_owned(), plan: plan.clone() };
        self.shard(place).lock().put(place, Arc::new(kept));
        Ok(plan)
    }

    /// Whether the plan was made before: for explaining, so that asking changes nothing.
    pub(crate) fn keeps(&self, statement: &str, shape: &Shape) -> bool {
        let place = self.hasher.hash_one((shape.number, statement));
        let shard = self.shard(place).lock();
        shard.peek(&place).is_some_and(|kept| kept.shape == shape.number && kept.statement == statement)
    }

    fn shard(&self, place: u64) -> &Mutex<LruCache<u64, Arc<Kept>>> {
        // Only the low bits count, so that a narrower usize changes nothing.
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is all that is used")]
        let shard = place as usize % SHARDS;
        &self.shards[shard]
    }
}
