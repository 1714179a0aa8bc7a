//! `/v1/explain` and `/v1/why`: what becomes of a statement, and why somebody sees a row or not.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use ringfence_gateway::queries::{ExplainRequest, QueryRequest, View, WhyRequest};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, NoParams};
use super::refusals::{Explaining, Inspecting};
use crate::explanation::{ExplanationAnswer, WhyAnswer};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(explain_query)).routes(routes!(explain_row))
}

/// A statement to explain.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Explain, example = json!({
    "connection": "postgresql://app@db:5432/shop", "statement": "SELECT id, total FROM orders", "as": "ann",
}))]
struct ExplainBody {
    /// The key of one of your connections.
    connection: String,
    /// One SQL statement.
    #[schema(min_length = 1)]
    statement: String,
    /// The user whom it is about; you when left out. Only administrators may ask about others.
    #[serde(rename = "as")]
    as_user: Option<String>,
    /// Which view; when left out, the administrator's for those who may have it.
    view: Option<ViewBody>,
    /// With the database's own plan, in the administrator's view.
    #[serde(default)]
    plan: bool,
    /// The schema in which unqualified names are looked up.
    current_schema: Option<String>,
    /// Values of the statement's placeholders; NULLs when left out.
    #[serde(default)]
    parameters: Vec<Option<String>>,
    /// Why you would run it: some policies want a reason.
    reason: Option<String>,
}

/// Which view of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ExplainView)]
enum ViewBody {
    Caller,
    Administrator,
}

/// A row to explain.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AskWhy, example = json!({
    "connection": "postgresql://app@db:5432/shop", "relation": "public.orders", "key": {"id": 42}, "as": "ann",
}))]
struct WhyBody {
    /// The key of one of your connections.
    connection: String,
    /// The relation, with its schema or without.
    relation: String,
    /// The row's primary key: texts and numbers by column.
    #[schema(value_type = Object)]
    key: BTreeMap<String, KeyValue>,
    /// The user whom it is about; you when left out.
    #[serde(rename = "as")]
    as_user: Option<String>,
}

/// A value of a key.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum KeyValue {
    Text(String),
    Number(serde_json::Number),
}

impl KeyValue {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

/// Explain a statement
///
/// What becomes of it, without running it; it is refused with what running it would be refused with.
///
/// There are two views. The caller's is everybody's, about themselves: which of the relations named may hide rows and which
/// columns are masked, in kind. What does not exist for you is not in it. The administrator's is about anybody of your
/// organization: the statement that the database gets, each relation with the rules that gave or took columns and rows,
/// limits, versions, and on request the database's own plan. It needs `publish:access-rules` and the rank of
/// `org-admin-user`, and to ask about others, `usage:impersonation`; both names are in the audit log.
#[utoipa::path(
    post, path = "/explain", tag = "Policies",
    request_body = ExplainBody,
    responses((status = 200, description = "What becomes of it.", body = ExplanationAnswer), Explaining),
)]
async fn explain_query(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
    Body(body): Body<ExplainBody>,
) -> Result<Json<ExplanationAnswer>, Problem> {
    let query = QueryRequest {
        statement: body.statement,
        current_schema: body.current_schema,
        parameters: body.parameters,
        reason: body.reason,
        ..QueryRequest::default()
    };
    let request = ExplainRequest {
        key: body.connection,
        query,
        as_user: body.as_user,
        view: body.view.map(|view| match view {
            ViewBody::Caller => View::Caller,
            ViewBody::Administrator => View::Administrator,
        }),
        plan: body.plan,
    };
    let explanation = app.gateway.explain_query(&call, request).await?;
    Ok(Json(explanation.into()))
}

/// Explain a row
///
/// Why a user sees one row, or does not: every clause of the law with its value on that row, and what it asks of the user.
/// Of the row's columns those are shown that clauses read, and that you see in clear yourself. Needs what reading the policy
/// needs, and to ask about others, `usage:impersonation`; both names are in the audit log.
#[utoipa::path(
    post, path = "/why", tag = "Policies",
    request_body = WhyBody,
    responses((status = 200, description = "Why.", body = WhyAnswer), Inspecting),
)]
async fn explain_row(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
    Body(body): Body<WhyBody>,
) -> Result<Json<WhyAnswer>, Problem> {
    let row = body.key.into_iter().map(|(column, value)| (column, value.into_text())).collect();
    let request = WhyRequest { key: body.connection, relation: body.relation, row, as_user: body.as_user };
    let why = app.gateway.explain_row(&call, request).await?;
    Ok(Json(why.into()))
}
