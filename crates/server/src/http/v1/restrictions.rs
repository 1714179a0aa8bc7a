//! `/v1/security/restrictions`: what data roles are restricted to at run time, for administrators of the organization.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ringfence_gateway::restrictions::PutRestrictions;
use ringfence_gateway::{Code, Refused};
use ringfence_policy::ConnectionKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::List;
use super::extract::{Body, Named, NoParams};
use super::policies::invalid;
use super::refusals::{Governing, Legislating};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_restrictions))
        .routes(routes!(put_restrictions, delete_restrictions))
}

/// What a role is restricted to on one column.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"table": "shops", "column": "city", "in": ["Paris"]}))]
struct Restriction {
    /// The table, as `schema.name` or `name`.
    table: String,
    /// The column; it tells which hierarchy the restriction is on.
    column: String,
    /// The values that are seen.
    #[serde(rename = "in", default, skip_serializing_if = "Option::is_none")]
    values: Option<Vec<Value>>,
    /// Or a condition over the table's columns, as in a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
}

/// A role, and what it is restricted to.
#[derive(Debug, Serialize, ToSchema)]
struct RestrictedRole {
    role: String,
    restrictions: Vec<Restriction>,
}

/// What a role is to be restricted to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"restrictions": [{"table": "shops", "column": "city", "in": ["Paris"]}]}))]
struct Restricting {
    /// Replaces what it was. On columns of one hierarchy they are alternatives, on others all hold. None: the role
    /// restricts nothing.
    restrictions: Vec<Restriction>,
}

/// List restrictions
///
/// What is said at run time of each data role on the connection's data source; the policy's document may restrict others. Needs
/// `publish:access-rules` and the rank of `org-admin-user`.
#[utoipa::path(
    get, path = "/security/restrictions/{key}", tag = "Policies",
    params(("key" = String, Path, description = "The key of one of your connections, percent-encoded.")),
    responses((status = 200, description = "Roles, by name.", body = List<RestrictedRole>), Governing),
)]
async fn list_restrictions(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
) -> Result<Json<List<RestrictedRole>>, Problem> {
    let said = app.gateway.list_restrictions(&call, key.as_str()).await?;
    let items = said.into_iter().map(|(role, entries)| {
        let restrictions = serde_json::from_value(entries)?;
        Ok(RestrictedRole { role, restrictions })
    });
    let items = items.collect::<Result<_, serde_json::Error>>();
    Ok(Json(List { items: items.map_err(|error| Refused::internal(&error))? }))
}

/// Restrict a role
///
/// Holds from the next statement on, for whoever has the role, also in open sessions; on other nodes within a second. A role that the
/// policy's document restricts is not restricted here. Needs what listing needs, and a policy on the data source.
#[utoipa::path(
    put, path = "/security/restrictions/{key}/{role}", tag = "Policies",
    params(
        ("key" = String, Path, description = "The key of one of your connections, percent-encoded."),
        ("role" = String, Path, description = "The data role.", example = "ROLE_PARIS"),
    ),
    request_body = Restricting,
    responses((status = 200, description = "The role as it is now.", body = RestrictedRole), Legislating),
)]
async fn put_restrictions(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, role)): Named<(ConnectionKey, String)>,
    _: NoParams,
    Body(Restricting { restrictions }): Body<Restricting>,
) -> Result<Json<RestrictedRole>, Problem> {
    let entries = serde_json::to_value(&restrictions).map_err(|error| Refused::internal(&error))?;
    match app.gateway.put_restrictions(&call, key.as_str(), &role, &entries).await? {
        PutRestrictions::Stored => Ok(Json(RestrictedRole { role, restrictions })),
        PutRestrictions::Invalid(problems) => Err(invalid(Code::PolicyInvalid, problems)),
    }
}

/// Lift a role's restrictions
///
/// The role restricts nothing any more. Needs what restricting needs.
#[utoipa::path(
    delete, path = "/security/restrictions/{key}/{role}", tag = "Policies",
    params(
        ("key" = String, Path, description = "The key of one of your connections, percent-encoded."),
        ("role" = String, Path, description = "The data role.", example = "ROLE_PARIS"),
    ),
    responses((status = 204, description = "It restricts nothing now."), Legislating),
)]
async fn delete_restrictions(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, role)): Named<(ConnectionKey, String)>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    app.gateway.delete_restrictions(&call, key.as_str(), &role).await?;
    Ok(StatusCode::NO_CONTENT)
}
