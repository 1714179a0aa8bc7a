//! Looking at a document before it counts: what is wrong with it, what it changes, and whether expectations hold.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use ringfence_gateway::Code;
use ringfence_gateway::policies::{Diff, DiffRequest, Tested};
use ringfence_policy::ConnectionKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Document, invalid};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;
use crate::http::v1::extract::{Named, NoParams, Params};
use crate::http::v1::refusals::{Legislating, Trying};
use crate::reports::{DocumentProblem, EffectReport, Finding, TestsReport};

/// What there is to say about a document.
#[derive(Serialize, ToSchema)]
struct CheckAnswer {
    /// Whether it can be used.
    valid: bool,
    /// Why it can't be.
    problems: Vec<DocumentProblem>,
    /// What there is to look at in it, if it can.
    warnings: Vec<Finding>,
    /// Whether the connection's catalog was there to hold it against. Without, most warnings can't be found.
    indexed: bool,
}

/// Through whose eyes a document is looked at.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DiffParams {
    /// Ids of users, with commas between them; all users of the organization when left out.
    #[param(value_type = String, required = false)]
    users: Option<String>,
    /// `false`: do not count rows.
    #[param(value_type = bool, required = false)]
    count: Option<bool>,
    /// For how many users of each group rows are counted; 3 when left out.
    #[param(value_type = u32, required = false)]
    sample: Option<u32>,
}

/// Check a document
///
/// Says what is wrong with a document and what there is to look at in it: relations that show all tenants' rows, keys that
/// tell of other tenants, secrets in clear, rules that never count, names that the catalog does not have. Nothing is put.
/// Needs `publish:access-rules` and the rank of `org-admin-user`.
#[utoipa::path(
    post, path = "/policies/{key}/check", tag = "Policies",
    params(("key" = String, Path, description = "The key of one of your connections, percent-encoded.")),
    request_body(content(
        (String = "application/yaml", example = json!("models:\n  Order: { table: public.orders }\n")),
        (Object = "application/json", example = json!({"models": {"Order": {"table": "public.orders"}}})),
        (String = "text/plain", example = json!("models: {}")),
    ), description = "The document."),
    responses((status = 200, description = "What there is to say.", body = CheckAnswer), Legislating),
)]
pub(super) async fn check_policy(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
    Document(document): Document,
) -> Result<Response, Problem> {
    let checked = app.gateway.check_policy(&call, key.as_str(), &document).await?;
    let answer = CheckAnswer {
        valid: checked.problems.is_empty(),
        problems: checked.problems.into_iter().map(DocumentProblem::from).collect(),
        warnings: checked.warnings.into_iter().map(Finding::from).collect(),
        indexed: checked.indexed,
    };
    Ok(Json(answer).into_response())
}

/// Tell a document's effect
///
/// What the document would change against the policy in force, or against the open connection: for each group of users whose views
/// are equal, the relations, columns and rights that they gain and lose, and how many rows, counted on the data by the
/// guard's own statements as those users. Nothing is put. At most 1,000 users, 100 groups and 300 counts. Needs
/// `publish:access-rules` and the rank of `org-admin-user`.
#[utoipa::path(
    post, path = "/policies/{key}/diff", tag = "Policies",
    params(("key" = String, Path, description = "The key of one of your connections, percent-encoded."), DiffParams),
    request_body(content(
        (String = "application/yaml", example = json!("models:\n  Order: { table: public.orders }\n")),
        (Object = "application/json", example = json!({"models": {"Order": {"table": "public.orders"}}})),
        (String = "text/plain", example = json!("models: {}")),
    ), description = "The document."),
    responses((status = 200, description = "What it changes.", body = EffectReport), Trying),
)]
pub(super) async fn diff_policy(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    Params(params): Params<DiffParams>,
    Document(document): Document,
) -> Result<Json<EffectReport>, Problem> {
    let users = params.users.unwrap_or_default();
    let request = DiffRequest {
        document,
        users: users.split(',').map(str::trim).filter(|user| !user.is_empty()).map(str::to_owned).collect(),
        counting: params.count.unwrap_or(true),
        sample: params.sample.map(|sample| usize::try_from(sample).unwrap_or(usize::MAX)),
    };
    match app.gateway.diff_policy(&call, key.as_str(), request).await? {
        Diff::Effect(effect) => Ok(Json(effect.into())),
        Diff::Invalid(problems) => Err(invalid(Code::PolicyInvalid, problems)),
    }
}

/// Try expectations
///
/// The body is a file of expectations (its JSON Schema is docs/policy-expectations.schema.json), YAML or JSON. Each is tried as its
/// principal on the policy in force, or on the document in its key `policy`. Statements that change data are judged by the
/// guard and not run. A test that fails is no error of the request: see `failed`. Needs `publish:access-rules` and the rank
/// of `org-admin-user`.
#[utoipa::path(
    post, path = "/policies/{key}/test", tag = "Policies",
    params(("key" = String, Path, description = "The key of one of your connections, percent-encoded.")),
    request_body(content(
        (String = "application/yaml", example = json!("tests:\n  - name: ann sees her orders\n    as: ann\n    query: SELECT id FROM orders\n    expect: { count: 2 }\n")),
        (Object = "application/json", example = json!({"tests": [{"name": "no cards", "as": "ann", "relation": "public.orders", "expect": {"hides": ["card"]}}]})),
        (String = "text/plain", example = json!("tests: []")),
    ), description = "The expectations."),
    responses((status = 200, description = "What came of them.", body = TestsReport), Trying),
)]
pub(super) async fn test_policy(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
    Document(expectations): Document,
) -> Result<Json<TestsReport>, Problem> {
    match app.gateway.test_policy(&call, key.as_str(), &expectations, None).await? {
        Tested::Report(report) => Ok(Json(report.into())),
        Tested::Invalid(problems) => Err(invalid(Code::PolicyInvalid, problems)),
    }
}
