//! `cargo xtask oracle`: random statements on isolated databases and through the guard, which must agree.

use std::path::PathBuf;

use crate::repository::{cargo, program, run as start, target};
use crate::setup;

/// Databases that the oracle knows, in the order in which they run when none is named.
const ENGINES: [&str; 3] = ["postgres", "sqlite", "mysql"];

/// What `python -m guard_oracle` takes, each with a value.
const OPTIONS: [&str; 7] =
    ["--minutes", "--engine", "--seed", "--statements", "--fault", "--findings", "--only"];

/// Runs one engine, or one after the other. An error when they diverge; the others run all the same.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let (engines, passed_on) = read(words)?;
    setup::system_packages()?;
    let python = setup::python()?;
    let guarded = build_example()?;
    let mut diverged = Vec::new();
    for engine in engines {
        println!("\n== {engine}");
        let mut oracle = program(&python);
        oracle.args(["-m", "guard_oracle", "--engine", engine]).args(&passed_on);
        oracle.env("PYTHONPATH", "tests/python");
        oracle.env("PYTHONDONTWRITEBYTECODE", "1");
        oracle.env("GUARDED", &guarded);
        oracle.env("POSTGRES_PROGRAMS", setup::postgres_programs()?);
        if start(oracle).is_err() {
            diverged.push(engine);
        }
    }
    if diverged.is_empty() {
        Ok(())
    } else {
        Err(format!("the oracle found divergences, or did not run: {}", diverged.join(", ")))
    }
}

/// Builds the guard's example, which guards without a server, and answers where it is.
pub(crate) fn build_example() -> Result<PathBuf, String> {
    start(cargo(&["build", "--quiet", "-p", "ringfence-guard", "--example", "guarded"]))?;
    Ok(target().join("debug").join("examples").join("guarded"))
}

/// The engines that are meant, and what goes to the program.
fn read<'a>(words: &[&'a str]) -> Result<(Vec<&'a str>, Vec<&'a str>), String> {
    let (mut engines, mut passed_on) = (Vec::new(), Vec::new());
    let mut rest = words.iter();
    while let Some(option) = rest.next() {
        if !OPTIONS.contains(option) {
            return Err(format!("oracle does not know {option}: it takes {}", OPTIONS.join(", ")));
        }
        let value = rest.next().ok_or_else(|| format!("{option} needs a value"))?;
        match *option {
            "--engine" if ENGINES.contains(value) => engines.push(*value),
            "--engine" => return Err(format!("there is no engine {value}: {}", ENGINES.join(", "))),
            _ => passed_on.extend([*option, *value]),
        }
    }
    if engines.is_empty() {
        engines.extend(ENGINES);
    }
    Ok((engines, passed_on))
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn options_are_read_and_checked() {
        assert_eq!(read(&[]).expect("nothing").0, ["postgres", "sqlite", "mysql"]);
        let (engines, passed_on) = read(&["--engine", "mysql", "--seed", "7"]).expect("both are known");
        assert_eq!((engines, passed_on), (vec!["mysql"], vec!["--seed", "7"]));
        for wrong in [&["--engine", "oracle"][..], &["--minutes"], &["--sedd", "7"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
