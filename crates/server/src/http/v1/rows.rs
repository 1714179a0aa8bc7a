//! Rows as they go over the wire: CSV and NDJSON, one batch after the other, as fast as the client reads.

use std::collections::HashSet;
use std::io;

use axum::body::{Body, Bytes};
use futures::stream::try_unfold;
use ringfence_engine::{ResultColumn, Value};
use ringfence_gateway::queries::StreamedQuery;
use ringfence_gateway::{Call, Decision, Refused};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::json;

use super::negotiate::Representation;
use crate::http::problem::Problem;

type Batch = Vec<Vec<Value>>;

/// A body that pulls the next batch only when the client has taken the last one. The first batch is awaited here, so
/// that what fails at once is answered with a status of its own.
pub(crate) async fn stream_rows(
    mut query: StreamedQuery,
    form: Representation,
    call: Call,
) -> Result<Body, Problem> {
    let first = query.next().await?;
    let encoder = Encoder::new(form, query.columns());
    let begun = encoder.begin(first.as_ref()).map_err(|error| Refused::internal(&error))?;
    let state = Streaming { query, encoder, call, begun: Some(begun) };
    Ok(Body::from_stream(try_unfold(Some(state), |state| async {
        match state {
            Some(state) => state.step().await,
            None => Ok(None),
        }
    })))
}

struct Streaming {
    query: StreamedQuery,
    encoder: Encoder,
    /// Its record is finished with the last row; dropped before, it says that the client went away.
    call: Call,
    /// What was made before the body was asked for anything.
    begun: Option<Vec<u8>>,
}

/// A chunk and the state after it; `None` after the last.
type Step = Option<(Bytes, Option<Streaming>)>;

impl Streaming {
    async fn step(mut self) -> io::Result<Step> {
        if let Some(begun) = self.begun.take().filter(|bytes| !bytes.is_empty()) {
            return Ok(Some((begun.into(), Some(self))));
        }
        match self.query.next().await {
            Ok(Some(rows)) => Ok(Some((self.encoder.rows(&rows)?.into(), Some(self)))),
            Ok(None) => match self.call.log().finish(Decision::Allowed).await {
                Ok(()) => Ok(None),
                Err(refused) => self.break_off(refused),
            },
            Err(refused) => match self.call.log().finish(Decision::Refused(refused.code)).await {
                Ok(()) => self.break_off(refused),
                Err(unwritten) => self.break_off(unwritten),
            },
        }
    }

    /// The status has been sent: NDJSON has room for a last line, CSV can only stop short.
    fn break_off(&self, refused: Refused) -> io::Result<Step> {
        if self.encoder.form == Representation::Csv {
            return Err(io::Error::other(refused));
        }
        let problem = Problem::from(refused).traced(self.call.log().trace_id().as_str());
        let mut line = serde_json::to_vec(&json!({"error": problem.body()}))?;
        line.push(b'\n');
        Ok(Some((line.into(), None)))
    }
}

/// Writes batches in one of the streamed forms.
struct Encoder {
    form: Representation,
    names: Vec<String>,
}

impl Encoder {
    fn new(form: Representation, columns: &[ResultColumn]) -> Self {
        let names = columns.iter().map(|column| column.name.clone());
        let names = match form {
            Representation::Csv | Representation::Json => names.collect(),
            Representation::Ndjson => unique_names(names),
        };
        Self { form, names }
    }

    /// What stands before the rows, and the first of them.
    fn begin(&self, first: Option<&Batch>) -> io::Result<Vec<u8>> {
        let mut bytes = self.head()?;
        if let Some(rows) = first {
            bytes.extend(self.rows(rows)?);
        }
        Ok(bytes)
    }

    /// What stands before the rows.
    fn head(&self) -> io::Result<Vec<u8>> {
        match self.form {
            Representation::Csv if !self.names.is_empty() => csv_lines([&self.names]),
            _ => Ok(Vec::new()),
        }
    }

    fn rows(&self, rows: &Batch) -> io::Result<Vec<u8>> {
        if self.form == Representation::Csv {
            let fields: Vec<Vec<String>> =
                rows.iter().map(|row| row.iter().map(csv_field).collect()).collect();
            return csv_lines(&fields);
        }
        let mut lines = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut lines, &NamedRow { names: &self.names, row })?;
            lines.push(b'\n');
        }
        Ok(lines)
    }
}

/// A whole table, with a line of names.
pub(crate) fn csv_table(names: &Vec<String>, rows: &[impl AsRef<[Value]>]) -> io::Result<Vec<u8>> {
    let mut text = csv_lines([names])?;
    let fields: Vec<Vec<String>> =
        rows.iter().map(|row| row.as_ref().iter().map(csv_field).collect()).collect();
    text.extend(csv_lines(&fields)?);
    Ok(text)
}

fn csv_lines<'a>(records: impl IntoIterator<Item = &'a Vec<String>>) -> io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for record in records {
        writer.write_record(record)?;
    }
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

/// NULL is empty; text stands as it is; everything else in its JSON form.
fn csv_field(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(text) => text.clone(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

/// An object of a row, in the order of the columns.
struct NamedRow<'a> {
    names: &'a [String],
    row: &'a [Value],
}

impl Serialize for NamedRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.row.len()))?;
        for (name, value) in self.names.iter().zip(self.row) {
            object.serialize_entry(name, value)?;
        }
        object.end()
    }
}

/// Gives the later ones of equal names `_1`, `_2`, and so on, so that no value is lost. A made name gives way to a
/// column that really has it.
fn unique_names(names: impl Iterator<Item = String>) -> Vec<String> {
    let names: Vec<String> = names.collect();
    let real: HashSet<&String> = names.iter().collect();
    let mut given: HashSet<String> = HashSet::new();
    let mut unique = Vec::with_capacity(names.len());
    for name in &names {
        let mut candidate = name.clone();
        let mut number = 0_usize;
        while given.contains(&candidate) || (number > 0 && real.contains(&candidate)) {
            number += 1;
            candidate = format!("{name}_{number}");
        }
        given.insert(candidate.clone());
        unique.push(candidate);
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> ResultColumn {
        ResultColumn { name: name.to_owned(), type_name: "text".to_owned() }
    }

    fn encode(form: Representation, names: &[&str], rows: &Batch) -> String {
        let columns: Vec<_> = names.iter().map(|name| column(name)).collect();
        let encoder = Encoder::new(form, &columns);
        String::from_utf8(encoder.begin(Some(rows)).unwrap()).unwrap()
    }

    fn every_value() -> Batch {
        let raw = |text: &str| serde_json::value::RawValue::from_string(text.to_owned()).unwrap();
        vec![
            vec![Value::Null, Value::Bool(true), Value::Integer(i64::MAX), Value::Float(1.5)],
            vec![
                Value::Decimal(raw("12345678901234567890.10")),
                Value::Text("a \"b\",\r\nc".to_owned()),
                Value::Json(raw(r#"{"k":[1,null]}"#)),
                Value::Array(vec![Value::Integer(1), Value::Null]),
            ],
            vec![
                Value::Text("=1+1".to_owned()),
                Value::Text(String::new()),
                Value::Text("ü".to_owned()),
                Value::Null,
            ],
        ]
    }

    #[test]
    fn csv_quotes_what_must_be_and_alters_nothing() {
        assert_eq!(
            encode(Representation::Csv, &["a", "a", "c,d", ""], &every_value()),
            "a,a,\"c,d\",\r\n\
             ,true,9223372036854775807,1.5\r\n\
             12345678901234567890.10,\"a \"\"b\"\",\r\nc\",\"{\"\"k\"\":[1,null]}\",\"[1,null]\"\r\n\
             =1+1,,ü,\r\n"
        );
    }

    #[test]
    fn ndjson_keeps_every_value() {
        assert_eq!(
            encode(Representation::Ndjson, &["a", "a", "b", "a"], &every_value()),
            "{\"a\":null,\"a_1\":true,\"b\":9223372036854775807,\"a_2\":1.5}\n\
             {\"a\":12345678901234567890.10,\"a_1\":\"a \\\"b\\\",\\r\\nc\",\"b\":{\"k\":[1,null]},\"a_2\":[1,null]}\n\
             {\"a\":\"=1+1\",\"a_1\":\"\",\"b\":\"ü\",\"a_2\":null}\n"
        );
    }

    #[test]
    fn names_become_unique() {
        let cases: [(&[&str], &[&str]); 5] = [
            (&[], &[]),
            (&["a", "b"], &["a", "b"]),
            (&["a", "a", "a"], &["a", "a_1", "a_2"]),
            (&["a", "a_1", "a"], &["a", "a_1", "a_2"]),
            (&["a", "a", "a_1"], &["a", "a_2", "a_1"]),
        ];
        for (names, expected) in cases {
            assert_eq!(unique_names(names.iter().map(|&name| name.to_owned())), expected);
        }
    }

    #[test]
    fn a_statement_without_a_result_is_an_empty_body() {
        for form in [Representation::Csv, Representation::Ndjson] {
            assert_eq!(encode(form, &[], &Vec::new()), "");
        }
    }
}
