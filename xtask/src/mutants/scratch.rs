//! A copy of the sources that may be broken: its own directory, its own target directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::record::Mutant;
use crate::repository::{cargo, output_of, program, root, target};

/// How `timeout` ends when it had to end what it ran.
pub(crate) const ENDED_BY_TIMEOUT: i32 = 124;

/// What stood in the files that a break changed.
pub(crate) type Sound = BTreeMap<PathBuf, String>;

/// The copy.
pub(crate) struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    /// Brings the copy up to date. Files that are equal keep their time, so that nothing is compiled without need.
    pub(crate) fn refresh() -> Result<Self, String> {
        let scratch = Self { directory: target().join("mutants").join("sources") };
        let mut list = program("git");
        list.args(["ls-files", "--cached", "--others", "--exclude-standard"]);
        let listed = output_of(list)?;
        let known: Vec<&str> = listed.lines().filter(|file| root().join(file).is_file()).collect();
        for file in &known {
            let text = fs::read(root().join(file)).map_err(|error| format!("{file}: {error}"))?;
            scratch.put(Path::new(file), &text)?;
        }
        scratch.remove_others(&scratch.directory, &known)?;
        Ok(scratch)
    }

    /// Breaks the copy. [`Self::mend`] takes it back with what is returned here: somebody may work on the sources meanwhile.
    pub(crate) fn break_by(&self, mutant: &Mutant) -> Result<Sound, String> {
        let mut sound = Sound::new();
        for edit in &mutant.edits {
            let file = self.directory.join(&edit.file);
            let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            self.put(&edit.file, edit.applied_to(&text)?.as_bytes())?;
            sound.entry(edit.file.clone()).or_insert(text);
        }
        Ok(sound)
    }

    pub(crate) fn mend(&self, sound: &Sound) -> Result<(), String> {
        sound.iter().try_for_each(|(file, text)| self.put(file, text.as_bytes()))
    }

    /// Cargo on the copy.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo(arguments);
        command.current_dir(&self.directory).env("CARGO_TARGET_DIR", Self::target());
        // Nobody looks for lines in a break, and linking is most of what it takes.
        command.env("CARGO_PROFILE_DEV_DEBUG", "false");
        // What a broken guard answers must not become what is expected of it.
        command.env_remove("UPDATE");
        command
    }

    /// Cargo on the copy, ended with all that it started when it takes longer (`240s`).
    pub(crate) fn limited_cargo(&self, longest: &str, arguments: &[&str]) -> Command {
        let cargo = self.cargo(arguments);
        let mut command = program("timeout");
        command.arg("--kill-after=5s").arg(longest).arg(cargo.get_program()).args(cargo.get_args());
        command.current_dir(&self.directory);
        for (name, value) in cargo.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    pub(crate) fn target() -> PathBuf {
        target().join("mutants").join("target")
    }

    fn put(&self, file: &Path, text: &[u8]) -> Result<(), String> {
        let place = self.directory.join(file);
        let told = |error: std::io::Error| format!("{}: {error}", place.display());
        if fs::read(&place).is_ok_and(|there| there == text) {
            return Ok(());
        }
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(told)?;
        }
        fs::write(&place, text).map_err(told)
    }

    /// Removes what the sources no longer have: a forgotten test would go on being run.
    fn remove_others(&self, directory: &Path, known: &[&str]) -> Result<(), String> {
        let entries = fs::read_dir(directory).map_err(|error| error.to_string())?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                self.remove_others(&path, known)?;
                continue;
            }
            let name = path.strip_prefix(&self.directory).ok().and_then(Path::to_str).unwrap_or_default();
            if !known.contains(&name) {
                fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        Ok(())
    }
}
