//! How much a request may take: bytes of body, time to arrive.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use ringfence_gateway::{Code, Refused};

use super::HttpSettings;

/// Bytes of a body that is too large which are still read, and thrown away, before the answer: a client that is busy
/// sending does not look for an answer, and would see a broken connection instead.
const LINGER_BYTES: usize = 64 * 1024 * 1024;
/// What is set aside for a body before its first byte has come, whatever length was announced.
const FIRST_ALLOCATION: usize = 16 * 1024;

/// Whether a request's body missed its deadline. Whatever the handler made of the broken body, the answer is then 408.
#[derive(Clone, Default)]
pub(super) struct Lateness(Arc<AtomicBool>);

impl Lateness {
    pub(super) fn is_late(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Breaks the request's body off when it has not arrived in time, as a whole.
pub(super) fn set_deadline(request: Request, within: Duration, lateness: &Lateness) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    let lateness = lateness.clone();
    let mut deadline = Box::pin(tokio::time::sleep(within));
    request.map(|body| {
        let mut chunks = body.into_data_stream();
        Body::from_stream(futures::stream::poll_fn(move |cx| {
            if let Poll::Ready(chunk) = chunks.poll_next_unpin(cx) {
                return Poll::Ready(chunk);
            }
            ready!(deadline.as_mut().poll(cx));
            lateness.0.store(true, Ordering::Relaxed);
            Poll::Ready(Some(Err(axum::Error::new(io::Error::from(io::ErrorKind::TimedOut)))))
        }))
    })
}

/// Reads a whole body within the limit of size. (That it arrives in time is the middleware's care.)
pub(crate) async fn read_body(
    headers: &HeaderMap,
    body: Body,
    settings: &HttpSettings,
) -> Result<Bytes, Refused> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let is_too_large = announced.is_some_and(|length| length > settings.max_body_bytes);
    if is_too_large && headers.contains_key(header::EXPECT) {
        // The client asked before sending.
        return Err(too_large(settings.max_body_bytes));
    }
    gather(body, settings.max_body_bytes, announced.unwrap_or(0)).await
}

async fn gather(body: Body, limit: usize, announced: usize) -> Result<Bytes, Refused> {
    let mut stream = body.into_data_stream();
    let mut gathered = BytesMut::with_capacity(announced.min(FIRST_ALLOCATION));
    let mut received = 0_usize;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Refused::invalid("the request body broke off: send it again"))?;
        received = received.saturating_add(chunk.len());
        if received <= limit {
            gathered.extend_from_slice(&chunk);
        } else if received > limit.saturating_add(LINGER_BYTES) {
            break;
        } else {
            gathered = BytesMut::new();
        }
    }
    if received > limit { Err(too_large(limit)) } else { Ok(gathered.freeze()) }
}

fn too_large(limit: usize) -> Refused {
    Refused::new(
        Code::BodyTooLarge,
        format!("the request body is larger than {limit} bytes: send less at once"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_bounded() {
        assert_eq!(gather(Body::from("abc"), 3, 3).await.unwrap(), "abc");
        assert_eq!(gather(Body::from("abcd"), 3, 0).await.unwrap_err().code, Code::BodyTooLarge);
    }
}
