//! Reads what a database holds, from its `information_schema`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use ringfence_policy::{Catalog, Column, Constraint, Relation, RelationKind, Schema};
use tokio_util::sync::CancellationToken;

use super::connect::Purpose;
use super::failure;
use super::pool::Pools;
use crate::watchdog::Watchdog;
use crate::{SourceAddress, SourceError};

/// Reading a catalog takes no longer.
const LIMIT: Duration = Duration::from_mins(5);

/// Sequences of MariaDB are no relations to read, and a view's comment is its kind.
const RELATIONS: &str = "SELECT t.table_name, t.table_type, IF(t.table_type = 'VIEW', '', t.table_comment), \
         COALESCE((SELECT e.transactions = 'YES' FROM information_schema.engines AS e WHERE e.engine = t.engine), 0) \
     FROM information_schema.tables AS t WHERE t.table_schema = DATABASE() AND t.table_type <> 'SEQUENCE' \
     ORDER BY t.table_name";
const COLUMNS: &str = "SELECT table_name, column_name, column_type, is_nullable = 'YES', column_comment \
     FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position";
const KEYS: &str = "SELECT t.table_name, t.constraint_type, t.constraint_name, k.column_name, \
         k.referenced_table_schema, k.referenced_table_name, k.referenced_column_name \
     FROM information_schema.table_constraints AS t \
     JOIN information_schema.key_column_usage AS k ON k.constraint_schema = t.constraint_schema \
         AND k.constraint_name = t.constraint_name AND k.table_schema = t.table_schema \
         AND k.table_name = t.table_name \
     WHERE t.table_schema = DATABASE() AND t.constraint_type IN ('PRIMARY KEY', 'UNIQUE', 'FOREIGN KEY') \
     ORDER BY t.table_name, t.constraint_type = 'PRIMARY KEY' DESC, t.constraint_type = 'UNIQUE' DESC, \
         t.constraint_name, k.ordinal_position";

type KeyRow = (String, String, String, String, Option<String>, Option<String>, Option<String>);

pub(super) async fn introspect(
    pools: &Arc<Pools>,
    closing: CancellationToken,
    address: &SourceAddress,
    progress: &(dyn Fn(&str, usize, usize) + Send + Sync),
) -> Result<Catalog, SourceError> {
    let database = address.database.as_str();
    let mut lease = pools.lease(address, Purpose::Fenced).await?;
    let mut watchdog = Watchdog::new(LIMIT, CancellationToken::new(), closing);
    progress(database, 0, 0);
    let reading = relations(lease.conn()?);
    match watchdog.guard(reading).await {
        Ok(Ok(relations)) => {
            lease.give_back();
            progress(database, relations.len(), relations.len());
            let schema = Schema { name: database.to_owned(), relations };
            let schemas = if schema.relations.is_empty() { Vec::new() } else { vec![schema] };
            Ok(Catalog { database: database.to_owned(), schemas })
        }
        Ok(Err(error)) => {
            lease.close();
            Err(failure::of_statement(&error, &pools.connector.limits))
        }
        Err(stop) => {
            lease.stop().await;
            Err(stop)
        }
    }
}

async fn relations(conn: &mut Conn) -> mysql_async::Result<Vec<Relation>> {
    let named: Vec<(String, String, Option<String>, bool)> = conn.exec(RELATIONS, ()).await?;
    let mut columns: HashMap<String, Vec<Column>> = HashMap::new();
    let described: Vec<(String, String, String, bool, Option<String>)> = conn.exec(COLUMNS, ()).await?;
    for (relation, name, data_type, nullable, comment) in described {
        let comment = comment.filter(|comment| !comment.is_empty());
        let column = Column { name, data_type, nullable, comment, ..Column::default() };
        columns.entry(relation).or_default().push(column);
    }
    let mut constraints = constraints(conn.exec(KEYS, ()).await?);
    let relation = |(name, kind, comment, undone): (String, String, Option<String>, bool)| Relation {
        lasting: !undone && !kind.contains("VIEW"),
        kind: if kind.contains("VIEW") { RelationKind::View } else { RelationKind::Table },
        comment: comment.filter(|comment| !comment.is_empty()),
        columns: columns.remove(&name).unwrap_or_default(),
        constraints: constraints.remove(&name).unwrap_or_default(),
        name,
        ..Relation::default()
    };
    Ok(named.into_iter().map(relation).collect())
}

/// One row for each column of each key, in order.
fn constraints(rows: Vec<KeyRow>) -> HashMap<String, Vec<Constraint>> {
    let mut found: HashMap<String, Vec<Constraint>> = HashMap::new();
    let mut last = None;
    for (relation, kind, name, column, schema, target, target_column) in rows {
        let own = found.entry(relation.clone()).or_default();
        let current = Some((relation, kind.clone(), name));
        if current != last {
            own.push(match kind.as_str() {
                "PRIMARY KEY" => Constraint::Primary { columns: Vec::new() },
                "UNIQUE" => Constraint::Unique { columns: Vec::new() },
                _ => Constraint::Foreign {
                    columns: Vec::new(),
                    target_schema: schema.unwrap_or_default(),
                    target_relation: target.unwrap_or_default(),
                    target_columns: Vec::new(),
                },
            });
            last = current;
        }
        match own.last_mut() {
            Some(Constraint::Primary { columns } | Constraint::Unique { columns }) => columns.push(column),
            Some(Constraint::Foreign { columns, target_columns, .. }) => {
                columns.push(column);
                target_columns.extend(target_column);
            }
            None => {}
        }
    }
    found
}
