//! What each tool does: arguments in, one call of the gateway, an answer of bounded size out.

use std::sync::Arc;

use ringfence_engine::ResultSet;
use ringfence_gateway::models::{Aggregate, Change, Changed, ModelDescription, Operation, Query};
use ringfence_gateway::queries::{ExplainRequest, QueryRequest, View};
use ringfence_gateway::{Call, Gateway, Refused};
use rmcp::model::JsonObject;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::bounds::Bounds;
use super::tools::Tool;
use crate::explanation::ExplanationAnswer;

/// What is said where rows were left out.
const FEWER_ROWS: &str = "Ask with `take` at most that number and go on with its cursor, select fewer fields, or narrow `where`; aggregate counts and sums \
     without reading rows.";
const FEWER_SQL_ROWS: &str = "Select fewer columns, add conditions, or page with ORDER BY and LIMIT.";

/// What is said beside a ticket.
const WAITING: &str = "Nothing was changed: somebody else has to approve it first, and it is done when they do. Tell your user the ticket in \
    `approval`, and do not ask again.";

/// Runs the tool.
pub(super) async fn run(
    gateway: &Gateway,
    call: &Call,
    tool: Tool,
    mut arguments: JsonObject,
    bounds: Bounds,
) -> Result<Value, Refused> {
    if tool == Tool::ListConnections {
        let _: Nothing = read(arguments)?;
        return list_connections(gateway, call, bounds).await;
    }
    let connection: String = take(&mut arguments, "connection")?;
    call.log().set_scope(&connection);
    let desk = Desk { gateway, call, bounds, connection: &connection };
    match tool {
        Tool::RunSql => desk.run_sql(read(arguments)?).await,
        Tool::Explain => desk.explain(read(arguments)?).await,
        Tool::DescribeSchema => desk.describe(read(arguments)?).await,
        Tool::Query | Tool::Get | Tool::Aggregate => {
            let model: String = take(&mut arguments, "model")?;
            match tool {
                Tool::Get => desk.get(&model, read(arguments)?).await,
                Tool::Aggregate => desk.aggregate(&model, read(arguments)?).await,
                _ => desk.query(&model, read(arguments)?).await,
            }
        }
        Tool::Create | Tool::BulkCreate | Tool::Update | Tool::BulkUpdate | Tool::Delete => {
            desk.change(tool, arguments).await
        }
        Tool::ListConnections => Err(Refused::internal(&"a tool that was run already")),
    }
}

/// No arguments.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Which description.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    model: Option<String>,
}

/// Which row.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneRow {
    id: Value,
    select: Option<Vec<String>>,
}

/// A statement.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sql {
    statement: String,
    #[serde(default)]
    parameters: Vec<Value>,
    current_schema: Option<String>,
    max_rows: Option<u64>,
    reason: Option<String>,
}

/// One that is not run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Explained {
    statement: String,
    #[serde(default)]
    parameters: Vec<Value>,
    current_schema: Option<String>,
    reason: Option<String>,
}

async fn list_connections(gateway: &Gateway, call: &Call, bounds: Bounds) -> Result<Value, Refused> {
    let connections = gateway.list_agent_connections(call).await?;
    let told = connections.iter().map(|connection| {
        json!({
            "connection": connection.key.as_str(),
            "name": connection.name,
            "description": connection.description,
            "database": connection.db_type,
            "default": connection.is_default,
            "access": match (connection.is_guarded, connection.may_write) {
                (false, _) => "none: no policy guards this connection, and agents run nothing on such ones",
                (true, false) => "read",
                (true, true) => "read and write, as far as policies let you",
            },
        })
    });
    let answer = object(json!({ "connections": told.collect::<Vec<_>>() }))?;
    bounds.fit(answer, "connections", "")
}

/// Where a tool on one connection works.
struct Desk<'a> {
    gateway: &'a Gateway,
    call: &'a Call,
    bounds: Bounds,
    connection: &'a str,
}

impl Desk<'_> {
    async fn run_sql(&self, sql: Sql) -> Result<Value, Refused> {
        let request = QueryRequest {
            statement: sql.statement,
            current_schema: sql.current_schema,
            max_rows: Some(self.bounds.rows(sql.max_rows)),
            parameters: texts(sql.parameters),
            reason: sql.reason,
            ..QueryRequest::default()
        };
        let outcome = self.gateway.run_query(self.call, self.connection, request).await?;
        self.bounds.fit(result(&outcome.result)?, "rows", FEWER_SQL_ROWS)
    }

    async fn explain(&self, sql: Explained) -> Result<Value, Refused> {
        let query = QueryRequest {
            statement: sql.statement,
            current_schema: sql.current_schema,
            parameters: texts(sql.parameters),
            reason: sql.reason,
            ..QueryRequest::default()
        };
        // The view of those who ask about themselves, also of administrators: the other one tells of everybody.
        let view = Some(View::Caller);
        let request =
            ExplainRequest { key: self.connection.to_owned(), query, as_user: None, view, plan: false };
        let explanation = self.gateway.explain_query(self.call, request).await?;
        self.bounds.fit(object(ExplanationAnswer::from(explanation))?, "relations", "")
    }

    async fn describe(&self, described: Described) -> Result<Value, Refused> {
        if let Some(model) = described.model {
            let model = self.gateway.describe_model(self.call, self.connection, &model).await?;
            return self.bounds.fit(object(model)?, "fields", "");
        }
        let models = self.gateway.describe_models(self.call, self.connection).await?;
        let models: Vec<Value> = models.iter().map(in_short).collect();
        let answer = object(json!({
            "models": models,
            "note": "Give `model` for its fields' types, and what must be given.",
        }))?;
        self.bounds.fit(answer, "models", "Ask for one by its name, in `model`.")
    }

    async fn query(&self, model: &str, mut query: Query) -> Result<Value, Refused> {
        query.take = query.take.map(|take| take.min(self.bounds.max_rows)).or(Some(self.usual_take()));
        let page = self.gateway.query_model(self.call, self.connection, model, &query).await?;
        self.bounds.fit(object(page)?, "rows", FEWER_ROWS)
    }

    async fn get(&self, model: &str, row: OneRow) -> Result<Value, Refused> {
        let select = row.select.as_deref();
        let found = self.gateway.get_model(self.call, self.connection, model, &row.id, select).await?;
        self.bounds.fit(object(json!({ "row": found }))?, "", "")
    }

    async fn aggregate(&self, model: &str, mut aggregate: Aggregate) -> Result<Value, Refused> {
        aggregate.take =
            aggregate.take.map(|take| take.min(self.bounds.max_rows)).or(Some(self.usual_take()));
        let figures = self.gateway.aggregate_model(self.call, self.connection, model, &aggregate).await?;
        self.bounds.fit(
            object(figures)?,
            "rows",
            "Ask with a smaller `take`, fewer fields in `group_by`, or narrow `where`.",
        )
    }

    async fn change(&self, tool: Tool, mut arguments: JsonObject) -> Result<Value, Refused> {
        let reason: Option<String> = take_optional(&mut arguments, "reason")?;
        let idempotency_key: Option<String> = take_optional(&mut arguments, "idempotency_key")?;
        arguments.insert("action".to_owned(), tool.name().into());
        let operation: Operation = read(arguments)?;
        let change = Change { operations: vec![operation], idempotency_key, reason };
        match self.gateway.change_models(self.call, self.connection, &change).await? {
            Changed::Pending(ticket) => Ok(json!({
                "approval": ticket.id.to_string(),
                "state": ticket.state.name(),
                "expires_at": jiff::Timestamp::from_millisecond(ticket.request.expires_at).unwrap_or_default().to_string(),
                "note": WAITING,
            })),
            Changed::Done(results) => {
                let done = results.into_iter().next();
                let done = done.ok_or_else(|| Refused::internal(&"an operation without a result"))?;
                self.bounds.fit(object(done)?, "rows", "All of them were changed: query shows them.")
            }
        }
    }

    /// How many rows come where nobody says.
    fn usual_take(&self) -> u64 {
        self.bounds.max_rows.min(USUAL_ROWS)
    }
}

/// Rows of an answer when the agent does not say.
const USUAL_ROWS: u64 = 50;

/// A model in a list of them.
fn in_short(model: &ModelDescription) -> Value {
    let fields: Vec<&str> = model.fields.iter().map(|field| field.name.as_str()).collect();
    json!({
        "name": model.name,
        "description": model.description,
        "key": model.key,
        "fields": fields,
        "operations": model.operations,
    })
}

fn result(result: &Arc<ResultSet>) -> Result<Map<String, Value>, Refused> {
    let columns = result.columns.iter().map(|column| json!({"name": column.name, "type": column.type_name}));
    let mut answer = object(json!({
        "columns": columns.collect::<Vec<_>>(),
        "rows": result.rows,
        "more_rows": result.more_rows,
    }))?;
    if let Some(affected) = result.affected {
        answer.insert("affected".to_owned(), affected.into());
    }
    if result.more_rows > 0 {
        answer.insert("note".to_owned(), format!("There are more rows. {FEWER_SQL_ROWS}").into());
    }
    Ok(answer)
}

/// Values of placeholders, as the gateway takes them.
fn texts(values: Vec<Value>) -> Vec<Option<String>> {
    let text = |value| match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    values.into_iter().map(text).collect()
}

fn take<T: DeserializeOwned>(arguments: &mut JsonObject, name: &str) -> Result<T, Refused> {
    take_optional(arguments, name)?.ok_or_else(|| Refused::invalid(format!("missing argument `{name}`")))
}

fn take_optional<T: DeserializeOwned>(arguments: &mut JsonObject, name: &str) -> Result<Option<T>, Refused> {
    let value = arguments.remove(name).unwrap_or_default();
    serde_json::from_value(value).map_err(|error| Refused::invalid(format!("argument `{name}`: {error}")))
}

fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, Refused> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| Refused::invalid(format!("the arguments can't be read: {error}")))
}

fn object(answer: impl Serialize) -> Result<Map<String, Value>, Refused> {
    match serde_json::to_value(answer) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Refused::internal(&"an answer that is no object")),
        Err(error) => Err(Refused::internal(&error)),
    }
}
