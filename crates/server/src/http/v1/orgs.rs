//! `/v1/orgs`: organizations.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use ringfence_gateway::organizations::OrganizationSpec;
use ringfence_policy::{Attributes, OrgId};
use ringfence_store::organizations::Organization;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Named, NoParams, present};
use super::refusals::{Asking, Changing, Making, Naming, Removing};
use super::{List, path_segment};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_orgs, create_org))
        .routes(routes!(get_org, change_org, delete_org))
}

/// An organization.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Organization, example = json!({"id": "shop", "name": "Shop Inc.", "variables": {"region": "eu"}}))]
struct OrgView {
    id: String,
    name: Option<String>,
    /// Values that policies may use for everybody in the organization; null when never set.
    #[schema(value_type = Option<Object>)]
    variables: Option<Attributes>,
}

impl From<Organization> for OrgView {
    fn from(org: Organization) -> Self {
        Self { id: org.id.to_string(), name: org.name, variables: org.variables }
    }
}

/// An organization to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewOrganization, example = json!({"id": "shop", "name": "Shop Inc."}))]
struct NewOrg {
    /// Unique on the server.
    #[schema(min_length = 1, max_length = 255)]
    id: String,
    name: Option<String>,
    /// Values that policies may use for everybody in the organization.
    #[schema(value_type = Option<Object>)]
    variables: Option<Attributes>,
}

/// Changes to an organization; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OrganizationChange, example = json!({"name": "Shop Ltd."}))]
struct OrgChange {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false)]
    name: Option<String>,
    /// Replaces all variables.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Object, required = false)]
    variables: Option<Attributes>,
}

/// List organizations
///
/// All of them for a super administrator; for others with `read:org`, their own.
#[utoipa::path(
    get, path = "/orgs", tag = "Organizations",
    responses((status = 200, description = "Organizations.", body = List<OrgView>), Asking),
)]
async fn list_orgs(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
) -> Result<Json<List<OrgView>>, Problem> {
    let orgs = app.gateway.list_orgs(&call).await?;
    Ok(Json(List { items: orgs.into_iter().map(OrgView::from).collect() }))
}

/// Make an organization
///
/// Needs `write:org`. The id is chosen by you and stays.
#[utoipa::path(
    post, path = "/orgs", tag = "Organizations",
    request_body = NewOrg,
    responses(
        (status = 201, description = "The new organization.", body = OrgView, headers(("Location" = String, description = "Where it is."))),
        Making,
    ),
)]
async fn create_org(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
    Body(new): Body<NewOrg>,
) -> Result<impl IntoResponse, Problem> {
    let spec = OrganizationSpec { id: new.id, name: new.name, variables: new.variables };
    let org = app.gateway.create_org(&call, spec).await?;
    let location = format!("/v1/orgs/{}", path_segment(org.id.as_str()));
    Ok((StatusCode::CREATED, [("location", location)], Json(OrgView::from(org))))
}

/// Read an organization
///
/// Needs `read:org`. Any for a super administrator; for others, their own.
#[utoipa::path(
    get, path = "/orgs/{id}", tag = "Organizations",
    params(("id" = String, Path, description = "The organization's id.", example = "shop")),
    responses((status = 200, description = "The organization.", body = OrgView), Naming),
)]
async fn get_org(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(id): Named<OrgId>,
    _: NoParams,
) -> Result<Json<OrgView>, Problem> {
    Ok(Json(app.gateway.get_org(&call, id.as_str()).await?.into()))
}

/// Change an organization
///
/// Needs `write:org`. What is absent stays as it is.
#[utoipa::path(
    patch, path = "/orgs/{id}", tag = "Organizations",
    params(("id" = String, Path, description = "The organization's id.", example = "shop")),
    request_body = OrgChange,
    responses((status = 200, description = "The organization as it is now.", body = OrgView), Changing),
)]
async fn change_org(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(id): Named<OrgId>,
    _: NoParams,
    Body(change): Body<OrgChange>,
) -> Result<Json<OrgView>, Problem> {
    let spec = OrganizationSpec { id: id.into(), name: change.name, variables: change.variables };
    Ok(Json(app.gateway.update_org(&call, spec).await?.into()))
}

/// Delete an organization
///
/// Needs `write:org`. Refused while the organization has tenants.
#[utoipa::path(
    delete, path = "/orgs/{id}", tag = "Organizations",
    params(("id" = String, Path, description = "The organization's id.", example = "shop")),
    responses((status = 204, description = "The organization is gone."), Removing),
)]
async fn delete_org(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(id): Named<OrgId>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    app.gateway.delete_org(&call, id.as_str()).await?;
    Ok(StatusCode::NO_CONTENT)
}
