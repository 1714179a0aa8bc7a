//! Words that must not stand in the repository: unfinished code, sleeping tests, and traces of one machine or tool.

use super::Finding;
use super::tree::{Tree, has_extension};

/// What may stand in no Rust code at all.
const UNFINISHED: [(&str, &str); 4] = [
    ("todo!(", "finish it"),
    ("unimplemented!(", "finish it"),
    ("dbg!(", "remove it"),
    ("#[ignore", "a test that does not run is no test: fix it or remove it"),
];

/// What may not stand in a test, unless the line says that it polls.
const SLEEPS: [&str; 3] = ["thread::sleep", "time::sleep", "sleep_until"];

const BANNED_WORDS: &str = "xtask/tidy/banned-words.txt";

pub(super) fn banned_code(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.rust() {
        for (line, code) in source.numbered() {
            let found = UNFINISHED.iter().filter(|(word, _)| code.contains(word));
            findings.extend(
                found.map(|(word, advice)| Finding::new(&file.path, line, format!("{word}: {advice}"))),
            );
        }
        for (line, code) in source.tested() {
            let polls = source.comments[line - 1].trim_start().starts_with("poll:");
            if SLEEPS.iter().any(|sleep| code.contains(sleep)) && !polls {
                findings.push(sleeping(&file.path, line, "// poll: what for"));
            }
        }
    }
    for file in tree.files.iter().filter(|file| has_extension(&file.path, "py")) {
        for (index, line) in file.text.lines().enumerate() {
            if line.contains("time.sleep(") && !line.contains("# poll:") {
                findings.push(sleeping(&file.path, index + 1, "# poll: what for"));
            }
        }
    }
    findings
}

fn sleeping(path: &str, line: usize, mark: &str) -> Finding {
    Finding::new(
        path,
        line,
        format!("tests do not sleep: poll with a deadline, and say so on the line ({mark})"),
    )
}

/// The list is a file of its own, because whoever names such words would find themselves.
pub(super) fn banned_words(tree: &Tree) -> Vec<Finding> {
    let Some(list) = tree.file(BANNED_WORDS) else {
        return vec![Finding::new(BANNED_WORDS, 0, "is missing")];
    };
    let words: Vec<String> = list
        .text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(str::to_lowercase)
        .collect();
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path != BANNED_WORDS) {
        for (index, line) in file.text.lines().enumerate() {
            let line = line.to_lowercase();
            let found = words.iter().filter(|word| line.contains(word.as_str()));
            findings.extend(
                found.map(|word| {
                    Finding::new(&file.path, index + 1, format!("\"{word}\" does not belong here"))
                }),
            );
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tree::sample;
    use super::*;

    #[test]
    fn unfinished_code_is_found() {
        for code in ["todo!()", "unimplemented!(\"a\")", "dbg!(1)"] {
            assert_eq!(banned_code(&sample("a.rs", &format!("fn a() {{ {code}; }}"))).len(), 1, "{code}");
        }
        assert_eq!(banned_code(&sample("a.rs", "#[test]\n#[ignore = \"slow\"]\nfn a() {}")).len(), 1);
        assert_eq!(banned_code(&sample("a.rs", "// todo!() in a comment\nlet a = \"dbg!(\";")).len(), 0);
    }

    #[test]
    fn a_sleeping_test_is_found() {
        let path = "crates/a/tests/b.rs";
        assert_eq!(banned_code(&sample(path, "tokio::time::sleep(A).await;")).len(), 1);
        assert_eq!(
            banned_code(&sample(path, "tokio::time::sleep(A).await; // poll: until it listens")).len(),
            0
        );
        assert_eq!(banned_code(&sample("crates/a/src/b.rs", "std::thread::sleep(A);")).len(), 0);
        assert_eq!(banned_code(&sample("tests/a.py", "time.sleep(1)")).len(), 1);
        assert_eq!(banned_code(&sample("tests/a.py", "time.sleep(1)  # poll: until ready")).len(), 0);
    }

    #[test]
    fn a_banned_word_is_found_in_any_case() {
        let mut tree = sample("README.md", "ask SomeTool about it\n");
        tree.add(BANNED_WORDS, "# words\nsometool\n");
        assert_eq!(banned_words(&tree).len(), 1);
    }
}
