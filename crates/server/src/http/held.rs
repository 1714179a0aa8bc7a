//! Large and streamed answers: they keep their request's place until they are sent, and are dropped when their client
//! does not read on.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Error;
use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::places::Place;

/// An answer is handed on in pieces of this size, so that what is asked for next tells how much was sent. A smaller
/// one fits into the connection's own buffer and is held by nobody.
const PIECE_BYTES: usize = 64 * 1024;

/// Keeps the place until the answer has been sent, or until the client has read none of it for `patience`.
pub(super) fn hold_until_sent(response: Response, place: Arc<Place>, patience: Duration) -> Response {
    let exact = response.body().size_hint().exact();
    if exact.is_some_and(|bytes| bytes <= PIECE_BYTES as u64) {
        return response;
    }
    response.map(|body| Body::new(HeldBody::new(body, place, patience)))
}

struct HeldBody {
    held: Arc<Mutex<State>>,
    watch: AbortHandle,
}

enum State {
    Sending(Box<Sending>),
    Sent,
    /// Dropped before its end.
    Abandoned,
}

struct Sending {
    body: Body,
    /// What came from the body and was not asked for yet.
    rest: Bytes,
    /// When the client got its last piece; `None` while the answer itself is waited for.
    offered: Option<Instant>,
    _place: Arc<Place>,
}

impl HeldBody {
    fn new(body: Body, place: Arc<Place>, patience: Duration) -> Self {
        let sending = Sending { body, rest: Bytes::new(), offered: Some(Instant::now()), _place: place };
        let held = Arc::new(Mutex::new(State::Sending(Box::new(sending))));
        let watch = tokio::spawn(watch(Arc::downgrade(&held), patience)).abort_handle();
        Self { held, watch }
    }
}

/// Drops the answer when the client is out of time. The connection's own time-out ends an HTTP/1.1 connection; of
/// HTTP/2, where others share it, only the stream ends.
async fn watch(held: Weak<Mutex<State>>, patience: Duration) {
    let mut next = Instant::now() + patience;
    loop {
        sleep_until(next).await;
        let Some(held) = held.upgrade() else { return };
        let mut state = lock(&held);
        let State::Sending(sending) = &*state else { return };
        let offered = sending.offered.unwrap_or_else(Instant::now);
        next = offered + patience;
        if next <= Instant::now() {
            *state = State::Abandoned;
            drop(state);
            tracing::info!("an answer was dropped: its client did not read it");
            return;
        }
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut state = lock(&self.held);
        let sending = match &mut *state {
            State::Sending(sending) => sending,
            State::Sent => return Poll::Ready(None),
            State::Abandoned => {
                let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
                return Poll::Ready(Some(Err(Error::new(late))));
            }
        };
        let next = ready!(sending.poll_next(cx));
        if next.is_none() {
            *state = State::Sent;
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        match &*lock(&self.held) {
            State::Sending(sending) => sending.rest.is_empty() && sending.body.is_end_stream(),
            State::Sent => true,
            State::Abandoned => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &*lock(&self.held) {
            State::Sending(sending) => {
                let (hint, rest) = (sending.body.size_hint(), sending.rest.len() as u64);
                let mut whole = SizeHint::new();
                whole.set_lower(hint.lower().saturating_add(rest));
                if let Some(upper) = hint.upper() {
                    whole.set_upper(upper.saturating_add(rest));
                }
                whole
            }
            State::Sent => SizeHint::with_exact(0),
            State::Abandoned => SizeHint::default(),
        }
    }
}

impl Sending {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.rest.is_empty() {
            self.offered = None;
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => {
                        self.offered = Some(Instant::now());
                        return Poll::Ready(Some(Ok(trailers)));
                    }
                },
                end => return Poll::Ready(end),
            }
        }
        self.offered = Some(Instant::now());
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

fn lock(held: &Mutex<State>) -> MutexGuard<'_, State> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::super::places::{InFlight, PlaceLimits};
    use super::*;

    async fn next(body: &mut Body) -> Option<Result<usize, Error>> {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
        Some(frame.map(|frame| frame.data_ref().map_or(0, Bytes::len)))
    }

    const PATIENCE: Duration = Duration::from_millis(50);

    fn places() -> InFlight {
        InFlight::new(PlaceLimits { total: 9, per_user: 9, per_organization: 9, unidentified: 9 })
    }

    fn answer(in_flight: &InFlight, bytes: usize, patience: Duration) -> Body {
        let response = Response::new(Body::from(vec![b'x'; bytes]));
        hold_until_sent(response, in_flight.enter().unwrap(), patience).into_body()
    }

    #[tokio::test]
    async fn a_large_answer_keeps_its_place_until_it_is_sent() {
        let in_flight = places();
        let _small = answer(&in_flight, PIECE_BYTES, Duration::from_mins(1));
        assert_eq!(in_flight.count(), 0, "what fits into the connection's buffer is as good as sent");
        let mut body = answer(&in_flight, PIECE_BYTES + 1, Duration::from_mins(1));
        assert_eq!(body.size_hint().exact(), Some(PIECE_BYTES as u64 + 1), "the length is known still");
        assert_eq!(next(&mut body).await.unwrap().unwrap(), PIECE_BYTES);
        assert_eq!(in_flight.count(), 1);
        assert_eq!(next(&mut body).await.unwrap().unwrap(), 1);
        assert!(next(&mut body).await.is_none());
        assert_eq!(in_flight.count(), 0);
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_is_given_up() {
        let in_flight = places();
        let mut unread = answer(&in_flight, 10 * PIECE_BYTES, PATIENCE);
        next(&mut unread).await.unwrap().unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while in_flight.count() > 0 {
            assert!(std::time::Instant::now() < deadline, "it is held on");
            tokio::time::sleep(Duration::from_millis(5)).await; // poll: until the deadline above
        }
        assert!(next(&mut unread).await.unwrap().is_err(), "the client can't take it for whole");
    }

    #[tokio::test]
    async fn who_waits_for_a_slow_database_is_not_given_up() {
        let in_flight = places();
        let rows = futures::stream::once(async {
            tokio::time::sleep(PATIENCE * 5).await; // poll: the database, whose slowness is the subject
            Ok::<_, std::io::Error>(Bytes::from_static(b"row"))
        });
        let response = Response::new(Body::from_stream(Box::pin(rows)));
        let mut body = hold_until_sent(response, in_flight.enter().unwrap(), PATIENCE).into_body();
        assert_eq!(next(&mut body).await.unwrap().unwrap(), 3);
    }
}
