//! `ringfence policy`: look at a policy document, put it in force, read the one that is, take it away.

mod check;
mod compile;
mod diff;
mod put;
mod test;

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use ringfence_gateway::Gateway;
use ringfence_policy::{Problem, Warning};

use super::failure::Failure;
use super::help;
use super::operator::with_gateway;
use super::options::StoreOptions;
use super::terminal::{BAD, TITLE, complain, paint_error};

/// Check policy documents, see what they change, and put them in force
///
/// `check` needs nothing but the file. Everything else works on the control store itself, as one of the organization's
/// administrators who has the connection: it needs the data directory (or the store's URL) and the sealing key, no
/// access key. A running server heeds the new policy within a second.
#[derive(Debug, Args)]
#[command(after_help = help::POLICY)]
pub(crate) struct PolicyCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(check::Check),
    Diff(diff::Diff),
    Test(test::Test),
    Compile(compile::Compile),
    Apply(put::Apply),
    Get(put::Get),
    Remove(put::Remove),
}

/// Which policy.
#[derive(Debug, Args)]
struct Target {
    /// Key of the connection
    #[arg(long, value_name = "KEY")]
    connection: String,
    /// Id of the administrator whose connection it is
    #[arg(long, value_name = "ID")]
    user: String,
    #[command(flatten)]
    store: StoreOptions,
}

impl PolicyCommand {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        match &self.verb {
            Verb::Check(check) => check.run(),
            Verb::Diff(diff) => diff.run(),
            Verb::Test(test) => test.run(),
            Verb::Compile(compile) => compile.run(),
            Verb::Apply(apply) => apply.run(),
            Verb::Get(get) => get.run(),
            Verb::Remove(remove) => remove.run(),
        }
    }
}

impl Target {
    fn with_gateway(
        &self,
        work: impl AsyncFnOnce(&Gateway) -> Result<ExitCode, Failure>,
    ) -> Result<ExitCode, Failure> {
        with_gateway(&self.store.load(Vec::new())?.config, work)
    }
}

/// What is wrong with a document; each line names `file`.
fn tell_problems(file: &str, problems: Vec<Problem>) {
    for problem in problems {
        let problem = Problem { file: file.to_owned(), ..problem };
        complain(format_args!("{} {problem}", paint_error(BAD, "error:")));
    }
}

/// What there is to look at in it.
fn tell_warnings(file: &str, warnings: Vec<Warning>) {
    for mut warning in warnings {
        file.clone_into(&mut warning.problem.file);
        complain(format_args!("{} {warning}", paint_error(TITLE, "warning:")));
    }
}

/// A file's name in what is told of it.
fn shown(file: &std::path::Path) -> String {
    if file.as_os_str() == "-" { "standard input".to_owned() } else { file.display().to_string() }
}

fn read(file: &PathBuf) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(file).map(|read| text = read)
    };
    read.map_err(|error| Failure::from(error).about(file.display()))?;
    Ok(text)
}
