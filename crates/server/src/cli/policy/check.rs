//! `ringfence policy check`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use ringfence_gateway::policies::CheckedPolicy;
use ringfence_policy::{ConnectionKind, Policy};
use serde_json::json;

use super::{read, shown, tell_problems, tell_warnings};
use crate::cli::failure::Failure;
use crate::cli::operator::{as_operator, with_gateway};
use crate::cli::options::{Format, StoreOptions};
use crate::cli::terminal::{GOOD, paint, say, say_json};
use crate::reports::{DocumentProblem, Finding};

/// Read a document and say all that is wrong with it and what there is to look at; exit code 1 when something is wrong
///
/// With `--connection` the document is held against what the connection's database has: only then can missing names, rows
/// of all tenants, keys that tell of other tenants and secrets in clear be found.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The document, YAML or JSON; `-` for standard input
    file: PathBuf,
    /// The kind of database that it is for
    #[arg(long, value_enum, default_value_t = Kind::Postgresql, conflicts_with = "connection")]
    kind: Kind,
    /// Key of the connection that it is for
    #[arg(long, value_name = "KEY", requires = "user")]
    connection: Option<String>,
    /// Id of the administrator whose connection it is
    #[arg(long, value_name = "ID", requires = "connection")]
    user: Option<String>,
    /// Exit code 1 for warnings too
    #[arg(long)]
    strict: bool,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    store: StoreOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Postgresql,
    Sqlite,
    Mysql,
    Lake,
}

impl Check {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let document = read(&self.file)?;
        let (Some(connection), Some(user)) = (&self.connection, &self.user) else {
            return self.tell(self.alone(&document));
        };
        with_gateway(&self.store.load(Vec::new())?.config, async |gateway| {
            let checked = as_operator(gateway, "check-policy", Some(user), async |call| {
                gateway.check_policy(call, connection, &document).await
            });
            self.tell(checked.await?)
        })
    }

    /// What the document alone shows.
    fn alone(&self, document: &str) -> CheckedPolicy {
        let kind = match self.kind {
            Kind::Postgresql => ConnectionKind::Postgresql,
            Kind::Sqlite => ConnectionKind::Sqlite,
            Kind::Mysql => ConnectionKind::Mysql,
            Kind::Lake => ConnectionKind::Lake,
        };
        match Policy::load(&shown(&self.file), document, kind) {
            Ok(policy) => CheckedPolicy { warnings: policy.warnings(None), ..CheckedPolicy::default() },
            Err(invalid) => CheckedPolicy { problems: invalid.problems, ..CheckedPolicy::default() },
        }
    }

    fn tell(&self, checked: CheckedPolicy) -> Result<ExitCode, Failure> {
        let CheckedPolicy { problems, warnings, indexed } = checked;
        let is_fine = problems.is_empty() && (!self.strict || warnings.is_empty());
        let code = if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        if self.format == Format::Json {
            let problems: Vec<_> = problems.into_iter().map(DocumentProblem::from).collect();
            let warnings: Vec<_> = warnings.into_iter().map(Finding::from).collect();
            say_json(&json!({
                "valid": problems.is_empty(), "problems": problems, "warnings": warnings, "indexed": indexed,
            }))?;
            return Ok(code);
        }
        let file = shown(&self.file);
        let count = warnings.len();
        let is_valid = problems.is_empty();
        tell_problems(&file, problems);
        tell_warnings(&file, warnings);
        if is_valid {
            let with = match count {
                0 => String::new(),
                1 => ", with 1 warning".to_owned(),
                _ => format!(", with {count} warnings"),
            };
            say(format_args!("{} the document can be used{with}", paint(GOOD, "ok:")));
        }
        Ok(code)
    }
}
