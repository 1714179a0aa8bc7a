//! The map must match the land: every path that the documents name exists.

use super::Finding;
use super::tree::Tree;

/// Documents whose paths are checked.
const MAPS: [&str; 4] = ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md", "SECURITY.md"];

/// Endings by which a word in backticks is a path even without a slash.
const ENDINGS: [&str; 6] = [".rs", ".md", ".toml", ".py", ".txt", ".json"];

/// First parts of paths that are made, not kept.
const MADE: [&str; 1] = ["target"];

pub(super) fn paths_exist(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in MAPS.iter().filter_map(|map| tree.file(map)) {
        for (index, line) in prose(&file.text) {
            for path in line.split('`').skip(1).step_by(2).filter(|word| is_path(word)) {
                let path = path.trim_end_matches('/');
                if !tree.paths.iter().any(|known| known == path) {
                    findings.push(Finding::new(&file.path, index + 1, format!("there is no {path}")));
                }
            }
        }
    }
    findings
}

/// The lines outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    })
}

fn is_path(word: &str) -> bool {
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let made = word.split('/').next().is_some_and(|first| MADE.contains(&first));
    let looks = word.contains('/') || ENDINGS.iter().any(|ending| word.ends_with(ending));
    plain && looks && !made && !word.starts_with(['/', '.', '-'])
        || word.starts_with(".ci/")
        || word.starts_with(".config/")
}

#[cfg(test)]
mod tests {
    use super::super::tree::sample;
    use super::*;

    #[test]
    fn a_path_that_is_not_there_is_found() {
        let mut tree =
            sample("ARCHITECTURE.md", "See `crates/a/src/b.rs` and `crates/a/`, `/v1/users`, `a <b>`.\n");
        assert_eq!(paths_exist(&tree).len(), 2);
        tree.paths.push("crates/a".to_owned());
        tree.add("crates/a/src/b.rs", "");
        assert_eq!(paths_exist(&tree).len(), 0);
    }

    #[test]
    fn code_blocks_are_left_alone() {
        assert_eq!(paths_exist(&sample("README.md", "```\n`a/b`\n```\n")).len(), 0);
    }
}
