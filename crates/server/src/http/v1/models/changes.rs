//! Changes of models: one operation, or several that take effect together.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use ringfence_gateway::models::{Change, Changed, Operation, OperationResult, Row};
use ringfence_gateway::{Call, Code, Refused};
use ringfence_policy::ConnectionKey;
use ringfence_store::approvals::Approval;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;
use crate::http::v1::extract::{Body, Named, NoParams};
use crate::http::v1::refusals::ChangingModels;
use crate::http::v1::timestamp;

/// A new row.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ModelCreate, example = json!({"data": {"status": "pending"}, "return_fields": ["id"]}))]
pub(super) struct CreateBody {
    /// Its fields. What the policy sets may be left out.
    #[schema(value_type = Object)]
    data: Map<String, Value>,
    /// The fields to answer; all that you see when left out.
    return_fields: Option<Vec<String>>,
    /// Why you do it, for the audit record. Some policies want one.
    reason: Option<String>,
}

/// New rows, all or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ModelBulkCreate, example = json!({"data": [{"status": "pending"}, {"status": "done"}]}))]
pub(super) struct BulkCreateBody {
    /// Their fields.
    #[schema(value_type = Vec<Object>)]
    data: Vec<Map<String, Value>>,
    /// The fields to answer; all that you see when left out.
    return_fields: Option<Vec<String>>,
    /// Why you do it, for the audit record. Some policies want one.
    reason: Option<String>,
}

/// A change of one row.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ModelUpdate, example = json!({"id": 1, "data": {"status": "done"}}))]
pub(super) struct UpdateBody {
    /// Its primary key.
    #[schema(value_type = Value)]
    id: Value,
    /// The fields that change.
    #[schema(value_type = Object)]
    data: Map<String, Value>,
    /// Only when the model's version is this one.
    #[schema(value_type = Option<Value>)]
    if_version: Option<Value>,
    /// The fields to answer; all that you see when left out.
    return_fields: Option<Vec<String>>,
    /// Why you do it, for the audit record. Some policies want one.
    reason: Option<String>,
}

/// The same change of several rows, all or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ModelBulkUpdate, example = json!({"ids": [1, 2], "data": {"status": "done"}}))]
pub(super) struct BulkUpdateBody {
    /// Their primary keys.
    #[schema(value_type = Vec<Value>)]
    ids: Vec<Value>,
    /// The fields that change.
    #[schema(value_type = Object)]
    data: Map<String, Value>,
    /// The fields to answer; all that you see when left out.
    return_fields: Option<Vec<String>>,
    /// Why you do it, for the audit record. Some policies want one.
    reason: Option<String>,
}

/// The end of one row.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ModelDelete, example = json!({"id": 1}))]
pub(super) struct DeleteBody {
    /// Its primary key.
    #[schema(value_type = Value)]
    id: Value,
    /// Only when the model's version is this one.
    #[schema(value_type = Option<Value>)]
    if_version: Option<Value>,
    /// Why you do it, for the audit record. Some policies want one.
    reason: Option<String>,
}

/// Operations that take effect together, or not at all.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Transaction, example = json!({"operations": [
    {"action": "create", "model": "Order", "data": {"status": "pending"}},
    {"action": "update", "model": "Order", "id": 1, "data": {"status": "done"}},
]}))]
pub(super) struct TransactionBody {
    /// In their order.
    operations: Vec<Operation>,
    /// Why you do it, for the audit record. Some policies want one.
    reason: Option<String>,
}

/// What came of one operation.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"action": "create", "model": "Order", "affected": 1, "rows": [{"id": 7}]}))]
struct ModelChange {
    action: &'static str,
    model: String,
    /// Rows changed.
    affected: u64,
    /// The rows as they are now; none of one that was removed.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Row>,
}

/// What came of a transaction.
#[derive(Serialize, ToSchema)]
struct TransactionAnswer {
    /// One for each operation.
    results: Vec<ModelChange>,
}

/// Create a row
///
/// What the policy sets (the tenant, say) is set, and a different value is refused.
#[utoipa::path(
    post, path = "/models/{key}/{model}/create", tag = "Models",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("model" = String, Path, description = "The model's name."),
    ),
    request_body = CreateBody,
    responses(
        (status = 200, description = "The new row.", body = ModelChange),
        (status = 202, description = "It waits for an approval.", body = Ticket),
        ChangingModels,
    ),
)]
pub(super) async fn create_model(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, model)): Named<(ConnectionKey, String)>,
    _: NoParams,
    headers: HeaderMap,
    Body(body): Body<CreateBody>,
) -> Result<Response, Problem> {
    let CreateBody { data, return_fields, reason } = body;
    let operation = Operation::Create { model, data, return_fields };
    one(&app, &call, &key, &headers, operation, reason).await
}

/// Create rows
///
/// All of them, or none.
#[utoipa::path(
    post, path = "/models/{key}/{model}/bulk_create", tag = "Models",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("model" = String, Path, description = "The model's name."),
    ),
    request_body = BulkCreateBody,
    responses(
        (status = 200, description = "The new rows, in their order.", body = ModelChange),
        (status = 202, description = "It waits for an approval.", body = Ticket),
        ChangingModels,
    ),
)]
pub(super) async fn bulk_create_model(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, model)): Named<(ConnectionKey, String)>,
    _: NoParams,
    headers: HeaderMap,
    Body(body): Body<BulkCreateBody>,
) -> Result<Response, Problem> {
    let BulkCreateBody { data, return_fields, reason } = body;
    let operation = Operation::BulkCreate { model, data, return_fields };
    one(&app, &call, &key, &headers, operation, reason).await
}

/// Change a row
///
/// A row that you do not see is answered like one that is not there. Where the policy names a version, every change moves
/// it on, and `if_version` makes sure that nobody else changed the row since you read it.
#[utoipa::path(
    post, path = "/models/{key}/{model}/update", tag = "Models",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("model" = String, Path, description = "The model's name."),
    ),
    request_body = UpdateBody,
    responses(
        (status = 200, description = "The row as it is now.", body = ModelChange),
        (status = 202, description = "It waits for an approval.", body = Ticket),
        ChangingModels,
    ),
)]
pub(super) async fn update_model(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, model)): Named<(ConnectionKey, String)>,
    _: NoParams,
    headers: HeaderMap,
    Body(body): Body<UpdateBody>,
) -> Result<Response, Problem> {
    let UpdateBody { id, data, if_version, return_fields, reason } = body;
    let operation = Operation::Update { model, id, data, if_version, return_fields };
    one(&app, &call, &key, &headers, operation, reason).await
}

/// Change rows
///
/// The same change of all of them, or of none.
#[utoipa::path(
    post, path = "/models/{key}/{model}/bulk_update", tag = "Models",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("model" = String, Path, description = "The model's name."),
    ),
    request_body = BulkUpdateBody,
    responses(
        (status = 200, description = "The rows as they are now.", body = ModelChange),
        (status = 202, description = "It waits for an approval.", body = Ticket),
        ChangingModels,
    ),
)]
pub(super) async fn bulk_update_model(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, model)): Named<(ConnectionKey, String)>,
    _: NoParams,
    headers: HeaderMap,
    Body(body): Body<BulkUpdateBody>,
) -> Result<Response, Problem> {
    let BulkUpdateBody { ids, data, return_fields, reason } = body;
    let operation = Operation::BulkUpdate { model, ids, data, return_fields };
    one(&app, &call, &key, &headers, operation, reason).await
}

/// Delete a row
///
/// Where the policy keeps removed rows, the row stays in the database and is gone for everybody whom the policy binds.
#[utoipa::path(
    post, path = "/models/{key}/{model}/delete", tag = "Models",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("model" = String, Path, description = "The model's name."),
    ),
    request_body = DeleteBody,
    responses(
        (status = 200, description = "It is gone.", body = ModelChange),
        (status = 202, description = "It waits for an approval.", body = Ticket),
        ChangingModels,
    ),
)]
pub(super) async fn delete_model(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, model)): Named<(ConnectionKey, String)>,
    _: NoParams,
    headers: HeaderMap,
    Body(body): Body<DeleteBody>,
) -> Result<Response, Problem> {
    let DeleteBody { id, if_version, reason } = body;
    one(&app, &call, &key, &headers, Operation::Delete { model, id, if_version }, reason).await
}

/// Make several changes
///
/// Of one model or several, in their order: all of them take effect, or none.
#[utoipa::path(
    post, path = "/transactions/{key}", tag = "Models",
    params(("key" = String, Path, description = "The connection's key, percent-encoded.")),
    request_body = TransactionBody,
    responses(
        (status = 200, description = "What came of each.", body = TransactionAnswer),
        (status = 202, description = "It waits for an approval.", body = Ticket),
        ChangingModels,
    ),
)]
pub(super) async fn change_models(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
    headers: HeaderMap,
    Body(body): Body<TransactionBody>,
) -> Result<Response, Problem> {
    let idempotency_key = idempotency_key(&headers)?;
    let change = Change { operations: body.operations, idempotency_key, reason: body.reason };
    match app.gateway.change_models(&call, key.as_str(), &change).await? {
        Changed::Pending(ticket) => Ok(waiting(&ticket)),
        Changed::Done(results) => {
            let results = results.into_iter().map(ModelChange::from).collect();
            Ok(Json(TransactionAnswer { results }).into_response())
        }
    }
}

/// The header `Idempotency-Key`.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value
        .to_str()
        .map_err(|_| Problem::new(Code::InvalidRequest, "`Idempotency-Key` is no printable text"))?;
    Ok(Some(text.to_owned()))
}

/// A change that waits for somebody's consent.
#[derive(Serialize, ToSchema)]
#[schema(as = ModelTicket, example = json!({
    "approval": "5f2b9c0e4d1a", "state": "pending", "expires_at": "2026-11-21T08:00:00Z",
}))]
struct Ticket {
    /// The ticket: see `/v1/approvals`.
    approval: String,
    state: &'static str,
    /// Until when it can be approved.
    expires_at: String,
}

fn waiting(ticket: &Approval) -> Response {
    let body = Ticket {
        approval: ticket.id.to_string(),
        state: ticket.state.name(),
        expires_at: timestamp(ticket.request.expires_at),
    };
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

async fn one(
    app: &AppState,
    call: &Call,
    key: &ConnectionKey,
    headers: &HeaderMap,
    operation: Operation,
    reason: Option<String>,
) -> Result<Response, Problem> {
    let idempotency_key = idempotency_key(headers)?;
    let change = Change { operations: vec![operation], idempotency_key, reason };
    match app.gateway.change_models(call, key.as_str(), &change).await? {
        Changed::Pending(ticket) => Ok(waiting(&ticket)),
        Changed::Done(results) => {
            let result = results.into_iter().next().map(ModelChange::from);
            let result = result.ok_or_else(|| Refused::internal(&"an operation without a result"))?;
            Ok(Json(result).into_response())
        }
    }
}

impl From<OperationResult> for ModelChange {
    fn from(result: OperationResult) -> Self {
        let OperationResult { action, model, affected, rows, .. } = result;
        Self { action, model, affected, rows }
    }
}
