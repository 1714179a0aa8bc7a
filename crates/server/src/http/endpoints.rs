//! Published endpoints: whatever path is not one of the server's own may be one of an organization's.

use std::sync::Arc;

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::Method as HttpMethod;
use axum::response::{IntoResponse, Response};
use http_body::Body as _;
use ringfence_gateway::endpoints::EndpointRequest;
use ringfence_gateway::{CallLog, Code};
use ringfence_policy::endpoint::Method;
use serde_json::{Map, Value};

use super::call::identify;
use super::freshness;
use super::problem::Problem;
use super::v1::extract::{Body, Params};
use super::{AppState, refuse_unknown_path};

/// Answers a path that is none of the server's own. Who is not known hears nothing of what paths there are.
pub(super) async fn answer(State(app): State<AppState>, request: Request) -> Response {
    let Some(log) = request.extensions().get::<Arc<CallLog>>().cloned() else {
        // Nobody publishes anything here.
        return refuse_unknown_path(None).await.into_response();
    };
    match call(&app, request).await {
        Ok(response) => response,
        Err(problem) => problem.traced(log.trace_id().as_str()).into_response(),
    }
}

async fn call(app: &AppState, request: Request) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let call = identify(&mut parts, app).await?;
    let Some(method) = method_of(&parts.method) else {
        return Err(Problem::new(Code::NotFound, "there is nothing at this path"));
    };
    let Params(query): Params<Vec<(String, String)>> = Params::from_request_parts(&mut parts, app).await?;
    let path = parts.uri.path().to_owned();
    let freshness = freshness::asked(&parts.headers);
    let request = Request::from_parts(parts, body);
    let body = read_body(method, request, app).await?;
    let asked = EndpointRequest { method, path: &path, query, body, freshness };
    let answer = app.gateway.call_endpoint(&call, asked).await?;
    let mut response = Json(&*answer.body).into_response();
    freshness::tell(&mut response, answer.age);
    Ok(response)
}

fn method_of(method: &HttpMethod) -> Option<Method> {
    Some(match *method {
        HttpMethod::GET | HttpMethod::HEAD => Method::Get,
        HttpMethod::POST => Method::Post,
        HttpMethod::PUT => Method::Put,
        HttpMethod::PATCH => Method::Patch,
        HttpMethod::DELETE => Method::Delete,
        _ => return None,
    })
}

/// The object that the body is, if there is a body.
async fn read_body(
    method: Method,
    request: Request<HttpBody>,
    app: &AppState,
) -> Result<Option<Map<String, Value>>, Problem> {
    if request.body().is_end_stream() {
        return Ok(None);
    }
    if method == Method::Get {
        return Err(Problem::new(
            Code::InvalidRequest,
            "a GET has no body here: send parameters in the query",
        ));
    }
    Body::from_request(request, app).await.map(|Body(object)| Some(object))
}
