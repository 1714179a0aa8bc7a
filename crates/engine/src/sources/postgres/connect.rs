//! Opens sessions: TCP, TLS, start-up.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_postgres::config::SslNegotiation;
use tokio_postgres::tls::{MakeTlsConnect, TlsStream};
use tokio_postgres::{CancelToken, Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::TaskTracker;

use super::failure;
use super::session::{Purpose, Session};
use super::tls::SslMode;
use super::watch::{Watch, Watched, WatchedTls};
use crate::capacity::Slot;
use crate::{Egress, EngineLimits, SourceAddress, SourceError};

/// In the start-up packet, so that RESET ALL and DISCARD ALL come back to them.
const START_UP: &str = "-c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=1 -c bytea_output=hex \
                        -c standard_conforming_strings=on";

/// How long the caller of a stopped statement waits for the database to read the request. A server that hangs never does.
const CANCEL_LIMIT: Duration = Duration::from_secs(1);

/// What opening a session needs.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) limits: Arc<EngineLimits>,
    pub(super) tasks: TaskTracker,
}

/// A socket on which the question of TLS is settled.
enum Settled {
    Plain(TcpStream),
    Tls(TcpStream, MakeRustlsConnect),
}

impl Connector {
    /// Opens a session for that purpose, which it never leaves.
    pub(super) async fn open(
        &self,
        address: &SourceAddress,
        purpose: Purpose,
        slot: Slot,
    ) -> Result<Session, SourceError> {
        let limit = self.limits.connect_timeout;
        timeout(limit, self.sign_in(address, purpose, slot)).await.unwrap_or_else(|_| {
            let place = place(address);
            Err(SourceError::Unreachable(format!("{place} did not answer within {} ms", limit.as_millis())))
        })
    }

    async fn sign_in(
        &self,
        address: &SourceAddress,
        purpose: Purpose,
        slot: Slot,
    ) -> Result<Session, SourceError> {
        let watch = Watch::new(self.limits.max_row_bytes);
        let mut config = Config::new();
        config.dbname(&address.database).application_name("ringfence");
        config.user(address.username.as_deref().unwrap_or("postgres"));
        if let Some(password) = &address.password {
            config.password(password.expose_secret());
        }
        config.options(format!("{START_UP}{}", purpose.settings()));
        let fail = |error| failure::of_connecting(&error, &place(address), &address.database);
        let (client, driver) = match settle(address, &self.limits.egress).await? {
            Settled::Plain(stream) => {
                config.ssl_mode(tokio_postgres::config::SslMode::Disable);
                let stream = Watched::new(stream, Arc::clone(&watch));
                let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(fail)?;
                (client, self.drive(connection, slot))
            }
            Settled::Tls(stream, connector) => {
                let connector = tls_towards(connector, &address.host)?;
                direct(&mut config);
                let connector = WatchedTls { connector, watch: Arc::clone(&watch) };
                let (client, connection) = config.connect_raw(stream, connector).await.map_err(fail)?;
                (client, self.drive(connection, slot))
            }
        };
        Ok(Session::new(client, watch, driver, self.limits.prepared_statements))
    }

    /// Spawns what moves bytes between the session and its socket. The slot is free when the socket is closed.
    fn drive<S, T>(&self, mut connection: Connection<S, T>, slot: Slot) -> tokio::task::AbortHandle
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: TlsStream + Unpin + Send + 'static,
    {
        let driving = async move {
            // Notices and notifications are of no use to a request and its answer. Errors reach the client's side.
            poll_fn(|cx| {
                loop {
                    match ready!(connection.poll_message(cx)) {
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => return Poll::Ready(()),
                    }
                }
            })
            .await;
            drop(connection);
            drop(slot);
        };
        self.tasks.spawn(driving).abort_handle()
    }

    /// Asks the server to stop what the session runs; returns when the server has read the request.
    pub(super) async fn cancel(&self, address: &SourceAddress, token: &CancelToken) {
        let sending = async {
            match settle(address, &self.limits.egress).await? {
                Settled::Plain(mut stream) => {
                    let sent = token.cancel_query_raw(&mut stream, NoTls).await;
                    // The server closes the connection once it has acted on the request (manual, 55.2.8).
                    let _ = stream.read(&mut [0]).await;
                    sent.map_err(|_| SourceError::Lost)
                }
                Settled::Tls(stream, connector) => {
                    let connector = tls_towards(connector, &address.host)?;
                    token.cancel_query_raw(stream, connector).await.map_err(|_| SourceError::Lost)
                }
            }
        };
        let limit = self.limits.connect_timeout.min(CANCEL_LIMIT);
        if !matches!(timeout(limit, sending).await, Ok(Ok(()))) {
            tracing::warn!(source.place = %place(address), "a cancel request did not reach the database");
        }
    }
}

/// A session was connected over TLS means: the request for it was ours, and the driver goes straight to the handshake.
fn direct(config: &mut Config) {
    config.ssl_mode(tokio_postgres::config::SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
}

fn tls_towards(
    mut connector: MakeRustlsConnect,
    host: &str,
) -> Result<<MakeRustlsConnect as MakeTlsConnect<TcpStream>>::TlsConnect, SourceError> {
    MakeTlsConnect::<TcpStream>::make_tls_connect(&mut connector, host)
        .map_err(|_| SourceError::Unreachable(format!("{host} is not a name that TLS can check")))
}

/// Connects and settles TLS with the server (manual, 55.2.10: `SSLRequest`, answered by one byte).
async fn settle(address: &SourceAddress, egress: &Egress) -> Result<Settled, SourceError> {
    let mode = SslMode::of(address)?;
    let mut stream = connect(address, egress).await?;
    if mode == SslMode::Disable {
        return Ok(Settled::Plain(stream));
    }
    let mut answer = [0];
    let asked = async {
        stream.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).await?;
        stream.read_exact(&mut answer).await
    };
    if asked.await.is_err() {
        let place = place(address);
        return Err(SourceError::Unreachable(format!("{place} closed the connection before signing in")));
    }
    match (answer[0], mode) {
        (b'S', _) => Ok(Settled::Tls(stream, mode.connector()?)),
        (b'N', SslMode::Prefer) => Ok(Settled::Plain(stream)),
        (b'N', _) => Err(SourceError::Unreachable(format!(
            "the database at {} does not offer TLS, which sslmode asks for",
            place(address)
        ))),
        _ => {
            let place = place(address);
            Err(SourceError::Unreachable(format!("{place} does not answer like a PostgreSQL database")))
        }
    }
}

/// Connects to one of the host's addresses that may be connected to. The name is resolved once, so that what was
/// checked is what is connected to.
async fn connect(address: &SourceAddress, egress: &Egress) -> Result<TcpStream, SourceError> {
    let host = if address.host.is_empty() { "localhost" } else { address.host.as_str() };
    let resolved = lookup_host((host, port(address))).await;
    let mut targets: Vec<_> = resolved.into_iter().flatten().collect();
    targets.retain(|target| egress.permits(host, target.ip()));
    if targets.is_empty() {
        // One answer for both: else names could be tried out that only an inner network knows.
        return Err(SourceError::Unreachable(format!(
            "the host {host} is unknown, or connections to it are not allowed"
        )));
    }
    let mut last = None;
    for target in targets {
        let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let connecting = async {
            let socket = socket?;
            socket.set_keepalive(true)?;
            socket.set_nodelay(true)?;
            socket.connect(target).await
        };
        match connecting.await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error.kind()),
        }
    }
    let reason = last.map_or_else(|| "it has no address".to_owned(), |kind| kind.to_string());
    Err(SourceError::Unreachable(format!("{} can't be reached: {reason}", place(address))))
}

fn port(address: &SourceAddress) -> u16 {
    address.port.unwrap_or(5432)
}

fn place(address: &SourceAddress) -> String {
    format!("{}:{}", address.host, port(address))
}

/// What [`Connector::cancel`] needs to know of a session.
pub(super) fn cancel_token(client: &Client) -> CancelToken {
    client.cancel_token()
}
