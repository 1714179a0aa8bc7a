//! Retention: records of the audit log that are older than the configuration wants them go, a few at a time.

use std::sync::Weak;
use std::time::Duration;

use ringfence_store::StoreError;
use ringfence_store::audit::{AuditLog, AuditRecord};
use tokio::time::sleep;

use crate::call::now_ms;
use crate::{Gateway, Shared};

/// How often old records are looked for.
const EVERY: Duration = Duration::from_hours(1);
/// Between two transactions, so that those who write records are not kept waiting.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks for old records now and every hour. Nodes do not get into each other's way: the one that comes second finds
/// nothing left.
pub(crate) fn start(gateway: &Gateway) {
    let Some(retention) = gateway.shared.config.audit_retention else { return };
    let (stopped, shared) = (gateway.shared.stopped.clone(), std::sync::Arc::downgrade(&gateway.shared));
    tokio::spawn(stopped.run_until_cancelled_owned(keep(retention, shared)));
}

async fn keep(retention: Duration, shared: Weak<Shared>) {
    loop {
        {
            let Some(shared) = shared.upgrade() else { return };
            if let Err(error) = prune(&shared, retention).await {
                tracing::error!(error = %error, "the audit log's old records can't be removed");
            }
        }
        sleep(EVERY).await;
    }
}

/// Removes what is older than `retention`, and leaves a record of that.
async fn prune(shared: &Shared, retention: Duration) -> Result<(), StoreError> {
    let before = now_ms().saturating_sub(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX));
    let log = shared.store.audit();
    let mut removed = 0;
    loop {
        let batch = log.prune(before).await?;
        removed += batch;
        if batch < AuditLog::PRUNED_AT_ONCE {
            break;
        }
        sleep(PAUSE).await;
    }
    if removed > 0 {
        let up_to = log.cut().await?.map_or(0, |cut| cut.records);
        metrics::counter!("ringfence_audit_records_pruned_total").increment(removed.unsigned_abs());
        tracing::info!(
            audit.removed = removed,
            audit.up_to = up_to,
            "old records of the audit log were removed"
        );
        shared.audit.write_detached(AuditRecord {
            at_ms: now_ms(),
            door: "server".to_owned(),
            action: "prune-audit".to_owned(),
            object: Some(format!("up to record {up_to}")),
            rows: Some(removed),
            decision: "allowed".to_owned(),
            ..AuditRecord::default()
        });
    }
    Ok(())
}
