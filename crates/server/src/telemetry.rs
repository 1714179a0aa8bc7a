//! Logs, traces and metrics of the process.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use ringfence_gateway::Gateway;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Log, LogFormat, Telemetry as TelemetrySettings};

/// Seconds; from a cached answer to a long report.
const DURATION_BUCKETS: [f64; 14] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

/// How often the gauges of the process are read.
const GAUGE_INTERVAL: Duration = Duration::from_secs(5);

/// Why logs, traces or metrics can't be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryInvalid {
    #[error("`log.filter`: {0}: write it like info or info,ringfence_gateway=debug")]
    Filter(String),
    #[error("`telemetry.otlp_endpoint`: {0}: write it like http://127.0.0.1:4318")]
    Endpoint(String),
    #[error("logs or metrics can't be set up: {0}")]
    Install(String),
}

/// What was installed, to be kept until the process ends.
pub(crate) struct Telemetry {
    pub(crate) prometheus: PrometheusHandle,
    traces: Option<SdkTracerProvider>,
}

/// Installs the process's log subscriber and metrics recorder. To be called once, and outside the async runtime: the
/// exporter of traces has a blocking client with a runtime of its own.
pub(crate) fn install(log: &Log, settings: &TelemetrySettings) -> Result<Telemetry, TelemetryInvalid> {
    let filter = filter(log)?;
    let traces = settings.otlp_endpoint.as_deref().map(exporter).transpose()?.map(provider);
    let exported = traces
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("ringfence")));
    let terminal = std::io::stderr().is_terminal();
    let pretty = match log.format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if pretty {
        // NO_COLOR is respected by the layer itself only where the choice is left to it.
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        lines.with_target(false).with_ansi(colour).boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .with(exported)
        .try_init()
        .map_err(|error| TelemetryInvalid::Install(error.to_string()))?;
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATION_BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| TelemetryInvalid::Install(error.to_string()))?;
    describe();
    Ok(Telemetry { prometheus, traces })
}

/// Whether [`install`] would take these settings; installs nothing.
pub(crate) fn check(log: &Log, settings: &TelemetrySettings) -> Result<(), TelemetryInvalid> {
    filter(log)?;
    settings.otlp_endpoint.as_deref().map(exporter).transpose()?;
    Ok(())
}

impl Telemetry {
    /// Sends what is left of the traces.
    pub(crate) fn shutdown(self) {
        if let Some(Err(error)) = self.traces.map(|provider| provider.shutdown()) {
            tracing::warn!(error = %error, "the last traces could not be sent");
        }
    }
}

/// Keeps the gauges of the process up to date, for as long as it is polled.
pub(crate) async fn observe(gateway: Gateway, prometheus: PrometheusHandle) {
    let started = Instant::now();
    let mut tick = tokio::time::interval(GAUGE_INTERVAL);
    loop {
        tick.tick().await;
        metrics::gauge!("ringfence_uptime_seconds").set(started.elapsed().as_secs_f64());
        metrics::gauge!("ringfence_backend_connections").set(count(gateway.engine().open_connections()));
        if let Some(bytes) = resident_bytes() {
            metrics::gauge!("process_resident_memory_bytes").set(bytes);
        }
        // Histograms gather samples until they are drained.
        prometheus.run_upkeep();
    }
}

fn describe() {
    metrics::describe_gauge!("ringfence_uptime_seconds", "Seconds since the start.");
    metrics::describe_gauge!("ringfence_backend_connections", "Open connections to the databases.");
    metrics::describe_gauge!("process_resident_memory_bytes", "Resident memory in bytes.");
    metrics::gauge!("ringfence_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

fn filter(log: &Log) -> Result<EnvFilter, TelemetryInvalid> {
    EnvFilter::try_new(&log.filter).map_err(|error| TelemetryInvalid::Filter(error.to_string()))
}

fn exporter(endpoint: &str) -> Result<SpanExporter, TelemetryInvalid> {
    let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    if !url.starts_with("http://") {
        return Err(TelemetryInvalid::Endpoint(
            "only http:// is supported: run a collector beside ringfence".to_owned(),
        ));
    }
    SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(url)
        .build()
        .map_err(|error| TelemetryInvalid::Endpoint(error.to_string()))
}

fn provider(exporter: SpanExporter) -> SdkTracerProvider {
    let resource = Resource::builder().with_service_name("ringfence").build();
    SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build()
}

/// From `/proc`; nothing on systems without it.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    Some(kibibytes.trim().parse::<f64>().ok()? * 1024.0)
}

/// Metrics are floats; a count of connections is far below where that matters.
fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::from(u32::MAX), f64::from)
}
