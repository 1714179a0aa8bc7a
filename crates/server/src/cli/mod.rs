//! The command line.

mod admin;
mod audit;
mod checks;
mod completions;
mod config;
mod cubes;
mod demo;
mod doctor;
mod explain;
mod failure;
mod help;
mod listening;
mod load;
mod mcp;
mod opening;
mod operator;
mod options;
mod endpoints;
mod passwords;
mod policy;
mod program;
mod prove;
mod restrictions;
mod serve;
mod tenants;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// One door to your databases, where every person, application and agent sees only their own data.
#[derive(Debug, Parser)]
#[command(
    name = "ringfence",
    version,
    styles = help::STYLES,
    after_help = help::TOP_EXAMPLES,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    Config(config::ConfigCommand),
    Admin(admin::Admin),
    Policy(policy::PolicyCommand),
    Endpoints(endpoints::EndpointsCommand),
    Cubes(cubes::CubesCommand),
    Restrictions(restrictions::RestrictionsCommand),
    Tenants(tenants::Tenants),
    Prove(prove::Prove),
    Doctor(doctor::Doctor),
    Explain(explain::Explain),
    Why(explain::Why),
    Audit(audit::Audit),
    Load(load::Load),
    Mcp(mcp::Mcp),
    Completions(completions::Completions),
}

/// Runs the command line and answers the exit code: 0 done, 1 failed, 2 asked wrongly.
pub(crate) fn main() -> ExitCode {
    // On a wrong command line clap prints what is wrong and ends the process with code 2.
    let outcome = match Cli::parse().command {
        Command::Serve(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::Config(command) => command.run(),
        Command::Admin(command) => command.run(),
        Command::Policy(command) => command.run(),
        Command::Endpoints(command) => command.run(),
        Command::Cubes(command) => command.run(),
        Command::Restrictions(command) => command.run(),
        Command::Tenants(command) => command.run(),
        Command::Prove(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Why(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Load(command) => command.run(),
        Command::Mcp(command) => command.run(),
        Command::Completions(command) => Ok(command.run::<Cli>()),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            report(&failure);
            failure.exit_code()
        }
    }
}

fn report(failure: &Failure) {
    terminal::complain(format_args!(
        "{} {}",
        terminal::paint_error(terminal::BAD, "error:"),
        failure.message()
    ));
    if let Some(advice) = failure.advice() {
        terminal::complain(format_args!("{} {advice}", terminal::paint_error(terminal::GOOD, " help:")));
    }
}
