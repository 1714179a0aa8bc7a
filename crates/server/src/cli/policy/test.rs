//! `ringfence policy test`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ringfence_gateway::policies::Tested;

use super::{Target, read, shown, tell_problems};
use crate::cli::failure::Failure;
use crate::cli::operator::as_operator;
use crate::cli::options::Format;
use crate::cli::terminal::{BAD, FAINT, GOOD, paint, say, say_json};
use crate::reports::TestsReport;

/// Try expectations on the data: as this principal, this statement sees these rows; exit code 1 when one does not hold
///
/// On the policy in force, or with `--policy` on a document that is not. Statements that change data are judged by the
/// guard and not run.
#[derive(Debug, Args)]
pub(super) struct Test {
    /// The expectations, YAML or JSON; `-` for standard input
    file: PathBuf,
    #[command(flatten)]
    target: Target,
    /// A policy document to try instead of the one in force
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Test {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let expectations = read(&self.file)?;
        let policy = self.policy.as_ref().map(read).transpose()?;
        let target = &self.target;
        target.with_gateway(async |gateway| {
            let tested = as_operator(gateway, "test-policy", Some(&target.user), async |call| {
                gateway.test_policy(call, &target.connection, &expectations, policy.as_deref()).await
            });
            match tested.await? {
                Tested::Report(report) => self.tell(&report.into()),
                Tested::Invalid(problems) => {
                    let (of_policy, of_tests): (Vec<_>, Vec<_>) =
                        problems.into_iter().partition(|problem| problem.file == "policy");
                    tell_problems(&shown(&self.file), of_tests);
                    tell_problems(
                        &self.policy.as_deref().map_or_else(|| "policy".to_owned(), shown),
                        of_policy,
                    );
                    Ok(ExitCode::FAILURE)
                }
            }
        })
    }

    fn tell(&self, report: &TestsReport) -> Result<ExitCode, Failure> {
        if self.format == Format::Json {
            say_json(report)?;
        } else {
            for (name, line, who, failures) in report.tests() {
                let beside = paint(FAINT, format!("as {who}, line {line}"));
                if failures.is_empty() {
                    say(format_args!("{} {name} ({beside})", paint(GOOD, "ok  ")));
                } else {
                    say(format_args!("{} {name} ({beside})", paint(BAD, "FAIL")));
                }
                for failure in failures {
                    say(format_args!("       {failure}"));
                }
            }
            let (passed, failed) = report.counts();
            say(format_args!("{passed} passed, {failed} failed"));
        }
        Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
