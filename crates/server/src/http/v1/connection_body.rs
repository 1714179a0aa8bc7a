//! A connection over the wire: what its user describes, and what comes back.

use ringfence_gateway::connections::{ConnectionView, IndexView, NewConnection};
use ringfence_gateway::{Code, Refused};
use ringfence_policy::ConnectionSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::config::merge;
use super::extract::read_json;
use crate::http::problem::Problem;
use crate::http::wording::in_plain_words;

/// A connection as its user describes it. Null and absent mean the same.
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConnectionDescription, example = json!({
    "db_type": "postgresql",
    "host": "db.example.com",
    "port": 5432,
    "database": "sales",
    "username": "reporting",
    "password": "...",
    "content_filters": [{"schema_name": "public"}],
}))]
pub(crate) struct ConnectionBody {
    /// `postgresql`, `mysql`, `mariadb`, `sqlite` or `lake`; with `push`, the product whose catalog is pushed.
    pub(crate) db_type: String,
    description: Option<String>,
    account_name: Option<String>,
    username: Option<String>,
    /// Is kept sealed and never comes back. Absent: the stored one of a known connection.
    #[serde(skip_serializing)]
    #[schema(write_only)]
    pub(crate) password: Option<String>,
    /// The database's name; for sqlite the file.
    database: Option<String>,
    warehouse: Option<String>,
    role: Option<String>,
    path: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    #[schema(value_type = Option<Object>)]
    parameters: Option<Map<String, Value>>,
    /// Default: true.
    sample_col_values: Option<bool>,
    /// The catalog is pushed; there is nothing to connect to, and nothing to query.
    push: Option<bool>,
    /// What users of this connection see of the database.
    content_filters: Option<Vec<ContentFilter>>,
    /// The deprecated form of filters.
    db_content_filters: Option<Vec<PatternFilter>>,
    embedding_model: Option<String>,
    always_include_tables: Option<Value>,
    alias: Option<String>,
    /// Gives the same database a key, and so a catalog and filters, of its own.
    db_alias: Option<String>,
    host_alias: Option<String>,
    user_alias: Option<String>,
    db_access_policy: Option<AccessPolicy>,
    /// What agents may do on the connection, over MCP. Default: `read-only`; absent, a known connection keeps its own.
    agent_tools: Option<AgentTools>,
    client_email: Option<String>,
    sample_filters: Option<Value>,
}

/// Patterns over names; `*` stands for any run of characters, and nothing else is special.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"type": "exclusion", "schema_name": "public", "table_name": "secret_*"}))]
pub(crate) struct ContentFilter {
    /// Default: `inclusion`.
    #[serde(rename = "type")]
    filter_type: Option<FilterType>,
    db_name: Option<String>,
    schema_name: Option<String>,
    table_name: Option<String>,
    column_name: Option<String>,
    /// Default: true.
    ignore_case: Option<bool>,
}

/// Whether a filter lets in or keeps out.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum FilterType {
    Inclusion,
    Exclusion,
}

/// The deprecated form: a regular expression searched in one part of the name.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"filter_scope": "table", "filter_type": "exclude", "pattern": "^tmp_"}))]
pub(crate) struct PatternFilter {
    filter_scope: PatternScope,
    /// Default: `include`.
    filter_type: Option<PatternType>,
    /// Only `visibility`, the default, hides.
    filter_action_type: Option<PatternAction>,
    /// Default: true.
    ignore_case: Option<bool>,
    /// Empty matches all.
    pattern: Option<String>,
    /// Limits where the filter applies.
    search_context: Option<Vec<ContentFilter>>,
}

/// Which part of the name a pattern looks at.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum PatternScope {
    Schema,
    Table,
    Column,
}

/// Whether a pattern lets in or keeps out.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum PatternType {
    Include,
    Exclude,
}

/// What a pattern is for.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PatternAction {
    Visibility,
    SampleValues,
}

/// What queries may do.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"read_only": true}))]
struct AccessPolicy {
    /// Queries run in a read-only transaction. Default: false.
    read_only: Option<bool>,
    /// Whether queries may name what the content filters hide. Default: true.
    allow_access_beyond_db_content_filter: Option<bool>,
    /// Concerns generated queries only. Default: true.
    allow_access_beyond_search_context: Option<bool>,
}

/// What agents may do on a connection.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum AgentTools {
    /// For agents there is no such connection.
    None,
    /// Read what you may read.
    ReadOnly,
    /// What you may do.
    ReadWrite,
}

/// A connection as its user sees it; never with the password.
#[derive(Serialize, ToSchema)]
#[schema(as = Connection)]
pub(crate) struct ConnectionAnswer {
    /// Names the connection in paths, percent-encoded.
    #[schema(example = "postgresql://reporting@db.example.com:5432/sales")]
    key: String,
    /// Whose connection it is.
    owner: String,
    /// Whether it is the one to use when none is named.
    default: bool,
    /// What it points at, as its user described it.
    spec: ConnectionBody,
    index: IndexAnswer,
}

/// How far indexing is.
#[derive(Serialize, ToSchema)]
#[schema(as = IndexStatus, example = json!({
    "status": "indexing",
    "percentage": 40.0,
    "schemas": {"public": {"total": 10, "pending": 6}},
    "diagnostics": null,
}))]
pub(crate) struct IndexAnswer {
    #[schema(value_type = IndexState)]
    status: ringfence_store::sources::IndexStatus,
    /// 0 to 100; 100 too when nothing was begun.
    percentage: f64,
    #[schema(value_type = std::collections::BTreeMap<String, SchemaProgress>)]
    schemas: Map<String, Value>,
    /// Why indexing failed.
    diagnostics: Option<String>,
}

/// The states of indexing; a finished one is `completed` or `failed`.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "stands in the document for the store's type")]
pub(crate) enum IndexState {
    NotStarted,
    Indexing,
    Completed,
    Failed,
}

/// Progress within one schema, in tables.
#[derive(ToSchema)]
#[expect(dead_code, reason = "stands in the document for the store's type")]
pub(crate) struct SchemaProgress {
    total: u32,
    pending: u32,
}

impl ConnectionBody {
    /// What the gateway takes.
    pub(crate) fn into_connection(self) -> Result<NewConnection, Problem> {
        let password = self.password.clone().map(Into::into);
        Ok(NewConnection { spec: self.into_spec()?, password })
    }

    fn into_spec(self) -> Result<ConnectionSpec, Problem> {
        // Both sides name their fields alike, and the policy's defaults stand in for null.
        serde_json::to_value(self)
            .and_then(serde_json::from_value)
            .map_err(|error| Problem::new(Code::InvalidRequest, in_plain_words(&error.to_string())))
    }

    fn of_spec(spec: &ConnectionSpec) -> Result<Self, Problem> {
        let spec = ConnectionSpec { agent_tools: Some(spec.agent_tools()), ..spec.clone() };
        serde_json::to_value(&spec)
            .and_then(serde_json::from_value)
            .map_err(|error| Refused::internal(&error).into())
    }
}

/// A known connection with changes merged in (RFC 7396), read as strictly as a new one.
pub(crate) fn patch_connection(
    spec: &ConnectionSpec,
    patch: Map<String, Value>,
) -> Result<NewConnection, Problem> {
    let mut merged = serde_json::to_value(spec).map_err(|error| Refused::internal(&error))?;
    merge(&mut merged, Value::Object(patch));
    read_json::<ConnectionBody>(merged.to_string().as_bytes())?.into_connection()
}

impl ConnectionAnswer {
    pub(crate) fn of_view(view: ConnectionView, is_default: bool) -> Result<Self, Problem> {
        Ok(Self {
            key: view.key.to_string(),
            owner: view.owner.to_string(),
            default: is_default,
            spec: ConnectionBody::of_spec(&view.spec)?,
            index: IndexAnswer::from(view.index),
        })
    }
}

impl From<IndexView> for IndexAnswer {
    fn from(view: IndexView) -> Self {
        let schemas = view
            .schemas
            .into_iter()
            .map(|(name, progress)| (name, json!({"total": progress.total, "pending": progress.pending})));
        Self {
            status: view.status,
            percentage: view.percentage,
            schemas: schemas.collect(),
            diagnostics: view.diagnostics,
        }
    }
}
