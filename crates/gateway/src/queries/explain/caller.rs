//! The caller's view: what is hidden in kind, and nothing that running the statement would not tell.
//!
//! What it does not say, and why. How many conditions limit the rows: the number would tell of roles and rules of others
//! that come and go. Whether rows are hidden, or any left: that is data. Which columns are not there: a hidden one and a
//! missing one are the same. The guarded text, the barrier, what is in the plan cache: the first names what is hidden, the
//! last what others ask. The relations that the policy's own conditions read.

use ringfence_engine::SourceError;
use ringfence_guard::StatementKind;
use ringfence_policy::{Expression, RelationName, RunMode};

use super::{CallersView, SeenRelation, limits};
use crate::guarded::Seat;
use crate::queries::{QueryRequest, guard};
use crate::{Call, Gateway, Refused};

/// INVARIANT: what running the statement would be refused with is what this is refused with. Held by the test
/// `refusals_are_those_of_running`.
pub(super) async fn view(
    gateway: &Gateway,
    call: &Call,
    key: &str,
    request: &QueryRequest,
) -> Result<CallersView, Refused> {
    let permit = gateway.enter(call).await?;
    let admitted = gateway.admit_to(RunMode::Explain, call, key, request).await?;
    // The guard leaves the names of columns to the database: it finds the hidden ones missing.
    let engine = &gateway.shared.engine;
    let planned = tokio::select! {
        planned = engine.explain(&admitted.address, admitted.query(), &admitted.options) => planned,
        () = permit.cancel.cancelled() => Err(SourceError::Cancelled),
    };
    planned.map_err(|error| admitted.told(error))?;
    let mut view = CallersView {
        guarded: admitted.is_guarded(),
        changes: admitted.query().kind() == StatementKind::Effect,
        relations: Vec::new(),
        limits: limits(&admitted.options),
    };
    let Some(lens) = gateway.lens_on(call, &admitted.connection).await? else { return Ok(view) };
    let kind = lens.policy.policy.kind;
    let schema = request.current_schema.as_deref().filter(|schema| !schema.is_empty());
    let (_, seat) = gateway.seat(call, &admitted.connection, lens, schema).await?;
    let found = gateway.shared.plans.plan(&request.statement, kind, &seat.shape)?;
    let plan = &found.plan.plan;
    if plan.writes() {
        guard::check_write(&admitted.connection, plan, &seat, RunMode::Execute, request)?;
    }
    view.relations = plan.named().iter().filter_map(|relation| seen(&seat, relation)).collect();
    Ok(view)
}

fn seen(seat: &Seat, relation: &RelationName) -> Option<SeenRelation> {
    let entitlement = seat.shape.view.relations.get(relation)?;
    let masked = entitlement.columns.iter().filter(|column| column.mask.is_some());
    Some(SeenRelation {
        relation: relation.clone(),
        rows_limited: entitlement.rows != Expression::truth(true),
        masked: masked.map(|column| column.name.clone()).collect(),
    })
}
