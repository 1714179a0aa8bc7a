//! Endpoints of the SDK that this server does not have: a clear refusal, to those who have a key.

use axum::Router;
use axum::routing::post;
use ringfence_gateway::{Code, Refused};

use super::{ApiCaller, ApiRefused, AppState};

/// What needs a language model.
const OUT_OF_SCOPE: [&str; 28] = [
    "generate-query",
    "submit-generate-query",
    "get-generated-query",
    "describe-query",
    "diff-query",
    "auto-complete",
    "get-query-performance",
    "transcode-query",
    "python-plot",
    "generate-questions",
    "get-similar-query",
    "semantic-context-checker",
    "chat-message",
    "submit-chat-message",
    "get-chat-response",
    "generate-chart",
    "update-similarity-search-index",
    "get-similarity-search-index",
    "delete-similarity-search-index",
    "get-similarity-search-index-table",
    "check-similarity-search-index-status",
    "ingest-document",
    "get-ingest-document-job-status",
    "update-semantic-context",
    "get-semantic-context",
    "enable-semantic-context",
    "disable-semantic-context",
    "create-user-secret",
];

/// Parts of the names of what only newer SDKs call.
const NEWER: [&str; 3] = ["research-template", "semantic-layer", "knowledge-graph"];

pub(super) fn router() -> Router<AppState> {
    OUT_OF_SCOPE
        .iter()
        .fold(Router::new(), |router, endpoint| router.route(&path(endpoint), post(refuse_out_of_scope)))
}

/// Whether it is one of those that only newer SDKs know.
pub(super) fn is_known_to_newer_clients(endpoint: &str) -> bool {
    NEWER.iter().any(|part| endpoint.contains(part))
}

fn path(endpoint: &str) -> String {
    format!("/api/{endpoint}")
}

pub(super) async fn refuse_out_of_scope(_caller: ApiCaller) -> ApiRefused {
    let message =
        "this endpoint is out of scope of this server: it runs SQL that you write, and generates nothing";
    Refused::new(Code::NotImplemented, message).into()
}
