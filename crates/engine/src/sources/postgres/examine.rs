//! Asks PostgreSQL what the connection's user may do: one question, read-only.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::pool::{Pools, Wish};
use super::run::give_up;
use super::session::{Purpose, Tidy};
use super::transaction::{Failure, Transaction};
use crate::examined::Examined;
use crate::watchdog::Watchdog;
use crate::{SourceAddress, SourceError};

const READ: Tidy = Tidy { transaction: Transaction::ReadOnly, discard: false };
const LIMIT: Duration = Duration::from_secs(10);

const EXAMINE: &str = "
SELECT current_user::text, version(), current_setting('server_version_num')::int4,
  (extract(epoch FROM clock_timestamp()) * 1000)::int8,
  r.rolsuper, r.rolbypassrls, r.rolcreaterole OR r.rolcreatedb,
  ARRAY(SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relowner = r.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND left(n.nspname, 3) <> 'pg_' ORDER BY 1 LIMIT 10),
  (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relowner = r.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND left(n.nspname, 3) <> 'pg_'),
  ARRAY(SELECT n.nspname::text FROM pg_namespace n
        WHERE left(n.nspname, 3) <> 'pg_' AND has_schema_privilege(n.oid, 'CREATE') ORDER BY 1 LIMIT 10),
  ARRAY(SELECT DISTINCT p.proname::text FROM pg_proc p
        WHERE (p.proname IN ('pg_read_file', 'pg_read_binary_file', 'pg_ls_dir', 'pg_stat_file', 'lo_import', 'lo_export',
                 'pg_reload_conf', 'pg_rotate_logfile', 'pg_switch_wal', 'pg_create_restore_point', 'pg_file_write')
               OR p.proname LIKE 'dblink%' AND p.proname IN ('dblink', 'dblink_exec', 'dblink_connect'))
          AND has_function_privilege(p.oid, 'EXECUTE') ORDER BY 1 LIMIT 20),
  ARRAY(SELECT g.rolname::text FROM pg_roles g
        WHERE g.rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program', 'pg_read_all_data',
            'pg_write_all_data', 'pg_signal_backend', 'pg_checkpoint')
          AND pg_has_role(g.oid, 'MEMBER') AND NOT r.rolsuper ORDER BY 1),
  ARRAY(SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'f') AND left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema' AND c.relowner <> r.oid
          AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') ORDER BY 1 LIMIT 10)
FROM pg_roles r WHERE r.rolname = current_user";

pub(super) async fn examine(
    pools: &Arc<Pools>,
    closing: CancellationToken,
    address: &SourceAddress,
) -> Result<Examined, SourceError> {
    let mut lease = pools.lease(address, Purpose::Open, Wish::Warm).await?;
    let session = lease.session()?;
    session.in_flight = true;
    let mut watchdog = Watchdog::new(LIMIT, CancellationToken::new(), closing);
    match watchdog.guard(read(&session.client)).await {
        Ok(Ok(examined)) => {
            lease.give_back(READ);
            Ok(examined)
        }
        Ok(Err(error)) => Err(give_up(lease, &Failure::Database(error), READ, false)),
        Err(stop) => {
            lease.stop().await;
            Err(stop)
        }
    }
}

async fn read(client: &Client) -> Result<Examined, tokio_postgres::Error> {
    client.batch_execute("BEGIN READ ONLY; SET LOCAL search_path = pg_catalog").await?;
    let row = client.query_one(EXAMINE, &[]).await?;
    let theirs: i64 = row.try_get(3)?;
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let ours = i64::try_from(ours).unwrap_or(i64::MAX);
    Ok(Examined {
        role: row.try_get(0)?,
        version: row.try_get(1)?,
        version_number: row.try_get(2)?,
        clock_ahead_ms: theirs.saturating_sub(ours),
        is_superuser: row.try_get(4)?,
        bypasses_row_security: row.try_get(5)?,
        makes_roles: row.try_get(6)?,
        owns: row.try_get(7)?,
        owned: row.try_get(8)?,
        creates_in: row.try_get(9)?,
        dangerous_functions: row.try_get(10)?,
        dangerous_roles: row.try_get(11)?,
        writes: row.try_get(12)?,
    })
}
