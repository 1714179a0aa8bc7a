//! `ringfence policy diff`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ringfence_gateway::policies::{Diff as Difference, DiffRequest};

use super::{Target, read, shown, tell_problems};
use crate::cli::failure::Failure;
use crate::cli::operator::as_operator;
use crate::cli::options::Format;
use crate::cli::terminal::{BAD, GOOD, TITLE, paint, say, say_json};
use crate::reports::{EffectReport, Mark};

/// Say what a document would change, and for whom, counted on the data; nothing is put
///
/// For each group of users whose views are equal: the relations, columns and rights that they gain and lose, and how many
/// rows, as the guard counts them for some users of the group.
#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The document, YAML or JSON; `-` for standard input
    file: PathBuf,
    #[command(flatten)]
    target: Target,
    /// Only these users, with commas between them [default: all of the organization]
    #[arg(long = "as", value_name = "IDS", value_delimiter = ',')]
    users: Vec<String>,
    /// Do not count rows
    #[arg(long)]
    no_count: bool,
    /// For how many users of each group rows are counted [default: 3]
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Diff {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let request = DiffRequest {
            document: read(&self.file)?,
            users: self.users.clone(),
            counting: !self.no_count,
            sample: self.sample,
        };
        let target = &self.target;
        target.with_gateway(async |gateway| {
            let difference = as_operator(gateway, "diff-policy", Some(&target.user), async |call| {
                gateway.diff_policy(call, &target.connection, request).await
            });
            match difference.await? {
                Difference::Effect(effect) => {
                    let report = EffectReport::from(effect);
                    if self.format == Format::Json {
                        say_json(&report)?;
                    } else {
                        report.lines(painted).into_iter().for_each(say);
                    }
                    Ok(ExitCode::SUCCESS)
                }
                Difference::Invalid(problems) => {
                    tell_problems(&shown(&self.file), problems);
                    Ok(ExitCode::FAILURE)
                }
            }
        })
    }
}

fn painted(mark: Mark, text: &str) -> String {
    let style = match mark {
        Mark::Title => TITLE,
        Mark::Gained => GOOD,
        Mark::Lost => BAD,
    };
    paint(style, text)
}
