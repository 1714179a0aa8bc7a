//! When a run must end before its result does.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::SourceError;

/// Ends a run early: its time is up, the caller cancelled, or the engine shuts down.
pub(crate) struct Watchdog {
    sleep: Pin<Box<Sleep>>,
    limit: Duration,
    cancel: CancellationToken,
    closing: CancellationToken,
}

impl Watchdog {
    pub(crate) fn new(limit: Duration, cancel: CancellationToken, closing: CancellationToken) -> Self {
        // Longer than a month is for ever, and an `Instant` has an end.
        let at = Instant::now() + limit.min(Duration::from_hours(768));
        Self { sleep: Box::pin(sleep_until(at)), limit, cancel, closing }
    }

    /// Runs the future unless it must stop before.
    pub(crate) async fn guard<T>(&mut self, future: impl Future<Output = T>) -> Result<T, SourceError> {
        tokio::select! {
            biased;
            stop = self.stopped() => Err(stop),
            output = future => Ok(output),
        }
    }

    pub(crate) async fn stopped(&mut self) -> SourceError {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => SourceError::Cancelled,
            () = self.closing.cancelled() => SourceError::Cancelled,
            () = self.sleep.as_mut() => {
                SourceError::TimedOut { limit_ms: u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX) }
            }
        }
    }
}
