//! `/v1/signing-keys`: the public keys that an application signs its users' tokens with.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use ringfence_gateway::signing_keys::NewSigningKey as New;
use ringfence_policy::KeyName;
use ringfence_store::signing_keys::SigningKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Named, NoParams, Params, present};
use super::refusals::{Making, Naming};
use super::{List, path_segment, timestamp};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_signing_keys, register_signing_key))
        .routes(routes!(revoke_signing_key))
}

/// A public key of an application. Nothing of it is secret.
#[derive(Serialize, ToSchema)]
#[schema(as = SigningKey, example = json!({
    "kid": "2026-01",
    "application": "portal",
    "algorithm": "EdDSA",
    "public_key": {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    "created_at": "2026-01-31T12:00:00Z",
}))]
struct SigningKeyView {
    /// The id that a token's header names.
    kid: String,
    /// The user whose tokens it verifies.
    application: String,
    /// The one algorithm that it verifies: `ES256`, `EdDSA` or `RS256`.
    algorithm: String,
    /// As a JSON Web Key (RFC 7517).
    #[schema(value_type = Object)]
    public_key: Value,
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<SigningKey> for SigningKeyView {
    fn from(key: SigningKey) -> Self {
        Self {
            kid: key.kid.to_string(),
            application: key.application.to_string(),
            algorithm: key.algorithm,
            public_key: serde_json::from_str(&key.public_key).unwrap_or_default(),
            created_at: timestamp(key.created_at),
        }
    }
}

/// A public key to register.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "kid": "2026-01",
    "public_key": {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
}))]
struct NewSigningKey {
    /// The id that tokens will name; unique among the application's. Default: the key's own `kid`.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 255)]
    kid: Option<String>,
    /// The application. Default: you.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false)]
    application: Option<String>,
    /// A JSON Web Key without private parts: `EC` on `P-256`, `OKP` on `Ed25519`, or `RSA` of 2048 bits or more.
    #[schema(value_type = Object)]
    public_key: Map<String, Value>,
}

/// Whose keys.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SigningKeyLookup {
    /// The application. Default: you.
    #[param(value_type = String, required = false, example = "portal")]
    application: Option<String>,
}

/// List signing keys
///
/// The public keys that verify an application's tokens. Your own need `act:principals` and `write:access_key`; those of
/// another application need `write:user`, and that you may manage it.
#[utoipa::path(
    get, path = "/signing-keys", tag = "Identity", params(SigningKeyLookup),
    responses((status = 200, description = "The keys.", body = List<SigningKeyView>), Naming),
)]
async fn list_signing_keys(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Params(lookup): Params<SigningKeyLookup>,
) -> Result<Json<List<SigningKeyView>>, Problem> {
    let keys = app.gateway.list_signing_keys(&call, lookup.application.as_deref()).await?;
    Ok(Json(List { items: keys.into_iter().map(SigningKeyView::from).collect() }))
}

/// Register a signing key
///
/// From the next request on, tokens that are signed with it count beside the application's own access key, in the header
/// `X-Ringfence-Principal`. Needs what listing needs.
#[utoipa::path(
    post, path = "/signing-keys", tag = "Identity",
    request_body = NewSigningKey,
    responses(
        (status = 201, description = "The key.", body = SigningKeyView, headers(("Location" = String, description = "Where to revoke it."))),
        Making,
    ),
)]
async fn register_signing_key(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
    Body(new): Body<NewSigningKey>,
) -> Result<impl IntoResponse, Problem> {
    let NewSigningKey { kid, application, public_key } = new;
    let key = app.gateway.register_signing_key(&call, New { application, kid, public_key }).await?;
    let (kid, application) = (path_segment(key.kid.as_str()), path_segment(key.application.as_str()));
    let location = format!("/v1/signing-keys/{kid}?application={application}");
    Ok((StatusCode::CREATED, [("location", location)], Json(SigningKeyView::from(key))))
}

/// Revoke a signing key
///
/// From the next request on no token that it signed counts, and what runs for one is cancelled. Needs what listing needs.
#[utoipa::path(
    delete, path = "/signing-keys/{kid}", tag = "Identity",
    params(("kid" = String, Path, description = "The key's id.", example = "2026-01"), SigningKeyLookup),
    responses((status = 204, description = "The key is gone."), Naming),
)]
async fn revoke_signing_key(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(kid): Named<KeyName>,
    Params(lookup): Params<SigningKeyLookup>,
) -> Result<StatusCode, Problem> {
    app.gateway.revoke_signing_key(&call, lookup.application.as_deref(), &kid).await?;
    Ok(StatusCode::NO_CONTENT)
}
