//! Opens sessions: TCP, TLS, sign-in, and the settings that a session begins with and comes back to.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Error, Opts, OptsBuilder, SslOpts};
use ringfence_guard::GuardedQuery;
use secrecy::ExposeSecret;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::failure;
use crate::{EngineLimits, SourceAddress, SourceError};

/// How long the caller of a stopped statement waits for the database to hear of it. A server that hangs never does.
const KILL_LIMIT: Duration = Duration::from_secs(1);

/// What opening a session needs.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) limits: Arc<EngineLimits>,
    pub(super) tasks: TaskTracker,
}

/// What a session is for. Each purpose has sessions of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// Open connections: any SQL, in the server's own settings.
    Open,
    /// What the guard rewrote: the text must mean what the guard meant, whatever the server's settings are.
    Fenced,
}

impl Purpose {
    pub(super) const ALL: [Self; 2] = [Self::Open, Self::Fenced];

    pub(super) fn of(query: &GuardedQuery) -> Self {
        if query.fence().is_some() { Self::Fenced } else { Self::Open }
    }

    /// The driver runs it after signing in and after every reset, which brings the server's own character set back.
    fn settings(self) -> &'static str {
        match self {
            Self::Open => "SET NAMES utf8mb4",
            // Without ONLY_FULL_GROUP_BY: behind a fence nobody knows which columns a key implies, and MariaDB takes a
            // sub-query in a select list for a column that is not grouped. What it picks is of visible rows.
            Self::Fenced => {
                "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,\
                 STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,\
                 NO_ENGINE_SUBSTITUTION'"
            }
        }
    }
}

/// `sslmode` in libpq's words, as for PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyFull,
}

impl Connector {
    pub(super) async fn open(&self, address: &SourceAddress, purpose: Purpose) -> Result<Conn, SourceError> {
        let limit = self.limits.connect_timeout;
        timeout(limit, self.sign_in(address, purpose)).await.unwrap_or_else(|_| {
            let place = place(address);
            Err(SourceError::Unreachable(format!("{place} did not answer within {} ms", limit.as_millis())))
        })
    }

    /// Ends a session in the database, with whatever it runs: returns when the database was told. Not the statement alone
    /// (`KILL QUERY`): a request that came before the statement began would be lost, and the session is given up anyway.
    pub(super) async fn kill(&self, address: &SourceAddress, session: u32) {
        let killing = async {
            let mut conn = self.sign_in(address, Purpose::Open).await?;
            // Gone already is fine too.
            let _ = conn.query_drop(format!("KILL CONNECTION {session}")).await;
            conn.disconnect().await.map_err(|_| SourceError::Lost)
        };
        let limit = self.limits.connect_timeout.min(KILL_LIMIT);
        if !matches!(timeout(limit, killing).await, Ok(Ok(()))) {
            tracing::warn!(source.place = %place(address), "a request to stop did not reach the database");
        }
    }

    async fn sign_in(&self, address: &SourceAddress, purpose: Purpose) -> Result<Conn, SourceError> {
        let mode = ssl_mode(address)?;
        let opts = self.opts(address, purpose).await?;
        let tls = match mode {
            SslMode::Disable => None,
            SslMode::Prefer | SslMode::Require => {
                Some(SslOpts::default().with_danger_accept_invalid_certs(true))
            }
            SslMode::VerifyFull => Some(verified()),
        };
        let fail = |error: &Error| failure::of_connecting(error, &place(address), &address.database);
        match Conn::new(opts.clone().ssl_opts(tls)).await {
            Err(Error::Driver(DriverError::NoClientSslFlagFromServer)) if mode == SslMode::Prefer => {
                Conn::new(opts).await.map_err(|error| fail(&error))
            }
            other => other.map_err(|error| fail(&error)),
        }
    }

    async fn opts(&self, address: &SourceAddress, purpose: Purpose) -> Result<OptsBuilder, SourceError> {
        let host = if address.host.is_empty() { "localhost" } else { address.host.as_str() };
        // Resolved once, here: the driver connects to these addresses and asks nobody again.
        let found = lookup_host((host, port(address))).await;
        let found = found.into_iter().flatten().map(|found| found.ip());
        let addresses: Vec<IpAddr> =
            found.filter(|address| self.limits.egress.permits(host, *address)).collect();
        if addresses.is_empty() {
            // One answer for both: else names could be tried out that only an inner network knows.
            return Err(SourceError::Unreachable(format!(
                "the host {host} is unknown, or connections to it are not allowed"
            )));
        }
        let database = address.database.replace('`', "``");
        let opts = OptsBuilder::from_opts(Opts::default())
            .ip_or_hostname(host)
            .resolved_ips(Some(addresses))
            .tcp_port(port(address))
            .user(Some(address.username.as_deref().unwrap_or("root")))
            .pass(address.password.as_ref().map(|password| password.expose_secret().to_owned()))
            .db_name(Some(&address.database))
            // Never a socket file of this machine, which the server could name.
            .prefer_socket(false)
            .tcp_keepalive(Some(Duration::from_mins(1)))
            .tcp_nodelay(true)
            // A session lives for the engine's own idle time.
            .wait_timeout(Some(0))
            .max_allowed_packet(Some(self.limits.max_row_bytes))
            // A reset forgets what is prepared.
            .stmt_cache_size(0)
            .client_found_rows(purpose == Purpose::Fenced)
            .setup(vec![purpose.settings().to_owned(), format!("USE `{database}`")]);
        Ok(opts)
    }
}

/// The roots of this machine, and none that came with the driver.
fn verified() -> SslOpts {
    let roots = rustls_native_certs::load_native_certs().certs;
    let roots = roots.into_iter().map(|root| root.as_ref().to_vec().into()).collect();
    SslOpts::default().with_root_certs(roots).with_disable_built_in_roots(true)
}

fn ssl_mode(address: &SourceAddress) -> Result<SslMode, SourceError> {
    match address.sslmode.as_deref() {
        None | Some("" | "prefer") => Ok(SslMode::Prefer),
        Some("disable") => Ok(SslMode::Disable),
        Some("require") => Ok(SslMode::Require),
        Some("verify-full") => Ok(SslMode::VerifyFull),
        Some(_) => {
            Err(SourceError::Option("sslmode must be disable, prefer, require or verify-full".to_owned()))
        }
    }
}

fn port(address: &SourceAddress) -> u16 {
    address.port.unwrap_or(3306)
}

fn place(address: &SourceAddress) -> String {
    format!("{}:{}", address.host, port(address))
}
