//! `/v1/tenants`: tenants of an organization.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use ringfence_gateway::tenants::TenantSpec;
use ringfence_policy::{Attributes, TenantId};
use ringfence_store::tenants::Tenant;
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
        .routes(routes!(list_tenants, create_tenant))
        .routes(routes!(get_tenant, change_tenant, delete_tenant))
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant, example = json!({"id": "acme", "org": "shop", "name": "Acme", "variables": null}))]
struct TenantView {
    id: String,
    org: String,
    name: Option<String>,
    /// Values that policies may use for everybody in the tenant; null when never set.
    #[schema(value_type = Option<Object>)]
    variables: Option<Attributes>,
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            org: tenant.org.to_string(),
            name: tenant.name,
            variables: tenant.variables,
        }
    }
}

/// A tenant to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": "acme", "name": "Acme"}))]
struct NewTenant {
    /// Unique on the server.
    #[schema(min_length = 1, max_length = 255)]
    id: String,
    /// Default: your organization.
    org: Option<String>,
    name: Option<String>,
    /// Values that policies may use for everybody in the tenant.
    #[schema(value_type = Option<Object>)]
    variables: Option<Attributes>,
}

/// Changes to a tenant; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"variables": {"plan": "gold"}}))]
struct TenantChange {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false)]
    name: Option<String>,
    /// Replaces all variables.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Object, required = false)]
    variables: Option<Attributes>,
}

/// Which tenants.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TenantLookup {
    /// Of this organization. Default: yours.
    #[param(value_type = String, required = false, example = "shop")]
    org: Option<String>,
}

/// List tenants
///
/// Needs `read:tenant`.
#[utoipa::path(
    get, path = "/tenants", tag = "Tenants",
    params(TenantLookup),
    responses((status = 200, description = "Tenants.", body = List<TenantView>), Naming),
)]
async fn list_tenants(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Params(lookup): Params<TenantLookup>,
) -> Result<Json<List<TenantView>>, Problem> {
    let tenants = app.gateway.list_tenants(&call, lookup.org.as_deref()).await?;
    Ok(Json(List { items: tenants.into_iter().map(TenantView::from).collect() }))
}

/// Make a tenant
///
/// Needs `write:tenant`, within your organization unless you are a super administrator. The id is chosen by you and
/// stays.
#[utoipa::path(
    post, path = "/tenants", tag = "Tenants",
    request_body = NewTenant,
    responses(
        (status = 201, description = "The new tenant.", body = TenantView, headers(("Location" = String, description = "Where it is."))),
        Making,
    ),
)]
async fn create_tenant(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
    Body(new): Body<NewTenant>,
) -> Result<impl IntoResponse, Problem> {
    let spec = TenantSpec { id: new.id, org: new.org, name: new.name, variables: new.variables };
    let tenant = app.gateway.create_tenant(&call, spec).await?;
    let location = format!("/v1/tenants/{}", path_segment(tenant.id.as_str()));
    Ok((StatusCode::CREATED, [("location", location)], Json(TenantView::from(tenant))))
}

/// Read a tenant
///
/// Needs `read:tenant`.
#[utoipa::path(
    get, path = "/tenants/{id}", tag = "Tenants",
    params(("id" = String, Path, description = "The tenant's id.", example = "acme")),
    responses((status = 200, description = "The tenant.", body = TenantView), Naming),
)]
async fn get_tenant(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(id): Named<TenantId>,
    _: NoParams,
) -> Result<Json<TenantView>, Problem> {
    Ok(Json(app.gateway.get_tenant(&call, id.as_str()).await?.into()))
}

/// Change a tenant
///
/// Needs `write:tenant`. What is absent stays as it is; a tenant never moves to another organization.
#[utoipa::path(
    patch, path = "/tenants/{id}", tag = "Tenants",
    params(("id" = String, Path, description = "The tenant's id.", example = "acme")),
    request_body = TenantChange,
    responses((status = 200, description = "The tenant as it is now.", body = TenantView), Changing),
)]
async fn change_tenant(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(id): Named<TenantId>,
    _: NoParams,
    Body(change): Body<TenantChange>,
) -> Result<Json<TenantView>, Problem> {
    let spec = TenantSpec { id: id.into(), org: None, name: change.name, variables: change.variables };
    Ok(Json(app.gateway.update_tenant(&call, spec).await?.into()))
}

/// Delete a tenant
///
/// Needs `write:tenant`. Refused while the tenant has users.
#[utoipa::path(
    delete, path = "/tenants/{id}", tag = "Tenants",
    params(("id" = String, Path, description = "The tenant's id.", example = "acme")),
    responses((status = 204, description = "The tenant is gone."), Removing),
)]
async fn delete_tenant(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(id): Named<TenantId>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    app.gateway.delete_tenant(&call, id.as_str()).await?;
    Ok(StatusCode::NO_CONTENT)
}
