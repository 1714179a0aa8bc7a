//! `ringfence cubes`: define cubes, see what there is, and query it as somebody.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use ringfence_engine::Value;
use ringfence_gateway::Freshness;
use ringfence_gateway::cubes::{CubeAnswer, CubeDescription, CubeQuery, CubeRow, LevelReference, PutCube};
use ringfence_policy::Problem;

use super::failure::Failure;
use super::help;
use super::operator::{as_operator, with_gateway};
use super::options::StoreOptions;
use super::terminal::{BAD, GOOD, complain, paint, paint_error, say};

/// Define cubes, list them, query them
///
/// Works on the control store itself, as one of the organization's users: it needs the data directory (or the store's URL)
/// and the sealing key, no access key. A running server heeds a change within a second.
#[derive(Debug, Args)]
#[command(after_help = help::CUBES)]
pub(crate) struct CubesCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Apply(Apply),
    List(List),
    Show(Show),
    Query(Query),
    Delete(Delete),
}

/// Define cubes; of several, those before one that can't be used are defined
#[derive(Debug, Args)]
struct Apply {
    /// Documents, YAML or JSON, a cube in each; it is called like its file
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// What the cube is called instead; for one file
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// List the cubes that a user sees
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    target: Target,
}

/// Show the hierarchies and measures that a user sees of a cube
#[derive(Debug, Args)]
struct Show {
    /// Its name
    name: String,
    #[command(flatten)]
    target: Target,
}

/// Query a cube as a user and print what it answers
#[derive(Debug, Args)]
struct Query {
    /// Its name
    name: String,
    /// A measure, as often as needed
    #[arg(long = "measure", short = 'm', value_name = "NAME")]
    measures: Vec<String>,
    /// A level (`City` or `Geography.City`), as often as needed
    #[arg(long = "level", short = 'l', value_name = "NAME")]
    levels: Vec<String>,
    /// Totals as well
    #[arg(long)]
    totals: bool,
    /// Conditions as the HTTP interface takes them, in JSON
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// Rows at most
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    target: Target,
}

/// Take a cube away
#[derive(Debug, Args)]
struct Delete {
    /// Its name
    name: String,
    #[command(flatten)]
    target: Target,
}

/// Where, and as whom.
#[derive(Debug, Args)]
struct Target {
    /// Key of one of the user's connections
    #[arg(long, value_name = "KEY")]
    connection: String,
    /// Id of the user: an administrator to define, anybody to query
    #[arg(long, value_name = "ID")]
    user: String,
    #[command(flatten)]
    store: StoreOptions,
}

impl CubesCommand {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        match &self.verb {
            Verb::Apply(apply) => apply.run(),
            Verb::List(list) => list.run(),
            Verb::Show(show) => show.run(),
            Verb::Query(query) => query.run(),
            Verb::Delete(delete) => delete.run(),
        }
    }
}

impl Apply {
    fn run(&self) -> Result<ExitCode, Failure> {
        if self.name.is_some() && self.files.len() > 1 {
            return Err(Failure::usage("--name is for one file: leave it out, or give one".to_owned()));
        }
        let mut documents = Vec::new();
        for file in &self.files {
            let text =
                std::fs::read_to_string(file).map_err(|error| Failure::from(error).about(file.display()))?;
            let name = self.name.clone().or_else(|| stem(file));
            let name = name.ok_or_else(|| Failure::usage(format!("{} names no cube", file.display())))?;
            documents.push((file.display().to_string(), name, text));
        }
        let Target { connection, user, store } = &self.target;
        with_gateway(&store.load(Vec::new())?.config, async |gateway| {
            for (file, name, text) in &documents {
                let put = as_operator(gateway, "put-cube", Some(user), async |call| {
                    gateway.put_cube(call, connection, name, text).await
                });
                match put.await.map_err(|error| Failure::from(error).about(file))? {
                    PutCube::Stored(version) => {
                        let done = paint(GOOD, "done:");
                        say(format_args!("{done} {name} version {} counts", version.version));
                    }
                    PutCube::Invalid(problems) => {
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
        let Target { connection, user, store } = &self.target;
        with_gateway(&store.load(Vec::new())?.config, async |gateway| {
            let cubes = as_operator(gateway, "describe-cubes", Some(user), async |call| {
                gateway.describe_cubes(call, connection).await
            });
            for CubeDescription { name, table, caption, .. } in cubes.await? {
                let about = caption.map(|text| format!("  {text}")).unwrap_or_default();
                say(format_args!("{name:<24} {table}{about}"));
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Show {
    fn run(&self) -> Result<ExitCode, Failure> {
        let Target { connection, user, store } = &self.target;
        with_gateway(&store.load(Vec::new())?.config, async |gateway| {
            let cube = as_operator(gateway, "describe-cube", Some(user), async |call| {
                gateway.describe_cube(call, connection, &self.name).await
            });
            let cube = cube.await?;
            say(format_args!("{} over {}", cube.name, cube.table));
            for hierarchy in &cube.hierarchies {
                let levels: Vec<&str> = hierarchy.levels.iter().map(|level| level.name.as_str()).collect();
                say(format_args!("  hierarchy {}: {}", hierarchy.name, levels.join(" > ")));
            }
            for measure in &cube.measures {
                let about = measure.description.as_ref().map(|text| format!("  {text}")).unwrap_or_default();
                say(format_args!("  measure {}{about}", measure.name));
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Query {
    fn run(&self) -> Result<ExitCode, Failure> {
        let Self { name, measures, levels, totals, filter, limit, target } = self;
        let filter = filter.as_deref().map(serde_json::from_str).transpose();
        let filter = filter.map_err(|error| Failure::usage(format!("--filter can't be read: {error}")))?;
        let query = CubeQuery {
            measures: measures.clone(),
            levels: levels.iter().cloned().map(LevelReference::Name).collect(),
            filter,
            include_totals: *totals,
            limit: *limit,
            ..CubeQuery::default()
        };
        let Target { connection, user, store } = target;
        with_gateway(&store.load(Vec::new())?.config, async |gateway| {
            let answer = as_operator(gateway, "query-cube", Some(user), async |call| {
                gateway.query_cube(call, connection, name, &query, Freshness::UNKEPT).await
            });
            print(&answer.await?);
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Delete {
    fn run(&self) -> Result<ExitCode, Failure> {
        let Target { connection, user, store } = &self.target;
        with_gateway(&store.load(Vec::new())?.config, async |gateway| {
            let removed = as_operator(gateway, "remove-cube", Some(user), async |call| {
                gateway.remove_cube(call, connection, &self.name).await
            });
            removed.await?;
            say(format_args!("{} {} is gone; its history stays", paint(GOOD, "removed:"), self.name));
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// A table; a total says so where its first missing member would be.
fn print(answer: &CubeAnswer) {
    let names = answer.levels.iter().map(|level| &level.name);
    let names = names.chain(answer.measures.iter().map(|measure| &measure.name));
    let mut lines: Vec<Vec<String>> = vec![names.cloned().collect()];
    for CubeRow { values, grouping } in answer.rows() {
        let cell = |(at, value): (usize, &Value)| match value {
            Value::Null if at == grouping && at < answer.levels.len() => "Total".to_owned(),
            Value::Null if at < grouping => "N/A".to_owned(),
            Value::Null => String::new(),
            Value::Text(text) => text.clone(),
            other => serde_json::to_string(other).unwrap_or_default(),
        };
        lines.push(values.iter().enumerate().map(cell).collect());
    }
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..lines.first().map_or(0, Vec::len)).map(width).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            if at < answer.levels.len() { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        say(format_args!("{}", cells.collect::<Vec<_>>().join("  ").trim_end()));
    }
    if answer.has_more {
        say(format_args!("... and more"));
    }
}

fn stem(file: &Path) -> Option<String> {
    file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned)
}

fn tell(file: &str, problems: Vec<Problem>) {
    for problem in problems {
        let problem = Problem { file: file.to_owned(), ..problem };
        complain(format_args!("{} {problem}", paint_error(BAD, "error:")));
    }
}
