//! Every request is a call: begun before anything is read, identified by its headers, ended with its answer.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use ringfence_gateway::{Call, CallLog, Code, Credentials, Decision, Door, NameAndPassword, Refused};
use ringfence_policy::TraceId;
use tracing::{Instrument, Span, field};

use super::actions::{UNMATCHED, action_of};
use super::budgets;
use super::credentials::{
    acting, impersonated_user, named_agent, named_provider, presented_key, presented_pair,
};
use super::held::hold_until_sent;
use super::limits::{Lateness, set_deadline};
use super::places::Place;
use super::problem::Problem;
use super::requested_at::RequestedAt;
use super::sender::refuse_foreign_change;
use super::trace::trace_id_of;
use super::{AppState, api, sign_in};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Put into a refusing response's extensions, so that the call's record gets the code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefusedCode(pub(crate) Code);

/// Put into a response's extensions by a handler whose body is a stream that finishes the call's log itself, at its
/// end. Such a body must hold the `Arc<CallLog>`: when it is dropped early, the call is recorded as abandoned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyFinishesLog;

/// An identified call, for a front end whose refusals look like `E`.
pub(crate) struct Caller<E> {
    pub(crate) call: Call,
    _shape: std::marker::PhantomData<E>,
}

impl<E: From<Refused> + IntoResponse> FromRequestParts<AppState> for Caller<E> {
    type Rejection = E;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, E> {
        let call = identify(parts, state).await?;
        Ok(Self { call, _shape: std::marker::PhantomData })
    }
}

/// Which part of the HTTP interface a path belongs to. Each has its own form of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FrontEnd {
    Api,
    V1,
    /// The door for agents.
    Mcp,
    /// Where people sign in and out.
    SignIn,
    /// Paths that organizations publish.
    Endpoint,
    /// The documents about the interface. They need no key and leave no audit record.
    Documents,
}

impl FrontEnd {
    pub(crate) fn of(path: &str) -> Self {
        let belongs_to =
            |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if belongs_to("/api") {
            Self::Api
        } else if belongs_to("/v1") {
            Self::V1
        } else if path == "/mcp" {
            Self::Mcp
        } else if belongs_to("/login") || belongs_to("/logout") {
            Self::SignIn
        } else {
            Self::Documents
        }
    }

    /// The refusal in this front end's own form.
    pub(crate) fn refuse(self, refused: Refused, trace_id: &TraceId) -> Response {
        match self {
            Self::Api => api::ApiRefused::from(refused).into_response(),
            Self::V1 | Self::Mcp | Self::SignIn | Self::Endpoint | Self::Documents => {
                Problem::from(refused).traced(trace_id.as_str()).into_response()
            }
        }
    }

    fn door(self) -> Option<Door> {
        match self {
            Self::Api => Some(Door::Api),
            Self::V1 => Some(Door::V1),
            Self::Mcp => Some(Door::Mcp),
            Self::SignIn => Some(Door::SignIn),
            Self::Endpoint => Some(Door::Endpoint),
            Self::Documents => None,
        }
    }
}

/// Authenticates the request by its headers (`Authorization`, else the cookie of a sign-in session; `x-waii-impersonate-user`, and
/// those of an application that acts for a user of its own). The call's log was put into the request's extensions by the middleware.
pub(crate) async fn identify(parts: &mut Parts, state: &AppState) -> Result<Call, Refused> {
    let Some(log) = parts.extensions.get::<Arc<CallLog>>().cloned() else {
        return Err(Refused::internal(&"a handler outside /api/, /v1/ and /mcp asked who the caller is"));
    };
    let pair = presented_pair(&parts.headers)?;
    let key = if pair.is_some() { None } else { presented_key(&parts.headers)? };
    let requested_at = RequestedAt::of(parts, &state.settings);
    let session = match &state.settings.sign_in {
        // A cookie rides along on whatever a browser sends: it counts only where nothing was presented on purpose, never for
        // agents, and never on a change that another site's page asks for.
        Some(sign_in)
            if pair.is_none() && key.is_none() && FrontEnd::of(parts.uri.path()) != FrontEnd::Mcp =>
        {
            let session = sign_in.cookies.session(&parts.headers)?;
            if session.is_some() {
                refuse_foreign_change(parts, &requested_at)?;
            }
            session
        }
        _ => None,
    };
    let credentials = Credentials {
        access_key: key,
        basic: pair.as_ref().map(|(user, password)| NameAndPassword { user, password }),
        session,
        claims: requested_at.claims(),
        client: requested_at.client(&parts.headers),
        impersonate: impersonated_user(&parts.headers)?,
        acting: acting(&parts.headers, &state.settings.plain_headers)?,
        agent: named_agent(&parts.headers)?,
        provider: named_provider(&parts.headers)?,
    };
    // Boxed: reading an unknown caller from the store makes it too large to be moved around on the stack.
    let identified = Box::pin(state.gateway.identify(&log, credentials)).await;
    if let (Some(limits), Some(key)) = (&state.rate_limits, key) {
        match &identified {
            Ok(_) => limits.learn(key.as_bytes(), true),
            Err(refused) if matches!(refused.code, Code::KeyUnknown | Code::TokenInvalid) => {
                limits.learn(key.as_bytes(), false);
            }
            Err(_) => {}
        }
    }
    let call = identified?;
    let principal = call.principal();
    if let Some(place) = parts.extensions.get::<Arc<Place>>() {
        place.identify(principal)?;
    }
    let span = Span::current();
    span.record("user.id", field::display(principal.authenticated_user()));
    if principal.acted_by.is_some() {
        span.record("user.acting_for", field::display(&principal.user));
    }
    Ok(call)
}

/// The middleware around every route.
pub(crate) async fn attend(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let front_end = match FrontEnd::of(request.uri().path()) {
        FrontEnd::Documents if matched.is_none() && state.gateway.has_endpoints().await => FrontEnd::Endpoint,
        front_end => front_end,
    };
    let route = matched.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    let method = request.method().clone();
    let trace_id = trace_id_of(request.headers());
    let span = tracing::info_span!(
        "request",
        "trace.id" = %trace_id,
        "http.method" = %method,
        "http.route" = route,
        "http.status" = field::Empty,
        "user.id" = field::Empty,
        "user.acting_for" = field::Empty,
    );
    let log = front_end.door().map(|door| {
        let action = action_of(front_end, method.as_str(), route);
        state.gateway.begin(door, action, trace_id.clone())
    });
    if let Some(log) = &log {
        request.extensions_mut().insert(log.clone());
    }
    let attendance = Attendance { state: &state, front_end, trace_id: &trace_id };
    let page = sign_in::page_for(&state, front_end, &request);
    let answer = attendance.answer_within_limits(request, next).instrument(span.clone()).await;
    let budget = log.as_ref().and_then(|log| log.budget());
    let response = attendance.finish_record(log, answer).instrument(span.clone()).await;
    let mut response = sign_in::lead_there(response, page);
    add_headers(response.headers_mut(), front_end, &trace_id);
    if let Some(budget) = budget {
        budgets::write(budget, response.headers_mut());
    }
    span.record("http.status", response.status().as_u16());
    let took = started.elapsed();
    span.in_scope(|| tracing::info!(duration_ms = took.as_secs_f64() * 1000.0, "answered"));
    state.measures.record(front_end, route, response.status(), took);
    response
}

/// What answering one request needs to know.
struct Attendance<'a> {
    state: &'a AppState,
    front_end: FrontEnd,
    trace_id: &'a TraceId,
}

impl Attendance<'_> {
    /// Takes the request's price from its payer's bucket and tells the client what is left.
    async fn answer_within_limits(&self, request: Request, next: Next) -> Response {
        let Some(limits) = &self.state.rate_limits else {
            return self.answer_with_place(request, next).await;
        };
        let key = presented_key(request.headers()).ok().flatten();
        let allowance = limits.take(key.map(str::as_bytes), peer_of(&request));
        let key = key.map(str::to_owned);
        let mut response = if allowance.is_allowed {
            self.answer_with_place(request, next).await
        } else {
            let message = "too many requests: wait as long as the header Retry-After says";
            self.refuse(Refused::new(Code::RateLimited, message))
        };
        let allowance = limits.settle(allowance, key.as_deref().map(str::as_bytes));
        allowance.write(response.headers_mut());
        response
    }

    /// Runs the handler when there is a place for it.
    async fn answer_with_place(&self, mut request: Request, next: Next) -> Response {
        let in_flight = &self.state.in_flight;
        let is_ping = request.uri().path() == "/api/ping";
        let place = match if is_ping { in_flight.enter_always() } else { in_flight.enter() } {
            Ok(place) => place,
            Err(refused) => return ask_to_retry(self.refuse(refused)),
        };
        // Whoever finds out who asks moves the place to that user's share.
        request.extensions_mut().insert(place.clone());
        let lateness = Lateness::default();
        let settings = &self.state.settings;
        let within = if is_load(&request) { settings.load_timeout } else { settings.request_timeout };
        let request = set_deadline(request, within, &lateness);
        // Its panics end here.
        let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = answered.unwrap_or_else(|panic| self.refuse(explain_panic(&*panic)));
        if lateness.is_late() {
            let message = "the request did not arrive in time: send it again";
            return self.refuse(Refused::new(Code::RequestTimeout, message));
        }
        if matches!(response.extensions().get(), Some(RefusedCode(Code::Overloaded))) {
            return ask_to_retry(response);
        }
        hold_until_sent(response, place, self.state.settings.stall_timeout)
    }

    /// Ends the call's record. In strict mode an answer whose record can't be written is not given.
    async fn finish_record(&self, log: Option<Arc<CallLog>>, response: Response) -> Response {
        let Some(log) = log else { return response };
        if response.extensions().get::<BodyFinishesLog>().is_some() {
            return response;
        }
        match log.finish(decision_of(&response)).await {
            Ok(()) => response,
            Err(refused) => self.refuse(refused),
        }
    }

    fn refuse(&self, refused: Refused) -> Response {
        self.front_end.refuse(refused, self.trace_id)
    }
}

/// Whether it brings a table, which may take its time.
fn is_load(request: &Request) -> bool {
    let path = request.uri().path();
    request.method() == axum::http::Method::PUT
        && path.starts_with("/v1/connections/")
        && path.contains("/tables/")
}

fn ask_to_retry(mut response: Response) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(1));
    response
}

fn decision_of(response: &Response) -> Decision {
    if let Some(RefusedCode(code)) = response.extensions().get::<RefusedCode>() {
        return Decision::Refused(*code);
    }
    Decision::Refused(match response.status() {
        status if status.is_success() || status.is_redirection() => return Decision::Allowed,
        StatusCode::UNAUTHORIZED => Code::AuthenticationRequired,
        StatusCode::FORBIDDEN => Code::NotPermitted,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::NOT_ACCEPTABLE => Code::NotAcceptable,
        StatusCode::PAYLOAD_TOO_LARGE => Code::BodyTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        status if status.is_server_error() => Code::Internal,
        _ => Code::InvalidRequest,
    })
}

fn add_headers(headers: &mut HeaderMap, front_end: FrontEnd, trace_id: &TraceId) {
    if let Ok(value) = HeaderValue::from_str(trace_id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    if front_end.door().is_some() {
        // Answers hold keys and rows: no cache may keep them, no browser may take them for a page.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    }
}

fn peer_of(request: &Request) -> IpAddr {
    let connection = request.extensions().get::<ConnectInfo<SocketAddr>>();
    connection.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip())
}

fn explain_panic(panic: &(dyn Any + Send)) -> Refused {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Refused::internal(&format_args!("a handler panicked: {}", text.unwrap_or("without a message")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_front_ends_by_whole_segments() {
        let cases = [
            ("/api/ping", FrontEnd::Api),
            ("/api", FrontEnd::Api),
            ("/apian", FrontEnd::Documents),
            ("/v1/me", FrontEnd::V1),
            ("/v11", FrontEnd::Documents),
            ("/mcp", FrontEnd::Mcp),
            ("/mcp/", FrontEnd::Documents),
            ("/login", FrontEnd::SignIn),
            ("/logins", FrontEnd::Documents),
            ("/openapi.json", FrontEnd::Documents),
        ];
        for (path, front_end) in cases {
            assert_eq!(FrontEnd::of(path), front_end, "{path}");
        }
    }
}
