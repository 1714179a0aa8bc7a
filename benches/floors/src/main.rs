//! `floors serve`: the least that an application needs to answer a query over HTTP. `floors load`: measures any
//! server over HTTP. `floors postgres`: measures PostgreSQL without anything in between.
//! `floors guard`: measures the guard, its cache and the making of views, without a database.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its terminal")]

mod arguments;
mod figures;
mod guard;
mod http;
#[path = "../../../crates/gateway/src/lifted.rs"]
mod lifted;
mod load;
mod models;
mod postgres;
mod serve;

use std::process::ExitCode;

const USAGE: &str = "\
floors serve     --listen ADDRESS --postgres URL [--pool 32] [--tenant NAME]
floors load      --address HOST:PORT --path PATH --body JSON [--header 'Name: value'] [--clients 1]
                 [--seconds 3 | --count 1000] [--range 1000000]
floors postgres  --postgres URL --query SQL [--bind yes] [--clients 1] [--seconds 3] [--range 1000000]
floors guard     [--rounds 40]
floors guarded   --catalog FILE --policy FILE --attributes JSON --query SQL

In a body, {n} becomes a number from 1 to the range, another one each time, and {i} counts from 0.
Figures are printed as one line of JSON.";

/// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let arguments = arguments::Arguments::read(words);
    let outcome = match command.as_str() {
        "serve" => serve::run(&arguments).await,
        "load" => load::run(&arguments).await.map(|figures| println!("{figures}")),
        "guard" => guard::run(&arguments).map(|figures| println!("{figures}")),
        "guarded" => guard::print(&arguments).map(|printed| println!("{printed}")),
        "postgres" => postgres::run(&arguments).await.map(|figures| println!("{figures}")),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
