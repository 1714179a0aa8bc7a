//! `ringfence completions`: scripts that complete our command line in a shell.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::help;
use super::terminal::say;

/// Print a completion script for a shell
///
/// The script goes to standard output: write it where your shell looks for completions.
#[derive(Debug, Args)]
#[command(after_help = help::COMPLETIONS)]
pub(crate) struct Completions {
    shell: Shell,
}

impl Completions {
    pub(crate) fn run<Cli: CommandFactory>(&self) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "ringfence", &mut script);
        say(String::from_utf8_lossy(&script).trim_end());
        ExitCode::SUCCESS
    }
}
