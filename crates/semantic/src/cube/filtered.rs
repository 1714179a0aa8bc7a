//! The filter of a query, taken apart: what is asked of facts by their levels, and of rows by their measures.

use super::visible::{CubeView, LevelAt};
use crate::refusal::Refusal;
use crate::request::{Condition, Test};

/// A filter in two parts, of which all must hold.
#[derive(Debug, Default)]
pub(super) struct Filtered<'q> {
    pub(super) facts: Vec<&'q Condition>,
    pub(super) rows: Vec<&'q Condition>,
    /// Levels that the first part is about.
    pub(super) levels: Vec<LevelAt>,
    /// Measures that the second part is about.
    pub(super) measures: Vec<String>,
}

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Levels,
    Measures,
}

impl<'q> Filtered<'q> {
    pub(super) fn of(cube: &CubeView<'_>, filter: Option<&'q Condition>) -> Result<Self, Refusal> {
        let mut filtered = Self::default();
        if let Some(condition) = filter {
            filtered.split(cube, condition)?;
        }
        Ok(filtered)
    }

    fn split(&mut self, cube: &CubeView<'_>, condition: &'q Condition) -> Result<(), Refusal> {
        if let Condition::And(all) = condition {
            return all.iter().try_for_each(|part| self.split(cube, part));
        }
        match self.about(cube, condition)? {
            Some(About::Measures) => self.rows.push(condition),
            Some(About::Levels) | None => self.facts.push(condition),
        }
        Ok(())
    }

    fn about(&mut self, cube: &CubeView<'_>, condition: &Condition) -> Result<Option<About>, Refusal> {
        match condition {
            Condition::Test(Test { field, .. }) => self.named(cube, field).map(Some),
            Condition::Not(inner) => self.about(cube, inner),
            Condition::And(parts) | Condition::Or(parts) => {
                let mut about = None;
                for part in parts {
                    let other = self.about(cube, part)?;
                    if about.is_some() && other.is_some() && about != other {
                        return Err(Refusal::invalid(
                            "one `or` or `not` can't be about levels and measures: those choose facts, these rows",
                        ));
                    }
                    about = about.or(other);
                }
                Ok(about)
            }
        }
    }

    fn named(&mut self, cube: &CubeView<'_>, name: &str) -> Result<About, Refusal> {
        match (cube.has_level(name), cube.measure(name)) {
            (true, Ok(_)) => Err(Refusal::invalid(format!(
                "\"{name}\" is a level and a measure: write the level with its hierarchy, as in Hierarchy.Level"
            ))),
            (false, Ok(_)) => {
                self.measures.push(name.to_owned());
                Ok(About::Measures)
            }
            (true, Err(_)) => {
                let at = cube.level(name)?;
                self.levels.push(at);
                Ok(About::Levels)
            }
            (false, Err(_)) => Err(cube.missing_either(name)),
        }
    }
}
