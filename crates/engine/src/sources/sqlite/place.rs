//! Which file a connection means, and whether it may be opened.

use std::path::{Path, PathBuf};

use crate::SourceError;

/// The file of that name inside one of the allowed directories, links resolved. Every refusal has the same text, so
/// that nobody learns which files exist elsewhere.
//
// INVARIANT: no file outside the allowed directories is opened; tests/engine/sqlite.rs holds it.
pub(super) fn resolve(name: &str, directories: &[PathBuf]) -> Result<PathBuf, SourceError> {
    let refused = || {
        SourceError::FileNotAllowed(
            "there is no such SQLite file in the directories that this gateway may open: ask its operator"
                .to_owned(),
        )
    };
    let uri = name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("file:"));
    if name.is_empty() || name.contains('\0') || name.starts_with(':') || uri {
        return Err(refused());
    }
    let allowed: Vec<PathBuf> =
        directories.iter().filter_map(|directory| directory.canonicalize().ok()).collect();
    // Joining an absolute path gives that path.
    let candidates = allowed.iter().map(|directory| directory.join(name));
    candidates
        .filter_map(|candidate| candidate.canonicalize().ok())
        .find(|file| file.is_file() && allowed.iter().any(|directory| file.starts_with(directory)))
        .ok_or_else(refused)
}

/// What the catalog calls the database: the file's name.
pub(super) fn database_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
