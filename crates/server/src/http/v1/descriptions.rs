//! Saying something about a catalog: descriptions of schemas, tables and columns, and keys the database lacks.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ringfence_gateway::annotations::{ConstraintEdit, ConstraintKind, RelationDescription, RelationName};
use ringfence_policy::{ConnectionKey, Constraint};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Named, NoParams, present};
use super::refusals::Changing;
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(describe_schema)).routes(routes!(describe_table))
}

/// What a schema is about.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "summary": "Orders and customers",
    "common_questions": ["What was sold last month?"],
    "common_tables": [{"name": "orders", "description": "One row for each order"}],
}))]
struct SchemaDescription {
    summary: Option<String>,
    common_questions: Option<Vec<String>>,
    common_tables: Option<Vec<CommonTable>>,
}

/// A table worth knowing.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CommonTable {
    name: String,
    description: Option<String>,
}

/// What is said about a table; what is absent stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "description": "One row for each order",
    "columns": {"total": "In euros, with tax"},
    "primary_key": ["id"],
    "foreign_keys": [
        {"columns": ["customer_id"], "target_schema": "public", "target_table": "customers", "target_columns": ["id"]}
    ],
}))]
struct TableDescription {
    /// Empty clears.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false)]
    description: Option<String>,
    /// Column name to description; empty clears. Columns that do not exist are left out.
    #[serde(default)]
    columns: BTreeMap<String, String>,
    /// Stands in for the database's own primary key; an empty list brings that back.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Vec<String>, required = false)]
    primary_key: Option<Vec<String>>,
    /// Stand in for the database's own foreign keys; an empty list brings those back.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Vec<ForeignKey>, required = false)]
    foreign_keys: Option<Vec<ForeignKey>>,
}

/// A foreign key of a table; the columns referred to are in the order of `columns`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ForeignKey {
    columns: Vec<String>,
    target_schema: String,
    target_table: String,
    target_columns: Vec<String>,
}

/// What was described.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"columns": ["total"]}))]
struct Described {
    /// The columns that got a description: those of the request that exist.
    columns: Vec<String>,
}

/// Describe a schema
///
/// Replaces the description; everybody who shares the connection sees it. Needs `write:databases`.
#[utoipa::path(
    put, path = "/connections/{key}/catalog/{schema}", tag = "Catalog",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("schema" = String, Path, description = "The schema's name.", example = "public"),
    ),
    request_body = SchemaDescription,
    responses((status = 204, description = "The schema is described."), Changing),
)]
async fn describe_schema(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, schema)): Named<(ConnectionKey, String)>,
    _: NoParams,
    Body(description): Body<SchemaDescription>,
) -> Result<StatusCode, Problem> {
    app.gateway.describe_schema(&call, key.as_str(), &schema, json!(description)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Describe a table
///
/// Sets what is given: description, descriptions of columns, keys. All or nothing: when one is refused, none is set.
/// Everybody who shares the connection sees them. Needs `write:databases`.
#[utoipa::path(
    put, path = "/connections/{key}/catalog/{schema}/{table}", tag = "Catalog",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("schema" = String, Path, description = "The schema's name.", example = "public"),
        ("table" = String, Path, description = "The table's name.", example = "orders"),
    ),
    request_body = TableDescription,
    responses((status = 200, description = "The table is described.", body = Described), Changing),
)]
async fn describe_table(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, schema, table)): Named<(ConnectionKey, String, String)>,
    _: NoParams,
    Body(body): Body<TableDescription>,
) -> Result<Json<Described>, Problem> {
    let relation = RelationName { schema: Some(schema), name: table };
    let said = RelationDescription {
        constraints: body.constraint_edits(&relation),
        relation,
        description: body.description,
        columns: body.columns.into_iter().collect(),
    };
    let columns = app.gateway.describe_whole_relation(&call, key.as_str(), &said).await?;
    Ok(Json(Described { columns }))
}

impl TableDescription {
    fn constraint_edits(&self, relation: &RelationName) -> Vec<ConstraintEdit> {
        let edit = |kind, constraints| ConstraintEdit { relation: relation.clone(), kind, constraints };
        let primary = self.primary_key.as_ref().map(|columns| {
            let key = (!columns.is_empty()).then(|| Constraint::Primary { columns: columns.clone() });
            edit(ConstraintKind::Primary, key.into_iter().collect())
        });
        let foreign = self
            .foreign_keys
            .as_ref()
            .map(|keys| edit(ConstraintKind::Foreign, keys.iter().map(Constraint::from).collect()));
        primary.into_iter().chain(foreign).collect()
    }
}

impl From<&ForeignKey> for Constraint {
    fn from(key: &ForeignKey) -> Self {
        Self::Foreign {
            columns: key.columns.clone(),
            target_schema: key.target_schema.clone(),
            target_relation: key.target_table.clone(),
            target_columns: key.target_columns.clone(),
        }
    }
}
