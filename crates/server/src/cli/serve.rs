//! `ringfence serve`: the server, from the first file to the last signal.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use ringfence_gateway::{Bootstrap, Gateway};
use ringfence_policy::UserId;
use ringfence_store::Store;
use secrecy::ExposeSecret;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::checks::{SHORTEST_KEY, is_open, refuse_unusable, warnings};
use super::failure::Failure;
use super::opening::{lock, make_data_dir, open_gateway, open_store, refuse_locked};
use super::options::{StoreOptions, text_of};
use super::program::{program, quoted};
use super::terminal::{CODE, TITLE, paint, say};
use super::{help, listening};
use crate::config::address;
use crate::config::layers::Flags;
use crate::config::{Config, LogFormat};
use crate::telemetry::{self, Telemetry};
use crate::webhook::Webhook;

/// Holds the address while serving, for scripts.
pub(crate) const LISTEN_FILE: &str = "listen";

/// Serve the HTTP API (/api/ for the Waii SDK, /v1/ for everyone else)
///
/// Opens the control store, or makes a new one, and serves until SIGTERM or SIGINT; running requests may end then
/// (a second signal stops at once). At the first start the administrator is made: with the access key in
/// `RINGFENCE_ADMIN_KEY`, or else with one that is printed once.
#[derive(Debug, Args)]
#[command(after_help = help::SERVE)]
pub(crate) struct Serve {
    #[command(flatten)]
    store: StoreOptions,
    /// Address to serve on [default: 127.0.0.1:9859]
    #[arg(long, value_name = "ADDR", value_parser = address::parse)]
    listen: Option<SocketAddr>,
    /// Address for /healthz, /readyz and /metrics [default: none]
    #[arg(long, value_name = "ADDR", value_parser = address::parse)]
    admin_listen: Option<SocketAddr>,
    /// Directory whose SQLite files connections may open; may be given several times
    #[arg(long, value_name = "DIR")]
    sqlite_dir: Vec<PathBuf>,
    /// What is logged, such as `info` or `debug,hyper=info`
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Form of the log [default: auto]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

/// How long threads at blocking work may take to end.
const LAST_THREADS: std::time::Duration = std::time::Duration::from_secs(5);

impl Serve {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let config = self.store.load(self.flags()?)?.config;
        refuse_unusable(&config)?;
        refuse_taken(&config)?;
        // Before the runtime, see `telemetry::install`.
        let telemetry = telemetry::install(&config.log, &config.telemetry)?;
        for warning in warnings(&config) {
            tracing::warn!("{warning}");
        }
        let runtime = runtime(&config)?;
        let served = runtime.block_on(serve(&config, &telemetry, &self.store.as_given()));
        // A function of SQLite's that can't be interrupted may still be at work: nobody waits for it.
        runtime.shutdown_timeout(LAST_THREADS);
        telemetry.shutdown();
        served.map(|()| ExitCode::SUCCESS)
    }

    fn flags(&self) -> Result<Flags, Failure> {
        let mut flags = Flags::new();
        let listen = self.listen.map(|address| ("--listen", "server.listen", address.to_string()));
        let admin =
            self.admin_listen.map(|address| ("--admin-listen", "server.admin_listen", address.to_string()));
        let log = self.log.clone().map(|filter| ("--log", "log.filter", filter));
        for (flag, path, text) in [listen, admin, log].into_iter().flatten() {
            flags.push((flag, path, text.into()));
        }
        if let Some(format) = self.log_format {
            flags.push(("--log-format", "log.format", serde_json::json!(format)));
        }
        if !self.sqlite_dir.is_empty() {
            let directories: Vec<_> =
                self.sqlite_dir.iter().map(|path| text_of(path)).collect::<Result<_, _>>()?;
            flags.push(("--sqlite-dir", "sqlite.directories", directories.into()));
        }
        Ok(flags)
    }
}

/// A runtime for requests: a thread per core unless configured.
pub(crate) fn runtime(config: &Config) -> Result<tokio::runtime::Runtime, Failure> {
    let cores = std::thread::available_parallelism().unwrap_or(std::num::NonZeroUsize::MIN);
    let threads = config.server.worker_threads.unwrap_or(cores);
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(threads.get()).enable_all().build()?)
}

/// Refuses addresses that are taken; another server on the same data directory is the better thing to say.
fn refuse_taken(config: &Config) -> Result<(), Failure> {
    let taken = listening::probe(config.server.listen, "--listen").and_then(|()| {
        config.server.admin_listen.map_or(Ok(()), |at| listening::probe(at, "--admin-listen"))
    });
    let Err(failure) = taken else { return Ok(()) };
    config.data_dir().map_or(Ok(()), |directory| refuse_locked(&directory))?;
    Err(failure)
}

/// `given` is how the store was named, for commands to paste.
async fn serve(config: &Config, telemetry: &Telemetry, given: &str) -> Result<(), Failure> {
    let directory = make_data_dir(config)?;
    let _lock = directory.as_deref().map(lock).transpose()?;
    let store = open_store(config).await?;
    refuse_weak_stored_key(config, &store, given).await?;
    let (gateway, bootstrap) = open_gateway(config, store).await?;
    show_admin_key(config, &bootstrap);
    let listen_file = directory.map(|directory| directory.join(LISTEN_FILE));
    let stop = CancellationToken::new();
    let leftover = listen_file.clone();
    stop_on_signals(stop.clone(), move || {
        if let Some(file) = leftover {
            let _ = fs::remove_file(file);
        }
    })?;
    let gauges = tokio::spawn(telemetry::observe(gateway.clone(), telemetry.prometheus.clone()));
    let webhook = Webhook::of(&config.approvals, config.egress()).map_err(Failure::usage)?;
    let webhook = webhook.map(|webhook| tokio::spawn(webhook.run(gateway.clone())));
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let ready = |address: SocketAddr, admin: Option<SocketAddr>| {
        tracing::info!(
            listen = %address,
            admin.listen = admin.map(tracing::field::display),
            version = env!("CARGO_PKG_VERSION"),
            "listening"
        );
        if let Some(file) = &listen_file
            && let Err(error) = write_whole(file, &format!("{}\n", url(scheme, address)))
        {
            tracing::warn!(file = %file.display(), error = %error, "the address could not be written down");
        }
    };
    let settings = config.http_settings();
    let served =
        crate::http::serve(settings, gateway.clone(), Some(telemetry.prometheus.clone()), stop, ready).await;
    if let Some(file) = &listen_file {
        let _ = fs::remove_file(file);
    }
    close(&gateway).await;
    gauges.abort();
    if let Some(webhook) = webhook {
        webhook.abort();
    }
    served.map_err(|error| listening::failure(&error, "--listen"))?;
    tracing::info!("stopped");
    Ok(())
}

/// Writes out and closes everything.
pub(crate) async fn close(gateway: &Gateway) {
    gateway.shutdown().await;
}

/// The address as clients use it. One that means "all of them" is no address to connect to.
pub(crate) fn url(scheme: &str, mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("{scheme}://{address}")
}

/// Cancels `stop` at the first SIGTERM or SIGINT; at the second the process cleans up and ends at once.
pub(crate) fn stop_on_signals(
    stop: CancellationToken,
    clean_up: impl FnOnce() + Send + 'static,
) -> Result<(), Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        tracing::info!("stopping: running requests may end, a second signal stops at once");
        stop.cancel();
        next().await;
        tracing::warn!("stopped by a second signal");
        clean_up();
        std::process::exit(1);
    });
    Ok(())
}

/// A short key of an earlier start on loopback is still good: it is looked for in the store too.
async fn refuse_weak_stored_key(config: &Config, store: &Store, given: &str) -> Result<(), Failure> {
    if !is_open(config) {
        return Ok(());
    }
    let admin = UserId::new(&config.admin.user).map_err(Failure::usage)?;
    let keys = store.access_keys().list(&admin).await?;
    match keys.iter().find(|key| key.secret.expose_secret().len() < SHORTEST_KEY) {
        None => Ok(()),
        Some(key) => Err(Failure::new(format_args!(
            "the administrator's access key `{}` has fewer than {SHORTEST_KEY} characters, and {} can be reached from \
             other machines",
            key.name, config.server.listen
        ))
        .hint(format_args!(
            "delete it: {} admin key delete {} --user {}{given}",
            program(),
            quoted(key.name.as_ref()),
            quoted(admin.as_ref())
        ))),
    }
}

/// Prints the administrator's key, when it was made just now.
pub(crate) fn show_admin_key(config: &Config, bootstrap: &Bootstrap) {
    let Some(key) = &bootstrap.admin_key else { return };
    say(paint(TITLE, "The administrator was made. This access key is shown only now:"));
    say(format_args!("\n    {}\n", paint(CODE, key.expose_secret())));
    say(format_args!("user {}, organization {}", config.admin.user, config.admin.org));
}

/// Puts a file in place whole or not at all.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
