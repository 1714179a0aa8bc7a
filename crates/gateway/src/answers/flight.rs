//! Callers who ask for the same at once wait for one statement.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;
use ringfence_engine::{ResultSet, SourceError};

use super::key::AnswerKey;

/// What came of asking.
#[derive(Debug, Clone)]
pub(super) enum Landed {
    /// Rows, and when asking for them began.
    Rows(Arc<ResultSet>, Instant),
    /// It was not run: the database expects that cost.
    TooCostly(Option<f64>),
}

type Outcome = Result<Landed, SourceError>;
type Flight = Shared<BoxFuture<'static, Outcome>>;
/// What is asked for, and how long it may take.
type Asked = (AnswerKey, Duration);

/// What is being asked for now. It goes on while anybody waits for it, whoever began it, and stops when nobody does.
//
// INVARIANT: a caller who goes away takes nothing from those who wait for the same. Held by the test
// `one_who_leaves_takes_nothing_along`.
#[derive(Default, Clone)]
pub(super) struct Flights(Arc<Mutex<HashMap<Asked, WeakShared<BoxFuture<'static, Outcome>>>>>);

impl Flights {
    /// Joins those who wait for it, or begins it; whether it was begun.
    pub(super) fn board<F: Future<Output = Outcome> + Send + 'static>(
        &self,
        asked: Asked,
        begin: impl FnOnce() -> F,
    ) -> (Flight, bool) {
        let mut flights = self.0.lock();
        let under_way = flights.get(&asked).and_then(WeakShared::upgrade);
        // One that has ended is on the shelf, or came to nothing.
        if let Some(flight) = under_way.filter(|flight| flight.peek().is_none()) {
            return (flight, false);
        }
        let flight = begin().boxed().shared();
        if let Some(weak) = flight.downgrade() {
            // What nobody waits for any more makes room for what somebody does.
            flights.retain(|_, other| other.upgrade().is_some_and(|other| other.peek().is_none()));
            flights.insert(asked, weak);
        }
        (flight, true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    const ASKED: Duration = Duration::from_secs(1);

    fn rows() -> Landed {
        let result = ResultSet { columns: Vec::new(), rows: Vec::new(), more_rows: 0, affected: None };
        Landed::Rows(Arc::new(result), Instant::now())
    }

    #[tokio::test]
    async fn one_who_leaves_takes_nothing_along() {
        let (flights, begun) = (Flights::default(), Arc::new(AtomicUsize::new(0)));
        let (land, landing) = oneshot::channel::<Outcome>();
        let (mut landing, count) = (Some(landing), begun.clone());
        let mut board = |key: u8| {
            let (landing, count) = (landing.take(), count.clone());
            flights.board((AnswerKey::numbered(key), ASKED), move || async move {
                count.fetch_add(1, Ordering::SeqCst);
                match landing {
                    Some(landing) => landing.await.unwrap(),
                    None => Ok(rows()),
                }
            })
        };
        let (first, is_first) = board(1);
        assert!(is_first);
        let first = tokio::spawn(first);
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let (flight, is_first) = board(1);
                assert!(!is_first);
                tokio::spawn(flight)
            })
            .collect();
        tokio::task::yield_now().await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let (other, is_first) = board(2);
        assert!(is_first, "other questions wait for nobody");
        assert!(matches!(other.await, Ok(Landed::Rows(..))));
        assert!(land.send(Ok(rows())).is_ok(), "it still waits for its answer");
        for waiting in waiting {
            assert!(matches!(waiting.await.unwrap(), Ok(Landed::Rows(..))));
        }
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        assert!(board(1).1, "what has landed is not asked any more");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_stops() {
        let flights = Flights::default();
        let (held, gone) = oneshot::channel::<()>();
        let (flight, _) = flights.board((AnswerKey::numbered(1), ASKED), move || async move {
            let _held = held;
            std::future::pending().await
        });
        let waiting = tokio::spawn(flight);
        tokio::task::yield_now().await;
        waiting.abort();
        assert!(gone.await.is_err(), "it was dropped");
        let (again, is_first) = flights.board((AnswerKey::numbered(1), ASKED), || async { Ok(rows()) });
        assert!(is_first && again.await.is_ok());
    }

    #[tokio::test]
    async fn a_failure_is_told_to_those_who_waited_and_kept_for_nobody() {
        let flights = Flights::default();
        let key = (AnswerKey::numbered(1), ASKED);
        let (flight, _) = flights.board(key, || async { Err(SourceError::Busy) });
        let (other, is_first) = flights.board(key, || async { Ok(rows()) });
        assert!(!is_first && matches!(other.await, Err(SourceError::Busy)));
        assert!(matches!(flight.await, Err(SourceError::Busy)));
        let (again, is_first) = flights.board(key, || async { Ok(rows()) });
        assert!(is_first && again.await.is_ok());
    }
}
