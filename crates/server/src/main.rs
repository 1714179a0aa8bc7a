//! The `ringfence` binary.

#![recursion_limit = "256"] // futures of the engine nest deeper than the 128 that rustc lays out by default

mod cli;
mod config;
mod explanation;
mod http;
mod telemetry;

fn main() -> std::process::ExitCode {
    cli::main()
}
