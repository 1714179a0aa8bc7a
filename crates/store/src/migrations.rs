//! The schema's history: numbered, forward-only steps, embedded in the binary and applied in one transaction.

use crate::StoreError;
use crate::database::{Database, Dialect, Transaction, params, transact};

/// A step: its text for both databases, then what only one of them understands.
struct Migration {
    common: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// Step n stands at place n - 1. A step that was released never changes.
const MIGRATIONS: &[Migration] = &[
    Migration {
        common: include_str!("migrations/0001_initial.sql"),
        sqlite: include_str!("migrations/0001_append_only.sqlite.sql"),
        postgres: include_str!("migrations/0001_append_only.postgres.sql"),
    },
    Migration {
        common: include_str!("migrations/0002_policies.sql"),
        sqlite: include_str!("migrations/0002_policies.sqlite.sql"),
        postgres: include_str!("migrations/0002_policies.postgres.sql"),
    },
    Migration { common: include_str!("migrations/0003_access_rules.sql"), sqlite: "", postgres: "" },
    Migration { common: include_str!("migrations/0004_policy_life.sql"), sqlite: "", postgres: "" },
    Migration { common: include_str!("migrations/0005_repeats.sql"), sqlite: "", postgres: "" },
    Migration {
        common: include_str!("migrations/0006_audit_retention.sql"),
        sqlite: include_str!("migrations/0006_audit_retention.sqlite.sql"),
        postgres: include_str!("migrations/0006_audit_retention.postgres.sql"),
    },
    Migration { common: include_str!("migrations/0007_approvals.sql"), sqlite: "", postgres: "" },
    Migration { common: include_str!("migrations/0008_acting.sql"), sqlite: "", postgres: "" },
    Migration { common: include_str!("migrations/0009_endpoints.sql"), sqlite: "", postgres: "" },
    Migration { common: include_str!("migrations/0010_sign_in.sql"), sqlite: "", postgres: "" },
    Migration { common: include_str!("migrations/0011_arrivals.sql"), sqlite: "", postgres: "" },
    Migration { common: include_str!("migrations/0012_suspended.sql"), sqlite: "", postgres: "" },
    Migration { common: include_str!("migrations/0013_restrictions.sql"), sqlite: "", postgres: "" },
];

/// Any number will do as long as it never changes: all nodes must ask for the same lock.
const LOCK: i64 = 0x5249_4e47;

/// Brings the schema up to date. Of several nodes that start at once, one does it and the others wait.
pub(crate) async fn migrate(database: &Database) -> Result<(), StoreError> {
    let dialect = database.dialect();
    transact!(database, tx => {
        if dialect == Dialect::Postgres {
            tx.query("SELECT pg_advisory_xact_lock($1)", params![LOCK]).await?;
        }
        apply(tx, dialect).await?;
    })
}

async fn apply(tx: &mut Transaction, dialect: Dialect) -> Result<(), StoreError> {
    tx.batch("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY)").await?;
    let rows = tx.query("SELECT COALESCE(MAX(version), 0) FROM schema_version", params![]).await?;
    let found = rows.first().map_or(Ok(0), |row| row.integer(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    for (version, migration) in (1..).zip(MIGRATIONS).skip_while(|(version, _)| *version <= found) {
        let (serial, blob, own) = match dialect {
            Dialect::Sqlite => ("INTEGER PRIMARY KEY AUTOINCREMENT", "BLOB", migration.sqlite),
            Dialect::Postgres => {
                ("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "BYTEA", migration.postgres)
            }
        };
        tx.batch(&migration.common.replace("{serial}", serial).replace("{blob}", blob)).await?;
        tx.batch(own).await?;
        tx.execute("INSERT INTO schema_version (version) VALUES ($1)", params![version]).await?;
    }
    Ok(())
}
