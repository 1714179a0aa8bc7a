//! Types of columns: what Arrow calls them, and what statements, the catalog and loads do.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

/// The most digits of a decimal.
const MOST_DIGITS: u8 = 38;

/// The type in the words of SQL.
pub(crate) fn sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => "smallint".to_owned(),
        DataType::UInt16 | DataType::Int32 => "integer".to_owned(),
        DataType::UInt32 | DataType::Int64 => "bigint".to_owned(),
        DataType::UInt64 => "numeric(20,0)".to_owned(),
        DataType::Float16 | DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double precision".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => format!("numeric({precision},{scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "bytea".to_owned()
        }
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time".to_owned(),
        DataType::Timestamp(unit, zone) => {
            let digits = match unit {
                TimeUnit::Second => "(0)",
                TimeUnit::Millisecond => "(3)",
                TimeUnit::Microsecond => "",
                TimeUnit::Nanosecond => "(9)",
            };
            format!("timestamp{digits}{}", if zone.is_some() { " with time zone" } else { "" })
        }
        DataType::Interval(IntervalUnit::YearMonth | IntervalUnit::DayTime | IntervalUnit::MonthDayNano)
        | DataType::Duration(_) => "interval".to_owned(),
        DataType::Dictionary(_, values) => sql_type(values),
        DataType::RunEndEncoded(_, values) => sql_type(values.data_type()),
        other => other.to_string().to_lowercase(),
    }
}

/// What a loaded table keeps a column as; `None` for a type that has no form there.
pub(crate) fn kept_as(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Binary
        | DataType::Date32
        | DataType::Decimal128(..)
        | DataType::Time64(TimeUnit::Microsecond | TimeUnit::Nanosecond) => data_type.clone(),
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Decimal256(precision, scale) if *precision <= MOST_DIGITS => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Timestamp(unit, zone) => DataType::Timestamp(*unit, zone.as_ref().map(|_| utc())),
        DataType::Dictionary(_, values) => kept_as(values)?,
        _ => return None,
    })
}

/// The type that a load or a manifest names.
pub(crate) fn named(name: &str) -> Option<DataType> {
    let words = name.trim().to_ascii_lowercase();
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let timestamp = |unit, zoned: bool| DataType::Timestamp(unit, zoned.then(utc));
    Some(match words.as_str() {
        "boolean" | "bool" => DataType::Boolean,
        "smallint" | "int2" => DataType::Int16,
        "integer" | "int" | "int4" => DataType::Int32,
        "bigint" | "int8" | "long" => DataType::Int64,
        "real" | "float4" => DataType::Float32,
        "double precision" | "double" | "float" | "float8" => DataType::Float64,
        "text" | "varchar" | "string" | "character varying" => DataType::Utf8,
        "bytea" => DataType::Binary,
        "date" => DataType::Date32,
        "time" => DataType::Time64(TimeUnit::Microsecond),
        "timestamp" | "timestamp without time zone" => timestamp(TimeUnit::Microsecond, false),
        "timestamp(0)" => timestamp(TimeUnit::Second, false),
        "timestamp(3)" => timestamp(TimeUnit::Millisecond, false),
        "timestamp(9)" => timestamp(TimeUnit::Nanosecond, false),
        "timestamp with time zone" | "timestamptz" => timestamp(TimeUnit::Microsecond, true),
        "timestamp(0) with time zone" => timestamp(TimeUnit::Second, true),
        "timestamp(3) with time zone" => timestamp(TimeUnit::Millisecond, true),
        "timestamp(9) with time zone" => timestamp(TimeUnit::Nanosecond, true),
        other => return decimal(other),
    })
}

/// `numeric(10,2)`, `decimal(10)`.
fn decimal(words: &str) -> Option<DataType> {
    let inner = words.strip_prefix("numeric").or_else(|| words.strip_prefix("decimal"))?.trim();
    let inner = inner.strip_prefix('(')?.strip_suffix(')')?;
    let (precision, scale) = inner.split_once(',').unwrap_or((inner, "0"));
    let (precision, scale): (u8, i8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    let fits = (1..=MOST_DIGITS).contains(&precision) && u8::try_from(scale).is_ok_and(|s| s <= precision);
    fits.then_some(DataType::Decimal128(precision, scale))
}

fn utc() -> Arc<str> {
    Arc::from("+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_a_name_that_means_it() {
        let kept = [
            DataType::Boolean,
            DataType::Int16,
            DataType::Int32,
            DataType::Int64,
            DataType::Float32,
            DataType::Float64,
            DataType::Utf8,
            DataType::Binary,
            DataType::Date32,
            DataType::Decimal128(38, 10),
            DataType::Timestamp(TimeUnit::Second, None),
            DataType::Timestamp(TimeUnit::Millisecond, None),
            DataType::Timestamp(TimeUnit::Microsecond, Some(utc())),
            DataType::Timestamp(TimeUnit::Nanosecond, Some(utc())),
        ];
        for data_type in kept {
            assert_eq!(kept_as(&data_type), Some(data_type.clone()));
            assert_eq!(named(&sql_type(&data_type)), Some(data_type));
        }
        assert_eq!(kept_as(&DataType::UInt64), Some(DataType::Decimal128(20, 0)));
        for odd in ["", "numeric", "numeric(39,0)", "numeric(3,4)", "numeric(2,-1)", "list(text)", "json"] {
            assert_eq!(named(odd), None, "{odd}");
        }
    }
}
