//! `/v1/connections`: the acting user's data sources.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use ringfence_gateway::connections::ConnectionEdits;
use ringfence_gateway::{Call, Code, Refused};
use ringfence_policy::ConnectionKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::connection_body::{ConnectionAnswer, ConnectionBody, IndexAnswer, patch_connection};
use super::extract::{Body, Named, NoParams, Params};
use super::path_segment;
use super::refusals::{Asking, Changing, Connecting, Naming, Removing};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_connections, create_connection))
        .routes(routes!(set_default_connection))
        .routes(routes!(get_connection, change_connection, delete_connection))
        .routes(routes!(refresh_connection))
        .routes(routes!(get_index_status))
}

/// The acting user's connections.
#[derive(Serialize, ToSchema)]
struct ConnectionList {
    /// In the order of adding.
    items: Vec<ConnectionAnswer>,
    /// The key of the one to use when none is named.
    default: Option<String>,
}

/// How a connection is saved.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SaveParams {
    /// Connect first, and save nothing when that fails. Else a failure shows in the status.
    #[serde(default)]
    #[param(value_type = bool, required = false)]
    validate: bool,
}

/// Names a connection.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"key": "postgresql://reporting@db.example.com:5432/sales"}))]
struct DefaultConnection {
    /// The key of one of your connections.
    key: String,
}

/// List your connections
///
/// All connections of the acting user, in the order of adding.
#[utoipa::path(
    get, path = "/connections", tag = "Connections",
    responses((status = 200, description = "Your connections.", body = ConnectionList), Asking),
)]
async fn list_connections(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
) -> Result<Json<ConnectionList>, Problem> {
    let list = app.gateway.list_connections(&call).await?;
    let default = list.default.as_ref().map(ToString::to_string);
    let items = list.connections.into_iter().map(|view| {
        let is_default = list.default.as_ref() == Some(&view.key);
        ConnectionAnswer::of_view(view, is_default)
    });
    Ok(Json(ConnectionList { items: items.collect::<Result<_, _>>()?, default }))
}

/// Add a connection
///
/// The key follows from the description. Indexing starts at once. Needs `write:databases` (`push:databases` for a
/// pushed catalog).
#[utoipa::path(
    post, path = "/connections", tag = "Connections",
    params(SaveParams),
    request_body = ConnectionBody,
    responses(
        (status = 201, description = "The new connection.", body = ConnectionAnswer, headers(("Location" = String, description = "Where it is."))),
        Connecting,
    ),
)]
async fn create_connection(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Params(params): Params<SaveParams>,
    Body(body): Body<ConnectionBody>,
) -> Result<impl IntoResponse, Problem> {
    let edits = ConnectionEdits {
        updated: vec![body.into_connection()?],
        validate_before_save: params.validate,
        must_be_new: true,
        ..ConnectionEdits::default()
    };
    let answer = save_connection(&app, &call, edits).await?;
    let location = format!("/v1/connections/{}", path_segment(answer.1.as_str()));
    Ok((StatusCode::CREATED, [("location", location)], Json(answer.0)))
}

/// Choose the default connection
///
/// The one that clients take when none is named. Kept per user.
#[utoipa::path(
    put, path = "/connections/default", tag = "Connections",
    request_body = DefaultConnection,
    responses((status = 204, description = "It is the default now."), Changing),
)]
async fn set_default_connection(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
    Body(chosen): Body<DefaultConnection>,
) -> Result<StatusCode, Problem> {
    call.log().set_scope(&chosen.key);
    let key = ConnectionKey::new(&chosen.key).map_err(|_| Refused::not_found("connection"))?;
    let edits = ConnectionEdits { default: Some(key.into()), must_exist: true, ..ConnectionEdits::default() };
    app.gateway.edit_connections(&call, edits).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Read a connection
///
/// What it points at, its filters and how far indexing is; never the password.
#[utoipa::path(
    get, path = "/connections/{key}", tag = "Connections",
    params(("key" = String, Path, description = "The connection's key, percent-encoded.")),
    responses((status = 200, description = "The connection.", body = ConnectionAnswer), Naming),
)]
async fn get_connection(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
) -> Result<Json<ConnectionAnswer>, Problem> {
    call.log().set_action("get-connection");
    Ok(Json(answer_connection(&app, &call, &key).await?))
}

/// Change a connection
///
/// A JSON merge patch (RFC 7396): what is given is set, null clears, the rest stays, the password included. Indexing
/// starts again. The key can't change: what would give another key is refused. Needs `write:databases`.
#[utoipa::path(
    patch, path = "/connections/{key}", tag = "Connections",
    params(("key" = String, Path, description = "The connection's key, percent-encoded."), SaveParams),
    request_body(content = Object, description = "Fields of ConnectionDescription.", example = json!({"description": "Sales figures"})),
    responses((status = 200, description = "The connection as it is now.", body = ConnectionAnswer), Connecting),
)]
async fn change_connection(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    Params(params): Params<SaveParams>,
    Body(patch): Body<Map<String, Value>>,
) -> Result<Json<ConnectionAnswer>, Problem> {
    // Reading comes first, and is not what this call is for.
    call.log().set_action("edit-connections");
    let view = app.gateway.get_connection(&call, key.as_str()).await?;
    let changed = patch_connection(&view.spec, patch)?;
    if changed.spec.key().is_ok_and(|new| new != key) {
        return Err(Problem::new(Code::InvalidRequest, "the change would give the connection another key")
            .with_hint("add a connection with the new description, then delete this one"));
    }
    let edits = ConnectionEdits {
        updated: vec![changed],
        validate_before_save: params.validate,
        ..ConnectionEdits::default()
    };
    Ok(Json(save_connection(&app, &call, edits).await?.0))
}

/// Remove a connection
///
/// From your list only; others who have the same connection keep theirs. Needs `write:databases`.
#[utoipa::path(
    delete, path = "/connections/{key}", tag = "Connections",
    params(("key" = String, Path, description = "The connection's key, percent-encoded.")),
    responses((status = 204, description = "The connection is gone."), Removing),
)]
async fn delete_connection(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    let edits = ConnectionEdits { removed: vec![key.into()], must_exist: true, ..ConnectionEdits::default() };
    app.gateway.edit_connections(&call, edits).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Index a connection again
///
/// Answers at once; the status tells when it is `completed`. Until then the catalog as it was may still be served.
/// Needs `write:databases`.
#[utoipa::path(
    post, path = "/connections/{key}/refresh", tag = "Connections",
    params(("key" = String, Path, description = "The connection's key, percent-encoded.")),
    responses((status = 202, description = "Indexing has been asked for."), Naming),
)]
async fn refresh_connection(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    app.gateway.refresh_connection(&call, key.as_str()).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Ask how far indexing is
///
/// Poll this after adding, changing or refreshing a connection; a small database takes a second or two.
#[utoipa::path(
    get, path = "/connections/{key}/status", tag = "Connections",
    params(("key" = String, Path, description = "The connection's key, percent-encoded.")),
    responses((status = 200, description = "How far indexing is.", body = IndexAnswer), Naming),
)]
async fn get_index_status(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
) -> Result<Json<IndexAnswer>, Problem> {
    Ok(Json(app.gateway.get_connection(&call, key.as_str()).await?.index.into()))
}

async fn save_connection(
    app: &AppState,
    call: &Call,
    edits: ConnectionEdits,
) -> Result<(ConnectionAnswer, ConnectionKey), Problem> {
    let keys = app.gateway.edit_connections(call, edits).await?;
    let key = keys.into_iter().next().ok_or_else(|| Refused::internal(&"a saved connection has no key"))?;
    Ok((answer_connection(app, call, &key).await?, key))
}

async fn answer_connection(
    app: &AppState,
    call: &Call,
    key: &ConnectionKey,
) -> Result<ConnectionAnswer, Problem> {
    let list = app.gateway.list_connections(call).await?;
    let is_default = list.default.as_ref() == Some(key);
    let view = list.connections.into_iter().find(|view| view.key == *key);
    let view = view.ok_or_else(|| Refused::not_found("connection"))?;
    ConnectionAnswer::of_view(view, is_default)
}
