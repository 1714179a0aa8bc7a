//! Reads what the credentials can see of a PostgreSQL database: a fixed number of queries, whatever its size.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ringfence_policy::{Catalog, Column, Constraint, Relation, RelationKind, Schema};
use tokio_postgres::{Client, Row};
use tokio_util::sync::CancellationToken;

use super::pool::{Pools, Wish};
use super::run::give_up;
use super::session::{Purpose, Tidy};
use super::transaction::{Failure, Transaction};
use crate::watchdog::Watchdog;
use crate::{SourceAddress, SourceError};

/// All of it is read in one transaction.
const READ: Tidy = Tidy { transaction: Transaction::ReadOnly, discard: false };
const LIMIT: Duration = Duration::from_mins(1);

/// Each relation with SELECT on it or on a column of it; of `information_schema` the nine that the API shows.
const RELATIONS: &str = "
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, d.description
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_description d ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND (n.nspname <> 'information_schema' AND left(n.nspname, 3) <> 'pg_'
    OR n.nspname = 'information_schema' AND c.relname IN ('check_constraints', 'columns', 'constraint_column_usage',
      'key_column_usage', 'referential_constraints', 'schemata', 'table_constraints', 'tables', 'views'))
  AND has_schema_privilege(n.oid, 'USAGE')
  AND (has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT'))
ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"";

/// The types as `information_schema.columns.data_type` gives them, but for the connection's own: those by their full name, so
/// that a cast to one can be told from a cast to another.
const COLUMNS: &str = "
SELECT a.attrelid, a.attname::text,
  CASE WHEN b.typelem <> 0 AND b.typlen = -1 THEN 'ARRAY'
       WHEN b.typnamespace = 'pg_catalog'::regnamespace THEN format_type(b.oid, NULL)
       ELSE (SELECT quote_ident(s.nspname) FROM pg_namespace s WHERE s.oid = b.typnamespace) || '.'
         || quote_ident(b.typname) END,
  NOT (a.attnotnull OR t.typtype = 'd' AND t.typnotnull), d.description
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_description d ON d.objoid = a.attrelid AND d.classoid = 'pg_class'::regclass AND d.objsubid = a.attnum
WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped
  AND (has_table_privilege(a.attrelid, 'SELECT') OR has_column_privilege(a.attrelid, a.attnum, 'SELECT'))
ORDER BY a.attrelid, a.attnum";

const CONSTRAINTS: &str = "
SELECT k.conrelid, k.contype::text,
  ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(attnum, place)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum ORDER BY u.place),
  n.nspname::text, c.relname::text,
  ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(attnum, place)
        JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum ORDER BY u.place)
FROM pg_constraint k
LEFT JOIN pg_class c ON c.oid = k.confrelid
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.conrelid = ANY ($1) AND k.contype IN ('p', 'u', 'f')
ORDER BY k.conrelid, k.contype = 'p' DESC, k.conname";

/// Unique indexes beside the constraints, with the columns that they name: those of expressions and of conditions tell of
/// rows as well. An index over expressions alone has no columns.
const UNIQUE_INDEXES: &str = "
SELECT i.indrelid,
  ARRAY(SELECT DISTINCT a.attname::text FROM pg_attribute a
        WHERE a.attrelid = i.indrelid AND a.attnum > 0
          AND (a.attnum = ANY (i.indkey::int2[])
            OR a.attnum IN (SELECT d.refobjsubid FROM pg_depend d
                            WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                              AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid
                              AND i.indexprs IS NOT NULL))
        ORDER BY 1)
FROM pg_index i
WHERE i.indrelid = ANY ($1) AND i.indisunique AND i.indislive
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u'))
ORDER BY i.indrelid, i.indexrelid";

pub(super) async fn introspect(
    pools: &Arc<Pools>,
    closing: CancellationToken,
    address: &SourceAddress,
    progress: &(dyn Fn(&str, usize, usize) + Send + Sync),
) -> Result<Catalog, SourceError> {
    let mut lease = pools.lease(address, Purpose::Open, Wish::Warm).await?;
    let session = lease.session()?;
    session.in_flight = true;
    let mut watchdog = Watchdog::new(LIMIT, CancellationToken::new(), closing);
    match watchdog.guard(read(&session.client, progress)).await {
        Ok(Ok(catalog)) => {
            lease.give_back(READ);
            Ok(catalog)
        }
        Ok(Err(error)) => Err(give_up(lease, &Failure::Database(error), READ, false)),
        Err(stop) => {
            lease.stop().await;
            Err(stop)
        }
    }
}

async fn read(
    client: &Client,
    progress: &(dyn Fn(&str, usize, usize) + Send + Sync),
) -> Result<Catalog, tokio_postgres::Error> {
    // One snapshot for all queries, and names that nobody's schema can shadow.
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog")
        .await?;
    let database: String = client.query_one("SELECT current_database()::text", &[]).await?.try_get(0)?;
    let relations = client.query(RELATIONS, &[]).await?;
    let all = relations.len();
    progress("", 0, all);
    let oids = relations.iter().map(|row| row.try_get(0)).collect::<Result<Vec<u32>, _>>()?;
    let mut columns = columns(&client.query(COLUMNS, &[&oids]).await?)?;
    let mut constraints = constraints(&client.query(CONSTRAINTS, &[&oids]).await?)?;
    let mut indexes: HashMap<u32, Vec<Vec<String>>> = HashMap::new();
    for row in client.query(UNIQUE_INDEXES, &[&oids]).await? {
        indexes.entry(row.try_get(0)?).or_default().push(row.try_get(1)?);
    }
    let mut schemas: Vec<Schema> = Vec::new();
    for (done, (row, oid)) in relations.iter().zip(oids).enumerate() {
        let schema: &str = row.try_get(1)?;
        if schemas.last().is_none_or(|last| last.name != schema) {
            if let Some(last) = schemas.last() {
                progress(&last.name, done, all);
            }
            schemas.push(Schema { name: schema.to_owned(), relations: Vec::new() });
        }
        let columns = columns.remove(&oid).unwrap_or_default();
        let mut constraints = constraints.remove(&oid).unwrap_or_default();
        // A key with a column that can't be seen is not seen either.
        constraints.retain(|constraint| {
            own_columns(constraint).iter().all(|name| columns.iter().any(|it| it.name == *name))
        });
        let mut unique_indexes = indexes.remove(&oid).unwrap_or_default();
        unique_indexes
            .retain(|names| names.iter().all(|name| columns.iter().any(|column| column.name == *name)));
        let relation = Relation {
            name: row.try_get(2)?,
            kind: kind(row.try_get(3)?),
            comment: row.try_get(4)?,
            columns,
            constraints,
            unique_indexes,
            ddl: None,
        };
        if let Some(schema) = schemas.last_mut() {
            schema.relations.push(relation);
        }
    }
    if let Some(last) = schemas.last() {
        progress(&last.name, all, all);
    }
    Ok(Catalog { database, schemas })
}

fn columns(rows: &[Row]) -> Result<HashMap<u32, Vec<Column>>, tokio_postgres::Error> {
    let mut columns: HashMap<u32, Vec<Column>> = HashMap::new();
    for row in rows {
        columns.entry(row.try_get(0)?).or_default().push(Column {
            name: row.try_get(1)?,
            data_type: row.try_get(2)?,
            nullable: row.try_get(3)?,
            comment: row.try_get(4)?,
            sample_values: None,
        });
    }
    Ok(columns)
}

fn constraints(rows: &[Row]) -> Result<HashMap<u32, Vec<Constraint>>, tokio_postgres::Error> {
    let mut constraints: HashMap<u32, Vec<Constraint>> = HashMap::new();
    for row in rows {
        let columns: Vec<String> = row.try_get(2)?;
        let constraint = match row.try_get(1)? {
            "p" => Constraint::Primary { columns },
            "u" => Constraint::Unique { columns },
            _ => Constraint::Foreign {
                columns,
                target_schema: row.try_get::<_, Option<String>>(3)?.unwrap_or_default(),
                target_relation: row.try_get::<_, Option<String>>(4)?.unwrap_or_default(),
                target_columns: row.try_get(5)?,
            },
        };
        constraints.entry(row.try_get(0)?).or_default().push(constraint);
    }
    Ok(constraints)
}

fn own_columns(constraint: &Constraint) -> &[String] {
    match constraint {
        Constraint::Primary { columns }
        | Constraint::Unique { columns }
        | Constraint::Foreign { columns, .. } => columns,
    }
}

fn kind(relkind: &str) -> RelationKind {
    match relkind {
        "p" => RelationKind::PartitionedTable,
        "v" => RelationKind::View,
        "m" => RelationKind::MaterializedView,
        "f" => RelationKind::ForeignTable,
        _ => RelationKind::Table,
    }
}
