//! Tenants.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ringfence_gateway::Gateway;
use ringfence_gateway::tenants::TenantSpec;
use ringfence_policy::Attributes;
use ringfence_store::tenants::Tenant;
use serde::{Deserialize, Serialize};

use super::{ApiCaller, AppState, Empty, Reply, Wire, given};

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/create-tenant", post(create_tenant))
        .route("/api/update-tenant", post(update_tenant))
        .route("/api/delete-tenant", post(delete_tenant))
        .route("/api/list-tenants", post(list_tenants))
}

#[derive(Debug, Deserialize)]
struct TenantRequest {
    tenant: TenantFields,
}

#[derive(Debug, Deserialize)]
struct TenantFields {
    id: String,
    name: Option<String>,
    org_id: Option<String>,
    variables: Option<Attributes>,
}

#[derive(Debug, Deserialize)]
struct DeleteRequest {
    id: String,
}

#[derive(Debug, Deserialize)]
struct ListRequest {
    lookup_org_id: Option<String>,
}

#[derive(Debug, Serialize)]
struct TenantList {
    tenants: Vec<ShownTenant>,
}

#[derive(Debug, Serialize)]
struct ShownTenant {
    id: String,
    /// Never null: the SDK insists on a text.
    name: String,
    org_id: String,
    variables: Option<Attributes>,
}

async fn create_tenant(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<TenantRequest>,
) -> Reply<Empty> {
    gateway.create_tenant(&caller.call, request.tenant.into()).await?;
    Ok(Json(Empty {}))
}

async fn update_tenant(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<TenantRequest>,
) -> Reply<Empty> {
    gateway.update_tenant(&caller.call, request.tenant.into()).await?;
    Ok(Json(Empty {}))
}

async fn delete_tenant(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<DeleteRequest>,
) -> Reply<Empty> {
    gateway.delete_tenant(&caller.call, &request.id).await?;
    Ok(Json(Empty {}))
}

async fn list_tenants(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<ListRequest>,
) -> Reply<TenantList> {
    let org = given(request.lookup_org_id);
    let tenants = gateway.list_tenants(&caller.call, org.as_deref()).await?;
    Ok(Json(TenantList { tenants: tenants.into_iter().map(ShownTenant::from).collect() }))
}

impl From<TenantFields> for TenantSpec {
    fn from(fields: TenantFields) -> Self {
        Self { id: fields.id, org: given(fields.org_id), name: fields.name, variables: fields.variables }
    }
}

impl From<Tenant> for ShownTenant {
    fn from(tenant: Tenant) -> Self {
        let id = tenant.id.to_string();
        Self {
            name: tenant.name.unwrap_or_else(|| id.clone()),
            id,
            org_id: tenant.org.to_string(),
            variables: tenant.variables,
        }
    }
}
