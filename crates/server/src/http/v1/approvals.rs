//! `/v1/approvals`: operations that wait for somebody's consent.

use axum::Json;
use axum::extract::State;
use ringfence_gateway::approvals::{ApprovalDetail, ApprovalLookup, Side};
use ringfence_store::approvals::{Approval, ApprovalState};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Nameable, Named, NoParams, Params};
use super::refusals::{Asking, Deciding, Naming, Withdrawing};
use super::timestamp;
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_approvals))
        .routes(routes!(get_approval))
        .routes(routes!(approve_operation))
        .routes(routes!(reject_operation))
        .routes(routes!(withdraw_operation))
}

const DEFAULT_LIMIT: u32 = 50;

/// A ticket's id in a path.
#[derive(Debug, Deserialize)]
struct TicketId(String);

impl Nameable for TicketId {
    const NOUN: &'static str = "approval";
}

/// As whom you look.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum LookingAs {
    #[default]
    Approver,
    Requester,
}

/// Where a ticket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TicketState {
    Pending,
    Approved,
    Rejected,
    Running,
    Executed,
    Failed,
    Expired,
    Withdrawn,
}

/// Which page of which tickets.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TicketParams {
    /// `approver`: those that you may decide. `requester`: those that you asked for. Default: `approver`.
    #[serde(default, rename = "as")]
    #[param(value_type = LookingAs, required = false, inline)]
    looking_as: LookingAs,
    /// Only those that stand there.
    #[param(value_type = TicketState, required = false, inline)]
    state: Option<TicketState>,
    /// The `next` of the page before.
    #[param(value_type = String, required = false)]
    after: Option<String>,
    /// How many at most. Default: 50; never more than 200.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// A page of tickets, the newest first.
#[derive(Serialize, ToSchema)]
struct TicketPage {
    items: Vec<Ticket>,
    /// The `after` of the next page; null when this is the last.
    next: Option<String>,
}

/// An operation that needs consent.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "5f0c3a4be1b24d2a9c6f8e7d0b1a2c3d4e5f6071",
    "state": "pending",
    "connection": "postgresql://shop@db.internal:5432/shop",
    "model": "Order",
    "action": "delete",
    "tenant": "berlin",
    "requester": "ann",
    "presented_by": "ann",
    "reason": "entered twice",
    "approver_roles": ["ROLE_CHIEF"],
    "created_at": "2026-01-31T12:00:00Z",
    "expires_at": "2026-02-01T12:00:00Z",
    "decided_at": null,
    "executed_at": null,
    "approver": null,
    "decision_reason": null,
    "failure": null,
}))]
struct Ticket {
    id: String,
    state: TicketState,
    connection: String,
    model: String,
    action: String,
    tenant: String,
    /// As whom it runs.
    requester: String,
    /// Who presented the credentials when it was asked for; the requester, unless somebody acted for them.
    presented_by: String,
    /// The requester's.
    reason: Option<String>,
    /// One of these is needed to decide.
    approver_roles: Vec<String>,
    #[schema(format = DateTime)]
    created_at: String,
    /// When it can't be decided any more.
    #[schema(format = DateTime)]
    expires_at: String,
    #[schema(format = DateTime)]
    decided_at: Option<String>,
    #[schema(format = DateTime)]
    executed_at: Option<String>,
    approver: Option<String>,
    decision_reason: Option<String>,
    /// The code of what went wrong. `OUTCOME_UNKNOWN`: the node that ran it died, and it is not run again.
    failure: Option<String>,
}

/// A ticket with what it is about.
#[derive(Serialize, ToSchema)]
struct TicketDetail {
    #[serde(flatten)]
    ticket: Ticket,
    /// What was asked for, and what runs.
    operation: Value,
    /// While it is pending: what it would do now, as its requester.
    preview: Option<Value>,
    /// Why that can't be said: the code of what would go wrong.
    preview_failure: Option<String>,
    /// What came of it, for the one who asked for it.
    outcome: Option<Value>,
}

/// A decision.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "checked with accounting"}))]
struct DecisionBody {
    /// Why, for the record; at most 1,000 bytes.
    reason: Option<String>,
}

/// List operations that wait
///
/// Those that you may decide, or those that you asked for, the newest first. You may decide what one of your roles is
/// named for, in your tenant (with `read:tenant`: in your organization), unless you had a part in asking for it.
#[utoipa::path(
    get, path = "/approvals", tag = "Approvals",
    params(TicketParams),
    responses((status = 200, description = "A page of tickets.", body = TicketPage), Asking),
)]
async fn list_approvals(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Params(params): Params<TicketParams>,
) -> Result<Json<TicketPage>, Problem> {
    let lookup = ApprovalLookup {
        side: match params.looking_as {
            LookingAs::Approver => Side::Approver,
            LookingAs::Requester => Side::Requester,
        },
        state: params.state.map(ApprovalState::from),
        after: params.after,
        limit: params.limit.unwrap_or(DEFAULT_LIMIT),
    };
    let (found, next) = app.gateway.list_approvals(&call, &lookup).await?;
    let items = found.iter().map(Ticket::of).collect();
    Ok(Json(TicketPage { items, next: next.map(|id| id.to_string()) }))
}

/// Read a ticket
///
/// With the operation as it was asked for, what it would do now, and what came of it.
#[utoipa::path(
    get, path = "/approvals/{id}", tag = "Approvals",
    params(("id" = String, Path, description = "The ticket's id.")),
    responses((status = 200, description = "The ticket.", body = TicketDetail), Naming),
)]
async fn get_approval(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(TicketId(id)): Named<TicketId>,
    _: NoParams,
) -> Result<Json<TicketDetail>, Problem> {
    let ApprovalDetail { approval, preview } = app.gateway.get_approval(&call, &id).await?;
    let (preview, preview_failure) = match preview {
        None => (None, None),
        Some(Ok(shown)) => (Some(shown), None),
        Some(Err(refused)) => (None, Some(refused.code.row().name.to_owned())),
    };
    Ok(Json(TicketDetail { preview, preview_failure, ..TicketDetail::of(approval) }))
}

/// Approve an operation
///
/// It runs at once, once, as its requester with the rights that they have now, and this answers when it ended: `executed`,
/// or `failed` with the code of what went wrong. Going away does not stop it.
#[utoipa::path(
    post, path = "/approvals/{id}/approve", tag = "Approvals",
    params(("id" = String, Path, description = "The ticket's id.")),
    request_body = DecisionBody,
    responses((status = 200, description = "The ticket, after the operation ended.", body = TicketDetail), Deciding),
)]
async fn approve_operation(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(TicketId(id)): Named<TicketId>,
    _: NoParams,
    Body(body): Body<DecisionBody>,
) -> Result<Json<TicketDetail>, Problem> {
    let approval = app.gateway.approve(&call, &id, body.reason.as_deref()).await?;
    Ok(Json(TicketDetail::of(approval)))
}

/// Reject an operation
///
/// It does not run.
#[utoipa::path(
    post, path = "/approvals/{id}/reject", tag = "Approvals",
    params(("id" = String, Path, description = "The ticket's id.")),
    request_body = DecisionBody,
    responses((status = 200, description = "The ticket.", body = TicketDetail), Deciding),
)]
async fn reject_operation(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(TicketId(id)): Named<TicketId>,
    _: NoParams,
    Body(body): Body<DecisionBody>,
) -> Result<Json<TicketDetail>, Problem> {
    let approval = app.gateway.reject(&call, &id, body.reason.as_deref()).await?;
    Ok(Json(TicketDetail::of(approval)))
}

/// Withdraw an operation
///
/// One that you asked for, while nobody has decided.
#[utoipa::path(
    post, path = "/approvals/{id}/withdraw", tag = "Approvals",
    params(("id" = String, Path, description = "The ticket's id.")),
    responses((status = 200, description = "The ticket.", body = TicketDetail), Withdrawing),
)]
async fn withdraw_operation(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(TicketId(id)): Named<TicketId>,
    _: NoParams,
) -> Result<Json<TicketDetail>, Problem> {
    let approval = app.gateway.withdraw_approval(&call, &id).await?;
    Ok(Json(TicketDetail::of(approval)))
}

impl Ticket {
    fn of(approval: &Approval) -> Self {
        let Approval { id, request, state, created_at, decided_at, executed_at, decision, failure, .. } =
            approval;
        Self {
            id: id.to_string(),
            state: (*state).into(),
            connection: request.connection.to_string(),
            model: request.model.clone(),
            action: request.action.clone(),
            tenant: request.tenant.to_string(),
            requester: request.requester.to_string(),
            presented_by: request.presenter.to_string(),
            reason: request.reason.clone(),
            approver_roles: request.approvers.clone(),
            created_at: timestamp(*created_at),
            expires_at: timestamp(request.expires_at),
            decided_at: decided_at.map(timestamp),
            executed_at: executed_at.map(timestamp),
            approver: decision.as_ref().map(|decision| decision.approver.to_string()),
            decision_reason: decision.as_ref().and_then(|decision| decision.reason.clone()),
            failure: failure.clone(),
        }
    }
}

impl TicketDetail {
    fn of(approval: Approval) -> Self {
        Self {
            ticket: Ticket::of(&approval),
            operation: approval.request.operation,
            preview: None,
            preview_failure: None,
            outcome: approval.outcome,
        }
    }
}

impl From<TicketState> for ApprovalState {
    fn from(state: TicketState) -> Self {
        match state {
            TicketState::Pending => Self::Pending,
            TicketState::Approved => Self::Approved,
            TicketState::Rejected => Self::Rejected,
            TicketState::Running => Self::Running,
            TicketState::Executed => Self::Executed,
            TicketState::Failed => Self::Failed,
            TicketState::Expired => Self::Expired,
            TicketState::Withdrawn => Self::Withdrawn,
        }
    }
}

impl From<ApprovalState> for TicketState {
    fn from(state: ApprovalState) -> Self {
        match state {
            ApprovalState::Pending => Self::Pending,
            ApprovalState::Approved => Self::Approved,
            ApprovalState::Rejected => Self::Rejected,
            ApprovalState::Running => Self::Running,
            ApprovalState::Executed => Self::Executed,
            ApprovalState::Failed => Self::Failed,
            ApprovalState::Expired => Self::Expired,
            ApprovalState::Withdrawn => Self::Withdrawn,
        }
    }
}
