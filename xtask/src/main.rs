//! The project's own commands: `cargo xtask check`, `test`, `setup`, `wheel`, `oracle` and `bench`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its terminal")]

mod bench;
mod check;
mod edges;
mod mutants;
mod oracle;
mod repository;
mod setup;
mod steps;
mod test;
mod tidy;
mod wheel;
mod world;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask <command>

  check [--fast] [--keep-going]  the gates: tidy, format, lints, crate edges, docs, licences, unused dependencies, Python
  test  [--fast] [--keep-going]  installs what is missing, then runs every test
  setup                          what `test` installs, alone
  wheel                          the Python client as a wheel, in target/wheels, tried in an environment of its own
  world [--json]                 starts the guard corpus: PostgreSQL, a server with its policy, four principals; Ctrl-C ends it
  mutants [--only NAME] [--resume] [--write]
                                 breaks a copy of the sources as cases/mutants says, and sees that the tests notice;
                                 with --resume only what no earlier run saw noticed;
                                 with --write the table in docs/mutants.md is made anew
  oracle [--engine E] [--minutes N] [--seed N] [--statements M]
                                 random statements, isolated and guarded, on postgres, sqlite and mysql: they must agree
  bench [--quick] [--only PART]  builds the release binaries and writes benches/results.md, or one part of it

  --fast        leaves out the slow gates, and shortens the slow tests
  --keep-going  goes on after a failure
  --quick       short rounds: for a first look, not for figures";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), String> {
    let Some((command, flags)) = words.split_first() else {
        return Err(USAGE.to_owned());
    };
    if *command == "oracle" {
        return oracle::run(flags);
    }
    if *command == "mutants" {
        return mutants_of(flags);
    }
    if *command == "bench" {
        return bench::run(flags);
    }
    let allowed: &[&str] = match *command {
        "check" | "test" => &["--fast", "--keep-going"],
        "world" => &["--json"],
        _ => &[],
    };
    if let Some(unknown) = flags.iter().find(|flag| !allowed.contains(flag)) {
        return Err(format!("{command} does not know {unknown}\n\n{USAGE}"));
    }
    let has = |flag: &str| flags.contains(&flag);
    match *command {
        "check" => check::run(has("--fast"), has("--keep-going")),
        "test" => test::run(has("--fast"), has("--keep-going")),
        "setup" => setup::run(),
        "wheel" => wheel::run(),
        "world" => world::run(has("--json")),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(format!("there is no command {other}\n\n{USAGE}")),
    }
}

fn mutants_of(words: &[&str]) -> Result<(), String> {
    let mut wanted = mutants::Wanted::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--resume" => wanted.resume = true,
            "--write" => wanted.write = true,
            "--only" => wanted.only = Some(words.next().ok_or("--only needs a part of a name")?),
            other => return Err(format!("mutants does not know {other}\n\n{USAGE}")),
        }
    }
    if wanted.write && wanted.only.is_some() && !wanted.resume {
        return Err("the table shows every record: --write with --only needs --resume".to_owned());
    }
    mutants::run(&wanted)
}
