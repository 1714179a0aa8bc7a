//! `ringfence policy apply`, `get` and `remove`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ringfence_gateway::policies::{NewPolicy, PutPolicy};
use ringfence_store::policies::Expected;

use super::{Target, read, shown, tell_problems, tell_warnings};
use crate::cli::failure::Failure;
use crate::cli::operator::as_operator;
use crate::cli::terminal::{BAD, GOOD, TITLE, complain, paint, paint_error, say};

/// Put a document in force on a connection
#[derive(Debug, Args)]
pub(super) struct Apply {
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
}

/// Print the document in force on a connection, as it was put
#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(flatten)]
    target: Target,
}

/// Take the policy away: the connection is open from then on, to everybody who has one to the same database
#[derive(Debug, Args)]
pub(super) struct Remove {
    #[command(flatten)]
    target: Target,
    /// The version in force that is meant
    #[arg(long, value_name = "VERSION")]
    expect: i64,
    /// Why, for the history and the audit log
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

impl Apply {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let expected = match self.expect {
            None => Expected::Any,
            Some(0) => Expected::None,
            Some(version) => Expected::Version(version),
        };
        let new = NewPolicy { document: read(&self.file)?, comment: self.comment.clone(), expected };
        let target = &self.target;
        target.with_gateway(async |gateway| {
            let put = as_operator(gateway, "put-policy", Some(&target.user), async |call| {
                gateway.put_policy(call, &target.connection, new).await
            });
            match put.await? {
                PutPolicy::Stored { version, warnings } => {
                    tell_warnings(&shown(&self.file), warnings);
                    say(format_args!("{} version {} is in force", paint(GOOD, "done:"), version.version));
                    Ok(ExitCode::SUCCESS)
                }
                PutPolicy::Invalid(problems) => {
                    tell_problems(&shown(&self.file), problems);
                    Ok(ExitCode::FAILURE)
                }
            }
        })
    }
}

impl Get {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let target = &self.target;
        target.with_gateway(async |gateway| {
            let policy = as_operator(gateway, "get-policy", Some(&target.user), async |call| {
                gateway.get_policy(call, &target.connection).await
            });
            let policy = policy.await?;
            let document = &policy.version.document;
            say(document.strip_suffix('\n').unwrap_or(document));
            for (relation, reasons) in policy.suspended {
                let word = paint_error(BAD, "suspended:");
                complain(format_args!(
                    "{word} nobody has access to {relation}, because the database changed"
                ));
                for reason in reasons {
                    complain(format_args!("  {} {reason}", paint_error(TITLE, "because:")));
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Remove {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let target = &self.target;
        target.with_gateway(async |gateway| {
            let removed = as_operator(gateway, "remove-policy", Some(&target.user), async |call| {
                gateway.remove_policy(call, &target.connection, self.expect, self.comment.clone()).await
            });
            let removed = removed.await?;
            say(format_args!(
                "{} version {} says so: the database is open to everybody who has a connection to it",
                paint(GOOD, "removed:"),
                removed.version
            ));
            Ok(ExitCode::SUCCESS)
        })
    }
}
