//! `GET /v1/me`: who is asking.

use axum::Json;
use ringfence_policy::{Permission, Principal, Role};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::NoParams;
use super::refusals::Asking;
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_me))
}

/// The acting user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "ann",
    "name": "Ann",
    "tenant": "acme",
    "org": "shop",
    "roles": ["api-user"],
    "data_roles": [],
    "permissions": ["read:databases", "write:databases", "usage:api", "write:access_key"],
    "acted_by": null,
    "agent": null,
}))]
struct Me {
    id: String,
    /// The display name; the id when there is none.
    name: String,
    tenant: String,
    org: String,
    /// Names of roles, such as `api-user`.
    roles: Vec<&'static str>,
    /// Roles that restrict what is seen, as policies name them.
    data_roles: Vec<String>,
    /// What the roles permit together.
    permissions: Vec<&'static str>,
    /// Who acts for this user: the administrator who impersonates them, or the application whose user it is.
    acted_by: Option<String>,
    /// The agent that the request is made with.
    agent: Option<String>,
}

impl From<&Principal> for Me {
    fn from(principal: &Principal) -> Self {
        Self {
            id: principal.user.to_string(),
            name: principal.name.clone(),
            tenant: principal.tenant.to_string(),
            org: principal.org.to_string(),
            roles: principal.roles.iter().copied().map(Role::name).collect(),
            data_roles: principal.data_roles.to_vec(),
            permissions: principal.permissions.iter().map(Permission::name).collect(),
            acted_by: principal.acted_by.as_ref().map(ToString::to_string),
            agent: principal.agent.as_ref().map(|agent| agent.label().to_owned()),
        }
    }
}

/// Show who you are
///
/// Answers the acting user with roles and permissions. Under impersonation that is the other user, for an application the
/// user that its token names, and `acted_by` names you.
#[utoipa::path(
    get, path = "/me", tag = "Identity",
    responses((status = 200, description = "The acting user.", body = Me), Asking),
)]
async fn get_me(Caller { call, .. }: Caller<Problem>, _: NoParams) -> Json<Me> {
    call.log().set_action("get-user-info");
    Json(Me::from(call.principal()))
}
