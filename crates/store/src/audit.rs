//! The audit log: append-only and chained. Each record's MAC covers the one before it, under a key that is itself
//! sealed, and the chain's head (count and last MAC) is kept in the same transaction: a changed, removed, inserted
//! or cut-off record shows.

mod cursor;
mod cut;
mod filter;
mod record;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::database::{Row, Transaction, Value, params, to_json, transact};
use crate::{Store, StoreError};

pub use cut::Cut;
pub use filter::AuditFilter;
pub use record::{AuditRecord, RowChange};

/// A record with its place in the chain, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ChainedRecord {
    pub sequence: i64,
    #[serde(flatten)]
    pub record: AuditRecord,
}

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainVerdict {
    /// Every record is as it was written.
    Intact {
        /// How many records there are; [`AuditLog::cut`] says how many there were before them.
        records: i64,
    },
    /// The chain does not hold from this place on.
    Broken {
        /// The first place that does not hold.
        sequence: i64,
        /// What is wrong there, such as "record was changed".
        reason: String,
    },
}

/// The audit log.
pub struct AuditLog<'a>(pub(crate) &'a Store);

impl AuditLog<'_> {
    /// Appends in one transaction; durable when it returns. Safe when several nodes append at once.
    pub async fn append(&self, records: &[AuditRecord]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let key = &self.0.inner.audit_key;
        transact!(self.0.inner.database, tx => {
            let rows = tx.query("SELECT records, last_mac, mac FROM audit_head WHERE id = 1 FOR UPDATE", params![]);
            let rows = rows.await?;
            // INVARIANT: a head that was tampered with is never continued, which would make it good again
            // (test `a_tampered_head_takes_no_more_records`).
            let head = rows.first().map(Head::read).transpose()?.filter(|head| head.holds(key));
            let Some(mut head) = head else {
                return Err(StoreError::Corrupt("the audit log's head was changed: verify the audit log".to_owned()));
            };
            let keyed = keyed(key);
            let mut rows = Vec::with_capacity(records.len());
            for record in records {
                rows.push(chain(&keyed, &mut head, record)?);
            }
            head.seal(key);
            let insert = "INSERT INTO audit (sequence, record, mac, at_ms, trace_id, door, action, user_id, tenant_id, \
                          org_id, connection, decision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
            tx.execute_each(insert, rows).await?;
            let update = "UPDATE audit_head SET records = $1, last_mac = $2, mac = $3 WHERE id = 1";
            tx.execute(update, head.values()).await?;
        })
    }

    /// Up to `limit` matching records in chain order, or the other way round.
    pub async fn list(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<ChainedRecord>, StoreError> {
        let (condition, mut values) = filter.condition(self.0.inner.database.dialect());
        values.push(limit.into());
        let order = if filter.newest_first { "DESC" } else { "ASC" };
        let select = format!(
            "SELECT sequence, record FROM audit {condition} ORDER BY sequence {order} LIMIT ${}",
            values.len()
        );
        let rows = self.0.inner.database.query(&select, values).await?;
        rows.iter().map(|row| Ok(ChainedRecord { sequence: row.integer(0)?, record: row.json(1)? })).collect()
    }

    /// Walks the whole chain in pages, telling `progress` how many records are done of how many. Where its beginning was
    /// cut off by retention, from there on.
    ///
    /// What it can't see: someone who can write to the database, and who puts back an older head after removing all
    /// records since. Only a copy of the head kept elsewhere shows that.
    pub async fn verify(&self, progress: &(dyn Fn(i64, i64) + Sync)) -> Result<ChainVerdict, StoreError> {
        let mut cut = self.stored_cut().await?;
        loop {
            let verdict = self.verify_once(progress).await?;
            // Retention may have removed what was about to be read: then there is another beginning.
            let now = self.stored_cut().await?;
            if matches!(verdict, ChainVerdict::Intact { .. }) || now == cut {
                return Ok(verdict);
            }
            cut = now;
        }
    }

    async fn verify_once(&self, progress: &(dyn Fn(i64, i64) + Sync)) -> Result<ChainVerdict, StoreError> {
        let (database, key) = (&self.0.inner.database, &self.0.inner.audit_key);
        // One statement, so that all of it is of the same moment while others append.
        let select = "SELECT h.records, h.last_mac, h.mac, m.last, c.records, c.last_mac, c.mac FROM \
                      (SELECT COALESCE(MAX(sequence), 0) AS last FROM audit) m \
                      LEFT JOIN audit_head h ON h.id = 1 LEFT JOIN audit_cut c ON c.id = 1";
        let rows = database.query(select, params![]).await?;
        let row =
            rows.first().ok_or_else(|| StoreError::Corrupt("the audit log can't be read".to_owned()))?;
        let last = row.integer(3)?;
        let head = if row.optional_integer(0)?.is_some() { Some(Head::read(row)?) } else { None };
        let cut = if row.optional_integer(4)?.is_some() { Some(Cut::read(row, 4)?) } else { None };
        if cut.as_ref().is_some_and(|cut| !cut.holds(key)) {
            let reason = "the note of what retention removed was changed".to_owned();
            return Ok(ChainVerdict::Broken { sequence: 1, reason });
        }
        let mut walk = Walk::from(cut);
        let mut after = i64::MIN;
        loop {
            let page = database.query(PAGE, params![after, last, PAGE_RECORDS]).await?;
            let Some(row) = page.last() else { break };
            after = row.integer(0)?;
            for row in &page {
                let is_known = head.as_ref().is_none_or(|head| walk.records < head.records);
                if let Err(reason) = walk.step(key, row, is_known) {
                    let sequence = row.integer(0)?.min(walk.records + 1);
                    return Ok(ChainVerdict::Broken { sequence, reason: reason.to_owned() });
                }
            }
            progress(walk.records, last);
        }
        Ok(walk.end(key, head.as_ref()))
    }
}

const PAGE_RECORDS: i64 = 1000;
const PAGE: &str = "SELECT sequence, record, mac, at_ms, trace_id, door, action, user_id, tenant_id, org_id, connection, \
                    decision FROM audit WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence LIMIT $3";

/// What stands before the first record.
const FIRST_MAC: [u8; 32] = [0; 32];

/// Makes the head of an empty chain.
pub(crate) async fn begin_chain(tx: &mut Transaction, key: &[u8]) -> Result<(), StoreError> {
    let mut head = Head { records: 0, last_mac: FIRST_MAC.to_vec(), mac: Vec::new() };
    head.seal(key);
    let insert = "INSERT INTO audit_head (id, records, last_mac, mac) VALUES (1, $1, $2, $3)";
    tx.execute(insert, head.values()).await?;
    Ok(())
}

/// The record's row, one further in the chain.
fn chain(keyed: &HmacSha256, head: &mut Head, record: &AuditRecord) -> Result<Vec<Value>, StoreError> {
    head.records += 1;
    let text = to_json(record)?;
    let mac = record_mac(keyed.clone(), &head.last_mac, head.records, &text).finalize().into_bytes().to_vec();
    let mut values = params![head.records, text, &mac[..]];
    values.extend(searchable(record));
    head.last_mac = mac;
    Ok(values)
}

/// The columns beside the record, in the order of the statements above.
fn searchable(record: &AuditRecord) -> Vec<Value> {
    params![
        record.at_ms,
        &record.trace_id,
        &record.door,
        &record.action,
        record.user.as_ref(),
        record.tenant.as_ref(),
        record.org.as_ref(),
        record.connection.as_ref(),
        &record.decision,
    ]
}

/// The chain's head: how many records there are and the last one's MAC, under a MAC of its own.
struct Head {
    records: i64,
    last_mac: Vec<u8>,
    mac: Vec<u8>,
}

impl Head {
    fn seal(&mut self, key: &[u8]) {
        self.mac = head_mac(key, self.records, &self.last_mac).finalize().into_bytes().to_vec();
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { records: row.integer(0)?, last_mac: row.blob(1)?.to_vec(), mac: row.blob(2)?.to_vec() })
    }

    fn holds(&self, key: &[u8]) -> bool {
        head_mac(key, self.records, &self.last_mac).verify_slice(&self.mac).is_ok()
    }

    fn values(&self) -> Vec<Value> {
        params![self.records, &self.last_mac[..], &self.mac[..]]
    }
}

/// How far verification came: the records that hold, those that retention removed among them, and the MAC of the last.
struct Walk {
    cut: i64,
    records: i64,
    mac: Vec<u8>,
}

impl Walk {
    /// Begins where the chain does.
    fn from(cut: Option<Cut>) -> Self {
        match cut {
            Some(cut) => Self { cut: cut.records, records: cut.records, mac: cut.last_mac },
            None => Self { cut: 0, records: 0, mac: FIRST_MAC.to_vec() },
        }
    }

    /// Goes one record further; `is_known` when the head counts it.
    fn step(&mut self, key: &[u8], row: &Row, is_known: bool) -> Result<(), &'static str> {
        let (sequence, mac) = self.check(key, row, is_known)?;
        (self.records, self.mac) = (sequence, mac);
        Ok(())
    }

    /// Whether the row is the next record, as it was written; its place and its MAC.
    fn check(&self, key: &[u8], row: &Row, is_known: bool) -> Result<(i64, Vec<u8>), &'static str> {
        let (Ok(sequence), Ok(text), Ok(mac)) = (row.integer(0), row.text(1), row.blob(2)) else {
            return Err("record was changed");
        };
        let expected = self.records + 1;
        if sequence < expected || !is_known {
            return Err("record was inserted");
        }
        if sequence > expected {
            return Err("record was removed");
        }
        let holds = record_mac(keyed(key), &self.mac, sequence, text).verify_slice(mac).is_ok();
        let columns = row.0.get(3..).unwrap_or_default();
        let agrees = |record: AuditRecord| searchable(&record) == columns;
        if !holds || !serde_json::from_str(text).is_ok_and(agrees) {
            return Err("record was changed");
        }
        Ok((sequence, mac.to_vec()))
    }

    fn end(&self, key: &[u8], head: Option<&Head>) -> ChainVerdict {
        let reason = match head {
            None => "the chain's head was removed",
            Some(head) if !head.holds(key) => "the chain's head was changed",
            Some(head) if head.records > self.records => "record was removed",
            Some(head) if head.last_mac != self.mac => "the chain's head was changed",
            Some(_) => {
                return ChainVerdict::Intact { records: self.records - self.cut };
            }
        };
        ChainVerdict::Broken { sequence: self.records + 1, reason: reason.to_owned() }
    }
}

type HmacSha256 = Hmac<Sha256>;

/// `keyed` has taken in its key already: that is a part of the work which many records can share.
fn record_mac(keyed: HmacSha256, previous: &[u8], sequence: i64, record: &str) -> HmacSha256 {
    keyed
        .chain_update(b"record")
        .chain_update(previous)
        .chain_update(sequence.to_be_bytes())
        .chain_update(record)
}

fn head_mac(key: &[u8], records: i64, last_mac: &[u8]) -> HmacSha256 {
    keyed(key).chain_update(b"head").chain_update(records.to_be_bytes()).chain_update(last_mac)
}

/// HMAC fills a short key up with zeros to the block of its hash (RFC 2104, section 2); done here, nothing can fail.
fn keyed(key: &[u8]) -> HmacSha256 {
    let mut block = Zeroizing::new([0; 64]);
    for (filled, byte) in block.iter_mut().zip(key) {
        *filled = *byte;
    }
    HmacSha256::new((&*block).into())
}
