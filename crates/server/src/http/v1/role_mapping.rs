//! `/v1/security/role-mapping`: what the roles of an OpenID provider mean here.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ringfence_store::role_mapping::MappedRole;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::List;
use super::extract::{Body, Nameable, Named, NoParams};
use super::refusals::{Changing, Naming};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_role_mapping))
        .routes(routes!(put_role_mapping, delete_role_mapping))
}

/// A source in a path.
#[derive(Deserialize)]
struct OfSource(String);

/// A role of a source in a path.
#[derive(Deserialize)]
struct RoleOfSource(String, String);

impl Nameable for OfSource {
    const NOUN: &'static str = "source";
}
impl Nameable for RoleOfSource {
    const NOUN: &'static str = "source";
}

/// A role of a source, and what it means.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MappedRole, example = json!({"role": "france", "means": ["ROLE_FRANCE"]}))]
struct MappedRoleView {
    /// As the source spells it.
    role: String,
    /// Roles here: product roles, such as `api-user`, and data roles, which policies name.
    means: Vec<String>,
}

impl From<MappedRole> for MappedRoleView {
    fn from(mapped: MappedRole) -> Self {
        let product = mapped.means.roles.into_iter().map(|role| role.name().to_owned());
        Self { role: mapped.outside_role, means: product.chain(mapped.means.data_roles).collect() }
    }
}

/// What a role of a source is to mean.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"means": ["api-user", "ROLE_FRANCE"]}))]
struct Meaning {
    /// Replaces what it meant. No product role above your own, or above the source's `highest_role`.
    means: Vec<String>,
}

/// List a role mapping
///
/// What the roles of an OpenID provider mean here. Needs `read:user`, and that the provider is of your organization.
#[utoipa::path(
    get, path = "/security/role-mapping/{source}", tag = "Identity",
    params(("source" = String, Path, description = "The provider's name in the configuration.", example = "corporate")),
    responses((status = 200, description = "Roles that mean something, by name.", body = List<MappedRoleView>), Naming),
)]
async fn list_role_mapping(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(OfSource(source)): Named<OfSource>,
    _: NoParams,
) -> Result<Json<List<MappedRoleView>>, Problem> {
    let mapping = app.gateway.list_role_mapping(&call, &source).await?;
    Ok(Json(List { items: mapping.into_iter().map(MappedRoleView::from).collect() }))
}

/// Map a role
///
/// Whoever has the provider's role has these roles from their next token or sign-in on; a token that was seen before is looked
/// at again. Needs `write:user`, and that the provider is of your organization.
#[utoipa::path(
    put, path = "/security/role-mapping/{source}/{role}", tag = "Identity",
    params(
        ("source" = String, Path, description = "The provider's name in the configuration.", example = "corporate"),
        ("role" = String, Path, description = "The role as the provider spells it.", example = "france"),
    ),
    request_body = Meaning,
    responses((status = 200, description = "The role as it is now.", body = MappedRoleView), Changing),
)]
async fn put_role_mapping(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(RoleOfSource(source, role)): Named<RoleOfSource>,
    _: NoParams,
    Body(meaning): Body<Meaning>,
) -> Result<Json<MappedRoleView>, Problem> {
    Ok(Json(app.gateway.put_role_mapping(&call, &source, &role, &meaning.means).await?.into()))
}

/// Unmap a role
///
/// It means nothing any more; what was granted by hand stays. Needs what mapping needs.
#[utoipa::path(
    delete, path = "/security/role-mapping/{source}/{role}", tag = "Identity",
    params(
        ("source" = String, Path, description = "The provider's name in the configuration.", example = "corporate"),
        ("role" = String, Path, description = "The role as the provider spells it.", example = "france"),
    ),
    responses((status = 204, description = "It means nothing now."), Naming),
)]
async fn delete_role_mapping(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(RoleOfSource(source, role)): Named<RoleOfSource>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    app.gateway.delete_role_mapping(&call, &source, &role).await?;
    Ok(StatusCode::NO_CONTENT)
}
