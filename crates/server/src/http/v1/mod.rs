//! Our own REST API: `/v1/`, described by `/openapi.json` and shown at `/docs`.

pub(crate) mod audit;
pub(crate) mod approvals;
pub(crate) mod basic_credentials;
pub(crate) mod catalog;
pub(crate) mod config;
pub(crate) mod connection_body;
pub(crate) mod connections;
pub(crate) mod cubes;
pub(crate) mod descriptions;
pub(crate) mod endpoints;
pub(crate) mod explain;
pub(crate) mod extract;
pub(crate) mod history;
pub(crate) mod individual_roles;
pub(crate) mod keys;
pub(crate) mod likes;
pub(crate) mod me;
pub(crate) mod models;
pub(crate) mod negotiate;
pub(crate) mod orgs;
pub(crate) mod parameters;
pub(crate) mod policies;
pub(crate) mod queries;
pub(crate) mod refusals;
pub(crate) mod restrictions;
pub(crate) mod role_mapping;
pub(crate) mod rows;
pub(crate) mod sessions;
pub(crate) mod signing_keys;
pub(crate) mod submitted;
pub(crate) mod tables;
pub(crate) mod tenants;
pub(crate) mod users;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::any;
use ringfence_gateway::{Code, Refused};
use serde::Serialize;
use utoipa::openapi::OpenApi as Document;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::problem::{self, Problem};
use super::{AppState, docs, openapi};

/// A list. An object, so that a cursor can stand beside the items.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// In order of creation, unless the operation says otherwise.
    pub(crate) items: Vec<T>,
}

/// Everything of `/v1/`, with its document and reference page.
pub(crate) fn router() -> Router<AppState> {
    let (operations, document) = operations();
    let operations = operations
        .fallback(refuse_unknown_path)
        .method_not_allowed_fallback(refuse_method)
        .layer(from_fn(problem::name_the_call));
    // A nested router does not hear of its own root with a slash.
    let root = any(refuse_unknown_path).layer(from_fn(problem::name_the_call));
    Router::new()
        .nest("/v1", operations)
        .route("/v1/", root)
        .merge(openapi::router(&document))
        .merge(docs::router())
}

/// The operations, relative to `/v1`, and the document that describes them in full.
fn operations() -> (Router<AppState>, Document) {
    let operations = OpenApiRouter::new()
        .merge(me::router())
        .merge(keys::router())
        .merge(signing_keys::router())
        .merge(sessions::router())
        .merge(basic_credentials::router())
        .merge(individual_roles::router())
        .merge(config::router())
        .merge(orgs::router())
        .merge(tenants::router())
        .merge(users::router())
        .merge(role_mapping::router())
        .merge(connections::router())
        .merge(tables::router())
        .merge(catalog::router())
        .merge(descriptions::router())
        .merge(policies::router())
        .merge(restrictions::router())
        .merge(explain::router())
        .merge(audit::router())
        .merge(models::router())
        .merge(cubes::router())
        .merge(approvals::router())
        .merge(endpoints::router())
        .merge(queries::router())
        .merge(submitted::router())
        .merge(history::router())
        .merge(likes::router())
        .merge(parameters::router());
    let (router, described) = operations.split_for_parts();
    let mut document = openapi::Base::openapi().nest("/v1", described);
    openapi::share_refusals(&mut document);
    (router, document)
}

async fn refuse_unknown_path() -> Problem {
    Problem::from(Refused::new(Code::NotFound, "there is nothing at this path"))
        .with_hint("/docs lists every operation; a connection key in a path is percent-encoded")
}

async fn refuse_method() -> Problem {
    Problem::new(Code::MethodNotAllowed, "this path does not have that method")
}

/// A text as one segment of a path: everything but unreserved characters (RFC 3986) is percent-encoded.
fn path_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.push('%');
            segment.push_str(&hex::encode_upper([byte]));
        }
    }
    segment
}

/// Milliseconds since the epoch, as RFC 3339 has them.
fn timestamp(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests;
