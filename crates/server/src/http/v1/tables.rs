//! `/v1/connections/{key}/tables`: tables of lakes, loaded and removed as a whole.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use futures::{StreamExt as _, TryStreamExt as _};
use ringfence_engine::{LoadFormat, LoadMode, LoadedTable, SourceError, TableLoad};
use ringfence_gateway::Code;
use ringfence_policy::ConnectionKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Named, NoParams, Params};
use super::refusals::{Loading, Unloading};
use crate::http::AppState;
use crate::http::call::Caller;
use crate::http::problem::Problem;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(load_table, remove_table))
}

/// How rows are taken in.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LoadParams {
    /// `replace` puts the rows in the place of those that are there, `append` adds them.
    #[serde(default)]
    #[param(value_type = String, required = false, example = "append")]
    mode: Mode,
    /// Columns whose values together no two rows share, with commas between them, or as a JSON array. None of them may be
    /// empty.
    #[param(value_type = String, required = false, example = "Shop ID")]
    keys: Option<String>,
    /// Types of columns, as a JSON object. Those of the others follow from the rows.
    #[param(value_type = String, required = false, example = json!("{\"Shop ID\": \"text\"}"))]
    types: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Replace,
    Append,
}

/// A table after its load.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LoadedTable, example = json!({
    "table": "shops", "loaded": 5, "rows": 5, "columns": [{"name": "City", "type": "text"}], "version": 1
}))]
struct LoadedAnswer {
    table: String,
    /// Rows that came with this load.
    loaded: u64,
    /// Rows that the table has now.
    rows: u64,
    /// In the table's order.
    columns: Vec<LoadedColumn>,
    /// Counts the loads of the table.
    version: u64,
}

/// A column of a loaded table.
#[derive(Debug, Serialize, ToSchema)]
struct LoadedColumn {
    name: String,
    /// In the words of SQL.
    r#type: String,
}

impl From<LoadedTable> for LoadedAnswer {
    fn from(table: LoadedTable) -> Self {
        let LoadedTable { table, loaded, rows, columns, version } = table;
        let columns = columns.into_iter().map(|(name, r#type)| LoadedColumn { name, r#type }).collect();
        Self { table, loaded, rows, columns, version }
    }
}

/// Load a table
///
/// Into a connection of the kind `lake`: all rows, or none. Queries that run keep the rows that they began with. The body is
/// CSV with a line of names first (`text/csv`), Parquet (`application/vnd.apache.parquet`), or an Arrow IPC stream
/// (`application/vnd.apache.arrow.stream`). Rows that do not fit are named with their lines, and undo the load. Needs
/// `write:databases`, and what putting a policy needs where one is on the lake.
#[utoipa::path(
    put, path = "/connections/{key}/tables/{name}", tag = "Connections",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("name" = String, Path, description = "The table's name.", example = "shops"),
        LoadParams,
    ),
    request_body(content(
        (String = "text/csv", example = json!("Shop ID,City\n1,Paris\n")),
        (Vec<u8> = "application/vnd.apache.parquet"),
        (Vec<u8> = "application/vnd.apache.arrow.stream"),
    )),
    responses((status = 200, description = "The table as it is now.", body = LoadedAnswer), Loading),
)]
async fn load_table(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, table)): Named<(ConnectionKey, String)>,
    Params(params): Params<LoadParams>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LoadedAnswer>, Problem> {
    let lake = app.gateway.lake_to_load(&call, key.as_str()).await?;
    let load = TableLoad {
        table,
        format: format_of(&headers)?,
        mode: match params.mode {
            Mode::Replace => LoadMode::Replace,
            Mode::Append => LoadMode::Append,
        },
        keys: keys(params.keys.as_deref().unwrap_or_default())?,
        types: types(params.types.as_deref().unwrap_or("{}"))?,
        max_bytes: app.settings.max_load_bytes,
    };
    let broken =
        |_| SourceError::Data("the request body broke off, or came too late: nothing was loaded".to_owned());
    let pieces = body.into_data_stream().map_err(broken).boxed();
    Ok(Json(app.gateway.load_table(&call, &lake, load, pieces).await?.into()))
}

/// Remove a table
///
/// One that was loaded, with all its rows. Queries that run keep them to their end. Needs what loading needs.
#[utoipa::path(
    delete, path = "/connections/{key}/tables/{name}", tag = "Connections",
    params(
        ("key" = String, Path, description = "The connection's key, percent-encoded."),
        ("name" = String, Path, description = "The table's name.", example = "shops"),
    ),
    responses((status = 204, description = "The table is gone."), Unloading),
)]
async fn remove_table(
    State(app): State<AppState>,
    Caller { call, .. }: Caller<Problem>,
    Named((key, table)): Named<(ConnectionKey, String)>,
    _: NoParams,
) -> Result<StatusCode, Problem> {
    let lake = app.gateway.lake_to_load(&call, key.as_str()).await?;
    app.gateway.remove_table(&call, &lake, &table).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn format_of(headers: &HeaderMap) -> Result<LoadFormat, Problem> {
    let declared =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "text/csv" => Ok(LoadFormat::Csv),
        "application/vnd.apache.parquet" => Ok(LoadFormat::Parquet),
        "application/vnd.apache.arrow.stream" | "application/vnd.apache.arrow.file" => Ok(LoadFormat::Arrow),
        _ => Err(Problem::new(Code::UnsupportedMediaType, "the body is declared as no form of a table")
            .with_hint(
                "send CSV as `text/csv`, Parquet as `application/vnd.apache.parquet`, or Arrow as \
             `application/vnd.apache.arrow.stream`",
            )),
    }
}

fn keys(text: &str) -> Result<Vec<String>, Problem> {
    if text.trim_start().starts_with('[') {
        let wrong = |_| Problem::new(Code::InvalidRequest, "`keys` is no JSON array of names of columns");
        return serde_json::from_str(text).map_err(wrong);
    }
    Ok(text.split(',').map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()).collect())
}

fn types(text: &str) -> Result<Vec<(String, String)>, Problem> {
    let types: BTreeMap<String, String> = serde_json::from_str(text).map_err(|_| {
        Problem::new(Code::InvalidRequest, "`types` is no JSON object of names of columns and types")
    })?;
    Ok(types.into_iter().collect())
}
