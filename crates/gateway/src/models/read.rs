//! Reads: pages of rows with what is included, single rows, figures.

use std::collections::HashMap;

use ringfence_engine::{Isolation, SourceTransaction, Value as SourceValue};
use ringfence_semantic::include::Included;
use ringfence_semantic::query::{self, Bounds};
use ringfence_semantic::request::{Aggregate, Query};
use ringfence_semantic::{Statement, aggregate, complexity};
use serde::Serialize;
use serde_json::Value;

use super::rows::{self, Cell, Fetched, Row};
use super::{cursor, inputs};
use crate::road::{Ready, Road};
use crate::{Call, Code, Gateway, Refused};

/// Rows of a model.
#[derive(Debug, Clone, Serialize)]
pub struct Page {
    /// In the order asked for.
    pub rows: Vec<Row>,
    /// Whether there are more.
    pub has_more: bool,
    /// Where the next page begins. Missing at the end, and where no primary key is seen that a page could go on behind.
    pub next_cursor: Option<String>,
    /// All rows that the condition holds for, when that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_count: Option<i64>,
}

/// Figures over rows of a model.
#[derive(Debug, Clone, Serialize)]
pub struct AggregateAnswer {
    /// A row for each group.
    pub rows: Vec<Row>,
    /// Whether there are more groups.
    pub has_more: bool,
}

/// How statements of one request are run.
enum Runner<'r> {
    Alone,
    Together(&'r mut SourceTransaction),
}

impl Gateway {
    /// Rows of a model, and of others beside them.
    pub async fn query_model(
        &self,
        call: &Call,
        key: &str,
        model: &str,
        request: &Query,
    ) -> Result<Page, Refused> {
        call.log().set_action("query-model");
        let road = Road::open(self, call, key).await?;
        let model = road.models().named(model)?;
        call.log().set_model(model.name());
        inputs::note(call.log(), request);
        let bounds = road.bounds(model);
        road.within_complexity(model, complexity::of_query(model, request))?;
        let behind = cursor::read(&road, model.name(), request)?;
        let planned = query::page(model, request, bounds, behind.as_deref())?;
        let first = road.guard(&road.seat, &planned.statement, None).await?;
        // What belongs together is read as of one moment.
        let mut transaction = if planned.includes.is_empty() && planned.count.is_none() {
            None
        } else {
            Some(road.begin(Isolation::ReadOnly).await?)
        };
        let mut runner = transaction.as_mut().map_or(Runner::Alone, Runner::Together);
        let result = runner.run(&road, &first).await?;
        let mut fetched = rows::fetched(result, &planned.columns);
        let has_more = fetched.len() as u64 > planned.take;
        fetched.truncate(usize::try_from(planned.take).unwrap_or(usize::MAX));
        let next_cursor = match (&planned.cursor_at, fetched.last()) {
            (Some(at), Some(last)) if has_more => {
                let values = at.iter().map(|index| last.values.get(*index).map_or(Value::Null, rows::json));
                Some(cursor::make(&road, model.name(), request, &values.collect::<Vec<_>>()))
            }
            _ => None,
        };
        let total_count = match &planned.count {
            Some(count) => {
                let ready = road.guard(&road.seat, count, None).await?;
                Some(one_number(&runner.run(&road, &ready).await?.rows)?)
            }
            None => None,
        };
        include(&road, &mut runner, &planned.includes, &mut fetched, bounds).await?;
        if let Some(transaction) = transaction {
            transaction.roll_back().await?;
        }
        call.log().set_rows(fetched.len() as u64);
        let rows = fetched.into_iter().map(|fetched| fetched.row).collect();
        Ok(Page { rows, has_more, next_cursor, total_count })
    }

    /// The row of a primary key. A hidden row is answered like one that is not there.
    pub async fn get_model(
        &self,
        call: &Call,
        key: &str,
        model: &str,
        id: &Value,
        select: Option<&[String]>,
    ) -> Result<Row, Refused> {
        call.log().set_action("get-model");
        let road = Road::open(self, call, key).await?;
        let model = road.models().named(model)?;
        call.log().set_model(model.name());
        inputs::note(call.log(), &serde_json::json!({ "select": select }));
        let (statement, columns) = query::row(model, select, id, road.bounds(model))?;
        let ready = road.guard(&road.seat, &statement, None).await?;
        let result = road.run(&ready).await?;
        let found = rows::fetched(result, &columns).into_iter().next();
        call.log().set_rows(u64::from(found.is_some()));
        found.map(|fetched| fetched.row).ok_or_else(no_such_row)
    }

    /// Figures over rows of a model.
    pub async fn aggregate_model(
        &self,
        call: &Call,
        key: &str,
        model: &str,
        request: &Aggregate,
    ) -> Result<AggregateAnswer, Refused> {
        call.log().set_action("aggregate-model");
        let road = Road::open(self, call, key).await?;
        let model = road.models().named(model)?;
        call.log().set_model(model.name());
        inputs::note(call.log(), request);
        road.within_complexity(model, complexity::of_aggregate(request))?;
        let figures = aggregate::figures(model, request, road.bounds(model))?;
        let ready = road.guard(&road.seat, &figures.statement, None).await?;
        let mut rows = rows::named(&road.run(&ready).await?.rows, &figures.names);
        let has_more = rows.len() as u64 > figures.take;
        rows.truncate(usize::try_from(figures.take).unwrap_or(usize::MAX));
        call.log().set_rows(rows.len() as u64);
        Ok(AggregateAnswer { rows, has_more })
    }
}

/// The one answer for a row that is hidden or not there.
pub(super) fn no_such_row() -> Refused {
    Refused::not_found("row")
}

impl Runner<'_> {
    async fn run(&mut self, road: &Road<'_>, ready: &Ready) -> Result<ringfence_engine::ResultSet, Refused> {
        match self {
            Runner::Alone => road.run(ready).await,
            Runner::Together(transaction) => {
                road.within_cost_of(ready, transaction).await?;
                let ran = transaction.run(&ready.query, &ready.options).await;
                ran.map_err(|error| crate::queries::told(error, &ready.text))
            }
        }
    }
}

/// Puts the rows of other models beside the rows: one statement for each relation, level by level.
async fn include(
    road: &Road<'_>,
    runner: &mut Runner<'_>,
    includes: &[Included<'_>],
    parents: &mut [Fetched],
    bounds: Bounds,
) -> Result<(), Refused> {
    for included in includes {
        let keys = rows::distinct(parents, &included.here);
        let mut others = Vec::new();
        for keys in keys.chunks(included.most_keys()) {
            let statement = included.statement(keys, bounds.max_take)?;
            others.append(&mut fetch(road, runner, included, &statement).await?);
        }
        if others.len() as u64 > bounds.max_take {
            return Err(Refused::new(
                Code::BudgetExceeded,
                format!(
                    "\"{}\" includes more than {} rows (max_rows): ask for fewer rows, or give it a `take`",
                    included.way.name, bounds.max_take
                ),
            ));
        }
        Box::pin(include(road, runner, &included.includes, &mut others, bounds)).await?;
        attach(included, parents, &rows::grouped(others, &included.there));
    }
    Ok(())
}

async fn fetch(
    road: &Road<'_>,
    runner: &mut Runner<'_>,
    included: &Included<'_>,
    statement: &Statement,
) -> Result<Vec<Fetched>, Refused> {
    let ready = road.guard(&road.seat, statement, None).await?;
    Ok(rows::fetched(runner.run(road, &ready).await?, &included.columns))
}

fn attach(included: &Included<'_>, parents: &mut [Fetched], groups: &HashMap<String, Vec<Row>>) {
    for parent in parents {
        let key = rows::key(&parent.values, &included.here);
        // Several rows may have one key, so that each gets a copy.
        let own = key.and_then(|key| groups.get(&rows::text_of(&key)));
        let cell = if included.way.relation.many {
            Cell::Many(own.cloned().unwrap_or_default())
        } else {
            Cell::One(own.and_then(|rows| rows.first()).cloned().map(Box::new))
        };
        parent.row.0.push((included.way.name.to_owned(), cell));
    }
}

fn one_number(rows: &[Vec<SourceValue>]) -> Result<i64, Refused> {
    match rows.first().and_then(|row| row.first()) {
        Some(SourceValue::Integer(number)) => Ok(*number),
        _ => Err(Refused::internal(&"a count that is no number")),
    }
}
