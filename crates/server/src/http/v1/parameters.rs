//! `/v1/connections/{key}/parameters`: settings with a scope.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ringfence_gateway::parameters::Target;
use ringfence_policy::ConnectionKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::List;
use super::extract::{Body, Named, NoParams, Params};
use super::refusals::{Changing, Naming};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_parameters)).routes(routes!(set_parameter, reset_parameter))
}

/// A setting as it stands for the acting user.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "name": "PUBLIC.LIKED_QUERIES.ENABLED",
    "value": true,
    "possible_values": [true, false],
}))]
struct Parameter {
    name: String,
    value: Value,
    possible_values: Vec<Value>,
}

/// A new value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"value": false}))]
struct NewValue {
    /// One of the possible values.
    value: Value,
    /// For whom. Absent: for you.
    target: Option<TargetBody>,
}

/// For whom; `*` or absent stands for anyone. Nothing at all: the acting user.
#[derive(Debug, Default, Deserialize, ToSchema, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[schema(as = Target, example = json!({"org": "shop", "tenant": "acme"}))]
pub(crate) struct TargetBody {
    /// An organization.
    #[param(value_type = String, required = false)]
    org: Option<String>,
    /// A tenant.
    #[param(value_type = String, required = false)]
    tenant: Option<String>,
    /// A user.
    #[param(value_type = String, required = false)]
    user: Option<String>,
    /// A connection's key.
    #[param(value_type = String, required = false)]
    connection: Option<String>,
}

impl From<TargetBody> for Target {
    fn from(body: TargetBody) -> Self {
        let TargetBody { org, tenant, user, connection } = body;
        Self { org, tenant, user, connection }
    }
}

/// List settings
///
/// Every setting with the value that the tightest target gives.
#[utoipa::path(
    get, path = "/connections/{key}/parameters", tag = "Settings",
    params(("key" = String, Path, description = "The connection's key, percent-encoded.")),
    responses((status = 200, description = "Settings, by name.", body = List<Parameter>), Naming),
)]
async fn list_parameters(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
) -> Result<Json<List<Parameter>>, Problem> {
    let parameters = app.gateway.list_parameters(&call, key.as_str()).await?;
    let items = parameters.into_iter().map(|(name, view)| Parameter {
        name,
        value: view.value,
        possible_values: view.possible_values,
    });
    Ok(Json(List { items: items.collect() }))
}

/// Set a setting
///
/// For yourself, or for the target. A target other than yourself needs `write:user` over it.
#[utoipa::path(
    put, path = "/connections/{key}/parameters/{name}", tag = "Settings",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("name" = String, Path, description = "The setting's name.", example = "PUBLIC.LIKED_QUERIES.ENABLED"),
    ),
    request_body = NewValue,
    responses((status = 204, description = "The setting has that value."), Changing),
)]
async fn set_parameter(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, name)): Named<(ConnectionKey, String)>,
    _: NoParams,
    Body(new): Body<NewValue>,
) -> Result<StatusCode, Problem> {
    let target = new.target.unwrap_or_default().into();
    app.gateway.set_parameter(&call, key.as_str(), &name, new.value, &target).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reset a setting
///
/// For yourself, or for the target: a wider target's value, or the default, comes back.
#[utoipa::path(
    delete, path = "/connections/{key}/parameters/{name}", tag = "Settings",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("name" = String, Path, description = "The setting's name.", example = "PUBLIC.LIKED_QUERIES.ENABLED"),
        TargetBody,
    ),
    responses((status = 204, description = "The setting is not set here."), Naming),
)]
async fn reset_parameter(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, name)): Named<(ConnectionKey, String)>,
    Params(target): Params<TargetBody>,
) -> Result<StatusCode, Problem> {
    app.gateway.delete_parameter(&call, key.as_str(), &name, &target.into()).await?;
    Ok(StatusCode::NO_CONTENT)
}
