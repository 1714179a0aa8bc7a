//! Queries that the acting user ran.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ringfence_policy::{ConnectionKey, QueryId, UserId};
use ringfence_store::Store;
use ringfence_store::history::{HistoryEntry, HistoryPage};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::limits::given;
use crate::{Call, Gateway, Refused};

/// Entries and bytes that may wait to be written.
const QUEUE: usize = 4096;
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Entries of one commit at most.
const BATCH: usize = 512;
/// How long a commit waits for company.
const LINGER: Duration = Duration::from_millis(50);
const FLUSH_WAIT: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 5;
const RETRY: Duration = Duration::from_millis(100);
/// Entries of one answer at most.
const MAX_LIMIT: u32 = 10_000;
/// Of a longer statement the beginning is kept.
const MAX_QUERY_BYTES: usize = 16 * 1024;
/// Entries kept of one user's queries on one connection; older ones go.
const KEPT: u32 = 10_000;
/// Old entries are looked for after so many new ones.
const PRUNE_EVERY: usize = 1024;
/// How many entries are looked at for one answer that is filtered here.
const MAX_SCANNED: u32 = 100_000;

/// Writes history behind the answers. It is a convenience, not a record: when the store stays away, entries are dropped
/// rather than kept in memory without bound.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Message>,
    bytes: Arc<AtomicUsize>,
    /// Ends the wait for company.
    hurry: Arc<Notify>,
}

enum Message {
    Entry(HistoryEntry),
    /// Answered when everything before it is written or given up.
    Flush(oneshot::Sender<()>),
}

impl Writer {
    /// Starts the task that writes. Needs a tokio runtime.
    pub(crate) fn start(store: Store) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (bytes, hurry) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        tokio::spawn(write_behind(store, waiting, bytes.clone(), hurry.clone()));
        Self { queue, bytes, hurry }
    }

    /// Takes an entry, without waiting.
    pub(crate) fn record(&self, mut entry: HistoryEntry) {
        entry.query.truncate(entry.query.floor_char_boundary(MAX_QUERY_BYTES));
        let size = entry.query.len();
        let waiting = self.bytes.fetch_add(size, Ordering::AcqRel);
        if waiting + size > QUEUE_BYTES || self.queue.try_send(Message::Entry(entry)).is_err() {
            self.bytes.fetch_sub(size, Ordering::AcqRel);
            dropped(1);
        }
    }

    /// Waits, for a moment at most, until every entry taken so far can be read.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        let flush = async {
            if self.queue.send(Message::Flush(done)).await.is_ok() {
                self.hurry.notify_one();
                let _ = flushed.await;
            }
        };
        if timeout(FLUSH_WAIT, flush).await.is_err() {
            tracing::warn!("history is written too slowly: recent queries are missing from an answer");
        }
    }
}

async fn write_behind(
    store: Store,
    mut waiting: mpsc::Receiver<Message>,
    bytes: Arc<AtomicUsize>,
    hurry: Arc<Notify>,
) {
    let mut messages = Vec::with_capacity(BATCH);
    let (mut since_pruning, mut grown) = (0, HashSet::new());
    while waiting.recv_many(&mut messages, BATCH).await > 0 {
        // Gathers company, until somebody can't wait. One timer for all: a task that is woken by each entry costs more
        // than the entry.
        let hurries = messages.iter().any(|message| matches!(message, Message::Flush(_)));
        if !hurries && messages.len() < BATCH {
            let _ = timeout(LINGER, hurry.notified()).await;
            while messages.len() < BATCH
                && let Ok(message) = waiting.try_recv()
            {
                messages.push(message);
            }
        }
        let (mut entries, mut flushes) = (Vec::new(), Vec::new());
        for message in messages.drain(..) {
            match message {
                Message::Entry(entry) => entries.push(entry),
                Message::Flush(done) => flushes.push(done),
            }
        }
        append(&store, &entries).await;
        bytes.fetch_sub(entries.iter().map(|entry| entry.query.len()).sum(), Ordering::AcqRel);
        for done in flushes {
            let _ = done.send(());
        }
        since_pruning += entries.len();
        grown.extend(entries.into_iter().map(|entry| (entry.owner.account, entry.connection)));
        if since_pruning >= PRUNE_EVERY {
            prune(&store, grown.drain()).await;
            since_pruning = 0;
        }
    }
}

async fn prune(store: &Store, grown: impl Iterator<Item = (UserId, ConnectionKey)>) {
    for (user, connection) in grown {
        if let Err(error) = store.history().prune(&user, &connection, KEPT).await {
            tracing::warn!(error = %error, "old history can't be removed");
        }
    }
}

async fn append(store: &Store, entries: &[HistoryEntry]) {
    if entries.is_empty() {
        return;
    }
    for attempt in 1..=ATTEMPTS {
        match store.history().append(entries).await {
            Ok(()) => return,
            Err(error) if attempt == ATTEMPTS => {
                tracing::error!(error = %error, history.entries = entries.len(), "history can't be written");
            }
            Err(_) => sleep(RETRY * attempt).await,
        }
    }
    dropped(entries.len() as u64);
}

fn dropped(entries: u64) {
    metrics::counter!("ringfence_history_dropped_total").increment(entries);
}

/// Which entries.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct HistoryLookup {
    pub limit: u32,
    pub offset: u32,
    pub newest_first: bool,
    pub id: Option<String>,
    /// Only liked ones, or only others.
    pub liked: Option<bool>,
}

/// An entry with whether its user likes it.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct HistoryItem {
    pub entry: HistoryEntry,
    pub liked: bool,
}

impl Gateway {
    /// The acting user's queries on this connection. One that was just run is there.
    pub async fn history(
        &self,
        call: &Call,
        key: &str,
        lookup: HistoryLookup,
    ) -> Result<Vec<HistoryItem>, Refused> {
        call.log.set_action("get-history");
        let connection = self.own_connection(call, key).await?;
        self.shared.history.flush().await;
        let owner = &call.principal.identity();
        let favourites: HashSet<String> = match call.own_account() {
            // Likes are kept in accounts.
            Err(_) => HashSet::new(),
            Ok(user) => {
                let likes = self.shared.store.likes().visible_to(&call.principal, &connection).await?;
                likes.into_iter().filter(|like| like.owner == *user).map(|like| like.uuid).collect()
            }
        };
        let limit = lookup.limit.min(MAX_LIMIT);
        let Ok(id) = given(lookup.id.as_deref()).map(QueryId::new).transpose() else {
            // What can't be an id is the id of no query.
            return Ok(Vec::new());
        };
        let item = |entry: HistoryEntry| HistoryItem { liked: favourites.contains(entry.id.as_str()), entry };
        let page = HistoryPage { limit, offset: lookup.offset, newest_first: lookup.newest_first, id };
        let history = self.shared.store.history();
        let Some(wanted) = lookup.liked else {
            return Ok(history.list(owner, &connection, &page).await?.into_iter().map(item).collect());
        };
        // Likes are filtered here, so the page is cut here too.
        let (mut found, mut offset) = (Vec::new(), 0);
        let enough = lookup.offset.saturating_add(limit) as usize;
        while found.len() < enough && offset < MAX_SCANNED {
            let page = HistoryPage { limit: MAX_LIMIT, offset, ..page.clone() };
            let entries = history.list(owner, &connection, &page).await?;
            let last = entries.len() < MAX_LIMIT as usize;
            found.extend(entries.into_iter().map(item).filter(|item| item.liked == wanted));
            if last {
                break;
            }
            offset += MAX_LIMIT;
        }
        Ok(found.into_iter().skip(lookup.offset as usize).take(limit as usize).collect())
    }
}
