//! `ringfence doctor`: is this configuration as careful as it could be, and each connection?

mod connections;

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::failure::Failure;
use super::operator::{as_operator, with_gateway};
use super::options::{Format, StoreOptions};
use super::terminal::{BAD, GOOD, TITLE, paint, say, say_json};
use super::{checks, help};
use crate::config::Config;

/// Look for what weakens isolation: configuration, store, the databases' own users
///
/// Works on the control store itself, in the place of an administrator of the organization, and looks at that
/// administrator's connections. Exit code 1 when something must be mended; with `--strict` also for what should be.
#[derive(Debug, Args)]
#[command(after_help = help::DOCTOR)]
pub(crate) struct Doctor {
    /// Id of the administrator whose connections are examined [default: the configured administrator]
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Only the connection of this key
    #[arg(long, value_name = "KEY")]
    connection: Option<String>,
    /// Exit code 1 for warnings too
    #[arg(long)]
    strict: bool,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    store: StoreOptions,
}

/// How it is with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Good,
    Warning,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    state: State,
    /// Stable.
    code: &'static str,
    /// The connection's key, when it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn new(state: State, code: &'static str, message: impl Into<String>) -> Self {
        Self { state, code, connection: None, message: message.into(), advice: None }
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl Doctor {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let config = self.store.load(Vec::new())?.config;
        let mut findings = configuration(&config);
        with_gateway(&config, async |gateway| {
            findings.push(Finding::new(
                State::Good,
                "STORE",
                "the control store opens, and the sealing key is its own",
            ));
            let exams = as_operator(gateway, "examine-connections", self.user.as_deref(), async |call| {
                gateway.examine_connections(call, self.connection.as_deref()).await
            });
            for exam in exams.await? {
                findings.extend(connections::findings(&exam));
            }
            Ok(())
        })?;
        self.tell(&findings)
    }

    fn tell(&self, findings: &[Finding]) -> Result<ExitCode, Failure> {
        let count = |state| findings.iter().filter(|finding| finding.state == state).count();
        let (bad, warnings) = (count(State::Bad), count(State::Warning));
        if self.format == Format::Json {
            say_json(&json!({ "bad": bad, "warnings": warnings, "findings": findings }))?;
        } else {
            for finding in findings {
                let word = match finding.state {
                    State::Good => paint(GOOD, "ok     "),
                    State::Warning => paint(TITLE, "warning"),
                    State::Bad => paint(BAD, "bad    "),
                };
                let about = finding.connection.as_ref().map_or_else(String::new, |key| format!("{key}: "));
                say(format_args!("{word} {about}{} [{}]", finding.message, finding.code));
                for line in finding.advice.iter().flat_map(|advice| advice.lines()) {
                    say(format_args!("          {line}"));
                }
            }
            say(format_args!("{bad} to mend, {warnings} to look at"));
        }
        let is_fine = bad == 0 && !(self.strict && warnings > 0);
        Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What `serve` would say of the configuration: names, keys, certificates, permissions of the sealing key and the data directory.
fn configuration(config: &Config) -> Vec<Finding> {
    let mut findings = match checks::refuse_unusable(config) {
        Ok(()) => vec![Finding::new(
            State::Good,
            "CONFIGURATION",
            "the configuration can be used; the sealing key and the data directory are nobody else's",
        )],
        Err(failure) => {
            let finding = Finding::new(State::Bad, "CONFIGURATION", failure.message());
            vec![match failure.advice() {
                Some(advice) => finding.advise(advice),
                None => finding,
            }]
        }
    };
    let warnings = checks::warnings(config).into_iter();
    findings.extend(warnings.map(|warning| Finding::new(State::Warning, "CONFIGURATION", warning)));
    findings
}
