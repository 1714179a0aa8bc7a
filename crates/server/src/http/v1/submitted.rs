//! `/v1/connections/{key}/queries` and `/v1/queries`: queries that are started now and fetched later.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use ringfence_policy::{ConnectionKey, QueryId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Named, NoParams, Params};
use super::path_segment;
use super::queries::{QueryBody, QueryResult};
use super::refusals::{Naming, Running, Waiting};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(submit_query)).routes(routes!(get_query_result, cancel_query))
}

/// A query under way.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"query_id": "q_7d9f"}))]
struct SubmittedQuery {
    query_id: String,
}

/// How much of a result.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ResultParams {
    /// Answer no more rows than this.
    #[param(value_type = u64, required = false, minimum = 1, example = 100)]
    max_rows: Option<u64>,
}

/// Start a statement
///
/// Answers at once. Fetch the result, or cancel, at the path in `Location`.
#[utoipa::path(
    post, path = "/connections/{key}/queries", tag = "Queries",
    params(("key" = String, Path, description = "The connection's key, percent-encoded.")),
    request_body = QueryBody,
    responses(
        (status = 202, description = "The query is under way.", body = SubmittedQuery, headers(("Location" = String, description = "Where its result will be."))),
        Running,
    ),
)]
async fn submit_query(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
    Body(body): Body<QueryBody>,
) -> Result<impl IntoResponse, Problem> {
    let id = app.gateway.submit_query(&call, key.as_str(), body.into()).await?;
    let location = format!("/v1/queries/{}", path_segment(id.as_str()));
    Ok((StatusCode::ACCEPTED, [("location", location)], Json(SubmittedQuery { query_id: id.into() })))
}

/// Fetch a result
///
/// Waits for the end of a submitted query. The result can be read again for some minutes. A query that failed or was
/// cancelled is answered with that problem.
#[utoipa::path(
    get, path = "/queries/{id}", tag = "Queries",
    params(("id" = String, Path, description = "The query's id.", example = "q_7d9f"), ResultParams),
    responses((status = 200, description = "The rows.", body = QueryResult), Waiting),
)]
async fn get_query_result(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(id): Named<QueryId>,
    Params(params): Params<ResultParams>,
) -> Result<Json<QueryResult>, Problem> {
    let outcome = app.gateway.query_result(&call, None, id.as_str(), params.max_rows).await?;
    Ok(Json(outcome.into()))
}

/// Cancel a query
///
/// Stops a submitted query in the database, too. One that has ended is no error.
#[utoipa::path(
    delete, path = "/queries/{id}", tag = "Queries",
    params(("id" = String, Path, description = "The query's id.", example = "q_7d9f")),
    responses((status = 204, description = "The query does not run any more."), Naming),
)]
async fn cancel_query(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(id): Named<QueryId>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    app.gateway.cancel_query(&call, None, id.as_str()).await?;
    Ok(StatusCode::NO_CONTENT)
}
