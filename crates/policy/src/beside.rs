//! Restrictions of data roles that are said beside a document, at run time.

use std::sync::Arc;

use crate::document::{Document, RestrictionEntry};
use crate::placed::{Entries, Place};
use crate::problem::{PolicyInvalid, Problem};

/// The name of what is said at run time, in problems.
pub const FILE: &str = "restrictions";

/// Restrictions by role, in the words of a document's `restrictions`.
#[derive(Debug, Clone, Default)]
pub struct Beside(Arc<Entries<Vec<RestrictionEntry>>>);

impl Beside {
    /// Reads them; JSON, or YAML.
    pub fn read(text: &str) -> Result<Self, PolicyInvalid> {
        let read = crate::reading::read(FILE, text);
        read.map(|entries| Self(Arc::new(entries)))
            .map_err(|problem| PolicyInvalid { problems: vec![problem] })
    }

    /// The entries of each role.
    pub fn roles(&self) -> impl Iterator<Item = (&str, &[RestrictionEntry])> {
        self.0.0.iter().map(|(role, entries)| (role.value.as_str(), entries.as_slice()))
    }

    /// The document with them. A role is restricted in one of the two: what one says could widen what the other does.
    //
    // INVARIANT: nothing that is said at run time lifts or widens what the document says of a role. Held by the test
    // `a_role_is_restricted_in_one_place`.
    pub(crate) fn join(&self, file: &str, mut document: Document) -> Result<Document, PolicyInvalid> {
        let mut problems = Vec::new();
        for (role, entries) in &self.0.0 {
            match document.restrictions.0.iter().find(|(known, _)| known.value == role.value) {
                Some((known, _)) => problems.push(Problem::new(
                    file,
                    known.place,
                    format!("`{}` is restricted at run time as well: say it here or there", role.value),
                )),
                None => {
                    let mut role = role.clone();
                    role.place = Place::default();
                    document.restrictions.0.push((role, entries.clone()));
                }
            }
        }
        if problems.is_empty() { Ok(document) } else { Err(PolicyInvalid { problems }) }
    }
}
