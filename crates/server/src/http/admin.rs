//! For the operator's tools, on an address of its own: is it alive, is it ready, what does it count.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

use super::AppState;

/// A control store that takes longer to answer is as good as none.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct AdminState {
    app: AppState,
    metrics: Option<PrometheusHandle>,
}

/// /healthz, /readyz and /metrics.
pub(super) fn router(app: &AppState, metrics: Option<PrometheusHandle>) -> Router {
    Router::new()
        .route("/healthz", get(answer_alive))
        .route("/readyz", get(answer_ready))
        .route("/metrics", get(print_metrics))
        .with_state(AdminState { app: app.clone(), metrics })
}

/// The process runs: a restart would mend nothing.
async fn answer_alive() -> &'static str {
    "alive\n"
}

/// Requests may be sent here: the control store answers and nobody asked for a stop.
async fn answer_ready(State(state): State<AdminState>) -> (StatusCode, &'static str) {
    if state.app.in_flight.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    match tokio::time::timeout(PING_TIMEOUT, state.app.gateway.store().ping()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n"),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready: the control store does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the control store is unavailable\n")
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the control store does not answer in time\n"),
    }
}

async fn print_metrics(State(state): State<AdminState>) -> Response {
    let Some(handle) = state.metrics else {
        return (StatusCode::NOT_FOUND, "metrics are switched off\n").into_response();
    };
    // The figures of the moment, which nobody counts up.
    let connections = u32::try_from(state.app.gateway.engine().open_connections()).unwrap_or(u32::MAX);
    let in_flight = u32::try_from(state.app.in_flight.count()).unwrap_or(u32::MAX);
    metrics::gauge!("ringfence_backend_connections").set(f64::from(connections));
    metrics::gauge!("ringfence_http_requests_in_flight").set(f64::from(in_flight));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render()).into_response()
}
