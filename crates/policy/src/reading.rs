//! From text to a document, with errors that say where.

use serde::de::DeserializeOwned;
use serde_saphyr::{Error, Location};

use crate::placed::Place;
use crate::problem::Problem;

/// Longest document in bytes.
const MAX_DOCUMENT_BYTES: usize = 4 << 20;

/// Reads YAML, or JSON, which is YAML too.
pub fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Problem> {
    if text.len() > MAX_DOCUMENT_BYTES {
        return Err(Problem::new(file, Place::default(), "the document is longer than 4 MiB"));
    }
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| explain(file, &error))
}

fn explain(file: &str, error: &Error) -> Problem {
    let error = error.without_snippet();
    let place = error.location().map(place_of).unwrap_or_default();
    match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            let problem = Problem::new(file, place, format!("unknown key `{field}`"));
            suggest(problem, field, expected)
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            let problem =
                Problem::new(file, place, format!("`{variant}` is not a value that may stand here"));
            suggest(problem, variant, expected)
        }
        Error::SerdeMissingField { field, .. } => {
            Problem::new(file, place, format!("the key `{field}` is missing here"))
        }
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or_default();
            Problem::new(file, place, format!("the key `{key}` is here twice"))
        }
        other => Problem::new(file, place, without_position(&other.to_string())),
    }
}

fn suggest(problem: Problem, given: &str, expected: &[&'static str]) -> Problem {
    let mut problem = problem.meant(given, expected.iter().copied());
    problem.suggestion.get_or_insert_with(|| format!("one of: {}", expected.join(", ")));
    problem
}

/// The library repeats the position in its message, and so would we.
fn without_position(message: &str) -> String {
    let cut = message.rfind(" at line ").filter(|_| message.contains(", column "));
    cut.and_then(|end| message.get(..end)).unwrap_or(message).to_owned()
}

fn place_of(location: Location) -> Place {
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Place { line: size(location.line()), column: size(location.column()), offset: None }
}
