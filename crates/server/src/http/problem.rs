//! Problem details (RFC 9457): how `/v1/` says that something was not done.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ringfence_gateway::{CallLog, Code, Refused};
use serde::Serialize;
use utoipa::ToSchema;

use super::call::RefusedCode;
use crate::reports::DocumentProblem;

/// The media type of problem details.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// A refusal in the shape of `/v1/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    pointer: Option<String>,
    problems: Box<[DocumentProblem]>,
    trace_id: Option<String>,
}

/// Problem details as RFC 9457 has them. Clients decide by `code`, which is stable; people read `detail` and `hint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(
    as = Problem,
    example = json!({
        "type": "/docs/errors#NOT_FOUND",
        "title": "Not found",
        "status": 404,
        "code": "NOT_FOUND",
        "detail": "connection not found",
        "hint": "list what you can reach: what belongs to somebody else is answered like what does not exist",
        "trace_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    }),
)]
pub(crate) struct ProblemBody {
    /// Where the code is explained, relative to this server.
    #[serde(rename = "type")]
    problem_type: String,
    /// The code in words; the same for each occurrence.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The stable code, as listed in the table of codes.
    code: &'static str,
    /// What was refused.
    detail: String,
    /// What to do instead. Made only from what the caller sent and may see.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    hint: Option<String>,
    /// Where in the request body the mistake is (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pointer: Option<String>,
    /// All that is wrong with a document.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    problems: Vec<DocumentProblem>,
    /// Tell the operator this to have the call looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    trace_id: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            hint: None,
            pointer: None,
            problems: Box::default(),
            trace_id: None,
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the place of the mistake in the body, as a JSON pointer.
    pub(crate) fn at(mut self, pointer: String) -> Self {
        self.pointer = Some(pointer);
        self
    }

    /// Lists what is wrong with a document.
    pub(crate) fn with_problems(mut self, problems: Vec<DocumentProblem>) -> Self {
        self.problems = problems.into();
        self
    }

    /// Names the call, so that its record can be found.
    pub(crate) fn traced(mut self, trace_id: &str) -> Self {
        self.trace_id = Some(trace_id.to_owned());
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        // The table holds valid statuses only; `every_code_has_a_status` checks it.
        StatusCode::from_u16(self.code.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What goes over the wire.
    pub(crate) fn body(&self) -> ProblemBody {
        let row = self.code.row();
        ProblemBody {
            problem_type: format!("/docs/errors#{}", row.name),
            title: row.title,
            status: row.status,
            code: row.name,
            detail: self.detail.clone().into_owned(),
            hint: self
                .hint
                .clone()
                .or_else(|| standing_hint(self.code).map(Cow::Borrowed))
                .map(Cow::into_owned),
            pointer: self.pointer.clone(),
            problems: self.problems.to_vec(),
            trace_id: self.trace_id.clone(),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::new(refused.code, refused.message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        match self.status() {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response.extensions_mut().insert(RefusedCode(self.code));
        response.extensions_mut().insert(self);
        response
    }
}

/// Middleware: puts the call's trace id into a problem on its way out. Handlers and extractors refuse without knowing
/// their call; here both meet.
pub(crate) async fn name_the_call(request: Request, next: Next) -> Response {
    let log = request.extensions().get::<Arc<CallLog>>().cloned();
    let mut response = next.run(request).await;
    let (Some(log), Some(problem)) = (log, response.extensions_mut().remove::<Problem>()) else {
        return response;
    };
    let headers = std::mem::take(response.headers_mut());
    let mut named = problem.traced(log.trace_id().as_str()).into_response();
    for (name, value) in &headers {
        if name != header::CONTENT_LENGTH {
            named.headers_mut().insert(name, value.clone());
        }
    }
    named
}

/// What to do about a code, whatever the occasion.
pub(crate) const fn standing_hint(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::AuthenticationRequired => "send the header `Authorization: Bearer <access key>`",
        Code::KeyUnknown => "check the access key: it may have been deleted, or cut when it was copied",
        Code::InvalidPrincipalToken => {
            "the server's log has the reason; the manual (docs/acting.md) has what a token must say, and what it may say"
        }
        Code::NotPermitted => {
            "GET /v1/me lists your permissions; an administrator can give you a role that has this one"
        }
        Code::ImpersonationDenied => {
            "impersonation needs `usage:impersonation`, and a user of your organization with no more permissions than you"
        }
        Code::NotFound => {
            "list what you can reach: what belongs to somebody else is answered like what does not exist"
        }
        Code::MethodNotAllowed => "the header `Allow` names the methods of this path",
        Code::BodyTooLarge => "send less at once",
        Code::AlreadyExists => "choose another name, or change the one that is there with PATCH",
        Code::Conflict => "read again, then repeat the change",
        Code::WriteConflict => "nothing was done: send the same again",
        Code::StatementUnreadable => "check the spelling; what is uncommon may have a plainer form",
        Code::RelationUnknown | Code::ColumnUnknown => "the connection's catalog lists what you can name",
        Code::TenantScopeRequired => "an administrator can set the attribute as a variable of yours",
        Code::TenantSuspended => {
            "nothing of yours is lost: whoever runs this service can let your tenant in again"
        }
        Code::ReasonRequired => "say why in the field `reason`",
        Code::CatalogNotReady => "wait until the connection's status is `completed`",
        Code::EndpointInvalid | Code::PolicyInvalid => "nothing was changed: mend what `problems` lists",
        Code::PreconditionFailed => "read it again, then repeat the change with its `ETag`",
        Code::RelationSuspended => {
            "an administrator of the organization sees why at /v1/policies, and puts the policy again"
        }
        Code::PolicyUnusable => "an administrator of the organization can put another policy",
        Code::AttributeUnavailable => {
            "an administrator of the organization can look at the policy's `attributes`"
        }
        Code::TooManyFields => "name the columns that you need",
        Code::CostExceeded | Code::QueryTooBroad => "add a condition on a column, or a LIMIT",
        Code::ResultOutdated => "submit the query again",
        Code::QueryTimedOut => "narrow the query, or ask for more time with `timeout_ms`",
        Code::ResultTooLarge => "select fewer columns or rows, or stream with `Accept: application/x-ndjson`",
        Code::TooManyQueries
        | Code::RateLimited
        | Code::TenantBusy
        | Code::TenantRateLimited
        | Code::SourceBusy => "wait for the time in `Retry-After`, then repeat",
        Code::NotAcceptable => "ask for application/json, text/csv or application/x-ndjson",
        Code::UnsupportedMediaType => "send JSON with the header `Content-Type: application/json`",
        Code::SourceUnreachable => "check host and port of the connection, and that the database is running",
        Code::SourceCredentials => "check user name and password of the connection",
        Code::AuditUnavailable | Code::StoreUnavailable | Code::Overloaded | Code::ShuttingDown => {
            "nothing was done: wait for the time in `Retry-After`, then repeat"
        }
        Code::Internal => "tell the operator the trace id",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use ringfence_gateway::refused::ROWS;

    use serde_json::json;

    use super::*;

    fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
        response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn every_code_has_a_status() {
        for row in ROWS {
            let problem = Problem::new(row.code, "x");
            assert_eq!(problem.status().as_u16(), row.status, "{}", row.name);
            assert!(problem.status().is_client_error() || problem.status().is_server_error());
        }
    }

    #[test]
    fn a_refusal_keeps_code_and_sentence() {
        let body = Problem::from(Refused::not_found("tenant")).traced("t-1").body();
        assert_eq!(
            serde_json::to_value(body).unwrap(),
            json!({
                "type": "/docs/errors#NOT_FOUND",
                "title": "Not found",
                "status": 404,
                "code": "NOT_FOUND",
                "detail": "tenant not found",
                "hint": standing_hint(Code::NotFound).unwrap(),
                "trace_id": "t-1",
            })
        );
    }

    #[test]
    fn what_does_not_apply_is_left_out() {
        let body = serde_json::to_value(Problem::new(Code::InvalidRequest, "no").body()).unwrap();
        let names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["type", "title", "status", "code", "detail"]);
    }

    #[test]
    fn an_own_hint_stands_before_the_standing_one() {
        let problem = Problem::new(Code::NotFound, "no").with_hint("look elsewhere").at("/a".to_owned());
        assert_eq!(problem.body().hint.as_deref(), Some("look elsewhere"));
        assert_eq!(problem.body().pointer.as_deref(), Some("/a"));
    }

    #[test]
    fn headers_go_with_the_status() {
        let cases = [
            (Code::KeyUnknown, Some("Bearer"), None),
            (Code::RateLimited, None, Some("1")),
            (Code::StoreUnavailable, None, Some("5")),
            (Code::NotFound, None, None),
        ];
        for (code, authenticate, retry) in cases {
            let response = Problem::new(code, "x").into_response();
            assert_eq!(header(&response, "content-type"), Some(MEDIA_TYPE));
            assert_eq!(header(&response, "www-authenticate"), authenticate, "{code:?}");
            assert_eq!(header(&response, "retry-after"), retry, "{code:?}");
            assert_eq!(response.extensions().get::<RefusedCode>().map(|refused| refused.0), Some(code));
        }
    }
}
