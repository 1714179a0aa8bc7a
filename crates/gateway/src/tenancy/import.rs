//! Puts back what was exported: all of it in one transaction, or nothing.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use ringfence_engine::operator::{OperatorSession, TextRow};

use super::export::{AppliedFile, Manifest, Table};
use super::folder::Migration;
use super::{Estate, Member, cell, csv, ident, literal, schemas_of, unusable};
use crate::{Code, Refused};

/// Text of rows that are sent at once.
const BATCH_BYTES: usize = 256 * 1024;

/// A constraint that is taken away while rows arrive, and put back behind them.
struct Reference {
    table: String,
    name: String,
    definition: String,
}

impl Estate<'_> {
    /// Puts an export back. The tenant has neither the schema nor rows before; `migrations` are the files that the schema
    /// was made by.
    pub async fn import(&self, folder: &Path, migrations: &[Migration]) -> Result<Manifest, Refused> {
        self.is_not_for_databases("restore it with the database's own tools")?;
        let manifest = self.gateway.verify_export(folder)?;
        if manifest.organization != self.org.as_str() {
            return Err(Refused::invalid("the export is another organization's"));
        }
        let tenant = self.tenant(&manifest.tenant).await?.id;
        let session = self.open().await?;
        self.keep_records(&session).await?;
        session.run("BEGIN").await?;
        if let Some(schema) = &manifest.schema {
            let member = self.member(&manifest.tenant).await?;
            if member.schema != *schema {
                return Err(Refused::invalid(format!(
                    "the export is of the schema {schema}, and the tenant's is {} now",
                    member.schema
                )));
            }
            self.make_again(&session, &member, &files(&manifest.migrations, migrations)?).await?;
        } else if self.policy.tenancy.is_some() {
            return Err(Refused::invalid("the export has no schema, and tenants here have one"));
        }
        // Functions of the database alone, and every name with its schema.
        session.run("SET LOCAL search_path = pg_catalog").await?;
        let own = |table: &&Table| manifest.schema.as_ref() == Some(&table.schema);
        let references = match &manifest.schema {
            Some(schema) => take_references(&session, schema).await?,
            None => Vec::new(),
        };
        let tables: Vec<&Table> = manifest.tables.iter().filter(own).collect();
        let names: Vec<String> = tables.iter().map(|table| name_of(table)).collect();
        if !names.is_empty() {
            // Files that make the schema may fill it, too.
            session.run(&format!("TRUNCATE {}", names.join(", "))).await?;
        }
        let held = self.holdings(&session, &manifest.tenant).await?;
        for table in &manifest.tables {
            let is_own = own(&table);
            let holding =
                held.tables.iter().find(|it| (&it.schema, &it.table) == (&table.schema, &table.table));
            let holding =
                holding.ok_or_else(|| Refused::invalid(format!("there is no table {}", name_of(table))))?;
            if holding.scope != table.scope || holding.columns != table.columns {
                return Err(Refused::invalid(format!("{} is not as it was exported", name_of(table))));
            }
            let count =
                format!("SELECT count(*) FROM {} WHERE {}", holding.name(), holding.condition(&tenant));
            if count_of(&session, &count).await? != 0 {
                return Err(Refused::new(
                    Code::AlreadyExists,
                    format!("{} has rows of the tenant", name_of(table)),
                ));
            }
            if is_own {
                session.run(&format!("ALTER TABLE {} DISABLE TRIGGER USER", name_of(table))).await?;
            }
            fill(&session, table, &folder.join(&table.file)).await?;
            if is_own {
                session.run(&format!("ALTER TABLE {} ENABLE TRIGGER USER", name_of(table))).await?;
            }
            if count_of(&session, &count).await? != table.rows {
                return Err(Refused::invalid(format!("{} did not get all its rows", name_of(table))));
            }
        }
        self.settle(&session, &manifest, &references).await?;
        session.run("COMMIT").await?;
        Ok(manifest)
    }

    /// Makes the schema by the files that it was made by, in the transaction that is open.
    async fn make_again(
        &self,
        session: &OperatorSession,
        member: &Member,
        migrations: &[&Migration],
    ) -> Result<(), Refused> {
        if schemas_of(session).await?.contains(&member.schema) {
            let message =
                format!("there is a schema {}: import is for a tenant that was erased", member.schema);
            return Err(Refused::new(Code::AlreadyExists, message));
        }
        session.run(&self.making(member)).await?;
        for migration in migrations {
            self.apply_within(session, member, migration).await?;
        }
        Ok(())
    }

    async fn settle(
        &self,
        session: &OperatorSession,
        manifest: &Manifest,
        references: &[Reference],
    ) -> Result<(), Refused> {
        let Some(schema) = manifest.schema.as_deref().map(ident) else { return Ok(()) };
        for Reference { table, name, definition } in references {
            let add =
                format!("ALTER TABLE {schema}.{} ADD CONSTRAINT {} {definition}", ident(table), ident(name));
            session.run(&add).await?;
        }
        for sequence in &manifest.sequences {
            let name = literal(&format!("{schema}.{}", ident(&sequence.name)));
            let (value, is_called) = (literal(&sequence.last_value), sequence.is_called);
            session
                .run(&format!("SELECT pg_catalog.setval({name}::regclass, {value}::bigint, {is_called})"))
                .await?;
        }
        Ok(())
    }
}

/// The files of the manifest, each as it was.
fn files<'m>(applied: &[AppliedFile], migrations: &'m [Migration]) -> Result<Vec<&'m Migration>, Refused> {
    let find = |file: &AppliedFile| {
        let found = migrations.iter().find(|it| it.name == file.name && it.checksum == file.sha256);
        found.ok_or_else(|| {
            Refused::invalid(format!(
                "the schema was made by {}, which is not among the migrations as it was",
                file.name
            ))
        })
    };
    applied.iter().map(find).collect()
}

/// Takes the foreign keys of a schema away: rows arrive table by table, and tables may refer to each other in a circle.
async fn take_references(session: &OperatorSession, schema: &str) -> Result<Vec<Reference>, Refused> {
    let select = format!(
        "SELECT c.relname, k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'f' AND k.conparentid = 0 AND n.nspname = {}",
        literal(schema)
    );
    let mut references = Vec::new();
    for row in session.rows(&select).await? {
        let [table, name, definition] = [cell(&row, 0), cell(&row, 1), cell(&row, 2)];
        let drop =
            format!("ALTER TABLE {}.{} DROP CONSTRAINT {}", ident(schema), ident(&table), ident(&name));
        session.run(&drop).await?;
        references.push(Reference { table, name, definition });
    }
    Ok(references)
}

async fn fill(session: &OperatorSession, table: &Table, path: &Path) -> Result<(), Refused> {
    let file = File::open(path).map_err(|error| unusable(path, &error))?;
    let mut records = csv::Records::new(BufReader::new(file));
    let broken = |error: String| unusable(path, &error);
    let header = records.next().map_err(broken)?.unwrap_or_default();
    let expected: TextRow = table.columns.iter().map(|(name, _)| Some(name.clone())).collect();
    if header != expected {
        return Err(unusable(path, &"its header is not that of the manifest"));
    }
    let columns: Vec<String> = table.columns.iter().map(|(name, _)| ident(name)).collect();
    // A table without columns can have rows, which nobody could tell apart.
    if columns.is_empty() {
        return Ok(());
    }
    let head =
        format!("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ", name_of(table), columns.join(", "));
    let mut sql = head.clone();
    while let Some(row) = records.next().map_err(broken)? {
        if row.len() != columns.len() {
            return Err(unusable(path, &"a record has another number of values than there are columns"));
        }
        let values: Vec<String> =
            row.iter().map(|value| value.as_deref().map_or("NULL".to_owned(), literal)).collect();
        if sql.len() > head.len() {
            sql.push_str(", ");
        }
        sql.push('(');
        sql.push_str(&values.join(", "));
        sql.push(')');
        if sql.len() > BATCH_BYTES {
            session.run(&sql).await?;
            sql.clone_from(&head);
        }
    }
    if sql.len() > head.len() {
        session.run(&sql).await?;
    }
    Ok(())
}

fn name_of(table: &Table) -> String {
    format!("{}.{}", ident(&table.schema), ident(&table.table))
}

pub(super) async fn count_of(session: &OperatorSession, select: &str) -> Result<u64, Refused> {
    let rows = session.rows(select).await?;
    rows.first()
        .and_then(|row| cell(row, 0).parse().ok())
        .ok_or_else(|| Refused::internal(&"a count that is no number"))
}
