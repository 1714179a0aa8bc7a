//! Sign-in sessions: found by a digest of the cookie's secret, told of when they end.
//!
//! The store keeps no clock: whoever asks says what time it is.

use std::fmt::Write as _;

use ringfence_policy::{OrgId, TenantId, UserId};
use sha2::{Digest as _, Sha256};

use crate::access_keys::KeyHash;
use crate::changes::Change;
use crate::database::{Row, Transaction, params, transact};
use crate::{Store, StoreError};

/// A session, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Session {
    /// The digest of the secret.
    pub hash: KeyHash,
    /// What the session is called in lists; no secret, and good for nothing else.
    pub id: String,
    pub user: UserId,
    /// Where the user was at home when the session was opened: it counts nowhere else.
    pub org: OrgId,
    pub tenant: TenantId,
    /// What vouched for the user: `password`, `directory:NAME` or `oidc:NAME`.
    pub source: String,
    /// What the outside source calls the session.
    pub outside_id: Option<String>,
    /// What the outside source calls the user.
    pub outside_subject: Option<String>,
    /// This time and the others are in milliseconds since the epoch.
    pub opened_at: i64,
    pub last_used_at: i64,
    /// How long it may go unused.
    pub idle_ms: i64,
    /// When it ends however much it is used.
    pub expires_at: i64,
    /// Where it was opened from, shortened.
    pub address: String,
    pub agent: String,
}

/// The digest of a session's secret. No access key has the same one, whatever its text.
pub fn hash_of(secret: &str) -> KeyHash {
    let mut hasher = Sha256::new();
    hasher.update(b"ringfence sign-in session\0");
    hasher.update(secret.as_bytes());
    KeyHash(hasher.finalize().into())
}

impl Session {
    /// When it ends if it is not used again.
    pub fn ends_at(&self) -> i64 {
        self.last_used_at.saturating_add(self.idle_ms).min(self.expires_at)
    }
}

/// Which sessions an outside source ends.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Outside<'a> {
    pub source: &'a str,
    /// The session there; `None`: all of the user's.
    pub id: Option<&'a str>,
    /// The user there; `None`: whosever session it is.
    pub subject: Option<&'a str>,
}

/// The repository of sessions.
pub struct Sessions<'a>(pub(crate) &'a Store);

const COLUMNS: &str = "hash, id, user_id, org_id, tenant_id, source, outside_id, outside_subject, opened_at, \
                       last_used_at, idle_ms, expires_at, address, agent";

impl Sessions<'_> {
    /// Opens a session, and ends the one that it takes the place of, in one step. Of one user `most` are left: the oldest go.
    /// Those whose time is over are removed, whosever they are. `Missing` of "user" when there is no such user.
    pub async fn open(
        &self,
        session: &Session,
        replaces: Option<&KeyHash>,
        most: u32,
    ) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            let over = "DELETE FROM sessions WHERE ends_at <= $1 RETURNING hash";
            remove(tx, over, params![session.opened_at]).await?;
            if let Some(replaced) = replaces {
                remove(tx, "DELETE FROM sessions WHERE hash = $1 RETURNING hash", params![&replaced.0[..]]).await?;
            }
            insert(tx, session).await?;
            let surplus = format!(
                "DELETE FROM sessions WHERE user_id = $1 AND ordinal NOT IN (SELECT ordinal FROM sessions \
                 WHERE user_id = $1 ORDER BY ordinal DESC LIMIT {most}) RETURNING hash"
            );
            remove(tx, &surplus, params![&session.user]).await?;
            tx.announce(Change::Key(session.hash));
        })
    }

    /// The session behind a secret, unless its time is over.
    pub async fn find(&self, hash: &KeyHash, now_ms: i64) -> Result<Option<Session>, StoreError> {
        let select = format!("SELECT {COLUMNS} FROM sessions WHERE hash = $1 AND ends_at > $2");
        let rows = self.0.inner.database.query(&select, params![&hash.0[..], now_ms]).await?;
        rows.first().map(read).transpose()
    }

    /// The user's sessions whose time is not over, in order of opening.
    pub async fn list(&self, user: &UserId, now_ms: i64) -> Result<Vec<Session>, StoreError> {
        let select =
            format!("SELECT {COLUMNS} FROM sessions WHERE user_id = $1 AND ends_at > $2 ORDER BY ordinal");
        self.0.inner.database.query(&select, params![user, now_ms]).await?.iter().map(read).collect()
    }

    /// Says that it was used. One that has ended stays so, and a clock that stands behind another's changes nothing.
    pub async fn touch(&self, hash: &KeyHash, now_ms: i64) -> Result<(), StoreError> {
        transact!(self.0.inner.database, tx => {
            let update = "UPDATE sessions SET last_used_at = $2, ends_at = CASE WHEN $2 + idle_ms < expires_at \
                          THEN $2 + idle_ms ELSE expires_at END WHERE hash = $1 AND ends_at > $2 AND last_used_at < $2";
            tx.execute(update, params![&hash.0[..], now_ms]).await?;
        })
    }

    /// Ends the session behind a secret, and answers what it was.
    pub async fn end(&self, hash: &KeyHash) -> Result<Option<Session>, StoreError> {
        transact!(self.0.inner.database, tx => {
            let delete = format!("DELETE FROM sessions WHERE hash = $1 RETURNING {COLUMNS}");
            let ended = tx.query(&delete, params![&hash.0[..]]).await?;
            if !ended.is_empty() {
                tx.announce(Change::Key(*hash));
            }
            ended.first().map(read).transpose()?
        })
    }

    /// Ends the user's session of that id. Answers its digest, if there was one.
    pub async fn end_one(&self, user: &UserId, id: &str) -> Result<Option<KeyHash>, StoreError> {
        let delete = "DELETE FROM sessions WHERE user_id = $1 AND id = $2 RETURNING hash";
        let ended = transact!(self.0.inner.database, tx => { remove(tx, delete, params![user, id]).await? })?;
        Ok(ended.first().copied())
    }

    /// Ends all of the user's. Answers their digests.
    pub async fn end_all(&self, user: &UserId) -> Result<Vec<KeyHash>, StoreError> {
        let delete = "DELETE FROM sessions WHERE user_id = $1 RETURNING hash";
        transact!(self.0.inner.database, tx => { remove(tx, delete, params![user]).await? })
    }

    /// Ends those that an outside source ends. One that names neither a session nor a user ends none. Answers their digests.
    pub async fn end_outside(&self, outside: Outside<'_>) -> Result<Vec<KeyHash>, StoreError> {
        let Outside { source, id, subject } = outside;
        if id.is_none() && subject.is_none() {
            return Ok(Vec::new());
        }
        let mut delete = "DELETE FROM sessions WHERE source = $1".to_owned();
        let mut values = params![source];
        for (column, value) in [("outside_id", id), ("outside_subject", subject)] {
            if let Some(value) = value {
                values.push(value.into());
                let _ = write!(delete, " AND {column} = ${}", values.len());
            }
        }
        delete.push_str(" RETURNING hash");
        transact!(self.0.inner.database, tx => { remove(tx, &delete, values.clone()).await? })
    }
}

/// Runs a DELETE that returns digests, and tells that they are nobody's.
async fn remove(
    tx: &mut Transaction,
    delete: &str,
    values: Vec<crate::database::Value>,
) -> Result<Vec<KeyHash>, StoreError> {
    let rows = tx.query(delete, values).await?;
    let hashes: Vec<KeyHash> = rows.iter().map(|row| KeyHash::read(row, 0)).collect::<Result<_, _>>()?;
    for hash in &hashes {
        tx.announce(Change::Key(*hash));
    }
    Ok(hashes)
}

async fn insert(tx: &mut Transaction, session: &Session) -> Result<(), StoreError> {
    let insert = format!(
        "INSERT INTO sessions ({COLUMNS}, ends_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
    );
    let values = params![
        &session.hash.0[..],
        &session.id,
        &session.user,
        &session.org,
        &session.tenant,
        &session.source,
        session.outside_id.as_ref(),
        session.outside_subject.as_ref(),
        session.opened_at,
        session.last_used_at,
        session.idle_ms,
        session.expires_at,
        &session.address,
        &session.agent,
        session.ends_at(),
    ];
    let inserted = tx.execute(&insert, values).await;
    inserted.map(drop).map_err(|failure| failure.on_insert("session", "user"))
}

fn read(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        hash: KeyHash::read(row, 0)?,
        id: row.text(1)?.to_owned(),
        user: row.id(2)?,
        org: row.id(3)?,
        tenant: row.id(4)?,
        source: row.text(5)?.to_owned(),
        outside_id: row.optional_text(6)?.map(str::to_owned),
        outside_subject: row.optional_text(7)?.map(str::to_owned),
        opened_at: row.integer(8)?,
        last_used_at: row.integer(9)?,
        idle_ms: row.integer(10)?,
        expires_at: row.integer(11)?,
        address: row.text(12)?.to_owned(),
        agent: row.text(13)?.to_owned(),
    })
}
