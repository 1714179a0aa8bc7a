//! What is wrong with a document, and what there is to look at in it.

use ringfence_policy::{Problem, RelationName, Warning};
use serde::Serialize;
use utoipa::ToSchema;

/// One fault of a document that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct DocumentProblem {
    /// Counted from 1; 0 when it is about no line.
    pub(crate) line: usize,
    /// In characters, counted from 1.
    pub(crate) column: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// What may have been meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub(crate) suggestion: Option<String>,
}

/// Something to look at in a policy that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({
    "code": "SECRET_IN_CLEAR",
    "relation": "public.users",
    "line": 4,
    "column": 5,
    "message": "`password` of public.users is named like a secret and is shown, because nothing says otherwise, in clear: whoever sees a row reads it",
    "suggestion": "say `password: deny`, mask it, or give it to a role: `password: [{ roles: [...], action: allow }]`",
}))]
pub(crate) struct Finding {
    /// Stable; the page on policies lists all of them.
    code: &'static str,
    /// The relation that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    relation: Option<String>,
    /// Counted from 1; 0 when it is about no line.
    line: usize,
    /// In characters, counted from 1.
    column: usize,
    /// What can go wrong.
    message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    suggestion: Option<String>,
}

/// A relation that nobody has access to, until somebody looked at its policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct SuspendedRelation {
    /// As `schema.name`.
    relation: String,
    /// What the policy rests on and the database does not have any more.
    reasons: Vec<Finding>,
}

impl From<Problem> for DocumentProblem {
    fn from(problem: Problem) -> Self {
        let Problem { line, column, message, suggestion, .. } = problem;
        Self { line, column, message, suggestion }
    }
}

impl From<Warning> for Finding {
    fn from(warning: Warning) -> Self {
        let Warning { code, relation, problem } = warning;
        let Problem { line, column, message, suggestion, .. } = problem;
        let relation = relation.map(|relation| relation.to_string());
        Self { code: code.name(), relation, line, column, message, suggestion }
    }
}

impl From<(RelationName, Vec<Warning>)> for SuspendedRelation {
    fn from((relation, reasons): (RelationName, Vec<Warning>)) -> Self {
        Self { relation: relation.to_string(), reasons: reasons.into_iter().map(Finding::from).collect() }
    }
}
