//! The HTTP API that the Waii SDK speaks: every call is `POST /api/<endpoint>` with a JSON object.
//!
//! One file per noun. A handler reads its request, calls the gateway, and writes the reply in the SDK's words.

mod access_keys;
mod access_rules;
mod catalog;
mod connections;
mod constraints;
mod descriptions;
mod history;
mod likes;
mod names;
mod organizations;
mod parameters;
mod pushes;
mod queries;
mod request;
mod rows;
mod tenants;
mod unavailable;
mod user_config;
mod users;

use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::{Json, Router};
use ringfence_gateway::{Code, Refused};
use serde::Serialize;

use super::AppState;
use super::call::{Caller, RefusedCode};
use request::{Scoped, Wire};

/// An identified call whose refusals have the form of this interface.
type ApiCaller = Caller<ApiRefused>;
/// What a handler answers.
type Reply<T> = Result<Json<T>, ApiRefused>;

/// A refusal as `{"detail": "<text>"}`, the only form that the SDK can read.
#[derive(Debug)]
pub(crate) struct ApiRefused(Refused);

impl From<Refused> for ApiRefused {
    fn from(refused: Refused) -> Self {
        Self(refused)
    }
}

impl IntoResponse for ApiRefused {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Detail<'a> {
            detail: &'a str,
        }
        let row = self.0.code.row();
        let status = StatusCode::from_u16(row.api_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // The SDK raises this text: an empty one would raise nothing that anybody could read.
        let detail = if self.0.message.trim().is_empty() { row.title } else { &self.0.message };
        let mut response = (status, Json(Detail { detail })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(RefusedCode(self.0.code));
        response
    }
}

/// The reply `{}`.
#[derive(Debug, Serialize)]
struct Empty {}

/// Everything under /api/.
pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/ping", post(answer_ping))
        .merge(organizations::router())
        .merge(tenants::router())
        .merge(users::router())
        .merge(access_keys::router())
        .merge(user_config::router())
        .merge(connections::router())
        .merge(catalog::router())
        .merge(descriptions::router())
        .merge(constraints::router())
        .merge(pushes::router())
        .merge(queries::router())
        .merge(access_rules::router())
        .merge(parameters::router())
        .merge(likes::router())
        .merge(history::router())
        .merge(unavailable::router())
        .method_not_allowed_fallback(refuse_method)
        .route("/api", any(refuse_unknown_endpoint))
        .route("/api/", any(refuse_unknown_endpoint))
        .route("/api/{*endpoint}", any(refuse_other_endpoint))
}

/// Needs no key: a probe.
async fn answer_ping() -> Json<Empty> {
    Json(Empty {})
}

async fn refuse_method() -> ApiRefused {
    Refused::new(Code::MethodNotAllowed, "this endpoint takes POST only").into()
}

async fn refuse_unknown_endpoint() -> ApiRefused {
    Refused::new(Code::NotFound, "there is no such endpoint under /api/").into()
}

async fn refuse_other_endpoint(
    State(state): State<AppState>,
    Path(endpoint): Path<String>,
    request: Request,
) -> ApiRefused {
    if !unavailable::is_known_to_newer_clients(&endpoint) {
        return refuse_unknown_endpoint().await;
    }
    match ApiCaller::from_request(request, &state).await {
        Ok(caller) => unavailable::refuse_out_of_scope(caller).await,
        Err(refused) => refused,
    }
}

/// An empty text in a lookup means that the field is absent.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}
