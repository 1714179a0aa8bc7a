//! Runs named steps one after the other and tells at the end how each went and how long it took.

use std::time::{Duration, Instant};

/// What became of a step that did not fail.
pub(crate) enum Outcome {
    /// It ran, and all is well. The text, if any, stands in the table.
    Passed(String),
    /// It could not run here, or was not asked for; the text says why.
    Skipped(String),
}

/// The steps of one command.
pub(crate) struct Steps {
    keep_going: bool,
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    took: Duration,
    result: String,
    failed: bool,
}

impl Steps {
    pub(crate) fn new(keep_going: bool) -> Self {
        Self { keep_going, rows: Vec::new() }
    }

    /// Runs a step, unless an earlier one failed and we were not told to go on.
    pub(crate) fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<Outcome, String>) {
        if self.stopped() {
            return;
        }
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = step();
        let failed = outcome.is_err();
        let result = match outcome {
            Ok(Outcome::Passed(note)) if note.is_empty() => "passed".to_owned(),
            Ok(Outcome::Passed(note)) => format!("passed: {note}"),
            Ok(Outcome::Skipped(reason)) => format!("skipped: {reason}"),
            Err(message) => {
                eprintln!("{message}");
                "FAILED".to_owned()
            }
        };
        self.rows.push(Row { name, took: start.elapsed(), result, failed });
    }

    /// Prints the table. An error when a step failed.
    pub(crate) fn finish(self) -> Result<(), String> {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(4);
        println!("\n{:width$}  seconds  result", "step");
        for row in &self.rows {
            println!("{:width$}  {:>7.1}  {}", row.name, row.took.as_secs_f64(), row.result);
        }
        let failed = self.rows.iter().filter(|row| row.failed).count();
        match failed {
            0 => Ok(()),
            _ if self.stopped() => Err("stopped at the first failure (--keep-going goes on)".to_owned()),
            count => Err(format!("{count} steps failed")),
        }
    }

    fn stopped(&self) -> bool {
        !self.keep_going && self.rows.iter().any(|row| row.failed)
    }
}

/// A step that passed without a note.
pub(crate) fn passed<T>(_: T) -> Outcome {
    Outcome::Passed(String::new())
}
