//! `ringfence prove`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ringfence_gateway::prove::{Progress, ProveRequest, Proved};
use ringfence_policy::Problem;

use super::failure::Failure;
use super::help;
use super::operator::{as_operator, with_gateway};
use super::options::StoreOptions;
use super::terminal::{BAD, FAINT, GOOD, TITLE, complain, paint, paint_error, say, steps_bar};
use crate::reports::ProofReport;

/// Prove that a policy keeps tenants apart, on your own data
///
/// Statements are run as principals of several tenants. Every answer is held against the rows as they are stored, and against
/// what is meant: what the catalog shows of whose rows are whose, and an intent where you give one. Changes are tried in
/// transactions that are rolled back. Exit code 0 when every invariant held, 1 when one did not, 2 when it could not be tried.
#[derive(Debug, Args)]
#[command(after_help = help::PROVE)]
pub(crate) struct Prove {
    /// Key of the connection
    #[arg(long, value_name = "KEY")]
    connection: String,
    /// Id of the administrator whose connection it is
    #[arg(long, value_name = "ID")]
    user: String,
    /// A document to prove [default: the policy in force]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// What the policy is meant to do
    #[arg(long, value_name = "FILE")]
    intent: Option<PathBuf>,
    /// Principals to look through, users or made up
    #[arg(long, value_name = "FILE", conflicts_with = "pick")]
    principals: Option<PathBuf>,
    /// Look through one user of each tenant and set of roles, which is the default
    #[arg(long)]
    pick: bool,
    /// Users that are picked at most
    #[arg(long, value_name = "N", default_value_t = 40)]
    most: usize,
    /// Statements as each principal, about; the ones that matter most are always run
    #[arg(long, value_name = "N", default_value_t = 300)]
    statements: usize,
    /// What statements are drawn by: the same seed draws the same
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Rows of each relation that answers are held against, at most
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    rows: u64,
    /// Do not try changes
    #[arg(long)]
    no_writes: bool,
    /// Run statements of the past under the policy in force and under `--policy`, and say what changes
    #[arg(long, requires = "policy")]
    replay: bool,
    /// Write a page for people
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write a report for programs; `-` for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    store: StoreOptions,
}

impl Prove {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        // Exit code 1 is for what was proven wrong.
        self.prove().map_err(Failure::could_not_run)
    }

    fn prove(&self) -> Result<ExitCode, Failure> {
        let request = ProveRequest {
            policy: self.policy.as_ref().map(read).transpose()?,
            intent: self.intent.as_ref().map(read).transpose()?,
            principals: self.principals.as_ref().map(read).transpose()?,
            most_principals: self.most,
            statements: self.statements,
            seed: self.seed,
            rows: self.rows,
            writes: !self.no_writes,
            replay: self.replay,
        };
        let config = self.store.load(Vec::new())?.config;
        let proved = with_gateway(&config, async |gateway| {
            let bar = steps_bar();
            let progress = |at: Progress| {
                bar.set_length(at.all as u64);
                bar.set_position(at.done as u64);
                bar.set_message(at.doing);
            };
            let proved = as_operator(gateway, "prove", Some(&self.user), async |call| {
                gateway.prove(call, &self.connection, request, &progress).await
            });
            let proved = proved.await;
            bar.finish_and_clear();
            Ok(proved?)
        })?;
        match proved {
            Proved::Proof(proof) => {
                let now =
                    jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).map_err(Failure::new)?;
                self.tell(&ProofReport::new(*proof, now.to_string()))
            }
            Proved::Invalid(problems) => {
                self.tell_problems(problems);
                Ok(ExitCode::from(2))
            }
        }
    }

    fn tell(&self, report: &ProofReport) -> Result<ExitCode, Failure> {
        if let Some(file) = &self.html {
            write(file, &report.html())?;
        }
        let json = serde_json::to_string_pretty(report).map_err(Failure::new)?;
        match &self.json {
            Some(file) if file.as_os_str() == "-" => say(json),
            Some(file) => {
                write(file, &(json + "\n"))?;
                lines(report);
            }
            None => lines(report),
        }
        Ok(if report.proven { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn tell_problems(&self, problems: Vec<Problem>) {
        for problem in problems {
            let given = match problem.file.as_str() {
                "intent" => &self.intent,
                "principals" => &self.principals,
                _ => &self.policy,
            };
            let file = given.as_ref().map_or_else(|| problem.file.clone(), |file| file.display().to_string());
            complain(format_args!("{} {}", paint_error(BAD, "error:"), Problem { file, ..problem }));
        }
    }
}

/// The proof for people at a terminal.
fn lines(report: &ProofReport) {
    for it in &report.invariants {
        let word = match (it.broken, it.checked) {
            (0, 0) => paint(FAINT, "not checked"),
            (0, _) => paint(GOOD, "holds"),
            _ => paint(BAD, "broken"),
        };
        say(format_args!(
            "{:24} {word}  {}",
            it.invariant,
            paint(FAINT, format_args!("{} checks", it.checked))
        ));
    }
    for finding in &report.findings {
        let column = finding.column.as_ref().map(|column| format!(".{column}")).unwrap_or_default();
        say("");
        say(format_args!(
            "{} {}{column}: {}",
            paint(BAD, finding.invariant),
            paint(TITLE, &finding.relation),
            finding.what
        ));
        say(format_args!("  as       {}", report.names(&finding.principals)));
        say(format_args!("  by       {}", finding.statement));
        say(format_args!("  mend it  {}", finding.advice));
    }
    if !report.crossings.is_empty() {
        say("");
        say(paint(TITLE, "rows of others that are seen because a rule says so"));
        for it in &report.crossings {
            say(format_args!(
                "  {}: {} ({} rows, by {})",
                it.relation,
                it.rule,
                it.rows,
                report.names(&it.principals)
            ));
        }
    }
    if let Some(replay) = &report.replay {
        say("");
        let changed = replay.changed.len() + replay.left_out;
        say(format_args!(
            "{} of {} statements of the past are answered otherwise",
            changed, replay.statements
        ));
        for it in &replay.changed {
            say(format_args!("  {}: {}", report.names(&[it.principal]), it.statement));
            say(format_args!("    {} -> {}", it.before, it.after));
        }
    }
    for note in &report.notes {
        complain(format_args!("{} {note}", paint_error(TITLE, "note:")));
    }
    say("");
    let who = report.principals.len();
    if report.proven {
        say(format_args!(
            "{} nothing was seen that is not meant, as {who} principals",
            paint(GOOD, "proven:")
        ));
    } else {
        say(format_args!(
            "{} {} findings, as {who} principals",
            paint(BAD, "not proven:"),
            report.findings.len()
        ));
    }
}

fn read(file: &PathBuf) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::from(error).about(file.display()))
}

fn write(file: &PathBuf, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text).map_err(|error| Failure::from(error).about(file.display()))
}
