//! Arrow's columns as rows of values.

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, GenericListArray, OffsetSizeTrait,
    RecordBatch,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use ringfence_engine::Value;
use ringfence_engine::value::{decimal, float, float4, hex};
use serde_json::value::RawValue;

/// A batch whose cells can be read one by one.
pub(crate) struct Cells {
    columns: Vec<ArrayRef>,
    rows: usize,
}

impl Cells {
    /// Takes encodings off that only save room.
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let plain = |column: &ArrayRef| match column.data_type() {
            DataType::Dictionary(_, values) => cast(column, values),
            DataType::RunEndEncoded(_, values) => cast(column, values.data_type()),
            DataType::LargeUtf8 | DataType::Utf8View => cast(column, &DataType::Utf8),
            DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                cast(column, &DataType::Binary)
            }
            DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
                cast(column, &DataType::Decimal128(*precision, *scale))
            }
            _ => Ok(ArrayRef::clone(column)),
        };
        let columns = batch.columns().iter().map(plain).collect::<Result<_, _>>()?;
        Ok(Self { columns, rows: batch.num_rows() })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// A row's values, and roughly what they take in memory.
    pub(crate) fn row(&self, row: usize) -> Result<(Vec<Value>, u64), ArrowError> {
        let mut size = size_of::<Vec<Value>>() + self.columns.len() * size_of::<Value>();
        let mut values = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let value = value(column, row)?;
            size += weight(&value);
            values.push(value);
        }
        Ok((values, size as u64))
    }
}

fn weight(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Decimal(raw) | Value::Json(raw) => raw.get().len(),
        Value::Array(items) => items.iter().map(|item| size_of::<Value>() + weight(item)).sum(),
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => 0,
    }
}

fn value(column: &ArrayRef, row: usize) -> Result<Value, ArrowError> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
        DataType::Int8 => Value::Integer(column.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => Value::Integer(column.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Value::Integer(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Integer(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => Value::Integer(column.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => Value::Integer(column.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => Value::Integer(column.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => {
            let number = column.as_primitive::<UInt64Type>().value(row);
            i64::try_from(number).map_or_else(|_| decimal(number.to_string()), Value::Integer)
        }
        DataType::Float16 => float4(column.as_primitive::<Float16Type>().value(row).to_f32()),
        DataType::Float32 => float4(column.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => {
            let numbers: &Decimal128Array = column.as_primitive();
            decimal(numbers.value_as_string(row))
        }
        DataType::Decimal256(..) => {
            let numbers: &Decimal256Array = column.as_primitive();
            decimal(numbers.value_as_string(row))
        }
        DataType::Utf8 => Value::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => Value::Text(hex(column.as_binary::<i32>().value(row))),
        DataType::List(_) => items(column.as_list::<i32>(), row)?,
        DataType::LargeList(_) => items(column.as_list::<i64>(), row)?,
        DataType::FixedSizeList(..) => list(&column.as_fixed_size_list().value(row))?,
        DataType::Struct(_) | DataType::Map(..) => document(column, row)?,
        _ => Value::Text(formatted(column, row)?),
    })
}

fn items<Offset: OffsetSizeTrait>(lists: &GenericListArray<Offset>, row: usize) -> Result<Value, ArrowError> {
    list(&lists.value(row))
}

fn list(items: &ArrayRef) -> Result<Value, ArrowError> {
    // What is in a list may be encoded like a column.
    let plain = match items.data_type() {
        DataType::Dictionary(_, values) => cast(items, values)?,
        DataType::LargeUtf8 | DataType::Utf8View => cast(items, &DataType::Utf8)?,
        _ => ArrayRef::clone(items),
    };
    (0..plain.len()).map(|index| value(&plain, index)).collect::<Result<_, _>>().map(Value::Array)
}

/// A row of a struct as a JSON document.
fn document(column: &ArrayRef, row: usize) -> Result<Value, ArrowError> {
    let DataType::Struct(fields) = column.data_type() else {
        return Ok(Value::Text(formatted(column, row)?));
    };
    let mut members = serde_json::Map::new();
    for (field, member) in fields.iter().zip(column.as_struct().columns()) {
        let member = value(&list_item(member)?, row)?;
        members.insert(field.name().clone(), serde_json::to_value(member).unwrap_or_default());
    }
    let text = serde_json::Value::Object(members).to_string();
    Ok(RawValue::from_string(text).map_or(Value::Null, Value::Json))
}

fn list_item(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Dictionary(_, values) => cast(column, values),
        DataType::LargeUtf8 | DataType::Utf8View => cast(column, &DataType::Utf8),
        _ => Ok(ArrayRef::clone(column)),
    }
}

/// Dates and times in ISO 8601, as the other sources have them; intervals and what else there is in Arrow's words.
fn formatted(column: &ArrayRef, row: usize) -> Result<String, ArrowError> {
    let formatter = ArrayFormatter::try_new(column, &FormatOptions::default())?;
    let mut text = formatter.value(row).try_to_string()?;
    if matches!(column.data_type(), DataType::Timestamp(_, Some(_))) && text.ends_with('Z') {
        text.pop();
        text.push_str("+00:00");
    }
    Ok(text)
}
