//! Where people sign in and out: `/login` with a small page, and `/logout`. docs/sign-in.md is the manual.

mod form;
mod page;
mod provider;
mod return_to;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringfence_gateway::{CallLog, Code, NameAndPassword, Refused, SignIn, TenantClaims};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::call::{FrontEnd, RefusedCode};
pub(crate) use super::cookies::{Cookies, SameSite};
use super::problem::Problem;
use super::requested_at::RequestedAt;
pub(crate) use super::requested_at::TenantRules;
use super::sender::{Sender, foreign, refuse_foreign_change};
use super::{AppState, wants_page};
use form::SignInForm;
pub(crate) use page::ProviderLink;
use page::{Look, POLICY};

/// How people sign in. Made from the configuration.
#[derive(Debug, Clone)]
pub(crate) struct SignInSettings {
    /// Names of fields; the page has the first of each.
    pub(crate) user_fields: Vec<String>,
    pub(crate) password_fields: Vec<String>,
    /// `None`: nobody is asked for the company.
    pub(crate) company_field: Option<String>,
    pub(crate) cookies: Cookies,
    pub(crate) tenants: TenantRules,
    /// Where else one may sign in, as links on the page.
    pub(crate) providers: Vec<ProviderLink>,
    /// How browsers reach this server, for providers to send them back; without a slash at the end.
    pub(crate) public_url: Option<String>,
}

/// The routes, when people sign in here at all.
pub(crate) fn router(state: &AppState) -> Router<AppState> {
    let Some(settings) = &state.settings.sign_in else { return Router::new() };
    provider::router(settings)
        .route("/login", get(show).post(sign_in).fallback(refuse_method))
        .route("/logout", post(sign_out).fallback(refuse_method))
}

async fn refuse_method(Extension(log): Extension<Arc<CallLog>>) -> Response {
    let refused = Refused::new(Code::MethodNotAllowed, "this path does not have that method");
    Problem::from(refused).traced(log.trace_id().as_str()).into_response()
}

/// `GET /login`.
async fn show(State(app): State<AppState>, request: Request) -> Response {
    let Some(settings) = &app.settings.sign_in else { return StatusCode::NOT_FOUND.into_response() };
    let return_to = return_to::of_query(request.uri().query());
    answer_page(settings, StatusCode::OK, &return_to, None)
}

/// `POST /login`, by the page's form, by a form of somebody else, or with JSON.
async fn sign_in(
    State(app): State<AppState>,
    Extension(log): Extension<Arc<CallLog>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Some(settings) = &app.settings.sign_in else { return StatusCode::NOT_FOUND.into_response() };
    let mut return_to = String::new();
    match try_sign_in(&app, settings, &log, &parts, body, &mut return_to).await {
        Ok(response) => response,
        Err(refused) if wants_page(&parts.headers) => {
            let status = StatusCode::from_u16(refused.code.row().status);
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = answer_page(settings, status, &return_to, Some(&refused.message));
            response.extensions_mut().insert(RefusedCode(refused.code));
            response
        }
        Err(refused) => Problem::from(refused).traced(log.trace_id().as_str()).into_response(),
    }
}

async fn try_sign_in(
    app: &AppState,
    settings: &SignInSettings,
    log: &Arc<CallLog>,
    parts: &Parts,
    body: Body,
    return_to: &mut String,
) -> Result<Response, Refused> {
    let at = RequestedAt::of(parts, &app.settings);
    let sender = Sender::of(&parts.headers, at.host());
    if sender == Sender::Foreign {
        return Err(foreign());
    }
    let form = SignInForm::read(settings, parts, body).await?;
    *return_to = return_to::safe(form.return_to.as_deref().unwrap_or_default());
    form.check_token(settings, &parts.headers, sender)?;
    let sign_in = SignIn {
        pair: NameAndPassword { user: &form.user, password: &form.password },
        claims: TenantClaims { company: form.company.as_deref(), ..at.claims() },
        client: at.client(&parts.headers),
        // One that can't be read for sure can't be ended either, and is replaced in the browser.
        replaces: settings.cookies.session(&parts.headers).ok().flatten(),
    };
    // Boxed, as what happens seldom and is large.
    let opened = Box::pin(app.gateway.sign_in(log, sign_in)).await?;
    let mut response = if wants_page(&parts.headers) {
        see_other(return_to)
    } else {
        Json(json!({"msg": "login successful"})).into_response()
    };
    let cookie = settings.cookies.set_session(opened.secret.expose_secret());
    set_cookie(&mut response, cookie)?;
    Ok(response)
}

/// `POST /logout`. Signing out twice is no mistake.
async fn sign_out(
    State(app): State<AppState>,
    Extension(log): Extension<Arc<CallLog>>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let Some(settings) = &app.settings.sign_in else { return StatusCode::NOT_FOUND.into_response() };
    match try_sign_out(&app, settings, &log, &parts).await {
        Ok(response) => response,
        Err(refused) => Problem::from(refused).traced(log.trace_id().as_str()).into_response(),
    }
}

async fn try_sign_out(
    app: &AppState,
    settings: &SignInSettings,
    log: &Arc<CallLog>,
    parts: &Parts,
) -> Result<Response, Refused> {
    refuse_foreign_change(parts, &RequestedAt::of(parts, &app.settings))?;
    let mut ended = None;
    if let Ok(Some(secret)) = settings.cookies.session(&parts.headers) {
        ended = app.gateway.end_session(log, secret).await?;
    }
    let mut response = if wants_page(&parts.headers) {
        let elsewhere = match (&ended, &settings.public_url) {
            (Some(ended), Some(url)) => app.gateway.leave_provider(ended, &format!("{url}/login")).await,
            _ => None,
        };
        see_other(elsewhere.as_deref().unwrap_or("/login"))
    } else {
        Json(json!({"msg": "logout successful"})).into_response()
    };
    set_cookie(&mut response, settings.cookies.clear_session())?;
    Ok(response)
}

fn see_other(place: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response()
}

fn set_cookie(response: &mut Response, cookie: Option<HeaderValue>) -> Result<(), Refused> {
    let cookie = cookie.ok_or_else(|| Refused::internal(&"a cookie is no header"))?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(())
}

/// The page, with a token of its own.
fn answer_page(
    settings: &SignInSettings,
    status: StatusCode,
    return_to: &str,
    failure: Option<&str>,
) -> Response {
    let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let look = Look { settings, token: &token, return_to, failure };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: browsers would then say that the form comes from nowhere.
        (header::REFERRER_POLICY, "same-origin"),
        (header::VARY, "Accept, Cookie"),
    ];
    let mut response = (status, headers, page::html(&look)).into_response();
    if let Some(cookie) = settings.cookies.set_form(&token) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Where a person is to sign in who asks for a page and has no session: decided before the request is gone, used when the answer
/// is known.
pub(super) fn page_for(state: &AppState, front_end: FrontEnd, request: &Request) -> Option<String> {
    state.settings.sign_in.as_ref()?;
    let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
    let is_page = is_reading && wants_page(request.headers());
    if !is_page || matches!(front_end, FrontEnd::SignIn | FrontEnd::Mcp) {
        return None;
    }
    // Who presents something on purpose hears what is wrong with it.
    if request.headers().contains_key(header::AUTHORIZATION) {
        return None;
    }
    let asked = request.uri().path_and_query().map_or("/", axum::http::uri::PathAndQuery::as_str);
    Some(return_to::sign_in_page(asked))
}

/// Leads a person to the sign-in page instead of telling a program that credentials are missing.
pub(super) fn lead_there(response: Response, page: Option<String>) -> Response {
    let code = response.extensions().get::<RefusedCode>().map(|refused| refused.0);
    match (page, code) {
        (Some(page), Some(Code::AuthenticationRequired | Code::SessionEnded)) => {
            let headers = [(header::LOCATION, page.as_str()), (header::VARY, "Accept, Cookie")];
            (StatusCode::FOUND, headers).into_response()
        }
        _ => response,
    }
}
