//! Queries that the acting user ran on a connection.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ringfence_gateway::Gateway;
use ringfence_gateway::history::{HistoryItem, HistoryLookup};
use serde::{Deserialize, Serialize};

use super::{ApiCaller, AppState, Reply, Scoped, given};

/// Entries of a reply to a request that does not say how many.
const DEFAULT_LIMIT: u32 = 1000;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/get-history", post(get_history))
        .route("/api/get-generated-query-history", post(get_query_history))
}

#[derive(Debug, Deserialize)]
struct HistoryRequest {
    included_types: Option<Vec<EntryType>>,
    limit: Option<u32>,
    offset: Option<u32>,
    timestamp_sort_order: Option<SortOrder>,
    uuid_filter: Option<String>,
    liked_query_filter: Option<bool>,
}

/// The deprecated form.
#[derive(Debug, Deserialize)]
struct QueryHistoryRequest {
    limit: Option<u32>,
    offset: Option<u32>,
}

/// Charts and chats are not made here, so that there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EntryType {
    Query,
    Chart,
    Chat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SortOrder {
    Asc,
    Desc,
}

#[derive(Debug, Serialize)]
struct HistoryReply {
    history: Vec<ShownEntry>,
}

#[derive(Debug, Serialize)]
struct ShownEntry {
    history_type: &'static str,
    timestamp_ms: i64,
    query: ShownQuery,
    request: (),
}

#[derive(Debug, Serialize)]
struct ShownQuery {
    uuid: String,
    query: String,
    liked: bool,
}

async fn get_history(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<HistoryRequest>,
) -> Reply<HistoryReply> {
    let wants_queries = request.included_types.as_ref().is_none_or(|types| types.contains(&EntryType::Query));
    let lookup = HistoryLookup {
        // Asked even then, so that an unknown connection is refused as everywhere.
        limit: if wants_queries { request.limit.unwrap_or(DEFAULT_LIMIT) } else { 0 },
        offset: request.offset.unwrap_or(0),
        newest_first: request.timestamp_sort_order != Some(SortOrder::Asc),
        id: given(request.uuid_filter),
        liked: request.liked_query_filter,
    };
    Ok(Json(show(gateway.history(&caller.call, &key, lookup).await?)))
}

async fn get_query_history(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<QueryHistoryRequest>,
) -> Reply<HistoryReply> {
    let lookup = HistoryLookup {
        limit: request.limit.unwrap_or(DEFAULT_LIMIT),
        offset: request.offset.unwrap_or(0),
        newest_first: true,
        id: None,
        liked: None,
    };
    Ok(Json(show(gateway.history(&caller.call, &key, lookup).await?)))
}

fn show(items: Vec<HistoryItem>) -> HistoryReply {
    let show = |item: HistoryItem| ShownEntry {
        history_type: "query",
        timestamp_ms: item.entry.ran_at,
        query: ShownQuery { uuid: item.entry.id.to_string(), query: item.entry.query, liked: item.liked },
        request: (),
    };
    HistoryReply { history: items.into_iter().map(show).collect() }
}
