//! Descriptions, manual constraints and pushed catalogs.

mod constraints;
mod push;

use std::collections::BTreeMap;
use std::sync::Arc;

use ringfence_policy::{Constraint, Permission, Relation};
use ringfence_store::StoreError;
use ringfence_store::annotations::{Annotations, RelationNotes};
use ringfence_store::connections::Connection;

use crate::catalog::{Shown, find_column, find_relation, find_schema};
use crate::connections::has_nul;
use crate::{Call, Code, Gateway, Refused};

/// One description.
const MAX_DESCRIPTION_BYTES: usize = 64 * 1024;
/// Descriptions and constraints in one call.
const MAX_EDITS: usize = 10_000;
/// Times to write before giving up: each loss means that someone else wrote.
const ATTEMPTS: usize = 32;

/// A relation as clients name it; matched in the shown form first, then without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct RelationName {
    pub schema: Option<String>,
    pub name: String,
}

/// Which constraints of a relation are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum ConstraintKind {
    Primary,
    Foreign,
}

/// Manual constraints of one relation and kind; an empty list clears.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ConstraintEdit {
    pub relation: RelationName,
    pub kind: ConstraintKind,
    pub constraints: Vec<Constraint>,
}

/// A pushed relation.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct PushedRelation {
    pub schema: String,
    pub relation: Relation,
    pub description: Option<String>,
    /// Column name, description.
    pub column_descriptions: Vec<(String, String)>,
}

/// A relation by its stored names: (schema, relation).
pub type StoredName = (String, String);

// All of these need `write:databases`. Only what the connection shows can be described: what is hidden and what does
// not exist get the same answer.
impl Gateway {
    /// Refused for an unknown relation. An empty description clears.
    pub async fn describe_relation(
        &self,
        call: &Call,
        key: &str,
        relation: &RelationName,
        description: &str,
    ) -> Result<(), Refused> {
        call.log().set_action("describe-relation");
        check_description(description)?;
        let (connection, shown) = self.describable(call, key).await?;
        let (schema, name) = stored_name(&shown, relation)?;
        let description = Some(description.to_owned()).filter(|text| !text.is_empty());
        self.annotate(&connection, |annotations| {
            notes_of(annotations, &schema, &name).description.clone_from(&description);
        })
        .await
    }

    /// Refused for an unknown schema. `description` is an object with `summary`, `common_questions`, `common_tables`.
    pub async fn describe_schema(
        &self,
        call: &Call,
        key: &str,
        schema: &str,
        description: serde_json::Value,
    ) -> Result<(), Refused> {
        call.log().set_action("describe-schema");
        check_description(&description.to_string())?;
        if has_nul(&description) {
            return Err(Refused::invalid("the description holds a NUL character: remove it"));
        }
        let (connection, shown) = self.describable(call, key).await?;
        let Some(schema) = find_schema(&shown.catalog, schema) else {
            return Err(Refused::invalid("no such schema: name one that the catalog shows"));
        };
        let name = schema.name.clone();
        self.annotate(&connection, |annotations| {
            if description.is_null() {
                annotations.schemas.remove(&name);
            } else {
                annotations.schemas.insert(name.clone(), description.clone());
            }
        })
        .await
    }

    /// Answers what was described; unknown columns are left out. Refused for an unknown relation.
    pub async fn describe_columns(
        &self,
        call: &Call,
        key: &str,
        columns: &[(RelationName, Vec<(String, String)>)],
    ) -> Result<Vec<(StoredName, Vec<String>)>, Refused> {
        call.log().set_action("describe-columns");
        check_count(columns.iter().map(|(_, columns)| columns.len()).sum())?;
        for (_, description) in columns.iter().flat_map(|(_, columns)| columns) {
            check_description(description)?;
        }
        let (connection, shown) = self.describable(call, key).await?;
        let mut described = Vec::with_capacity(columns.len());
        let mut changes = Vec::new();
        for (relation, columns) in columns {
            let (schema, relation) = shown_relation(&shown, relation)?;
            let mut names = Vec::new();
            for (name, description) in columns {
                if let Some(column) = find_column(relation, name) {
                    names.push(column.name.clone());
                    changes.push((
                        schema.clone(),
                        relation.name.clone(),
                        column.name.clone(),
                        description.clone(),
                    ));
                }
            }
            described.push(((schema, relation.name.clone()), names));
        }
        self.annotate(&connection, |annotations| {
            for (schema, relation, column, description) in &changes {
                let notes = &mut notes_of(annotations, schema, relation).columns;
                if description.is_empty() {
                    notes.remove(column);
                } else {
                    notes.insert(column.clone(), description.clone());
                }
            }
        })
        .await?;
        Ok(described)
    }

    /// Replaces manual constraints of each relation and kind, all or nothing.
    pub async fn edit_constraints(
        &self,
        call: &Call,
        key: &str,
        edits: &[ConstraintEdit],
    ) -> Result<Vec<StoredName>, Refused> {
        call.log().set_action("edit-constraints");
        check_count(edits.iter().map(|edit| 1 + edit.constraints.len()).sum())?;
        let (connection, shown) = self.describable(call, key).await?;
        let resolved =
            edits.iter().map(|edit| constraints::resolve(&shown, edit)).collect::<Result<Vec<_>, _>>()?;
        self.annotate(&connection, |annotations| {
            for edit in &resolved {
                let notes = notes_of(annotations, &edit.relation.0, &edit.relation.1);
                let place = match edit.kind {
                    ConstraintKind::Primary => &mut notes.primary,
                    ConstraintKind::Foreign => &mut notes.foreign,
                };
                place.clone_from(&edit.constraints);
            }
        })
        .await?;
        let mut names: Vec<StoredName> = Vec::with_capacity(resolved.len());
        for edit in resolved {
            if !names.contains(&edit.relation) {
                names.push(edit.relation);
            }
        }
        Ok(names)
    }

    /// Adds or replaces, then removes, relations of a push connection (needs `push:databases`). On any other connection
    /// nothing happens and the answer is empty.
    pub async fn push_relations(
        &self,
        call: &Call,
        key: &str,
        updated: Vec<PushedRelation>,
        removed: &[RelationName],
    ) -> Result<Vec<StoredName>, Refused> {
        call.log().set_action("push-relations");
        push::push(self, call, key, updated, removed).await
    }

    /// The connection and what it shows, for one who may describe it.
    async fn describable(&self, call: &Call, key: &str) -> Result<(Connection, Arc<Shown>), Refused> {
        call.needs(Permission::WriteDatabases)?;
        let connection = self.connection_of(call, key).await?;
        let shown = self.shown_to(call, &connection).await?;
        let shown = shown.ok_or_else(|| {
            Refused::new(
                Code::Conflict,
                "the connection is not indexed yet: wait until its status is completed",
            )
        })?;
        Ok((connection, shown))
    }

    /// Changes the annotations of the connection's source; `change` is applied again when someone else was faster.
    async fn annotate(
        &self,
        connection: &Connection,
        change: impl Fn(&mut Annotations),
    ) -> Result<(), Refused> {
        let store = self.shared.store.annotations();
        for _ in 0..ATTEMPTS {
            let (version, mut annotations) = store.get(connection.source).await?;
            let before = annotations.clone();
            change(&mut annotations);
            drop_empty(&mut annotations);
            if annotations == before {
                return Ok(());
            }
            match store.put(connection.source, version, &annotations).await {
                Ok(()) => {
                    self.shared.catalogs.forget(connection.source);
                    return Ok(());
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(StoreError::Conflict { what: "the description" }.into())
    }
}

fn notes_of<'a>(annotations: &'a mut Annotations, schema: &str, relation: &str) -> &'a mut RelationNotes {
    annotations.relations.entry(schema.to_owned()).or_default().entry(relation.to_owned()).or_default()
}

/// What was cleared leaves nothing behind.
fn drop_empty(annotations: &mut Annotations) {
    for notes in annotations.relations.values_mut() {
        notes.retain(|_, notes| *notes != RelationNotes::default());
    }
    annotations.relations.retain(|_, notes: &mut BTreeMap<_, _>| !notes.is_empty());
}

/// The relation of that name among those shown, with its schema's stored name.
fn shown_relation<'a>(shown: &'a Shown, name: &RelationName) -> Result<(String, &'a Relation), Refused> {
    let found = find_relation(&shown.catalog, name.schema.as_deref(), &name.name);
    found
        .map(|(schema, relation)| (schema.name.clone(), relation))
        .ok_or_else(|| Refused::invalid("no such table: name one that the catalog shows"))
}

fn stored_name(shown: &Shown, name: &RelationName) -> Result<StoredName, Refused> {
    shown_relation(shown, name).map(|(schema, relation)| (schema, relation.name.clone()))
}

fn check_description(description: &str) -> Result<(), Refused> {
    if description.len() > MAX_DESCRIPTION_BYTES {
        return Err(Refused::invalid(format!(
            "the description is too long: at most {MAX_DESCRIPTION_BYTES} bytes"
        )));
    }
    // PostgreSQL can't store one.
    if description.contains('\0') {
        return Err(Refused::invalid("the description holds a NUL character: remove it"));
    }
    Ok(())
}

fn check_count(edits: usize) -> Result<(), Refused> {
    if edits > MAX_EDITS {
        return Err(Refused::invalid(format!("too many changes at once: at most {MAX_EDITS}")));
    }
    Ok(())
}

/// What is said about one relation at once; `None` stays as it is.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct RelationDescription {
    pub relation: RelationName,
    /// Empty clears.
    pub description: Option<String>,
    /// Column name, description; empty clears.
    pub columns: Vec<(String, String)>,
    /// Of this relation.
    pub constraints: Vec<ConstraintEdit>,
}

impl Gateway {
    /// Sets all of it or, when any part is refused, nothing. Answers the columns described; unknown ones are left out.
    pub async fn describe_whole_relation(
        &self,
        call: &Call,
        key: &str,
        said: &RelationDescription,
    ) -> Result<Vec<String>, Refused> {
        call.log().set_action("describe-relation");
        let keys: usize = said.constraints.iter().map(|edit| 1 + edit.constraints.len()).sum();
        check_count(keys + said.columns.len())?;
        let columns = said.columns.iter().map(|(_, description)| description);
        for description in said.description.iter().chain(columns) {
            check_description(description)?;
        }
        let (connection, shown) = self.describable(call, key).await?;
        let (schema, relation) = shown_relation(&shown, &said.relation)?;
        let resolved = said.constraints.iter().map(|edit| constraints::resolve(&shown, edit));
        let resolved = resolved.collect::<Result<Vec<_>, _>>()?;
        let column = |(name, description): &(String, String)| {
            find_column(relation, name).map(|column| (column.name.clone(), description.clone()))
        };
        let columns: Vec<(String, String)> = said.columns.iter().filter_map(column).collect();
        self.annotate(&connection, |annotations| {
            let notes = notes_of(annotations, &schema, &relation.name);
            if let Some(description) = &said.description {
                notes.description = Some(description.clone()).filter(|text| !text.is_empty());
            }
            for (column, description) in &columns {
                if description.is_empty() {
                    notes.columns.remove(column);
                } else {
                    notes.columns.insert(column.clone(), description.clone());
                }
            }
            for edit in &resolved {
                match edit.kind {
                    ConstraintKind::Primary => notes.primary.clone_from(&edit.constraints),
                    ConstraintKind::Foreign => notes.foreign.clone_from(&edit.constraints),
                }
            }
        })
        .await?;
        Ok(columns.into_iter().map(|(column, _)| column).collect())
    }
}
