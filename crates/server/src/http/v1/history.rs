//! `/v1/connections/{key}/history`: what the acting user ran.

use axum::Json;
use axum::extract::State;
use ringfence_gateway::history::{HistoryItem, HistoryLookup};
use ringfence_policy::ConnectionKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Named, Params};
use super::refusals::Naming;
use super::timestamp;
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_history))
}

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;

/// A page of queries that were run.
#[derive(Serialize, ToSchema)]
struct HistoryPage {
    items: Vec<RanQuery>,
    /// The `offset` of the next page; null when this is the last.
    next: Option<u32>,
}

/// A query that was run.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "query_id": "q_7d9f",
    "statement": "SELECT id, total FROM orders",
    "ran_at": "2026-01-31T12:00:00Z",
    "liked": false,
}))]
struct RanQuery {
    query_id: String,
    statement: String,
    #[schema(format = DateTime)]
    ran_at: String,
    liked: bool,
}

impl From<HistoryItem> for RanQuery {
    fn from(item: HistoryItem) -> Self {
        Self {
            query_id: item.entry.id.to_string(),
            statement: item.entry.query,
            ran_at: timestamp(item.entry.ran_at),
            liked: item.liked,
        }
    }
}

/// Which page of which queries.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HistoryParams {
    /// How many at most. Default: 100; never more than 1000.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// How many to skip.
    #[serde(default)]
    #[param(value_type = u32, required = false, minimum = 0)]
    offset: u32,
    /// By time. Default: `newest_first`.
    #[serde(default)]
    #[param(value_type = HistoryOrder, required = false, inline)]
    order: HistoryOrder,
    /// Only the query with this id.
    #[param(value_type = String, required = false)]
    query_id: Option<String>,
    /// Only liked ones, or only others.
    #[param(value_type = bool, required = false)]
    liked: Option<bool>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum HistoryOrder {
    #[default]
    NewestFirst,
    OldestFirst,
}

/// List what you ran
///
/// The acting user's queries on this connection, a page at a time.
#[utoipa::path(
    get, path = "/connections/{key}/history", tag = "Queries",
    params(("key" = String, Path, description = "The connection's key, percent-encoded."), HistoryParams),
    responses((status = 200, description = "A page of queries.", body = HistoryPage), Naming),
)]
async fn list_history(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    Params(params): Params<HistoryParams>,
) -> Result<Json<HistoryPage>, Problem> {
    let limit = params.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let lookup = HistoryLookup {
        // One more than asked for tells whether there is a next page.
        limit: limit + 1,
        offset: params.offset,
        newest_first: params.order == HistoryOrder::NewestFirst,
        id: params.query_id,
        liked: params.liked,
    };
    let mut found = app.gateway.history(&call, key.as_str(), lookup).await?;
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let next = (found.len() > page).then(|| params.offset.saturating_add(limit));
    found.truncate(page);
    Ok(Json(HistoryPage { items: found.into_iter().map(RanQuery::from).collect(), next }))
}
