//! The door to `/mcp`: who sends a message, and from where. Behind it is [`crate::mcp`].
//!
//! Every request is authenticated by itself, before its body is read. What the protocol calls a session is a name here that
//! we sign and never keep: it tells which agent asks where the message itself does not, and opens nothing.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use ringfence_gateway::{Call, CallLog, Code, Refused};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tracing::Span;

use super::AppState;
use super::call::identify;
use super::limits::read_body;
use super::problem::Problem;
use crate::mcp::{AgentService, Bounds, Visit, service};

/// Where the resource's metadata is, and the same for clients that ask with the resource's own path (RFC 9728, 3.1).
const METADATA: &str = "/.well-known/oauth-protected-resource";
const METADATA_OF_PATH: &str = "/.well-known/oauth-protected-resource/mcp";
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// How the door behaves. Made from the configuration.
#[derive(Debug, Clone)]
pub(crate) struct McpSettings {
    /// Of this server's own listener.
    pub(crate) scheme: &'static str,
    /// How clients reach it, if that was said.
    pub(crate) public_url: Option<String>,
    /// Names that clients may reach it by, beside addresses and `localhost`.
    pub(crate) hosts: Vec<String>,
    /// Origins whose scripts may use it.
    pub(crate) origins: Vec<String>,
    pub(crate) authorization_servers: Vec<String>,
    pub(crate) bounds: Bounds,
}

/// The routes; none when agents are not let in.
pub(super) fn router(state: &AppState) -> Router<AppState> {
    let Some(settings) = &state.settings.mcp else { return Router::new() };
    let service = service(state.gateway.clone(), settings.bounds, state.settings.max_body_bytes);
    let door = Door { service, settings: Arc::new(settings.clone()) };
    let serve = {
        let door = door.clone();
        move |State(app): State<AppState>, request: Request| async move { door.serve(&app, request).await }
    };
    let describe = move |request: Request| async move { door.describe(&request.into_parts().0) };
    Router::new()
        .route("/mcp", any(serve))
        .route(METADATA, get(describe.clone()))
        .route(METADATA_OF_PATH, get(describe))
}

#[derive(Clone)]
struct Door {
    service: AgentService,
    settings: Arc<McpSettings>,
}

/// What the door reads of a message. The front end behind it reads the message itself.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    method: String,
    #[serde(default)]
    params: Map<String, Value>,
}

impl Door {
    async fn serve(&self, app: &AppState, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        let log = parts.extensions.get::<Arc<CallLog>>().cloned();
        match self.let_in(app, &mut parts, body).await {
            Ok(response) => response,
            Err(refused) => {
                let mut problem = Problem::from(refused);
                if let Some(log) = log {
                    problem = problem.traced(log.trace_id().as_str());
                }
                let mut response = problem.into_response();
                self.challenge(&parts, &mut response);
                response
            }
        }
    }

    async fn let_in(&self, app: &AppState, parts: &mut Parts, body: Body) -> Result<Response, Refused> {
        self.check_sender(parts)?;
        // INVARIANT: every request says by its key who sends it, and nothing else does. Held by the test
        // `every_request_is_authenticated`.
        let call = identify(parts, app).await?;
        let session = session_of(app, parts, &call)?;
        if parts.method != Method::POST {
            let call = app.gateway.as_agent(call, session.as_deref())?;
            let message = "messages are sent with POST: there is nothing to listen to, and no session to end";
            let problem = Problem::from(Refused::new(Code::MethodNotAllowed, message));
            let allow = [(header::ALLOW, HeaderValue::from_static("POST"))];
            return Ok((allow, problem.traced(call.log().trace_id().as_str())).into_response());
        }
        let body = read_body(&parts.headers, body, &app.settings).await?;
        // What is no message is answered by the front end, in the protocol's own words.
        let message: Option<Message> = serde_json::from_slice(&body).ok();
        let agent = message.as_ref().and_then(agent_of).or(session);
        let begins = message.as_ref().is_some_and(|message| message.method == "initialize");
        let name = begins.then(|| app.gateway.name_session(&call, agent.as_deref().unwrap_or_default()));
        let call = app.gateway.as_agent(call, agent.as_deref())?;
        let visit = Visit { call: Arc::new(call), span: Span::current() };
        parts.extensions.insert(visit);
        let mut inner = Request::new(Body::from(body));
        *inner.method_mut() = parts.method.clone();
        *inner.uri_mut() = parts.uri.clone();
        *inner.headers_mut() = parts.headers.clone();
        *inner.extensions_mut() = parts.extensions.clone();
        let mut response = self.service.handle(inner).await.map(Body::new);
        if let Some(name) = name.and_then(|name| HeaderValue::from_str(&name).ok())
            && response.status() == StatusCode::OK
        {
            response.headers_mut().insert(SESSION_ID, name);
        }
        Ok(response)
    }

    /// Refuses pages of other sites that a browser was lured to (DNS rebinding, as the specification asks).
    fn check_sender(&self, parts: &Parts) -> Result<(), Refused> {
        let refuse = |message: &'static str| Err(Refused::new(Code::NotPermitted, message));
        for origin in parts.headers.get_all(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
            if !self.settings.origins.contains(&origin) {
                return refuse("web pages of this origin may not use /mcp: see `mcp.allowed_origins`");
            }
        }
        match host_of(parts) {
            Some(host) if self.is_ours(host.host()) => Ok(()),
            _ => refuse("/mcp is not served under this name: see `mcp.public_url` and `mcp.allowed_hosts`"),
        }
    }

    /// A name that a page can make lead anywhere is none of ours unless somebody said so; an address leads to itself.
    fn is_ours(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        address.parse::<IpAddr>().is_ok() || host == "localhost" || self.settings.hosts.contains(&host)
    }

    /// Tells a client without a valid key where it learns how to get one (RFC 9728, 5.1).
    fn challenge(&self, parts: &Parts, response: &mut Response) {
        let error = match response.status() {
            StatusCode::UNAUTHORIZED if parts.headers.contains_key(header::AUTHORIZATION) => {
                ", error=\"invalid_token\""
            }
            StatusCode::UNAUTHORIZED => "",
            _ => return,
        };
        let base = self.base(parts);
        let challenge = format!("Bearer resource_metadata=\"{base}{METADATA_OF_PATH}\"{error}");
        if let Ok(value) = HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
    }

    /// The metadata itself. It tells nothing but how to get in.
    fn describe(&self, parts: &Parts) -> Response {
        if let Err(refused) = self.check_sender(parts) {
            return Problem::from(refused).into_response();
        }
        let mut metadata = json!({
            "resource": format!("{}/mcp", self.base(parts)),
            "resource_name": "Ringfence",
            "bearer_methods_supported": ["header"],
        });
        if !self.settings.authorization_servers.is_empty() {
            metadata["authorization_servers"] = json!(self.settings.authorization_servers);
        }
        Json(metadata).into_response()
    }

    /// How the client reaches this server.
    fn base(&self, parts: &Parts) -> String {
        match (&self.settings.public_url, host_of(parts)) {
            (Some(url), _) => url.clone(),
            (None, Some(host)) if self.is_ours(host.host()) => format!("{}://{host}", self.settings.scheme),
            // Nothing of a name that is none of ours is repeated.
            (None, _) => String::new(),
        }
    }
}

/// The agent that the session of the request was begun by.
fn session_of(app: &AppState, parts: &Parts, call: &Call) -> Result<Option<String>, Refused> {
    let mut names = parts.headers.get_all(SESSION_ID).iter();
    let Some(name) = names.next() else { return Ok(None) };
    if names.next().is_some() {
        return Err(Refused::invalid("more than one Mcp-Session-Id: send one"));
    }
    let agent = app.gateway.agent_of_session(call, name.to_str().unwrap_or_default())?;
    Ok(Some(agent).filter(|agent| !agent.is_empty()))
}

/// The name and port that the client asked for. HTTP/2 has them in the request's own address.
fn host_of(parts: &Parts) -> Option<Authority> {
    let mut named = parts.headers.get_all(header::HOST).iter();
    match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().ok()?.parse().ok(),
        (Some(_), Some(_)) => None,
        (None, _) => parts.uri.authority().cloned(),
    }
}

/// The agent's name in a message: at the beginning of a session, and in later versions of the protocol in each request.
fn agent_of(message: &Message) -> Option<String> {
    let info = if message.method == "initialize" {
        message.params.get("clientInfo")
    } else {
        message.params.get("_meta").and_then(|meta| meta.get("io.modelcontextprotocol/clientInfo"))
    };
    let name = info?.get("name")?.as_str()?.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_says_its_name_in_two_ways() {
        let read = |text: Value| agent_of(&serde_json::from_value(text).unwrap());
        let info = json!({"name": " inspector ", "version": "1"});
        let first = json!({"method": "initialize", "params": {"clientInfo": info}});
        assert_eq!(read(first).as_deref(), Some("inspector"));
        let meta = json!({"io.modelcontextprotocol/clientInfo": info});
        let later = json!({"method": "tools/call", "params": {"_meta": meta}});
        assert_eq!(read(later).as_deref(), Some("inspector"));
        for nobody in [
            json!({"method": "tools/list"}),
            json!({"method": "tools/list", "params": {"clientInfo": info}}),
            json!({"method": "initialize", "params": {"clientInfo": {"name": "  "}}}),
            json!({"method": "initialize", "params": {"clientInfo": {"name": 7}}}),
        ] {
            assert_eq!(read(nobody.clone()), None, "{nobody}");
        }
    }
}
