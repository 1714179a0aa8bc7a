//! Sizes: of files, of functions, of the guard, of the map.

use super::Finding;
use super::rust::Source;
use super::tree::Tree;

const FILE_LIMIT: usize = 800;
const FILE_NEEDS_REASON: usize = 500;
const FUNCTION_LIMIT: usize = 80;
/// Decision 0006 says why it is not the 1,500 of the design, and what would bring it back.
const GUARD_BUDGET: usize = 8_000;
const ARCHITECTURE_LIMIT: usize = 250;
const REASONS: &str = "xtask/tidy/long-files.txt";

pub(super) fn files(tree: &Tree) -> Vec<Finding> {
    let reasons = tree.file(REASONS).map_or("", |file| file.text.as_str());
    let mut findings = Vec::new();
    for (path, lines) in lengths(tree) {
        if lines >= FILE_LIMIT {
            findings.push(Finding::new(
                path,
                lines,
                format!("{lines} lines: split it, {FILE_LIMIT} are too many"),
            ));
        } else if lines > FILE_NEEDS_REASON && !has_reason(reasons, path) {
            let message = format!("{lines} lines: split it, or give the reason in {REASONS}");
            findings.push(Finding::new(path, lines, message));
        }
    }
    for path in reasons.lines().filter_map(reason_of).map(|(path, _)| path) {
        if !lengths(tree).any(|(long, lines)| long == path && lines > FILE_NEEDS_REASON) {
            findings.push(Finding::new(REASONS, 0, format!("{path} is not long any more: remove its line")));
        }
    }
    findings
}

pub(super) fn functions(tree: &Tree) -> Vec<Finding> {
    let too_long = |lines| lines >= FUNCTION_LIMIT;
    tree.rust()
        .flat_map(|(file, source)| source.functions.iter().map(move |function| (file, function)))
        .filter(|(_, function)| too_long(function.lines) && !function.is_flat_match)
        .map(|(file, function)| {
            let message = format!(
                "fn {} has {} lines, under {FUNCTION_LIMIT} are allowed",
                function.name, function.lines
            );
            Finding::new(&file.path, function.line, message)
        })
        .collect()
}

/// The guard must stay small enough to be read in two hours.
pub(super) fn guard_budget(tree: &Tree) -> Vec<Finding> {
    let lines = guard_lines(tree);
    if lines > GUARD_BUDGET {
        let message =
            format!("{lines} lines of code, the budget is {GUARD_BUDGET}: what can leave the guard?");
        return vec![Finding::new("crates/guard", 0, message)];
    }
    Vec::new()
}

pub(super) fn architecture(tree: &Tree) -> Vec<Finding> {
    let Some(map) = tree.file("ARCHITECTURE.md") else {
        return vec![Finding::new("ARCHITECTURE.md", 0, "is missing")];
    };
    let lines = map.text.lines().count();
    if lines >= ARCHITECTURE_LIMIT {
        let message = format!("{lines} lines, under {ARCHITECTURE_LIMIT} are allowed: a map, not a book");
        return vec![Finding::new(&map.path, lines, message)];
    }
    Vec::new()
}

/// Medians and the guard's size, for the table.
pub(super) fn summary(tree: &Tree) -> String {
    let files = median(tree.rust().map(|(file, _)| file.text.lines().count()).collect());
    let functions =
        median(tree.rust().flat_map(|(_, source)| source.functions.iter().map(|f| f.lines)).collect());
    let guard = guard_lines(tree);
    format!("median file {files} lines, median function {functions}, guard {guard} of {GUARD_BUDGET}")
}

fn lengths(tree: &Tree) -> impl Iterator<Item = (&str, usize)> {
    let is_program = |path: &str| [".rs", ".py", ".ts"].iter().any(|ending| path.ends_with(ending));
    tree.files
        .iter()
        .filter(move |file| is_program(&file.path))
        .map(|file| (file.path.as_str(), file.text.lines().count()))
}

fn has_reason(reasons: &str, path: &str) -> bool {
    reasons.lines().filter_map(reason_of).any(|(known, reason)| known == path && !reason.is_empty())
}

/// `path: reason`
fn reason_of(line: &str) -> Option<(&str, &str)> {
    let (path, reason) = line.split_once(':')?;
    (!path.starts_with('#')).then_some((path.trim(), reason.trim()))
}

fn guard_lines(tree: &Tree) -> usize {
    tree.rust()
        .filter(|(file, _)| file.path.starts_with("crates/guard/src/") && !file.path.contains("/dialect"))
        .map(|(_, source)| code_lines(source))
        .sum()
}

/// Lines of code, without tests and without lists of words: those are data.
fn code_lines(source: &Source) -> usize {
    let mut inside_list = false;
    let mut lines = 0;
    for (_, line) in source.shipped() {
        let trimmed = line.trim();
        let opens = (trimmed.contains("const ") || trimmed.contains("static ")) && trimmed.ends_with("&[");
        inside_list |= opens;
        lines += usize::from(!inside_list);
        inside_list &= trimmed != "];";
    }
    lines
}

fn median(mut sizes: Vec<usize>) -> usize {
    sizes.sort_unstable();
    sizes.get(sizes.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::tree::sample;
    use super::*;

    #[test]
    fn long_files_are_found() {
        assert_eq!(files(&sample("a.rs", &"\n".repeat(500))).len(), 0);
        assert_eq!(files(&sample("a.rs", &"\n".repeat(501))).len(), 1);
        let mut tree = sample("a.rs", &"\n".repeat(501));
        tree.add(REASONS, "# why\na.rs: one table\n");
        assert_eq!(files(&tree).len(), 0);
        let mut tree = sample("a.rs", &"\n".repeat(800));
        tree.add(REASONS, "a.rs: one table\n");
        assert_eq!(files(&tree).len(), 1);
    }

    #[test]
    fn a_stale_reason_is_found() {
        let mut tree = sample("a.rs", "\n");
        tree.add(REASONS, "a.rs: one table\n");
        assert_eq!(files(&tree).len(), 1);
    }

    #[test]
    fn long_functions_are_found() {
        let of = |lines| functions(&sample("a.rs", &format!("fn a() {{{}}}", "\n".repeat(lines))));
        assert_eq!(of(78).len(), 0);
        assert_eq!(of(79).len(), 1);
        let flat = format!("fn a() {{ match b {{{}}} }}", "\n".repeat(100));
        assert_eq!(functions(&sample("a.rs", &flat)).len(), 0);
    }

    #[test]
    fn a_big_guard_is_found() {
        let path = "crates/guard/src/admit.rs";
        assert_eq!(guard_budget(&sample(path, &"a();\n".repeat(GUARD_BUDGET))).len(), 0);
        assert_eq!(guard_budget(&sample(path, &"a();\n".repeat(GUARD_BUDGET + 1))).len(), 1);
        let data = format!("const A: &[&str] = &[\n{}];\n", "\"a\",\n".repeat(GUARD_BUDGET * 2));
        assert_eq!(guard_budget(&sample(path, &data)).len(), 0);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "a();\n".repeat(GUARD_BUDGET * 2));
        assert_eq!(guard_budget(&sample(path, &tests)).len(), 0);
    }

    #[test]
    fn a_long_map_is_found() {
        assert_eq!(architecture(&sample("ARCHITECTURE.md", &"a\n".repeat(249))).len(), 0);
        assert_eq!(architecture(&sample("ARCHITECTURE.md", &"a\n".repeat(250))).len(), 1);
        assert_eq!(architecture(&Tree::default()).len(), 1);
    }
}
