//! `/v1/security/individual-roles`: data roles that single users were granted by hand.

use axum::Json;
use axum::extract::State;
use ringfence_policy::UserId;
use ringfence_store::individual_roles::IndividualRoles;
use serde::{Deserialize, Serialize};
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
    OpenApiRouter::new()
        .routes(routes!(list_individual_roles))
        .routes(routes!(get_individual_roles, put_individual_roles))
}

/// Data roles of one user, without those that an outside source gives.
#[derive(Serialize, ToSchema)]
#[schema(as = IndividualRoles, example = json!({"user": "ann", "roles": ["ROLE_FRANCE"]}))]
struct IndividualRolesView {
    user: String,
    roles: Vec<String>,
}

impl From<IndividualRoles> for IndividualRolesView {
    fn from(IndividualRoles { user, roles }: IndividualRoles) -> Self {
        Self { user: user.to_string(), roles }
    }
}

/// All that the user is to be granted by hand.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"roles": ["ROLE_FRANCE"]}))]
struct NewIndividualRoles {
    /// Names of data roles, as policies name them. An empty list takes all away.
    roles: Vec<String>,
}

/// Whose.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct IndividualRolesParams {
    /// Of this organization. Default: yours; of all, for a super administrator.
    #[param(value_type = String, required = false, example = "shop")]
    org: Option<String>,
}

/// List who was granted data roles by hand
///
/// Needs `read:user`.
#[utoipa::path(
    get, path = "/security/individual-roles", tag = "Security", params(IndividualRolesParams),
    responses((status = 200, description = "Users with such roles.", body = List<IndividualRolesView>), Naming),
)]
async fn list_individual_roles(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Params(params): Params<IndividualRolesParams>,
) -> Result<Json<List<IndividualRolesView>>, Problem> {
    let roles = app.gateway.list_individual_roles(&call, params.org.as_deref()).await?;
    Ok(Json(List { items: roles.into_iter().map(IndividualRolesView::from).collect() }))
}

/// Read a user's data roles that were granted by hand
///
/// Needs `read:user`. `GET /v1/users/{id}` has those with what an outside source gives.
#[utoipa::path(
    get, path = "/security/individual-roles/{user}", tag = "Security",
    params(("user" = String, Path, description = "The user's id.", example = "ann")),
    responses((status = 200, description = "The roles.", body = IndividualRolesView), Naming),
)]
async fn get_individual_roles(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(user): Named<UserId>,
    _: NoParams,
) -> Result<Json<IndividualRolesView>, Problem> {
    let roles = app.gateway.individual_roles(&call, user.as_str()).await?;
    Ok(Json(IndividualRolesView { user: user.into(), roles }))
}

/// Grant a user data roles by hand
///
/// Replaces those that were granted so before, and nothing that an outside source gives: what is granted by hand stays when the
/// source takes the same role away. Counts from the user's next request on. Needs `write:user`.
#[utoipa::path(
    put, path = "/security/individual-roles/{user}", tag = "Security",
    params(("user" = String, Path, description = "The user's id.", example = "ann")),
    request_body = NewIndividualRoles,
    responses((status = 200, description = "The roles as they are now.", body = IndividualRolesView), Changing),
)]
async fn put_individual_roles(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(user): Named<UserId>,
    _: NoParams,
    Body(new): Body<NewIndividualRoles>,
) -> Result<Json<IndividualRolesView>, Problem> {
    let roles = app.gateway.put_individual_roles(&call, user.as_str(), new.roles).await?;
    Ok(Json(IndividualRolesView { user: user.into(), roles }))
}
