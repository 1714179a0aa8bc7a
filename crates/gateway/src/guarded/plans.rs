//! Statements that the guard has put behind the fences of a view, kept for all who see through it.

use std::num::NonZeroUsize;

use ringfence_guard::{GuardedPlan, GuardedQuery, Refusal, guard, guard_lifted, scan};
use ringfence_policy::{ConnectionKind, Principal, RelationName};

use super::views::Shape;
use crate::lifted::{Found, LiftedCache, Plan};
use crate::queries::fingerprint;

/// Plans behind each lock of the cache.
const KEPT: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");

/// Plans, bounded. A plan holds no principal's values, and a shape's number is never used again.
pub(crate) struct PlanCache(LiftedCache<u64, Planned>);

/// A plan, with what the records say of it.
pub(crate) struct Planned {
    pub(crate) plan: GuardedPlan,
    pub(crate) fingerprint: String,
    pub(crate) tables: Vec<String>,
}

impl Plan for Planned {
    fn lifted(&self) -> &[bool] {
        self.plan.lifted()
    }

    fn is_large(&self) -> bool {
        self.plan.is_large()
    }
}

impl Found<Planned> {
    /// The query of one principal.
    pub(crate) fn bind(
        &self,
        principal: &Principal,
        parameters: &[Option<String>],
    ) -> Result<GuardedQuery, Refusal> {
        self.plan.plan.bind_lifted(principal, parameters, &self.values)
    }
}

impl PlanCache {
    pub(crate) fn new() -> Self {
        Self(LiftedCache::new(KEPT))
    }

    /// Has the guard put the statement behind the shape's fences, unless it did. A shape belongs to one connection's
    /// snapshot, so its kind of source is always the same.
    pub(crate) fn plan(
        &self,
        statement: &str,
        kind: ConnectionKind,
        shape: &Shape,
    ) -> Result<Found<Planned>, Refusal> {
        let found = self.0.find(
            &shape.number,
            statement,
            || scan(statement, kind),
            |scanned| {
                let plan = match scanned {
                    Some(scanned) => guard_lifted(scanned, kind, &shape.view),
                    None => guard(statement, kind, &shape.view),
                };
                plan.map(Planned::of)
            },
        )?;
        metrics::counter!("ringfence_plans_total", "known" => if found.cached { "yes" } else { "no" })
            .increment(1);
        Ok(found)
    }
}

impl Planned {
    /// With what is said of it.
    pub(crate) fn of(plan: GuardedPlan) -> Self {
        Self {
            fingerprint: fingerprint(plan.fingerprint_text()),
            tables: plan.relations().iter().map(shown).collect(),
            plan,
        }
    }
}

/// As records name a relation.
pub(crate) fn shown(relation: &RelationName) -> String {
    format!("{}.{}", relation.schema, relation.name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringfence_policy::{Catalog, OrgId, Permissions, Policy, Question, TenantId, UserId, view};
    use serde_json::json;

    use super::*;
    use crate::guarded::views::Views;

    const KIND: ConnectionKind = ConnectionKind::Postgresql;

    /// What each of five roles sees differs; what tenants of one role see differs in values alone.
    const POLICY: &str = "
models:
  Order:
    table: public.orders
    scoping: { tenant_id: principal.attributes.tenant }
    fields:
      note:
        - { roles: [role_0], action: allow }
        - { roles: [role_1], action: 'null' }
        - { roles: [role_2], action: redact }
        - { roles: [role_3], action: mask, mask_pattern: '****{last4}' }
        - { roles: [role_4], action: redact, constant: gone }
";

    fn catalog() -> Catalog {
        let column = |name, data_type| json!({ "name": name, "data_type": data_type });
        let columns = [column("id", "bigint"), column("tenant_id", "integer"), column("note", "text")];
        let orders = json!({ "name": "orders", "kind": "table", "columns": columns });
        let catalog = json!({ "database": "shop", "schemas": [{ "name": "public", "relations": [orders] }] });
        serde_json::from_value(catalog).unwrap()
    }

    fn principal(number: usize) -> Principal {
        let attributes = [("tenant".to_owned(), json!(number))].into_iter().collect();
        Principal {
            org: OrgId::new("acme").unwrap(),
            tenant: TenantId::new(&format!("tenant-{number}")).unwrap(),
            user: UserId::new(&format!("user-{number}")).unwrap(),
            name: "User".to_owned(),
            roles: Vec::new(),
            data_roles: Arc::new([format!("role_{}", number % 5)]),
            permissions: Permissions::default(),
            attributes: Arc::new(attributes),
            acted_by: None,
            application: None,
            agent: None,
            standing: None,
        }
    }

    #[test]
    fn plans_grow_with_view_shapes_and_not_with_tenants() {
        let (policy, catalog) = (Policy::load("policy.yaml", POLICY, KIND).unwrap(), catalog());
        let mut sizes = Vec::new();
        for tenants in [1_000, 10_000, 100_000] {
            let (views, plans) = (Views::of(&catalog), PlanCache::new());
            let mut known = 0;
            for number in 0..tenants {
                let principal = principal(number);
                let seen = view(Question {
                    policy: &policy,
                    catalog: &catalog,
                    unfiltered: &catalog,
                    rules: &[],
                    principal: &principal,
                });
                let shape = views.shape(seen);
                // Each asks for rows of their own.
                let statement = format!("SELECT id, note FROM orders WHERE id = {number} AND tenant_id <> 1");
                let found = plans.plan(&statement, KIND, &shape).unwrap();
                known += usize::from(found.cached);
                let query = found.bind(&principal, &[]).unwrap();
                assert_eq!(query.parameters().len(), 3);
            }
            assert_eq!(known, tenants - 5, "the five shapes were planned for once each");
            sizes.push(plans.0.size());
        }
        assert_eq!(sizes[0].0, 5);
        assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
    }
}
