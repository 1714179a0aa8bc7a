//! Catalogs that their owner pushes.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ringfence_gateway::annotations::PushedRelation;
use ringfence_gateway::{Gateway, Refused};
use ringfence_policy::{Column, Relation, RelationKind};
use serde::{Deserialize, Serialize};

use super::constraints::{ConstraintFields, read_pushed};
use super::names::{NameStyle, ShownTableName, TableName};
use super::{ApiCaller, AppState, Reply, Scoped, given};

/// For products without schemas, whose clients leave `schema_name` out.
const DEFAULT_SCHEMA: &str = "public";

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/api/update-table-definitions", post(push_tables))
}

#[derive(Debug, Deserialize)]
struct PushRequest {
    updated_tables: Option<Vec<TableDefinition>>,
    removed_tables: Option<Vec<TableName>>,
}

#[derive(Debug, Deserialize)]
struct TableDefinition {
    name: TableName,
    columns: Option<Vec<ColumnDefinition>>,
    comment: Option<String>,
    constraints: Option<Vec<ConstraintFields>>,
    description: Option<String>,
    ddl: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ColumnDefinition {
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    comment: Option<String>,
    description: Option<String>,
    sample_values: Option<serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct PushReply {
    updated_tables: Vec<ShownTableName>,
}

async fn push_tables(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<PushRequest>,
) -> Reply<PushReply> {
    let updated = request.updated_tables.unwrap_or_default().into_iter().map(read_table);
    let updated = updated.collect::<Result<Vec<_>, _>>()?;
    let removed: Vec<_> =
        request.removed_tables.unwrap_or_default().iter().map(TableName::relation).collect();
    let pushed = gateway.push_relations(&caller.call, &key, updated, &removed).await?;
    let style = NameStyle::of_connection(&gateway, &caller.call, &key).await?;
    Ok(Json(PushReply { updated_tables: style.tables(&pushed) }))
}

fn read_table(table: TableDefinition) -> Result<PushedRelation, Refused> {
    let columns = table.columns.unwrap_or_default();
    let column_descriptions = columns
        .iter()
        .filter_map(|column| Some((column.name.clone(), given(column.description.clone())?)))
        .collect();
    let relation = Relation {
        name: table.name.table_name.clone(),
        kind: RelationKind::Table,
        comment: table.comment,
        columns: columns.into_iter().map(read_column).collect(),
        constraints: read_pushed(&table.name, table.constraints.unwrap_or_default())?,
        unique_indexes: Vec::new(),
        ddl: given(table.ddl),
    };
    Ok(PushedRelation {
        schema: given(table.name.schema_name).unwrap_or_else(|| DEFAULT_SCHEMA.to_owned()),
        relation,
        description: given(table.description),
        column_descriptions,
    })
}

fn read_column(column: ColumnDefinition) -> Column {
    Column {
        name: column.name,
        data_type: column.type_name,
        nullable: true,
        comment: column.comment,
        sample_values: column.sample_values,
    }
}
