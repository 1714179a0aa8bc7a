//! Organizations.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ringfence_gateway::Gateway;
use ringfence_gateway::organizations::OrganizationSpec;
use ringfence_policy::Attributes;
use ringfence_store::organizations::Organization;
use serde::{Deserialize, Serialize};

use super::request::Nothing;
use super::{ApiCaller, AppState, Empty, Reply, Wire};

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/create-org", post(create_org))
        .route("/api/update-org", post(update_org))
        .route("/api/delete-org", post(delete_org))
        .route("/api/list-orgs", post(list_orgs))
}

#[derive(Debug, Deserialize)]
struct OrganizationRequest {
    organization: OrganizationFields,
}

#[derive(Debug, Deserialize)]
struct OrganizationFields {
    id: String,
    name: Option<String>,
    variables: Option<Attributes>,
}

#[derive(Debug, Deserialize)]
struct DeleteRequest {
    id: String,
}

#[derive(Debug, Serialize)]
struct OrganizationList {
    organizations: Vec<ShownOrganization>,
}

#[derive(Debug, Serialize)]
struct ShownOrganization {
    id: String,
    /// Never null: the SDK insists on a text.
    name: String,
    variables: Option<Attributes>,
}

async fn create_org(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<OrganizationRequest>,
) -> Reply<Empty> {
    gateway.create_org(&caller.call, request.organization.into()).await?;
    Ok(Json(Empty {}))
}

async fn update_org(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<OrganizationRequest>,
) -> Reply<Empty> {
    gateway.update_org(&caller.call, request.organization.into()).await?;
    Ok(Json(Empty {}))
}

async fn delete_org(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(request): Wire<DeleteRequest>,
) -> Reply<Empty> {
    gateway.delete_org(&caller.call, &request.id).await?;
    Ok(Json(Empty {}))
}

async fn list_orgs(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Wire(Nothing {}): Wire<Nothing>,
) -> Reply<OrganizationList> {
    let organizations = gateway.list_orgs(&caller.call).await?;
    Ok(Json(OrganizationList {
        organizations: organizations.into_iter().map(ShownOrganization::from).collect(),
    }))
}

impl From<OrganizationFields> for OrganizationSpec {
    fn from(fields: OrganizationFields) -> Self {
        Self { id: fields.id, name: fields.name, variables: fields.variables }
    }
}

impl From<Organization> for ShownOrganization {
    fn from(organization: Organization) -> Self {
        let id = organization.id.to_string();
        Self { name: organization.name.unwrap_or_else(|| id.clone()), id, variables: organization.variables }
    }
}
