//! `/v1/models` and `/v1/transactions`: structured reads and writes.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use ringfence_gateway::models::{
    Aggregate, AggregateAnswer, Change, Changed, ModelDescription, Operation, Page, Query, Row,
};
use ringfence_gateway::{Code, Refused};
use ringfence_policy::ConnectionKey;
use ringfence_store::approvals::Approval;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Named, NoParams};
use super::refusals::{ChangingModels, Modelling, ReadingModels};
use super::{List, timestamp};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(describe_models))
        .routes(routes!(describe_model))
        .routes(routes!(query_model))
        .routes(routes!(get_model))
        .routes(routes!(aggregate_model))
        .routes(routes!(create_model))
        .routes(routes!(bulk_create_model))
        .routes(routes!(update_model))
        .routes(routes!(bulk_update_model))
        .routes(routes!(delete_model))
        .routes(routes!(change_models))
}

/// A page of rows.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "rows": [{"id": 1, "status": "pending", "customer": {"name": "Ann"}}],
    "has_more": true,
    "next_cursor": "WzFd.c2lnbmVk",
}))]
struct ModelPage {
    /// In the order asked for.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Row>,
    /// Whether there are more.
    has_more: bool,
    /// Where the next page begins: send it as `cursor`. Null at the end, and where you see no primary key.
    next_cursor: Option<String>,
    /// All rows that the condition holds for, when that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    total_count: Option<i64>,
}

impl From<Page> for ModelPage {
    fn from(page: Page) -> Self {
        let Page { rows, has_more, next_cursor, total_count } = page;
        Self { rows, has_more, next_cursor, total_count }
    }
}

/// Figures.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"rows": [{"status": "pending", "count": 3}], "has_more": false}))]
struct ModelFigures {
    /// One for each group.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Row>,
    /// Whether there are more groups.
    has_more: bool,
}

/// Which row.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ModelGet, example = json!({"id": 1, "select": ["id", "status"]}))]
struct GetBody {
    /// Its primary key: the value, or an object of all its fields.
    #[schema(value_type = Value)]
    id: Value,
    /// The fields wanted; all that you see when left out.
    select: Option<Vec<String>>,
}

/// A new row.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ModelCreate, example = json!({"data": {"status": "pending"}, "return_fields": ["id"]}))]
struct CreateBody {
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
struct BulkCreateBody {
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
struct UpdateBody {
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
struct BulkUpdateBody {
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
struct DeleteBody {
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
struct TransactionBody {
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

/// What you may ask for
///
/// The models that the connection's policy names, as you see them: fields with their types, keys, relations to others, what
/// you may do, and what one request may use.
#[utoipa::path(
    get, path = "/models/{key}", tag = "Models",
    params(("key" = String, Path, description = "The connection's key, percent-encoded.")),
    responses((status = 200, description = "The models, by name.", body = List<ModelDescription>), Modelling),
)]
async fn describe_models(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
) -> Result<Json<List<ModelDescription>>, Problem> {
    Ok(Json(List { items: app.gateway.describe_models(&call, key.as_str()).await? }))
}

/// What you may ask of one model
///
/// Its fields with their types, its key, its relations to others, what you may do, and what one request may use.
#[utoipa::path(
    get, path = "/models/{key}/{model}", tag = "Models",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("model" = String, Path, description = "The model's name."),
    ),
    responses((status = 200, description = "The model.", body = ModelDescription), Modelling),
)]
async fn describe_model(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, model)): Named<(ConnectionKey, String)>,
    _: NoParams,
) -> Result<Json<ModelDescription>, Problem> {
    Ok(Json(app.gateway.describe_model(&call, key.as_str(), &model).await?))
}

/// Read rows
///
/// Rows that you see and that the condition holds for, with rows of other models beside them. A condition is
/// `{"field", "op", "value"}`, with `op` one of `eq`, `ne`, `lt`, `lte`, `gt`, `gte`, `in`, `not_in`, `is_null`,
/// `contains`, `startswith`, `endswith` and `between`; `{"and": [...]}`, `{"or": [...]}` and `{"not": ...}` put them
/// together, and a list means that all hold. As in SQL, nothing but `is_null` holds of null.
///
/// Pages go on behind the last row: what is added or removed meanwhile shifts nothing, and a row that stays as it is comes
/// once. Null is larger than every value.
#[utoipa::path(
    post, path = "/models/{key}/{model}/query", tag = "Models",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("model" = String, Path, description = "The model's name."),
    ),
    request_body = Query,
    responses((status = 200, description = "The rows.", body = ModelPage), ReadingModels),
)]
async fn query_model(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, model)): Named<(ConnectionKey, String)>,
    _: NoParams,
    Body(body): Body<Query>,
) -> Result<Json<ModelPage>, Problem> {
    Ok(Json(app.gateway.query_model(&call, key.as_str(), &model, &body).await?.into()))
}

/// Read one row
///
/// A row that you do not see is answered like one that is not there.
#[utoipa::path(
    post, path = "/models/{key}/{model}/get", tag = "Models",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("model" = String, Path, description = "The model's name."),
    ),
    request_body = GetBody,
    responses((status = 200, description = "The row.", body = Object), ReadingModels),
)]
async fn get_model(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, model)): Named<(ConnectionKey, String)>,
    _: NoParams,
    Body(body): Body<GetBody>,
) -> Result<Json<Row>, Problem> {
    let GetBody { id, select } = body;
    Ok(Json(app.gateway.get_model(&call, key.as_str(), &model, &id, select.as_deref()).await?))
}

/// Compute figures
///
/// Over the rows that you see. A masked field counts as what you see of it.
#[utoipa::path(
    post, path = "/models/{key}/{model}/aggregate", tag = "Models",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("model" = String, Path, description = "The model's name."),
    ),
    request_body = Aggregate,
    responses((status = 200, description = "The figures.", body = ModelFigures), ReadingModels),
)]
async fn aggregate_model(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, model)): Named<(ConnectionKey, String)>,
    _: NoParams,
    Body(body): Body<Aggregate>,
) -> Result<Json<ModelFigures>, Problem> {
    let AggregateAnswer { rows, has_more } =
        app.gateway.aggregate_model(&call, key.as_str(), &model, &body).await?;
    Ok(Json(ModelFigures { rows, has_more }))
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
async fn create_model(
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
async fn bulk_create_model(
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
async fn update_model(
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
async fn bulk_update_model(
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
async fn delete_model(
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
async fn change_models(
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
    call: &ringfence_gateway::Call,
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

impl From<ringfence_gateway::models::OperationResult> for ModelChange {
    fn from(result: ringfence_gateway::models::OperationResult) -> Self {
        let ringfence_gateway::models::OperationResult { action, model, affected, rows, .. } = result;
        Self { action, model, affected, rows }
    }
}
