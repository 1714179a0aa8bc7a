//! The HTTP front end: `/api/` (the Waii SDK) and `/v1/` (our own), thin translations to the same gateway calls; and the
//! door to `/mcp`, behind which is [`crate::mcp`].

mod actions;
mod admin;
pub(crate) mod api;
mod budgets;
pub(crate) mod call;
mod credentials;
mod cookies;
pub(crate) mod docs;
mod endpoints;
pub(crate) mod freshness;
pub(crate) mod limits;
mod held;
mod listen;
mod mcp;
mod measures;
pub(crate) mod openapi;
pub(crate) mod places;
pub(crate) mod problem;
pub(crate) mod rate_limit;
mod requested_at;
mod sender;
pub(crate) mod sign_in;
mod stalls;
mod tls;
mod trace;
pub(crate) mod v1;
mod wording;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use ringfence_gateway::{CallLog, Code, Gateway};
use tokio_util::sync::CancellationToken;

pub(crate) use credentials::PlainHeaders;
pub(crate) use mcp::McpSettings;
use measures::Measures;
use places::{InFlight, PlaceLimits};
use problem::Problem;
use rate_limit::RateLimits;
use ringfence_engine::HostRule;
pub(crate) use sign_in::SignInSettings;

/// How the front end behaves. Made from the configuration.
#[derive(Debug, Clone)]
pub(crate) struct HttpSettings {
    pub(crate) listen: SocketAddr,
    /// /healthz, /readyz, /metrics. `None`: not served.
    pub(crate) admin_listen: Option<SocketAddr>,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) max_body_bytes: usize,
    /// For the whole of a request to arrive.
    pub(crate) request_timeout: Duration,
    /// The largest body that is loaded into a table.
    pub(crate) max_load_bytes: u64,
    /// For the whole of such a body to arrive.
    pub(crate) load_timeout: Duration,
    /// How long running requests may take to end after a stop was asked for.
    pub(crate) drain_timeout: Duration,
    /// Requests per minute and key; `None`: unlimited.
    pub(crate) rate_limit: Option<u32>,
    pub(crate) places: PlaceLimits,
    /// How long a client may read nothing of its answer.
    pub(crate) stall_timeout: Duration,
    /// The door for agents. `None`: not served.
    pub(crate) mcp: Option<McpSettings>,
    /// In which applications name their users, if they are trusted to.
    pub(crate) plain_headers: PlainHeaders,
    /// How people sign in. `None`: they don't.
    pub(crate) sign_in: Option<SignInSettings>,
    /// Proxies that are believed.
    pub(crate) trusted_proxies: Vec<HostRule>,
}

/// PEM files.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: std::path::PathBuf,
    pub(crate) key: std::path::PathBuf,
}

/// What every handler may use.
#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) gateway: Gateway,
    pub(crate) settings: Arc<HttpSettings>,
    pub(crate) in_flight: InFlight,
    pub(crate) measures: Arc<Measures>,
    pub(crate) rate_limits: Option<Arc<RateLimits>>,
}

/// So that a handler can ask for `State<Gateway>`.
impl FromRef<AppState> for Gateway {
    fn from_ref(state: &AppState) -> Self {
        state.gateway.clone()
    }
}

/// Serves until `stop` is cancelled, then drains. `ready` hears the bound addresses (main, admin) once both listen.
/// `metrics` is what /metrics prints; without it that path answers 404.
///
/// An error means that serving never began: an address in use, or TLS files that can't be used.
pub(crate) async fn serve(
    settings: HttpSettings,
    gateway: Gateway,
    metrics: Option<PrometheusHandle>,
    stop: CancellationToken,
    ready: impl FnOnce(SocketAddr, Option<SocketAddr>) + Send,
) -> io::Result<()> {
    let tls = settings.tls.as_ref().map(tls::load).transpose()?;
    let main = listen::bind(settings.listen)?;
    let admin = settings.admin_listen.map(listen::bind).transpose()?;
    let state = AppState {
        gateway,
        in_flight: InFlight::new(settings.places),
        measures: Arc::default(),
        rate_limits: settings.rate_limit.and_then(RateLimits::new).map(Arc::new),
        settings: Arc::new(settings),
    };
    ready(main.local_addr()?, admin.as_ref().map(std::net::TcpListener::local_addr).transpose()?);

    // The admin listener outlives the main one, so that a drain can be watched.
    let admin_stop = CancellationToken::new();
    let admin_served = admin.map(|listener| {
        let app = admin::router(&state, metrics);
        let (stop, patience) = (admin_stop.clone(), state.settings.stall_timeout);
        tokio::spawn(listen::serve(listener, None, app, stop, Duration::from_secs(1), patience))
    });
    let upkeep = tokio::spawn(rate_limit::forget_idle(state.rate_limits.clone()));
    let in_flight = state.in_flight.clone();
    let HttpSettings { drain_timeout, stall_timeout, .. } = *state.settings;
    let stopping = stop.clone();
    let announce = tokio::spawn(async move {
        stopping.cancelled().await;
        in_flight.start_draining();
        tracing::info!(requests.in_flight = in_flight.count(), "draining");
    });

    let served = listen::serve(main, tls, router(state), stop, drain_timeout, stall_timeout).await;

    announce.abort();
    upkeep.abort();
    admin_stop.cancel();
    if let Some(task) = admin_served {
        // Its own failure matters to nobody any more.
        let _ = task.await;
    }
    served
}

/// All routes, each inside the middleware that makes a request a call.
pub(crate) fn router(state: AppState) -> Router {
    let max_body_bytes = state.settings.max_body_bytes;
    api::router()
        .merge(v1::router())
        .merge(mcp::router(&state))
        .merge(sign_in::router(&state))
        .route("/", any(answer_root))
        .fallback(endpoints::answer)
        .layer(DefaultBodyLimit::max(max_body_bytes))
        .layer(from_fn_with_state(state.clone(), call::attend))
        .with_state(state)
}

/// Who types the address into a browser wants to read.
async fn answer_root(method: Method, headers: HeaderMap) -> Response {
    let wants_page = wants_page(&headers);
    let is_reading = method == Method::GET || method == Method::HEAD;
    let answer = if wants_page && is_reading {
        (StatusCode::FOUND, [(header::LOCATION, "/docs")]).into_response()
    } else {
        refuse_unknown_path(None).await.into_response()
    };
    ([(header::VARY, "Accept")], answer).into_response()
}

/// Whether it is a person with a browser who asks.
pub(crate) fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accepted| accepted.to_str().ok())
        .any(|accepted| accepted.to_ascii_lowercase().contains("text/html"))
}

async fn refuse_unknown_path(log: Option<Extension<Arc<CallLog>>>) -> Problem {
    let problem = Problem::new(Code::NotFound, "there is no such path")
        .with_hint("the interfaces are /api/, /v1/ and, for agents, /mcp: see /docs");
    match log {
        Some(Extension(log)) => problem.traced(log.trace_id().as_str()),
        None => problem,
    }
}
