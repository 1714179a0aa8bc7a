//! `/v1/users`: users of a tenant.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use ringfence_gateway::users::{UserLookup, UserSpec};
use ringfence_policy::{Attributes, Role, UserId};
use ringfence_store::users::{Outside, User};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Named, NoParams, Params, present};
use super::refusals::{Changing, Making, Naming, Removing};
use super::{List, path_segment};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_users, create_user))
        .routes(routes!(get_user, change_user, delete_user))
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User, example = json!({
    "id": "ann",
    "tenant": "acme",
    "org": "shop",
    "name": "Ann",
    "variables": {"region": "eu"},
    "roles": ["api-user"],
    "data_roles": ["ROLE_FRANCE"],
    "disabled": false,
    "outside": null,
}))]
struct UserView {
    id: String,
    tenant: String,
    org: String,
    name: Option<String>,
    /// Values that policies may use for this user; null when never set.
    #[schema(value_type = Option<Object>)]
    variables: Option<Attributes>,
    roles: Vec<&'static str>,
    /// Roles that restrict what is seen, as policies name them.
    data_roles: Vec<String>,
    /// A disabled user is refused, however it signs in.
    disabled: bool,
    /// What of all this an outside source gives; null for a user who comes from none.
    outside: Option<OutsideView>,
}

/// What an outside source gives a user. It goes when the source takes it away.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UserOutside, example = json!({
    "source": "corporate",
    "roles": ["api-user"],
    "data_roles": ["ROLE_FRANCE"],
    "variables": {"region": "eu"},
}))]
struct OutsideView {
    /// The source's name in the configuration.
    source: String,
    roles: Vec<&'static str>,
    data_roles: Vec<String>,
    #[schema(value_type = Object)]
    variables: Attributes,
}

impl From<Outside> for OutsideView {
    fn from(outside: Outside) -> Self {
        let Outside { source, roles, data_roles, variables } = outside;
        Self { source, roles: roles.into_iter().map(Role::name).collect(), data_roles, variables }
    }
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            tenant: user.tenant.to_string(),
            org: user.org.to_string(),
            name: user.name,
            variables: user.variables,
            roles: user.roles.into_iter().map(Role::name).collect(),
            data_roles: user.data_roles,
            disabled: user.disabled,
            outside: user.outside.map(OutsideView::from),
        }
    }
}

/// A user to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": "ann", "tenant": "acme", "name": "Ann", "roles": ["api-user"]}))]
struct NewUser {
    /// Unique on the server.
    #[schema(min_length = 1, max_length = 255)]
    id: String,
    name: Option<String>,
    /// Default: your tenant.
    tenant: Option<String>,
    /// Default: the tenant's organization.
    org: Option<String>,
    /// Values that policies may use for this user.
    #[schema(value_type = Option<Object>)]
    variables: Option<Attributes>,
    /// Default: `api-user`. None above your own.
    #[serde(default)]
    roles: Vec<String>,
    /// Roles that restrict what is seen, as policies name them. Default: none.
    data_roles: Option<Vec<String>>,
    /// Default: false.
    disabled: Option<bool>,
}

/// Changes to a user; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"roles": ["admin-user"]}))]
struct UserChange {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false)]
    name: Option<String>,
    /// Moves the user.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false)]
    tenant: Option<String>,
    /// Of the new tenant; to move a user to another organization is a super administrator's.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false)]
    org: Option<String>,
    /// Replaces all variables.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Object, required = false)]
    variables: Option<Attributes>,
    /// Replaces the roles; an empty list keeps them. None above your own.
    #[serde(default)]
    roles: Vec<String>,
    /// Replaces the roles that restrict what is seen.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Vec<String>, required = false)]
    data_roles: Option<Vec<String>>,
    /// Whether the user is refused from the next request on, however it signs in.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = bool, required = false)]
    disabled: Option<bool>,
}

/// Which users; all that are given hold together.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UserParams {
    /// Of this organization. Default: yours; a super administrator who names only a tenant or a user searches all.
    #[param(value_type = String, required = false, example = "shop")]
    org: Option<String>,
    /// Of this tenant.
    #[param(value_type = String, required = false, example = "acme")]
    tenant: Option<String>,
    /// With this id.
    #[param(value_type = String, required = false, example = "ann")]
    user: Option<String>,
}

/// List users
///
/// Needs `read:user`.
#[utoipa::path(
    get, path = "/users", tag = "Users",
    params(UserParams),
    responses((status = 200, description = "Users.", body = List<UserView>), Naming),
)]
async fn list_users(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Params(params): Params<UserParams>,
) -> Result<Json<List<UserView>>, Problem> {
    let lookup = UserLookup { org: params.org, tenant: params.tenant, user: params.user };
    let users = app.gateway.list_users(&call, lookup).await?;
    Ok(Json(List { items: users.into_iter().map(UserView::from).collect() }))
}

/// Make a user
///
/// Needs `write:user`, within your organization unless you are a super administrator. The user has no access key yet:
/// impersonate them to make one.
#[utoipa::path(
    post, path = "/users", tag = "Users",
    request_body = NewUser,
    responses(
        (status = 201, description = "The new user.", body = UserView, headers(("Location" = String, description = "Where it is."))),
        Making,
    ),
)]
async fn create_user(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
    Body(new): Body<NewUser>,
) -> Result<impl IntoResponse, Problem> {
    let NewUser { id, name, tenant, org, variables, roles, data_roles, disabled } = new;
    let spec = UserSpec { id, name, tenant, org, variables, roles, data_roles, disabled };
    let user = app.gateway.create_user(&call, spec).await?;
    let location = format!("/v1/users/{}", path_segment(user.id.as_str()));
    Ok((StatusCode::CREATED, [("location", location)], Json(UserView::from(user))))
}

/// Read a user
///
/// Needs `read:user`.
#[utoipa::path(
    get, path = "/users/{id}", tag = "Users",
    params(("id" = String, Path, description = "The user's id.", example = "ann")),
    responses((status = 200, description = "The user.", body = UserView), Naming),
)]
async fn get_user(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(id): Named<UserId>,
    _: NoParams,
) -> Result<Json<UserView>, Problem> {
    Ok(Json(app.gateway.get_user(&call, id.as_str()).await?.into()))
}

/// Change a user
///
/// Needs `write:user`. What is absent stays as it is.
#[utoipa::path(
    patch, path = "/users/{id}", tag = "Users",
    params(("id" = String, Path, description = "The user's id.", example = "ann")),
    request_body = UserChange,
    responses((status = 200, description = "The user as it is now.", body = UserView), Changing),
)]
async fn change_user(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(id): Named<UserId>,
    _: NoParams,
    Body(change): Body<UserChange>,
) -> Result<Json<UserView>, Problem> {
    let UserChange { name, tenant, org, variables, roles, data_roles, disabled } = change;
    let spec = UserSpec { id: id.into(), name, tenant, org, variables, roles, data_roles, disabled };
    Ok(Json(app.gateway.update_user(&call, spec).await?.into()))
}

/// Delete a user
///
/// Needs `write:user`. With the user go their access keys, connections, configuration, likes and history. One who comes from
/// an outside source comes back at the next sign-in, if the source still knows them: disable them instead. One who is
/// disabled is not deleted for the same reason.
#[utoipa::path(
    delete, path = "/users/{id}", tag = "Users",
    params(("id" = String, Path, description = "The user's id.", example = "ann")),
    responses((status = 204, description = "The user is gone."), Removing),
)]
async fn delete_user(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(id): Named<UserId>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    app.gateway.delete_user(&call, id.as_str()).await?;
    Ok(StatusCode::NO_CONTENT)
}
