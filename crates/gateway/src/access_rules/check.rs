//! What a rule must be before it is kept: on a table that is there, one condition, with variables that somebody has, and
//! fine with the database.

use std::sync::Arc;

use ringfence_engine::{Explained, SourceError};
use ringfence_guard::guard;
use ringfence_policy::id::check_name;
use ringfence_policy::{
    AccessRule, Catalog, ConnectionKind, Policy, Principal, Question, RelationName, RuleKind, View,
    VisibleColumn, view,
};
use ringfence_store::access_rules::StoredRule;
use ringfence_store::connections::{Connection, Proof};
use ringfence_store::users::UserFilter;

use super::{Audience, MAX_NAME_BYTES, NewRule, cache, is_of_tenant, relation_of};
use crate::annotations;
use crate::catalog::find_relation;
use crate::connections::address_of;
use crate::guarded::Lens;
use crate::limits::given;
use crate::{Call, Code, Gateway, Refused};

/// Users among whom one is looked for who has a rule's variables.
const MOST_USERS: u32 = 1_000;

impl Gateway {
    /// The rule as it is kept.
    pub(super) async fn checked_rule(
        &self,
        call: &Call,
        connection: &Connection,
        rule: NewRule,
        audience: Audience,
        known: &[StoredRule],
    ) -> Result<StoredRule, Refused> {
        let id = match given(rule.id.as_deref()) {
            Some(id) => id.to_owned(),
            None => crate::call::new_query_id().to_string(),
        };
        check_name("rule's id", &id, MAX_NAME_BYTES)?;
        check_name("rule's name", &rule.name, MAX_NAME_BYTES)?;
        let catalog = self.catalog_for_rules(call, connection).await?;
        let table = table_of(&catalog, &rule.table, &id, known)?;
        let stored = StoredRule {
            id,
            name: rule.name,
            schema: table.schema.clone(),
            table: table.name.clone(),
            org: audience.org,
            tenant: audience.tenant,
            user: audience.user,
            expression: rule.expression,
            author: call.principal().authenticated_user().clone(),
            author_rank: call.principal().rank(),
            created_at: crate::call::now_ms(),
        };
        if let Some(expression) = &stored.expression {
            let kind = connection.spec.kind().map_err(|invalid| Refused::invalid(invalid.to_string()))?;
            let filter = RuleKind::filter(expression, &table, kind)
                .map_err(|invalid| unusable(&stored, &invalid.to_string()))?;
            // Sub-queries read whole tables, rows of other tenants among them.
            if is_of_tenant(call) && filter.has_query() {
                return Err(unusable(&stored, "a sub-query takes an administrator of the organization"));
            }
            if let Some(problem) = filter.check(&table, kind, &catalog).first() {
                return Err(unusable(&stored, &problem.message));
            }
            self.check_filter(call, connection, &stored, &filter, &catalog).await?;
        }
        Ok(stored)
    }

    /// The catalog whose tables a caller writes rules on: what hides from them by rules is still theirs to write on, what a
    /// policy or a content filter hides is not, except for those who write policies.
    async fn catalog_for_rules(&self, call: &Call, connection: &Connection) -> Result<Arc<Catalog>, Refused> {
        let not_ready = || {
            Refused::new(
                Code::CatalogNotReady,
                "this connection is not indexed yet: wait until its status is completed",
            )
        };
        if connection.proof != Proof::Proven {
            self.ask_for_proof(call, connection);
            return Err(not_ready());
        }
        let source = self.shared.store.sources().get(connection.source).await?;
        let source = source.filter(|source| source.org == call.principal().org).ok_or_else(not_ready)?;
        let shown = self.shared.catalogs.shown(&self.shared.store, source).await?.ok_or_else(not_ready)?;
        if !is_of_tenant(call) {
            return Ok(shown.unfiltered.clone());
        }
        match self.policy_of(call, connection).await? {
            None => Ok(shown.catalog.clone()),
            Some(policy) => {
                let (snapshot, seat) = self.seat(call, connection, Lens::of_policy(policy), None).await?;
                let behind = seat.shape.behind(&snapshot).await;
                Ok(Arc::new(without_masked(&behind.catalog, &seat.shape.view)))
            }
        }
    }

    /// Has the database plan a query behind the filter, as somebody whom it is for.
    async fn check_filter(
        &self,
        call: &Call,
        connection: &Connection,
        rule: &StoredRule,
        filter: &RuleKind,
        catalog: &Arc<Catalog>,
    ) -> Result<(), Refused> {
        let variables = filter.own_variables();
        let somebody = self.somebody(call, rule, &variables).await?;
        let Some(principal) = somebody else {
            let message = match variables.as_slice() {
                // Nobody is there yet whom it is for: then it is checked when it is used.
                [] => return Ok(()),
                names => format!("no such variable for those whom it is for: {}", names.join(", ")),
            };
            return Err(unusable(rule, &message));
        };
        let address = address_of(connection, &call.principal().org)?;
        let query = match probe(address.kind, rule, filter, catalog, &principal) {
            Ok(query) => query,
            Err(message) => return Err(unusable(rule, &message)),
        };
        let options = self.shared.config.planning();
        match self.shared.engine.explain(&address, &query, &options).await {
            Ok(Explained::Plan(_) | Explained::NoPlan) => Ok(()),
            Err(SourceError::Statement { message, .. }) => Err(unusable(rule, &message)),
            Err(other) => Err(other.into()),
        }
    }

    /// Somebody whom the rule is for and who has these variables: the caller if possible.
    async fn somebody(
        &self,
        call: &Call,
        rule: &StoredRule,
        variables: &[String],
    ) -> Result<Option<Arc<Principal>>, Refused> {
        let is_for = cache::load(rule, ConnectionKind::Postgresql);
        let fits = |principal: &Principal| {
            let has = |name: &String| principal.attributes.get(name).is_some_and(|value| !value.is_null());
            is_for.applies_to(principal) && variables.iter().all(has)
        };
        if fits(call.principal()) {
            return Ok(Some(Arc::new(call.principal().clone())));
        }
        let filter =
            UserFilter { org: rule.org.clone(), tenant: rule.tenant.clone(), user: rule.user.clone() };
        for user in self.shared.store.users().some(&filter, MOST_USERS).await? {
            let principal = self.shared.principals.principal(&self.shared.store, &user.id).await?;
            if let Some(principal) = principal.filter(|principal| fits(principal)) {
                return Ok(Some(principal));
            }
        }
        Ok(None)
    }
}

/// The table as stored: one that the catalog shows, or that of the rule which this one replaces.
fn table_of(
    catalog: &Catalog,
    table: &annotations::RelationName,
    id: &str,
    known: &[StoredRule],
) -> Result<RelationName, Refused> {
    if let Some((schema, relation)) = find_relation(catalog, table.schema.as_deref(), &table.name) {
        return Ok(RelationName::new(&schema.name, &relation.name));
    }
    let replaced = known.iter().find(|rule| rule.id == id).map(relation_of);
    let is_same = |name: &RelationName| {
        name.name.eq_ignore_ascii_case(&table.name)
            && table.schema.as_ref().is_none_or(|schema| name.schema.eq_ignore_ascii_case(schema))
    };
    replaced
        .filter(|name| is_same(name) && catalog.relation(&name.schema, &name.name).is_some())
        .ok_or_else(|| Refused::invalid("no such table: name one that the catalog shows"))
}

/// A filter over the raw values of a masked column would tell them.
fn without_masked(catalog: &Catalog, view: &View) -> Catalog {
    let mut plain = catalog.clone();
    for schema in &mut plain.schemas {
        for relation in &mut schema.relations {
            let seen = view.relations.get(&RelationName::new(&schema.name, &relation.name));
            relation.columns.retain(|column| {
                let is_plain = |seen: &VisibleColumn| seen.name == column.name && seen.mask.is_none();
                seen.is_some_and(|entitlement| entitlement.columns.iter().any(is_plain))
            });
        }
    }
    plain
}

/// A query of the table through the filter alone.
fn probe(
    kind: ConnectionKind,
    rule: &StoredRule,
    filter: &RuleKind,
    catalog: &Catalog,
    principal: &Principal,
) -> Result<ringfence_guard::GuardedQuery, String> {
    let table = relation_of(rule);
    let everybody = AccessRule {
        id: rule.id.clone(),
        table: table.clone(),
        org: None,
        tenant: None,
        user: None,
        kind: filter.clone(),
    };
    let seen = view(Question {
        policy: &Policy::open(kind, Vec::new()),
        catalog,
        unfiltered: catalog,
        rules: &[everybody],
        principal,
    });
    let plan = guard(&all_of(&table, kind), kind, &seen).map_err(|refusal| refusal.to_string())?;
    plan.bind(principal, &[]).map_err(|refusal| refusal.to_string())
}

/// `SELECT * FROM` the relation, its name quoted.
pub(crate) fn all_of(relation: &RelationName, kind: ConnectionKind) -> String {
    let quote = if kind == ConnectionKind::Mysql { '`' } else { '"' };
    let quoted = |name: &str| format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")));
    format!("SELECT * FROM {}.{}", quoted(&relation.schema), quoted(&relation.name))
}

fn unusable(rule: &StoredRule, why: &str) -> Refused {
    Refused::invalid(format!("the expression of the rule \"{}\" can't be used: {why}", rule.id))
}
