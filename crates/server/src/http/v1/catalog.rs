//! `/v1/connections/{key}/catalog`: what a connection holds, with what people said about it.

use axum::Json;
use axum::extract::State;
use ringfence_gateway::catalog::CatalogView;
use ringfence_policy::filter::{FilterType, SearchContext};
use ringfence_policy::{Column, ConnectionKey, Constraint, Relation, RelationKind, Schema};
use ringfence_store::annotations::{Annotations, RelationNotes};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Named, Params};
use super::refusals::Naming;
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_catalog))
}

/// What a connection holds, as far as you may see it. Names are as the database has them.
#[derive(Serialize, ToSchema)]
#[schema(as = Catalog, example = json!({
    "indexed": true,
    "database": "sales",
    "schemas": [{
        "name": "public",
        "description": {"summary": "Orders and customers"},
        "tables": [{
            "name": "orders",
            "kind": "table",
            "comment": null,
            "description": "One row for each order",
            "columns": [
                {"name": "id", "type": "integer", "nullable": false, "comment": null, "description": null}
            ],
            "constraints": [{"kind": "primary", "columns": ["id"]}],
        }],
    }],
}))]
struct CatalogAnswer {
    /// False before the first index is complete; then nothing is listed.
    indexed: bool,
    database: Option<String>,
    schemas: Vec<SchemaAnswer>,
}

/// A schema and its tables.
#[derive(Serialize, ToSchema)]
struct SchemaAnswer {
    name: String,
    /// What was said about it.
    #[schema(value_type = Option<Object>)]
    description: Option<Value>,
    tables: Vec<TableAnswer>,
}

/// A table, view or the like.
#[derive(Serialize, ToSchema)]
struct TableAnswer {
    name: String,
    #[schema(value_type = TableKind)]
    kind: RelationKind,
    /// The database's own comment.
    comment: Option<String>,
    /// What was said about it here.
    description: Option<String>,
    /// In their order.
    columns: Vec<ColumnAnswer>,
    /// Keys; those set here stand in for the database's own.
    constraints: Vec<KeyConstraint>,
}

/// What a table is.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "stands in the document for the policy's type")]
enum TableKind {
    Table,
    PartitionedTable,
    View,
    MaterializedView,
    ForeignTable,
}

/// A column.
#[derive(Serialize, ToSchema)]
struct ColumnAnswer {
    name: String,
    /// In the words of the database.
    #[serde(rename = "type")]
    data_type: String,
    nullable: bool,
    /// The database's own comment.
    comment: Option<String>,
    /// What was said about it here.
    description: Option<String>,
}

/// A key of a table.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[schema(example = json!({
    "kind": "foreign",
    "columns": ["customer_id"],
    "target_schema": "public",
    "target_table": "customers",
    "target_columns": ["id"],
}))]
pub(crate) enum KeyConstraint {
    /// The primary key, in key order.
    Primary { columns: Vec<String> },
    /// A unique constraint, in key order.
    Unique { columns: Vec<String> },
    /// A foreign key; the columns referred to are in the order of `columns`.
    Foreign { columns: Vec<String>, target_schema: String, target_table: String, target_columns: Vec<String> },
}

/// Which part of the catalog; `*` stands for any run of characters.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CatalogParams {
    /// Schemas whose name matches.
    #[param(value_type = String, required = false, example = "public")]
    schema: Option<String>,
    /// Tables whose name matches.
    #[param(value_type = String, required = false, example = "order*")]
    table: Option<String>,
}

/// Read the catalog
///
/// The tables and columns of a connection that its filters let you see, with descriptions. Needs `read:databases`.
#[utoipa::path(
    get, path = "/connections/{key}/catalog", tag = "Catalog",
    params(("key" = String, Path, description = "The connection's key, percent-encoded."), CatalogParams),
    responses((status = 200, description = "The catalog.", body = CatalogAnswer), Naming),
)]
async fn get_catalog(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named(key): Named<ConnectionKey>,
    Params(params): Params<CatalogParams>,
) -> Result<Json<CatalogAnswer>, Problem> {
    let contexts = params.contexts();
    let view = app.gateway.catalog(&call, key.as_str(), &contexts).await?;
    Ok(Json(view.as_ref().map_or(CatalogAnswer::NOTHING, CatalogAnswer::from)))
}

impl CatalogParams {
    fn contexts(self) -> Vec<SearchContext> {
        if self.schema.is_none() && self.table.is_none() {
            return Vec::new();
        }
        let any = || "*".to_owned();
        vec![SearchContext {
            filter_type: FilterType::Inclusion,
            db_name: any(),
            schema_name: self.schema.unwrap_or_else(any),
            table_name: self.table.unwrap_or_else(any),
            column_name: any(),
            ignore_case: true,
        }]
    }
}

impl CatalogAnswer {
    const NOTHING: Self = Self { indexed: false, database: None, schemas: Vec::new() };
}

impl From<&CatalogView> for CatalogAnswer {
    fn from(view: &CatalogView) -> Self {
        Self {
            indexed: true,
            database: Some(view.catalog.database.clone()),
            schemas: view
                .catalog
                .schemas
                .iter()
                .map(|schema| answer_schema(schema, &view.annotations))
                .collect(),
        }
    }
}

fn answer_schema(schema: &Schema, annotations: &Annotations) -> SchemaAnswer {
    let notes = annotations.relations.get(&schema.name);
    let tables = schema.relations.iter().map(|relation| {
        let notes = notes.and_then(|notes| notes.get(&relation.name));
        answer_table(relation, notes)
    });
    SchemaAnswer {
        name: schema.name.clone(),
        description: annotations.schemas.get(&schema.name).cloned(),
        tables: tables.collect(),
    }
}

fn answer_table(relation: &Relation, notes: Option<&RelationNotes>) -> TableAnswer {
    let describe = |column: &Column| ColumnAnswer {
        name: column.name.clone(),
        data_type: column.data_type.clone(),
        nullable: column.nullable,
        comment: column.comment.clone(),
        description: notes.and_then(|notes| notes.columns.get(&column.name)).cloned(),
    };
    TableAnswer {
        name: relation.name.clone(),
        kind: relation.kind,
        comment: relation.comment.clone(),
        description: notes.and_then(|notes| notes.description.clone()),
        columns: relation.columns.iter().map(describe).collect(),
        constraints: constraints_in_force(relation, notes).map(KeyConstraint::from).collect(),
    }
}

/// The database's own keys, except of a kind that was set here.
fn constraints_in_force<'a>(
    relation: &'a Relation,
    notes: Option<&'a RelationNotes>,
) -> impl Iterator<Item = &'a Constraint> {
    let primary = notes.and_then(|notes| notes.primary.as_deref());
    let foreign = notes.and_then(|notes| notes.foreign.as_deref());
    let own = relation.constraints.iter().filter(move |constraint| match constraint {
        Constraint::Primary { .. } => primary.is_none(),
        Constraint::Foreign { .. } => foreign.is_none(),
        Constraint::Unique { .. } => true,
    });
    own.chain(primary.unwrap_or_default()).chain(foreign.unwrap_or_default())
}

impl From<&Constraint> for KeyConstraint {
    fn from(constraint: &Constraint) -> Self {
        match constraint.clone() {
            Constraint::Primary { columns } => Self::Primary { columns },
            Constraint::Unique { columns } => Self::Unique { columns },
            Constraint::Foreign { columns, target_schema, target_relation, target_columns } => {
                Self::Foreign { columns, target_schema, target_table: target_relation, target_columns }
            }
        }
    }
}
