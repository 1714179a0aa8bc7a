//! Liked queries.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ringfence_gateway::Gateway;
use ringfence_gateway::likes::LikeRequest;
use ringfence_gateway::parameters::Target;
use ringfence_store::likes::LikedQuery;
use serde::{Deserialize, Serialize};

use super::{ApiCaller, AppState, Reply, Scoped, given};

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/like-query", post(like_query))
        .route("/api/get-liked-query", post(list_liked_queries))
}

#[derive(Debug, Deserialize)]
struct LikeFields {
    query_uuid: Option<String>,
    ask: Option<String>,
    query: Option<String>,
    liked: bool,
    rewrite_question: Option<bool>,
    detailed_steps: Option<Vec<String>>,
    target_user_id: Option<String>,
    target_tenant_id: Option<String>,
    target_org_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ListRequest {
    query_uuid: Option<String>,
}

#[derive(Debug, Serialize)]
struct LikeReply {
    queries: (),
}

#[derive(Debug, Serialize)]
struct LikedList {
    queries: Vec<ShownLike>,
}

#[derive(Debug, Serialize)]
struct ShownLike {
    query_uuid: String,
    ask: String,
    query: String,
    liked: bool,
    rewrite_question: bool,
    detailed_steps: Vec<String>,
    target_user_id: Option<String>,
    target_tenant_id: Option<String>,
    target_org_id: Option<String>,
}

async fn like_query(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<LikeFields>,
) -> Reply<LikeReply> {
    gateway.like_query(&caller.call, &key, request.into()).await?;
    Ok(Json(LikeReply { queries: () }))
}

async fn list_liked_queries(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<ListRequest>,
) -> Reply<LikedList> {
    let uuid = given(request.query_uuid);
    let likes = gateway.liked_queries(&caller.call, &key, uuid.as_deref()).await?;
    Ok(Json(LikedList { queries: likes.into_iter().map(ShownLike::from).collect() }))
}

impl From<LikeFields> for LikeRequest {
    fn from(fields: LikeFields) -> Self {
        let target = Target {
            org: given(fields.target_org_id),
            tenant: given(fields.target_tenant_id),
            user: given(fields.target_user_id),
            connection: None,
        };
        Self {
            query_uuid: given(fields.query_uuid),
            ask: given(fields.ask),
            query: given(fields.query),
            liked: fields.liked,
            rewrite_question: fields.rewrite_question.unwrap_or(false),
            detailed_steps: fields.detailed_steps,
            target: if target == Target::default() { None } else { Some(target) },
        }
    }
}

impl From<LikedQuery> for ShownLike {
    fn from(like: LikedQuery) -> Self {
        let target = like.published.unwrap_or_default();
        Self {
            query_uuid: like.uuid,
            ask: like.ask,
            query: like.query,
            liked: true,
            rewrite_question: like.rewrite_question,
            detailed_steps: like.detailed_steps.unwrap_or_default(),
            target_user_id: target.user.map(String::from),
            target_tenant_id: target.tenant.map(String::from),
            target_org_id: target.org.map(String::from),
        }
    }
}
