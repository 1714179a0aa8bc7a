//! `ringfence tenants export`, `import` and `erase`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ringfence_gateway::tenancy::folder;

use super::Target;
use crate::cli::failure::Failure;
use crate::cli::terminal::{GOOD, TITLE, paint, say};

/// Write all that is a tenant's to a folder: CSV files and a signed manifest with their hashes
///
/// The tables of its schema, and its rows in tables that the policy scopes by `principal.tenant_id`, as of one moment.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// Id of the tenant
    id: String,
    /// A folder that is not there yet
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    target: Target,
}

/// Put an export back: all of it, or nothing
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The folder of the export
    folder: PathBuf,
    /// Folder of the SQL files that the schema was made by
    #[arg(long, value_name = "DIR")]
    migrations: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// Remove all that is a tenant's from the database: first a dry run, then what it showed
///
/// The dry run counts and writes a plan. The removal wants that plan, and refuses when anything has changed since. The tenant
/// must be suspended. A signed manifest of what was removed is left.
#[derive(Debug, Args)]
pub(super) struct Erase {
    /// Id of the tenant
    id: String,
    /// The plan: written by the dry run, read by the removal
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Only say what would be removed, and write the plan
    #[arg(long)]
    dry_run: bool,
    /// Where the manifest of the removal is written
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run", conflicts_with = "dry_run")]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

impl Export {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let manifest = self.target.with_estate("export-tenant", async |_, call, estate| {
            call.log().set_object(&self.id);
            estate.export(&self.id, &self.to).await
        })?;
        let rows: u64 = manifest.tables.iter().map(|table| table.rows).sum();
        let tables = manifest.tables.len();
        say(format_args!(
            "{} {tables} tables, {rows} rows in {}",
            paint(GOOD, "exported:"),
            self.to.display()
        ));
        Ok(ExitCode::SUCCESS)
    }
}

impl Import {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let manifest = self.target.with_estate("import-tenant", async |_, call, estate| {
            call.log().set_object(&self.folder.to_string_lossy());
            let migrations = self.migrations.as_deref().map(folder::read).transpose()?.unwrap_or_default();
            estate.import(&self.folder, &migrations).await
        })?;
        let rows: u64 = manifest.tables.iter().map(|table| table.rows).sum();
        say(format_args!("{} tenant {}, {rows} rows", paint(GOOD, "imported:"), manifest.tenant));
        Ok(ExitCode::SUCCESS)
    }
}

impl Erase {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let Some(manifest) = self.manifest.as_ref().filter(|_| !self.dry_run) else { return self.show() };
        let erased = self.target.with_estate("erase-tenant", async |_, call, estate| {
            call.log().set_object(&self.id);
            estate.erase(call, &self.id, &self.plan, manifest).await
        })?;
        let rows: u64 = erased.erased.tables.iter().map(|table| table.rows).sum();
        let path = manifest.display();
        say(format_args!(
            "{} {rows} rows of tenant {}; the manifest is {path}",
            paint(GOOD, "erased:"),
            self.id
        ));
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self) -> Result<ExitCode, Failure> {
        let plan = self.target.with_estate("plan-erasure", async |_, call, estate| {
            call.log().set_object(&self.id);
            estate.plan_erase(&self.id, &self.plan).await
        })?;
        for table in &plan.tables {
            let whose = if table.scope.is_some() { "rows of the tenant" } else { "rows, and the table" };
            say(format_args!("  {}.{}: {} {whose}", table.schema, table.table, table.rows));
        }
        if let Some(schema) = &plan.schema {
            say(format_args!("  the schema {schema} with all that is in it"));
        }
        say(format_args!(
            "{} nothing was removed; the plan is {}",
            paint(TITLE, "dry run:"),
            self.plan.display()
        ));
        Ok(ExitCode::SUCCESS)
    }
}
