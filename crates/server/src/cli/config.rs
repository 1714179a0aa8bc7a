//! `ringfence config`: what is set, whether it is right, what could be.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::help;
use super::options::StoreOptions;
use super::terminal::{GOOD, paint, say};
use crate::config::{Config, keys};

/// Show, check and describe the configuration
///
/// Settings come from one TOML file, then from environment variables (`RINGFENCE_SERVER__LISTEN` is `listen` in
/// `[server]`), then from options; the later one wins. Some variables have short names: `RINGFENCE_LISTEN`,
/// `RINGFENCE_DATA_DIR`, `RINGFENCE_STORE_URL`, `RINGFENCE_SEALING_KEY`, `RINGFENCE_ADMIN_KEY`; `RINGFENCE_CONFIG` names
/// the file. A name that nobody knows is an error.
#[derive(Debug, Args)]
#[command(after_help = help::CONFIG)]
pub(crate) struct ConfigCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print every setting as it is in force, secrets hidden
    Show(StoreOptions),
    /// Check file and environment, and say what is wrong
    Check(StoreOptions),
    /// Print the JSON Schema of the configuration file
    Schema,
}

impl ConfigCommand {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        match &self.verb {
            Verb::Show(options) => show(options)?,
            Verb::Check(options) => check(options)?,
            Verb::Schema => say(keys::published_schema()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show(options: &StoreOptions) -> Result<(), Failure> {
    let config = options.load(Vec::new())?.config;
    say(as_toml(&config)?.trim_end());
    Ok(())
}

fn check(options: &StoreOptions) -> Result<(), Failure> {
    let loaded = options.load(Vec::new())?;
    let read = loaded.file.as_ref().map_or_else(|| PathBuf::from("no file"), Clone::clone);
    say(format_args!(
        "{} {}, {} settings besides the defaults",
        paint(GOOD, "ok:"),
        read.display(),
        loaded.origins.len()
    ));
    Ok(())
}

/// The settings as the file that would give them. Those that are not set have no line.
fn as_toml(config: &Config) -> Result<String, Failure> {
    toml::to_string(config).map_err(Failure::new)
}
