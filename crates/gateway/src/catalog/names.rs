//! From a name as clients write it to a name as stored: the one resolver.
//!
//! The shown form counts first, then the stored one, then any spelling: a client that repeats what it was shown gets
//! just that, and one that types gets what it meant.

use ringfence_policy::{Catalog, Column, Relation, Schema};

use super::shown_name;

/// The schema of that name.
pub(crate) fn find_schema<'a>(catalog: &'a Catalog, name: &str) -> Option<&'a Schema> {
    find(&catalog.schemas, name, |schema| &schema.name)
}

/// The relation of that name. Without a schema, the name must be in one schema only, or in `public` or `main`.
pub(crate) fn find_relation<'a>(
    catalog: &'a Catalog,
    schema: Option<&str>,
    name: &str,
) -> Option<(&'a Schema, &'a Relation)> {
    let in_schema = |schema: &'a Schema| {
        find(&schema.relations, name, |relation| &relation.name).map(|relation| (schema, relation))
    };
    if let Some(schema) = schema.filter(|schema| !schema.is_empty()) {
        return in_schema(find_schema(catalog, schema)?);
    }
    let found: Vec<_> = catalog.schemas.iter().filter_map(in_schema).collect();
    match found.as_slice() {
        [one] => Some(*one),
        several => {
            several.iter().find(|(schema, _)| ["public", "main"].contains(&schema.name.as_str())).copied()
        }
    }
}

/// The column of that name.
pub(crate) fn find_column<'a>(relation: &'a Relation, name: &str) -> Option<&'a Column> {
    find(&relation.columns, name, |column| &column.name)
}

/// A name without its case, for comparing.
pub(crate) fn fold_name(name: &str) -> String {
    name.to_lowercase()
}

fn find<'a, T>(items: &'a [T], wanted: &str, name: impl Fn(&T) -> &str) -> Option<&'a T> {
    let folded = fold_name(wanted);
    let rank = |item: &T| {
        let stored = name(item);
        match (shown_name(stored) == wanted, stored == wanted) {
            (true, true) => Some(0),
            (true, false) => Some(1),
            (false, true) => Some(2),
            (false, false) => (fold_name(stored) == folded).then_some(3),
        }
    };
    items
        .iter()
        .filter_map(|item| Some((rank(item)?, item)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, item)| item)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stored: &[&str], wanted: &str, expected: Option<&str>) {
        let found = find(stored, wanted, |name| name);
        assert_eq!(found.copied(), expected, "{wanted} among {stored:?}");
    }

    #[test]
    fn the_shown_form_counts_first_then_any_case() {
        check(&["movies"], "MOVIES", Some("movies"));
        check(&["movies"], "Movies", Some("movies"));
        check(&["movies", "Movies"], "Movies", Some("Movies"));
        check(&["movies", "Movies"], "MOVIES", Some("movies"));
        check(&["Movies", "movies"], "movies", Some("movies"));
        check(&["movies", "MOVIES"], "MOVIES", Some("MOVIES"));
        check(&["movies", "MOVIES"], "movies", Some("movies"));
        check(&["ünï"], "üNï", Some("ünï"));
        check(&["movies"], "movie", None);
        check(&["movies"], "", None);
    }
}
