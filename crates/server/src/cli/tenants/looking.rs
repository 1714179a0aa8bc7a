//! `ringfence tenants check` and `verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ringfence_gateway::tenancy::compare::{Comparison, Unlike};

use super::Target;
use crate::cli::failure::Failure;
use crate::cli::operator::{as_operator, with_gateway};
use crate::cli::options::{Format, StoreOptions};
use crate::cli::terminal::{BAD, FAINT, GOOD, paint, say, say_json};

/// Compare all tenants' schemas with the template: which are behind, and in what
///
/// Tables, columns with types and defaults, constraints, indexes, triggers, functions and enumerations. Exit code 1 when a schema is not
/// like the template.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Compare with this schema [default: the policy's template]
    #[arg(long, value_name = "SCHEMA")]
    template: Option<String>,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    target: Target,
}

/// Check an export, or the manifest of an erasure: is it as it was written, by this control store?
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The folder of an export, or the file of a manifest
    path: PathBuf,
    #[command(flatten)]
    store: StoreOptions,
}

impl Check {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let compared = self.target.with_estate("compare-tenants", async |_, _, estate| {
            estate.compare(self.template.as_deref()).await
        });
        let found = compared.map_err(Failure::could_not_run)?;
        match self.format {
            Format::Json => say_json(&found)?,
            Format::Text => tell(&found),
        }
        Ok(if found.unlike.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn tell(found: &Comparison) {
    for Unlike { tenant, schema, lacks, differs, beyond } in &found.unlike {
        let word = if lacks.is_empty() && differs.is_empty() { "beyond:" } else { "behind:" };
        say(format_args!("{} {tenant} (schema {schema})", paint(BAD, word)));
        for (word, things) in [("lacks", lacks), ("differs", differs), ("has beyond", beyond)] {
            for thing in things {
                say(format_args!("  {word} {thing}"));
            }
        }
    }
    for (tenant, why) in &found.without {
        say(format_args!("{} {tenant}: {why}", paint(FAINT, "no schema:")));
    }
    let word = if found.unlike.is_empty() { paint(GOOD, "alike:") } else { paint(FAINT, "alike:") };
    say(format_args!("{word} {} with {}, unlike: {}", found.alike, found.template, found.unlike.len()));
}

impl Verify {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let config = self.store.load(Vec::new())?.config;
        with_gateway(&config, async |gateway| {
            let told = as_operator(gateway, "verify-export", None, async |call| {
                call.log().set_object(&self.path.to_string_lossy());
                if self.path.is_dir() {
                    let manifest = gateway.verify_export(&self.path)?;
                    let rows: u64 = manifest.tables.iter().map(|table| table.rows).sum();
                    let tables = manifest.tables.len();
                    Ok(format!(
                        "tenant {}, exported {}: {tables} tables, {rows} rows",
                        manifest.tenant, manifest.exported_at
                    ))
                } else {
                    let manifest = gateway.verify_erased(&self.path)?;
                    let rows: u64 = manifest.erased.tables.iter().map(|table| table.rows).sum();
                    let tenant = manifest.erased.tenant;
                    Ok(format!(
                        "tenant {tenant}, erased {} by {}: {rows} rows",
                        manifest.erased_at, manifest.erased_by
                    ))
                }
            });
            say(format_args!("{} {}", paint(GOOD, "as it was written:"), told.await?));
            Ok(ExitCode::SUCCESS)
        })
    }
}
