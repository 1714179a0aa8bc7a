//! Values of requests, held against the type of the field that they are for.

use ringfence_policy::ConnectionKind;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// What kind of values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// Whole numbers.
    Integer,
    /// Decimal numbers, exact; texts of digits are taken too, as JSON's numbers are not exact everywhere.
    Decimal,
    /// Floating-point numbers.
    Float,
    /// Texts.
    Text,
    /// True and false.
    Boolean,
    /// Dates and times, as texts in the form that the database reads (ISO 8601).
    Time,
    /// UUIDs, as texts.
    Uuid,
    /// JSON documents.
    Json,
    /// Bytes, as texts in the form that the database reads.
    Bytes,
    /// Arrays.
    Array,
    /// Everything else, as texts in the form that the database reads.
    Other,
}

/// The type of a column that was declared like this.
pub fn field_type(kind: ConnectionKind, declared: &str) -> FieldType {
    let declared = declared.to_ascii_lowercase();
    if kind == ConnectionKind::Sqlite {
        return sqlite_type(&declared);
    }
    if declared.ends_with("[]") || declared == "array" {
        return FieldType::Array;
    }
    if declared == "tinyint(1)" {
        return FieldType::Boolean;
    }
    let word = declared.split(['(', ' ']).next().unwrap_or_default();
    match word {
        "smallint" | "integer" | "bigint" | "int" | "int2" | "int4" | "int8" | "tinyint" | "mediumint"
        | "year" | "serial" | "bigserial" => FieldType::Integer,
        "numeric" | "decimal" | "dec" => FieldType::Decimal,
        "real" | "double" | "float" | "float4" | "float8" => FieldType::Float,
        "text" | "character" | "varchar" | "char" | "bpchar" | "citext" | "name" | "tinytext"
        | "mediumtext" | "longtext" | "enum" | "set" => FieldType::Text,
        "boolean" | "bool" => FieldType::Boolean,
        "date" | "time" | "timestamp" | "timestamptz" | "timetz" | "interval" | "datetime" => FieldType::Time,
        "uuid" => FieldType::Uuid,
        "json" | "jsonb" => FieldType::Json,
        "bytea" | "blob" | "tinyblob" | "mediumblob" | "longblob" | "binary" | "varbinary" | "bit" => {
            FieldType::Bytes
        }
        _ => FieldType::Other,
    }
}

/// A declared type is free text there; the words that decide how values are stored come first (datatype3, section 3.1).
fn sqlite_type(declared: &str) -> FieldType {
    let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    if has(&["bool"]) {
        FieldType::Boolean
    } else if has(&["date", "time"]) {
        FieldType::Time
    } else if has(&["uuid"]) {
        FieldType::Uuid
    } else if has(&["json"]) {
        FieldType::Json
    } else if has(&["int"]) {
        FieldType::Integer
    } else if has(&["char", "clob", "text"]) {
        FieldType::Text
    } else if has(&["blob"]) {
        FieldType::Bytes
    } else if has(&["real", "floa", "doub"]) {
        FieldType::Float
    } else if has(&["dec", "num"]) {
        FieldType::Decimal
    } else {
        FieldType::Other
    }
}

impl FieldType {
    /// Whether values have an order that conditions may ask for.
    pub fn is_ordered(self) -> bool {
        !matches!(self, Self::Json | Self::Array | Self::Bytes)
    }

    /// Whether values can be compared at all.
    pub fn is_comparable(self) -> bool {
        self != Self::Json
    }

    /// Whether values can be added up.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Decimal | Self::Float)
    }

    /// In the words of messages.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Integer => "a whole number",
            Self::Decimal | Self::Float => "a number",
            Self::Text => "a text",
            Self::Boolean => "true or false",
            Self::Time => "a date or time as a text",
            Self::Uuid => "a UUID as a text",
            Self::Json => "a JSON value",
            Self::Bytes => "bytes as a text",
            Self::Array => "a list",
            Self::Other => "a text or a number",
        }
    }

    /// The value as a parameter; `None` when it is not of the type. Null is for whoever asks to take or refuse.
    pub(crate) fn parameter(self, kind: ConnectionKind, value: &Value) -> Option<Value> {
        match (self, value) {
            (_, Value::Null) => Some(Value::Null),
            (Self::Integer, Value::Number(number)) if !number.is_f64() => Some(value.clone()),
            (Self::Integer, Value::String(text)) => is_integer(text).then(|| value.clone()),
            (Self::Decimal | Self::Float | Self::Other, Value::Number(_)) => Some(value.clone()),
            (Self::Decimal | Self::Float, Value::String(text)) => {
                text.parse::<f64>().is_ok_and(f64::is_finite).then(|| value.clone())
            }
            (Self::Text | Self::Time | Self::Uuid | Self::Bytes | Self::Other, Value::String(_)) => {
                Some(value.clone())
            }
            // SQLite keeps times as numbers, too.
            (Self::Time, Value::Number(_)) if kind == ConnectionKind::Sqlite => Some(value.clone()),
            (Self::Boolean | Self::Other, Value::Bool(truth)) => Some(match kind {
                ConnectionKind::Postgresql | ConnectionKind::Lake | ConnectionKind::Push => value.clone(),
                ConnectionKind::Sqlite | ConnectionKind::Mysql => Value::from(i64::from(*truth)),
            }),
            (Self::Boolean, Value::Number(number))
                if kind != ConnectionKind::Postgresql && matches!(number.as_u64(), Some(0 | 1)) =>
            {
                Some(value.clone())
            }
            (Self::Json, document) => Some(Value::String(document.to_string())),
            (Self::Array, Value::Array(items)) if kind == ConnectionKind::Postgresql => {
                items.iter().all(is_item).then(|| value.clone())
            }
            _ => None,
        }
    }
}

/// What may stand in an array: no documents, which the driver could not tell from arrays.
fn is_item(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(is_item),
        Value::Object(_) => false,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn is_integer(text: &str) -> bool {
    text.parse::<i128>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn declared_types_are_known() {
        use ConnectionKind::{Mysql, Postgresql, Sqlite};
        for (kind, declared, expected) in [
            (Postgresql, "integer", FieldType::Integer),
            (Postgresql, "numeric(10,2)", FieldType::Decimal),
            (Postgresql, "double precision", FieldType::Float),
            (Postgresql, "character varying(20)", FieldType::Text),
            (Postgresql, "timestamp with time zone", FieldType::Time),
            (Postgresql, "text[]", FieldType::Array),
            (Postgresql, "public.mood", FieldType::Other),
            (Sqlite, "VARCHAR(20)", FieldType::Text),
            (Sqlite, "BIGINT", FieldType::Integer),
            (Sqlite, "BOOLEAN", FieldType::Boolean),
            (Sqlite, "DECIMAL(10,2)", FieldType::Decimal),
            (Sqlite, "", FieldType::Other),
            (Mysql, "tinyint(1)", FieldType::Boolean),
            (Mysql, "int(11)", FieldType::Integer),
            (Mysql, "bigint unsigned", FieldType::Integer),
        ] {
            assert_eq!(field_type(kind, declared), expected, "{declared}");
        }
    }

    #[test]
    fn values_are_of_the_type_or_refused() {
        let take = |class: FieldType, value: Value| class.parameter(ConnectionKind::Sqlite, &value);
        assert_eq!(take(FieldType::Integer, json!(5)), Some(json!(5)));
        assert_eq!(take(FieldType::Integer, json!("-12")), Some(json!("-12")));
        assert_eq!(take(FieldType::Boolean, json!(true)), Some(json!(1)));
        assert_eq!(take(FieldType::Json, json!({"a": 1})), Some(json!("{\"a\":1}")));
        for (class, value) in [
            (FieldType::Integer, json!(5.5)),
            (FieldType::Integer, json!("5; DROP")),
            (FieldType::Decimal, json!("NaN")),
            (FieldType::Text, json!(5)),
            (FieldType::Text, json!({"a": 1})),
            (FieldType::Boolean, json!("true")),
            (FieldType::Array, json!([1])),
        ] {
            assert_eq!(take(class, value.clone()), None, "{class:?} {value}");
        }
    }
}
