//! `/v1/endpoints`: what an organization publishes.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ringfence_gateway::Code;
use ringfence_gateway::endpoints::PutEndpoint;
use ringfence_policy::Endpoint;
use ringfence_store::endpoints::EndpointVersion;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Document, Nameable, Named, NoParams};
use super::refusals::{CallingEndpoints, PublishingEndpoints, ReadingEndpoints};
use super::{List, timestamp};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;
use crate::reports::DocumentProblem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_endpoints))
        .routes(routes!(describe_endpoints))
        .routes(routes!(get_endpoint, put_endpoint, remove_endpoint))
        .routes(routes!(get_endpoint_history))
        .routes(routes!(try_endpoint))
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct EndpointName(String);

impl Nameable for EndpointName {
    const NOUN: &'static str = "endpoint";
}

/// An endpoint that you may call.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"name": "orders", "method": "GET", "path": "/orders/{id}", "description": "One order.", "parameters": ["id"]}))]
struct EndpointSummary {
    name: String,
    #[schema(value_type = String)]
    method: &'static str,
    path: String,
    /// What it is for.
    description: Option<String>,
    /// Names of what it takes; `/v1/endpoints/openapi` says more.
    parameters: Vec<String>,
}

impl From<Endpoint> for EndpointSummary {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            name: endpoint.name,
            method: endpoint.method.name(),
            path: endpoint.path,
            description: endpoint.description,
            parameters: endpoint.parameters.into_iter().map(|(name, _)| name).collect(),
        }
    }
}

/// An endpoint with its document.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "name": "data",
    "version": 2,
    "author": "ann",
    "created_at": "2026-11-20T08:00:00Z",
    "document": "name: data\npath: /data\nconnection: postgresql://app@db/shop\nstatement: SELECT * FROM company_data\nresult: { wrap: data }\n",
    "removed": false,
}))]
struct EndpointAnswer {
    name: String,
    version: i64,
    /// Who put it, and on whose connection it runs.
    author: String,
    created_at: String,
    /// As it was put, to the letter.
    document: String,
    /// Whether this version took the endpoint away. Its document is empty.
    removed: bool,
}

impl From<EndpointVersion> for EndpointAnswer {
    fn from(version: EndpointVersion) -> Self {
        let EndpointVersion { name, version, document, author, created_at, removed } = version;
        Self {
            name,
            version,
            author: author.to_string(),
            created_at: timestamp(created_at),
            document,
            removed,
        }
    }
}

/// What to try it with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"parameters": {"id": 1}}))]
struct TryEndpoint {
    /// By name, wherever a request would have them.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: Map<String, Value>,
}

/// List endpoints
///
/// Those of your organization that you may call, by name.
#[utoipa::path(
    get, path = "/endpoints", tag = "Endpoints",
    responses((status = 200, description = "The endpoints.", body = List<EndpointSummary>), ReadingEndpoints),
)]
async fn list_endpoints(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
) -> Result<Json<List<EndpointSummary>>, Problem> {
    let endpoints = app.gateway.list_endpoints(&call).await?;
    Ok(Json(List { items: endpoints.into_iter().map(EndpointSummary::from).collect() }))
}

/// Describe endpoints
///
/// Those that you may call, as an `OpenAPI` document of their own.
#[utoipa::path(
    get, path = "/endpoints/openapi", tag = "Endpoints",
    responses((status = 200, description = "An `OpenAPI` 3.1 document.", body = Object), ReadingEndpoints),
)]
async fn describe_endpoints(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
) -> Result<Json<Value>, Problem> {
    Ok(Json(app.gateway.describe_endpoints(&call).await?))
}

/// Read an endpoint
///
/// The version that counts, with its document. Needs `publish:access-rules` and the rank of `org-admin-user`.
#[utoipa::path(
    get, path = "/endpoints/{name}", tag = "Endpoints",
    params(("name" = String, Path, description = "The endpoint's name.")),
    responses((status = 200, description = "The endpoint.", body = EndpointAnswer), ReadingEndpoints),
)]
async fn get_endpoint(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(EndpointName(name)): Named<EndpointName>,
    _: NoParams,
) -> Result<Json<EndpointAnswer>, Problem> {
    Ok(Json(app.gateway.get_endpoint(&call, &name).await?.into()))
}

/// Publish an endpoint
///
/// The body is the document itself, YAML or JSON (see `docs/endpoints.md`). It can be called when this answers. Its statement
/// runs on the connection that you have under the document's key, which a policy must guard, and always behind the view of
/// whoever calls. What can't be used is refused with all that is wrong in `problems`. Needs `publish:access-rules` and the
/// rank of `org-admin-user`.
#[utoipa::path(
    put, path = "/endpoints/{name}", tag = "Endpoints",
    params(("name" = String, Path, description = "The endpoint's name, as in the document.")),
    request_body(
        content(
            (String = "application/yaml", example = json!("name: data\npath: /data\nconnection: postgresql://app@db/shop\nstatement: SELECT * FROM company_data\n")),
            (Object = "application/json", example = json!({"name": "whoami", "path": "/pyapi/whoami", "builtin": "whoami"})),
            (String = "text/plain", example = json!("{name: whoami, path: /pyapi/whoami, builtin: whoami}")),
        ),
        description = "The document."
    ),
    responses(
        (status = 200, description = "The endpoint as it is now.", body = EndpointAnswer),
        (status = 201, description = "The first version of it.", body = EndpointAnswer),
        PublishingEndpoints,
    ),
)]
async fn put_endpoint(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(EndpointName(name)): Named<EndpointName>,
    _: NoParams,
    Document(document): Document,
) -> Result<Response, Problem> {
    match app.gateway.put_endpoint(&call, &name, &document).await? {
        PutEndpoint::Stored(version) => {
            let status = if version.version == 1 { StatusCode::CREATED } else { StatusCode::OK };
            Ok((status, Json(EndpointAnswer::from(version))).into_response())
        }
        PutEndpoint::Invalid(problems) => {
            let refused = Problem::new(Code::EndpointInvalid, "the document can't be used: see `problems`");
            Err(refused.with_problems(problems.into_iter().map(DocumentProblem::from).collect()))
        }
    }
}

/// Remove an endpoint
///
/// Its path is nobody's from then on; its history stays. Needs `publish:access-rules` and the rank of `org-admin-user`.
#[utoipa::path(
    delete, path = "/endpoints/{name}", tag = "Endpoints",
    params(("name" = String, Path, description = "The endpoint's name.")),
    responses((status = 204, description = "It is gone."), ReadingEndpoints),
)]
async fn remove_endpoint(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(EndpointName(name)): Named<EndpointName>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    app.gateway.remove_endpoint(&call, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List an endpoint's versions
///
/// The newest first, each with its document. Needs `publish:access-rules` and the rank of `org-admin-user`.
#[utoipa::path(
    get, path = "/endpoints/{name}/history", tag = "Endpoints",
    params(("name" = String, Path, description = "The endpoint's name.")),
    responses((status = 200, description = "The versions.", body = List<EndpointAnswer>), ReadingEndpoints),
)]
async fn get_endpoint_history(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(EndpointName(name)): Named<EndpointName>,
    _: NoParams,
) -> Result<Json<List<EndpointAnswer>>, Problem> {
    let history = app.gateway.endpoint_history(&call, &name).await?;
    Ok(Json(List { items: history.into_iter().map(EndpointAnswer::from).collect() }))
}

/// Try an endpoint
///
/// Calls it as you, by its name; an answer that is kept is not used. One that changes rows changes them.
#[utoipa::path(
    post, path = "/endpoints/{name}/try", tag = "Endpoints",
    params(("name" = String, Path, description = "The endpoint's name.")),
    request_body = TryEndpoint,
    responses((status = 200, description = "What it answers.", body = Value), CallingEndpoints),
)]
async fn try_endpoint(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(EndpointName(name)): Named<EndpointName>,
    _: NoParams,
    Body(body): Body<TryEndpoint>,
) -> Result<Response, Problem> {
    let answer = app.gateway.try_endpoint(&call, &name, &body.parameters).await?;
    Ok(Json(&*answer.body).into_response())
}
