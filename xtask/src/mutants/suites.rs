//! The suites that must notice a break.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::record::Suite;
use super::scratch::Scratch;
use crate::repository::{program, target};
use crate::setup;

/// What a suite says of the sources.
pub(crate) enum Answer {
    /// It fails; the text says where.
    Caught(String),
    /// It passes.
    Passed,
}

/// Runs suites on the copy.
pub(crate) struct Suites {
    corpus: Option<Corpus>,
    /// The suites that passed on the sound sources.
    sound: BTreeSet<String>,
}

impl Suites {
    pub(crate) fn new() -> Self {
        Self { corpus: None, sound: BTreeSet::new() }
    }

    /// A suite that fails without a break would catch anything: it must pass on the sound copy first.
    pub(crate) fn must_pass(&mut self, scratch: &Scratch, suite: &Suite) -> Result<(), String> {
        if self.sound.contains(&suite.shown()) {
            return Ok(());
        }
        match self.run(scratch, suite)? {
            Answer::Passed => {
                self.sound.insert(suite.shown());
                Ok(())
            }
            Answer::Caught(told) => Err(format!("{} fails without a break: {told}", suite.shown())),
        }
    }

    /// Builds what the suite needs and runs it. An error is none of the suite's: the broken copy does not compile, say.
    pub(crate) fn run(&mut self, scratch: &Scratch, suite: &Suite) -> Result<Answer, String> {
        match suite {
            Suite::Crate { package, filter } => run_crate(scratch, package, filter),
            Suite::Corpus => {
                let build = &["build", "--quiet", "-p", "ringfence-guard", "--example", "guarded"];
                quiet(scratch.cargo(build))?;
                let corpus = match &mut self.corpus {
                    Some(corpus) => corpus,
                    none => none.insert(Corpus::start()?),
                };
                corpus.ask()
            }
        }
    }
}

fn run_crate(scratch: &Scratch, package: &str, filter: &str) -> Result<Answer, String> {
    // The long tests of the guard are asked for by name.
    let only: &[&str] = if filter.is_empty() { &["--skip", "nasty"] } else { &[filter] };
    let of_package = ["test", "--quiet", "-p", package, "--lib", "--tests"];
    let mut build = scratch.cargo(&of_package);
    build.arg("--no-run");
    quiet(build)?;
    let mut tests = scratch.cargo(&of_package);
    tests.arg("--no-fail-fast").arg("--").args(only);
    let output = tests.output().map_err(|error| format!("cargo could not be started: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if String::from_utf8_lossy(&output.stderr).contains("has overflowed its stack") {
        return Ok(Answer::Caught("a stack overflow".to_owned()));
    }
    let ran = text.lines().filter_map(tests_of).sum::<u32>();
    if ran == 0 {
        return Err(format!("no test of {package} is called {filter:?}"));
    }
    if output.status.success() {
        return Ok(Answer::Passed);
    }
    let failed: Vec<&str> = text.lines().filter_map(failed_test).collect();
    match failed.split_first() {
        None => Err(format!("{package}: the tests ended with {}", output.status)),
        Some((first, [])) => Ok(Answer::Caught((*first).to_owned())),
        Some((first, others)) => Ok(Answer::Caught(format!("{first} and {} more", others.len()))),
    }
}

/// `test result: FAILED. 5 passed; 1 failed; ...`: how many ran.
fn tests_of(line: &str) -> Option<u32> {
    let counts = line.strip_prefix("test result: ")?;
    let before = |word: &str| {
        let (before, _) = counts.split_once(word)?;
        before.split_whitespace().last()?.parse::<u32>().ok()
    };
    Some(before(" passed")? + before(" failed")?)
}

/// `---- name stdout ----`, above what a failed test printed.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

fn quiet(mut command: Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("cargo could not be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let first: Vec<&str> = text.lines().filter(|line| !line.starts_with("warning")).take(12).collect();
    Err(format!("the broken sources do not compile:\n{}", first.join("\n")))
}

/// The corpus' databases, and a runner that asks the example binary again and again.
struct Corpus {
    runner: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Corpus {
    fn start() -> Result<Self, String> {
        let mut runner = program(setup::python()?);
        runner.args(["-m", "guard_mutants"]);
        runner.env("PYTHONPATH", "tests/python").env("PYTHONDONTWRITEBYTECODE", "1");
        runner.env("POSTGRES_PROGRAMS", setup::postgres_programs()?);
        let told = |error: std::io::Error| format!("the corpus could not be started: {error}");
        let mut runner = runner.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(told)?;
        let questions = runner.stdin.take();
        let answers = runner.stdout.take().ok_or("the corpus has no output")?;
        Ok(Self { runner, questions, answers: BufReader::new(answers) })
    }

    /// One line asks, one line answers.
    fn ask(&mut self) -> Result<Answer, String> {
        // The binary is built anew for the next break, so that the runner gets one of its own.
        let built = Scratch::target().join("debug/examples/guarded");
        let copy = target().join("mutants/guarded");
        let told = |error: std::io::Error| format!("the corpus does not answer: {error}");
        std::fs::copy(&built, &copy).map_err(told)?;
        let questions = self.questions.as_mut().ok_or("the corpus has no input")?;
        writeln!(questions, "{}", copy.display()).map_err(told)?;
        questions.flush().map_err(told)?;
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(told)?;
        match line.trim_end().split_once(' ') {
            Some(("caught", by)) => Ok(Answer::Caught(by.to_owned())),
            Some(("passed", _)) => Ok(Answer::Passed),
            _ => Err("the corpus ended".to_owned()),
        }
    }
}

impl Drop for Corpus {
    fn drop(&mut self) {
        // At the end of the questions it takes its databases down.
        self.questions = None;
        let _ = self.runner.wait();
    }
}
