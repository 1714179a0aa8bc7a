//! Options that commands share: which configuration, and which data directory.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::failure::Failure;
use super::program::quoted;
use crate::config::layers::{Flags, Loaded, Sources, load};

/// Where the configuration and the control store are.
#[derive(Debug, Args)]
pub(crate) struct StoreOptions {
    /// Configuration file [default: ./ringfence.toml when it is there]
    #[arg(long, value_name = "FILE", help_heading = "Configuration")]
    pub(crate) config: Option<PathBuf>,
    /// Directory of the embedded control store [default: ./ringfence-data]
    #[arg(long, value_name = "DIR", help_heading = "Configuration")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// How a command prints what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

impl StoreOptions {
    /// The options as they were given, each behind a space: so that a command to paste names the same store.
    pub(crate) fn as_given(&self) -> String {
        let config = self.config.iter().map(|file| ("--config", file));
        let all = config.chain(self.data_dir.iter().map(|directory| ("--data-dir", directory)));
        all.flat_map(|(flag, path)| {
            [" ".to_owned(), flag.to_owned(), " ".to_owned(), quoted(&path.to_string_lossy())]
        })
        .collect()
    }

    /// Reads the configuration, with further flags of the command.
    pub(crate) fn load(&self, mut flags: Flags) -> Result<Loaded, Failure> {
        if let Some(directory) = &self.data_dir {
            flags.push(("--data-dir", "store.data_dir", text_of(directory)?));
        }
        Ok(load(&Sources::of_process(self.config.clone(), flags))?)
    }
}

/// A path as a setting.
pub(crate) fn text_of(path: &std::path::Path) -> Result<Value, Failure> {
    match path.to_str() {
        Some(text) if !text.is_empty() => Ok(text.into()),
        _ => Err(Failure::usage(format_args!("{}: this path is not UTF-8, or empty", path.display()))),
    }
}
