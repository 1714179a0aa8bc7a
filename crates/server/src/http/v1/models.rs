//! `/v1/models` and `/v1/transactions`: structured reads and writes.

mod changes;

use axum::Json;
use axum::extract::State;
use ringfence_gateway::models::{Aggregate, AggregateAnswer, ModelDescription, Page, Query, Row};
use ringfence_policy::ConnectionKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Named, NoParams};
use super::refusals::{Modelling, ReadingModels};
use changes::{
    __path_bulk_create_model, __path_bulk_update_model, __path_change_models, __path_create_model,
    __path_delete_model, __path_update_model, bulk_create_model, bulk_update_model, change_models,
    create_model, delete_model, update_model,
};

use super::List;
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
