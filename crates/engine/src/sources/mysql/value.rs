//! Values of the binary protocol, and what columns are called.

use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::{Column, Value as Raw};

use crate::result::Row;
use crate::sources::postgres::{json, number};
use crate::value::{Value, float, hex};

/// The character set of bytes that are no text.
const BINARY: u16 = 63;

/// A row's values, and roughly what they take in memory.
pub(super) fn row(columns: &[Column], row: mysql_async::Row) -> (Row, u64) {
    let mut size = size_of::<Row>() + columns.len() * size_of::<Value>();
    let values = row.unwrap_raw().into_iter().zip(columns).map(|(raw, column)| {
        let Some(raw) = raw else { return Value::Null };
        if let Raw::Bytes(bytes) = &raw {
            size += bytes.len() * if is_binary(column) { 2 } else { 1 };
        }
        value(column, raw)
    });
    let values = values.collect();
    (values, size as u64)
}

/// The type's name in the database.
pub(super) fn type_name(column: &Column) -> &'static str {
    use ColumnType as T;
    let binary = is_binary(column);
    let flags = column.flags();
    if flags.contains(ColumnFlags::ENUM_FLAG) {
        return "enum";
    }
    if flags.contains(ColumnFlags::SET_FLAG) {
        return "set";
    }
    let unsigned = flags.contains(ColumnFlags::UNSIGNED_FLAG);
    match column.column_type() {
        T::MYSQL_TYPE_TINY if unsigned => "tinyint unsigned",
        T::MYSQL_TYPE_TINY => "tinyint",
        T::MYSQL_TYPE_SHORT if unsigned => "smallint unsigned",
        T::MYSQL_TYPE_SHORT => "smallint",
        T::MYSQL_TYPE_INT24 if unsigned => "mediumint unsigned",
        T::MYSQL_TYPE_INT24 => "mediumint",
        T::MYSQL_TYPE_LONG if unsigned => "int unsigned",
        T::MYSQL_TYPE_LONG => "int",
        T::MYSQL_TYPE_LONGLONG if unsigned => "bigint unsigned",
        T::MYSQL_TYPE_LONGLONG => "bigint",
        T::MYSQL_TYPE_FLOAT => "float",
        T::MYSQL_TYPE_DOUBLE => "double",
        T::MYSQL_TYPE_DECIMAL | T::MYSQL_TYPE_NEWDECIMAL => "decimal",
        T::MYSQL_TYPE_YEAR => "year",
        T::MYSQL_TYPE_DATE | T::MYSQL_TYPE_NEWDATE => "date",
        T::MYSQL_TYPE_DATETIME | T::MYSQL_TYPE_DATETIME2 => "datetime",
        T::MYSQL_TYPE_TIMESTAMP | T::MYSQL_TYPE_TIMESTAMP2 => "timestamp",
        T::MYSQL_TYPE_TIME | T::MYSQL_TYPE_TIME2 => "time",
        T::MYSQL_TYPE_BIT => "bit",
        T::MYSQL_TYPE_JSON => "json",
        T::MYSQL_TYPE_GEOMETRY => "geometry",
        T::MYSQL_TYPE_NULL => "null",
        T::MYSQL_TYPE_VARCHAR | T::MYSQL_TYPE_VAR_STRING if binary => "varbinary",
        T::MYSQL_TYPE_VARCHAR | T::MYSQL_TYPE_VAR_STRING => "varchar",
        T::MYSQL_TYPE_STRING if binary => "binary",
        T::MYSQL_TYPE_STRING => "char",
        _ if binary => "blob",
        _ => "text",
    }
}

fn value(column: &Column, raw: Raw) -> Value {
    match raw {
        Raw::NULL => Value::Null,
        Raw::Int(number) => Value::Integer(number),
        Raw::UInt(number) => {
            i64::try_from(number).map_or_else(|_| number::decimal(number.to_string()), Value::Integer)
        }
        Raw::Float(number) => number::float4(number),
        Raw::Double(number) => float(number),
        Raw::Date(year, month, day, hour, minute, second, micros) => {
            let date = format!("{year:04}-{month:02}-{day:02}");
            Value::Text(match column.column_type() {
                ColumnType::MYSQL_TYPE_DATE | ColumnType::MYSQL_TYPE_NEWDATE => date,
                _ => format!("{date}T{hour:02}:{minute:02}:{second:02}{}", fraction(micros)),
            })
        }
        Raw::Time(negative, days, hours, minutes, seconds, micros) => {
            let sign = if negative { "-" } else { "" };
            let hours = u64::from(days) * 24 + u64::from(hours);
            Value::Text(format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{}", fraction(micros)))
        }
        Raw::Bytes(bytes) => of_bytes(column, bytes),
    }
}

fn of_bytes(column: &Column, bytes: Vec<u8>) -> Value {
    match column.column_type() {
        ColumnType::MYSQL_TYPE_BIT if bytes.len() <= 8 => {
            let bits = bytes.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            i64::try_from(bits).map_or_else(|_| number::decimal(bits.to_string()), Value::Integer)
        }
        _ if is_binary(column) => Value::Text(hex(&bytes)),
        kind => {
            let text = String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
            match kind {
                ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL => number::decimal(text),
                ColumnType::MYSQL_TYPE_JSON => json(text),
                _ => Value::Text(text),
            }
        }
    }
}

/// Bytes that are no text. Numbers and dates carry the binary character set too, and JSON in `MySQL`.
fn is_binary(column: &Column) -> bool {
    use ColumnType as T;
    let kind = column.column_type();
    kind == T::MYSQL_TYPE_GEOMETRY
        || column.character_set() == BINARY
            && matches!(
                kind,
                T::MYSQL_TYPE_STRING
                    | T::MYSQL_TYPE_VAR_STRING
                    | T::MYSQL_TYPE_VARCHAR
                    | T::MYSQL_TYPE_TINY_BLOB
                    | T::MYSQL_TYPE_MEDIUM_BLOB
                    | T::MYSQL_TYPE_LONG_BLOB
                    | T::MYSQL_TYPE_BLOB
            )
}

/// `.5` of 500,000 microseconds, and nothing of none.
fn fraction(micros: u32) -> String {
    if micros == 0 {
        return String::new();
    }
    format!(".{micros:06}").trim_end_matches('0').to_owned()
}
