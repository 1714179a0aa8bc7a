//! What earlier runs saw noticed, so that a run that was stopped can go on: one line a break in `target/mutants/noticed.tsv`.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::PathBuf;

use super::record::Mutant;
use crate::repository::target;

/// By the fingerprint of the record, for a record that changed must be run again: who noticed.
#[derive(Default)]
pub(crate) struct Done(BTreeMap<String, String>);

impl Done {
    pub(crate) fn read() -> Self {
        Self::parse(&fs::read_to_string(file()).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        Self(lines.map(|(record, words)| (record.to_owned(), words.to_owned())).collect())
    }

    pub(crate) fn was_noticed(&self, mutant: &Mutant) -> Option<&str> {
        self.0.get(&fingerprint(mutant)).map(String::as_str)
    }

    /// Each line is there before the next break begins.
    pub(crate) fn add(&mut self, mutant: &Mutant, words: &str) -> Result<(), String> {
        let told = |error: std::io::Error| format!("{}: {error}", file().display());
        let mut list = OpenOptions::new().append(true).create(true).open(file()).map_err(told)?;
        let record = fingerprint(mutant);
        writeln!(list, "{record}\t{words}").map_err(told)?;
        self.0.insert(record, words.to_owned());
        Ok(())
    }
}

fn file() -> PathBuf {
    target().join("mutants/noticed.tsv")
}

fn fingerprint(mutant: &Mutant) -> String {
    let mut hasher = DefaultHasher::new();
    mutant.hash(&mut hasher);
    format!("{} {:016x}", mutant.name, hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "Rows show.\ncaught by: guard\n== a.rs\n-- find\nx\n-- put\ny\n";

    #[test]
    fn a_record_that_changed_is_run_again() {
        let mutant = Mutant::parse("rows", RECORD).expect("a record");
        let changed = Mutant::parse("rows", &RECORD.replace("\ny\n", "\nz\n")).expect("a record");
        let done = Done::parse(&format!("{}\tguard: a_test\nno line of ours\n", fingerprint(&mutant)));
        assert_eq!(done.was_noticed(&mutant), Some("guard: a_test"));
        assert_eq!(done.was_noticed(&changed), None);
    }
}
