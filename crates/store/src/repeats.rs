//! Requests that carry an idempotency key: each is done once, however often it is sent.

use crate::audience::digest;
use crate::database::{params, transact};
use crate::{Store, StoreError};

/// Who sent a request, where to, under which key. Only its digest is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat(String);

/// What is known of a request that carries a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it is the caller's to do, and to say what came of it.
    New,
    /// It is being done, or the one who did it went away before it could say what came of it.
    Underway,
    /// It was done.
    Done {
        /// The digest of the request.
        request: String,
        /// What came of it, in the words of whoever did it.
        outcome: String,
    },
}

/// The repository of such requests.
pub struct Repeats<'a>(pub(crate) &'a Store);

impl Repeat {
    /// Of these parts together.
    pub fn of(parts: &[&str]) -> Self {
        let parts: Vec<Option<&str>> = parts.iter().map(|part| Some(*part)).collect();
        Self(digest(&parts))
    }
}

impl Repeats<'_> {
    /// Begins a request, unless it is known. Those older than `forget_before` (milliseconds since the epoch) are forgotten.
    //
    // INVARIANT: of several who begin the same request, one hears that it is new. Held by the test
    // `a_repeat_is_begun_once`.
    pub async fn begin(
        &self,
        repeat: &Repeat,
        request: &str,
        now: i64,
        forget_before: i64,
    ) -> Result<Known, StoreError> {
        transact!(self.0.inner.database, tx => {
            tx.execute("DELETE FROM repeats WHERE created_at < $1", params![forget_before]).await?;
            let insert = "INSERT INTO repeats (identity, request, outcome, created_at) VALUES ($1, $2, NULL, $3) \
                          ON CONFLICT (identity) DO NOTHING";
            if tx.execute(insert, params![&repeat.0, request, now]).await? == 1 {
                Known::New
            } else {
                let select = "SELECT request, outcome FROM repeats WHERE identity = $1";
                match tx.query(select, params![&repeat.0]).await?.first() {
                    None => Known::Underway,
                    Some(row) => match row.optional_text(1)? {
                        None => Known::Underway,
                        Some(outcome) => {
                            Known::Done { request: row.text(0)?.to_owned(), outcome: outcome.to_owned() }
                        }
                    },
                }
            }
        })
    }

    /// Says what came of a request.
    pub async fn finish(&self, repeat: &Repeat, outcome: &str) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            tx.execute("UPDATE repeats SET outcome = $2 WHERE identity = $1", params![&repeat.0, outcome]).await?;
        })
    }

    /// Nothing came of a request: it may be sent again.
    pub async fn abandon(&self, repeat: &Repeat) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            let delete = "DELETE FROM repeats WHERE identity = $1 AND outcome IS NULL";
            tx.execute(delete, params![&repeat.0]).await?;
        })
    }
}
