//! Access keys of the acting user.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ringfence_gateway::Gateway;
use ringfence_store::access_keys::AccessKey;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::request::Nothing;
use super::{ApiCaller, AppState, Empty, Reply, Wire};

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/create-key", post(create_access_key))
        .route("/api/list-access-keys", post(list_access_keys))
        .route("/api/delete-access-keys", post(delete_access_keys))
}

#[derive(Debug, Deserialize)]
struct CreateRequest {
    name: String,
}

#[derive(Debug, Deserialize)]
struct DeleteRequest {
    names: Vec<String>,
}

#[derive(Serialize)]
struct AccessKeyList {
    access_keys: Vec<ShownAccessKey>,
}

#[derive(Serialize)]
struct ShownAccessKey {
    access_key: String,
    user_id: String,
    description: (),
    name: String,
    created_at: i64,
}

async fn create_access_key(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<CreateRequest>,
) -> Reply<AccessKeyList> {
    let key = gateway.create_access_key(&caller.call, &request.name).await?;
    Ok(Json(AccessKeyList { access_keys: vec![ShownAccessKey::from(key)] }))
}

/// In full: clients fetch keys that they made earlier from here.
async fn list_access_keys(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(Nothing {}): Wire<Nothing>,
) -> Reply<AccessKeyList> {
    let keys = gateway.list_access_keys(&caller.call).await?;
    Ok(Json(AccessKeyList { access_keys: keys.into_iter().map(ShownAccessKey::from).collect() }))
}

async fn delete_access_keys(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<DeleteRequest>,
) -> Reply<Empty> {
    gateway.delete_access_keys(&caller.call, &request.names).await?;
    Ok(Json(Empty {}))
}

impl From<AccessKey> for ShownAccessKey {
    fn from(key: AccessKey) -> Self {
        Self {
            access_key: key.secret.expose_secret().to_owned(),
            user_id: key.user.to_string(),
            description: (),
            name: key.name.to_string(),
            created_at: key.created_at,
        }
    }
}
