//! Why a decision is what it is.

use std::fmt;

use crate::placed::Place;

/// One thing that gave or took something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What it is about.
    pub subject: Subject,
    /// What came of it.
    pub effect: Effect,
    /// The rule, in the document's words.
    pub rule: String,
    /// Where the rule stands in the policy document, if it does.
    pub place: Option<Place>,
}

/// What a reason is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The relation as a whole.
    Relation,
    /// One column.
    Column(String),
    /// Its rows.
    Rows,
    /// Changes.
    Writes,
}

/// What came of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is seen, or may be done.
    Gives,
    /// It is not seen, or may not be done.
    Takes,
    /// Something else is seen in its place.
    Masks,
    /// Fewer rows are seen.
    Narrows,
    /// More rows are seen.
    Extends,
    /// The scope does not count.
    Lifts,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Relation => f.write_str("relation")?,
            Subject::Column(name) => write!(f, "column {name}")?,
            Subject::Rows => f.write_str("rows")?,
            Subject::Writes => f.write_str("writes")?,
        }
        let effect = match self.effect {
            Effect::Gives => "given by",
            Effect::Takes => "taken by",
            Effect::Masks => "masked by",
            Effect::Narrows => "narrowed by",
            Effect::Extends => "extended by",
            Effect::Lifts => "scope lifted by",
        };
        write!(f, " {effect} {}", self.rule)?;
        match self.place {
            Some(place) if place.line > 0 => write!(f, " (line {})", place.line),
            Some(_) | None => Ok(()),
        }
    }
}
