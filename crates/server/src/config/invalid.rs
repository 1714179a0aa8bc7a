//! Why a configuration is refused: where it stands, what is wrong, what to write instead.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the file, in that line (from 1).
    File(PathBuf, Option<usize>),
    /// In an environment variable.
    Variable(String),
    /// On the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, Some(line)) => write!(f, "{}:{line}", path.display()),
            Self::File(path, None) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "option {flag}"),
        }
    }
}

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigInvalid {
    /// The file is not there, or may not be read.
    #[error("{}: can't be read: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    /// The file is no TOML.
    #[error("{origin}: {message}")]
    Syntax { origin: Origin, message: String },
    /// Nobody knows that name.
    #[error("{}{}", unknown(origin, name), suggest(suggestion.as_deref()))]
    UnknownName { origin: Origin, name: String, suggestion: Option<String> },
    /// The name is known and the value is not.
    #[error("{}`{name}`: {message}", place(origin.as_ref()))]
    Value { origin: Option<Origin>, name: String, message: String },
}

fn unknown(origin: &Origin, name: &str) -> String {
    match origin {
        // The variable's name is the setting's: once is enough.
        Origin::Variable(_) => format!("{origin} is no setting"),
        _ => format!("{origin}: unknown setting `{name}`"),
    }
}

fn suggest(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

fn place(origin: Option<&Origin>) -> String {
    origin.map(|origin| format!("{origin}: ")).unwrap_or_default()
}

/// The line (from 1) of a byte in a text.
pub(crate) fn line_at(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
}

impl ConfigInvalid {
    pub(crate) fn unreadable(path: &Path, cause: std::io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), cause }
    }
}
