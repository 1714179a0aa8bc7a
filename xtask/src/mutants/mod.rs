//! `cargo xtask mutants`: breaks the sources on purpose, one way after another, and sees whether the tests notice.

mod done;
mod record;
mod scratch;
mod suites;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

pub(crate) use record::check;

use crate::repository::root;
use done::Done;
use record::Mutant;
use scratch::Scratch;
use suites::{Answer, Suites};

/// What a run is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    /// Records whose name holds one of these, which commas separate. Without, all.
    pub(crate) only: Option<&'a str>,
    /// What an earlier run saw noticed is not run again, unless its record changed.
    pub(crate) resume: bool,
    /// The table in `docs/mutants.md` is made anew, of this run and, with `resume`, of those before.
    pub(crate) write: bool,
}

pub(crate) fn run(wanted: &Wanted<'_>) -> Result<(), String> {
    check()?;
    let mut mutants = record::all()?;
    mutants.retain(|mutant| {
        wanted.only.is_none_or(|only| only.split(',').any(|name| mutant.name.contains(name)))
    });
    if mutants.is_empty() {
        return Err("no record in cases/mutants has such a name".to_owned());
    }
    // What one crate's break costs is paid again by the next break of another crate that it is built into.
    mutants.sort_by(|one, other| (one.package(), &one.name).cmp(&(other.package(), &other.name)));
    let mut done = if wanted.resume { Done::read() } else { Done::default() };
    let mut rows = Vec::new();
    let scratch = Scratch::refresh()?;
    let mut suites = Suites::new();
    for group in mutants.chunk_by(|one, other| one.package() == other.package()) {
        let (before, left): (Vec<&Mutant>, Vec<&Mutant>) =
            group.iter().partition(|mutant| done.was_noticed(mutant).is_some());
        rows.extend(
            before.into_iter().filter_map(|mutant| Some(Row::before(mutant, done.was_noticed(mutant)?))),
        );
        for suite in left.iter().flat_map(|mutant| &mutant.suites) {
            suites.try_out(&scratch, suite);
        }
        for mutant in left {
            let began = Instant::now();
            let sound = scratch.break_by(mutant)?;
            let row = Row::ask(&mut suites, &scratch, mutant);
            scratch.mend(&sound)?;
            println!("{:<42} {:>4.0} s  {}", mutant.name, began.elapsed().as_secs_f64(), row.words);
            if row.noticed {
                done.add(mutant, &row.words)?;
            }
            rows.push(row);
        }
    }
    rows.sort_by_key(|row| &row.mutant.name);
    let failed = rows.iter().filter(|row| !row.noticed).count();
    println!("\n{} of {} caught", rows.len() - failed, rows.len());
    if wanted.write {
        write_table(&done)?;
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} breaks were not noticed as they should be")) }
}

/// What came of one break.
struct Row<'a> {
    mutant: &'a Mutant,
    words: String,
    noticed: bool,
}

impl<'a> Row<'a> {
    fn before(mutant: &'a Mutant, words: &str) -> Self {
        Self { mutant, words: words.to_owned(), noticed: true }
    }

    fn ask(suites: &mut Suites, scratch: &Scratch, mutant: &'a Mutant) -> Self {
        let answers: Vec<_> = mutant.suites.iter().map(|suite| (suite, suites.run(scratch, suite))).collect();
        let words = answers.iter().map(|(suite, answer)| match answer {
            Ok(Answer::Caught(by)) => format!("{}: {by}", suite.shown()),
            Ok(Answer::Passed) => format!("SURVIVED {}", suite.shown()),
            Err(fault) => format!("{} COULD NOT BE ASKED: {fault}", suite.shown()),
        });
        let words = words.collect::<Vec<_>>().join("; ");
        Self {
            mutant,
            words,
            noticed: answers.iter().all(|(_, answer)| matches!(answer, Ok(Answer::Caught(_)))),
        }
    }
}

impl Mutant {
    /// The directory of the crate that is broken first.
    fn package(&self) -> Option<&Path> {
        self.edits.first()?.file.ancestors().find(|directory| directory.components().count() == 2)
    }
}

/// Everything below this line of the page is written by us.
const TABLE: &str = "<!-- written by `cargo xtask mutants --write` -->\n";

/// Whatever the run was asked for, the table tells of every record, and names those that nobody was seen to notice.
fn write_table(done: &Done) -> Result<(), String> {
    let page = root().join("docs/mutants.md");
    let text = std::fs::read_to_string(&page).map_err(|error| format!("docs/mutants.md: {error}"))?;
    let (kept, _) = text.split_once(TABLE).ok_or("docs/mutants.md has no place for the table")?;
    let (mut table, mut others) = (String::new(), Vec::new());
    let mutants = record::all()?;
    for mutant in &mutants {
        match done.was_noticed(mutant) {
            Some(words) => {
                let _ = writeln!(table, "| {} | {} | {words} |", mutant.name, mutant.why);
            }
            None => others.push(mutant.name.as_str()),
        }
    }
    let mut told = format!("{} of {} were noticed.", mutants.len() - others.len(), mutants.len());
    if !others.is_empty() {
        let _ = write!(told, " Not run, or not noticed yet: {}.", others.join(", "));
    }
    let head = "| break | why it is dangerous | noticed by |\n|---|---|---|\n";
    std::fs::write(&page, format!("{kept}{TABLE}\n{told}\n\n{head}{table}"))
        .map_err(|error| format!("docs/mutants.md: {error}"))
}
