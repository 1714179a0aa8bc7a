//! What a connection shows: its catalog with what people said about it.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use ringfence_gateway::catalog::CatalogView;
use ringfence_gateway::{Code, Gateway, Refused};
use ringfence_policy::filter::SearchContext;
use ringfence_policy::{Column, Relation, Schema};
use ringfence_store::annotations::{Annotations, RelationNotes};
use serde::{Deserialize, Serialize};

use super::constraints::{ShownConstraint, show_constraints};
use super::names::{NameStyle, ShownSchemaName, ShownTableName};
use super::{ApiCaller, AppState, Reply, Scoped, given};

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/api/get-table-definitions", post(get_table_definitions))
}

#[derive(Debug, Deserialize)]
struct CatalogRequest {
    search_context: Option<Vec<SearchContext>>,
    ask: Option<String>,
}

#[derive(Debug, Serialize)]
struct CatalogReply {
    /// Empty before the first index is complete.
    catalogs: Vec<ShownCatalog>,
    debug_info: (),
}

#[derive(Debug, Serialize)]
struct ShownCatalog {
    name: String,
    schemas: Vec<ShownSchema>,
}

#[derive(Debug, Serialize)]
struct ShownSchema {
    name: ShownSchemaName,
    tables: Vec<ShownTable>,
    description: Option<serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct ShownTable {
    name: ShownTableName,
    columns: Vec<ShownColumn>,
    comment: Option<String>,
    last_altered_time: (),
    refs: [(); 0],
    constraints: Vec<ShownConstraint>,
    inferred_refs: [(); 0],
    inferred_constraints: [(); 0],
    description: Option<String>,
    /// As it was pushed, and only then: clients know the field of what they push.
    #[serde(skip_serializing_if = "Option::is_none")]
    ddl: Option<String>,
}

/// A column of a catalog or of a result.
#[derive(Debug, Serialize)]
pub(super) struct ShownColumn {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) type_name: String,
    pub(super) comment: Option<String>,
    pub(super) description: Option<String>,
    /// As they were pushed.
    pub(super) sample_values: Option<serde_json::Value>,
}

async fn get_table_definitions(
    State(gateway): State<Gateway>,
    caller: ApiCaller,
    Scoped(key, request): Scoped<CatalogRequest>,
) -> Reply<CatalogReply> {
    if given(request.ask).is_some() {
        let message = "searching the catalog by a question (ask) is not supported: leave it out";
        return Err(Refused::new(Code::NotImplemented, message).into());
    }
    let contexts = request.search_context.unwrap_or_default();
    let catalogs = match gateway.catalog(&caller.call, &key, &contexts).await? {
        None => Vec::new(),
        Some(view) => {
            let style = NameStyle::of_connection(&gateway, &caller.call, &key).await?;
            vec![show_catalog(&view, &style)]
        }
    };
    Ok(Json(CatalogReply { catalogs, debug_info: () }))
}

fn show_catalog(view: &CatalogView, style: &NameStyle) -> ShownCatalog {
    let schemas = view.catalog.schemas.iter().filter(|schema| !schema.relations.is_empty());
    ShownCatalog {
        name: style.database().to_owned(),
        schemas: schemas.map(|schema| show_schema(schema, &view.annotations, style)).collect(),
    }
}

fn show_schema(schema: &Schema, annotations: &Annotations, style: &NameStyle) -> ShownSchema {
    let notes = annotations.relations.get(&schema.name);
    let nothing = RelationNotes::default();
    let show = |relation: &Relation| {
        let notes = notes.and_then(|notes| notes.get(&relation.name)).unwrap_or(&nothing);
        show_table(&schema.name, relation, notes, style)
    };
    ShownSchema {
        name: style.schema(&schema.name),
        tables: schema.relations.iter().map(show).collect(),
        description: annotations.schemas.get(&schema.name).cloned(),
    }
}

fn show_table(schema: &str, relation: &Relation, notes: &RelationNotes, style: &NameStyle) -> ShownTable {
    ShownTable {
        name: style.table(schema, &relation.name),
        columns: relation.columns.iter().map(|column| show_column(column, notes, style)).collect(),
        comment: relation.comment.clone(),
        last_altered_time: (),
        refs: [],
        constraints: show_constraints(schema, relation, notes, style),
        inferred_refs: [],
        inferred_constraints: [],
        description: notes.description.clone(),
        ddl: relation.ddl.clone(),
    }
}

fn show_column(column: &Column, notes: &RelationNotes, style: &NameStyle) -> ShownColumn {
    ShownColumn {
        name: style.name(&column.name),
        type_name: column.data_type.clone(),
        comment: column.comment.clone(),
        description: notes.columns.get(&column.name).cloned(),
        sample_values: column.sample_values.clone(),
    }
}
