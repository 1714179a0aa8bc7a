//! Commands to paste: how this program is called, and words that a shell takes whole.

use std::path::PathBuf;

/// `ringfence` where a shell would start this very program by that name, else its path.
pub(crate) fn program() -> String {
    let name = env!("CARGO_BIN_NAME");
    let Some(path) = std::env::current_exe().ok() else { return name.to_owned() };
    let real = |path: PathBuf| path.canonicalize().ok();
    let found = std::env::var_os("PATH")
        .and_then(|all| std::env::split_paths(&all).find_map(|directory| real(directory.join(name))));
    if found.is_some() && found == real(path.clone()) {
        name.to_owned()
    } else {
        quoted(&path.to_string_lossy())
    }
}

/// One word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        for (word, expected) in [
            ("/tmp/a-b_c.d", "/tmp/a-b_c.d"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$x", "'$x'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
