//! `ringfence policy`: check a policy document, put it in force, read the one that is.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use ringfence_gateway::Gateway;
use ringfence_gateway::policies::{NewPolicy, PutPolicy};
use ringfence_policy::{ConnectionKind, Policy, Problem};
use ringfence_store::policies::Expected;

use super::failure::Failure;
use super::operator::as_operator;
use super::options::StoreOptions;
use super::terminal::{BAD, GOOD, TITLE, complain, paint, paint_error, say};
use super::{admin, help, serve};

/// Check policy documents, and put them in force
///
/// `check` needs nothing but the file. `apply` and `get` work on the control store itself, as one of the organization's
/// administrators who has the connection: they need the data directory (or the store's URL) and the sealing key, no
/// access key. A running server heeds the new policy within a second.
#[derive(Debug, Args)]
#[command(after_help = help::POLICY)]
pub(crate) struct PolicyCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read a document and say all that is wrong with it; exit code 1 when something is
    Check {
        /// The document, YAML or JSON; `-` for standard input
        file: PathBuf,
        /// The kind of database that it is for
        #[arg(long, value_enum, default_value_t = Kind::Postgresql)]
        kind: Kind,
    },
    /// Put a document in force on a connection
    Apply {
        /// The document, YAML or JSON; `-` for standard input
        file: PathBuf,
        #[command(flatten)]
        target: Target,
        /// Why, for the history
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        /// Only in place of this version; 0 for none
        #[arg(long, value_name = "VERSION")]
        expect: Option<i64>,
    },
    /// Print the document in force on a connection, as it was put
    Get {
        #[command(flatten)]
        target: Target,
    },
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

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Postgresql,
    Sqlite,
}

impl PolicyCommand {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        match &self.verb {
            Verb::Check { file, kind } => check(file, *kind),
            Verb::Apply { file, target, comment, expect } => {
                let expected = match expect {
                    None => Expected::Any,
                    Some(0) => Expected::None,
                    Some(version) => Expected::Version(*version),
                };
                let new = NewPolicy { document: read(file)?, comment: comment.clone(), expected };
                target.with_gateway(async |gateway| target.apply(gateway, new).await)
            }
            Verb::Get { target } => target.with_gateway(async |gateway| target.get(gateway).await),
        }
    }
}

fn check(file: &PathBuf, kind: Kind) -> Result<ExitCode, Failure> {
    let kind = match kind {
        Kind::Postgresql => ConnectionKind::Postgresql,
        Kind::Sqlite => ConnectionKind::Sqlite,
    };
    match Policy::load(&file.display().to_string(), &read(file)?, kind) {
        Ok(policy) => {
            say(format_args!("{} {} models", paint(GOOD, "ok:"), policy.models.len()));
            Ok(ExitCode::SUCCESS)
        }
        Err(invalid) => {
            for problem in &invalid.problems {
                complain(format_args!("{} {problem}", paint_error(BAD, "error:")));
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

impl Target {
    fn with_gateway(
        &self,
        work: impl AsyncFnOnce(&Gateway) -> Result<ExitCode, Failure>,
    ) -> Result<ExitCode, Failure> {
        let config = self.store.load(Vec::new())?.config;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let gateway = admin::open(&config).await?;
            let done = work(&gateway).await;
            serve::close(&gateway).await;
            done
        })
    }

    async fn apply(&self, gateway: &Gateway, new: NewPolicy) -> Result<ExitCode, Failure> {
        let put = as_operator(gateway, "put-policy", Some(&self.user), async |call| {
            gateway.put_policy(call, &self.connection, new).await
        });
        match put.await? {
            PutPolicy::Stored { version, warnings } => {
                tell(&warnings, &paint_error(TITLE, "warning:"));
                say(format_args!("{} version {} is in force", paint(GOOD, "done:"), version.version));
                Ok(ExitCode::SUCCESS)
            }
            PutPolicy::Invalid(problems) => {
                tell(&problems, &paint_error(BAD, "error:"));
                Ok(ExitCode::FAILURE)
            }
        }
    }

    async fn get(&self, gateway: &Gateway) -> Result<ExitCode, Failure> {
        let policy = as_operator(gateway, "get-policy", Some(&self.user), async |call| {
            gateway.get_policy(call, &self.connection).await
        });
        let policy = policy.await?;
        say(policy.document.strip_suffix('\n').unwrap_or(&policy.document));
        Ok(ExitCode::SUCCESS)
    }
}

fn tell(problems: &[Problem], word: &str) {
    for problem in problems {
        complain(format_args!("{word} {problem}"));
    }
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
