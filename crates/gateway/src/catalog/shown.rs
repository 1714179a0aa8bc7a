//! A catalog behind its filters: what is hidden is not in here, not even as the end of a foreign key.

use std::collections::HashSet;
use std::sync::Arc;

use ringfence_policy::{
    Catalog, Column, Constraint, ContentFilters, Entitlement, Relation, RelationName, Schema, Tenancy, View,
};
use ringfence_store::annotations::{Annotations, RelationNotes};
use ringfence_store::sources::Source;

use crate::Refused;

/// What a source shows.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) catalog: Arc<Catalog>,
    /// The catalog without filters: for deciding, never for showing.
    pub(crate) unfiltered: Arc<Catalog>,
    pub(crate) annotations: Arc<Annotations>,
    /// Approximate size in memory.
    pub(super) bytes: usize,
}

/// The same behind a view: what does not exist for the principal is not in here either.
pub(crate) fn behind(view: &View, shown: &Shown) -> Shown {
    let schemas = shown.catalog.schemas.iter().filter_map(|schema| {
        let relations = schema.relations.iter().filter_map(|relation| {
            let entitlement = view.relations.get(&RelationName::new(&schema.name, &relation.name))?;
            Some(seen(relation, entitlement))
        });
        let relations: Vec<Relation> = relations.collect();
        (!relations.is_empty()).then(|| Schema { name: schema.name.clone(), relations })
    });
    let seen = Catalog { database: shown.catalog.database.clone(), schemas: schemas.collect() };
    let catalog = without_hidden_ends(&seen);
    let annotations = Annotations::clone(&shown.annotations);
    let schemas = annotations.schemas.into_iter().filter(|(name, _)| has_schema(&catalog, name));
    let annotations =
        Annotations { schemas: schemas.collect(), relations: shown_notes(&catalog, annotations.relations) };
    Shown {
        unfiltered: shown.unfiltered.clone(),
        bytes: catalog_bytes(&catalog),
        annotations: Arc::new(annotations),
        catalog: Arc::new(catalog),
    }
}

/// The same for the tenant of a schema: its own relations and the shared ones.
pub(crate) fn of_tenant(shown: &Shown, tenancy: &Tenancy, schema: &str) -> Shown {
    let narrowed = |whole: &Catalog| Arc::new(tenancy.catalog(whole, &shown.unfiltered, schema));
    let catalog = narrowed(&shown.catalog);
    let is_whole = Arc::ptr_eq(&shown.catalog, &shown.unfiltered);
    let unfiltered = if is_whole { catalog.clone() } else { narrowed(&shown.unfiltered) };
    let bytes = catalog_bytes(&catalog) + if is_whole { 0 } else { catalog_bytes(&unfiltered) };
    Shown { catalog, unfiltered, annotations: shown.annotations.clone(), bytes }
}

/// The relation's visible columns. Samples are values, perhaps of rows that are hidden, and the statement that made the
/// relation names every column.
fn seen(relation: &Relation, entitlement: &Entitlement) -> Relation {
    let is_visible = |column: &&Column| entitlement.columns.iter().any(|visible| visible.name == column.name);
    let columns = relation.columns.iter().filter(is_visible);
    let columns = columns.map(|column| Column { sample_values: None, ..column.clone() });
    Relation { columns: columns.collect(), unique_indexes: Vec::new(), ddl: None, ..relation.clone() }
}

/// Narrows on a thread of its own: many filters over a large catalog take their time.
pub(super) async fn show(
    source: Source,
    catalog: Catalog,
    annotations: Annotations,
) -> Result<Arc<Shown>, Refused> {
    let narrow = move || {
        let filters = ContentFilters::new(&source.content_filters, &source.pattern_filters)
            .map_err(|invalid| Refused::internal(&invalid))?;
        let catalog = Arc::new(catalog);
        let narrowed = if filters.is_empty() {
            catalog.clone()
        } else {
            Arc::new(without_hidden_ends(&filters.narrow(&catalog)))
        };
        let filtered_bytes = if filters.is_empty() { 0 } else { catalog_bytes(&narrowed) };
        let annotations = Annotations {
            schemas: annotations
                .schemas
                .into_iter()
                .filter(|(name, _)| has_schema(&narrowed, name))
                .collect(),
            relations: shown_notes(&narrowed, annotations.relations),
        };
        let bytes = catalog_bytes(&catalog) + filtered_bytes + annotation_bytes(&annotations);
        let annotations = Arc::new(annotations);
        Ok(Arc::new(Shown { catalog: narrowed, unfiltered: catalog, annotations, bytes }))
    };
    tokio::task::spawn_blocking(narrow).await.map_err(|stopped| Refused::internal(&stopped))?
}

/// The catalog as a request's search contexts narrow it.
pub(super) async fn narrowed(asked: ContentFilters, catalog: Arc<Catalog>) -> Result<Arc<Catalog>, Refused> {
    let narrowed = tokio::task::spawn_blocking(move || asked.narrow(&catalog)).await;
    narrowed.map(Arc::new).map_err(|stopped| Refused::internal(&stopped))
}

/// Leaves out constraints that name what is hidden.
fn without_hidden_ends(catalog: &Catalog) -> Catalog {
    let mut pruned = catalog.clone();
    for relation in pruned.schemas.iter_mut().flat_map(|schema| &mut schema.relations) {
        let columns: HashSet<String> = relation.columns.iter().map(|column| column.name.clone()).collect();
        let constraints = relation.constraints.len();
        relation.constraints.retain(|constraint| is_shown(catalog, &columns, constraint));
        if relation.constraints.len() != constraints {
            // The statement names them too.
            relation.ddl = None;
        }
    }
    pruned
}

fn is_shown(catalog: &Catalog, own: &HashSet<String>, constraint: &Constraint) -> bool {
    match constraint {
        Constraint::Primary { columns } | Constraint::Unique { columns } => {
            columns.iter().all(|column| own.contains(column))
        }
        Constraint::Foreign { columns, target_schema, target_relation, target_columns } => {
            let target = catalog.relation(target_schema, target_relation);
            let has = |name: &String| {
                target.is_some_and(|target| target.columns.iter().any(|column| column.name == *name))
            };
            target.is_some()
                && columns.iter().all(|column| own.contains(column))
                && target_columns.iter().all(has)
        }
    }
}

fn has_schema(catalog: &Catalog, name: &str) -> bool {
    catalog.schemas.iter().any(|schema| schema.name == name)
}

type NotesBySchema = std::collections::BTreeMap<String, std::collections::BTreeMap<String, RelationNotes>>;

fn shown_notes(catalog: &Catalog, all: NotesBySchema) -> NotesBySchema {
    let of_schema = |(schema, notes): (String, std::collections::BTreeMap<String, RelationNotes>)| {
        let shown = notes.into_iter().filter_map(|(name, notes)| {
            let relation = catalog.relation(&schema, &name)?;
            Some((name, notes_on(catalog, relation, notes)))
        });
        let shown: std::collections::BTreeMap<_, _> = shown.collect();
        (!shown.is_empty()).then_some((schema, shown))
    };
    all.into_iter().filter_map(of_schema).collect()
}

fn notes_on(catalog: &Catalog, relation: &Relation, mut notes: RelationNotes) -> RelationNotes {
    let columns: HashSet<String> = relation.columns.iter().map(|column| column.name.clone()).collect();
    notes.columns.retain(|name, _| columns.contains(name));
    for constraints in [&mut notes.primary, &mut notes.foreign].into_iter().flatten() {
        constraints.retain(|constraint| is_shown(catalog, &columns, constraint));
    }
    notes
}

/// Strings and their holders, roughly: a bound on memory needs no better.
fn catalog_bytes(catalog: &Catalog) -> usize {
    const HOLDER: usize = 96;
    let relations = catalog.schemas.iter().flat_map(|schema| &schema.relations);
    relations
        .map(|relation| {
            let columns = relation.columns.iter().map(|column| {
                HOLDER
                    + column.name.len()
                    + column.data_type.len()
                    + column.comment.as_ref().map_or(0, String::len)
                    + column.sample_values.as_ref().map_or(0, |values| values.to_string().len())
            });
            let comment = relation.comment.as_ref().map_or(0, String::len);
            HOLDER
                + relation.name.len()
                + comment
                + relation.ddl.as_ref().map_or(0, String::len)
                + columns.sum::<usize>()
                + HOLDER * relation.constraints.len()
        })
        .sum::<usize>()
        + HOLDER
}

fn annotation_bytes(annotations: &Annotations) -> usize {
    serde_json::to_vec(annotations).map_or(0, |json| json.len())
}
