//! What people say about schemas, tables and columns.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ringfence_gateway::{Gateway, Refused};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::names::{NameStyle, SchemaName, ShownTableName, TableName};
use super::{ApiCaller, AppState, Empty, Reply, Scoped};

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/update-table-description", post(describe_table))
        .route("/api/update-schema-description", post(describe_schema))
        .route("/api/update-column-description", post(describe_columns))
}

#[derive(Debug, Deserialize)]
struct TableRequest {
    table_name: TableName,
    description: String,
}

#[derive(Debug, Deserialize)]
struct SchemaRequest {
    schema_name: SchemaName,
    description: Value,
}

/// What newer clients send instead of a text.
#[derive(Debug, Deserialize, Serialize)]
struct SchemaDescription {
    summary: Option<String>,
    common_questions: Option<Vec<String>>,
    common_tables: Option<Vec<CommonTable>>,
}

#[derive(Debug, Deserialize, Serialize)]
struct CommonTable {
    name: String,
    description: String,
}

#[derive(Debug, Deserialize)]
struct ColumnsRequest {
    col_descriptions: Option<Vec<TableColumns>>,
}

#[derive(Debug, Deserialize)]
struct TableColumns {
    table_name: TableName,
    column_descriptions: Option<Vec<ColumnDescription>>,
}

#[derive(Debug, Deserialize)]
struct ColumnDescription {
    column_name: String,
    description: Option<String>,
}

#[derive(Debug, Serialize)]
struct ColumnsReply {
    updated_table_to_cols: Vec<UpdatedColumns>,
}

#[derive(Debug, Serialize)]
struct UpdatedColumns {
    table_name: ShownTableName,
    column_names: Vec<String>,
}

async fn describe_table(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<TableRequest>,
) -> Reply<Empty> {
    request.table_name.check_database(&gateway, &caller.call, &key).await?;
    gateway
        .describe_relation(&caller.call, &key, &request.table_name.relation(), &request.description)
        .await?;
    Ok(Json(Empty {}))
}

async fn describe_schema(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<SchemaRequest>,
) -> Reply<Empty> {
    let description = read_schema_description(request.description)?;
    request.schema_name.check_database(&gateway, &caller.call, &key).await?;
    gateway.describe_schema(&caller.call, &key, &request.schema_name.schema_name, description).await?;
    Ok(Json(Empty {}))
}

async fn describe_columns(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<ColumnsRequest>,
) -> Reply<ColumnsReply> {
    let described = request.col_descriptions.unwrap_or_default();
    for table in &described {
        table.table_name.check_database(&gateway, &caller.call, &key).await?;
    }
    let described: Vec<_> = described.into_iter().map(read_columns).collect();
    let updated = gateway.describe_columns(&caller.call, &key, &described).await?;
    let style = NameStyle::of_connection(&gateway, &caller.call, &key).await?;
    let show = |((schema, relation), columns): ((String, String), Vec<String>)| UpdatedColumns {
        table_name: style.table(&schema, &relation),
        column_names: columns.iter().map(|column| style.name(column)).collect(),
    };
    Ok(Json(ColumnsReply { updated_table_to_cols: updated.into_iter().map(show).collect() }))
}

/// A plain text is the summary.
fn read_schema_description(description: Value) -> Result<Value, Refused> {
    let wrong = || {
        Refused::invalid(
            "description must be a text, or an object with summary, common_questions and common_tables",
        )
    };
    match description {
        Value::String(summary) => {
            Ok(json!({ "summary": summary, "common_questions": null, "common_tables": null }))
        }
        Value::Object(fields) => {
            let read: SchemaDescription =
                serde_json::from_value(Value::Object(fields)).map_err(|_| wrong())?;
            serde_json::to_value(read).map_err(|error| Refused::internal(&error))
        }
        _ => Err(wrong()),
    }
}

/// A description of null clears, like an empty one.
fn read_columns(
    table: TableColumns,
) -> (ringfence_gateway::annotations::RelationName, Vec<(String, String)>) {
    let columns = table.column_descriptions.unwrap_or_default();
    let columns =
        columns.into_iter().map(|column| (column.column_name, column.description.unwrap_or_default()));
    (table.table_name.relation(), columns.collect())
}
