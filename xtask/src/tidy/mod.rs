//! The tidy test: what no compiler checks and a reader relies on.
//!
//! Each rule is a function from the repository's files to findings, and is seen to fail on a bad sample in its tests.

mod map;
mod names;
mod rust;
mod seal;
mod sizes;
mod tree;
mod words;

use tree::Tree;

/// One thing that is not as it should be.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// From 1; 0 when it is about the whole file.
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

/// Runs every rule over the repository. The text stands in the table of `cargo xtask check`.
pub(crate) fn run() -> Result<String, String> {
    let tree = Tree::read(&crate::repository::root())?;
    let mut findings = check(&tree);
    findings.sort();
    if findings.is_empty() {
        return Ok(sizes::summary(&tree));
    }
    let lines: Vec<String> =
        findings.iter().map(|found| format!("{}:{}: {}", found.path, found.line, found.message)).collect();
    Err(format!("{}\n{} findings", lines.join("\n"), lines.len()))
}

fn check(tree: &Tree) -> Vec<Finding> {
    let rules: [fn(&Tree) -> Vec<Finding>; 12] = [
        sizes::files,
        sizes::functions,
        sizes::guard_budget,
        sizes::architecture,
        names::banned_names,
        names::opening_lines,
        map::paths_exist,
        words::banned_code,
        words::banned_words,
        seal::guarded_query_is_sealed,
        seal::operator_work_is_sealed,
        seal::walls_inside_crates,
    ];
    rules.iter().flat_map(|rule| rule(tree)).collect()
}
