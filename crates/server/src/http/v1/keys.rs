//! `/v1/keys`: the acting user's access keys.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use ringfence_gateway::Refused;
use ringfence_policy::KeyName;
use ringfence_store::access_keys::AccessKey;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Named, NoParams};
use super::refusals::{Asking, Making, Naming};
use super::{List, path_segment, timestamp};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_keys, create_key)).routes(routes!(delete_key))
}

/// An access key.
#[derive(Serialize, ToSchema)]
#[schema(as = AccessKey, example = json!({
    "name": "laptop",
    "secret": "rf_Zk3v0n1q8yT5",
    "created_at": "2026-01-31T12:00:00Z",
}))]
struct KeyView {
    name: String,
    /// What goes into `Authorization: Bearer`. Treat it like a password.
    secret: String,
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<AccessKey> for KeyView {
    fn from(key: AccessKey) -> Self {
        Self {
            name: key.name.to_string(),
            secret: key.secret.expose_secret().to_owned(),
            created_at: timestamp(key.created_at),
        }
    }
}

/// An access key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "laptop"}))]
struct NewKey {
    /// Tells your keys apart; unique among them.
    #[schema(min_length = 1, max_length = 255)]
    name: String,
}

/// List your access keys
///
/// All keys of the acting user, with their secrets in full. Needs `write:access_key`.
#[utoipa::path(
    get, path = "/keys", tag = "Identity",
    responses((status = 200, description = "Your access keys.", body = List<KeyView>), Asking),
)]
async fn list_keys(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
) -> Result<Json<List<KeyView>>, Problem> {
    let keys = app.gateway.list_access_keys(&call).await?;
    Ok(Json(List { items: keys.into_iter().map(KeyView::from).collect() }))
}

/// Make an access key
///
/// The key belongs to the acting user and works at once. Needs `write:access_key`.
#[utoipa::path(
    post, path = "/keys", tag = "Identity",
    request_body = NewKey,
    responses(
        (status = 201, description = "The new key.", body = KeyView, headers(("Location" = String, description = "Where to delete it."))),
        Making,
    ),
)]
async fn create_key(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
    Body(new): Body<NewKey>,
) -> Result<impl IntoResponse, Problem> {
    let key = app.gateway.create_access_key(&call, &new.name).await?;
    let location = format!("/v1/keys/{}", path_segment(key.name.as_str()));
    Ok((StatusCode::CREATED, [("location", location)], Json(KeyView::from(key))))
}

/// Delete an access key
///
/// From the next request on the key is refused. Needs `write:access_key`.
#[utoipa::path(
    delete, path = "/keys/{name}", tag = "Identity",
    params(("name" = String, Path, description = "The key's name.", example = "laptop")),
    responses((status = 204, description = "The key is gone."), Naming),
)]
async fn delete_key(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(name): Named<KeyName>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    match app.gateway.delete_access_keys(&call, &[name.to_string()]).await? {
        0 => Err(Refused::not_found("access key").into()),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}
