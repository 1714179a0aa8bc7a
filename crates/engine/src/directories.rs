//! Which file or directory a connection means, and whether it may be opened.

use std::path::{Component, Path, PathBuf};

/// Stands in a configured directory for the organization whose directory it is.
const ORGANIZATION: &str = "{org}";

/// What has that name inside one of the directories that the organization may open, links resolved, if it is one that
/// `accept`s.
//
// INVARIANT: nothing outside the allowed directories is opened; tests/engine/sqlite.rs and the tests here hold it.
pub fn find(
    name: &str,
    organization: &str,
    directories: &[PathBuf],
    accept: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let uri = name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("file:"));
    if name.is_empty() || name.contains('\0') || name.starts_with(':') || uri {
        return None;
    }
    let own = directories.iter().filter_map(|directory| directory_of(organization, directory));
    let allowed: Vec<PathBuf> = own.filter_map(|directory| directory.canonicalize().ok()).collect();
    // Joining an absolute path gives that path.
    let candidates = allowed.iter().map(|directory| directory.join(name));
    candidates
        .filter_map(|candidate| candidate.canonicalize().ok())
        .find(|found| accept(found) && allowed.iter().any(|directory| found.starts_with(directory)))
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
        let find = |name: &str, organization: &str| find(name, organization, &directories, Path::is_file);
        assert_eq!(find("a.db", "acme"), Some(acme.clone()));
        for odd in ["", "file:a.db", ":memory:", "a.db\0"] {
            assert_eq!(find(odd, "acme"), None, "{odd}");
        }
        for name in ["../acme/a.db", acme.to_str().unwrap(), "b.db"] {
            assert_eq!(find(name, "globex"), None, "{name}");
        }
    }
}
