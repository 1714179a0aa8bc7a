//! Runs one statement on a lake, and hands on its rows.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, ScalarValue, plan_err};
use datafusion::config::Dialect;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, Limit, LogicalPlan};
use datafusion::physical_plan::execute_stream;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use futures::StreamExt as _;
use ringfence_engine::result::{Row, check_columns};
use ringfence_engine::{COUNTED_ROWS, EmbeddedPiece, ResultColumn, RunOptions, SourceError, Value};
use ringfence_guard::{GuardedQuery, Parameter};
use tokio::sync::mpsc;

use crate::columns::sql_type;
use crate::failure;
use crate::session::{CATALOG, SCHEMA};
use crate::snapshot::Snapshot;
use crate::value::Cells;

/// The longest statement of an open connection: each sign may be a level of the plan, and the stack bears so many. What the
/// guard has printed is bounded by the guard.
const LONGEST_OPEN: usize = 32 * 1024;
const BATCH_ROWS: usize = 256;
const BATCH_BYTES: u64 = 256 * 1024;

/// A statement that can be run.
pub(crate) struct Planned {
    session: SessionState,
    plan: LogicalPlan,
    /// Only the plan itself is asked for.
    explains: bool,
    query: GuardedQuery,
    // Held to the last row.
    _snapshot: Arc<Snapshot>,
}

/// Where rows go.
pub(crate) type Outlet = mpsc::Sender<EmbeddedPiece>;

/// Reads the statement, and finds what it names.
pub(crate) async fn plan(snapshot: Arc<Snapshot>, query: &GuardedQuery) -> Result<Planned, SourceError> {
    if query.fence().is_none() && query.sql().len() > LONGEST_OPEN {
        return Err(SourceError::Statement {
            message: format!("a statement on a lake has at most {LONGEST_OPEN} bytes"),
            sqlstate: Some("54000".to_owned()),
        });
    }
    let session = snapshot.session().map_err(|error| failed(query, &error))?;
    let planned = plan_in(&session, query).await?;
    let (plan, explains) = planned.map_err(|error| failed(query, &error))?;
    Ok(Planned { session, plan, explains, query: query.clone(), _snapshot: snapshot })
}

type Plan = Result<(LogicalPlan, bool), DataFusionError>;

async fn plan_in(session: &SessionState, query: &GuardedQuery) -> Result<Plan, SourceError> {
    let statement = match session.sql_to_statement(query.sql(), &Dialect::PostgreSQL) {
        Ok(statement) => statement,
        Err(error) => return Ok(Err(error)),
    };
    let (statement, explains) = reading(statement)?;
    let plan = match session.statement_to_plan(statement).await {
        Ok(plan) => plan,
        Err(error) => return Ok(Err(error)),
    };
    if let Err(error) = refuse_more_than_reading(&plan) {
        return Ok(Err(error));
    }
    let plan = bind(plan, query.parameters())?;
    Ok(plan.map(|plan| (plan, explains)))
}

/// The statement, if it reads. EXPLAIN is ours to answer: DataFusion's own shows where files lie.
//
// INVARIANT: a statement on a lake changes nothing, neither tables nor settings, whatever the connection's mode. Held by
// `statements_only_read`.
fn reading(statement: Statement) -> Result<(Statement, bool), SourceError> {
    let refused = || SourceError::Statement {
        message: "statements on a lake only read: tables are loaded as a whole".to_owned(),
        sqlstate: Some("0A000".to_owned()),
    };
    let is_query = |statement: &Statement| matches!(statement, Statement::Statement(inner) if matches!(**inner, ast::Statement::Query(_)));
    match statement {
        Statement::Explain(explain) if !explain.options.analyze && is_query(&explain.statement) => {
            Ok((*explain.statement, true))
        }
        query if is_query(&query) => Ok((query, false)),
        _ => Err(refused()),
    }
}

/// The same of the plan, in case a query holds more than it seems to.
fn refuse_more_than_reading(plan: &LogicalPlan) -> Result<(), DataFusionError> {
    plan.apply_with_subqueries(|node| match node {
        LogicalPlan::Ddl(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::Statement(_)
        | LogicalPlan::DescribeTable(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_) => plan_err!("statements on a lake only read"),
        _ => Ok(TreeNodeRecursion::Continue),
    })?;
    Ok(())
}

/// Each placeholder needs a value, and each value a placeholder.
fn bind(
    plan: LogicalPlan,
    parameters: &[Parameter],
) -> Result<Result<LogicalPlan, DataFusionError>, SourceError> {
    let types = match plan.get_parameter_types() {
        Ok(types) => types,
        Err(error) => return Ok(Err(error)),
    };
    let named = |number: usize| format!("${number}");
    if types.len() > parameters.len()
        || types.keys().any(|name| !(1..=parameters.len()).any(|n| named(n) == *name))
    {
        return Err(invalid("the statement has a parameter without a value"));
    }
    if types.len() < parameters.len() {
        return Err(invalid("there are more values than the statement has parameters"));
    }
    if parameters.is_empty() {
        return Ok(Ok(plan));
    }
    let counts = match counts(&plan) {
        Ok(counts) => counts,
        Err(error) => return Ok(Err(error)),
    };
    let mut values = Vec::with_capacity(parameters.len());
    for (index, parameter) in parameters.iter().enumerate() {
        let name = named(index + 1);
        let data_type = types.get(&name).and_then(Option::as_ref);
        let data_type = if counts.contains(&name) { Some(&DataType::Int64) } else { data_type };
        values.push(scalar(parameter, data_type)?);
    }
    Ok(plan.with_param_values(values))
}

/// Placeholders of LIMIT and OFFSET, whose type DataFusion does not infer.
fn counts(plan: &LogicalPlan) -> Result<Vec<String>, DataFusionError> {
    let mut counts = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(Limit { skip, fetch, .. }) = node {
            for count in [skip, fetch].into_iter().flatten() {
                if let Expr::Placeholder(placeholder) = count.as_ref() {
                    counts.push(placeholder.id.clone());
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(counts)
}

/// The value, of the type that its place asks for where that is known.
fn scalar(parameter: &Parameter, data_type: Option<&DataType>) -> Result<ScalarValue, SourceError> {
    let value = match parameter {
        Parameter::Null => ScalarValue::Null,
        Parameter::Text(text) => ScalarValue::Utf8(Some(text.clone())),
        Parameter::Integer(number) => ScalarValue::Int64(Some(*number)),
        Parameter::Float(number) => ScalarValue::Float64(Some(*number)),
        Parameter::Bool(truth) => ScalarValue::Boolean(Some(*truth)),
        Parameter::List(_) => return Err(invalid("a lake takes no lists: give each value a parameter")),
    };
    match (parameter, data_type) {
        // A text is whatever its place asks for; a number keeps its own type, so that nothing is cut off.
        (Parameter::Text(_) | Parameter::Null, Some(data_type)) => value
            .cast_to(data_type)
            .map_err(|_| invalid("a value does not have the form that its place in the statement needs")),
        _ => Ok(value),
    }
}

fn invalid(message: &str) -> SourceError {
    SourceError::Statement { message: message.to_owned(), sqlstate: Some("22P02".to_owned()) }
}

fn failed(query: &GuardedQuery, error: &DataFusionError) -> SourceError {
    let told = failure::of(error, query.fence().is_some());
    let SourceError::Statement { message, .. } = &told else { return told };
    // A principal's values are no news to anybody but the policy.
    let tells = query.parameters().iter().any(|parameter| match parameter {
        Parameter::Text(text) => text.len() > 3 && message.contains(text.as_str()),
        _ => false,
    });
    if query.fence().is_some() && tells {
        return SourceError::Statement {
            message: "the lake failed to run this".to_owned(),
            sqlstate: Some("42000".to_owned()),
        };
    }
    told
}

impl Planned {
    /// The result's columns.
    pub(crate) fn columns(&self, options: &RunOptions) -> Result<Arc<[ResultColumn]>, SourceError> {
        let columns: Vec<ResultColumn> = if self.explains {
            vec![ResultColumn { name: "plan".to_owned(), type_name: "text".to_owned() }]
        } else {
            let column = |field: &Arc<datafusion::arrow::datatypes::Field>| ResultColumn {
                name: field.name().clone(),
                type_name: sql_type(field.data_type()),
            };
            self.plan.schema().fields().iter().map(column).collect()
        };
        check_columns(&columns, options.max_columns)?;
        Ok(columns.into())
    }

    /// The relations that the statement reads, each once.
    pub(crate) fn relations(&self) -> Result<Vec<(String, String)>, SourceError> {
        let mut relations = Vec::new();
        let read = self.plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                let relation = scan.table_name.clone().resolve(CATALOG, SCHEMA);
                let relation = (relation.schema.to_string(), relation.table.to_string());
                if !relations.contains(&relation) {
                    relations.push(relation);
                }
            }
            Ok(TreeNodeRecursion::Continue)
        });
        read.map_err(|error| failed(&self.query, &error))?;
        Ok(relations)
    }

    /// Sends rows until there are no more, or enough.
    pub(crate) async fn run(self, options: RunOptions, outlet: Outlet) {
        let last = match self.send(&options, &outlet).await {
            Ok(omitted) => EmbeddedPiece::End { omitted },
            Err(error) => EmbeddedPiece::Failed(error),
        };
        let _ = outlet.send(last).await;
    }

    async fn send(&self, options: &RunOptions, outlet: &Outlet) -> Result<u64, SourceError> {
        if self.explains {
            let plan = self.session.optimize(&self.plan).map_err(|error| failed(&self.query, &error))?;
            let lines = plan.display_indent().to_string();
            let rows = lines.lines().map(|line| vec![Value::Text(line.to_owned())]).collect();
            let _ = outlet.send(EmbeddedPiece::Rows(rows)).await;
            return Ok(0);
        }
        let stream = self.stream().await.map_err(|error| failed(&self.query, &error))?;
        self.relay(stream, options, outlet).await
    }

    async fn stream(&self) -> Result<SendableRecordBatchStream, DataFusionError> {
        let plan = self.session.create_physical_plan(&self.plan).await?;
        execute_stream(plan, self.session.task_ctx())
    }

    /// Answers how many rows were left out.
    async fn relay(
        &self,
        mut stream: SendableRecordBatchStream,
        options: &RunOptions,
        outlet: &Outlet,
    ) -> Result<u64, SourceError> {
        let names: u64 = self.plan.schema().fields().iter().map(|field| field.name().len() as u64).sum();
        let (mut wanted, mut omitted, mut bytes_left) = (options.max_rows, 0_u64, options.max_bytes);
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|error| failed(&self.query, &error))?;
            let arrow = |error| failed(&self.query, &DataFusionError::ArrowError(Box::new(error), None));
            let cells = Cells::of(&batch).map_err(arrow)?;
            let shown = cells.rows().min(usize::try_from(wanted).unwrap_or(usize::MAX));
            let (mut rows, mut batch_bytes): (Vec<Row>, u64) = (Vec::new(), 0);
            for index in 0..shown {
                let (row, size) = cells.row(index).map_err(arrow)?;
                bytes_left = bytes_left
                    .checked_sub(size.saturating_add(names))
                    .ok_or(SourceError::TooLarge { limit_bytes: options.max_bytes })?;
                rows.push(row);
                batch_bytes += size;
                if rows.len() >= BATCH_ROWS || batch_bytes >= BATCH_BYTES {
                    batch_bytes = 0;
                    deliver(outlet, std::mem::take(&mut rows)).await?;
                }
            }
            if !rows.is_empty() {
                deliver(outlet, rows).await?;
            }
            wanted = wanted.saturating_sub(shown as u64);
            omitted += (cells.rows() - shown) as u64;
            if omitted > options.max_rows.max(COUNTED_ROWS) {
                break;
            }
        }
        Ok(omitted)
    }
}

async fn deliver(outlet: &Outlet, rows: Vec<Row>) -> Result<(), SourceError> {
    outlet.send(EmbeddedPiece::Rows(rows)).await.map_err(|_| SourceError::Cancelled)
}
