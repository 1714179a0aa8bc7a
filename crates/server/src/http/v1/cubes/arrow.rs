//! The answer of a cube as an Arrow IPC stream.
//!
//! Whole numbers are `int64`, decimals `decimal128` with the digits that they have, texts and everything that is written as one
//! `utf8`. A column whose values don't fit is `utf8`, so that no digit is lost.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringArray,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DECIMAL128_MAX_PRECISION, Field, Schema};
use ringfence_engine::Value;
use ringfence_gateway::models::FieldType;

/// A table of these columns.
pub(super) fn stream(
    columns: &[(String, FieldType)],
    rows: &[impl AsRef<[Value]>],
) -> Result<Vec<u8>, ArrowError> {
    let arrays: Vec<ArrayRef> = columns
        .iter()
        .enumerate()
        .map(|(at, (_, class))| {
            let values: Vec<&Value> =
                rows.iter().map(|row| row.as_ref().get(at).unwrap_or(&Value::Null)).collect();
            array(*class, &values)
        })
        .collect();
    let fields = columns.iter().zip(&arrays);
    let fields: Vec<Field> =
        fields.map(|((name, _), array)| Field::new(name, array.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    writer.write(&batch)?;
    writer.into_inner()
}

fn array(class: FieldType, values: &[&Value]) -> ArrayRef {
    let fitting = match class {
        FieldType::Integer => whole(values),
        FieldType::Decimal => decimals(values),
        FieldType::Float => floats(values),
        FieldType::Boolean => truths(values),
        _ => None,
    };
    fitting.unwrap_or_else(|| Arc::new(values.iter().map(|value| said(value)).collect::<StringArray>()))
}

/// Each value by `read`; `None` when one is no such value.
fn all<T>(values: &[&Value], read: impl Fn(&Value) -> Option<T>) -> Option<Vec<Option<T>>> {
    let each = values.iter().map(|value| match value {
        Value::Null => Some(None),
        value => read(value).map(Some),
    });
    each.collect()
}

fn whole(values: &[&Value]) -> Option<ArrayRef> {
    let read = |value: &Value| match value {
        Value::Integer(number) => Some(*number),
        Value::Decimal(text) => text.get().parse().ok(),
        _ => None,
    };
    Some(Arc::new(Int64Array::from(all(values, read)?)))
}

fn floats(values: &[&Value]) -> Option<ArrayRef> {
    let read = |value: &Value| match value {
        Value::Float(number) => Some(*number),
        #[expect(
            clippy::cast_precision_loss,
            reason = "the database itself computes with such numbers there"
        )]
        Value::Integer(number) => Some(*number as f64),
        Value::Decimal(text) => text.get().parse().ok(),
        _ => None,
    };
    Some(Arc::new(Float64Array::from(all(values, read)?)))
}

fn truths(values: &[&Value]) -> Option<ArrayRef> {
    let read = |value: &Value| match value {
        Value::Bool(truth) => Some(*truth),
        Value::Integer(number @ (0 | 1)) => Some(*number == 1),
        _ => None,
    };
    Some(Arc::new(BooleanArray::from(all(values, read)?)))
}

/// All with as many digits behind the point as the longest has.
fn decimals(values: &[&Value]) -> Option<ArrayRef> {
    let read = |value: &Value| match value {
        Value::Integer(number) => Some(number.to_string()),
        Value::Decimal(text) => Some(text.get().to_owned()),
        _ => None,
    };
    let texts = all(values, read)?;
    let behind = |text: &String| text.split_once('.').map_or(0, |(_, behind)| behind.len());
    let scale = texts.iter().flatten().map(behind).max().unwrap_or(0);
    let most = usize::from(DECIMAL128_MAX_PRECISION);
    let scaled = |text: &String| {
        let (before, behind) = text.split_once('.').unwrap_or((text, ""));
        let digits = before.trim_start_matches('-').len().saturating_add(scale);
        let zeros = "0".repeat(scale.saturating_sub(behind.len()));
        (digits <= most).then(|| format!("{before}{behind}{zeros}").parse::<i128>().ok()).flatten()
    };
    let numbers: Option<Vec<Option<i128>>> = texts
        .iter()
        .map(|text| match text {
            None => Some(None),
            Some(text) => scaled(text).map(Some),
        })
        .collect();
    let array = Decimal128Array::from(numbers?);
    let scale = i8::try_from(scale).ok()?;
    Some(Arc::new(array.with_precision_and_scale(DECIMAL128_MAX_PRECISION, scale).ok()?))
}

/// As text: what is no text in the form that JSON has for it.
fn said(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Text(text) => Some(text.clone()),
        other => serde_json::to_string(other).ok(),
    }
}

#[cfg(test)]
mod tests {
    use arrow_ipc::reader::StreamReader;
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn every_value_keeps_its_digits() {
        let decimal = |text: &str| Value::Decimal(RawValue::from_string(text.to_owned()).unwrap());
        let columns = [
            ("City", FieldType::Text),
            ("n", FieldType::Integer),
            ("exact", FieldType::Decimal),
            ("large", FieldType::Integer),
            ("ratio", FieldType::Float),
            ("open", FieldType::Boolean),
            ("day", FieldType::Time),
        ]
        .map(|(name, class)| (name.to_owned(), class));
        let large = "123456789012345678901234567890";
        let rows = vec![
            vec![
                Value::Text("Saint-Étienne".to_owned()),
                decimal("603"),
                decimal("-12.50"),
                decimal(large),
                Value::Float(0.5),
                Value::Integer(1),
                Value::Text("2026-01-02".to_owned()),
            ],
            vec![
                Value::Null,
                Value::Integer(-1),
                decimal("3.125"),
                Value::Null,
                decimal("0.25"),
                Value::Null,
                Value::Null,
            ],
        ];
        let stream = stream(&columns, &rows).unwrap();
        let batch = StreamReader::try_new(stream.as_slice(), None).unwrap().next().unwrap().unwrap();
        let types: Vec<String> =
            batch.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
        assert_eq!(types, ["Utf8", "Int64", "Decimal128(38, 3)", "Utf8", "Float64", "Boolean", "Utf8"]);
        let exact = batch.column(2).as_any().downcast_ref::<Decimal128Array>().unwrap();
        assert_eq!([exact.value(0), exact.value(1)], [-12_500, 3_125]);
        let kept = batch.column(3).as_any().downcast_ref::<StringArray>().unwrap();
        assert_eq!(kept.value(0), large);
        assert_eq!(batch.num_rows(), 2);
    }

    #[test]
    fn nothing_is_a_table_too() {
        let batch = stream(&[], &[Vec::new(), Vec::new()]).unwrap();
        let batch = StreamReader::try_new(batch.as_slice(), None).unwrap().next().unwrap().unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (2, 0));
    }
}
