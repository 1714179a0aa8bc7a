//! The part of the road that a guarded connection adds: the statement goes behind the fences of the caller's view.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use ringfence_engine::{RunOptions, SourceError};
use ringfence_guard::{GuardedPlan, GuardedQuery, Refusal};
use ringfence_policy::document::Budget;
use ringfence_policy::{Policy, RelationName, RunMode};
use ringfence_store::connections::Connection;

use super::QueryRequest;
use super::judged::fingerprint;
use crate::guarded::Seat;
use crate::policies::LoadedPolicy;
use crate::{Call, Code, Gateway, Refused};

/// SQLSTATEs of names that the database does not have. The guard has looked all names up in the catalog, so these come
/// from a database that changed since; its text may name what only the policy names.
const LOST_NAMES: [&str; 4] = ["42P01", "42703", "42704", "3F000"];

/// Guards and binds one statement, and narrows its limits to the policy's budgets.
pub(super) async fn guard(
    gateway: &Gateway,
    call: &Call,
    connection: &Connection,
    policy: Arc<LoadedPolicy>,
    (mode, request): (RunMode, &QueryRequest),
    options: &mut RunOptions,
) -> Result<GuardedQuery, Refused> {
    let kind = policy.policy.kind;
    // Names are looked up by the guard: the database hears no schema.
    let schema = options.current_schema.take();
    let (snapshot, seat) = gateway.seat(call, connection, policy, schema.as_deref()).await?;
    let plan = gateway.shared.plans.plan(&request.statement, kind, &seat.shape)?;
    let query = plan.bind(&seat.principal, &parameters(&plan, &seat, mode, request))?;
    let tables: Vec<String> = plan.relations().iter().map(shown).collect();
    call.log().set_statement(&fingerprint(query.fingerprint_text()), &tables);
    let bypasses = plan.bypasses().iter().map(|(relation, policy)| format!("{}: {policy}", shown(relation)));
    call.log().set_bypasses(bypasses);
    if query.fence().is_none_or(|fence| fence.writes) {
        check_write(connection, &plan, &seat, mode, request)?;
    }
    narrow(options, &snapshot.policy.policy, &plan);
    Ok(query)
}

/// What is told of a database's error on a guarded connection. Its values are out already: see the engine.
pub(super) fn told(error: SourceError) -> Refused {
    match &error {
        SourceError::Statement { sqlstate, .. }
            if sqlstate.as_deref().is_none_or(|code| LOST_NAMES.contains(&code)) =>
        {
            Refused::new(
                Code::QueryFailed,
                "the database is not as it was indexed: ask for the connection to be refreshed",
            )
        }
        _ => error.into(),
    }
}

/// The caller's values. To plan a statement without any, each placeholder is NULL.
fn parameters<'a>(
    plan: &GuardedPlan,
    seat: &Seat,
    mode: RunMode,
    request: &'a QueryRequest,
) -> Cow<'a, [Option<String>]> {
    if mode == RunMode::Explain
        && let Err(Refusal::ParameterCount { expected, .. }) = plan.bind(&seat.principal, &[])
    {
        return Cow::Owned(vec![None; expected]);
    }
    Cow::Borrowed(&request.parameters)
}

/// What holds of a change beside its rows and columns.
fn check_write(
    connection: &Connection,
    plan: &GuardedPlan,
    seat: &Seat,
    mode: RunMode,
    request: &QueryRequest,
) -> Result<(), Refused> {
    if connection.spec.db_access_policy.read_only {
        return Err(Refused::new(Code::WriteDenied, "this connection is read-only"));
    }
    // Which of its relations the statement changes, the plan does not tell: one that wants a reason is enough.
    let view = &seat.shape.view;
    let wants_reason = |relation: &RelationName| {
        view.relations.get(relation).is_some_and(|entitlement| entitlement.writes.require_reason)
    };
    let has_reason = request.reason.as_deref().is_some_and(|reason| !reason.trim().is_empty());
    if !has_reason && mode == RunMode::Execute && plan.relations().iter().any(wants_reason) {
        return Err(Refused::new(Code::ReasonRequired, "the policy wants to know why: give a `reason`"));
    }
    Ok(())
}

/// The tightest of the policy's budgets and those of the models that the statement names.
fn narrow(options: &mut RunOptions, policy: &Policy, plan: &GuardedPlan) {
    let of_models =
        plan.relations().iter().filter_map(|relation| policy.models.get(relation)?.budget.as_ref());
    for budget in of_models.chain(&policy.budget) {
        options.max_rows = options.max_rows.min(budget.max_rows.unwrap_or(u64::MAX));
        options.timeout = options.timeout.min(timeout_of(budget));
    }
}

fn timeout_of(budget: &Budget) -> Duration {
    budget.timeout().unwrap_or(Duration::MAX)
}

fn shown(relation: &RelationName) -> String {
    format!("{}.{}", relation.schema, relation.name)
}
