//! The audit writer: a bounded queue in front of the store's chained log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ringfence_store::Store;
use ringfence_store::audit::AuditRecord;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::{AuditMode, Code, Refused};

/// Records of one commit at most.
const BATCH: usize = 512;
/// How long a commit waits for company when nobody waits for it. A commit has a price of its own (pages of the indexes, a
/// sync), whatever the number of its records.
const LINGER: Duration = Duration::from_millis(25);
/// How long a call waits for a place in a full queue.
const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// Writes records, many in one commit. Cheap to clone; the task behind it ends when the last clone is gone.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Message>,
    mode: AuditMode,
    health: Arc<Health>,
}

/// What callers may know of the task behind the queue.
#[derive(Default)]
struct Health {
    /// The last write did not succeed.
    failing: watch::Sender<bool>,
    /// Records that wait for a place in the queue, without a call that waits with them.
    overflow: AtomicUsize,
    /// Ends the wait for company.
    hurry: Notify,
}

enum Message {
    Record(Box<AuditRecord>, Option<Receipt>),
    /// Answered when everything before it is durable.
    Flush(oneshot::Sender<()>),
}

/// Tells a strict caller whether its record is durable.
type Receipt = oneshot::Sender<bool>;

impl Writer {
    /// Starts the task that writes. Needs a tokio runtime.
    pub(crate) fn start(store: Store, mode: AuditMode, capacity: usize) -> Self {
        let (queue, waiting) = mpsc::channel(capacity.max(1));
        let health = Arc::new(Health::default());
        tokio::spawn(
            Task { store, waiting, health: health.clone(), lingers: mode == AuditMode::WriteBehind }.run(),
        );
        Self { queue, mode, health }
    }

    /// Hands a record over; in strict mode waits until it is durable.
    pub(crate) async fn write(&self, record: AuditRecord) -> Result<(), Refused> {
        let (receipt, durable) = match self.mode {
            AuditMode::WriteBehind => (None, None),
            AuditMode::Strict => {
                let (receipt, durable) = oneshot::channel();
                (Some(receipt), Some(durable))
            }
        };
        self.enqueue(Message::Record(Box::new(record), receipt)).await?;
        let Some(durable) = durable else { return Ok(()) };
        // Nobody is kept waiting for the end of an outage: the record stays in line, the answer is not given. A dropped
        // receipt means that the task is gone; nothing is known to be durable then either.
        let mut failing = self.health.failing.subscribe();
        tokio::select! {
            biased;
            written = durable => if written == Ok(true) { Ok(()) } else { Err(unavailable()) },
            _ = failing.wait_for(|failing| *failing) => Err(unavailable()),
        }
    }

    /// Hands a record over without waiting: for calls that nobody finished.
    pub(crate) fn write_detached(&self, record: AuditRecord) {
        if let Err(refused) = self.queue.try_send(Message::Record(Box::new(record), None)) {
            self.wait_for_place(refused.into_inner(), None);
        }
        self.gauge();
    }

    /// Refuses with `AUDIT_UNAVAILABLE` when a record could not be written now: strict mode asks before a query runs,
    /// and in both modes a queue that stays full refuses.
    pub(crate) async fn ready(&self) -> Result<(), Refused> {
        if self.mode == AuditMode::Strict && *self.health.failing.borrow() {
            return Err(unavailable());
        }
        self.has_room().await
    }

    /// Refuses when the queue stays full.
    pub(crate) async fn has_room(&self) -> Result<(), Refused> {
        if self.queue.capacity() > 0 {
            return Ok(());
        }
        match timeout(PATIENCE, self.queue.reserve()).await {
            Ok(Ok(_place)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(unavailable()),
        }
    }

    /// Waits until everything handed over so far is durable. Answers whether it is, by the deadline.
    pub(crate) async fn flush(&self, deadline: Duration) -> bool {
        let (done, flushed) = oneshot::channel();
        let flush = async {
            let sent = self.queue.send(Message::Flush(done)).await;
            self.health.hurry.notify_one();
            sent.is_ok() && flushed.await.is_ok()
        };
        let flushed = timeout(deadline, flush).await.unwrap_or(false);
        if !flushed {
            tracing::error!(audit.queue = self.length(), "audit records could not be written out in time");
        }
        flushed
    }

    async fn enqueue(&self, message: Message) -> Result<(), Refused> {
        let queued = match self.queue.try_send(message) {
            Ok(()) => true,
            Err(refused) => {
                // The record waits on its own, so that a client who goes away meanwhile does not take it along.
                let (placed, has_place) = oneshot::channel();
                self.wait_for_place(refused.into_inner(), Some(placed));
                matches!(timeout(PATIENCE, has_place).await, Ok(Ok(())))
            }
        };
        if self.queue.capacity() < self.queue.max_capacity() / 2 {
            self.health.hurry.notify_one();
        }
        self.gauge();
        if queued { Ok(()) } else { Err(unavailable()) }
    }

    /// Has the record wait for its place in the queue. As many may wait as the queue is long: more than that means
    /// that the store has been away for long while callers kept coming, and memory is not ours to fill.
    fn wait_for_place(&self, message: Message, placed: Option<oneshot::Sender<()>>) {
        let waiting = self.health.overflow.fetch_add(1, Ordering::AcqRel);
        let runtime =
            tokio::runtime::Handle::try_current().ok().filter(|_| waiting < self.queue.max_capacity());
        let Some(runtime) = runtime else {
            self.health.overflow.fetch_sub(1, Ordering::AcqRel);
            lost(&message);
            return;
        };
        let writer = self.clone();
        runtime.spawn(async move {
            let sent = writer.queue.send(message).await;
            writer.health.overflow.fetch_sub(1, Ordering::AcqRel);
            match (sent, placed) {
                (Ok(()), Some(placed)) => {
                    let _ = placed.send(());
                }
                (Ok(()), None) => {}
                (Err(refused), _) => lost(&refused.0),
            }
        });
    }

    fn length(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity() + self.health.overflow.load(Ordering::Acquire)
    }

    fn gauge(&self) {
        metrics::gauge!("ringfence_audit_queue_length").set(u32::try_from(self.length()).unwrap_or(u32::MAX));
    }
}

/// The last resort of a record that found no place: the operator's log has it at least.
fn lost(message: &Message) {
    metrics::counter!("ringfence_audit_failures_total").increment(1);
    if let Message::Record(record, _) = message {
        let record = serde_json::to_string(record).unwrap_or_default();
        tracing::error!(audit.record = %record, "audit queue is full: this record is not in the audit log");
    }
}

fn unavailable() -> Refused {
    Refused::new(Code::AuditUnavailable, "the audit log can't be written: try again later")
}

/// The one that writes.
struct Task {
    store: Store,
    waiting: mpsc::Receiver<Message>,
    health: Arc<Health>,
    lingers: bool,
}

impl Task {
    async fn run(mut self) {
        let mut messages = Vec::with_capacity(BATCH);
        while self.waiting.recv_many(&mut messages, BATCH).await > 0 {
            let hurries = messages.iter().any(|message| matches!(message, Message::Flush(_)));
            if self.lingers && !hurries && messages.len() < BATCH {
                // One timer for all that come: a task that is woken by each record costs more than the record.
                let _ = timeout(LINGER, self.health.hurry.notified()).await;
                while messages.len() < BATCH
                    && let Ok(message) = self.waiting.try_recv()
                {
                    messages.push(message);
                }
            }
            self.commit(std::mem::take(&mut messages)).await;
        }
    }

    /// Writes until it is written: a record that was accepted is lost with the process only.
    async fn commit(&self, messages: Vec<Message>) {
        let (mut records, mut receipts, mut flushes) = (Vec::new(), Vec::new(), Vec::new());
        for message in messages {
            match message {
                Message::Record(record, receipt) => {
                    records.push(*record);
                    receipts.extend(receipt);
                }
                Message::Flush(done) => flushes.push(done),
            }
        }
        let mut pause = FIRST_RETRY;
        while !records.is_empty() {
            match self.store.audit().append(&records).await {
                Ok(()) => {
                    metrics::counter!("ringfence_audit_records_total").increment(records.len() as u64);
                    break;
                }
                Err(error) => {
                    metrics::counter!("ringfence_audit_failures_total").increment(1);
                    if !self.health.failing.send_replace(true) {
                        tracing::error!(error = %error, audit.records = records.len(), "audit log can't be written");
                    }
                    // Strict callers are not kept waiting for an outage; their records stay in line.
                    for receipt in receipts.drain(..) {
                        let _ = receipt.send(false);
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LAST_RETRY);
                }
            }
        }
        if !records.is_empty() && self.health.failing.send_replace(false) {
            tracing::info!("audit log is written again");
        }
        for receipt in receipts {
            let _ = receipt.send(true);
        }
        for done in flushes {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use ringfence_store::{SealingKey, StoreLocation};

    use super::*;

    fn record() -> AuditRecord {
        AuditRecord {
            at_ms: 1,
            trace_id: "t".to_owned(),
            door: "api".to_owned(),
            action: "test".to_owned(),
            duration_us: 1,
            decision: "allowed".to_owned(),
            ..AuditRecord::default()
        }
    }

    /// Strict mode says before a query runs that its record could not be written, and says so no longer than it is true.
    #[tokio::test]
    async fn a_strict_writer_is_not_ready_while_writing_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let store = Store::open(&StoreLocation::Sqlite(path.clone()), SealingKey::generate()).await.unwrap();
        let writer = Writer::start(store, AuditMode::Strict, 16);
        assert_eq!(writer.ready().await, Ok(()));
        let raw = rusqlite::Connection::open(path).unwrap();
        raw.busy_timeout(Duration::from_secs(5)).unwrap();
        raw.execute_batch("ALTER TABLE audit RENAME TO audit_away").unwrap();
        assert_eq!(writer.write(record()).await, Err(unavailable()));
        assert_eq!(writer.ready().await, Err(unavailable()));
        raw.execute_batch("ALTER TABLE audit_away RENAME TO audit").unwrap();
        assert!(writer.flush(Duration::from_secs(10)).await);
        assert_eq!(writer.ready().await, Ok(()));
    }
}
