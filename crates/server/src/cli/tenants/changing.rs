//! `ringfence tenants create`, `migrate`, `suspend` and `resume`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ringfence_gateway::tenancy::folder;
use ringfence_gateway::tenancy::migrate::{Migrated, Plan};

use super::{Folder, Target};
use crate::cli::failure::Failure;
use crate::cli::operator::{as_operator, with_gateway};
use crate::cli::options::StoreOptions;
use crate::cli::terminal::{BAD, FAINT, GOOD, complain, paint, paint_error, say, schemas_bar};

/// Schemas worked on at once: more than a few keep a database from its own work.
const JOBS: usize = 4;

/// Make tenants with their schemas, from a folder of migrations
///
/// A tenant that the organization does not have yet is made, too. A run that was cut off goes on where it was.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// Ids of the tenants
    #[arg(value_name = "ID", required_unless_present = "ids_from")]
    ids: Vec<String>,
    /// A file with one id on each line, beside those given
    #[arg(long, value_name = "FILE")]
    ids_from: Option<PathBuf>,
    #[command(flatten)]
    folder: Folder,
    /// Schemas worked on at once
    #[arg(long, value_name = "N", default_value_t = JOBS)]
    jobs: usize,
    #[command(flatten)]
    target: Target,
}

/// Bring all tenants' schemas up to date with a folder of migrations
///
/// The template goes first, and when it fails nobody's schema is touched. Each file is one transaction for each schema,
/// with a record of it, so that a run that was cut off goes on where it was. A tenant whose schema fails keeps no other
/// waiting. Exit code 1 when one failed.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    folder: Folder,
    /// Schemas worked on at once
    #[arg(long, value_name = "N", default_value_t = JOBS)]
    jobs: usize,
    #[command(flatten)]
    target: Target,
}

/// Suspend a tenant: from now on nobody of it gets in, by whatever door
#[derive(Debug, Args)]
pub(super) struct Suspend {
    /// Id of the tenant
    id: String,
    #[command(flatten)]
    store: StoreOptions,
}

/// Let a suspended tenant in again
#[derive(Debug, Args)]
pub(super) struct Resume {
    /// Id of the tenant
    id: String,
    #[command(flatten)]
    store: StoreOptions,
}

impl Create {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let mut ids = self.ids.clone();
        if let Some(file) = &self.ids_from {
            let text =
                std::fs::read_to_string(file).map_err(|error| Failure::from(error).about(file.display()))?;
            ids.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        }
        let mut seen = std::collections::BTreeSet::new();
        ids.retain(|id| seen.insert(id.clone()));
        let bar = schemas_bar();
        let migrated = self.target.with_estate("create-tenants", async |gateway, call, estate| {
            let migrations = folder::read(&self.folder.migrations)?;
            // All of them can be made before any is.
            for id in &ids {
                estate.could_have_schema(id).await?;
            }
            for id in &ids {
                gateway.tenant_for_schema(call, id).await?;
            }
            call.log().set_object(&format!("{} tenants", ids.len()));
            let plan = Plan { migrations: &migrations, jobs: self.jobs, make: &ids, everybody: false };
            estate.migrate(plan, &|done, all| bar.show(done, all)).await
        });
        bar.finish();
        Ok(tell(&migrated?))
    }
}

impl Migrate {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let bar = schemas_bar();
        let migrated = self.target.with_estate("migrate-tenants", async |_, call, estate| {
            let migrations = folder::read(&self.folder.migrations)?;
            let plan = Plan { migrations: &migrations, jobs: self.jobs, make: &[], everybody: true };
            let migrated = estate.migrate(plan, &|done, all| bar.show(done, all)).await?;
            call.log().set_object(&format!("{} schemas", migrated.schemas));
            Ok(migrated)
        });
        bar.finish();
        Ok(tell(&migrated?))
    }
}

fn tell(migrated: &Migrated) -> ExitCode {
    for homeless in &migrated.without {
        complain(format_args!("{} {}: {}", paint_error(FAINT, "left out:"), homeless.tenant, homeless.why));
    }
    for failure in &migrated.failures {
        let at = failure.migration.as_deref().unwrap_or("making the schema");
        complain(format_args!("{} {}, {at}: {}", paint_error(BAD, "failed:"), failure.schema, failure.why));
    }
    say(format_args!(
        "{} schemas: {}, made: {}, files applied: {}, failed: {}",
        if migrated.failures.is_empty() { paint(GOOD, "done:") } else { paint(BAD, "not done:") },
        migrated.schemas,
        migrated.made,
        migrated.applied,
        migrated.failures.len()
    ));
    if migrated.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Suspend {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let config = self.store.load(Vec::new())?.config;
        with_gateway(&config, async |gateway| {
            let changed = as_operator(gateway, "suspend-tenant", None, async |call| {
                gateway.suspend_tenant(call, &self.id).await
            });
            let word = if changed.await? { "is suspended" } else { "was suspended already" };
            say(format_args!("{} tenant {} {word}", paint(GOOD, "done:"), self.id));
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Resume {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let config = self.store.load(Vec::new())?.config;
        with_gateway(&config, async |gateway| {
            let changed = as_operator(gateway, "resume-tenant", None, async |call| {
                gateway.resume_tenant(call, &self.id).await
            });
            let word = if changed.await? { "gets in again" } else { "was not suspended" };
            say(format_args!("{} tenant {} {word}", paint(GOOD, "done:"), self.id));
            Ok(ExitCode::SUCCESS)
        })
    }
}
