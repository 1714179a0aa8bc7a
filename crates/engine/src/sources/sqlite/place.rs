//! Which file a connection means, and whether it may be opened.

use std::path::{Component, Path, PathBuf};

use crate::SourceError;

/// Stands in a configured directory for the organization whose directory it is.
const ORGANIZATION: &str = "{org}";

/// The file of that name inside one of the directories that the organization may open, links resolved. Every refusal has
/// the same text, so that nobody learns which files exist elsewhere.
//
// INVARIANT: no file outside the allowed directories is opened; tests/engine/sqlite.rs holds it.
pub(super) fn resolve(
    name: &str,
    organization: &str,
    directories: &[PathBuf],
) -> Result<PathBuf, SourceError> {
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
    let own = directories.iter().filter_map(|directory| directory_of(organization, directory));
    let allowed: Vec<PathBuf> = own.filter_map(|directory| directory.canonicalize().ok()).collect();
    // Joining an absolute path gives that path.
    let candidates = allowed.iter().map(|directory| directory.join(name));
    candidates
        .filter_map(|candidate| candidate.canonicalize().ok())
        .find(|file| file.is_file() && allowed.iter().any(|directory| file.starts_with(directory)))
        .ok_or_else(refused)
}

/// The directory as it is for this organization. An id that is no plain name of a directory has none.
fn directory_of(organization: &str, directory: &Path) -> Option<PathBuf> {
    let Some(pattern) = directory.to_str().filter(|text| text.contains(ORGANIZATION)) else {
        return Some(directory.to_owned());
    };
    let mut parts = Path::new(organization).components();
    let plain =
        matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == organization);
    plain.then(|| PathBuf::from(pattern.replace(ORGANIZATION, organization)))
}

/// What the catalog calls the database: the file's name.
pub(super) fn database_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_has_its_own_directory() {
        let pattern = Path::new("/data/{org}/files");
        assert_eq!(directory_of("acme", pattern), Some(PathBuf::from("/data/acme/files")));
        for odd in ["", ".", "..", "a/b", "/etc", "../other", "acme/"] {
            assert_eq!(directory_of(odd, pattern), None, "{odd}");
        }
        assert_eq!(directory_of("..", Path::new("/shared")), Some(PathBuf::from("/shared")));
    }

    #[test]
    fn another_organizations_file_is_no_file() {
        let home = tempfile::tempdir().unwrap();
        for org in ["acme", "globex"] {
            std::fs::create_dir(home.path().join(org)).unwrap();
            std::fs::write(home.path().join(org).join("a.db"), "").unwrap();
        }
        let directories = [home.path().join("{org}")];
        let acme = home.path().join("acme/a.db").canonicalize().unwrap();
        assert_eq!(resolve("a.db", "acme", &directories).unwrap(), acme);
        for name in ["../acme/a.db", acme.to_str().unwrap(), "b.db"] {
            assert!(
                matches!(resolve(name, "globex", &directories), Err(SourceError::FileNotAllowed(_))),
                "{name}"
            );
        }
    }
}
