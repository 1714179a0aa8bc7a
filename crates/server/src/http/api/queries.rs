//! Queries: run, submit, fetch, cancel, compile.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ringfence_gateway::queries::{Compiled, QueryRequest};
use ringfence_gateway::{Call, Gateway, Refused};
use ringfence_policy::filter::SearchContext;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::names::{NameStyle, SchemaName, ShownTableName};
use super::rows::ShownResult;
use super::{ApiCaller, ApiRefused, AppState, Empty, Reply, Scoped, given};

/// What is said of a statement that compiling can't judge: it may be fine, and nothing is known against it.
const UNCHECKED: &str = "could not be checked: the database has no plan for this kind of statement";

/// Rows of a result that is fetched without saying how many.
const DEFAULT_RETURNED_ROWS: u64 = 10_000;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/run-query", post(run_query))
        .route("/api/submit-query", post(submit_query))
        .route("/api/get-query-result", post(get_query_result))
        .route("/api/cancel-query", post(cancel_query))
        .route("/api/run-query-compiler", post(compile_query))
        .route("/api/apply-table-access-rules", post(apply_access_rules))
}

#[derive(Debug, Deserialize)]
struct RunRequest {
    query: String,
    current_schema: Option<SchemaName>,
    session_parameters: Option<Map<String, Value>>,
    timeout_ms: Option<u64>,
    max_returned_rows: Option<u64>,
    /// Values of the statement's placeholders. The SDK sends none.
    parameters: Option<Vec<Option<String>>>,
    /// Why, for the audit record. The SDK sends none.
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ResultRequest {
    query_id: String,
    max_returned_rows: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct CancelRequest {
    query_id: String,
}

#[derive(Debug, Deserialize)]
struct CompileRequest {
    query: String,
    search_context: Option<Vec<SearchContext>>,
}

#[derive(Debug, Deserialize)]
struct ApplyRequest {
    query: String,
}

#[derive(Debug, Serialize)]
struct Submitted {
    query_id: String,
}

#[derive(Debug, Serialize)]
struct CompileReply {
    query: String,
    /// Empty when the statement is fine.
    errors: String,
    should_compile: bool,
    tables: Vec<ShownTableName>,
    explain_error_msg: ExplainMessage,
    enforce_table_access_rules_response: Protection,
}

#[derive(Debug, Serialize)]
struct ExplainMessage {
    /// 0: could not be checked; 1: fine; 2: an error.
    state: u8,
    msg: Option<String>,
}

/// A statement as access rules leave it.
#[derive(Debug, Serialize)]
struct Protection {
    query: String,
    status: ProtectionStatus,
}

#[derive(Debug, Serialize)]
struct ProtectionStatus {
    state: &'static str,
    msg: Option<String>,
}

async fn run_query(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<RunRequest>,
) -> Result<ShownResult, ApiRefused> {
    request.check_database(&gateway, &caller.call, &key).await?;
    let outcome = gateway.run_query(&caller.call, &key, request.into()).await?;
    Ok(ShownResult(outcome))
}

async fn submit_query(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<RunRequest>,
) -> Reply<Submitted> {
    request.check_database(&gateway, &caller.call, &key).await?;
    let id = gateway.submit_query(&caller.call, &key, request.into()).await?;
    Ok(Json(Submitted { query_id: id.to_string() }))
}

/// Waits for the query's end.
async fn get_query_result(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<ResultRequest>,
) -> Result<ShownResult, ApiRefused> {
    let max_rows = Some(request.max_returned_rows.unwrap_or(DEFAULT_RETURNED_ROWS));
    let outcome = gateway.query_result(&caller.call, Some(&key), &request.query_id, max_rows).await?;
    Ok(ShownResult(outcome))
}

async fn cancel_query(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<CancelRequest>,
) -> Reply<Empty> {
    gateway.cancel_query(&caller.call, Some(&key), &request.query_id).await?;
    Ok(Json(Empty {}))
}

/// A statement that does not compile is no refusal: the reply says so.
async fn compile_query(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<CompileRequest>,
) -> Reply<CompileReply> {
    let contexts = request.search_context.unwrap_or_default();
    let compiled = gateway.compile_query(&caller.call, &key, &request.query, &contexts).await?;
    let style = NameStyle::of_connection(&gateway, &caller.call, &key).await?;
    Ok(Json(CompileReply {
        errors: compiled.error.clone().unwrap_or_default(),
        should_compile: compiled.error.is_none(),
        tables: style.tables(&compiled.tables),
        explain_error_msg: ExplainMessage::of(&compiled),
        enforce_table_access_rules_response: Protection::of(request.query.clone(), &compiled),
        query: request.query,
    }))
}

async fn apply_access_rules(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<ApplyRequest>,
) -> Reply<Protection> {
    let compiled = gateway.compile_query(&caller.call, &key, &request.query, &[]).await?;
    Ok(Json(Protection::of(request.query, &compiled)))
}

impl ExplainMessage {
    fn of(compiled: &Compiled) -> Self {
        match (&compiled.error, compiled.checked) {
            (Some(error), _) => Self { state: 2, msg: Some(error.clone()) },
            (None, true) => Self { state: 1, msg: None },
            (None, false) => Self { state: 0, msg: Some(UNCHECKED.to_owned()) },
        }
    }
}

impl Protection {
    /// What compiles is protected: as it is where nothing has to be held, else as the guard writes it. What does not
    /// compile stays as it was sent; a blocked table and one that is not there are told alike.
    fn of(query: String, compiled: &Compiled) -> Self {
        let state = if compiled.error.is_none() { "protected" } else { "uncompilable" };
        let query = compiled.guarded.clone().unwrap_or(query);
        Self { query, status: ProtectionStatus { state, msg: compiled.error.clone() } }
    }
}

impl RunRequest {
    async fn check_database(&self, gateway: &Gateway, call: &Call, key: &str) -> Result<(), Refused> {
        match &self.current_schema {
            Some(schema) => schema.check_database(gateway, call, key).await,
            None => Ok(()),
        }
    }
}

impl From<RunRequest> for QueryRequest {
    fn from(request: RunRequest) -> Self {
        Self {
            statement: request.query,
            current_schema: request.current_schema.and_then(|schema| given(Some(schema.schema_name))),
            session_parameters: request.session_parameters.unwrap_or_default(),
            timeout_ms: request.timeout_ms,
            max_rows: request.max_returned_rows,
            parameters: request.parameters.unwrap_or_default(),
            reason: request.reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_checked_is_neither_fine_nor_an_error() {
        let check = |error: Option<&str>, checked, expected: (u8, Option<&str>)| {
            let error = error.map(str::to_owned);
            let message = ExplainMessage::of(&Compiled { error, checked, tables: Vec::new(), guarded: None });
            assert_eq!((message.state, message.msg.as_deref()), expected);
        };
        check(None, false, (0, Some(UNCHECKED)));
        check(None, true, (1, None));
        check(Some("no"), true, (2, Some("no")));
        check(Some("no"), false, (2, Some("no")));
    }
}
