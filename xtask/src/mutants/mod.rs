//! `cargo xtask mutants`: breaks the sources on purpose, one way after another, and sees whether the tests notice.

mod record;
mod scratch;
mod suites;

use std::fmt::Write as _;
use std::time::Instant;

pub(crate) use record::check;

use crate::repository::root;
use record::{Mutant, Suite};
use scratch::Scratch;
use suites::{Answer, Suites};

/// Runs every record whose name holds one of `only`, which commas separate. With `write`, the table in `docs/mutants.md` is made anew.
pub(crate) fn run(only: Option<&str>, write: bool) -> Result<(), String> {
    check()?;
    let mut mutants = record::all()?;
    mutants.retain(|mutant| only.is_none_or(|only| only.split(',').any(|name| mutant.name.contains(name))));
    if mutants.is_empty() {
        return Err("no record in cases/mutants has such a name".to_owned());
    }
    let scratch = Scratch::refresh()?;
    let mut suites = Suites::new();
    for suite in mutants.iter().flat_map(|mutant| &mutant.suites) {
        suites.must_pass(&scratch, suite)?;
    }
    let mut rows = Vec::new();
    for mutant in &mutants {
        let began = Instant::now();
        scratch.break_by(mutant)?;
        let caught = ask_all(&mut suites, &scratch, mutant);
        scratch.mend(mutant)?;
        let row = Row { mutant, caught };
        println!("{:<42} {:>4.0} s  {}", mutant.name, began.elapsed().as_secs_f64(), row.in_words());
        rows.push(row);
    }
    let failed = rows.iter().filter(|row| !row.is_caught()).count();
    println!("\n{} of {} caught", rows.len() - failed, rows.len());
    if write && failed == 0 {
        write_table(&rows)?;
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} breaks were not noticed as they should be")) }
}

/// What came of one break.
struct Row<'a> {
    mutant: &'a Mutant,
    caught: Vec<(&'a Suite, Result<Answer, String>)>,
}

fn ask_all<'a>(
    suites: &mut Suites,
    scratch: &Scratch,
    mutant: &'a Mutant,
) -> Vec<(&'a Suite, Result<Answer, String>)> {
    mutant.suites.iter().map(|suite| (suite, suites.run(scratch, suite))).collect()
}

impl Row<'_> {
    fn is_caught(&self) -> bool {
        self.caught.iter().all(|(_, answer)| matches!(answer, Ok(Answer::Caught(_))))
    }

    fn in_words(&self) -> String {
        let words = self.caught.iter().map(|(suite, answer)| match answer {
            Ok(Answer::Caught(by)) => format!("{}: {by}", suite.shown()),
            Ok(Answer::Passed) => format!("SURVIVED {}", suite.shown()),
            Err(fault) => format!("{} COULD NOT BE ASKED: {fault}", suite.shown()),
        });
        words.collect::<Vec<_>>().join("; ")
    }
}

/// Everything below this line of the page is written by us.
const TABLE: &str = "<!-- written by `cargo xtask mutants --write` -->\n";

fn write_table(rows: &[Row<'_>]) -> Result<(), String> {
    let page = root().join("docs/mutants.md");
    let text = std::fs::read_to_string(&page).map_err(|error| format!("docs/mutants.md: {error}"))?;
    let (kept, _) = text.split_once(TABLE).ok_or("docs/mutants.md has no place for the table")?;
    let mut table = format!("{kept}{TABLE}\n| break | why it is dangerous | noticed by |\n|---|---|---|\n");
    for row in rows {
        let _ = writeln!(table, "| {} | {} | {} |", row.mutant.name, row.mutant.why, row.in_words());
    }
    std::fs::write(&page, table).map_err(|error| format!("docs/mutants.md: {error}"))
}
