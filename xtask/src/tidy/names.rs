//! Names of files, and the line each begins with.

use super::Finding;
use super::tree::Tree;

/// Names that say nothing, so that everything ends up there.
const BANNED: [&str; 12] = [
    "utils", "util", "utilities", "common", "types", "helpers", "helper", "manager", "managers", "misc",
    "shared", "stuff",
];

pub(super) fn banned_names(tree: &Tree) -> Vec<Finding> {
    tree.paths
        .iter()
        .filter(|path| BANNED.contains(&stem(path)))
        .map(|path| Finding::new(path, 0, "name it for what a reader would look for here"))
        .collect()
}

pub(super) fn opening_lines(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|(file, _)| !file.text.starts_with("//! "))
        .map(|(file, _)| Finding::new(&file.path, 1, "begin with a `//!` line that says what is in here"))
        .collect()
}

/// The last part of the path without its ending.
fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::super::tree::sample;
    use super::*;

    #[test]
    fn empty_names_are_found() {
        for path in ["crates/a/src/utils.rs", "tests/python/helpers.py", "console/common"] {
            assert_eq!(banned_names(&sample(path, "")).len(), 1, "{path}");
        }
        assert_eq!(banned_names(&sample("crates/a/src/users.rs", "")).len(), 0);
    }

    #[test]
    fn a_file_without_an_opening_line_is_found() {
        assert_eq!(opening_lines(&sample("a.rs", "//! What it is.\n")).len(), 0);
        assert_eq!(opening_lines(&sample("a.rs", "use std::fs;\n")).len(), 1);
        assert_eq!(opening_lines(&sample("a.rs", "")).len(), 1);
    }
}
