//! `ringfence restrictions`: what data roles are restricted to at run time, beside the policy.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use ringfence_gateway::restrictions::PutRestrictions;
use ringfence_policy::Problem;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::failure::Failure;
use super::help;
use super::operator::{as_operator, with_gateway};
use super::options::StoreOptions;
use super::terminal::{BAD, GOOD, complain, paint, paint_error, say};

/// Restrict data roles at run time, see what is said of them, lift it
///
/// Works on the control store itself, as one of the organization's administrators: it needs the data directory (or the
/// store's URL) and the sealing key, no access key. A running server heeds a change within a second, in open sessions too.
#[derive(Debug, Args)]
#[command(after_help = help::RESTRICTIONS)]
pub(crate) struct RestrictionsCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(List),
    Put(Put),
    Remove(Remove),
}

/// List what roles are restricted to; the policy's document may restrict others
#[derive(Debug, Args)]
struct List {
    /// As the HTTP interface answers it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Restrict a role; replaces what it was restricted to
#[derive(Debug, Args)]
struct Put {
    /// The data role
    role: String,
    /// A JSON file: a list of restrictions, or an object that has it as `restrictions`. Read from standard input when it is
    /// left out or `-`
    file: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// Lift what a role is restricted to
#[derive(Debug, Args)]
struct Remove {
    /// The data role
    role: String,
    #[command(flatten)]
    target: Target,
}

/// Where, and as whom.
#[derive(Debug, Args)]
struct Target {
    /// Key of one of the administrator's connections
    #[arg(long, value_name = "KEY")]
    connection: String,
    /// Id of the administrator
    #[arg(long, value_name = "ID")]
    user: String,
    #[command(flatten)]
    store: StoreOptions,
}

/// What a role is restricted to on one column, as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Restriction {
    table: String,
    column: String,
    #[serde(rename = "in", default, skip_serializing_if = "Option::is_none")]
    values: Option<Vec<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
}

/// The two forms of a file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    List(Vec<Value>),
    Object { restrictions: Vec<Value> },
}

impl RestrictionsCommand {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        match &self.verb {
            Verb::List(list) => list.run(),
            Verb::Put(put) => put.run(),
            Verb::Remove(remove) => remove.run(),
        }
    }
}

impl List {
    fn run(&self) -> Result<ExitCode, Failure> {
        let Target { connection, user, store } = &self.target;
        with_gateway(&store.load(Vec::new())?.config, async |gateway| {
            let said = as_operator(gateway, "list-restrictions", Some(user), async |call| {
                gateway.list_restrictions(call, connection).await
            });
            let said = said.await?;
            if self.json {
                let items: Vec<Value> = said
                    .into_iter()
                    .map(|(role, restrictions)| json!({ "role": role, "restrictions": restrictions }))
                    .collect();
                say(format_args!("{:#}", json!({ "items": items })));
                return Ok(ExitCode::SUCCESS);
            }
            for (role, entries) in said {
                let restrictions: Vec<Restriction> = serde_json::from_value(entries).map_err(|error| {
                    Failure::usage(format!("what is stored of {role} can't be read: {error}"))
                })?;
                if restrictions.is_empty() {
                    say(format_args!("{role:<24} nothing"));
                }
                for restriction in restrictions {
                    say(format_args!("{role:<24} {}", line(&restriction)));
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Put {
    fn run(&self) -> Result<ExitCode, Failure> {
        let Self { role, file, target: Target { connection, user, store } } = self;
        let (about, text) = given(file.as_deref())?;
        let restrictions = read(&text).map_err(|wrong| Failure::usage(format!("{about}: {wrong}")))?;
        let entries = json!(restrictions);
        with_gateway(&store.load(Vec::new())?.config, async |gateway| {
            let put = as_operator(gateway, "put-restrictions", Some(user), async |call| {
                gateway.put_restrictions(call, connection, role, &entries).await
            });
            match put.await? {
                PutRestrictions::Stored => {
                    let done = paint(GOOD, "done:");
                    let what = if restrictions.is_empty() { "restricts nothing" } else { "is restricted" };
                    say(format_args!("{done} {role} {what} now"));
                    Ok(ExitCode::SUCCESS)
                }
                PutRestrictions::Invalid(problems) => {
                    for Problem { message, .. } in problems {
                        complain(format_args!("{} {about}: {message}", paint_error(BAD, "error:")));
                    }
                    Ok(ExitCode::FAILURE)
                }
            }
        })
    }
}

impl Remove {
    fn run(&self) -> Result<ExitCode, Failure> {
        let Self { role, target: Target { connection, user, store } } = self;
        with_gateway(&store.load(Vec::new())?.config, async |gateway| {
            let removed = as_operator(gateway, "delete-restrictions", Some(user), async |call| {
                gateway.delete_restrictions(call, connection, role).await
            });
            removed.await?;
            say(format_args!("{} {role} restricts nothing now", paint(GOOD, "removed:")));
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// A file's name and text; of standard input, when none is named.
fn given(file: Option<&Path>) -> Result<(String, String), Failure> {
    if let Some(file) = file.filter(|file| *file != Path::new("-")) {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| Failure::from(error).about(file.display()))?;
        return Ok((file.display().to_string(), text));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(("standard input".to_owned(), text))
}

/// The restrictions of a file; what is wrong with one of them is said with its number.
fn read(text: &str) -> Result<Vec<Restriction>, String> {
    let given = serde_json::from_str::<Value>(text).map_err(|error| error.to_string())?;
    let shape = "this is no list of restrictions: [{\"table\": ..., \"column\": ..., \"in\": [...]}]";
    let (Given::List(entries) | Given::Object { restrictions: entries }) =
        serde_json::from_value(given).map_err(|_| shape.to_owned())?;
    let read = entries.into_iter().enumerate().map(|(at, entry)| {
        serde_json::from_value(entry).map_err(|error| format!("restriction {}: {error}", at + 1))
    });
    read.collect()
}

/// As a table has it.
fn line(restriction: &Restriction) -> String {
    let Restriction { table, column, values, condition } = restriction;
    let values = values.as_ref().map(|values| format!(" in {}", json!(values)));
    let condition = condition.as_ref().map(|condition| format!(": {condition}"));
    format!("{table}.{column}{}{}", values.unwrap_or_default(), condition.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_file_are_read() {
        let list = r#"[{"table": "shops", "column": "city", "in": ["Paris", null, 1]}]"#;
        for text in [list.to_owned(), format!(r#"{{"restrictions": {list}}}"#)] {
            let [restriction] = &read(&text).unwrap()[..] else { panic!("{text}") };
            assert_eq!(line(restriction), r#"shops.city in ["Paris",null,1]"#);
        }
        let [restriction] = &read(r#"[{"table": "s", "column": "c", "condition": "c > 1"}]"#).unwrap()[..]
        else {
            panic!()
        };
        assert_eq!(line(restriction), "s.c: c > 1");
        assert!(read("[]").unwrap().is_empty());
        for (text, told) in [
            ("", "EOF"),
            ("{}", "no list of restrictions"),
            ("3", "no list of restrictions"),
            (r#"[{"table": "s"}]"#, "restriction 1: missing field `column`"),
            (r#"[{"table": "s", "column": "c", "is": 1}]"#, "restriction 1: unknown field `is`"),
        ] {
            let wrong = read(text).map(|_| ()).unwrap_err();
            assert!(wrong.contains(told), "{text}: {wrong}");
        }
    }
}
