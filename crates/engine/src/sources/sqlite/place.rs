//! Which file a connection means, and whether it may be opened.

use std::path::{Path, PathBuf};

use crate::SourceError;
use crate::directories::find;

/// The file of that name inside one of the directories that the organization may open, links resolved. Every refusal has
/// the same text, so that nobody learns which files exist elsewhere.
pub(super) fn resolve(
    name: &str,
    organization: &str,
    directories: &[PathBuf],
) -> Result<PathBuf, SourceError> {
    find(name, organization, directories, Path::is_file).ok_or_else(|| {
        SourceError::FileNotAllowed(
            "there is no such SQLite file in the directories that this gateway may open: ask its operator"
                .to_owned(),
        )
    })
}

/// What the catalog calls the database: the file's name.
pub(super) fn database_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
