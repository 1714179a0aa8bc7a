//! The rows of an answer.

use std::collections::HashMap;

use ringfence_engine::{ResultSet, Value as SourceValue};
use ringfence_semantic::query::Columns;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// A row: its fields by name, in the order asked for. Serializes to an object.
#[derive(Debug, Clone)]
pub struct Row(pub Vec<(String, Cell)>);

/// What stands at a name of a row.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// A field's value.
    Value(SourceValue),
    /// The row of a relation with one.
    One(Option<Box<Row>>),
    /// The rows of a relation with many.
    Many(Vec<Row>),
}

impl Row {
    /// The fields that are shown of it.
    pub(crate) fn pick(&self, shown: &Columns<'_>) -> Self {
        let wanted = shown.fields.iter().take(shown.shown);
        let cells = wanted.filter_map(|field| {
            let (name, cell) = self.0.iter().find(|(name, _)| name == field.name)?;
            Some((name.clone(), cell.clone()))
        });
        Self(cells.collect())
    }

    /// The value of a field, as a parameter.
    pub(crate) fn value(&self, name: &str) -> Option<Value> {
        self.0.iter().find(|(other, _)| other == name).and_then(|(_, cell)| match cell {
            Cell::Value(value) => Some(json(value)),
            Cell::One(_) | Cell::Many(_) => None,
        })
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, cell) in &self.0 {
            map.serialize_entry(name, cell)?;
        }
        map.end()
    }
}

/// A row that is shown, and the values beside it that are needed otherwise.
pub(crate) struct Fetched {
    pub(crate) row: Row,
    /// All values, in the statement's order.
    pub(crate) values: Vec<SourceValue>,
}

/// The rows of a result.
pub(crate) fn fetched(result: ResultSet, columns: &Columns<'_>) -> Vec<Fetched> {
    let shown: Vec<&str> = columns.fields.iter().take(columns.shown).map(|field| field.name).collect();
    let rows = result.rows.into_iter().map(|values| {
        let cells = shown.iter().zip(&values);
        let row = Row(cells.map(|(name, value)| ((*name).to_owned(), Cell::Value(value.clone()))).collect());
        Fetched { row, values }
    });
    rows.collect()
}

/// The same of rows whose columns are called like this.
pub(crate) fn named(rows: &[Vec<SourceValue>], names: &[String]) -> Vec<Row> {
    let rows = rows.iter();
    rows.map(|values| Row(names.iter().cloned().zip(values.iter().cloned().map(Cell::Value)).collect()))
        .collect()
}

/// A value as a parameter of another statement.
pub(crate) fn json(value: &SourceValue) -> Value {
    match value {
        SourceValue::Null => Value::Null,
        SourceValue::Bool(truth) => Value::Bool(*truth),
        SourceValue::Integer(number) => Value::from(*number),
        SourceValue::Float(number) => Value::from(*number),
        // Text keeps all digits.
        SourceValue::Decimal(text) => Value::String(text.get().to_owned()),
        SourceValue::Text(text) => Value::String(text.clone()),
        SourceValue::Json(document) => Value::String(document.get().to_owned()),
        SourceValue::Array(items) => Value::Array(items.iter().map(json).collect()),
    }
}

/// The joining values of a row; `None` when one is null, which joins nothing.
pub(crate) fn key(values: &[SourceValue], at: &[usize]) -> Option<Vec<Value>> {
    let part = |index: &usize| match values.get(*index)? {
        SourceValue::Null => None,
        SourceValue::Decimal(text) => Some(Value::String(plain_number(text.get()))),
        SourceValue::Float(number) => Some(Value::String(plain_number(&format!("{number:?}")))),
        other => Some(json(other)),
    };
    at.iter().map(part).collect()
}

/// Keys, each once, in the order of their rows.
pub(crate) fn distinct(rows: &[Fetched], at: &[usize]) -> Vec<Vec<Value>> {
    let mut seen = std::collections::HashSet::new();
    let keys = rows.iter().filter_map(|row| key(&row.values, at));
    keys.filter(|key| seen.insert(text_of(key))).collect()
}

/// Rows by their keys.
pub(crate) fn grouped(rows: Vec<Fetched>, at: &[usize]) -> HashMap<String, Vec<Row>> {
    let mut groups: HashMap<String, Vec<Row>> = HashMap::new();
    for fetched in rows {
        if let Some(key) = key(&fetched.values, at) {
            groups.entry(text_of(&key)).or_default().push(fetched.row);
        }
    }
    groups
}

/// What tells keys apart. Numbers were brought into one form by [`key`].
pub(crate) fn text_of(key: &[Value]) -> String {
    Value::from(key.iter().map(said).collect::<Vec<_>>()).to_string()
}

/// As text: what is a number in one table may be a text of the same digits in the other.
fn said(part: &Value) -> String {
    match part {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// 5.00 and 5.0 are 5; a text stays as it is.
fn plain_number(text: &str) -> String {
    let is_plain = text.contains('.') && !text.contains(['e', 'E']);
    let text = if is_plain { text.trim_end_matches('0').trim_end_matches('.') } else { text };
    text.to_owned()
}
