//! Pushed catalogs: whole relations are added, replaced and removed, under a new generation each time.

use std::collections::HashSet;

use ringfence_policy::id::{MAX_ID_BYTES, check_name};
use ringfence_policy::{Catalog, ConnectionKind, Constraint, Permission, Relation, Schema};
use ringfence_store::connections::Connection;

use super::{ATTEMPTS, PushedRelation, RelationName, StoredName, check_description, notes_of};
use crate::catalog::find_relation;
use crate::indexing::completed;
use crate::{Call, Code, Gateway, Refused};

/// Relations of one pushed catalog.
const MAX_RELATIONS: usize = 20_000;
const MAX_COLUMNS: usize = 2_000;
const MAX_CONSTRAINTS: usize = 1_000;
/// The statement that makes a relation.
const MAX_DDL_BYTES: usize = 1024 * 1024;
/// The sample values of one column, as JSON.
const MAX_SAMPLE_BYTES: usize = 64 * 1024;

pub(super) async fn push(
    gateway: &Gateway,
    call: &Call,
    key: &str,
    updated: Vec<PushedRelation>,
    removed: &[RelationName],
) -> Result<Vec<StoredName>, Refused> {
    call.needs(Permission::WriteDatabases)?;
    let connection = gateway.connection_of(call, key).await?;
    if connection.spec.kind() != Ok(ConnectionKind::Push) {
        return Ok(Vec::new());
    }
    call.needs(Permission::PushDatabases)?;
    for pushed in &updated {
        check(pushed)?;
    }
    // In this order: a catalog that others see complete has its descriptions.
    describe(gateway, &connection, &updated).await?;
    replace(gateway, &connection, &updated, removed).await
}

/// Writes the catalog under a new generation. The catalog is read after the generation was taken, and only the newest
/// generation is written: of two pushes at once neither loses what the other brought.
async fn replace(
    gateway: &Gateway,
    connection: &Connection,
    updated: &[PushedRelation],
    removed: &[RelationName],
) -> Result<Vec<StoredName>, Refused> {
    let sources = gateway.shared.store.sources();
    let id = connection.source;
    for _ in 0..ATTEMPTS {
        let generation = sources.restart(id).await?;
        let mut catalog = match sources.catalog(id).await? {
            Some((_, catalog)) => catalog,
            None => Catalog {
                database: connection.spec.database_name().unwrap_or_default().to_owned(),
                schemas: Vec::new(),
            },
        };
        let Some(source) = sources.get(id).await? else {
            return Err(Refused::not_found("connection"));
        };
        let names = merge(&mut catalog, updated, removed);
        let fits = catalog.relation_count() <= MAX_RELATIONS;
        if !fits {
            // The status must not stay `not-started` because of a push that is refused.
            crate::indexing::complete_pushed(gateway, id).await?;
            return Err(Refused::invalid(format!(
                "too many tables: a pushed catalog holds at most {MAX_RELATIONS}"
            )));
        }
        if sources.complete(id, generation, &catalog, &completed(&source, &catalog)?).await? {
            gateway.shared.catalogs.forget(id);
            return Ok(names);
        }
    }
    Err(Refused::new(Code::Conflict, "the catalog is being changed by others: try again"))
}

fn merge(catalog: &mut Catalog, updated: &[PushedRelation], removed: &[RelationName]) -> Vec<StoredName> {
    let mut names: Vec<StoredName> = Vec::new();
    for pushed in updated {
        let name = (pushed.schema.clone(), pushed.relation.name.clone());
        let at =
            catalog.schemas.iter().position(|schema| schema.name == pushed.schema).unwrap_or_else(|| {
                catalog.schemas.push(Schema { name: pushed.schema.clone(), relations: Vec::new() });
                catalog.schemas.len() - 1
            });
        let relations = &mut catalog.schemas[at].relations;
        match relations.iter_mut().find(|relation| relation.name == pushed.relation.name) {
            Some(relation) => relation.clone_from(&pushed.relation),
            None => relations.push(pushed.relation.clone()),
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for name in removed {
        let found = find_relation(catalog, name.schema.as_deref(), &name.name);
        let Some((schema, relation)) =
            found.map(|(schema, relation)| (schema.name.clone(), relation.name.clone()))
        else {
            continue;
        };
        for in_schema in catalog.schemas.iter_mut().filter(|candidate| candidate.name == schema) {
            in_schema.relations.retain(|candidate| candidate.name != relation);
        }
        if !names.contains(&(schema.clone(), relation.clone())) {
            names.push((schema, relation));
        }
    }
    catalog.schemas.retain(|schema| !schema.relations.is_empty());
    catalog.schemas.sort_by(|one, other| one.name.cmp(&other.name));
    for schema in &mut catalog.schemas {
        schema.relations.sort_by(|one, other| one.name.cmp(&other.name));
    }
    names
}

async fn describe(
    gateway: &Gateway,
    connection: &Connection,
    updated: &[PushedRelation],
) -> Result<(), Refused> {
    gateway
        .annotate(connection, |annotations| {
            for pushed in updated {
                let notes = notes_of(annotations, &pushed.schema, &pushed.relation.name);
                notes.description = pushed.description.clone().filter(|text| !text.is_empty());
                let described = pushed.column_descriptions.iter().filter(|(_, text)| !text.is_empty());
                notes.columns = described.cloned().collect();
            }
        })
        .await
}

fn check(pushed: &PushedRelation) -> Result<(), Refused> {
    let relation = &pushed.relation;
    check_name("schema name", &pushed.schema, MAX_ID_BYTES)?;
    check_name("table name", &relation.name, MAX_ID_BYTES)?;
    check_count("columns", relation.columns.len().max(pushed.column_descriptions.len()), MAX_COLUMNS)?;
    check_count("constraints", relation.constraints.len(), MAX_CONSTRAINTS)?;
    check_description(pushed.description.as_deref().unwrap_or_default())?;
    check_description(relation.comment.as_deref().unwrap_or_default())?;
    check_size("ddl", relation.ddl.as_ref().map_or(0, String::len), MAX_DDL_BYTES)?;
    let mut names = HashSet::new();
    for column in &relation.columns {
        check_name("column name", &column.name, MAX_ID_BYTES)?;
        // Names that differ in case only are two columns in some products.
        if !names.insert(&column.name) {
            return Err(Refused::invalid("a table has two columns of the same name: name each once"));
        }
        check_name("column type", &column.data_type, MAX_ID_BYTES)?;
        check_description(column.comment.as_deref().unwrap_or_default())?;
        let samples = column.sample_values.as_ref().map_or(0, |values| values.to_string().len());
        check_size("sample_values", samples, MAX_SAMPLE_BYTES)?;
    }
    for (name, description) in &pushed.column_descriptions {
        check_name("column name", name, MAX_ID_BYTES)?;
        check_description(description)?;
    }
    check_constraints(relation)
}

fn check_constraints(relation: &Relation) -> Result<(), Refused> {
    for constraint in &relation.constraints {
        let names = match constraint {
            Constraint::Primary { columns } | Constraint::Unique { columns } => vec![columns],
            Constraint::Foreign { columns, target_schema, target_relation, target_columns } => {
                check_name("schema name", target_schema, MAX_ID_BYTES)?;
                check_name("table name", target_relation, MAX_ID_BYTES)?;
                vec![columns, target_columns]
            }
        };
        check_count("columns", names.iter().map(|names| names.len()).sum(), MAX_COLUMNS)?;
        for name in names.into_iter().flatten() {
            check_name("column name", name, MAX_ID_BYTES)?;
        }
    }
    Ok(())
}

fn check_size(what: &str, bytes: usize, limit: usize) -> Result<(), Refused> {
    if bytes > limit {
        return Err(Refused::invalid(format!("{what} is too long: at most {limit} bytes")));
    }
    Ok(())
}

fn check_count(what: &str, count: usize, limit: usize) -> Result<(), Refused> {
    if count > limit {
        return Err(Refused::invalid(format!("too many {what} in one table: at most {limit}")));
    }
    Ok(())
}
