//! `ringfence policy compile`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use ringfence_gateway::policies::Compilation;
use ringfence_policy::{Problem, Unsaid};

use super::{Target, read, shown, tell_problems};
use crate::cli::failure::Failure;
use crate::cli::operator::as_operator;
use crate::cli::terminal::{BAD, TITLE, complain, paint_error, say};

/// Print a policy as the database's own row-level security, for a role that reads without Ringfence; nothing is run
///
/// What row-level security can't say (masks, columns that depend on roles, views, changes) is listed, with exit code 1; with
/// `--withhold` the role does not get it instead.
#[derive(Debug, Args)]
pub(super) struct Compile {
    /// The document, YAML or JSON; `-` for standard input [default: the one in force]
    file: Option<PathBuf>,
    /// What to compile to
    #[arg(long, value_enum)]
    target: Kind,
    #[command(flatten)]
    connection: Target,
    /// The database role that reads
    #[arg(long, value_name = "NAME", default_value = "ringfence_reader")]
    role: String,
    /// Keep from the role what can't be said
    #[arg(long)]
    withhold: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    PostgresRls,
}

impl Compile {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let Kind::PostgresRls = self.target;
        let document = self.file.as_ref().map(read).transpose()?;
        let (target, file) =
            (&self.connection, self.file.as_deref().map_or_else(|| "policy".to_owned(), shown));
        target.with_gateway(async |gateway| {
            let compiled = as_operator(gateway, "compile-policy", Some(&target.user), async |call| {
                let document = document.as_deref();
                gateway.compile_policy(call, &target.connection, document, &self.role, self.withhold).await
            });
            let compiled = match compiled.await? {
                Compilation::Compiled(compiled) => compiled,
                Compilation::Invalid(problems) => {
                    tell_problems(&file, problems);
                    return Ok(ExitCode::FAILURE);
                }
            };
            tell(&file, &paint_error(BAD, "refused:"), &compiled.refused);
            tell(&file, &paint_error(TITLE, "withheld:"), &compiled.withheld);
            if !compiled.refused.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
            say(compiled.sql.trim_end());
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn tell(file: &str, word: &str, unsaid: &[Unsaid]) {
    for Unsaid { code, problem } in unsaid {
        let problem = Problem { file: file.to_owned(), ..problem.clone() };
        complain(format_args!("{word} {problem} [{}]", code.name()));
    }
}
