//! The repository's text files, read once.

use std::fs;
use std::path::Path;

use super::rust::Source;

/// Directories that hold nothing of ours.
const SKIPPED: [&str; 8] =
    [".git", "target", "node_modules", ".venv", "__pycache__", ".hypothesis", ".pytest_cache", ".mypy_cache"];

/// Kinds of file that are text and written by us.
const TEXT: [&str; 14] = [
    "rs", "toml", "md", "txt", "py", "sh", "sql", "json", "yaml", "yml", "ts", "css", "html",
    "proptest-regressions",
];

/// All text files, with their paths from the root.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) files: Vec<File>,
    /// Every path from the root, text or not, directories too.
    pub(super) paths: Vec<String>,
}

/// A text file.
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
    /// What the scanner made of it, when it is Rust.
    pub(super) rust: Option<Source>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> Result<Self, String> {
        let mut tree = Self::default();
        tree.walk(root, "").map_err(|error| format!("the repository can't be read: {error}"))?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    pub(super) fn add(&mut self, path: &str, text: &str) {
        let rust = has_extension(path, "rs").then(|| Source::read(path, text));
        self.paths.push(path.to_owned());
        self.files.push(File { path: path.to_owned(), text: text.to_owned(), rust });
    }

    /// The Rust files.
    pub(super) fn rust(&self) -> impl Iterator<Item = (&File, &Source)> {
        self.files.iter().filter_map(|file| Some((file, file.rust.as_ref()?)))
    }

    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    fn walk(&mut self, directory: &Path, prefix: &str) -> std::io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    self.walk(&entry.path(), &format!("{path}/"))?;
                    self.paths.push(path);
                }
                continue;
            }
            let is_text = TEXT.iter().any(|kind| has_extension(&name, kind)) || path == ".ci/run";
            match fs::read_to_string(entry.path()) {
                Ok(text) if is_text => self.add(&path, &text),
                _ => self.paths.push(path),
            }
        }
        Ok(())
    }
}

pub(super) fn has_extension(path: &str, extension: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, found)| found == extension)
}

/// A tree made of one file, for the rules' own tests.
#[cfg(test)]
pub(super) fn sample(path: &str, text: &str) -> Tree {
    let mut tree = Tree::default();
    tree.add(path, text);
    tree
}
