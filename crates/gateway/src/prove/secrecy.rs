//! Columns that are not meant to be read in clear: those that the intent names, and those that are named like secrets.

use std::collections::{BTreeMap, HashMap};

use ringfence_policy::filter::wildcard_matches;
use ringfence_policy::intent::{ShownIntent, relation_name};
use ringfence_policy::{Intent, RelationName, names_a_secret};

use super::actor::Actor;
use super::world::World;

/// Shorter texts are found by chance.
const TELLING: usize = 8;

/// A column that is not meant to be read in clear.
#[derive(Debug, Clone)]
pub(super) struct Sensitive {
    pub(super) show: ShownIntent,
    /// Characters that a mask may show; half of them when nobody says.
    pub(super) at_most: Option<usize>,
    except_roles: Vec<String>,
    /// Whether the intent says so; else its name does.
    pub(super) is_said: bool,
}

/// All of them, and where their values are.
pub(super) struct Secrets {
    columns: BTreeMap<(RelationName, String), Sensitive>,
    values: HashMap<String, (RelationName, String)>,
}

impl Sensitive {
    pub(super) fn excepts(&self, actor: &Actor) -> bool {
        actor.holds(&self.except_roles)
    }

    /// Whether that much of a value shows too much of it.
    pub(super) fn shows_too_much(&self, raw: &str, shown: &str) -> bool {
        let length = raw.chars().count();
        // Of a short value any letter is much, and none of it tells.
        if length < 4 {
            return self.is_said && raw == shown;
        }
        let limit = self.at_most.unwrap_or(length.div_ceil(2));
        shown_characters(raw, shown) > limit
    }
}

impl Secrets {
    pub(super) fn of(world: &World, intent: &Intent, schema: &str) -> Self {
        let mut columns = BTreeMap::new();
        for (name, table) in &world.tables {
            for (column, data_type) in &table.columns {
                let said = intent.sensitive.iter().find(|sensitive| {
                    let of = sensitive.relation.as_ref().and_then(|of| relation_name(schema, &of.value));
                    (sensitive.relation.is_none() || of.as_ref() == Some(name))
                        && wildcard_matches(&sensitive.column, column, true)
                });
                let sensitive = match said {
                    Some(said) => Sensitive {
                        show: said.show,
                        at_most: said.at_most,
                        except_roles: said.except_roles.clone(),
                        is_said: true,
                    },
                    None if names_a_secret(column, data_type) => Sensitive {
                        show: ShownIntent::Mask,
                        at_most: None,
                        except_roles: Vec::new(),
                        is_said: false,
                    },
                    None => continue,
                };
                if sensitive.show != ShownIntent::Clear {
                    columns.insert((name.clone(), column.clone()), sensitive);
                }
            }
        }
        let mut values = HashMap::new();
        for place in columns.keys() {
            let Some(table) = world.tables.get(&place.0).filter(|table| !table.is_view) else { continue };
            let Some(column) = table.place(&place.1) else { continue };
            for row in 0..table.rows.len() {
                if let Some(value) = table.datum(row, column).filter(|value| value.chars().count() >= TELLING)
                {
                    values.insert(value.to_owned(), place.clone());
                }
            }
        }
        Self { columns, values }
    }

    /// What is meant of the column, for somebody whom it is meant for.
    pub(super) fn meant(&self, actor: &Actor, relation: &RelationName, column: &str) -> Option<&Sensitive> {
        let sensitive = self.columns.get(&(relation.clone(), column.to_owned()))?;
        (!sensitive.excepts(actor)).then_some(sensitive)
    }

    /// The sensitive column that holds this very value, for somebody who is not meant to read it.
    pub(super) fn holder(&self, actor: &Actor, value: &str) -> Option<(&(RelationName, String), &Sensitive)> {
        let place = self.values.get(value)?;
        let sensitive = self.columns.get(place)?;
        (!sensitive.excepts(actor)).then_some((place, sensitive))
    }

    /// The sensitive columns of a relation.
    pub(super) fn of_relation<'s>(
        &'s self,
        relation: &'s RelationName,
    ) -> impl Iterator<Item = (&'s str, &'s Sensitive)> {
        let of = self.columns.iter().filter(move |((name, _), _)| name == relation);
        of.map(|((_, column), sensitive)| (column.as_str(), sensitive))
    }
}

/// How many characters of a value stand in what is shown of it: at its ends, or in one piece.
fn shown_characters(raw: &str, shown: &str) -> usize {
    let raw: Vec<char> = raw.chars().collect();
    let shown: Vec<char> = shown.chars().collect();
    let pairs = || raw.iter().zip(&shown);
    let start = pairs().take_while(|(one, other)| one == other).count();
    let backwards = raw.iter().rev().zip(shown.iter().rev());
    let end = backwards.take_while(|(one, other)| one == other).count();
    let ends = (start + end).min(raw.len());
    // The longest piece that both have, by a table of one line.
    let mut longest = 0;
    let mut line = vec![0_usize; shown.len() + 1];
    for letter in raw.iter().take(256) {
        let mut before = 0;
        for (place, other) in shown.iter().enumerate().take(256) {
            let known = line.get(place + 1).copied().unwrap_or(0);
            let run = if letter == other { before + 1 } else { 0 };
            if let Some(slot) = line.get_mut(place + 1) {
                *slot = run;
            }
            longest = longest.max(run);
            before = known;
        }
    }
    ends.max(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_mask_shows_is_counted() {
        for (raw, shown, count) in [
            ("4111111111111234", "****1234", 4),
            ("abcdefgh", "********", 0),
            ("abcdefgh", "ab****gh", 4),
            ("abcdefgh", "abcdefgh", 8),
            ("abcdefgh", "x cdef x", 4),
        ] {
            assert_eq!(shown_characters(raw, shown), count, "{raw} {shown}");
        }
        let sensitive =
            Sensitive { show: ShownIntent::Mask, at_most: Some(4), except_roles: Vec::new(), is_said: true };
        assert!(!sensitive.shows_too_much("4111111111111234", "****1234"));
        assert!(sensitive.shows_too_much("4111111111111234", "********11111234"));
    }
}
