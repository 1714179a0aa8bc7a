//! `/v1/cubes`: measures of facts at levels of hierarchies, and the definitions behind them.

pub(crate) mod answers;
mod arrow;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use ringfence_gateway::Code;
use ringfence_gateway::cubes::{CubeDescription, CubeQuery, PutCube};
use ringfence_policy::ConnectionKey;
use ringfence_store::cubes::CubeVersion;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Document, Named, NoParams};
use super::negotiate::choose;
use super::refusals::{AskingCubes, DefiningCubes, ReadingCubes, SeeingCubes};
use super::{List, timestamp};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::freshness;
use crate::http::problem::Problem;
use crate::reports::DocumentProblem;
use answers::{CellSet, CubeForm, CubeRows};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(describe_cubes))
        .routes(routes!(describe_cube, put_cube, remove_cube))
        .routes(routes!(get_cube_definition))
        .routes(routes!(get_cube_history))
        .routes(routes!(query_cube))
}

/// A cube with its document.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "name": "sales",
    "version": 2,
    "author": "ann",
    "created_at": "2026-11-20T08:00:00Z",
    "document": "table: sales\njoins:\n  - { table: shops, on: { Shop: Shop ID } }\n",
    "removed": false,
}))]
struct CubeDefinition {
    name: String,
    version: i64,
    /// Who put it.
    author: String,
    created_at: String,
    /// As it was put, to the letter.
    document: String,
    /// Whether this version took the cube away. Its document is empty.
    removed: bool,
}

impl From<CubeVersion> for CubeDefinition {
    fn from(version: CubeVersion) -> Self {
        let CubeVersion { name, version, document, author, created_at, removed } = version;
        let (author, created_at) = (author.to_string(), timestamp(created_at));
        Self { name, version, author, created_at, document, removed }
    }
}

/// List cubes
///
/// Those on the connection that you see, with the hierarchies and measures that you see of them. What stands on a table or a
/// column that is hidden from you is not there.
#[utoipa::path(
    get, path = "/cubes/{key}", tag = "Cubes",
    params(("key" = String, Path, description = "The connection's key, percent-encoded.")),
    responses((status = 200, description = "The cubes, by name.", body = List<CubeDescription>), SeeingCubes),
)]
async fn describe_cubes(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
) -> Result<Json<List<CubeDescription>>, Problem> {
    Ok(Json(List { items: app.gateway.describe_cubes(&call, key.as_str()).await? }))
}

/// Describe a cube
///
/// Its hierarchies and measures, as you see them.
#[utoipa::path(
    get, path = "/cubes/{key}/{cube}", tag = "Cubes",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("cube" = String, Path, description = "The cube's name, percent-encoded."),
    ),
    responses((status = 200, description = "The cube.", body = CubeDescription), SeeingCubes),
)]
async fn describe_cube(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, cube)): Named<(ConnectionKey, String)>,
    _: NoParams,
) -> Result<Json<CubeDescription>, Problem> {
    Ok(Json(app.gateway.describe_cube(&call, key.as_str(), &cube).await?))
}

/// Define a cube
///
/// The body is the document itself, YAML or JSON (see `docs/cubes.md`). It counts from then on, for everybody of the
/// organization who has a connection to the same database. Its hierarchies say how restrictions of roles merge and its joins
/// hand them on, in raw SQL as well: so it needs what putting a policy needs, `publish:access-rules` and the rank of
/// `org-admin-user`. What can't be used is refused with all that is wrong in `problems`.
#[utoipa::path(
    put, path = "/cubes/{key}/{cube}", tag = "Cubes",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("cube" = String, Path, description = "The cube's name, percent-encoded."),
    ),
    request_body(
        content(
            (String = "application/yaml", example = json!("table: sales\njoins:\n  - { table: shops, on: { Shop: Shop ID } }\n")),
            (Object = "application/json", example = json!({"table": "sales", "measures": {"Quantity.SUM": {"sum": "Quantity"}}})),
            (String = "text/plain", example = json!("{table: sales, auto: true}")),
        ),
        description = "The document."
    ),
    responses(
        (status = 200, description = "The cube as it is now.", body = CubeDefinition),
        (status = 201, description = "The first version of it.", body = CubeDefinition),
        DefiningCubes,
    ),
)]
async fn put_cube(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, cube)): Named<(ConnectionKey, String)>,
    _: NoParams,
    Document(document): Document,
) -> Result<Response, Problem> {
    match app.gateway.put_cube(&call, key.as_str(), &cube, &document).await? {
        PutCube::Stored(version) => {
            let status = if version.version == 1 { StatusCode::CREATED } else { StatusCode::OK };
            Ok((status, Json(CubeDefinition::from(version))).into_response())
        }
        PutCube::Invalid(problems) => {
            let refused = Problem::new(Code::CubeInvalid, "the document can't be used: see `problems`");
            Err(refused.with_problems(problems.into_iter().map(DocumentProblem::from).collect()))
        }
    }
}

/// Remove a cube
///
/// Its history stays. Restrictions merge from then on as if it had never been. Needs `publish:access-rules` and the rank of
/// `org-admin-user`.
#[utoipa::path(
    delete, path = "/cubes/{key}/{cube}", tag = "Cubes",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("cube" = String, Path, description = "The cube's name, percent-encoded."),
    ),
    responses((status = 204, description = "It is gone."), ReadingCubes),
)]
async fn remove_cube(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, cube)): Named<(ConnectionKey, String)>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    app.gateway.remove_cube(&call, key.as_str(), &cube).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Read a cube's definition
///
/// The version that counts, with its document. Needs `publish:access-rules` and the rank of `org-admin-user`.
#[utoipa::path(
    get, path = "/cubes/{key}/{cube}/definition", tag = "Cubes",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("cube" = String, Path, description = "The cube's name, percent-encoded."),
    ),
    responses((status = 200, description = "The definition.", body = CubeDefinition), ReadingCubes),
)]
async fn get_cube_definition(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, cube)): Named<(ConnectionKey, String)>,
    _: NoParams,
) -> Result<Json<CubeDefinition>, Problem> {
    Ok(Json(app.gateway.cube_definition(&call, key.as_str(), &cube).await?.into()))
}

/// List a cube's versions
///
/// The newest first, each with its document. Needs `publish:access-rules` and the rank of `org-admin-user`.
#[utoipa::path(
    get, path = "/cubes/{key}/{cube}/history", tag = "Cubes",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("cube" = String, Path, description = "The cube's name, percent-encoded."),
    ),
    responses((status = 200, description = "The versions.", body = List<CubeDefinition>), ReadingCubes),
)]
async fn get_cube_history(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, cube)): Named<(ConnectionKey, String)>,
    _: NoParams,
) -> Result<Json<List<CubeDefinition>>, Problem> {
    let history = app.gateway.cube_history(&call, key.as_str(), &cube).await?;
    Ok(Json(List { items: history.into_iter().map(CubeDefinition::from).collect() }))
}

/// Query a cube
///
/// Measures at levels, over the facts that you see. A level brings those above it in its hierarchy. With `include_totals`
/// there are rows for the total of all, then for each member of the first level, and so on: totals of what you see. A fact
/// without a member is under `N/A` of a level of texts, and under null of any other. There is a row only where there are
/// facts; rows in which no measure has a value are left out unless `include_empty_rows` keeps them.
///
/// `filter` has the conditions of the models API. Those on levels choose facts; those on measures look at each row of the
/// answer, totals among them. Null is larger than every value.
///
/// The header `Accept` decides the form of the answer: rows as JSON (`application/json`), axes and cells
/// (`application/vnd.ringfence.cellset+json`), or the rows as a table, with `grouping` as the last column where totals were
/// asked for, in CSV (`text/csv`) or as an Arrow IPC stream (`application/vnd.apache.arrow.stream`).
///
/// The answer may be one that was kept for callers who see the same; the header `Age` says then how old it is. `Cache-Control`
/// of the request asks for a newer one: `no-cache`, `max-age`, `no-store`.
#[utoipa::path(
    post, path = "/cubes/{key}/{cube}/query", tag = "Cubes",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("cube" = String, Path, description = "The cube's name, percent-encoded."),
    ),
    request_body = CubeQuery,
    responses(
        (
            status = 200, description = "The rows.",
            content(
                (CubeRows = "application/json"),
                (CellSet = "application/vnd.ringfence.cellset+json"),
                (String = "text/csv"),
                (String = "application/vnd.apache.arrow.stream"),
            ),
        ),
        AskingCubes,
    ),
)]
async fn query_cube(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, cube)): Named<(ConnectionKey, String)>,
    _: NoParams,
    headers: HeaderMap,
    Body(body): Body<CubeQuery>,
) -> Result<Response, Problem> {
    let form = choose(&headers, &CubeForm::OFFERED).ok_or_else(|| {
        Problem::new(Code::NotAcceptable, "answers do not come in a form that `Accept` names")
    })?;
    let asked = freshness::asked(&headers);
    let answer = app.gateway.query_cube(&call, key.as_str(), &cube, &body, asked).await?;
    let mut response = answers::respond(&answer, form)?;
    freshness::tell(&mut response, answer.age);
    Ok(response)
}
