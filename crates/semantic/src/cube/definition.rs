//! A cube as its author writes it, YAML or JSON, and what can be said of it without a catalog.

use std::fmt;
use std::time::Duration;

use ringfence_policy::cubes::{CubeJoin, relation_name};
use ringfence_policy::endpoint::LONGEST_CACHE;
use ringfence_policy::placed::{Entries, Place, Placed};
use ringfence_policy::{PolicyInvalid, Problem, RelationName, duration, reading};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Longest name and caption, in characters.
const MOST_CHARACTERS: usize = 200;
/// Longest description.
const LONGEST_DESCRIPTION: usize = 4_000;
const MOST_TABLES: usize = 16;
const MOST_HIERARCHIES: usize = 200;
const MOST_LEVELS: usize = 16;
const MOST_MEASURES: usize = 500;

/// A definition that was read and holds together by itself.
#[derive(Debug, Clone)]
pub struct Definition {
    /// What problems call the document.
    pub(super) file: String,
    pub(super) document: Document,
    pub(super) joins: Vec<JoinTo>,
    cache: Option<Duration>,
}

/// A cube, as its author writes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    /// The table of facts.
    pub(super) table: Placed<String>,
    #[serde(default)]
    pub(super) caption: Option<Placed<String>>,
    #[serde(default)]
    pub(super) description: Option<Placed<String>>,
    /// Whether there are automatic hierarchies and measures besides those given.
    #[serde(default)]
    pub(super) auto: Option<bool>,
    /// How long an answer counts, such as `5m`; `0s` for not at all.
    #[serde(default)]
    cache: Option<Placed<String>>,
    #[serde(default)]
    pub(super) joins: Vec<JoinEntry>,
    #[serde(default)]
    pub(super) hierarchies: Entries<Vec<Placed<LevelEntry>>>,
    /// Automatic ones that are not wanted.
    #[serde(default)]
    pub(super) without: Without,
    #[serde(default)]
    pub(super) measures: Entries<MeasureEntry>,
}

/// Another table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinEntry {
    table: Placed<String>,
    /// The table that it is joined to; the table of facts when left out.
    #[serde(default)]
    from: Option<Placed<String>>,
    /// A column of that table, and the column of this one that it points to.
    on: Entries<Placed<String>>,
    /// That the column is unique, where the catalog does not say so.
    #[serde(default)]
    unique: bool,
    /// Whether what hides a row of this table hides the facts that point to it.
    #[serde(default = "yes")]
    inherit: bool,
}

const fn yes() -> bool {
    true
}

/// Automatic ones that are not wanted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Without {
    pub(super) hierarchies: Vec<String>,
    pub(super) measures: Vec<String>,
}

/// A level: a column's name, or more.
#[derive(Debug, Clone)]
pub(super) struct LevelEntry {
    pub(super) level: Option<String>,
    pub(super) table: Option<String>,
    pub(super) column: String,
    pub(super) caption: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LevelKeys {
    #[serde(default)]
    level: Option<String>,
    #[serde(default)]
    table: Option<String>,
    column: String,
    #[serde(default)]
    caption: Option<String>,
}

impl<'de> Deserialize<'de> for LevelEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;

        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = LevelEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a column, or { level, table, column }")
            }

            fn visit_str<E: serde::de::Error>(self, column: &str) -> Result<LevelEntry, E> {
                Ok(LevelEntry { level: None, table: None, column: column.to_owned(), caption: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LevelEntry, A::Error> {
                let LevelKeys { level, table, column, caption } =
                    LevelKeys::deserialize(MapAccessDeserializer::new(map))?;
                Ok(LevelEntry { level, table, column, caption })
            }
        }

        deserializer.deserialize_any(EntryVisitor)
    }
}

/// A measure: one of these says what it is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MeasureEntry {
    sum: Option<Placed<String>>,
    mean: Option<Placed<String>>,
    min: Option<Placed<String>>,
    max: Option<Placed<String>>,
    count: Option<Placed<String>>,
    count_distinct: Option<Placed<String>>,
    median: Option<Placed<String>>,
    quantile: Option<QuantileEntry>,
    expression: Option<Placed<String>>,
    share: Option<Placed<String>>,
    of: Option<Whole>,
    pub(super) caption: Option<String>,
    pub(super) description: Option<String>,
    pub(super) format: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuantileEntry {
    column: Placed<String>,
    q: f64,
}

/// What a share is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whole {
    /// Everything that the query is about.
    Total,
    /// The row's total one level up.
    Parent,
}

/// What is computed of the facts of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Function {
    Sum,
    Mean,
    Min,
    Max,
    Count,
    CountDistinct,
    /// Of these, the value below which that part of them is.
    Quantile(f64),
}

/// What a measure was said to be.
#[derive(Debug, Clone)]
pub(super) enum Said<'a> {
    Aggregate(Function, &'a Placed<String>),
    Expression(&'a Placed<String>),
    Share(&'a Placed<String>, Whole),
}

/// A join that can be followed from the table of facts; in an order in which each begins where another one ended.
#[derive(Debug, Clone)]
pub(super) struct JoinTo {
    pub(super) table: Placed<String>,
    /// `None` for the table of facts.
    pub(super) from: Option<Placed<String>>,
    pub(super) column: Placed<String>,
    pub(super) target_column: Placed<String>,
    pub(super) unique: bool,
    pub(super) inherit: bool,
}

impl MeasureEntry {
    /// What it is; an error in words when it is nothing, or two things.
    pub(super) fn said(&self) -> Result<Said<'_>, String> {
        let of_column = [
            (Function::Sum, &self.sum),
            (Function::Mean, &self.mean),
            (Function::Min, &self.min),
            (Function::Max, &self.max),
            (Function::Count, &self.count),
            (Function::CountDistinct, &self.count_distinct),
            (Function::Quantile(0.5), &self.median),
        ];
        let mut all: Vec<Said<'_>> = of_column
            .into_iter()
            .filter_map(|(function, column)| Some(Said::Aggregate(function, column.as_ref()?)))
            .collect();
        if let Some(QuantileEntry { column, q }) = &self.quantile {
            if !(0.0..=1.0).contains(q) {
                return Err("`q` of a quantile is from 0 to 1".to_owned());
            }
            all.push(Said::Aggregate(Function::Quantile(*q), column));
        }
        all.extend(self.expression.as_ref().map(Said::Expression));
        if let Some(measure) = &self.share {
            all.push(Said::Share(measure, self.of.unwrap_or(Whole::Total)));
        } else if self.of.is_some() {
            return Err("`of` belongs to a `share`".to_owned());
        }
        match (all.pop(), all.is_empty()) {
            (Some(said), true) => Ok(said),
            (None, _) => Err(format!("a measure is one of {KINDS}")),
            (Some(_), false) => Err(format!("a measure is only one of {KINDS}")),
        }
    }
}

const KINDS: &str =
    "`sum`, `mean`, `min`, `max`, `count`, `count_distinct`, `median`, `quantile`, `expression` and `share`";

impl Definition {
    /// Reads a document and says all that is wrong with it by itself. `file` is what problems call it.
    pub fn load(file: &str, text: &str) -> Result<Self, PolicyInvalid> {
        let document: Document =
            reading::read(file, text).map_err(|problem| PolicyInvalid { problems: vec![problem] })?;
        let mut checker = Checker { file, problems: Vec::new() };
        checker.texts(&document);
        let cache = document.cache.as_ref().and_then(|text| checker.cache(text));
        let joins = checker.joins(&document);
        checker.hierarchies(&document);
        checker.measures(&document);
        if checker.problems.is_empty() {
            Ok(Self { file: file.to_owned(), document, joins, cache })
        } else {
            Err(PolicyInvalid { problems: checker.problems })
        }
    }

    /// The table of facts; `schema` is where names without one are looked up.
    pub fn facts(&self, schema: &str) -> Option<RelationName> {
        relation_name(&self.document.table.value, schema)
    }

    /// The joins over which facts inherit what hides the row that they point to.
    //
    // INVARIANT: these need no catalog, so that a database that moved away from under a cube does not show more. Held by the
    // test `a_cube_that_fits_no_more_still_hands_restrictions_on`.
    pub fn inherited_joins(&self, schema: &str) -> Vec<CubeJoin> {
        let inherited = self.joins.iter().filter(|join| join.inherit);
        let joins = inherited.filter_map(|join| {
            let from = join.from.as_ref().unwrap_or(&self.document.table);
            Some(CubeJoin {
                from: relation_name(&from.value, schema)?,
                column: join.column.value.clone(),
                target: relation_name(&join.table.value, schema)?,
                target_column: join.target_column.value.clone(),
            })
        });
        joins.collect()
    }

    /// How long an answer counts, where its author says so; nothing at all for one that is never kept.
    pub fn cache(&self) -> Option<Duration> {
        self.cache
    }

    pub(super) fn problem(&self, place: Place, message: impl Into<String>) -> Problem {
        Problem::new(&self.file, place, message)
    }

    /// Whether hierarchies and measures are made automatically.
    pub(super) fn is_automatic(&self) -> bool {
        let Document { auto, hierarchies, measures, .. } = &self.document;
        auto.unwrap_or(hierarchies.0.is_empty() && measures.0.is_empty())
    }
}

struct Checker<'a> {
    file: &'a str,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn problem(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(Problem::new(self.file, place, message));
    }

    fn texts(&mut self, document: &Document) {
        let long = |text: &Option<Placed<String>>, most: usize| {
            text.as_ref().is_some_and(|text| text.value.chars().count() > most)
        };
        if long(&document.caption, MOST_CHARACTERS) || long(&document.description, LONGEST_DESCRIPTION) {
            self.problem(document.table.place, "the caption or the description is too long");
        }
        self.table(&document.table);
    }

    fn cache(&mut self, text: &Placed<String>) -> Option<Duration> {
        let time = duration(&text.value).filter(|time| *time <= LONGEST_CACHE);
        if time.is_none() {
            self.problem(text.place, "`cache` is a number and its unit: ms, s, m or h; at most a day");
        }
        time
    }

    fn table(&mut self, table: &Placed<String>) {
        if relation_name(&table.value, "s").is_none() {
            self.problem(
                table.place,
                "this is no table: write `table` or `schema.table`, a part with a dot in double quotes",
            );
        }
    }

    /// The joins, each behind the one that it begins at.
    fn joins(&mut self, document: &Document) -> Vec<JoinTo> {
        if document.joins.len() > MOST_TABLES {
            self.problem(document.table.place, format!("a cube joins at most {MOST_TABLES} tables"));
            return Vec::new();
        }
        let mut waiting = Vec::new();
        for (index, entry) in document.joins.iter().enumerate() {
            self.table(&entry.table);
            let is_second =
                document.joins.iter().take(index).any(|other| other.table.value == entry.table.value)
                    || entry.table.value == document.table.value;
            if is_second {
                self.problem(entry.table.place, format!("`{}` is in the cube twice", entry.table.value));
            }
            let [(column, target_column)] = entry.on.0.as_slice() else {
                self.problem(entry.table.place, "`on` is one column and the column that it points to");
                continue;
            };
            waiting.push(JoinTo {
                table: entry.table.clone(),
                from: entry.from.clone().filter(|from| from.value != document.table.value),
                column: column.clone(),
                target_column: target_column.clone(),
                unique: entry.unique,
                inherit: entry.inherit,
            });
        }
        self.ordered(waiting)
    }

    fn ordered(&mut self, mut waiting: Vec<JoinTo>) -> Vec<JoinTo> {
        let tables: Vec<String> = waiting.iter().map(|join| join.table.value.clone()).collect();
        let mut ordered: Vec<JoinTo> = Vec::new();
        loop {
            let is_reached = |join: &JoinTo| match &join.from {
                None => true,
                Some(from) => ordered.iter().any(|other| other.table.value == from.value),
            };
            let Some(next) = waiting.iter().position(is_reached) else { break };
            let join = waiting.remove(next);
            ordered.push(join);
        }
        for JoinTo { from, table, .. } in waiting {
            let Some(from) = from else { continue };
            if tables.contains(&from.value) {
                self.problem(table.place, format!("the join of `{}` is part of a circle", table.value));
            } else {
                let problem =
                    Problem::new(self.file, from.place, format!("`{}` is no table of the cube", from.value));
                self.problems.push(problem.meant(&from.value, tables.iter().map(String::as_str)));
            }
        }
        ordered
    }

    fn hierarchies(&mut self, document: &Document) {
        let all = &document.hierarchies.0;
        if all.len() > MOST_HIERARCHIES {
            self.problem(document.table.place, format!("a cube has at most {MOST_HIERARCHIES} hierarchies"));
        }
        for (index, (name, levels)) in all.iter().enumerate() {
            self.name(name, "hierarchy");
            if all.iter().take(index).any(|(other, _)| other.value == name.value) {
                self.problem(name.place, format!("two hierarchies are called `{}`", name.value));
            }
            if levels.is_empty() || levels.len() > MOST_LEVELS {
                self.problem(name.place, format!("a hierarchy has 1 to {MOST_LEVELS} levels"));
            }
            let named = |entry: &Placed<LevelEntry>| {
                entry.value.level.clone().unwrap_or_else(|| entry.value.column.clone())
            };
            for (index, level) in levels.iter().enumerate() {
                let called = Placed { value: named(level), place: level.place };
                self.name(&called, "level");
                if levels.iter().take(index).any(|other| named(other) == called.value) {
                    self.problem(level.place, format!("two levels are called `{}`", called.value));
                }
            }
        }
    }

    fn measures(&mut self, document: &Document) {
        let all = &document.measures.0;
        if all.len() > MOST_MEASURES {
            self.problem(document.table.place, format!("a cube has at most {MOST_MEASURES} measures"));
        }
        for (index, (name, entry)) in all.iter().enumerate() {
            self.name(name, "measure");
            if all.iter().take(index).any(|(other, _)| other.value == name.value) {
                self.problem(name.place, format!("two measures are called `{}`", name.value));
            }
            if let Err(message) = entry.said() {
                self.problem(name.place, message);
            }
            let long = |text: &Option<String>, most: usize| {
                text.as_ref().is_some_and(|text| text.chars().count() > most)
            };
            if long(&entry.caption, MOST_CHARACTERS)
                || long(&entry.format, MOST_CHARACTERS)
                || long(&entry.description, LONGEST_DESCRIPTION)
            {
                self.problem(name.place, "the caption, the format or the description is too long");
            }
        }
    }

    fn name(&mut self, name: &Placed<String>, noun: &str) {
        let is_fine = !name.value.trim().is_empty()
            && name.value.chars().count() <= MOST_CHARACTERS
            && !name.value.chars().any(char::is_control);
        if !is_fine {
            self.problem(
                name.place,
                format!("the name of a {noun} has 1 to {MOST_CHARACTERS} characters, none of which controls"),
            );
        }
    }
}
