//! `/v1/policies`: what guards a connection, for administrators of the organization.

mod looking;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ringfence_gateway::policies::{NewPolicy, PolicyStatus, PutPolicy};
use ringfence_gateway::{Code, Refused};
use ringfence_policy::ConnectionKey;
use ringfence_store::policies::{Expected, PolicyVersion};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use looking::{
    __path_check_policy, __path_diff_policy, __path_test_policy, check_policy, diff_policy, test_policy,
};

use super::extract::{Body, Document, Named, NoParams, Params};
use super::refusals::{Governing, Legislating, Repealing};
use super::{List, timestamp};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;
use crate::reports::{DocumentProblem, Finding, SuspendedRelation};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(get_policy, put_policy, remove_policy))
        .routes(routes!(get_policy_history))
        .routes(routes!(roll_back_policy))
        .routes(routes!(check_policy))
        .routes(routes!(diff_policy))
        .routes(routes!(test_policy))
}

/// A policy with its document.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "version": 3,
    "author": "ann",
    "comment": null,
    "created_at": "2026-11-20T08:00:00Z",
    "document": "models:\n  Order:\n    table: public.orders\n    scoping: { tenant_id: principal.tenant_id }\n",
    "removed": false,
    "warnings": [],
    "suspended": [],
}))]
struct PolicyAnswer {
    version: i64,
    /// Who put it.
    author: String,
    comment: Option<String>,
    created_at: String,
    /// As it was put, to the letter.
    document: String,
    /// Whether this version took the policy away. Its document is empty.
    removed: bool,
    /// Why the document can't be used any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    problems: Vec<DocumentProblem>,
    /// What there is to look at in it; empty in the history.
    warnings: Vec<Finding>,
    /// Relations that nobody has access to, because the database changed under the policy; empty in the history, and when
    /// it was put just now.
    suspended: Vec<SuspendedRelation>,
}

/// Which version is to be in force again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"version": 2}))]
struct RollBack {
    version: i64,
}

/// How a policy is put.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PutParams {
    /// Why, for the history.
    #[param(value_type = String, required = false)]
    comment: Option<String>,
}

impl PolicyAnswer {
    fn of(version: PolicyVersion) -> Self {
        Self {
            version: version.version,
            author: version.author.to_string(),
            comment: version.comment,
            created_at: timestamp(version.created_at),
            document: version.document,
            removed: version.removed,
            problems: Vec::new(),
            warnings: Vec::new(),
            suspended: Vec::new(),
        }
    }
}

/// Read a policy
///
/// The one in force on the connection's data source, with what there is to look at in it, and the relations whose access is
/// suspended because the database changed since. Needs `publish:access-rules` and the rank of `org-admin-user`.
#[utoipa::path(
    get, path = "/policies/{key}", tag = "Policies",
    params(("key" = String, Path, description = "The key of one of your connections, percent-encoded.")),
    responses(
        (status = 200, description = "The policy.", body = PolicyAnswer, headers(("ETag" = String, description = "Its version."))),
        Governing,
    ),
)]
async fn get_policy(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
) -> Result<impl IntoResponse, Problem> {
    let PolicyStatus { version, problems, warnings, suspended } =
        app.gateway.get_policy(&call, key.as_str()).await?;
    let answer = PolicyAnswer {
        problems: problems.into_iter().map(DocumentProblem::from).collect(),
        warnings: warnings.into_iter().map(Finding::from).collect(),
        suspended: suspended.into_iter().map(SuspendedRelation::from).collect(),
        ..PolicyAnswer::of(version)
    };
    Ok((tag(answer.version), Json(answer)))
}

/// Put a policy
///
/// The body is the document itself, YAML or JSON. It is in force for everybody of your organization when this answers, on
/// every connection to the same data source, whatever its key, alias or user. What can't be used is refused with all that
/// is wrong in `problems`; what there is to look at is warned of. With `If-Match` only in place of that
/// version, with `If-None-Match: *` only where there is none. Needs `publish:access-rules` and the rank of `org-admin-user`.
#[utoipa::path(
    put, path = "/policies/{key}", tag = "Policies",
    params(
        ("key" = String, Path, description = "The key of one of your connections, percent-encoded."),
        PutParams,
        ("If-Match" = Option<String>, Header, description = "The ETag of the version that is to be replaced."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: there is to be no policy yet."),
    ),
    request_body(
        content(
            (String = "application/yaml", example = json!("models:\n  Order: { table: public.orders, scoping: { tenant_id: principal.tenant_id } }\n")),
            (Object = "application/json", example = json!({"models": {"Order": {"table": "public.orders"}}})),
            (String = "text/plain", example = json!("models: {}")),
        ),
        description = "The document."
    ),
    responses(
        (status = 200, description = "The policy as it is now.", body = PolicyAnswer, headers(("ETag" = String, description = "Its version."))),
        (status = 201, description = "The first policy on this data source.", body = PolicyAnswer, headers(("ETag" = String, description = "Its version."))),
        Legislating,
    ),
)]
async fn put_policy(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    Params(params): Params<PutParams>,
    headers: HeaderMap,
    Document(document): Document,
) -> Result<Response, Problem> {
    let new = NewPolicy { document, comment: params.comment, expected: expected(&headers)? };
    answer_put(app.gateway.put_policy(&call, key.as_str(), new).await?)
}

/// Remove a policy
///
/// **Opens the data source**: whoever of your organization has a connection to it runs any statement there from now on, with the
/// rights of the database's own user. The version that is meant must be named with `If-Match`. The history stays, and
/// roll-back puts the policy in force again. Nodes that have not heard of it go on guarding, for a second at most. Needs
/// `publish:access-rules` and the rank of `org-admin-user`.
#[utoipa::path(
    delete, path = "/policies/{key}", tag = "Policies",
    params(
        ("key" = String, Path, description = "The key of one of your connections, percent-encoded."),
        PutParams,
        ("If-Match" = String, Header, description = "The ETag of the version that is to be removed. Required."),
    ),
    responses(
        (status = 200, description = "The version that says so.", body = PolicyAnswer, headers(("ETag" = String, description = "Its version."))),
        Repealing,
    ),
)]
async fn remove_policy(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    Params(params): Params<PutParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Expected::Version(version) = expected(&headers)? else {
        let refused = Problem::new(
            Code::InvalidRequest,
            "removing a policy opens its data source to everybody who has a connection to it",
        );
        return Err(refused.with_hint("name the version that you mean: `If-Match` with its ETag"));
    };
    let removed = app.gateway.remove_policy(&call, key.as_str(), version, params.comment).await?;
    Ok((tag(removed.version), Json(PolicyAnswer::of(removed))).into_response())
}

/// List a policy's versions
///
/// The newest first, each with its document. Needs `publish:access-rules` and the rank of `org-admin-user`.
#[utoipa::path(
    get, path = "/policies/{key}/history", tag = "Policies",
    params(("key" = String, Path, description = "The key of one of your connections, percent-encoded.")),
    responses((status = 200, description = "The versions.", body = List<PolicyAnswer>), Governing),
)]
async fn get_policy_history(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
) -> Result<Json<List<PolicyAnswer>>, Problem> {
    let history = app.gateway.policy_history(&call, key.as_str()).await?;
    Ok(Json(List { items: history.into_iter().map(PolicyAnswer::of).collect() }))
}

/// Roll a policy back
///
/// Puts the document of an earlier version in force again, as a new version. Takes the same conditions as putting one.
/// Needs `publish:access-rules` and the rank of `org-admin-user`.
#[utoipa::path(
    post, path = "/policies/{key}/roll-back", tag = "Policies",
    params(
        ("key" = String, Path, description = "The key of one of your connections, percent-encoded."),
        ("If-Match" = Option<String>, Header, description = "The ETag of the version that is to be replaced."),
    ),
    request_body = RollBack,
    responses(
        (status = 200, description = "The policy as it is now.", body = PolicyAnswer, headers(("ETag" = String, description = "Its version."))),
        Legislating,
    ),
)]
async fn roll_back_policy(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    _: NoParams,
    headers: HeaderMap,
    Body(body): Body<RollBack>,
) -> Result<Response, Problem> {
    let expected = expected(&headers)?;
    answer_put(app.gateway.roll_back_policy(&call, key.as_str(), body.version, expected).await?)
}

fn answer_put(put: PutPolicy) -> Result<Response, Problem> {
    match put {
        PutPolicy::Stored { version, warnings } => {
            let status = if version.version == 1 { StatusCode::CREATED } else { StatusCode::OK };
            let warnings = warnings.into_iter().map(Finding::from).collect();
            let answer = PolicyAnswer { warnings, ..PolicyAnswer::of(version) };
            Ok((status, tag(answer.version), Json(answer)).into_response())
        }
        PutPolicy::Invalid(problems) => Err(invalid(Code::PolicyInvalid, problems)),
    }
}

/// All that is wrong with a document.
pub(crate) fn invalid(code: Code, problems: Vec<ringfence_policy::Problem>) -> Problem {
    let refused = Problem::new(code, "the document can't be used: see `problems`");
    refused.with_problems(problems.into_iter().map(DocumentProblem::from).collect())
}

fn tag(version: i64) -> [(HeaderName, String); 1] {
    [(header::ETAG, format!("\"{version}\""))]
}

/// What the conditions of RFC 9110, section 13, come to. Versions are compared strongly, so a weak tag matches none.
fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, None) => Ok(Expected::Any),
        (None, Some("*")) => Ok(Expected::None),
        (Some(tag), None) => {
            let version = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            version.and_then(|version| version.parse().ok()).map(Expected::Version).ok_or_else(|| {
                Refused::new(Code::PreconditionFailed, "`If-Match` names no version of this policy").into()
            })
        }
        _ => Err(Problem::new(
            Code::InvalidRequest,
            "give either `If-Match` with a version's ETag, or `If-None-Match: *`",
        )),
    }
}
