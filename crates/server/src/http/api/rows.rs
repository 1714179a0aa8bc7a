//! Rows as the SDK reads them: objects, written straight from the engine's values into the answer's buffer.

use std::collections::{HashMap, HashSet};

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ringfence_engine::{ResultColumn, ResultSet, Value};
use ringfence_gateway::Refused;
use ringfence_gateway::catalog::shown_name;
use ringfence_gateway::queries::QueryOutcome;
use serde::ser::{SerializeMap, SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};

use super::ApiRefused;

/// Columns up to which names are compared with each other; beyond, a set finds equal ones sooner.
const FEW_COLUMNS: usize = 16;
/// What is set aside for an answer before its length is known: that of a few rows.
const FIRST_ALLOCATION: usize = 1024;

/// A query's result. Building a tree of JSON values first would cost several times what writing costs.
pub(super) struct ShownResult(pub(super) QueryOutcome);

impl IntoResponse for ShownResult {
    fn into_response(self) -> Response {
        let mut body = Vec::with_capacity(FIRST_ALLOCATION);
        match serde_json::to_writer(&mut body, &self) {
            Ok(()) => {
                ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
            }
            Err(error) => ApiRefused::from(Refused::internal(&error)).into_response(),
        }
    }
}

impl Serialize for ShownResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ResultSet { columns, rows, more_rows, .. } = &*self.0.result;
        let names = shown_columns(columns);
        let mut reply = serializer.serialize_struct("Result", 4)?;
        reply.serialize_field("rows", &ShownRows { names: &names, rows })?;
        reply.serialize_field("more_rows", more_rows)?;
        reply.serialize_field("column_definitions", &ShownDefinitions { names: &names, columns })?;
        reply.serialize_field("query_uuid", self.0.id.as_str())?;
        reply.end()
    }
}

/// How a result's columns are called: in upper case, unless a name has an upper-case letter of its own, and each
/// differently, because the names are keys of an object: later ones of equal names get `_1`, `_2`.
pub(super) fn shown_columns(columns: &[ResultColumn]) -> Vec<String> {
    let wanted: Vec<String> = columns.iter().map(|column| shown_name(&column.name)).collect();
    let differ = |(place, name): (usize, &String)| !wanted.iter().skip(place + 1).any(|other| other == name);
    if wanted.len() <= FEW_COLUMNS && wanted.iter().enumerate().all(differ) {
        return wanted;
    }
    // A made-up name must not push out a column that is really called so.
    let mut taken: HashSet<String> = wanted.iter().cloned().collect();
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(wanted.len());
    let mut shown = Vec::with_capacity(wanted.len());
    for name in &wanted {
        let uses = seen.entry(name).or_default();
        let mut candidate = name.clone();
        while *uses > 0 && !taken.insert(candidate.clone()) {
            candidate = format!("{name}_{uses}");
            *uses += 1;
        }
        *uses = (*uses).max(1);
        shown.push(candidate);
    }
    shown
}

struct ShownDefinitions<'a> {
    names: &'a [String],
    columns: &'a [ResultColumn],
}

/// A column as catalogs show it; of a result's columns no more is known.
#[derive(Serialize)]
struct ShownDefinition<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    type_name: &'a str,
    comment: (),
    description: (),
    sample_values: (),
}

impl Serialize for ShownDefinitions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names.iter().zip(self.columns).map(|(name, column)| ShownDefinition {
            name,
            type_name: &column.type_name,
            comment: (),
            description: (),
            sample_values: (),
        }))
    }
}

struct ShownRows<'a> {
    names: &'a [String],
    rows: &'a [Vec<Value>],
}

impl Serialize for ShownRows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.rows.len()))?;
        for row in self.rows {
            list.serialize_element(&ShownRow { names: self.names, row })?;
        }
        list.end()
    }
}

struct ShownRow<'a> {
    names: &'a [String],
    row: &'a [Value],
}

impl Serialize for ShownRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.row.len()))?;
        for (name, value) in self.names.iter().zip(self.row) {
            object.serialize_entry(name, value)?;
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringfence_policy::QueryId;

    use super::*;

    fn columns(names: &[&str]) -> Vec<ResultColumn> {
        names
            .iter()
            .map(|name| ResultColumn { name: (*name).to_owned(), type_name: "int8".to_owned() })
            .collect()
    }

    #[test]
    fn columns_are_shown_in_upper_case_and_apart() {
        let cases: [(&[&str], &[&str]); 8] = [
            (&["current_database"], &["CURRENT_DATABASE"]),
            (&["?column?", "a b", ""], &["?COLUMN?", "A B", ""]),
            (&["MixedCase", "total_users"], &["MixedCase", "TOTAL_USERS"]),
            (&["a", "a", "a"], &["A", "A_1", "A_2"]),
            (&["a", "A"], &["A", "A_1"]),
            (&["a", "a", "a_1"], &["A", "A_2", "A_1"]),
            (&["a", "a_1", "a_1", "a"], &["A", "A_1", "A_1_1", "A_2"]),
            (
                &["stra\u{df}e", "\u{e9}t\u{e9}", "\u{c9}t\u{e9}"],
                &["STRA\u{df}E", "\u{e9}T\u{e9}", "\u{c9}t\u{e9}"],
            ),
        ];
        for (names, shown) in cases {
            assert_eq!(shown_columns(&columns(names)), shown, "{names:?}");
        }
    }

    #[test]
    fn a_result_is_written_as_the_sdk_reads_it() {
        let result = ResultSet {
            columns: columns(&["n", "n"]),
            rows: vec![
                vec![Value::Integer(i64::MAX), Value::Null],
                vec![Value::Text("\u{1}\"".to_owned()), Value::Array(vec![Value::Bool(true), Value::Null])],
            ],
            more_rows: 3,
            affected: None,
        };
        let outcome = QueryOutcome { id: QueryId::new("q-1").unwrap(), result: Arc::new(result) };
        let column = |name: &str| {
            format!(
                r#"{{"name":"{name}","type":"int8","comment":null,"description":null,"sample_values":null}}"#
            )
        };
        assert_eq!(
            serde_json::to_string(&ShownResult(outcome)).unwrap(),
            format!(
                r#"{{"rows":[{{"N":9223372036854775807,"N_1":null}},{{"N":"\u0001\"","N_1":[true,null]}}],"more_rows":3,"column_definitions":[{},{}],"query_uuid":"q-1"}}"#,
                column("N"),
                column("N_1")
            )
        );
    }
}
