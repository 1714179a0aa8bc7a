//! `/v1/connections/{key}/likes`: queries worth keeping, one's own and those published to one.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ringfence_gateway::likes::LikeRequest;
use ringfence_gateway::parameters::Target;
use ringfence_policy::ConnectionKey;
use ringfence_store::likes::LikedQuery;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Named, NoParams, Params};
use super::parameters::TargetBody;
use super::refusals::{Changing, Naming};
use super::{List, timestamp};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_likes, like_query, unlike_query))
}

/// A liked query.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "l_51c2",
    "ask": "What was sold last month?",
    "statement": "SELECT sum(total) FROM orders",
    "detailed_steps": ["Sum the totals"],
    "rewrite_question": false,
    "created_at": "2026-01-31T12:00:00Z",
    "own": true,
}))]
struct LikeAnswer {
    id: String,
    /// The question that the query answers.
    ask: String,
    statement: String,
    detailed_steps: Option<Vec<String>>,
    rewrite_question: bool,
    #[schema(format = DateTime)]
    created_at: String,
    /// Whether it is the acting user's; else it was published to them.
    own: bool,
}

/// A query to like: one of the history, or a question with its statement.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"ask": "What was sold last month?", "statement": "SELECT sum(total) FROM orders"}))]
struct Like {
    /// A query of your history.
    query_id: Option<String>,
    /// The question that the query answers.
    ask: Option<String>,
    statement: Option<String>,
    #[serde(default)]
    rewrite_question: bool,
    detailed_steps: Option<Vec<String>>,
    /// To whom it is published, which needs `publish:liked-queries`. Absent: it stays yours.
    target: Option<TargetBody>,
}

/// Which liked queries.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LikeLookup {
    /// The one with this id.
    #[param(value_type = String, required = false)]
    id: Option<String>,
}

/// The query that is liked no longer.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UnlikeParams {
    /// The query of your history, or the liked query, with this id.
    #[param(value_type = String, required = false)]
    query_id: Option<String>,
    /// The question, together with `statement`.
    #[param(value_type = String, required = false)]
    ask: Option<String>,
    #[param(value_type = String, required = false)]
    statement: Option<String>,
}

/// List liked queries
///
/// Your own on this connection, and those published to you. Needs `read:liked-queries`.
#[utoipa::path(
    get, path = "/connections/{key}/likes", tag = "Queries",
    params(("key" = String, Path, description = "The connection's key, percent-encoded."), LikeLookup),
    responses((status = 200, description = "Liked queries.", body = List<LikeAnswer>), Naming),
)]
async fn list_likes(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    Params(lookup): Params<LikeLookup>,
) -> Result<Json<List<LikeAnswer>>, Problem> {
    let likes = app.gateway.liked_queries(&call, key.as_str(), lookup.id.as_deref()).await?;
    let items = likes.into_iter().map(|like| {
        let own = like.owner == call.principal().user;
        LikeAnswer::of_like(like, own)
    });
    Ok(Json(List { items: items.collect() }))
}

/// Like a query
///
/// Replaces your like of the same question on this connection. Needs `write:liked-queries`.
#[utoipa::path(
    put, path = "/connections/{key}/likes", tag = "Queries",
    params(("key" = String, Path, description = "The connection's key, percent-encoded.")),
    request_body = Like,
    responses((status = 204, description = "The query is liked."), Changing),
)]
async fn like_query(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
    Body(like): Body<Like>,
) -> Result<StatusCode, Problem> {
    let request = LikeRequest {
        query_uuid: like.query_id,
        ask: like.ask,
        query: like.statement,
        liked: true,
        rewrite_question: like.rewrite_question,
        detailed_steps: like.detailed_steps,
        target: like.target.map(Target::from),
    };
    app.gateway.like_query(&call, key.as_str(), request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Like a query no longer
///
/// Names it by id, or by question and statement. Needs `write:liked-queries`.
#[utoipa::path(
    delete, path = "/connections/{key}/likes", tag = "Queries",
    params(("key" = String, Path, description = "The connection's key, percent-encoded."), UnlikeParams),
    responses((status = 204, description = "The query is not liked."), Naming),
)]
async fn unlike_query(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    Params(params): Params<UnlikeParams>,
) -> Result<StatusCode, Problem> {
    let request = LikeRequest {
        query_uuid: params.query_id,
        ask: params.ask,
        query: params.statement,
        liked: false,
        ..LikeRequest::default()
    };
    app.gateway.like_query(&call, key.as_str(), request).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl LikeAnswer {
    fn of_like(like: LikedQuery, own: bool) -> Self {
        Self {
            id: like.uuid,
            ask: like.ask,
            statement: like.query,
            detailed_steps: like.detailed_steps,
            rewrite_question: like.rewrite_question,
            created_at: timestamp(like.created_at),
            own,
        }
    }
}
