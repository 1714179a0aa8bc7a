//! Manual constraints: their names resolved to stored ones, each of the kind under which it is listed.

use ringfence_policy::{Constraint, Relation};

use super::{ConstraintEdit, ConstraintKind, RelationName, StoredName, shown_relation};
use crate::Refused;
use crate::catalog::{Shown, find_column};

/// An edit with stored names. `None` clears: the database's own constraints show again.
pub(super) struct Resolved {
    pub(super) relation: StoredName,
    pub(super) kind: ConstraintKind,
    pub(super) constraints: Option<Vec<Constraint>>,
}

pub(super) fn resolve(shown: &Shown, edit: &ConstraintEdit) -> Result<Resolved, Refused> {
    let (schema, relation) = shown_relation(shown, &edit.relation)?;
    let constraints = edit
        .constraints
        .iter()
        .map(|constraint| resolve_one(shown, relation, edit.kind, constraint))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Resolved {
        relation: (schema, relation.name.clone()),
        kind: edit.kind,
        constraints: Some(constraints).filter(|constraints| !constraints.is_empty()),
    })
}

fn resolve_one(
    shown: &Shown,
    relation: &Relation,
    kind: ConstraintKind,
    constraint: &Constraint,
) -> Result<Constraint, Refused> {
    match (kind, constraint) {
        (ConstraintKind::Primary, Constraint::Primary { columns }) => {
            Ok(Constraint::Primary { columns: stored_columns(relation, columns)? })
        }
        (
            ConstraintKind::Foreign,
            Constraint::Foreign { columns, target_schema, target_relation, target_columns },
        ) => {
            let target = RelationName { schema: Some(target_schema.clone()), name: target_relation.clone() };
            let (schema, target) = shown_relation(shown, &target)?;
            if columns.len() != target_columns.len() {
                return Err(Refused::invalid("a foreign key refers to as many columns as it has"));
            }
            Ok(Constraint::Foreign {
                columns: stored_columns(relation, columns)?,
                target_schema: schema,
                target_relation: target.name.clone(),
                target_columns: stored_columns(target, target_columns)?,
            })
        }
        _ => Err(Refused::invalid("a constraint is not of the type under which it is listed")),
    }
}

fn stored_columns(relation: &Relation, names: &[String]) -> Result<Vec<String>, Refused> {
    if names.is_empty() {
        return Err(Refused::invalid("a constraint has no columns: name at least one"));
    }
    let stored = |name: &String| {
        find_column(relation, name)
            .map(|column| column.name.clone())
            .ok_or_else(|| Refused::invalid("no such column: name columns that the catalog shows"))
    };
    names.iter().map(stored).collect()
}
