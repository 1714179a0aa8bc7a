//! The `ringfence` binary.

#![recursion_limit = "256"] // futures of the engine nest deeper than the 128 that rustc lays out by default

mod audit_forms;
mod cli;
mod config;
mod explanation;
mod http;
mod mcp;
mod outgoing;
mod reports;
mod telemetry;
mod webhook;

/// A request is made of hundreds of small pieces, taken on one thread and often given back on another: a seventh of what a
/// query cost the gateway was the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
