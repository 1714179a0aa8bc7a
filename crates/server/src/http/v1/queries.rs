//! `/v1/connections/{key}/query` and `/compile`: run a statement, or have it planned.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ringfence_engine::{ResultSet, Value};
use ringfence_gateway::Code;
use ringfence_gateway::queries::{Compiled, QueryOutcome, QueryRequest};
use ringfence_policy::ConnectionKey;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Map;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Named, NoParams};
use super::negotiate::{Representation, choose_representation};
use super::refusals::{Compiling, Running};
use super::rows;
use crate::http::AppState;
use crate::http::call::{BodyFinishesLog, Caller};
use crate::http::problem::Problem;

/// Names the query in an answer whose body is nothing but rows.
pub(crate) const QUERY_ID: &str = "x-query-id";

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(run_query)).routes(routes!(compile_query))
}

/// A statement to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Query, example = json!({"statement": "SELECT id, total FROM orders", "max_rows": 100}))]
pub(crate) struct QueryBody {
    /// One SQL statement.
    #[schema(min_length = 1)]
    statement: String,
    /// The schema in which unqualified names are looked up.
    current_schema: Option<String>,
    /// Harmless settings for this statement, such as the time zone.
    #[serde(default)]
    #[schema(value_type = Object)]
    session_parameters: Map<String, serde_json::Value>,
    /// Stop the statement after this many milliseconds.
    #[schema(minimum = 1)]
    timeout_ms: Option<u64>,
    /// Answer no more rows than this.
    #[schema(minimum = 1)]
    max_rows: Option<u64>,
    /// Values of the statement's placeholders (`$1`, on SQLite `?1`), as text or null. On guarded connections only.
    #[serde(default)]
    parameters: Vec<Option<String>>,
    /// Why you do it, for the audit record. Some policies want one.
    reason: Option<String>,
}

impl From<QueryBody> for QueryRequest {
    fn from(body: QueryBody) -> Self {
        Self {
            statement: body.statement,
            current_schema: body.current_schema,
            session_parameters: body.session_parameters,
            timeout_ms: body.timeout_ms,
            max_rows: body.max_rows,
            parameters: body.parameters,
            reason: body.reason,
        }
    }
}

/// A result in one piece.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "query_id": "q_7d9f",
    "columns": [{"name": "id", "type": "int8"}, {"name": "total", "type": "numeric"}],
    "rows": [[1, 9.99], [2, 24.5]],
    "more_rows": 0,
}))]
pub(crate) struct QueryResult {
    query_id: String,
    columns: Vec<ResultColumn>,
    /// Values in the order of the columns.
    #[serde(serialize_with = "only_rows")]
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    rows: Arc<ResultSet>,
    /// How many rows were left out: 0 when all came; a lower bound when the statement was stopped early.
    more_rows: u64,
    /// Rows changed, for a statement that changes rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false)]
    affected: Option<u64>,
}

/// A column of a result.
#[derive(Serialize, ToSchema)]
pub(crate) struct ResultColumn {
    /// As the database names it; names may repeat.
    name: String,
    /// The type's name in the database.
    #[serde(rename = "type")]
    type_name: String,
}

impl From<QueryOutcome> for QueryResult {
    fn from(outcome: QueryOutcome) -> Self {
        let columns = outcome
            .result
            .columns
            .iter()
            .map(|column| ResultColumn { name: column.name.clone(), type_name: column.type_name.clone() });
        Self {
            query_id: outcome.id.to_string(),
            columns: columns.collect(),
            more_rows: outcome.result.more_rows,
            affected: outcome.result.affected,
            rows: outcome.result,
        }
    }
}

fn only_rows<S: Serializer>(result: &Arc<ResultSet>, serializer: S) -> Result<S::Ok, S::Error> {
    let rows: &Vec<Vec<Value>> = &result.rows;
    rows.serialize(serializer)
}

/// A statement to plan.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"statement": "SELECT id, total FROM orders"}))]
struct Statement {
    /// One SQL statement.
    #[schema(min_length = 1)]
    statement: String,
}

/// What compiling found.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"compiles": true, "error": null, "tables": [{"schema": "public", "table": "orders"}]}))]
struct Compilation {
    compiles: bool,
    /// Why not: the database's message, or the guard's.
    error: Option<String>,
    /// The tables that the statement reads, as stored.
    tables: Vec<CompiledTable>,
}

/// A table by its stored names.
#[derive(Serialize, ToSchema)]
struct CompiledTable {
    schema: String,
    table: String,
}

impl From<Compiled> for Compilation {
    fn from(compiled: Compiled) -> Self {
        let tables = compiled.tables.into_iter().map(|(schema, table)| CompiledTable { schema, table });
        Self { compiles: compiled.error.is_none(), error: compiled.error, tables: tables.collect() }
    }
}

/// Run a statement
///
/// The header `Accept` decides the form of the answer. `application/json` gathers the result and answers it in one
/// piece. `text/csv` (with a line of names; NULL is empty) and `application/x-ndjson` (one object for each row; of
/// columns that share a name, the later ones get `_1`, `_2`) stream it as fast as you read, whatever its size; going
/// away stops the statement in the database.
///
/// Should the query fail after rows were sent, then NDJSON ends with a line `{"error": <problem>}`, and a CSV answer is
/// broken off: the connection ends without the last chunk, which HTTP clients report as an error. Values in CSV are not
/// altered: a spreadsheet may take text that begins with `=` for a formula.
#[utoipa::path(
    post, path = "/connections/{key}/query", tag = "Queries",
    params(("key" = String, Path, description = "The connection's key, percent-encoded.")),
    request_body = QueryBody,
    responses(
        (
            status = 200, description = "The rows.",
            content((QueryResult = "application/json"), (String = "text/csv"), (String = "application/x-ndjson")),
            headers(("x-query-id" = String, description = "The query's id.")),
        ),
        Running,
    ),
)]
async fn run_query(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
    headers: HeaderMap,
    Body(body): Body<QueryBody>,
) -> Result<Response, Problem> {
    let form = choose_representation(&headers).ok_or_else(|| {
        Problem::new(Code::NotAcceptable, "results do not come in a form that `Accept` names")
    })?;
    if form == Representation::Json {
        let outcome = app.gateway.run_query(&call, key.as_str(), body.into()).await?;
        let named = [(QUERY_ID, outcome.id.to_string())];
        return Ok((named, varied(), Json(QueryResult::from(outcome))).into_response());
    }
    let query = app.gateway.stream_query(&call, key.as_str(), body.into()).await?;
    let named = [(QUERY_ID, query.id().to_string())];
    let rows = rows::stream_rows(query, form, call).await?;
    let form = [(header::CONTENT_TYPE, form.media_type())];
    Ok((named, varied(), form, Extension(BodyFinishesLog), rows).into_response())
}

/// Caches must not hand one form to a client that asked for another.
fn varied() -> [(header::HeaderName, HeaderValue); 1] {
    [(header::VARY, HeaderValue::from_static("accept"))]
}

/// Check a statement
///
/// Has the database plan it; nothing is executed. A statement that does not compile is answered with 200, too.
#[utoipa::path(
    post, path = "/connections/{key}/compile", tag = "Queries",
    params(("key" = String, Path, description = "The connection's key, percent-encoded.")),
    request_body = Statement,
    responses((status = 200, description = "What compiling found.", body = Compilation), Compiling),
)]
async fn compile_query(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
    Body(body): Body<Statement>,
) -> Result<Json<Compilation>, Problem> {
    let compiled = app.gateway.compile_query(&call, key.as_str(), &body.statement, &[]).await?;
    Ok(Json(compiled.into()))
}
