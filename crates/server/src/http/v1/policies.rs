//! `/v1/policies`: what guards a connection, for administrators of the organization.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ringfence_gateway::policies::{NewPolicy, PutPolicy};
use ringfence_gateway::{Code, Refused};
use ringfence_policy::ConnectionKey;
use ringfence_store::policies::{Expected, PolicyVersion};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Named, NoParams, Params};
use super::refusals::{Governing, Legislating};
use super::{List, timestamp};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::{DocumentProblem, Problem};

/// What documents are sent as. Nobody registered all of them, and clients send what they know.
const MEDIA_TYPES: [&str; 6] =
    ["application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/plain", "application/json"];

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(get_policy, put_policy))
        .routes(routes!(get_policy_history))
        .routes(routes!(roll_back_policy))
}

/// A policy with its document.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "version": 3,
    "author": "ann",
    "comment": null,
    "created_at": "2026-11-20T08:00:00Z",
    "document": "models:\n  Order:\n    table: public.orders\n    scoping: { tenant_id: principal.tenant_id }\n",
    "warnings": [],
}))]
struct PolicyAnswer {
    version: i64,
    /// Who put it.
    author: String,
    comment: Option<String>,
    created_at: String,
    /// As it was put, to the letter.
    document: String,
    /// What the document names and the indexed catalog does not have, when it was put just now.
    warnings: Vec<DocumentProblem>,
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
    fn of(version: PolicyVersion, warnings: Vec<DocumentProblem>) -> Self {
        Self {
            version: version.version,
            author: version.author.to_string(),
            comment: version.comment,
            created_at: timestamp(version.created_at),
            document: version.document,
            warnings,
        }
    }
}

/// Read a policy
///
/// The one in force on the connection's data source. Needs `publish:access-rules` and the rank of `org-admin-user`.
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
    let version = app.gateway.get_policy(&call, key.as_str()).await?;
    Ok((tag(version.version), Json(PolicyAnswer::of(version, Vec::new()))))
}

/// Put a policy
///
/// The body is the document itself, YAML or JSON. It is in force for everybody of your organization when this answers, on
/// every connection to the same data source, whatever its key, alias or user. What can't be used is refused with all that
/// is wrong in `problems`; what the indexed catalog does not have is warned of. With `If-Match` only in place of that
/// version, with `If-None-Match: *` only where there is none. A guarded connection stays guarded: a policy can be
/// replaced, not removed. Needs `publish:access-rules` and the rank of `org-admin-user`.
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
    let items = history.into_iter().map(|version| PolicyAnswer::of(version, Vec::new()));
    Ok(Json(List { items: items.collect() }))
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
            let warnings = warnings.into_iter().map(DocumentProblem::from).collect();
            let tag = tag(version.version);
            Ok((status, tag, Json(PolicyAnswer::of(version, warnings))).into_response())
        }
        PutPolicy::Invalid(problems) => {
            let refused = Problem::new(Code::PolicyInvalid, "the policy can't be used: see `problems`");
            Err(refused.with_problems(problems.into_iter().map(DocumentProblem::from).collect()))
        }
    }
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

/// The body as it came.
struct Document(String);

impl<S: Send + Sync> FromRequest<S> for Document {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let declared = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = declared.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !MEDIA_TYPES.iter().any(|known| known.eq_ignore_ascii_case(essence)) {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "the body is declared as no form of a policy",
            )
            .with_hint("send it with the header `Content-Type: application/yaml`"));
        }
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|rejection| super::extract::unreadable(&rejection))?;
        let text = String::from_utf8(bytes.into());
        text.map(Self).map_err(|_| Problem::new(Code::InvalidRequest, "the document is not in UTF-8"))
    }
}
