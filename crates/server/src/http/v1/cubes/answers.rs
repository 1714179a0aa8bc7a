//! The forms that the answer of a cube can take.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ringfence_engine::Value;
use ringfence_gateway::Refused;
use ringfence_gateway::cubes::{CubeAnswer, LevelColumn, MeasureColumn};
use ringfence_gateway::models::FieldType;
use serde::Serialize;
use utoipa::ToSchema;

use super::arrow;
use crate::http::problem::Problem;
use crate::http::v1::rows::csv_table;

const CELL_SET: &str = "application/vnd.ringfence.cellset+json";
const ARROW: &str = "application/vnd.apache.arrow.stream";

/// The forms of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CubeForm {
    Rows,
    CellSet,
    Csv,
    Arrow,
}

impl CubeForm {
    /// In the order of preference for a client that has none.
    pub(crate) const OFFERED: [(Self, &'static str); 4] = [
        (Self::Rows, "application/json"),
        (Self::CellSet, CELL_SET),
        (Self::Csv, "text/csv"),
        (Self::Arrow, ARROW),
    ];
}

/// The answer of a cube as rows.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "levels": [{"name": "City", "hierarchy": "City", "type": "text"}],
    "measures": [{"name": "Quantity.SUM", "type": "integer", "format": null}],
    "rows": [[null, 603], ["Paris", 603]],
    "grouping": [0, 1],
    "has_more": false,
}))]
pub(crate) struct CubeRows<'a> {
    /// The first values of each row.
    levels: Vec<AnswerLevel>,
    /// The values behind them.
    measures: Vec<AnswerMeasure>,
    /// Members, then values.
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    rows: Vec<&'a [Value]>,
    /// With totals: by how many levels each row is grouped. Where it is fewer than all, the row is a total, and the members
    /// that it has none of are null.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    grouping: Option<Vec<usize>>,
    /// Whether there are more rows than `limit`.
    has_more: bool,
}

/// A level of an answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnswerLevel {
    name: String,
    hierarchy: String,
    /// What kind of values its members are.
    #[serde(rename = "type")]
    class: FieldType,
}

/// A measure of an answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnswerMeasure {
    name: String,
    /// What kind of values it has.
    #[serde(rename = "type")]
    class: FieldType,
    /// How it is shown, such as `0.00`.
    format: Option<String>,
}

/// The answer of a cube as axes and cells.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "axes": [
        {"levels": [{"name": "City", "hierarchy": "City", "type": "text"}], "positions": [[], ["Paris"]]},
        {"measures": [{"name": "Quantity.SUM", "type": "integer", "format": null}], "positions": [["Quantity.SUM"]]},
    ],
    "cells": [[603], [603]],
    "has_more": false,
}))]
pub(crate) struct CellSet<'a> {
    /// Rows, then columns.
    #[schema(value_type = Vec<Object>)]
    axes: (RowAxis<'a>, ColumnAxis),
    /// For each position of the first axis a value for each of the second.
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    cells: Vec<&'a [Value]>,
    /// Whether there are more rows than `limit`.
    has_more: bool,
}

#[derive(Serialize)]
struct RowAxis<'a> {
    levels: Vec<AnswerLevel>,
    /// The members of each row; a total has those of the levels that it is grouped by.
    positions: Vec<&'a [Value]>,
}

#[derive(Serialize)]
struct ColumnAxis {
    measures: Vec<AnswerMeasure>,
    positions: Vec<[String; 1]>,
}

/// The answer in that form.
pub(super) fn respond(answer: &CubeAnswer, form: CubeForm) -> Result<Response, Problem> {
    let varied: [(HeaderName, HeaderValue); 1] = [(header::VARY, HeaderValue::from_static("accept"))];
    match form {
        CubeForm::Rows => Ok((varied, Json(CubeRows::from(answer))).into_response()),
        CubeForm::CellSet => {
            let named = [(header::CONTENT_TYPE, CELL_SET)];
            Ok((varied, named, Json(CellSet::from(answer))).into_response())
        }
        CubeForm::Csv => {
            let (columns, rows) = table(answer);
            let names = columns.into_iter().map(|(name, _)| name).collect();
            let text = csv_table(&names, &rows).map_err(|error| Refused::internal(&error))?;
            Ok((varied, [(header::CONTENT_TYPE, "text/csv")], text).into_response())
        }
        CubeForm::Arrow => {
            let (columns, rows) = table(answer);
            let stream = arrow::stream(&columns, &rows).map_err(|error| Refused::internal(&error))?;
            Ok((varied, [(header::CONTENT_TYPE, ARROW)], stream).into_response())
        }
    }
}

/// The answer as one table; where there are totals, the last column says which rows they are.
fn table(answer: &CubeAnswer) -> (Vec<(String, FieldType)>, Vec<&[Value]>) {
    let levels = answer.levels.iter().map(|level| (level.name.clone(), level.class));
    let measures = answer.measures.iter().map(|measure| (measure.name.clone(), measure.class));
    let mut columns: Vec<(String, FieldType)> = levels.chain(measures).collect();
    if answer.has_totals {
        columns.push(("grouping".to_owned(), FieldType::Integer));
        return (columns, answer.rows_with_grouping().collect());
    }
    (columns, answer.rows().map(|row| row.values).collect())
}

impl<'a> From<&'a CubeAnswer> for CubeRows<'a> {
    fn from(answer: &'a CubeAnswer) -> Self {
        Self {
            levels: answer.levels.iter().map(AnswerLevel::from).collect(),
            measures: answer.measures.iter().map(AnswerMeasure::from).collect(),
            rows: answer.rows().map(|row| row.values).collect(),
            grouping: answer.has_totals.then(|| answer.rows().map(|row| row.grouping).collect()),
            has_more: answer.has_more,
        }
    }
}

impl<'a> From<&'a CubeAnswer> for CellSet<'a> {
    fn from(answer: &'a CubeAnswer) -> Self {
        let CubeAnswer { levels, measures, has_more, .. } = answer;
        let (mut positions, mut cells) = (Vec::new(), Vec::new());
        for row in answer.rows() {
            let (members, values) = row.values.split_at(levels.len().min(row.values.len()));
            positions.push(&members[..row.grouping.min(members.len())]);
            cells.push(values);
        }
        let names = measures.iter().map(|measure| [measure.name.clone()]).collect();
        let rows = RowAxis { levels: levels.iter().map(AnswerLevel::from).collect(), positions };
        let measures = measures.iter().map(AnswerMeasure::from).collect();
        Self { axes: (rows, ColumnAxis { measures, positions: names }), cells, has_more: *has_more }
    }
}

impl From<&LevelColumn> for AnswerLevel {
    fn from(level: &LevelColumn) -> Self {
        let LevelColumn { name, hierarchy, class } = level.clone();
        Self { name, hierarchy, class }
    }
}

impl From<&MeasureColumn> for AnswerMeasure {
    fn from(measure: &MeasureColumn) -> Self {
        let MeasureColumn { name, class, format } = measure.clone();
        Self { name, class, format }
    }
}
