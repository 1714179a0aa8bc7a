//! Access rules in memory, parsed, for the road that every query takes.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use ringfence_policy::{AccessRule, ConnectionKind, OrgId, Principal, RelationName, RuleKind};
use ringfence_store::Store;
use ringfence_store::access_rules::{RulePlace, StoredRule};

use crate::versions::Versions;
use crate::{GatewayConfig, Refused};

/// How long a copy is trusted when no news of changes arrive. News do arrive: this is the second line.
const TRUST: Duration = Duration::from_mins(1);
/// Places that are remembered, those without rules too.
const KEPT: u64 = 4_096;

/// The rules that one organization has on a place, at one moment.
#[derive(Debug, Default)]
pub(crate) struct RuleSet {
    pub(crate) rules: Vec<AccessRule>,
}

impl RuleSet {
    /// Whether one of them is for the principal.
    pub(crate) fn bind(&self, principal: &Principal) -> bool {
        self.rules.iter().any(|rule| rule.applies_to(principal))
    }
}

/// Rules by organization and place, bounded. Every copy carries the version of its place as it was before the store was
/// read.
// INVARIANT: a query that starts after a rule was changed sees the change; the test `a_rule_takes_effect_at_once` holds it.
pub(crate) struct RuleCache {
    copies: Cache<(OrgId, RulePlace), Copied>,
    versions: Versions,
}

#[derive(Clone)]
struct Copied {
    rules: Arc<RuleSet>,
    version: u64,
}

impl RuleCache {
    pub(crate) fn new(_config: &GatewayConfig) -> Self {
        Self {
            copies: Cache::builder().max_capacity(KEPT).time_to_live(TRUST).build(),
            versions: Versions::new(),
        }
    }

    /// Trusts no copy of the rules on this place any more.
    pub(crate) fn forget(&self, place: &RulePlace) {
        self.versions.advance(place);
    }

    /// Trusts no copy any more.
    pub(crate) fn forget_all(&self) {
        self.versions.advance_all();
    }

    /// The rules that bind somebody of the organization on that place.
    pub(crate) async fn of(
        &self,
        store: &Store,
        org: &OrgId,
        place: RulePlace,
        kind: ConnectionKind,
    ) -> Result<Arc<RuleSet>, Refused> {
        let name = (org.clone(), place);
        match self.copies.get(&name).await {
            Some(copy) if copy.version == self.versions.of(&name.1) => Ok(copy.rules),
            _ => Box::pin(self.read(store, name, kind)).await,
        }
    }

    async fn read(
        &self,
        store: &Store,
        name: (OrgId, RulePlace),
        kind: ConnectionKind,
    ) -> Result<Arc<RuleSet>, Refused> {
        let version = self.versions.of(&name.1);
        let stored = store.access_rules().list(&name.1, Some(&name.0)).await?;
        let rules = Arc::new(RuleSet { rules: stored.iter().map(|rule| load(rule, kind)).collect() });
        // A copy that was overtaken carries a version that is never asked for.
        self.copies.insert(name, Copied { rules: rules.clone(), version }).await;
        Ok(rules)
    }
}

/// The rule as it is decided with.
//
// INVARIANT: a filter that can't be read any more hides its table, and is not left out. Held by the test
// `a_rule_that_can_not_be_read_blocks`.
pub(super) fn load(stored: &StoredRule, kind: ConnectionKind) -> AccessRule {
    let table = RelationName::new(&stored.schema, &stored.table);
    let filter = stored.expression.as_deref().map(|text| RuleKind::filter(text, &table, kind));
    let kind = match filter {
        None => RuleKind::Block,
        Some(Ok(filter)) => filter,
        Some(Err(invalid)) => {
            tracing::error!(rule.id = %stored.id, error = %invalid, "a stored access rule can't be read: it blocks");
            RuleKind::Block
        }
    };
    AccessRule {
        id: stored.id.clone(),
        table,
        org: stored.org.clone(),
        tenant: stored.tenant.clone(),
        user: stored.user.clone(),
        kind,
    }
}

#[cfg(test)]
mod tests {
    use ringfence_policy::UserId;

    use super::*;

    #[test]
    fn a_rule_that_can_not_be_read_blocks() {
        let stored = |expression: Option<&str>| StoredRule {
            id: "r".to_owned(),
            name: "r".to_owned(),
            schema: "public".to_owned(),
            table: "movies".to_owned(),
            org: None,
            tenant: None,
            user: None,
            expression: expression.map(str::to_owned),
            author: UserId::new("ann").unwrap(),
            author_rank: 5,
            created_at: 1,
        };
        let kind = |expression| load(&stored(expression), ConnectionKind::Postgresql).kind;
        assert!(matches!(kind(Some("year > 1995")), RuleKind::Filter(_)));
        assert_eq!(kind(None), RuleKind::Block);
        assert_eq!(kind(Some("year > ")), RuleKind::Block);
    }
}
