//! Retention: the oldest records go, and what is left of them proves that nothing else did.
//!
//! What goes is always the beginning of the chain. How many records that was so far, and the MAC of the last of them,
//! are kept under a MAC of their own: the first record that is left follows that MAC.

use hmac::Mac as _;

use super::{AuditLog, FIRST_MAC, Head, HmacSha256, PAGE, PAGE_RECORDS, Walk, keyed};
use crate::StoreError;
use crate::database::{Row, Value, params, transact};

/// The beginning of the chain that retention removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// How many records are gone: the chain begins with the next one.
    pub records: i64,
    /// The MAC of the last of them.
    pub(super) last_mac: Vec<u8>,
    mac: Vec<u8>,
}

impl AuditLog<'_> {
    /// What retention removed; `None` when the chain is whole. Not verified: see [`AuditLog::verify`].
    pub async fn cut(&self) -> Result<Option<Cut>, StoreError> {
        Ok(self.stored_cut().await?.filter(|cut| cut.records > 0))
    }

    pub(super) async fn stored_cut(&self) -> Result<Option<Cut>, StoreError> {
        let select = "SELECT records, last_mac, mac FROM audit_cut WHERE id = 1";
        let rows = self.0.inner.database.query(select, params![]).await?;
        rows.first().map(|row| Cut::read(row, 0)).transpose()
    }

    /// Removes records from the beginning of the chain while they are older than `before_ms`, up to as many as go in one
    /// short transaction, and says how many they were: fewer than [`Self::PRUNED_AT_ONCE`] when it came to an end.
    ///
    /// Each is verified first: what was tampered with is evidence, and stays. Several nodes may do it at once.
    pub async fn prune(&self, before_ms: i64) -> Result<i64, StoreError> {
        let key = &self.0.inner.audit_key;
        transact!(self.0.inner.database, tx => {
            let first = Cut::sealed(key, 0, FIRST_MAC.to_vec());
            let insert = "INSERT INTO audit_cut (id, records, last_mac, mac) VALUES (1, $1, $2, $3) ON CONFLICT (id) DO NOTHING";
            tx.execute(insert, first.values()).await?;
            let rows = tx.query("SELECT records, last_mac, mac FROM audit_cut WHERE id = 1 FOR UPDATE", params![]).await?;
            let cut = rows.first().map(|row| Cut::read(row, 0)).transpose()?.filter(|cut| cut.holds(key));
            let rows = tx.query("SELECT records, last_mac, mac FROM audit_head WHERE id = 1", params![]).await?;
            let head = rows.first().map(Head::read).transpose()?.filter(|head| head.holds(key));
            let (Some(cut), Some(head)) = (cut, head) else { return Err(tampered()) };
            let before = cut.records;
            // From the very beginning, so that what was put in before it is found too.
            let rows = tx.query(PAGE, params![i64::MIN, head.records, PAGE_RECORDS]).await?;
            let mut walk = Walk::from(Some(cut));
            for row in &rows {
                // INVARIANT: what does not hold is never removed. Held by the test `what_was_tampered_with_is_not_pruned`.
                let place = walk.check(key, row, true).map_err(|_| tampered())?;
                if row.integer(3)? >= before_ms {
                    break;
                }
                (walk.records, walk.mac) = place;
            }
            let removed = walk.records - before;
            if removed > 0 {
                // The order matters: the database lets go only of what the cut counts.
                let cut = Cut::sealed(key, walk.records, walk.mac);
                let update = "UPDATE audit_cut SET records = $1, last_mac = $2, mac = $3 WHERE id = 1";
                tx.execute(update, cut.values()).await?;
                tx.execute("DELETE FROM audit WHERE sequence <= $1", params![cut.records]).await?;
            }
            removed
        })
    }

    /// Records that [`Self::prune`] removes at most.
    pub const PRUNED_AT_ONCE: i64 = PAGE_RECORDS;
}

impl Cut {
    fn sealed(key: &[u8], records: i64, last_mac: Vec<u8>) -> Self {
        let mac = cut_mac(key, records, &last_mac).finalize().into_bytes().to_vec();
        Self { records, last_mac, mac }
    }

    pub(super) fn read(row: &Row, at: usize) -> Result<Self, StoreError> {
        let (last_mac, mac) = (row.blob(at + 1)?.to_vec(), row.blob(at + 2)?.to_vec());
        Ok(Self { records: row.integer(at)?, last_mac, mac })
    }

    pub(super) fn holds(&self, key: &[u8]) -> bool {
        cut_mac(key, self.records, &self.last_mac).verify_slice(&self.mac).is_ok()
    }

    fn values(&self) -> Vec<Value> {
        params![self.records, &self.last_mac[..], &self.mac[..]]
    }
}

fn cut_mac(key: &[u8], records: i64, last_mac: &[u8]) -> HmacSha256 {
    keyed(key).chain_update(b"cut").chain_update(records.to_be_bytes()).chain_update(last_mac)
}

fn tampered() -> StoreError {
    StoreError::Corrupt(
        "the audit log's oldest records are not as they were written, and nothing was removed: verify the audit log"
            .to_owned(),
    )
}
