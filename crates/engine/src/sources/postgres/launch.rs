//! Sends a statement, in the transaction that it needs, and returns when its rows begin to come.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::join;
use ringfence_guard::{GuardedQuery, Parameter};
use tokio_postgres::{Client, RowStream, SimpleQueryMessage, SimpleQueryStream};

use super::failure;
use super::parameter::{Bound, literals, refuse_nul};
use super::prepared::{Prepared, Shape};
use super::rows::Rows;
use super::session::{DROP_NAMED, END_READ, NAMED, Session};
use super::transaction::{Failure, Opening, Transaction, wants_text};
use crate::{RunOptions, SourceError};

/// A statement whose rows come.
pub(super) struct Launched {
    pub(super) rows: Rows,
    pub(super) shape: Shape,
}

/// One try.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    sql: &'a str,
    parameters: &'a [Parameter],
    options: &'a RunOptions,
    transaction: Transaction,
    /// The transaction has had other statements, which an error undoes.
    shared: bool,
}

/// What a session remembers a text by.
pub(super) fn text_id(sql: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    sql.hash(&mut hasher);
    hasher.finish()
}

/// `open` says at every moment which transaction the session is in.
pub(super) async fn launch(
    session: &mut Session,
    query: &GuardedQuery,
    options: &RunOptions,
    open: &mut Transaction,
) -> Result<Launched, Failure> {
    let (sql, text) = (query.sql(), text_id(query.sql()));
    refuse_nul(query.parameters()).map_err(Failure::Refused)?;
    session.in_flight = true;
    *open = Transaction::of(query, options, session.is_known_to_write(text));
    let attempt = Attempt { sql, parameters: query.parameters(), options, transaction: *open, shared: false };
    match attempt.make(session).await {
        Err(Failure::Database(error))
            if *open == Transaction::AssumedReadOnly && failure::is_write_in_read(&error) =>
        {
            session.note_write(text);
            roll_back(session).await?;
            *open = Transaction::of(query, options, true);
            Attempt { transaction: *open, ..attempt }.make(session).await
        }
        made => made,
    }
}

/// Sends a statement in a transaction that began before. `aside`: it only reads where others write.
pub(super) async fn launch_within(
    session: &mut Session,
    query: &GuardedQuery,
    options: &RunOptions,
    aside: bool,
) -> Result<Launched, Failure> {
    refuse_nul(query.parameters()).map_err(Failure::Refused)?;
    if std::mem::take(&mut session.named_statement) {
        session.client.batch_execute(DROP_NAMED).await.map_err(Failure::Database)?;
    }
    let (sql, parameters) = (query.sql(), query.parameters());
    let attempt = Attempt { sql, parameters, options, transaction: Transaction::ReadWrite, shared: true };
    let opening = aside.then(Opening::aside);
    let kept = session.kept_statement(sql);
    let was_kept = kept.is_some();
    let prepared = attempt.begin(session, opening.as_ref(), kept).await?;
    attempt.run(session, &prepared, was_kept, false).await
}

impl Attempt<'_> {
    async fn make(self, session: &mut Session) -> Result<Launched, Failure> {
        let opening = Opening::of(self.transaction, self.options).map_err(Failure::Refused)?;
        let as_text = wants_text(self.options);
        let kept = session.kept_statement(self.sql);
        let in_one_trip = opening
            .as_ref()
            .filter(|opening| self.transaction.is_read_only() && opening.is_bare() && !as_text);
        match (kept, in_one_trip) {
            (Some(prepared), Some(opening)) => {
                prepared.match_parameters(self.parameters.len()).map_err(Failure::Refused)?;
                // Beginning, the statement, and the end, in one round trip. Rolled back it is in any case, and the
                // database does that the moment its last row is sent.
                let client = &session.client;
                let running = client.query_raw(&prepared.statement, self.bound());
                let begun = join(opening.begin(client), running);
                let ((begun, rows), ending) = join(begun, client.simple_query_raw(END_READ)).await;
                session.ending = ending.ok().map(Box::pin);
                begun.map_err(Failure::unwrapped)?;
                match rows {
                    Ok(rows) => self.launched(rows, prepared.shape.clone()).await,
                    Err(error) => self.again_if_stale(session, error).await,
                }
            }
            (kept, _) => {
                let (prepared, was_kept) =
                    (self.begin(session, opening.as_ref(), kept.clone()).await?, kept.is_some());
                self.run(session, &prepared, was_kept, as_text).await
            }
        }
    }

    /// Begins the transaction and prepares, where there is need. The statement is sent only after it began.
    async fn begin(
        &self,
        session: &mut Session,
        opening: Option<&Opening>,
        kept: Option<Arc<Prepared>>,
    ) -> Result<Arc<Prepared>, Failure> {
        let client = &session.client;
        let prepared = match (kept, opening) {
            (Some(prepared), None) => return Ok(prepared),
            (Some(prepared), Some(opening)) => {
                opening.begin(client).await?;
                return Ok(prepared);
            }
            (None, None) => Prepared::new(client, self.sql).await,
            (None, Some(opening)) => {
                // One round trip for both; preparing executes nothing, so it does no harm when beginning failed.
                let (begun, prepared) = join(opening.begin(client), Prepared::new(client, self.sql)).await;
                begun?;
                prepared
            }
        };
        let prepared = Arc::new(prepared.map_err(Failure::Database)?);
        session.keep_statement(self.sql, &prepared);
        Ok(prepared)
    }

    async fn run(
        self,
        session: &mut Session,
        prepared: &Prepared,
        was_kept: bool,
        as_text: bool,
    ) -> Result<Launched, Failure> {
        prepared.match_parameters(self.parameters.len()).map_err(Failure::Refused)?;
        if as_text || prepared.shape.is_foreign() {
            session.named_statement = !self.parameters.is_empty();
            return self.in_text(&session.client, prepared.shape.clone()).await;
        }
        match session.client.query_raw(&prepared.statement, self.bound()).await {
            Ok(rows) => self.launched(rows, prepared.shape.clone()).await,
            Err(error) if was_kept => self.again_if_stale(session, error).await,
            Err(error) => Err(Failure::Database(error)),
        }
    }

    /// The database's own words. The text was prepared, so it is one statement here too.
    async fn in_text(&self, client: &Client, shape: Shape) -> Result<Launched, Failure> {
        let text = if self.parameters.is_empty() {
            Cow::Borrowed(self.sql)
        } else {
            // A comment may end the statement: so the line ends too.
            let values = literals(self.parameters);
            Cow::Owned(format!("PREPARE {NAMED} AS {}\n; EXECUTE {NAMED} ({values})", self.sql))
        };
        let rows = client.simple_query_raw(&text).await.map_err(Failure::Database)?;
        let mut rows: Pin<Box<SimpleQueryStream>> = Box::pin(rows);
        if !self.parameters.is_empty() {
            // What tells that it was prepared.
            rows.next().await.transpose().map_err(Failure::Database)?;
        }
        let first = if self.transaction == Transaction::AssumedReadOnly {
            after_description(&mut rows).await.map_err(Failure::Database)?
        } else {
            None
        };
        Ok(Launched { rows: Rows::Text(first, rows, None), shape })
    }

    async fn again_if_stale(
        self,
        session: &mut Session,
        error: tokio_postgres::Error,
    ) -> Result<Launched, Failure> {
        if failure::is_stale_statement(&error) {
            session.forget_statement(self.sql);
            if self.shared {
                // What came before is undone with it: the caller has to begin again.
                return Err(Failure::Refused(SourceError::Conflict));
            }
            return self.anew(session).await;
        }
        if failure::is_misread(&error) {
            // The types of its parameters may be those of columns that were changed since.
            session.forget_statement(self.sql);
        }
        Err(Failure::Database(error))
    }

    async fn anew(self, session: &mut Session) -> Result<Launched, Failure> {
        if self.transaction != Transaction::None {
            roll_back(session).await?;
        }
        Box::pin(self.make(session)).await
    }

    fn bound(&self) -> impl ExactSizeIterator<Item = Bound<'_>> {
        self.parameters.iter().map(Bound)
    }

    /// Waits for the first row of what is assumed to be a read: if it writes, this is where it says so.
    async fn launched(&self, rows: RowStream, shape: Shape) -> Result<Launched, Failure> {
        let mut rows: Pin<Box<RowStream>> = Box::pin(rows);
        if self.transaction != Transaction::AssumedReadOnly {
            return Ok(Launched { rows: Rows::Binary(None, rows), shape });
        }
        match rows.next().await {
            Some(first) => {
                let first = first.map_err(Failure::Database)?;
                Ok(Launched { rows: Rows::Binary(Some(first), rows), shape })
            }
            None => Ok(Launched { rows: Rows::Empty, shape }),
        }
    }
}

/// Ends a transaction that came to nothing, unless its end was sent along.
async fn roll_back(session: &mut Session) -> Result<(), Failure> {
    if !session.see_ending().await.map_err(Failure::Database)? {
        session.client.batch_execute("ROLLBACK").await.map_err(Failure::Database)?;
    }
    Ok(())
}

/// The first message that says that something has run.
async fn after_description(
    rows: &mut Pin<Box<SimpleQueryStream>>,
) -> Result<Option<SimpleQueryMessage>, tokio_postgres::Error> {
    loop {
        match rows.next().await.transpose()? {
            Some(SimpleQueryMessage::RowDescription(_)) => {}
            first => return Ok(first),
        }
    }
}
