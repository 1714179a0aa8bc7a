//! The `ringfence` binary.

mod cli;
mod config;
mod http;
mod telemetry;

fn main() -> std::process::ExitCode {
    cli::main()
}
