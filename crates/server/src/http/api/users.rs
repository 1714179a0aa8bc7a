//! Users, and who the caller is.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ringfence_gateway::Gateway;
use ringfence_gateway::users::{UserLookup, UserSpec};
use ringfence_policy::{Attributes, Permission, Role};
use ringfence_store::users::User;
use serde::{Deserialize, Serialize};

use super::request::Nothing;
use super::{ApiCaller, AppState, Empty, Reply, Wire, given};

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/get-user-info", post(get_user_info))
        .route("/api/create-user", post(create_user))
        .route("/api/update-user", post(update_user))
        .route("/api/delete-user", post(delete_user))
        .route("/api/list-users", post(list_users))
}

#[derive(Debug, Serialize)]
struct UserInfo {
    id: String,
    name: String,
    email: String,
    roles: Vec<String>,
    permissions: Vec<&'static str>,
}

#[derive(Debug, Deserialize)]
struct UserRequest {
    user: UserFields,
}

#[derive(Debug, Deserialize)]
struct UserFields {
    id: String,
    name: Option<String>,
    tenant_id: Option<String>,
    org_id: Option<String>,
    variables: Option<Attributes>,
    roles: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct DeleteRequest {
    id: String,
}

#[derive(Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are the SDK's")]
struct ListRequest {
    lookup_org_id: Option<String>,
    lookup_tenant_id: Option<String>,
    lookup_user_id: Option<String>,
}

#[derive(Debug, Serialize)]
struct UserList {
    users: Vec<ShownUser>,
}

#[derive(Debug, Serialize)]
struct ShownUser {
    id: String,
    name: Option<String>,
    tenant_id: String,
    org_id: String,
    variables: Option<Attributes>,
    roles: Vec<String>,
}

async fn get_user_info(caller: ApiCaller, Wire(Nothing {}): Wire<Nothing>) -> Reply<UserInfo> {
    let principal = caller.call.principal();
    Ok(Json(UserInfo {
        id: principal.user.to_string(),
        name: if principal.name.is_empty() { principal.user.to_string() } else { principal.name.clone() },
        email: principal.user.to_string(),
        roles: shown_roles(&principal.roles),
        permissions: principal.permissions.iter().map(Permission::name).collect(),
    }))
}

async fn create_user(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<UserRequest>,
) -> Reply<Empty> {
    gateway.create_user(&caller.call, request.user.into()).await?;
    Ok(Json(Empty {}))
}

async fn update_user(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<UserRequest>,
) -> Reply<Empty> {
    gateway.update_user(&caller.call, request.user.into()).await?;
    Ok(Json(Empty {}))
}

async fn delete_user(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<DeleteRequest>,
) -> Reply<Empty> {
    gateway.delete_user(&caller.call, &request.id).await?;
    Ok(Json(Empty {}))
}

async fn list_users(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<ListRequest>,
) -> Reply<UserList> {
    let lookup = UserLookup {
        org: given(request.lookup_org_id),
        tenant: given(request.lookup_tenant_id),
        user: given(request.lookup_user_id),
    };
    let users = gateway.list_users(&caller.call, lookup).await?;
    Ok(Json(UserList { users: users.into_iter().map(ShownUser::from).collect() }))
}

/// With the prefix that the SDK's role names have.
fn shown_roles(roles: &[Role]) -> Vec<String> {
    roles.iter().map(|role| format!("waii-{role}")).collect()
}

impl From<UserFields> for UserSpec {
    fn from(fields: UserFields) -> Self {
        Self {
            id: fields.id,
            name: fields.name,
            tenant: given(fields.tenant_id),
            org: given(fields.org_id),
            variables: fields.variables,
            roles: fields.roles.unwrap_or_default(),
            // Not in this interface: they stay.
            data_roles: None,
            disabled: None,
        }
    }
}

impl From<User> for ShownUser {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            name: user.name,
            tenant_id: user.tenant.to_string(),
            org_id: user.org.to_string(),
            variables: user.variables,
            roles: shown_roles(&user.roles),
        }
    }
}
