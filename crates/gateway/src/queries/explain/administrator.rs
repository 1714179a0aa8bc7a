//! The administrator's view of a statement: what the database gets, and the rules behind it.

use std::borrow::Cow;
use std::sync::Arc;

use ringfence_engine::{RunOptions, SourceAddress, SourceError, Value};
use ringfence_guard::{GuardedPlan, Parameter, PlanParameter};
use ringfence_policy::expression::PrincipalPath;
use ringfence_policy::mask::HASH_KEY_ATTRIBUTE;
use ringfence_policy::{
    Attributes, ConnectionKind, OpenAccess, Permission, Principal, RelationName, RunMode,
};
use ringfence_store::connections::Connection;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{AdministratorsView, ExplainRequest, Sent, SentParameter, Standpoint, limits, reasons};
use crate::catalog::find_relation;
use crate::guarded::{Lens, Planned, Seat, Snapshot};
use crate::lifted::Found;
use crate::queries::{budgets, guard, options};
use crate::{Call, Gateway, Refused};

/// Relations of a refused statement that are explained.
const MOST_RELATIONS: usize = 64;
/// Lines of a plan.
const MOST_LINES: u64 = 10_000;

/// A statement of somebody, on its way.
struct Trial<'a> {
    gateway: &'a Gateway,
    /// As the one whom it is about.
    call: &'a Call,
    connection: &'a Connection,
    request: &'a ExplainRequest,
    address: SourceAddress,
    options: RunOptions,
    cancel: CancellationToken,
}

pub(super) async fn view(
    gateway: &Gateway,
    call: &Call,
    request: &ExplainRequest,
) -> Result<AdministratorsView, Refused> {
    let standpoint = gateway.stand_before(call, request.as_user.as_deref(), &request.key).await?;
    let Standpoint { permit, target, asked, connection, address, lens, catalog_version } = standpoint;
    let options = options::options(&gateway.shared.config, &request.query)?;
    let view = AdministratorsView {
        asked,
        policy_version: lens.as_ref().filter(|lens| !lens.is_confined()).map(|lens| lens.policy.version),
        catalog_version,
        refusal: None,
        sent: None,
        limits: limits(&options),
        relations: Vec::new(),
        read_by_policy: Vec::new(),
        plan: None,
    };
    let cancel = permit.cancel.clone();
    let trial = Trial { gateway, call: &target, connection: &connection, request, address, options, cancel };
    match lens {
        Some(lens) => trial.guarded(view, lens).await,
        None => Ok(trial.open(view)),
    }
}

impl Trial<'_> {
    /// On an open connection the statement goes as it is.
    fn open(self, mut view: AdministratorsView) -> AdministratorsView {
        let read_only = self.connection.spec.db_access_policy.read_only;
        let statement = &self.request.query.statement;
        let kind = self.address.kind;
        match ringfence_guard::open(statement, kind, OpenAccess { read_only }) {
            Err(refusal) => view.refusal = Some(refusal.into()),
            Ok(query) => {
                view.sent = Some(Sent {
                    sql: query.sql().to_owned(),
                    parameters: Vec::new(),
                    barrier: false,
                    cached: false,
                    changes: !query.read_only(),
                    max_changes: None,
                    bypasses: Vec::new(),
                });
            }
        }
        view
    }

    async fn guarded(
        mut self,
        mut view: AdministratorsView,
        lens: Lens,
    ) -> Result<AdministratorsView, Refused> {
        let kind = lens.policy.policy.kind;
        let schema = self.options.current_schema.take();
        let seated = self.gateway.seat(self.call, self.connection, lens, schema.as_deref()).await?;
        let (snapshot, seat) = seated;
        self.address = snapshot.policy.destination(self.address);
        let statement = &self.request.query.statement;
        let found = match guard::plan(self.gateway, self.call, self.connection, (&snapshot, &seat), statement)
            .await
        {
            Ok(found) => found,
            Err(refused) => {
                view.refusal = Some(refused);
                let named = named(&snapshot, &seat, statement, kind);
                let question = snapshot.question(&seat);
                view.relations = named.iter().map(|name| reasons::relation(question, name)).collect();
                return Ok(view);
            }
        };
        let plan = &found.plan.plan;
        budgets::narrow(&mut self.options, &snapshot.policy.policy, &seat.principal, plan);
        view.limits = limits(&self.options);
        let question = snapshot.question(&seat);
        view.relations = plan.named().iter().map(|name| reasons::relation(question, name)).collect();
        let only_policy = plan.relations().iter().filter(|relation| !plan.named().contains(relation));
        view.read_by_policy = only_policy.cloned().collect();
        view.sent = Some(sent(&found, &seat));
        // What the database says of it is about the statement as it was written.
        let plan = ringfence_guard::guard(statement, kind, &seat.shape.view)?;
        view.refusal = match budgets::refuse_breadth(&snapshot.policy.policy, &seat.principal, &plan) {
            Err((refused, _)) => Some(refused),
            Ok(()) => self.refusal(&plan, &seat).await.err(),
        };
        if self.request.plan && view.refusal.is_none() {
            view.plan = self.plan(&plan, &seat, kind).await?;
        }
        Ok(view)
    }

    /// What running it would be refused with, as far as that can be told without running it.
    async fn refusal(&self, plan: &GuardedPlan, seat: &Seat) -> Result<(), Refused> {
        self.call.needs(Permission::ReadDatabases)?;
        let request = &self.request.query;
        let parameters = guard::parameters(plan, RunMode::Explain, request);
        let query = plan.bind(&seat.principal, &parameters)?;
        if plan.writes() {
            guard::check_write(self.connection, plan, seat, RunMode::Execute, request)?;
        }
        let engine = &self.gateway.shared.engine;
        let planned = tokio::select! {
            planned = engine.explain(&self.address, &query, &self.options) => planned,
            () = self.cancel.cancelled() => Err(SourceError::Cancelled),
        };
        planned.map(drop).map_err(|error| guard::told(error, &request.statement))
    }

    /// The database's own plan. It is made with another key for hashes: a plan shows its parameters.
    async fn plan(
        &self,
        plan: &GuardedPlan,
        seat: &Seat,
        kind: ConnectionKind,
    ) -> Result<Option<Vec<String>>, Refused> {
        // The others would have to be let at the rows to plan a change.
        if plan.writes() && kind != ConnectionKind::Postgresql {
            return Ok(None);
        }
        let request = &self.request.query;
        let parameters = guard::parameters(plan, RunMode::Explain, request);
        let query = plan.bind_to_explain(kind, &without_secrets(&seat.principal), &parameters)?;
        let options = RunOptions { max_rows: MOST_LINES, ..self.options.clone() };
        let engine = &self.gateway.shared.engine;
        let ran = engine.run(&self.address, &query, &options, self.cancel.clone()).await;
        let result = ran.map_err(|error| guard::told(error, &request.statement))?;
        Ok(Some(lines(&result.rows, kind)))
    }
}

/// The relations that a refused statement names, as far as its words tell, as stored where there are any.
fn named(snapshot: &Snapshot, seat: &Seat, statement: &str, kind: ConnectionKind) -> Vec<RelationName> {
    let Ok(named) = ringfence_guard::named_relations(statement, kind) else { return Vec::new() };
    let catalog = &snapshot.shown.unfiltered;
    let search = &seat.shape.view.search;
    let stored = |relation: &ringfence_guard::NamedRelation| {
        let schemas: Vec<&str> = match &relation.schema {
            Some(schema) => vec![schema],
            None => search.iter().map(String::as_str).collect(),
        };
        let mut found = schemas.iter().filter_map(|schema| {
            let (schema, relation) = find_relation(catalog, Some(schema), &relation.name)?;
            Some(RelationName::new(&schema.name, &relation.name))
        });
        let first = schemas.first().copied().unwrap_or_default();
        found.next().unwrap_or_else(|| RelationName::new(first, &relation.name))
    };
    let mut all: Vec<RelationName> = Vec::new();
    for relation in named.iter().take(MOST_RELATIONS).map(stored) {
        if !all.contains(&relation) {
            all.push(relation);
        }
    }
    all
}

fn sent(found: &Found<Planned>, seat: &Seat) -> Sent {
    let plan = &found.plan.plan;
    let described = |parameter: PlanParameter| match parameter {
        PlanParameter::Lifted(number) => literal(number, &found.values),
        other => described(&other, &seat.principal),
    };
    Sent {
        sql: plan.sql().to_owned(),
        parameters: plan.parameters().map(described).collect(),
        barrier: plan.has_barrier(),
        cached: found.cached,
        changes: plan.writes(),
        max_changes: plan.max_changes(),
        bypasses: plan.bypasses().to_vec(),
    }
}

/// A literal that the statement has, and its plan has not.
fn literal(number: usize, values: &[Parameter]) -> SentParameter {
    let value = values.get(number).and_then(|value| match value {
        Parameter::Text(text) => Some(text.as_str().into()),
        _ => None,
    });
    SentParameter { is: "a literal of the statement".to_owned(), value }
}

fn described(parameter: &PlanParameter, principal: &Principal) -> SentParameter {
    match parameter {
        PlanParameter::Caller(number) => {
            SentParameter { is: format!("parameter {number} of the caller"), value: None }
        }
        PlanParameter::Lifted(number) => literal(*number, &[]),
        PlanParameter::Principal(value) if is_secret(&value.path) => {
            SentParameter { is: "the tenant's key for hashes".to_owned(), value: None }
        }
        PlanParameter::PrincipalList(path) if is_secret(path) => {
            SentParameter { is: "the tenant's key for hashes".to_owned(), value: None }
        }
        PlanParameter::Principal(value) => {
            let whole = principal.value(&value.path);
            let item = value.item.and_then(|item| whole.as_ref()?.get(item).cloned());
            SentParameter { is: value.to_string(), value: item.or_else(|| whole.map(Cow::into_owned)) }
        }
        PlanParameter::System => {
            SentParameter { is: "the system catalog as the principal sees it".to_owned(), value: None }
        }
        PlanParameter::PrincipalList(path) => {
            SentParameter { is: path.to_string(), value: principal.value(path).map(Cow::into_owned) }
        }
    }
}

/// What the server adds to a principal's attributes is nobody's to see.
fn is_secret(path: &PrincipalPath) -> bool {
    matches!(path, PrincipalPath::Attribute(parts) if parts.first().is_some_and(|first| first == HASH_KEY_ATTRIBUTE[0]))
}

/// INVARIANT: no text that goes to the administrator holds a tenant's key. Held by the test `secrets_stay_secret`.
fn without_secrets(principal: &Principal) -> Principal {
    let mut attributes = Attributes::clone(&principal.attributes);
    let [reserved, name] = HASH_KEY_ATTRIBUTE;
    attributes.insert(reserved.to_owned(), json!({ name: "***" }));
    Principal { attributes: Arc::new(attributes), ..principal.clone() }
}

/// The rows of EXPLAIN as lines. SQLite's are nodes of a tree: (id, parent, something, detail).
fn lines(rows: &[Vec<Value>], kind: ConnectionKind) -> Vec<String> {
    if kind == ConnectionKind::Sqlite {
        let mut depths: Vec<(i64, usize)> = Vec::new();
        return rows
            .iter()
            .filter_map(|row| match row.as_slice() {
                [Value::Integer(id), Value::Integer(parent), _, detail] => {
                    let above = depths.iter().find(|(known, _)| known == parent);
                    let depth = above.map_or(0, |(_, depth)| depth + 1);
                    depths.push((*id, depth));
                    Some(format!("{}{}", "  ".repeat(depth), text(detail)))
                }
                _ => None,
            })
            .collect();
    }
    let cells = rows.iter().filter_map(|row| row.last()).map(text);
    cells.flat_map(|cell| cell.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Json(json) => json.get().to_owned(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}
