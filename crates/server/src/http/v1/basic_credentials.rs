//! `/v1/security/basic-credentials`: passwords of technical users, given and taken, never read.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ringfence_gateway::basic_credentials::NewPassword;
use ringfence_gateway::{Code, Refused};
use ringfence_policy::UserId;
use ringfence_store::basic_credentials::BasicCredential;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Named, NoParams, Params, present};
use super::refusals::{Making, Naming};
use super::{List, timestamp};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_basic_credentials))
        .routes(routes!(put_basic_credential, delete_basic_credential))
}

/// That a user has a password.
#[derive(Serialize, ToSchema)]
#[schema(as = BasicCredential, example = json!({"name": "metrics", "org": "shop", "changed_at": "2026-01-31T12:00:00Z"}))]
struct BasicCredentialView {
    /// The user's id.
    name: String,
    org: String,
    #[schema(format = DateTime)]
    changed_at: String,
}

impl From<BasicCredential> for BasicCredentialView {
    fn from(credential: BasicCredential) -> Self {
        Self {
            name: credential.user.to_string(),
            org: credential.org.to_string(),
            changed_at: timestamp(credential.changed_at),
        }
    }
}

/// A password, or the hash of one: one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"password": "correct horse battery staple"}))]
struct NewBasicCredential {
    /// The password.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false, min_length = 8, max_length = 1024)]
    password: Option<String>,
    /// A hash that was made elsewhere: argon2id in PHC form, or passlib's `$pbkdf2-sha256$`, which becomes argon2id when the
    /// user signs in.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false)]
    hash: Option<String>,
}

/// Whose.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BasicCredentialParams {
    /// Of this organization. Default: yours; of all, for a super administrator.
    #[param(value_type = String, required = false, example = "shop")]
    org: Option<String>,
}

/// List who has a password
///
/// Names, never passwords. Needs `write:user`.
#[utoipa::path(
    get, path = "/security/basic-credentials", tag = "Security", params(BasicCredentialParams),
    responses((status = 200, description = "Users with passwords, by name.", body = List<BasicCredentialView>), Naming),
)]
async fn list_basic_credentials(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Params(params): Params<BasicCredentialParams>,
) -> Result<Json<List<BasicCredentialView>>, Problem> {
    let credentials = app.gateway.list_basic_credentials(&call, params.org.as_deref()).await?;
    Ok(Json(List { items: credentials.into_iter().map(BasicCredentialView::from).collect() }))
}

/// Give a user a password
///
/// In place of any other; from the next request on the old one is refused. The user sends it with each request
/// (`Authorization: Basic`) or signs in with it. Needs `write:user`, and that you may manage the user.
#[utoipa::path(
    put, path = "/security/basic-credentials/{name}", tag = "Security",
    params(("name" = String, Path, description = "The user's id.", example = "metrics")),
    request_body = NewBasicCredential,
    responses(
        (status = 201, description = "The user had no password before."),
        (status = 204, description = "The password took another's place."),
        Making,
    ),
)]
async fn put_basic_credential(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(name): Named<UserId>,
    _: NoParams,
    Body(new): Body<NewBasicCredential>,
) -> Result<StatusCode, Problem> {
    let password = match (new.password, new.hash) {
        (Some(password), None) => NewPassword::Plain(password.into()),
        (None, Some(hash)) => NewPassword::Hash(hash.into()),
        _ => {
            return Err(
                Refused::new(Code::InvalidRequest, "send `password` or `hash`, one of the two").into()
            );
        }
    };
    let is_new = app.gateway.put_basic_credential(&call, name.as_str(), password).await?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

/// Take a user's password away
///
/// From the next request on it is refused. Needs what giving one needs.
#[utoipa::path(
    delete, path = "/security/basic-credentials/{name}", tag = "Security",
    params(("name" = String, Path, description = "The user's id.", example = "metrics")),
    responses((status = 204, description = "The user has no password."), Naming),
)]
async fn delete_basic_credential(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(name): Named<UserId>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    app.gateway.delete_basic_credential(&call, name.as_str()).await?;
    Ok(StatusCode::NO_CONTENT)
}
