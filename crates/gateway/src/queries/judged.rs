//! Statements that the guard has judged, kept for those who send the same text again.
//!
//! The guard is pure: for the same text, kind of source and access it says the same, so its answer can be kept without
//! ever being forgotten for a change. Each tenant has answers of its own: how quick an answer comes must not tell what
//! others ask.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use ringfence_guard::{GuardedQuery, Refusal};
use ringfence_policy::{ConnectionKind, OpenAccess, TenantId};
use sha2::{Digest as _, Sha256};

/// Locks, so that threads seldom wait for each other.
const SHARDS: usize = 16;
/// Statements behind each lock.
const KEPT: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");
/// Longer statements are judged each time: together the kept ones take some megabytes.
const LONGEST: usize = 4096;
/// Relations of one statement that the audit record names.
const MAX_TABLES: usize = 64;
const FINGERPRINT_BYTES: usize = 16;

/// A statement that may run, with what its records say of it.
pub(super) struct Judged {
    pub(super) query: GuardedQuery,
    pub(super) fingerprint: String,
    /// The relations it names.
    pub(super) tables: Vec<String>,
    question: Question,
}

/// What was asked beside the text.
#[derive(Clone, PartialEq, Eq)]
struct Question {
    tenant: TenantId,
    kind: ConnectionKind,
    access: OpenAccess,
}

/// Judged statements, bounded.
pub(crate) struct JudgedStatements {
    shards: [Mutex<LruCache<u64, Arc<Judged>>>; SHARDS],
    hasher: RandomState,
}

impl JudgedStatements {
    /// Nothing is kept yet.
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(LruCache::new(KEPT))), hasher: RandomState::new() }
    }

    /// Has the guard judge a statement, unless it did.
    pub(super) fn judge(
        &self,
        tenant: &TenantId,
        statement: &str,
        kind: ConnectionKind,
        access: OpenAccess,
    ) -> Result<Arc<Judged>, Refusal> {
        let question = Question { tenant: tenant.clone(), kind, access };
        if statement.len() > LONGEST {
            return Judged::by_guard(statement, question).map(Arc::new);
        }
        let place = self.hasher.hash_one((tenant, statement, access.read_only));
        // INVARIANT: a kept answer counts for the very question it was given for, never for a hash of it. Held by the
        // test `an_answer_counts_for_its_own_question`.
        let answers = |kept: &&Arc<Judged>| kept.query.sql() == statement && kept.question == question;
        if let Some(kept) = self.shard(place).lock().get(&place).filter(answers) {
            return Ok(kept.clone());
        }
        let judged = Arc::new(Judged::by_guard(statement, question)?);
        self.shard(place).lock().put(place, judged.clone());
        Ok(judged)
    }

    fn shard(&self, place: u64) -> &Mutex<LruCache<u64, Arc<Judged>>> {
        // Only the low bits count, so that a narrower usize changes nothing.
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is all that is used")]
        let shard = place as usize % SHARDS;
        &self.shards[shard]
    }
}

impl Judged {
    fn by_guard(statement: &str, question: Question) -> Result<Self, Refusal> {
        let query = ringfence_guard::open(statement, question.kind, question.access)?;
        let named = query.named_relations().iter().take(MAX_TABLES);
        let tables = named.map(|relation| match &relation.schema {
            Some(schema) => format!("{schema}.{}", relation.name),
            None => relation.name.clone(),
        });
        Ok(Self {
            tables: tables.collect(),
            fingerprint: fingerprint(query.fingerprint_text()),
            query,
            question,
        })
    }
}

/// What alike statements have in common, without a literal in it.
pub(super) fn fingerprint(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    hex::encode(digest.iter().copied().take(FINGERPRINT_BYTES).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_its_own_question() {
        let statements = JudgedStatements::new();
        let (ours, theirs) = (TenantId::new("ours").unwrap(), TenantId::new("theirs").unwrap());
        let judge = |tenant, text, kind, read_only| {
            statements.judge(tenant, text, kind, OpenAccess { read_only }).map_err(drop)
        };
        let first = judge(&ours, "SELECT 1", ConnectionKind::Postgresql, false).unwrap();
        let again = judge(&ours, "SELECT 1", ConnectionKind::Postgresql, false).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let others = [
            judge(&theirs, "SELECT 1", ConnectionKind::Postgresql, false),
            judge(&ours, "SELECT 2", ConnectionKind::Postgresql, false),
            judge(&ours, "SELECT 1", ConnectionKind::Sqlite, false),
            judge(&ours, "SELECT 1", ConnectionKind::Postgresql, true),
        ];
        for other in others {
            assert!(!Arc::ptr_eq(&first, &other.unwrap()));
        }
        assert!(judge(&ours, "SELECT 1", ConnectionKind::Postgresql, true).unwrap().query.read_only());
        assert!(judge(&ours, "SELECT lo_unlink(1)", ConnectionKind::Postgresql, false).is_ok());
        assert!(judge(&ours, "SELECT lo_unlink(1)", ConnectionKind::Postgresql, true).is_err());
        assert!(judge(&ours, "SELECT 1; SELECT 2", ConnectionKind::Postgresql, false).is_err());
    }
}
