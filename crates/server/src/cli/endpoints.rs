//! `ringfence endpoints`: publish statements at paths, see what there is, and try it as somebody.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use ringfence_gateway::endpoints::PutEndpoint;
use ringfence_policy::{Endpoint, Problem};
use serde_json::{Map, Value};

use super::failure::Failure;
use super::help;
use super::operator::{as_operator, with_gateway};
use super::options::StoreOptions;
use super::terminal::{BAD, GOOD, complain, paint, paint_error, say};

/// Publish statements as endpoints, list them, try them
///
/// Works on the control store itself, as one of the organization's users: it needs the data directory (or the store's URL)
/// and the sealing key, no access key. A running server heeds a change within a second.
#[derive(Debug, Args)]
#[command(after_help = help::ENDPOINTS)]
pub(crate) struct EndpointsCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Apply(Apply),
    List(List),
    Try(Try),
    Remove(Remove),
}

/// Publish documents; of several, those before one that can't be used are published
#[derive(Debug, Args)]
struct Apply {
    /// Documents, YAML or JSON, an endpoint in each
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// List the endpoints that a user may call
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    target: Target,
}

/// Call an endpoint as a user and print what it answers
#[derive(Debug, Args)]
struct Try {
    /// Its name
    name: String,
    /// A parameter, as often as needed; what reads as JSON is taken as such
    #[arg(long = "parameter", short = 'p', value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    #[command(flatten)]
    target: Target,
}

/// Take an endpoint away
#[derive(Debug, Args)]
struct Remove {
    /// Its name
    name: String,
    #[command(flatten)]
    target: Target,
}

/// As whom.
#[derive(Debug, Args)]
struct Target {
    /// Id of the user: an administrator with the connection to publish, anybody to try
    #[arg(long, value_name = "ID")]
    user: String,
    #[command(flatten)]
    store: StoreOptions,
}

impl EndpointsCommand {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        match &self.verb {
            Verb::Apply(apply) => apply.run(),
            Verb::List(list) => list.run(),
            Verb::Try(trying) => trying.run(),
            Verb::Remove(remove) => remove.run(),
        }
    }
}

impl Apply {
    fn run(&self) -> Result<ExitCode, Failure> {
        let mut documents = Vec::new();
        for file in &self.files {
            let text =
                std::fs::read_to_string(file).map_err(|error| Failure::from(error).about(file.display()))?;
            let name = file.display().to_string();
            match Endpoint::load(&name, &text) {
                Ok(endpoint) => documents.push((name, endpoint.name, text)),
                Err(invalid) => {
                    tell(&name, invalid.problems);
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        let user = &self.target.user;
        with_gateway(&self.target.store.load(Vec::new())?.config, async |gateway| {
            for (file, name, text) in &documents {
                let put = as_operator(gateway, "put-endpoint", Some(user), async |call| {
                    gateway.put_endpoint(call, name, text).await
                });
                match put.await.map_err(|error| Failure::from(error).about(file))? {
                    PutEndpoint::Stored(version) => {
                        say(format_args!(
                            "{} {name} version {} is published",
                            paint(GOOD, "done:"),
                            version.version
                        ));
                    }
                    PutEndpoint::Invalid(problems) => {
                        tell(file, problems);
                        return Ok(ExitCode::FAILURE);
                    }
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl List {
    fn run(&self) -> Result<ExitCode, Failure> {
        let user = &self.target.user;
        with_gateway(&self.target.store.load(Vec::new())?.config, async |gateway| {
            let endpoints = as_operator(gateway, "list-endpoints", Some(user), async |call| {
                gateway.list_endpoints(call).await
            });
            for endpoint in endpoints.await? {
                let Endpoint { name, method, path, description, .. } = endpoint;
                let about = description.map(|text| format!("  {text}")).unwrap_or_default();
                say(format_args!("{:<24} {:<6} {path}{about}", name, method.name()));
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Try {
    fn run(&self) -> Result<ExitCode, Failure> {
        let mut parameters = Map::new();
        for given in &self.parameters {
            let Some((name, value)) = given.split_once('=') else {
                return Err(Failure::usage(format!("`{given}` is no NAME=VALUE")));
            };
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            parameters.insert(name.to_owned(), value);
        }
        let user = &self.target.user;
        with_gateway(&self.target.store.load(Vec::new())?.config, async |gateway| {
            let answer = as_operator(gateway, "try-endpoint", Some(user), async |call| {
                gateway.try_endpoint(call, &self.name, &parameters).await
            });
            say(format_args!("{:#}", answer.await?.body));
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Remove {
    fn run(&self) -> Result<ExitCode, Failure> {
        let user = &self.target.user;
        with_gateway(&self.target.store.load(Vec::new())?.config, async |gateway| {
            let removed = as_operator(gateway, "remove-endpoint", Some(user), async |call| {
                gateway.remove_endpoint(call, &self.name).await
            });
            removed.await?;
            say(format_args!("{} {} is gone; its history stays", paint(GOOD, "removed:"), self.name));
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn tell(file: &str, problems: Vec<Problem>) {
    for problem in problems {
        let problem = Problem { file: file.to_owned(), ..problem };
        complain(format_args!("{} {problem}", paint_error(BAD, "error:")));
    }
}
