//! The suites that must notice a break.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::record::Suite;
use super::scratch::{ENDED_BY_TIMEOUT, Scratch};
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
    /// Of each suite that was tried on the sound sources: where its tests are, or why it can't be asked.
    sound: BTreeMap<String, Result<Vec<Place>, String>>,
}

/// Where tests of a crate are. Only what holds tests of a suite is built for it, for building is most of what a break costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the directory `tests`.
    Outside,
    /// Beside the code.
    Inside,
}

/// What the tests of one place say.
struct Told {
    ran: u32,
    answer: Answer,
}

impl Suites {
    pub(crate) fn new() -> Self {
        Self { corpus: None, sound: BTreeMap::new() }
    }

    /// Runs the suite on the sound copy, once. One that fails without a break would notice anything, so that it is not asked.
    pub(crate) fn try_out(&mut self, scratch: &Scratch, suite: &Suite) {
        if !self.sound.contains_key(&suite.shown()) {
            let places = self.places_of_sound(scratch, suite);
            self.sound.insert(suite.shown(), places);
        }
    }

    fn places_of_sound(&mut self, scratch: &Scratch, suite: &Suite) -> Result<Vec<Place>, String> {
        let fails = |told: String| Err(format!("it fails without a break: {told}"));
        let Suite::Crate { package, filter } = suite else {
            return match self.ask_the_corpus(scratch)? {
                Answer::Caught(told) => fails(told),
                Answer::Passed => Ok(Vec::new()),
            };
        };
        let mut places = Vec::new();
        for place in [Place::Outside, Place::Inside] {
            let told = run_crate(scratch, package, filter, place)?;
            if let Answer::Caught(told) = told.answer {
                return fails(told);
            }
            if told.ran > 0 {
                places.push(place);
            }
        }
        if places.is_empty() { Err(format!("no test of {package} is called {filter:?}")) } else { Ok(places) }
    }

    /// Builds what the suite needs and runs it. An error is none of the suite's: the broken copy does not compile, say.
    pub(crate) fn run(&mut self, scratch: &Scratch, suite: &Suite) -> Result<Answer, String> {
        let places = self.sound.get(&suite.shown()).ok_or("it was never seen to pass")?.clone()?;
        let Suite::Crate { package, filter } = suite else { return self.ask_the_corpus(scratch) };
        for place in places {
            let told = run_crate(scratch, package, filter, place)?;
            if matches!(told.answer, Answer::Caught(_)) {
                return Ok(told.answer);
            }
        }
        Ok(Answer::Passed)
    }

    fn ask_the_corpus(&mut self, scratch: &Scratch) -> Result<Answer, String> {
        compile(scratch.cargo(&["build", "--quiet", "-p", "ringfence-guard", "--example", "guarded"]))?;
        let corpus = match &mut self.corpus {
            Some(corpus) => corpus,
            none => none.insert(Corpus::start()?),
        };
        corpus.ask()
    }
}

/// Tests that take long, run for a suite that names them: what others notice at once need not wait for them.
const LONG: [&str; 4] = ["nasty", "mutated", "properties", "speed"];
/// A break may make a test wait for ever.
const LONGEST: &str = "240s";

fn run_crate(scratch: &Scratch, package: &str, filter: &str, place: Place) -> Result<Told, String> {
    let long = LONG.iter().flat_map(|name| ["--skip", *name]);
    let only: Vec<&str> = if filter.is_empty() { long.collect() } else { vec![filter] };
    let name = package.strip_prefix("ringfence-").unwrap_or(package);
    let place: &[&str] = match place {
        Place::Outside => &["--test", name],
        Place::Inside if name == "server" => &["--bins"],
        Place::Inside => &["--lib"],
    };
    let tests = [&["test", "--quiet", "-p", package], place].concat();
    let mut build = scratch.cargo(&tests);
    build.arg("--no-run");
    compile(build)?;
    let mut tests = scratch.limited_cargo(LONGEST, &tests);
    tests.arg("--no-fail-fast").arg("--").args(only);
    let output = tests.output().map_err(|error| format!("cargo could not be started: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let ran = text.lines().filter_map(tests_of).sum::<u32>();
    let caught = |by: String| Ok(Told { ran, answer: Answer::Caught(by) });
    if output.status.code() == Some(ENDED_BY_TIMEOUT) {
        return caught(format!("a test that did not end within {LONGEST}"));
    }
    if String::from_utf8_lossy(&output.stderr).contains("has overflowed its stack") {
        return caught("a stack overflow".to_owned());
    }
    if output.status.success() {
        return Ok(Told { ran, answer: Answer::Passed });
    }
    let failed: Vec<&str> = text.lines().filter_map(failed_test).collect();
    match failed.split_first() {
        None => Err(format!("{package}: the tests ended with {}", output.status)),
        Some((first, [])) => caught((*first).to_owned()),
        Some((first, others)) => caught(format!("{first} and {} more", others.len())),
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

fn compile(mut command: Command) -> Result<(), String> {
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
