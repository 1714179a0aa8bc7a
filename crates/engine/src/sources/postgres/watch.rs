//! Watches the headers of what a backend sends.
//!
//! The driver reads a whole message before it looks at it, so a hostile backend could have us hold a row of a
//! gigabyte. The reader here sees each header first and fails the connection. On the way it notes what the driver
//! keeps to itself: whether the session is inside a transaction, and whether the last command changed rows.
//! Message formats: PostgreSQL manual, 55.7.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

const HEADER: usize = 5;

/// Why the reader failed the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    TooLarge,
    Copy,
}

/// What was seen so far.
pub(super) struct Watch {
    limit: usize,
    fault: AtomicU8,
    transaction_status: AtomicU8,
    changed_rows: AtomicBool,
}

impl Watch {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            fault: AtomicU8::new(0),
            transaction_status: AtomicU8::new(0),
            changed_rows: AtomicBool::new(false),
        })
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        match self.fault.load(Ordering::Acquire) {
            1 => Some(Fault::TooLarge),
            2 => Some(Fault::Copy),
            _ => None,
        }
    }

    /// Whether the backend last said that it is idle outside a transaction.
    pub(super) fn is_outside_transaction(&self) -> bool {
        self.transaction_status.load(Ordering::Acquire) == b'I'
    }

    /// Whether it said that it is in a transaction that has not failed.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.transaction_status.load(Ordering::Acquire) == b'T'
    }

    /// Whether the last command that completed was INSERT, UPDATE, DELETE or MERGE.
    pub(super) fn changed_rows(&self) -> bool {
        self.changed_rows.load(Ordering::Acquire)
    }

    fn fail(&self, fault: Fault) -> io::Error {
        self.fault.store(if fault == Fault::TooLarge { 1 } else { 2 }, Ordering::Release);
        io::Error::new(io::ErrorKind::InvalidData, "refused message")
    }
}

/// Where in the stream of messages we are.
struct Frames {
    head: [u8; HEADER + 4],
    have: usize,
    wanted: usize,
    body: usize,
    skip: usize,
}

impl Frames {
    fn new() -> Self {
        Self { head: [0; HEADER + 4], have: 0, wanted: HEADER, body: 0, skip: 0 }
    }

    fn read(&mut self, mut bytes: &[u8], watch: &Watch) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                self.skip -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let taken = (self.wanted - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEADER && self.wanted == HEADER {
                self.header_complete(watch)?;
            }
            if self.have == self.wanted && self.have > HEADER {
                self.note(watch);
                self.skip = self.body - (self.wanted - HEADER);
                (self.have, self.wanted) = (0, HEADER);
            }
        }
        Ok(())
    }

    fn header_complete(&mut self, watch: &Watch) -> io::Result<()> {
        let [tag, a, b, c, d, ..] = self.head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(body) = length.checked_sub(4) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "malformed message"));
        };
        if body > watch.limit {
            return Err(watch.fail(Fault::TooLarge));
        }
        // CopyInResponse, CopyOutResponse, CopyBothResponse: the driver would wait for ever.
        if matches!(tag, b'G' | b'H' | b'W') {
            return Err(watch.fail(Fault::Copy));
        }
        self.body = body;
        let peek = match tag {
            b'Z' => 1,
            b'C' => 4,
            _ => 0,
        };
        if peek == 0 || body < peek {
            (self.skip, self.have) = (body, 0);
        } else {
            self.wanted = HEADER + peek;
        }
        Ok(())
    }

    fn note(&self, watch: &Watch) {
        let start = &self.head[HEADER..];
        if self.head[0] == b'Z' {
            watch.transaction_status.store(start[0], Ordering::Release);
        } else {
            let changed = [b"INSE", b"UPDA", b"DELE", b"MERG"].iter().any(|tag| start == *tag);
            watch.changed_rows.store(changed, Ordering::Release);
        }
    }
}

/// A stream whose reading side is watched.
pub(super) struct Watched<S> {
    inner: S,
    watch: Arc<Watch>,
    frames: Frames,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, watch: Arc<Watch>) -> Self {
        Self { inner, watch, frames: Frames::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let this = &mut *self;
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        Poll::Ready(this.frames.read(&buf.filled()[before..], &this.watch))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Watched<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

/// Puts the watch above TLS, where messages are readable.
pub(super) struct WatchedTls<C> {
    pub(super) connector: C,
    pub(super) watch: Arc<Watch>,
}

impl<S, C> TlsConnect<S> for WatchedTls<C>
where
    C: TlsConnect<S>,
    C::Future: Send + 'static,
    C::Stream: Send,
{
    type Stream = Watched<C::Stream>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let (connecting, watch) = (self.connector.connect(stream), self.watch);
        Box::pin(async move { Ok(Watched::new(connecting.await?, watch)) })
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Frames, Watch};

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("test bodies are small");
        [&[tag], &length.to_be_bytes()[..], body].concat()
    }

    #[test]
    fn headers_are_found_wherever_reads_are_cut() {
        let bytes =
            [message(b'D', &[7; 90]), message(b'C', b"UPDATE 3\0"), message(b'1', b""), message(b'Z', b"T")]
                .concat();
        for size in 1..bytes.len() {
            let watch = Watch::new(100);
            let mut frames = Frames::new();
            for piece in bytes.chunks(size) {
                frames.read(piece, &watch).expect("nothing is too large");
            }
            assert!(watch.changed_rows() && !watch.is_outside_transaction(), "cut at {size}");
            frames.read(&message(b'Z', b"I"), &watch).expect("nothing is too large");
            assert!(watch.is_outside_transaction());
        }
    }

    #[test]
    fn large_messages_and_copy_fail_at_the_header() {
        for (header, fault) in [
            ([b'D', 0, 0, 0, 105], Fault::TooLarge),
            ([b'D', 255, 255, 255, 255], Fault::TooLarge),
            ([b'G', 0, 0, 0, 5], Fault::Copy),
            ([b'H', 0, 0, 0, 5], Fault::Copy),
        ] {
            let watch = Watch::new(100);
            assert!(Frames::new().read(&header, &watch).is_err());
            assert_eq!(watch.fault(), Some(fault));
        }
    }
}
