//! Statements that the guard has put behind the fences of a view, kept for all who see through it.

use std::num::NonZeroUsize;
use std::sync::Arc;

use ringfence_guard::{GuardedPlan, GuardedQuery, Parameter, Refusal, guard, guard_lifted, scan};
use ringfence_policy::{ConnectionKind, Principal, RelationName, View};

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
    /// Columns that it may have read the masks of.
    pub(crate) masked: Arc<[String]>,
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

    /// The same with parameters that are more than texts.
    pub(crate) fn bind_typed(
        &self,
        principal: &Principal,
        parameters: &[Parameter],
    ) -> Result<GuardedQuery, Refusal> {
        self.plan.plan.bind_typed(principal, parameters, &self.values)
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
                plan.map(|plan| Planned::of(plan, &shape.view))
            },
        )?;
        metrics::counter!("ringfence_plans_total", "known" => if found.cached { "yes" } else { "no" })
            .increment(1);
        Ok(found)
    }
}

impl Planned {
    /// With what is said of it.
    pub(crate) fn of(plan: GuardedPlan, view: &View) -> Self {
        Self {
            masked: masked(&plan, view),
            fingerprint: fingerprint(plan.fingerprint_text()),
            tables: plan.relations().iter().map(shown).collect(),
            plan,
        }
    }
}

/// The masked columns that the statement names, or all of its relations' where it may take columns without their names. A
/// name may be another relation's, too: what is told may be too much, and never too little.
fn masked(plan: &GuardedPlan, view: &View) -> Arc<[String]> {
    let seen = plan.named().iter().filter_map(|name| view.relations.get(name));
    let masked: Vec<_> = seen
        .flat_map(|entitlement| {
            let masked = entitlement.columns.iter().filter(|column| column.mask.is_some());
            masked.map(|column| (&entitlement.relation, column.name.as_str()))
        })
        .collect();
    if masked.is_empty() {
        return Arc::default();
    }
    let text = plan.fingerprint_text().to_lowercase();
    let names = plan.named().iter().map(|relation| &relation.name).chain(plan.aliases());
    let takes_all = takes_all(&text, names);
    let is_read = |column: &str| takes_all || text.contains(&column.to_lowercase());
    let read = masked.into_iter().filter(|(_, column)| is_read(column));
    read.map(|(relation, column)| format!("{}.{column}", shown(relation))).collect()
}

/// Whether the statement may take columns without naming them: by a wildcard, a natural join, or a row as a whole, which
/// has a relation's name or alias once more than where it is given.
fn takes_all<'a>(text: &str, mut names: impl Iterator<Item = &'a String>) -> bool {
    let is_inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    let bare = |name: &str| {
        let found = text.match_indices(name).filter(|(at, _)| {
            let (before, after) = (&text[..*at], &text[at + name.len()..]);
            let after = after.strip_prefix(['"', '`']).unwrap_or(after);
            let is_whole = !before.ends_with(is_inside) && !after.starts_with(is_inside);
            is_whole && !after.trim_start().starts_with('.')
        });
        found.count()
    };
    text.contains('*') || text.contains("natural") || names.any(|name| bare(&name.to_lowercase()) > 1)
}

/// As records name a relation.
pub(crate) fn shown(relation: &RelationName) -> String {
    format!("{}.{}", relation.schema, relation.name)
}

#[cfg(test)]
mod tests {
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
    fn masked_columns_that_are_read_are_told() {
        let (policy, catalog, principal) =
            (Policy::load("policy.yaml", POLICY, KIND).unwrap(), catalog(), principal(3));
        let (policy, catalog, principal) = (&policy, &catalog, &principal);
        let view = view(Question { policy, catalog, unfiltered: catalog, rules: &[], principal });
        let masked =
            |statement: &str| Planned::of(guard(statement, KIND, &view).unwrap(), &view).masked.to_vec();
        for statement in [
            "SELECT note FROM orders",
            "SELECT id FROM orders o WHERE o.\"note\" = 'x'",
            "SELECT * FROM orders",
            "SELECT o FROM orders o",
            "SELECT row_to_json(orders) FROM public.orders",
            "SELECT a.id FROM orders a NATURAL JOIN orders b",
        ] {
            assert_eq!(masked(statement), ["public.orders.note"], "{statement}");
        }
        for statement in ["SELECT id FROM orders", "SELECT o.id FROM orders o WHERE o.tenant_id = 3"] {
            assert!(masked(statement).is_empty(), "{statement}");
        }
    }

    #[test]
    fn plans_grow_with_view_shapes_and_not_with_tenants() {
        let (policy, catalog) = (Policy::load("policy.yaml", POLICY, KIND).unwrap(), catalog());
        let mut sizes = Vec::new();
        for tenants in [1_000, 10_000, 100_000] {
            let (views, plans) = (Views::of(&catalog, NonZeroUsize::new(1_024).unwrap()), PlanCache::new());
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
