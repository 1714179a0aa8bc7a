//! `/v1/sessions`: your sign-in sessions; `/v1/users/{id}/sessions`: those of a user whom you manage.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ringfence_gateway::sessions::ListedSession;
use ringfence_policy::UserId;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Named, NoParams};
use super::refusals::{Asking, Naming};
use super::{List, timestamp};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_sessions))
        .routes(routes!(revoke_session))
        .routes(routes!(list_user_sessions, revoke_user_sessions))
        .routes(routes!(revoke_user_session))
}

/// A sign-in session. What its cookie holds is shown to nobody.
#[derive(Serialize, ToSchema)]
#[schema(as = Session, example = json!({
    "id": "4f1c0a9be27d3a5580c6e1b2",
    "source": "password",
    "opened_at": "2026-01-31T08:00:00Z",
    "last_used_at": "2026-01-31T08:20:00Z",
    "expires_at": "2026-01-31T20:00:00Z",
    "address": "203.0.113.0/24",
    "agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "current": true,
}))]
struct SessionView {
    id: String,
    /// What vouched for the user: `password`, `directory:NAME` or `oidc:NAME`.
    source: String,
    #[schema(format = DateTime)]
    opened_at: String,
    /// To within a minute.
    #[schema(format = DateTime)]
    last_used_at: String,
    /// When it ends however much it is used.
    #[schema(format = DateTime)]
    expires_at: String,
    /// The network that it was opened from.
    address: String,
    /// What the browser called itself.
    agent: String,
    /// Whether it is the one that this was asked with.
    current: bool,
}

impl From<ListedSession> for SessionView {
    fn from(ListedSession { session, is_current }: ListedSession) -> Self {
        Self {
            id: session.id,
            source: session.source,
            opened_at: timestamp(session.opened_at),
            last_used_at: timestamp(session.last_used_at),
            expires_at: timestamp(session.expires_at),
            address: session.address,
            agent: session.agent,
            current: is_current,
        }
    }
}

fn view(sessions: Vec<ListedSession>) -> Json<List<SessionView>> {
    Json(List { items: sessions.into_iter().map(SessionView::from).collect() })
}

/// List your sign-in sessions
///
/// The oldest first; the one that you ask with is marked.
#[utoipa::path(
    get, path = "/sessions", tag = "Identity",
    responses((status = 200, description = "Your sessions.", body = List<SessionView>), Asking),
)]
async fn list_sessions(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    _: NoParams,
) -> Result<Json<List<SessionView>>, Problem> {
    Ok(view(app.gateway.list_sessions(&call).await?))
}

/// Revoke a sign-in session of yours
///
/// From the next request on its cookie is refused, and what runs for it is cancelled.
#[utoipa::path(
    delete, path = "/sessions/{id}", tag = "Identity",
    params(("id" = String, Path, description = "The session's id.", example = "4f1c0a9be27d3a5580c6e1b2")),
    responses((status = 204, description = "The session has ended."), Naming),
)]
async fn revoke_session(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(id): Named<String>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    app.gateway.revoke_session(&call, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List a user's sign-in sessions
///
/// Needs `write:user`, and that you may manage the user.
#[utoipa::path(
    get, path = "/users/{id}/sessions", tag = "Users",
    params(("id" = String, Path, description = "The user's id.", example = "ann")),
    responses((status = 200, description = "The user's sessions.", body = List<SessionView>), Naming),
)]
async fn list_user_sessions(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(id): Named<UserId>,
    _: NoParams,
) -> Result<Json<List<SessionView>>, Problem> {
    Ok(view(app.gateway.list_sessions_of(&call, id.as_str()).await?))
}

/// Revoke all sign-in sessions of a user
///
/// Needs `write:user`, and that you may manage the user. From the next request on their cookies are refused.
#[utoipa::path(
    delete, path = "/users/{id}/sessions", tag = "Users",
    params(("id" = String, Path, description = "The user's id.", example = "ann")),
    responses((status = 204, description = "The sessions have ended."), Naming),
)]
async fn revoke_user_sessions(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(id): Named<UserId>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    app.gateway.revoke_sessions_of(&call, id.as_str(), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revoke a user's sign-in session
///
/// Needs `write:user`, and that you may manage the user.
#[utoipa::path(
    delete, path = "/users/{id}/sessions/{session}", tag = "Users",
    params(
        ("id" = String, Path, description = "The user's id.", example = "ann"),
        ("session" = String, Path, description = "The session's id.", example = "4f1c0a9be27d3a5580c6e1b2"),
    ),
    responses((status = 204, description = "The session has ended."), Naming),
)]
async fn revoke_user_session(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((id, session)): Named<(UserId, String)>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    app.gateway.revoke_sessions_of(&call, id.as_str(), Some(&session)).await?;
    Ok(StatusCode::NO_CONTENT)
}
