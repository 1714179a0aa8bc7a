//! What the acting user keeps for itself.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ringfence_gateway::Gateway;
use ringfence_policy::Attributes;
use serde::{Deserialize, Serialize};

use super::{ApiCaller, AppState, Reply, Wire};

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/api/update-config", post(update_config))
}

#[derive(Debug, Deserialize)]
struct UpdateRequest {
    updated: Option<Attributes>,
    deleted: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct UserConfig {
    configs: Attributes,
}

async fn update_config(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<UpdateRequest>,
) -> Reply<UserConfig> {
    let updated = request.updated.unwrap_or_default();
    let deleted = request.deleted.unwrap_or_default();
    let configs = gateway.update_user_config(&caller.call, &updated, &deleted).await?;
    Ok(Json(UserConfig { configs }))
}
