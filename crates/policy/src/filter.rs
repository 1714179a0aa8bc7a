//! Content filters: which relations and columns of a connection exist for its users.

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, Serialize};

use crate::catalog::{Catalog, Relation, Schema};

/// Whether a filter lets in or keeps out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum FilterType {
    #[default]
    Inclusion,
    Exclusion,
}

/// Patterns over the four parts of a column's name. In a pattern `*` stands for any run of characters and
/// nothing else is special.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchContext {
    /// Lets in, unless it says otherwise.
    #[serde(rename = "type", default, deserialize_with = "null_is_default")]
    pub filter_type: FilterType,
    /// Pattern for the database's name.
    #[serde(default = "any", deserialize_with = "null_is_any")]
    pub db_name: String,
    /// Pattern for the schema's name.
    #[serde(default = "any", deserialize_with = "null_is_any")]
    pub schema_name: String,
    /// Pattern for the relation's name.
    #[serde(default = "any", deserialize_with = "null_is_any")]
    pub table_name: String,
    /// Pattern for the column's name.
    #[serde(default = "any", deserialize_with = "null_is_any")]
    pub column_name: String,
    /// Whether upper and lower case are the same; they are unless this is false.
    #[serde(default = "yes", deserialize_with = "null_is_yes")]
    pub ignore_case: bool,
}

/// What a deprecated filter looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum PatternScope {
    Schema,
    Table,
    Column,
}

/// Whether a deprecated filter lets in or keeps out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum PatternType {
    #[default]
    Include,
    Exclude,
}

/// What a deprecated filter is for. Only `visibility` hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum PatternAction {
    #[default]
    Visibility,
    SampleValues,
}

/// The deprecated filter form: a regular expression searched in one part of the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatternFilter {
    /// Which part of the name it looks at.
    pub filter_scope: PatternScope,
    /// Lets in, unless it says otherwise.
    #[serde(default, deserialize_with = "null_is_default")]
    pub filter_type: PatternType,
    /// Only `visibility` hides.
    #[serde(default, deserialize_with = "null_is_default")]
    pub filter_action_type: PatternAction,
    /// Whether upper and lower case are the same.
    #[serde(default = "yes", deserialize_with = "null_is_yes")]
    pub ignore_case: bool,
    /// A regular expression searched in the name; empty matches all.
    #[serde(default, deserialize_with = "null_is_default")]
    pub pattern: String,
    /// Limits where the filter applies.
    #[serde(default)]
    pub search_context: Option<Vec<SearchContext>>,
}

/// A filter that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterInvalid {
    /// The regular expression does not compile or is too large.
    #[error("the pattern of db_content_filters[{index}] is no regular expression that can be used here")]
    Pattern {
        /// Position in the list, from 0.
        index: usize,
    },
}

/// A connection's filters, ready to ask.
#[derive(Debug, Clone, Default)]
pub struct ContentFilters {
    contexts: Vec<SearchContext>,
    patterns: Vec<CompiledPattern>,
}

#[derive(Debug, Clone)]
struct CompiledPattern {
    filter: PatternFilter,
    regex: Regex,
}

/// A regular expression's compiled size in bytes: a filter comes from a user and must not fill the memory.
const REGEX_SIZE_LIMIT: usize = 256 * 1024;

impl ContentFilters {
    /// Compiles both forms of filters. `None` and an empty list mean "no filter".
    pub fn new(contexts: &[SearchContext], patterns: &[PatternFilter]) -> Result<Self, FilterInvalid> {
        let compile = |(index, filter): (usize, &PatternFilter)| {
            RegexBuilder::new(&filter.pattern)
                .case_insensitive(filter.ignore_case)
                .size_limit(REGEX_SIZE_LIMIT)
                .build()
                .map(|regex| CompiledPattern { filter: filter.clone(), regex })
                .map_err(|_| FilterInvalid::Pattern { index })
        };
        let patterns = patterns
            .iter()
            .enumerate()
            .filter(|(_, filter)| filter.filter_action_type == PatternAction::Visibility)
            .map(compile)
            .collect::<Result<_, _>>()?;
        Ok(Self { contexts: contexts.to_vec(), patterns })
    }

    /// Whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.contexts.is_empty() && self.patterns.is_empty()
    }

    /// Whether the relation may be seen, provided that a column of it may.
    pub fn admits_relation(&self, database: &str, schema: &str, relation: &str) -> bool {
        let name = [database, schema, relation];
        let hidden = |context: &SearchContext| {
            context.filter_type == FilterType::Exclusion
                && matches_all(&context.column_name)
                && context.matches_relation(name)
        };
        let inclusions =
            || self.contexts.iter().filter(|context| context.filter_type == FilterType::Inclusion);
        (inclusions().next().is_none() || inclusions().any(|context| context.matches_relation(name)))
            && !self.contexts.iter().any(hidden)
            && self.patterns.iter().all(|pattern| pattern.admits_relation(name))
    }

    /// Whether the column may be seen. A column of a hidden relation may not.
    pub fn admits_column(&self, database: &str, schema: &str, relation: &str, column: &str) -> bool {
        let name = [database, schema, relation];
        let hidden = |context: &SearchContext| {
            context.filter_type == FilterType::Exclusion && context.matches_column(name, column)
        };
        let inclusions =
            || self.contexts.iter().filter(|context| context.filter_type == FilterType::Inclusion);
        self.admits_relation(database, schema, relation)
            && (inclusions().next().is_none()
                || inclusions().any(|context| context.matches_column(name, column)))
            && !self.contexts.iter().any(hidden)
            && self.patterns.iter().all(|pattern| pattern.admits_column(name, column))
    }

    /// Whether a relation that has no columns at all may be seen, by its name alone: where inclusions let it in, one of
    /// them asks for no column in particular.
    fn admits_columnless(&self, database: &str, schema: &str, relation: &str) -> bool {
        let mut inclusions =
            self.contexts.iter().filter(|context| context.filter_type == FilterType::Inclusion).peekable();
        let name = [database, schema, relation];
        let included = inclusions.peek().is_none()
            || inclusions.any(|context| matches_all(&context.column_name) && context.matches_relation(name));
        included && self.admits_relation(database, schema, relation)
    }

    /// The catalog as the filters show it: a relation without a visible column and a schema without a visible
    /// relation are left out.
    pub fn narrow(&self, catalog: &Catalog) -> Catalog {
        let narrow_relation = |schema: &Schema, relation: &Relation| {
            let mut narrowed = relation.clone();
            narrowed.columns.retain(|column| {
                self.admits_column(&catalog.database, &schema.name, &relation.name, &column.name)
            });
            if narrowed.columns.len() != relation.columns.len() {
                // INVARIANT: the statement names hidden columns, so it is hidden too. Held by the test
                // `a_relation_without_visible_columns_is_not_shown`.
                narrowed.ddl = None;
                narrowed.unique_indexes.clear();
            }
            let shown = if relation.columns.is_empty() {
                self.admits_columnless(&catalog.database, &schema.name, &relation.name)
            } else {
                !narrowed.columns.is_empty()
            };
            shown.then_some(narrowed)
        };
        let schemas = catalog.schemas.iter().map(|schema| Schema {
            name: schema.name.clone(),
            relations: schema
                .relations
                .iter()
                .filter_map(|relation| narrow_relation(schema, relation))
                .collect(),
        });
        Catalog {
            database: catalog.database.clone(),
            schemas: schemas.filter(|schema| !schema.relations.is_empty()).collect(),
        }
    }
}

impl SearchContext {
    fn matches_relation(&self, [database, schema, relation]: [&str; 3]) -> bool {
        wildcard_matches(&self.db_name, database, self.ignore_case)
            && wildcard_matches(&self.schema_name, schema, self.ignore_case)
            && wildcard_matches(&self.table_name, relation, self.ignore_case)
    }

    fn matches_column(&self, relation: [&str; 3], column: &str) -> bool {
        self.matches_relation(relation) && wildcard_matches(&self.column_name, column, self.ignore_case)
    }
}

impl CompiledPattern {
    fn admits_relation(&self, name: [&str; 3]) -> bool {
        let part = match self.filter.filter_scope {
            PatternScope::Schema => name[1],
            PatternScope::Table => name[2],
            PatternScope::Column => return true,
        };
        let applies = self.context_holds(|context| context.matches_relation(name));
        self.verdict(applies, part)
    }

    fn admits_column(&self, name: [&str; 3], column: &str) -> bool {
        match self.filter.filter_scope {
            PatternScope::Schema | PatternScope::Table => self.admits_relation(name),
            PatternScope::Column => {
                let applies = self.context_holds(|context| context.matches_column(name, column));
                self.verdict(applies, column)
            }
        }
    }

    /// For `include` the context is part of what is let in; for `exclude` it limits what is kept out.
    fn verdict(&self, applies: bool, part: &str) -> bool {
        let matched = applies && self.regex.is_match(part);
        match self.filter.filter_type {
            PatternType::Include => matched,
            PatternType::Exclude => !matched,
        }
    }

    fn context_holds(&self, matches: impl Fn(&SearchContext) -> bool) -> bool {
        match self.filter.search_context.as_deref() {
            None | Some([]) => true,
            Some(contexts) => contexts.iter().any(matches),
        }
    }
}

fn matches_all(pattern: &str) -> bool {
    pattern.chars().all(|c| c == '*')
}

/// Whole-name match in which `*` stands for any run of characters. Linear in the product of the lengths at worst.
pub fn wildcard_matches(pattern: &str, name: &str, ignore_case: bool) -> bool {
    if matches_all(pattern) {
        return true;
    }
    let fold = |text: &str| {
        if ignore_case { text.to_lowercase() } else { text.to_owned() }
    };
    let (pattern, name) = (fold(pattern), fold(name));
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        // The piece before is followed by a `*`, so its leftmost place is as good as any.
        if let Some(previous) = last.replace(piece) {
            match rest.split_once(previous) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
    }
    match last {
        None => rest.is_empty(),
        Some(piece) => rest.ends_with(piece),
    }
}

fn any() -> String {
    "*".to_owned()
}

fn yes() -> bool {
    true
}

fn null_is_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    Ok(text.unwrap_or_else(any))
}

fn null_is_yes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(deserializer)?.unwrap_or(true))
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::Column;

    fn contexts(json: &str) -> ContentFilters {
        ContentFilters::new(&serde_json::from_str::<Vec<SearchContext>>(json).unwrap(), &[]).unwrap()
    }

    fn patterns(json: &str) -> ContentFilters {
        ContentFilters::new(&[], &serde_json::from_str::<Vec<PatternFilter>>(json).unwrap()).unwrap()
    }

    #[test]
    fn wildcards() {
        let cases = [
            ("*", "", true),
            ("", "anything", true),
            ("a*", "abc", true),
            ("a*", "ba", false),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "a", false),
            ("ab*ba", "aba", false),
            ("a*b*c", "axbxbxc", true),
            ("a*b*c", "axcxb", false),
            ("a**c", "abc", true),
            ("a.c", "abc", false),
            ("%", "abc", false),
            ("ABC", "abc", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(wildcard_matches(pattern, name, true), expected, "{pattern} ~ {name}");
        }
        assert!(!wildcard_matches("ABC", "abc", false));
    }

    #[test]
    fn inclusions_are_a_union_and_exclusions_win() {
        let filters = contexts(
            r#"[{"schema_name":"sales"},{"table_name":"users","type":null},
            {"type":"exclusion","table_name":"secret*"},{"type":"exclusion","column_name":"ssn"}]"#,
        );
        assert!(filters.admits_relation("db", "sales", "orders"));
        assert!(filters.admits_relation("db", "hr", "USERS"));
        assert!(!filters.admits_relation("db", "hr", "salaries"));
        assert!(!filters.admits_relation("db", "sales", "secret_plans"));
        assert!(!filters.admits_column("db", "sales", "secret_plans", "id"));
        assert!(
            filters.admits_relation("db", "hr", "users"),
            "a column exclusion does not hide the relation"
        );
        assert!(!filters.admits_column("db", "hr", "users", "ssn"));
        assert!(filters.admits_column("db", "hr", "users", "name"));
    }

    #[test]
    fn deprecated_patterns_are_conjunctive() {
        let filters = patterns(
            r#"[{"filter_scope":"schema","pattern":"public"},
            {"filter_scope":"table","filter_type":"exclude","pattern":"^log_"},
            {"filter_scope":"table","filter_type":"exclude","filter_action_type":"sample_values","pattern":"."},
            {"filter_scope":"column","filter_type":"exclude","pattern":"pass",
             "search_context":[{"table_name":"users"}]}]"#,
        );
        assert!(filters.admits_relation("db", "public", "users"));
        assert!(!filters.admits_relation("db", "public", "LOG_1"));
        assert!(!filters.admits_relation("db", "hr", "users"));
        assert!(!filters.admits_column("db", "public", "users", "password"));
        assert!(filters.admits_column("db", "public", "doors", "password"));
        let invalid =
            serde_json::from_str::<Vec<PatternFilter>>(r#"[{"filter_scope":"table","pattern":"("}]"#)
                .unwrap();
        assert_eq!(ContentFilters::new(&[], &invalid).unwrap_err(), FilterInvalid::Pattern { index: 0 });
    }

    #[test]
    fn a_relation_without_visible_columns_is_not_shown() {
        let column = |name: &str| Column {
            name: name.to_owned(),
            data_type: "text".to_owned(),
            nullable: true,
            ..Column::default()
        };
        let relation = |name: &str, columns: &[&str]| Relation {
            name: name.to_owned(),
            columns: columns.iter().map(|name| column(name)).collect(),
            ddl: Some(format!("CREATE TABLE {name} ({})", columns.join(", "))),
            ..Relation::default()
        };
        let catalog = Catalog {
            database: "db".to_owned(),
            schemas: vec![Schema {
                name: "s".to_owned(),
                relations: vec![relation("a", &["x", "y"]), relation("b", &["x"]), relation("none", &[])],
            }],
        };
        let narrowed = contexts(r#"[{"type":"exclusion","column_name":"x"}]"#).narrow(&catalog);
        let names: Vec<_> = narrowed.schemas[0]
            .relations
            .iter()
            .map(|r| (r.name.as_str(), r.columns.len(), r.ddl.is_some()))
            .collect();
        assert_eq!(names, [("a", 1, false), ("none", 0, true)]);
        assert_eq!(contexts(r#"[{"schema_name":"t"}]"#).narrow(&catalog).schemas, []);
        let check = |filters: &str, expected: &[&str]| {
            let narrowed = contexts(filters).narrow(&catalog);
            let shown = narrowed.schemas.iter().flat_map(|schema| &schema.relations);
            assert_eq!(shown.map(|shown| shown.name.as_str()).collect::<Vec<_>>(), expected, "{filters}");
        };
        check(r#"[{"column_name":"y"}]"#, &["a"]);
        check(r#"[{"table_name":"none","column_name":"y"}]"#, &[]);
        check(r#"[{"table_name":"none","column_name":"**"}]"#, &["none"]);
        check(r#"[{"column_name":"y"},{"table_name":"none"}]"#, &["a", "none"]);
        check(r#"[{"column_name":"y"},{"table_name":"b"}]"#, &["a", "b"]);
        check(r#"[{"type":"exclusion","table_name":"none"}]"#, &["a", "b"]);
        assert_eq!(contexts("[]").narrow(&catalog), catalog);
    }

    fn any_context() -> impl Strategy<Value = SearchContext> {
        let part = || prop::sample::select(vec!["*", "a", "b", "a*", "*b"]);
        (prop::bool::ANY, part(), part(), part(), part()).prop_map(|(out, db, schema, table, column)| {
            SearchContext {
                filter_type: if out { FilterType::Exclusion } else { FilterType::Inclusion },
                db_name: db.to_owned(),
                schema_name: schema.to_owned(),
                table_name: table.to_owned(),
                column_name: column.to_owned(),
                ignore_case: true,
            }
        })
    }

    proptest! {
        /// The law of composition: one more exclusion never shows more.
        #[test]
        fn an_exclusion_never_shows_more(
            list in prop::collection::vec(any_context(), 0..4), mut extra in any_context(),
            name in prop::array::uniform4(prop::sample::select(vec!["a", "b", "ab", "c"])),
        ) {
            extra.filter_type = FilterType::Exclusion;
            let before = ContentFilters::new(&list, &[]).unwrap();
            let after = ContentFilters::new(&[list, vec![extra]].concat(), &[]).unwrap();
            let [db, schema, table, column] = name;
            prop_assert!(!after.admits_relation(db, schema, table) || before.admits_relation(db, schema, table));
            prop_assert!(!after.admits_column(db, schema, table, column) || before.admits_column(db, schema, table, column));
        }
    }
}
