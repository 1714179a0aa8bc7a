//! Users' lists of connections.

use ringfence_policy::{ConnectionKey, ConnectionSpec, OrgId, UserId};
use secrecy::{ExposeSecret as _, SecretString};

use crate::changes::Change;
use crate::database::{Row, Transaction, params, to_json, transact};
use crate::sealing::{Sealer, password_place, sealer};
use crate::sources::{self, SourceId, SourceIdentity};
use crate::{Store, StoreError};

/// Whether the user's credentials were seen to work on the source. Until then the shared catalog is not theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Not tried yet.
    Pending,
    /// They worked.
    Proven,
    /// They did not, with the reason.
    Failed(String),
}

/// A connection on a user's list.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Connection {
    /// On whose list it stands.
    pub user: UserId,
    pub key: ConnectionKey,
    /// Without the password.
    pub spec: ConnectionSpec,
    pub password: Option<SecretString>,
    /// What it shares with connections of the same key and target in the organization.
    pub source: SourceId,
    pub proof: Proof,
}

/// A connection to be put on a list, with the source it belongs to (made when missing).
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ConnectionUpsert {
    pub key: ConnectionKey,
    pub spec: ConnectionSpec,
    pub password: Option<SecretString>,
    pub proof: Proof,
    pub org: OrgId,
    /// [`ConnectionSpec::target`].
    pub target: String,
    /// Whether the spec's filters become the source's. Always so for a source that is new.
    pub adopt_filters: bool,
    /// Whether indexing starts again: status `not-started`, one generation further. Always so for a source that is new.
    pub reindex: bool,
}

/// Changes to one user's list, all or nothing: removals first, then upserts in order, then the default.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ConnectionChanges {
    /// Unknown keys are no error. A source that nobody has any more is removed with its catalog and annotations.
    pub removed: Vec<ConnectionKey>,
    pub upserts: Vec<ConnectionUpsert>,
    /// Set, when given. It is dropped when its connection is removed.
    pub default: Option<ConnectionKey>,
}

/// The repository of connections.
pub struct Connections<'a>(pub(crate) &'a Store);

impl Connections<'_> {
    /// Applies the changes in one transaction; publishes a change per source. Answers the upserts' source ids in order.
    /// [`StoreError::Missing`] of "user" for an unknown user, of "connection" for a default that is not on the list.
    pub async fn apply(
        &self,
        user: &UserId,
        changes: ConnectionChanges,
    ) -> Result<Vec<SourceId>, StoreError> {
        transact!(self.0.inner.database, tx => {
            // One list changes in one transaction at a time.
            if tx.query("SELECT id FROM users WHERE id = $1 FOR UPDATE", params![user]).await?.is_empty() {
                return Err(StoreError::Missing { what: "user" });
            }
            let mut touched = Vec::new();
            for key in &changes.removed {
                let delete = "DELETE FROM connections WHERE user_id = $1 AND key = $2 RETURNING source_id";
                for row in tx.query(delete, params![user, key]).await? {
                    touched.push(SourceId(row.integer(0)?));
                }
            }
            let mut sources = Vec::with_capacity(changes.upserts.len());
            if !changes.upserts.is_empty() {
                let sealer = sealer(tx, &self.0.inner.keyring).await?;
                for upsert in &changes.upserts {
                    sources.push(put(tx, user, upsert, &sealer, &mut touched).await?);
                }
            }
            if let Some(key) = &changes.default {
                set_default(tx, user, key).await?;
            }
            // Asked only now: what is removed and added again in one go keeps its source.
            touched.sort_unstable();
            touched.dedup();
            for source in touched {
                sources::remove_if_unused(tx, source).await?;
                tx.announce(Change::Source(source));
            }
            sources
        })
    }

    /// The user's list, in the order of adding; an update keeps its place.
    pub async fn list(&self, user: &UserId) -> Result<Vec<Connection>, StoreError> {
        let select = format!("{SELECT} WHERE user_id = $1 ORDER BY ordinal");
        let rows = self.0.inner.database.query(&select, params![user]).await?;
        rows.iter().map(|row| self.read(row)).collect()
    }

    /// One of the user's list.
    pub async fn get(&self, user: &UserId, key: &ConnectionKey) -> Result<Option<Connection>, StoreError> {
        let select = format!("{SELECT} WHERE user_id = $1 AND key = $2");
        let rows = self.0.inner.database.query(&select, params![user, key]).await?;
        rows.first().map(|row| self.read(row)).transpose()
    }

    /// The user's default connection.
    pub async fn default_key(&self, user: &UserId) -> Result<Option<ConnectionKey>, StoreError> {
        let select = "SELECT key FROM default_connections WHERE user_id = $1";
        let rows = self.0.inner.database.query(select, params![user]).await?;
        rows.first().map(|row| row.id(0)).transpose()
    }

    /// Records the outcome of trying the credentials. Publishes a change of the source.
    pub async fn set_proof(
        &self,
        user: &UserId,
        key: &ConnectionKey,
        proof: &Proof,
    ) -> Result<(), StoreError> {
        let (proof, reason) = proof_columns(proof);
        transact!(self.0.inner.database, tx => {
            let update = "UPDATE connections SET proof = $3, proof_reason = $4 WHERE user_id = $1 AND key = $2 \
                          RETURNING source_id";
            let rows = tx.query(update, params![user, key, proof, reason]).await?;
            let row = rows.first().ok_or(StoreError::Missing { what: "connection" })?;
            tx.announce(Change::Source(SourceId(row.integer(0)?)));
        })
    }

    /// Everybody's connections to the source, proven ones first: whoever's credentials may index it.
    pub async fn of_source(&self, source: &SourceId) -> Result<Vec<Connection>, StoreError> {
        let select = format!(
            "{SELECT} WHERE source_id = $1 ORDER BY CASE proof WHEN 'proven' THEN 0 ELSE 1 END, ordinal"
        );
        let rows = self.0.inner.database.query(&select, params![source.0]).await?;
        rows.iter().map(|row| self.read(row)).collect()
    }

    fn read(&self, row: &Row) -> Result<Connection, StoreError> {
        let (user, key): (UserId, ConnectionKey) = (row.id(0)?, row.id(1)?);
        let place = password_place(user.as_str(), key.as_str());
        let sealed = row.optional_blob(3)?;
        let password = sealed.map(|sealed| self.0.inner.keyring.unseal_text(&place, sealed)).transpose()?;
        let proof = match row.text(5)? {
            "pending" => Proof::Pending,
            "proven" => Proof::Proven,
            "failed" => Proof::Failed(row.optional_text(6)?.unwrap_or_default().to_owned()),
            _ => {
                return Err(StoreError::Corrupt("a connection has a proof that is not known".to_owned()));
            }
        };
        Ok(Connection { spec: row.json(2)?, source: SourceId(row.integer(4)?), user, key, password, proof })
    }
}

const SELECT: &str = "SELECT user_id, key, spec, password, source_id, proof, proof_reason FROM connections";

async fn put(
    tx: &mut Transaction,
    user: &UserId,
    upsert: &ConnectionUpsert,
    sealer: &Sealer,
    touched: &mut Vec<SourceId>,
) -> Result<SourceId, StoreError> {
    let identity = SourceIdentity { org: &upsert.org, key: &upsert.key, target: &upsert.target };
    let (source, is_new) = sources::find_or_make(tx, &identity, &upsert.spec).await?;
    if !is_new && upsert.adopt_filters {
        sources::adopt_filters(tx, source, &upsert.spec).await?;
    }
    if !is_new && upsert.reindex {
        sources::next_generation(tx, source).await?;
    }
    let select = "SELECT source_id FROM connections WHERE user_id = $1 AND key = $2";
    for row in tx.query(select, params![user, &upsert.key]).await? {
        touched.push(SourceId(row.integer(0)?));
    }
    touched.push(source);
    let place = password_place(user.as_str(), upsert.key.as_str());
    let password =
        upsert.password.as_ref().map(|password| sealer.seal(&place, password.expose_secret().as_bytes()));
    let (proof, reason) = proof_columns(&upsert.proof);
    let write = "INSERT INTO connections (user_id, key, spec, password, source_id, proof, proof_reason) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (user_id, key) DO UPDATE SET \
                 spec = excluded.spec, password = excluded.password, source_id = excluded.source_id, \
                 proof = excluded.proof, proof_reason = excluded.proof_reason";
    let values =
        params![user, &upsert.key, to_json(&upsert.spec)?, password.transpose()?, source.0, proof, reason];
    tx.execute(write, values).await?;
    Ok(source)
}

async fn set_default(tx: &mut Transaction, user: &UserId, key: &ConnectionKey) -> Result<(), StoreError> {
    let upsert = "INSERT INTO default_connections (user_id, key) VALUES ($1, $2) \
                  ON CONFLICT (user_id) DO UPDATE SET key = excluded.key";
    let written = tx.execute(upsert, params![user, key]).await;
    written.map(drop).map_err(|failure| failure.reference_is_missing("connection"))
}

fn proof_columns(proof: &Proof) -> (&'static str, Option<&String>) {
    match proof {
        Proof::Pending => ("pending", None),
        Proof::Proven => ("proven", None),
        Proof::Failed(reason) => ("failed", Some(reason)),
    }
}
