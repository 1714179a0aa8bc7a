//! Listens on an address and serves HTTP/1.1 and HTTP/2 on it, plain or under TLS, until told to stop.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum_server::accept::{Accept, NoDelayAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::stalls::Flowing;

/// For a request's head to arrive; also how long a connection may stay idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest head of an HTTP/1.1 request in bytes, beyond which the answer is 431.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The same for HTTP/2.
const MAX_HEAD_BYTES_H2: u32 = 64 * 1024;
/// How many headers a request may have.
const MAX_HEADERS: usize = 100;
/// Requests that one HTTP/2 connection may have open at once.
const MAX_STREAMS: u32 = 256;
/// Between signs of life that are asked of an HTTP/2 peer.
const H2_PING_INTERVAL: Duration = Duration::from_secs(30);
/// The length of HTTP/2's preface: what is read before the protocol, and with it hyper's own timer, is chosen.
const PREFACE_BYTES: usize = 24;

/// Binds the address; connections queue from here on.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .map_err(|error| io::Error::new(error.kind(), format!("can't listen on {address}: {error}")))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves `app` until `stop`, then lets running requests end for up to `drain`, then drops them. A connection
/// whose peer takes nothing of what is written for `patience` is ended.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    app: Router,
    stop: CancellationToken,
    drain: Duration,
    patience: Duration,
) -> io::Result<()> {
    let handle = Handle::new();
    let stopper = tokio::spawn({
        let handle = handle.clone();
        async move {
            stop.cancelled().await;
            handle.graceful_shutdown(Some(drain));
        }
    });
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let mut server = axum_server::from_tcp(listener)?.handle(handle);
    set_limits(&mut server);
    let flowing = Flowing { inner: NoDelayAcceptor::new(), patience };
    let outcome = match tls {
        None => server.acceptor(Impatient(flowing)).serve(app).await,
        Some(config) => {
            let acceptor = RustlsAcceptor::new(config).acceptor(flowing);
            server.acceptor(Impatient(acceptor)).serve(app).await
        }
    };
    stopper.abort();
    outcome
}

fn set_limits(server: &mut Server<SocketAddr>) {
    let builder = server.http_builder();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_PING_INTERVAL)
        .max_header_list_size(MAX_HEAD_BYTES_H2)
        .max_concurrent_streams(MAX_STREAMS);
}

/// Accepts connections whose first bytes must come within [`HEAD_TIMEOUT`]. hyper's timer starts only after it has
/// chosen between the protocols, so that a silent peer could otherwise hold a connection forever.
#[derive(Clone)]
struct Impatient<A>(A);

impl<A, S> Accept<TcpStream, S> for Impatient<A>
where
    A: Accept<TcpStream, S>,
    A::Future: Send + 'static,
    A::Stream: Send,
    A::Service: Send,
{
    type Stream = ImpatientStream<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let accepted = self.0.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            Ok((ImpatientStream::new(stream), service))
        })
    }
}

/// A stream that fails when its first bytes are late.
struct ImpatientStream<T> {
    stream: T,
    /// Gone once enough has come.
    patience: Option<Pin<Box<Sleep>>>,
    received: usize,
}

impl<T> ImpatientStream<T> {
    fn new(stream: T) -> Self {
        Self { stream, patience: Some(Box::pin(tokio::time::sleep(HEAD_TIMEOUT))), received: 0 }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ImpatientStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(patience) = &mut this.patience else {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        };
        let before = buf.filled().len();
        let Poll::Ready(result) = Pin::new(&mut this.stream).poll_read(cx, buf) else {
            ready!(patience.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        };
        this.received = this.received.saturating_add(buf.filled().len().saturating_sub(before));
        if this.received >= PREFACE_BYTES {
            this.patience = None;
        }
        Poll::Ready(result)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ImpatientStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
