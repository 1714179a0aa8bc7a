//! Why a request becomes no statement.

use std::fmt;

use ringfence_policy::Denial;

/// A refusal. It names what the request said, and as alternatives only what the principal may know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such model, or a hidden one: one answer.
    #[error("there is no model \"{name}\" for you{}", Alternatives(alternatives))]
    ModelNotAllowed {
        /// As the request calls it.
        name: String,
        /// Those that the principal sees, the nearest first.
        alternatives: Vec<String>,
    },
    /// No such field, or a hidden one: one answer.
    #[error("{model} has no field \"{name}\" for you{}", Alternatives(alternatives))]
    FieldNotAllowed {
        /// The model.
        model: String,
        /// As the request calls it.
        name: String,
        /// Those that the principal sees, the nearest first.
        alternatives: Vec<String>,
    },
    /// No such way to another model, or one whose columns or target are hidden: one answer.
    #[error("{model} has no relation \"{name}\" for you{}", Alternatives(alternatives))]
    RelationNotAllowed {
        /// The model.
        model: String,
        /// As the request calls it.
        name: String,
        /// Those that the principal sees.
        alternatives: Vec<String>,
    },
    /// No such cube, or one whose facts are hidden: one answer.
    #[error("there is no cube \"{name}\" for you{}", Alternatives(alternatives))]
    CubeNotAllowed {
        /// As the request calls it.
        name: String,
        /// Those that the principal sees, the nearest first.
        alternatives: Vec<String>,
    },
    /// No such part of a cube, or one on something hidden: one answer.
    #[error("{cube} has no {noun} \"{name}\" for you{}", Alternatives(alternatives))]
    CubePart {
        /// The cube.
        cube: String,
        /// `level`, `measure` and the like.
        noun: &'static str,
        /// As the request calls it.
        name: String,
        /// Those that the principal sees, the nearest first.
        alternatives: Vec<String>,
    },
    /// The policy can't be held against the principal, or the database changed.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// The request itself.
    #[error("{0}")]
    Invalid(String),
    /// More than a budget allows.
    #[error("{0}")]
    BudgetExceeded(String),
    /// More rows than the policy lets an operation change.
    #[error("at most {limit} rows of {model} can be changed at once: send fewer")]
    TooManyRows {
        /// The model.
        model: String,
        /// The limit.
        limit: u64,
    },
    /// The policy does not let the principal do that to the model.
    #[error("{model} can't be {action} by you{}", Alternatives(alternatives))]
    WriteDisabled {
        /// The model.
        model: String,
        /// `created`, `updated` or `deleted`.
        action: &'static str,
        /// What may be done.
        alternatives: Vec<String>,
    },
    /// The model's version, which every update moves on, can't be written.
    #[error("{0} can't be updated by you: its version \"{1}\" has to move on, and you may not write it")]
    VersionNotWritable(String, String),
    /// A field that does not change.
    #[error("\"{field}\" of {model} can't be changed: leave it out")]
    ImmutableField {
        /// The model.
        model: String,
        /// The field.
        field: String,
    },
    /// A field that may be read and not written.
    #[error("\"{field}\" of {model} can't be written by you: leave it out")]
    FieldNotWritable {
        /// The model.
        model: String,
        /// The field.
        field: String,
    },
    /// A field that must be given.
    #[error("{model} needs \"{field}\"")]
    RequiredField {
        /// The model.
        model: String,
        /// The field.
        field: String,
    },
}

/// Alternatives in a message: the nearest few.
struct Alternatives<'a>(&'a [String]);

const MOST_ALTERNATIVES: usize = 12;

impl fmt::Display for Alternatives<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let shown: Vec<&str> = self.0.iter().take(MOST_ALTERNATIVES).map(String::as_str).collect();
        let more = if self.0.len() > MOST_ALTERNATIVES { ", ..." } else { "" };
        write!(f, ": there is {}{more}", shown.join(", "))
    }
}

impl Refusal {
    /// That there is no such cube among these.
    pub fn no_cube(name: &str, visible: impl Iterator<Item = String>) -> Self {
        let visible: Vec<String> = visible.collect();
        let alternatives = nearest(name, visible.iter().map(String::as_str));
        Self::CubeNotAllowed { name: name.to_owned(), alternatives }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
}

/// The candidates, those most like the name first.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<String> {
    let name = name.to_lowercase();
    let mut ranked: Vec<(f64, &str)> = candidates
        .map(|candidate| (strsim::jaro_winkler(&name, &candidate.to_lowercase()), candidate))
        .collect();
    ranked.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(other.1)));
    ranked.into_iter().map(|(_, candidate)| candidate.to_owned()).collect()
}
