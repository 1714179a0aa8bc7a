//! Files that somebody put into a lake's directory: which of them are tables, and what their columns are.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::tables::is_name;

/// Folders in folders are looked into so deep.
const DEEPEST: usize = 8;
/// More files are no table.
const MOST_FILES: usize = 10_000;

/// How a table's files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    Csv,
    Parquet,
    /// One document a line.
    Json,
    Arrow,
}

/// A table made of files as they lie there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileTable {
    pub(crate) form: Form,
    pub(crate) files: Vec<FileState>,
}

/// A file, and what shows that it is still the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileState {
    pub(crate) path: PathBuf,
    bytes: u64,
    changed: Option<SystemTime>,
}

impl Form {
    fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "csv" => Self::Csv,
            "parquet" => Self::Parquet,
            "json" | "jsonl" | "ndjson" => Self::Json,
            "arrow" | "feather" | "ipc" => Self::Arrow,
            _ => return None,
        })
    }
}

/// All of them, by name. What is no table is left out.
pub(crate) fn all(lake: &Path) -> io::Result<BTreeMap<String, FileTable>> {
    let mut tables = BTreeMap::new();
    let mut entries: Vec<PathBuf> =
        fs::read_dir(lake)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for path in entries {
        let Some(name) = name_of(&path) else { continue };
        if tables.contains_key(&name) {
            tracing::warn!(
                lake.table = name,
                "two files of a lake make a table of one name: the first is taken"
            );
            continue;
        }
        if let Some(table) = table_at(lake, &path)? {
            tables.insert(name, table);
        }
    }
    Ok(tables)
}

/// The table of that name.
pub(crate) fn one(lake: &Path, name: &str) -> io::Result<Option<FileTable>> {
    if !is_name(name) {
        return Ok(None);
    }
    Ok(all(lake)?.remove(name))
}

/// What the table of a file or folder is called, if it can be one.
fn name_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    if name.starts_with(['.', '_']) {
        return None;
    }
    let name = if path.is_dir() { name } else { path.file_stem()?.to_str()? };
    is_name(name).then(|| name.to_owned())
}

fn table_at(lake: &Path, path: &Path) -> io::Result<Option<FileTable>> {
    let mut found = Vec::new();
    collect(lake, path, DEEPEST, &mut found)?;
    let mut forms = found.iter().filter_map(|file| Form::of(&file.path));
    let Some(form) = forms.next() else { return Ok(None) };
    if forms.any(|other| other != form) {
        tracing::warn!(lake.folder = %path.display(), "a folder of files of several kinds is no table");
        return Ok(None);
    }
    Ok(Some(FileTable { form, files: found }))
}

/// The files at or below `path` that are read.
//
// INVARIANT: no file outside the lake's directory is read, whatever links say. Held by `links_lead_nowhere`.
fn collect(lake: &Path, path: &Path, depth: usize, found: &mut Vec<FileState>) -> io::Result<()> {
    let Ok(real) = path.canonicalize() else { return Ok(()) };
    if !real.starts_with(lake) || found.len() >= MOST_FILES {
        return Ok(());
    }
    let metadata = fs::metadata(&real)?;
    if metadata.is_file() {
        if Form::of(path).is_some() {
            found.push(FileState { path: real, bytes: metadata.len(), changed: metadata.modified().ok() });
        }
        return Ok(());
    }
    if !metadata.is_dir() || depth == 0 {
        return Ok(());
    }
    let mut entries: Vec<PathBuf> =
        fs::read_dir(&real)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        let hidden = entry.file_name().is_none_or(|name| name.to_string_lossy().starts_with(['.', '_']));
        if !hidden {
            collect(lake, &entry, depth - 1, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_are_tables() {
        let home = tempfile::tempdir().unwrap();
        let lake = home.path().canonicalize().unwrap();
        for file in ["b.csv", "a.PARQUET", ".hidden.csv", "_skip.csv", "read.me", "b.parquet", "x;y.csv"] {
            fs::write(lake.join(file), "").unwrap();
        }
        fs::create_dir_all(lake.join("days/2024")).unwrap();
        fs::write(lake.join("days/one.csv"), "").unwrap();
        fs::write(lake.join("days/2024/two.csv"), "").unwrap();
        fs::create_dir(lake.join("mixed")).unwrap();
        fs::write(lake.join("mixed/a.csv"), "").unwrap();
        fs::write(lake.join("mixed/b.json"), "").unwrap();
        let tables = all(&lake).unwrap();
        let names: Vec<_> = tables.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "b", "days"]);
        assert_eq!(tables["b"].form, Form::Csv);
        assert_eq!(tables["days"].files.len(), 2);
        assert!(one(&lake, "../a").unwrap().is_none());
    }

    #[test]
    fn links_lead_nowhere() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("secret.csv"), "a\n1\n").unwrap();
        let lake = home.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(other.path().join("secret.csv"), lake.join("secret.csv")).unwrap();
        std::os::unix::fs::symlink(other.path(), lake.join("folder")).unwrap();
        assert!(all(&lake).unwrap().is_empty());
    }
}
