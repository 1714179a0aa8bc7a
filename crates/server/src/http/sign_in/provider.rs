//! Signing in at an OpenID provider: there, back again, and out at its word.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringfence_gateway::oidc::{Callback, Leaving};
use ringfence_gateway::{CallLog, Code, Refused};
use secrecy::ExposeSecret as _;

use super::{SignInSettings, answer_page, return_to, see_other, set_cookie};
use crate::http::AppState;
use crate::http::call::RefusedCode;
use crate::http::problem::Problem;
use crate::http::requested_at::RequestedAt;

/// Largest body with a logout token.
const LARGEST: usize = 32 * 1024;

/// The routes, for a server whose own address is configured: where browsers come back to is never what a request says.
pub(super) fn router(settings: &SignInSettings) -> Router<AppState> {
    if settings.public_url.is_none() {
        return Router::new();
    }
    Router::new()
        .route("/login/oidc/{provider}", get(leave).fallback(super::refuse_method))
        .route("/login/oidc/{provider}/callback", get(come_back).fallback(super::refuse_method))
        .route("/login/oidc/{provider}/back-channel", post(signed_out).fallback(super::refuse_method))
}

/// `GET /login/oidc/{provider}`: to the provider.
async fn leave(
    State(app): State<AppState>,
    Extension(log): Extension<Arc<CallLog>>,
    Path(provider): Path<String>,
    request: Request,
) -> Response {
    let Some((settings, redirect_uri)) = settings(&app, &provider) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let return_to = return_to::of_query(request.uri().query());
    // 256 bits: everything that proves the journey is made of it.
    let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let leaving = Leaving { secret: &secret, redirect_uri: &redirect_uri, return_to: &return_to };
    match app.gateway.leave_for_provider(&provider, leaving).await {
        Ok(address) => {
            let mut response = found(&address);
            match set_cookie(&mut response, settings.cookies.set_journey(&secret)) {
                Ok(()) => response,
                Err(refused) => told(&log, refused),
            }
        }
        Err(refused) if refused.code == Code::SignInRefused => failed(settings, &refused),
        Err(refused) => told(&log, refused),
    }
}

/// `GET /login/oidc/{provider}/callback`: back from the provider.
async fn come_back(
    State(app): State<AppState>,
    Extension(log): Extension<Arc<CallLog>>,
    Path(provider): Path<String>,
    request: Request,
) -> Response {
    let Some((settings, redirect_uri)) = settings(&app, &provider) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let (parts, _) = request.into_parts();
    let mut response = match try_come_back(&app, settings, &log, &provider, &redirect_uri, &parts).await {
        Ok(response) => response,
        Err(refused) => failed(settings, &refused),
    };
    // Whatever came of it, the journey is over.
    let _ = set_cookie(&mut response, settings.cookies.clear_journey());
    response
}

async fn try_come_back(
    app: &AppState,
    settings: &SignInSettings,
    log: &Arc<CallLog>,
    provider: &str,
    redirect_uri: &str,
    parts: &Parts,
) -> Result<Response, Refused> {
    let came_to_nothing =
        || Refused::new(Code::SignInRefused, "signing in with the provider came to nothing: try again");
    let query = parts.uri.query().unwrap_or_default();
    let one = |name: &str| {
        let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Ok(Some(value.into_owned())),
            (None, None) => Ok(None),
            _ => Err(came_to_nothing()),
        }
    };
    // What the provider says of an error is for its own pages.
    let (code, state, issuer) = (one("code")?, one("state")?, one("iss")?);
    let (Some(code), Some(state)) = (code, state) else { return Err(came_to_nothing()) };
    let secret = settings.cookies.journey(&parts.headers).ok_or_else(came_to_nothing)?;
    let at = RequestedAt::of(parts, &app.settings);
    let callback = Callback {
        secret,
        redirect_uri,
        code: &code,
        state: &state,
        issuer: issuer.as_deref(),
        claims: at.claims(),
        client: at.client(&parts.headers),
        replaces: settings.cookies.session(&parts.headers).ok().flatten(),
    };
    // Boxed, as what happens seldom and is large.
    let (opened, place) = Box::pin(app.gateway.return_from_provider(log, provider, callback)).await?;
    let mut response = see_other(&return_to::safe(&place));
    set_cookie(&mut response, settings.cookies.set_session(opened.secret.expose_secret()))?;
    Ok(response)
}

/// `POST /login/oidc/{provider}/back-channel`: the provider says that somebody signed out there.
async fn signed_out(
    State(app): State<AppState>,
    Extension(log): Extension<Arc<CallLog>>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let ended = async {
        let token = logout_token(&headers, body).await?;
        app.gateway.provider_signed_out(&log, &provider, &token).await
    };
    let mut response = match ended.await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refused) => told(&log, refused),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn logout_token(headers: &HeaderMap, body: Body) -> Result<String, Refused> {
    let is_form = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded"));
    if !is_form {
        return Err(Refused::new(Code::UnsupportedMediaType, "send a form with `logout_token`"));
    }
    let body = to_bytes(body, LARGEST).await;
    let body = body.map_err(|_| Refused::new(Code::BodyTooLarge, "no logout token is as long as this"))?;
    let mut tokens = form_urlencoded::parse(&body).filter(|(name, _)| name == "logout_token");
    match (tokens.next(), tokens.next()) {
        (Some((_, token)), None) => Ok(token.into_owned()),
        _ => Err(Refused::invalid("send one `logout_token`")),
    }
}

/// The settings, and where the provider sends browsers back to.
fn settings<'a>(app: &'a AppState, provider: &str) -> Option<(&'a SignInSettings, String)> {
    let settings = app.settings.sign_in.as_ref()?;
    let public_url = settings.public_url.as_deref()?;
    let path = format!("/login/oidc/{provider}");
    // Only what the page offers is there, and what stands in its path needs no escape.
    settings
        .providers
        .iter()
        .any(|link| link.path == path)
        .then(|| (settings, format!("{public_url}{path}/callback")))
}

fn found(address: &str) -> Response {
    let headers = [(header::LOCATION, address), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::FOUND, headers).into_response()
}

/// The sign-in page, saying so.
fn failed(settings: &SignInSettings, refused: &Refused) -> Response {
    let status = StatusCode::from_u16(refused.code.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = answer_page(settings, status, "/", Some(&refused.message));
    response.extensions_mut().insert(RefusedCode(refused.code));
    response
}

fn told(log: &Arc<CallLog>, refused: Refused) -> Response {
    Problem::from(refused).traced(log.trace_id().as_str()).into_response()
}
