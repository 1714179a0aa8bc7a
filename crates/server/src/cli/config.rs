//! `ringfence config`: what is set, whether it is right, what could be.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::options::StoreOptions;
use super::terminal::{GOOD, TITLE, complain, paint, paint_error, say};
use super::{checks, help};
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
    ///
    /// Refuses what `serve` would refuse before it opens the control store: it reads the files that are named (TLS,
    /// sealing key), and neither makes a file nor listens.
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
    let mut config = options.load(Vec::new())?.config;
    // These two have defaults that depend on each other, so that they are empty until they are asked for.
    if config.sealing.key.is_none() {
        config.sealing.key_file = config.sealing_key_file();
    }
    config.store.data_dir = config.data_dir();
    say(as_toml(&config)?.trim_end());
    Ok(())
}

fn check(options: &StoreOptions) -> Result<(), Failure> {
    let loaded = options.load(Vec::new())?;
    checks::refuse_unusable(&loaded.config)?;
    for warning in checks::warnings(&loaded.config) {
        complain(format_args!("{} {warning}", paint_error(TITLE, "warning:")));
    }
    let read = loaded.file.as_ref().map_or_else(|| PathBuf::from("no file"), Clone::clone);
    say(format_args!(
        "{} {}, {} settings besides the defaults",
        paint(GOOD, "ok:"),
        read.display(),
        loaded.origins.len()
    ));
    Ok(())
}

/// The settings as the file that would give them. Those that are not set are comments at the end of their section.
fn as_toml(config: &Config) -> Result<String, Failure> {
    let table = toml::Table::try_from(config).map_err(Failure::new)?;
    let written = toml::to_string(config).map_err(Failure::new)?;
    let keys = keys::Keys::of_config();
    let unset: Vec<_> = keys.settings().filter(|path| !has(&table, path)).collect();
    let sections = written.split("\n\n").map(|section| {
        let head = section.lines().next().unwrap_or_default().trim_matches(['[', ']']);
        // `server.tls` is the one section that may be missing; it stands as `tls.key` in the one above it.
        let here = unset.iter().filter_map(|path| {
            let name = path.strip_prefix(head)?.strip_prefix('.')?;
            Some(format!("\n# {name} is not set"))
        });
        format!("{}{}", section.trim_end(), here.collect::<String>())
    });
    Ok(sections.collect::<Vec<_>>().join("\n\n"))
}

fn has(table: &toml::Table, path: &str) -> bool {
    let mut names = path.split('.');
    let first = names.next().and_then(|name| table.get(name));
    names.fold(first, |value, name| value.and_then(|value| value.get(name))).is_some()
}
