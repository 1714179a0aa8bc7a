//! Statements that the guard has judged, kept for those who send the same text again.
//!
//! The guard is pure: for the same text, kind of source and access it says the same, so its answer can be kept without
//! ever being forgotten for a change. Each tenant has answers of its own: how quick an answer comes must not tell what
//! others ask.

use std::num::NonZeroUsize;

use ringfence_guard::{OpenPlan, Refusal, open_lifted, open_plan, scan_open};
use ringfence_policy::{ConnectionKind, OpenAccess, TenantId};
use sha2::{Digest as _, Sha256};

use crate::lifted::{Found, LiftedCache, Plan};

/// Statements behind each lock of the cache.
const KEPT: NonZeroUsize = NonZeroUsize::new(128).expect("128 is not zero");
/// Relations of one statement that the audit record names.
const MAX_TABLES: usize = 64;
const FINGERPRINT_BYTES: usize = 16;

/// A statement that may run, with what its records say of it.
pub(super) struct Judged {
    pub(super) plan: OpenPlan,
    pub(super) fingerprint: String,
    /// The relations it names.
    pub(super) tables: Vec<String>,
}

impl Plan for Judged {
    fn lifted(&self) -> &[bool] {
        self.plan.lifted()
    }
}

/// What was asked beside the text.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Question {
    tenant: TenantId,
    kind: ConnectionKind,
    read_only: bool,
    lifts: bool,
}

/// Judged statements, bounded.
pub(crate) struct JudgedStatements(LiftedCache<Question, Judged>);

impl JudgedStatements {
    /// Nothing is kept yet.
    pub(crate) fn new() -> Self {
        Self(LiftedCache::new(KEPT))
    }

    /// Has the guard judge a statement, unless it did. `lifts`: literals may become parameters.
    pub(super) fn judge(
        &self,
        tenant: &TenantId,
        statement: &str,
        kind: ConnectionKind,
        access: OpenAccess,
        lifts: bool,
    ) -> Result<Found<Judged>, Refusal> {
        let question = Question { tenant: tenant.clone(), kind, read_only: access.read_only, lifts };
        let scan = || lifts.then(|| scan_open(statement, kind, access)).flatten();
        self.0.find(&question, statement, scan, |scanned| {
            let plan = match scanned {
                Some(scanned) => open_lifted(scanned, kind, access),
                None => open_plan(statement, kind, access),
            };
            plan.map(Judged::of)
        })
    }
}

impl Judged {
    fn of(plan: OpenPlan) -> Self {
        let named = plan.named_relations().iter().take(MAX_TABLES);
        let tables = named.map(|relation| match &relation.schema {
            Some(schema) => format!("{schema}.{}", relation.name),
            None => relation.name.clone(),
        });
        Self { tables: tables.collect(), fingerprint: fingerprint(plan.fingerprint_text()), plan }
    }
}

/// What alike statements have in common, without a literal in it.
pub(crate) fn fingerprint(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    hex::encode(digest.iter().copied().take(FINGERPRINT_BYTES).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringfence_guard::Parameter;

    use super::*;

    #[test]
    fn an_answer_counts_for_its_own_question() {
        let statements = JudgedStatements::new();
        let (ours, theirs) = (TenantId::new("ours").unwrap(), TenantId::new("theirs").unwrap());
        let judge = |tenant, text: &str, kind, read_only| {
            statements.judge(tenant, text, kind, OpenAccess { read_only }, true).map_err(drop)
        };
        let first = judge(&ours, "SELECT 1", ConnectionKind::Postgresql, false).unwrap();
        let again = judge(&ours, "SELECT 1", ConnectionKind::Postgresql, false).unwrap();
        assert!(Arc::ptr_eq(&first.plan, &again.plan) && !first.cached && again.cached);
        let others = [
            judge(&theirs, "SELECT 1", ConnectionKind::Postgresql, false),
            judge(&ours, "SELECT 2", ConnectionKind::Postgresql, false),
            judge(&ours, "SELECT 1", ConnectionKind::Sqlite, false),
            judge(&ours, "SELECT 1", ConnectionKind::Postgresql, true),
        ];
        for other in others {
            assert!(!Arc::ptr_eq(&first.plan, &other.unwrap().plan));
        }
        let read_only = judge(&ours, "SELECT 1", ConnectionKind::Postgresql, true).unwrap();
        assert!(read_only.plan.plan.bind(Vec::new()).read_only());
        assert!(judge(&ours, "SELECT lo_unlink(1)", ConnectionKind::Postgresql, false).is_ok());
        assert!(judge(&ours, "SELECT lo_unlink(1)", ConnectionKind::Postgresql, true).is_err());
        assert!(judge(&ours, "SELECT 1; SELECT 2", ConnectionKind::Postgresql, false).is_err());
    }

    #[test]
    fn texts_that_differ_in_lifted_literals_share_an_answer() {
        let statements = JudgedStatements::new();
        let ours = TenantId::new("ours").unwrap();
        let judge = |text: &str, read_only, lifts| {
            let access = OpenAccess { read_only };
            statements.judge(&ours, text, ConnectionKind::Postgresql, access, lifts).map_err(drop)
        };
        let sql = |found: &Found<Judged>| found.plan.plan.bind(found.values.clone()).sql().to_owned();
        let first = judge("SELECT a FROM t WHERE b = 1", false, true).unwrap();
        let other = judge("SELECT a FROM t WHERE b = 2", false, true).unwrap();
        assert!(Arc::ptr_eq(&first.plan, &other.plan) && other.cached);
        assert_eq!(sql(&other), "SELECT a FROM t WHERE b = ($1::integer)");
        assert_eq!(other.values, [Parameter::Text("2".to_owned())]);
        // Another type, another plan; and where literals stay, they count.
        let big = judge("SELECT a FROM t WHERE b = 3000000000", false, true).unwrap();
        assert_eq!(sql(&big), "SELECT a FROM t WHERE b = ($1::bigint)");
        let as_written = judge("SELECT a FROM t WHERE b = 2", false, false).unwrap();
        assert_eq!(sql(&as_written), "SELECT a FROM t WHERE b = 2");
        let one = judge("SELECT a, 1 FROM t WHERE b = 'x'", false, true).unwrap();
        let two = judge("SELECT a, 2 FROM t WHERE b = 'y'", false, true).unwrap();
        let again = judge("SELECT a, 1 FROM t WHERE b = 'z'", false, true).unwrap();
        assert_eq!(sql(&two), "SELECT a, 2 FROM t WHERE b = ($1)");
        assert!(Arc::ptr_eq(&one.plan, &again.plan) && !Arc::ptr_eq(&one.plan, &two.plan));
        // On a read-only connection each text is looked into.
        assert!(judge("SELECT a FROM t WHERE b = 'x'", true, true).is_ok());
        assert!(judge("SELECT a FROM t WHERE b = 'lo_unlink(1)'", true, true).is_err());
    }
}
