//! Reads what a SQLite file holds.

use std::path::Path;

use ringfence_policy::{Catalog, Column, Constraint, Relation, RelationKind, Schema};
use rusqlite::{Connection, Result};

use super::run::Stops;
use super::{failure, fence, place};
use crate::{EngineLimits, SourceError};

const RELATIONS: &str = "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
/// Hidden columns (1) are those of virtual tables; generated ones (2, 3) are ordinary to a reader.
const COLUMNS: &str =
    "SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid";
const FOREIGN: &str =
    "SELECT id, \"table\", \"from\", \"to\" FROM pragma_foreign_key_list(?1) ORDER BY id DESC, seq";
const UNIQUE: &str = "SELECT l.name, i.name FROM pragma_index_list(?1) AS l, pragma_index_info(l.name) AS i WHERE l.origin = ?2 AND l.\"unique\" ORDER BY l.seq DESC, i.seqno";

pub(super) fn introspect(
    path: &Path,
    limits: &EngineLimits,
    stops: &Stops,
) -> std::result::Result<Catalog, SourceError> {
    let connection = fence::open(path, limits, stops)?;
    let relations = relations(&connection).map_err(|error| failure::of(&error, stops, limits))?;
    let schemas =
        if relations.is_empty() { Vec::new() } else { vec![Schema { name: "main".to_owned(), relations }] };
    Ok(Catalog { database: place::database_name(path), schemas })
}

fn relations(connection: &Connection) -> Result<Vec<Relation>> {
    let mut statement = connection.prepare(RELATIONS)?;
    let named = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    named
        .map(|named| {
            let (name, kind): (String, String) = named?;
            if kind == "view" {
                // A view whose tables are gone has no columns; it is still there.
                let columns = columns(connection, &name).map(|(columns, _)| columns).unwrap_or_default();
                return Ok(relation(name, RelationKind::View, columns, Vec::new()));
            }
            let (columns, primary) = columns(connection, &name)?;
            let constraints = constraints(connection, &name, primary)?;
            let unique_indexes = unique(connection, &name, "c")?;
            let table = relation(name, RelationKind::Table, columns, constraints);
            Ok(Relation { unique_indexes, ..table })
        })
        .collect()
}

fn relation(
    name: String,
    kind: RelationKind,
    columns: Vec<Column>,
    constraints: Vec<Constraint>,
) -> Relation {
    Relation { name, kind, columns, constraints, ..Relation::default() }
}

/// The columns, and those of the primary key in its order.
fn columns(connection: &Connection, table: &str) -> Result<(Vec<Column>, Vec<String>)> {
    let mut statement = connection.prepare(COLUMNS)?;
    let mut rows = statement.query([table])?;
    let (mut columns, mut primary) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let place: i64 = row.get(3)?;
        if place > 0 {
            primary.push((place, name.clone()));
        }
        let nullable = !row.get::<_, bool>(2)?;
        columns.push(Column { name, data_type: row.get(1)?, nullable, ..Column::default() });
    }
    primary.sort();
    Ok((columns, primary.into_iter().map(|(_, name)| name).collect()))
}

fn constraints(connection: &Connection, table: &str, primary: Vec<String>) -> Result<Vec<Constraint>> {
    let mut constraints = Vec::new();
    if !primary.is_empty() {
        constraints.push(Constraint::Primary { columns: primary });
    }
    let unique = unique(connection, table, "u")?.into_iter();
    constraints.extend(unique.map(|columns| Constraint::Unique { columns }));
    constraints.extend(foreign(connection, table)?);
    Ok(constraints)
}

/// Columns of the unique indexes of that origin: `u` for those of constraints, `c` for those that were made for themselves.
/// An expression of an index has no name.
fn unique(connection: &Connection, table: &str, origin: &str) -> Result<Vec<Vec<String>>> {
    let mut statement = connection.prepare(UNIQUE)?;
    let mut rows = statement.query([table, origin])?;
    let mut unique: Vec<(String, Vec<String>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (index, column): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        match unique.last_mut() {
            Some((last, columns)) if *last == index => columns.extend(column),
            _ => unique.push((index, column.into_iter().collect())),
        }
    }
    Ok(unique.into_iter().map(|(_, columns)| columns).collect())
}

/// Its number, the table referred to, own columns, and theirs where the key names them.
type ForeignKey = (i64, String, Vec<String>, Vec<Option<String>>);

fn foreign(connection: &Connection, table: &str) -> Result<Vec<Constraint>> {
    let mut statement = connection.prepare(FOREIGN)?;
    let mut rows = statement.query([table])?;
    let mut keys: Vec<ForeignKey> = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, target, from, to) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        match keys.last_mut() {
            Some((last, _, columns, targets)) if *last == id => {
                columns.push(from);
                targets.push(to);
            }
            _ => keys.push((id, target, vec![from], vec![to])),
        }
    }
    let key = |(_, target_relation, columns, targets): ForeignKey| {
        // A reference without columns means the target's primary key.
        let target_columns = match targets.into_iter().collect::<Option<Vec<String>>>() {
            Some(named) => named,
            None => self::columns(connection, &target_relation)?.1,
        };
        Ok(Constraint::Foreign { columns, target_schema: "main".to_owned(), target_relation, target_columns })
    };
    keys.into_iter().map(key).collect()
}
