//! Keys of tables: the database's own, and those that people add by hand.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ringfence_gateway::annotations::{ConstraintEdit, ConstraintKind};
use ringfence_gateway::{Gateway, Refused};
use ringfence_policy::{Constraint, Relation};
use ringfence_store::annotations::RelationNotes;
use serde::{Deserialize, Serialize};

use super::names::{NameStyle, ShownTableName, TableName};
use super::{ApiCaller, AppState, Reply, Scoped, given};

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/api/update-constraint", post(update_constraints))
}

#[derive(Debug, Deserialize)]
struct UpdateRequest {
    updated_constraints: Option<Vec<TableConstraints>>,
}

/// One table's constraints of one type: these replace what was there.
#[derive(Debug, Deserialize)]
struct TableConstraints {
    table_name: TableName,
    constraint_type: ConstraintType,
    constraints: Option<Vec<ConstraintFields>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ConstraintType {
    Primary,
    Foreign,
}

/// A constraint in a request. Of a foreign key, `src_cols` refer to `table` and its `cols`.
#[derive(Debug, Deserialize)]
pub(super) struct ConstraintFields {
    table: Option<TableName>,
    cols: Option<Vec<String>>,
    constraint_type: Option<ConstraintType>,
    src_cols: Option<Vec<String>>,
}

/// A constraint in a reply.
#[derive(Debug, Serialize)]
pub(super) struct ShownConstraint {
    source: &'static str,
    table: ShownTableName,
    cols: Vec<String>,
    constraint_type: ConstraintType,
    relationship_type: (),
    src_table: Option<ShownTableName>,
    src_cols: Option<Vec<String>>,
    comment: (),
}

#[derive(Debug, Serialize)]
struct UpdatedTables {
    updated_tables: Vec<ShownTableName>,
}

async fn update_constraints(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<UpdateRequest>,
) -> Reply<UpdatedTables> {
    let listed = request.updated_constraints.unwrap_or_default();
    for table in listed.iter().flat_map(TableConstraints::tables) {
        table.check_database(&gateway, &caller.call, &key).await?;
    }
    let edits = listed.into_iter().map(read_edit);
    let edits = edits.collect::<Result<Vec<_>, _>>()?;
    let edited = gateway.edit_constraints(&caller.call, &key, &edits).await?;
    let style = NameStyle::of_connection(&gateway, &caller.call, &key).await?;
    Ok(Json(UpdatedTables { updated_tables: style.tables(&edited) }))
}

impl TableConstraints {
    /// All that it names.
    fn tables(&self) -> impl Iterator<Item = &TableName> {
        let referred = self.constraints.iter().flatten().filter_map(|constraint| constraint.table.as_ref());
        std::iter::once(&self.table_name).chain(referred)
    }
}

fn read_edit(listed: TableConstraints) -> Result<ConstraintEdit, Refused> {
    let kind = listed.constraint_type;
    let constraints = listed.constraints.unwrap_or_default();
    if constraints.iter().any(|constraint| constraint.constraint_type.is_some_and(|other| other != kind)) {
        return Err(Refused::invalid("a constraint's constraint_type must be the one it is listed under"));
    }
    let read = |constraint| read_constraint(kind, &listed.table_name, constraint);
    Ok(ConstraintEdit {
        relation: listed.table_name.relation(),
        kind: match kind {
            ConstraintType::Primary => ConstraintKind::Primary,
            ConstraintType::Foreign => ConstraintKind::Foreign,
        },
        constraints: constraints.into_iter().map(read).collect::<Result<_, _>>()?,
    })
}

/// `listed_under` is the table that the constraint belongs to, whatever the constraint itself says.
fn read_constraint(
    kind: ConstraintType,
    listed_under: &TableName,
    fields: ConstraintFields,
) -> Result<Constraint, Refused> {
    let columns_of = |columns: Option<Vec<String>>, name: &'static str| {
        let missing = || Refused::invalid(format!("a {name} is missing: name at least one column"));
        columns.filter(|columns| !columns.is_empty()).ok_or_else(missing)
    };
    let cols = columns_of(fields.cols, "constraint's cols")?;
    if kind == ConstraintType::Primary {
        return Ok(Constraint::Primary { columns: cols });
    }
    let columns = columns_of(fields.src_cols, "foreign constraint's src_cols")?;
    if columns.len() != cols.len() {
        return Err(Refused::invalid("a foreign constraint's src_cols and cols must have the same length"));
    }
    let target = fields.table.ok_or_else(|| Refused::invalid("a foreign constraint's table is missing"))?;
    Ok(Constraint::Foreign {
        columns,
        target_schema: given(target.schema_name)
            .or(given(listed_under.schema_name.clone()))
            .unwrap_or_default(),
        target_relation: target.table_name,
        target_columns: cols,
    })
}

/// The constraints of a pushed table, each with its own type.
pub(super) fn read_pushed(
    table: &TableName,
    fields: Vec<ConstraintFields>,
) -> Result<Vec<Constraint>, Refused> {
    let read = |fields: ConstraintFields| {
        let kind = fields
            .constraint_type
            .ok_or_else(|| Refused::invalid("a constraint's constraint_type is missing"))?;
        read_constraint(kind, table, fields)
    };
    fields.into_iter().map(read).collect()
}

/// Those of a table: for each type the manual ones, where somebody set them, else the database's own. (A unique
/// constraint is none that the SDK knows.)
pub(super) fn show_constraints(
    schema: &str,
    relation: &Relation,
    notes: &RelationNotes,
    style: &NameStyle,
) -> Vec<ShownConstraint> {
    let own = |kind| relation.constraints.iter().filter(move |constraint| type_of(constraint) == Some(kind));
    let mut shown = Vec::new();
    for (kind, manual) in
        [(ConstraintType::Primary, &notes.primary), (ConstraintType::Foreign, &notes.foreign)]
    {
        let show =
            |source| move |constraint| show_constraint(source, schema, &relation.name, constraint, style);
        match manual {
            Some(manual) => shown.extend(manual.iter().filter_map(show("manual"))),
            None => shown.extend(own(kind).filter_map(show("database"))),
        }
    }
    shown
}

fn type_of(constraint: &Constraint) -> Option<ConstraintType> {
    match constraint {
        Constraint::Primary { .. } => Some(ConstraintType::Primary),
        Constraint::Foreign { .. } => Some(ConstraintType::Foreign),
        Constraint::Unique { .. } => None,
    }
}

fn show_constraint(
    source: &'static str,
    schema: &str,
    relation: &str,
    constraint: &Constraint,
    style: &NameStyle,
) -> Option<ShownConstraint> {
    let names = |columns: &[String]| columns.iter().map(|column| style.name(column)).collect::<Vec<_>>();
    let here = style.table(schema, relation);
    let (table, cols, from) = match constraint {
        Constraint::Primary { columns } => (here, names(columns), None),
        Constraint::Foreign { columns, target_schema, target_relation, target_columns } => {
            (style.table(target_schema, target_relation), names(target_columns), Some((here, names(columns))))
        }
        Constraint::Unique { .. } => return None,
    };
    let (src_table, src_cols) = from.unzip();
    Some(ShownConstraint {
        source,
        table,
        cols,
        constraint_type: type_of(constraint)?,
        relationship_type: (),
        src_table,
        src_cols,
        comment: (),
    })
}
