//! One session with a PostgreSQL backend, and what it takes to hand it on clean.

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lru::LruCache;
use ringfence_guard::GuardedQuery;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tokio_postgres::{Client, SimpleQueryStream};

use super::prepared::Prepared;
use super::transaction::Transaction;
use super::watch::Watch;

/// Longer texts are not kept prepared: their memory, on both sides, is worth more than the round trip.
const LONGEST_KEPT: usize = 32 * 1024;

/// How long a session may take to become clean before it is closed instead.
const TIDY_LIMIT: Duration = Duration::from_secs(5);

/// What DISCARD ALL does, less the prepared statements. A view, a trigger or an overloaded function can leave any of it.
const CLEAN: &str = "CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; UNLISTEN *; \
     SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

/// The same after a read-only transaction of ours: rolled back, it leaves no setting, role, cursor or listener, and it
/// could make no temporary table and draw from no sequence. Advisory locks of the session outlive it.
pub(super) const END_READ: &str = "ROLLBACK; SELECT pg_catalog.pg_advisory_unlock_all()";

/// A statement with parameters whose rows only PostgreSQL can put into words is prepared in SQL, because the driver
/// asks for words only of what has none.
pub(super) const NAMED: &str = "ringfence_in_text";
pub(super) const DROP_NAMED: &str = "DEALLOCATE ringfence_in_text";

/// Texts that look like reads and write, of which a session remembers it.
const WRITING: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

pub(super) struct Session {
    pub(super) client: Client,
    pub(super) watch: Arc<Watch>,
    driver: AbortHandle,
    statements: Option<LruCache<Box<str>, Arc<Prepared>>>,
    /// Texts that look like reads, and write.
    writing: LruCache<u64, ()>,
    /// The driver keeps statements of its own once it has looked a type up; DISCARD ALL would pull them from under it.
    pub(super) looked_up_types: bool,
    /// A statement was prepared by name, in SQL.
    pub(super) named_statement: bool,
    /// What ends a read-only transaction was sent along with its statement: what is answered to that.
    pub(super) ending: Option<Pin<Box<SimpleQueryStream>>>,
    /// Something was sent whose end was not seen.
    pub(super) in_flight: bool,
    pub(super) idle_since: Instant,
}

/// What a session is for. Each purpose has sessions of its own, signed in with settings of its own, to which RESET ALL
/// comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// Open connections: any SQL.
    Open,
    /// Open connections that are read-only: every transaction begins so, a second wall behind the one that each
    /// statement there runs in.
    ReadOnly,
    /// Reads that the guard rewrote. Functions, operators and casts are those of the database itself: nothing that an
    /// owner made can take the place of one. Policies mean the same time of day everywhere.
    FencedRead,
    /// Writes that the guard rewrote. The owner's triggers and defaults rely on the role's own search path.
    FencedWrite,
}

impl Purpose {
    pub(super) const ALL: [Self; 4] = [Self::Open, Self::ReadOnly, Self::FencedRead, Self::FencedWrite];

    pub(super) fn of(query: &GuardedQuery) -> Self {
        match query.fence() {
            Some(fence) if fence.writes => Self::FencedWrite,
            Some(_) => Self::FencedRead,
            None if query.read_only() => Self::ReadOnly,
            None => Self::Open,
        }
    }

    /// For the start-up packet, after those that all sessions have.
    pub(super) fn settings(self) -> &'static str {
        match self {
            Self::Open => "",
            Self::ReadOnly => " -c default_transaction_read_only=on",
            Self::FencedRead => {
                " -c default_transaction_read_only=on -c search_path=pg_catalog -c TimeZone=UTC"
            }
            Self::FencedWrite => " -c TimeZone=UTC",
        }
    }
}

/// What must happen before somebody else gets the session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tidy {
    /// The transaction that is still open.
    pub(super) transaction: Transaction,
    /// Keep nothing, not even prepared statements.
    pub(super) discard: bool,
}

impl Session {
    pub(super) fn new(client: Client, watch: Arc<Watch>, driver: AbortHandle, statements: usize) -> Self {
        Self {
            client,
            watch,
            driver,
            statements: NonZeroUsize::new(statements).map(LruCache::new),
            writing: LruCache::new(WRITING),
            looked_up_types: false,
            named_statement: false,
            ending: None,
            in_flight: false,
            idle_since: Instant::now(),
        }
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.client.is_closed() && self.watch.fault().is_none() && self.watch.is_outside_transaction()
    }

    pub(super) fn kept_statement(&mut self, sql: &str) -> Option<Arc<Prepared>> {
        self.statements.as_mut()?.get(sql).map(Arc::clone)
    }

    pub(super) fn keep_statement(&mut self, sql: &str, prepared: &Arc<Prepared>) {
        self.looked_up_types |= prepared.shape.looked_up_types;
        if sql.len() <= LONGEST_KEPT
            && !reads_clock_once(sql)
            && !prepared.shape.is_foreign()
            && let Some(statements) = &mut self.statements
        {
            statements.put(sql.into(), Arc::clone(prepared));
        }
    }

    pub(super) fn forget_statement(&mut self, sql: &str) {
        if let Some(statements) = &mut self.statements {
            statements.pop(sql);
        }
    }

    pub(super) fn is_known_to_write(&mut self, text: u64) -> bool {
        self.writing.get(&text).is_some()
    }

    pub(super) fn note_write(&mut self, text: u64) {
        self.writing.put(text, ());
    }

    /// How many statements are prepared: a session without any is the better one for a statement that costs it all.
    pub(super) fn kept_statements(&self) -> usize {
        self.statements.as_ref().map_or(0, LruCache::len)
    }

    /// Waits for the end of a transaction whose end was sent along. `false` when none was.
    pub(super) async fn see_ending(&mut self) -> Result<bool, tokio_postgres::Error> {
        let Some(mut ending) = self.ending.take() else { return Ok(false) };
        while ending.next().await.transpose()?.is_some() {}
        Ok(true)
    }

    /// Brings the session back to how it was after signing in. `false`: close it.
    //
    // INVARIANT: what a statement left in a session is gone before the next borrower; tests/engine/hygiene.rs holds it.
    pub(super) async fn tidy(&mut self, tidy: Tidy) -> bool {
        if tidy.discard && self.looked_up_types {
            return false;
        }
        let named_statement = std::mem::take(&mut self.named_statement);
        let tidying = async {
            let has_ended = self.see_ending().await?;
            if named_statement {
                // First of all, the transaction that it may have failed in.
                self.client.batch_execute("ROLLBACK").await?;
                // There is none when preparing it failed.
                let _ = self.client.batch_execute(DROP_NAMED).await;
            }
            if !tidy.discard && tidy.transaction.is_read_only() {
                if has_ended && !named_statement {
                    return Ok(());
                }
                return self.client.batch_execute(END_READ).await;
            }
            if tidy.transaction != Transaction::None {
                self.client.batch_execute("ROLLBACK").await?;
            }
            if !tidy.discard {
                return self.client.batch_execute(CLEAN).await;
            }
            if let Some(statements) = &mut self.statements {
                statements.clear();
            }
            self.client.batch_execute("DISCARD ALL").await
        };
        matches!(timeout(TIDY_LIMIT, tidying).await, Ok(Ok(()))) && self.is_usable()
    }
}

/// Whether the text may have a constant such as 'now', which PostgreSQL reads when it prepares the statement, and never
/// again.
fn reads_clock_once(sql: &str) -> bool {
    const WORDS: [&[u8]; 5] = [b"'now", b"now'", b"today", b"tomorrow", b"yesterday"];
    let contains =
        |word: &[u8]| sql.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    WORDS.into_iter().any(contains)
}

impl Drop for Session {
    fn drop(&mut self) {
        // Closes the socket at once, also when the backend hangs.
        self.driver.abort();
    }
}
