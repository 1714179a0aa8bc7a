//! How values of a column are read: which PostgreSQL types we put into words ourselves.

use tokio_postgres::types::{Kind, Type};

/// How a type's values become [`crate::Value`]s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    /// Text, names, enums: the bytes are the text.
    Text,
    /// The one-byte type `"char"`.
    Byte,
    Date,
    Timestamp,
    Timestamptz,
    Time,
    Timetz,
    Interval,
    Json,
    Jsonb,
    Uuid,
    Bytea,
    Array(Box<Form>),
    /// Ranges, composites, addresses, extensions' types: the text form is PostgreSQL's to make.
    Foreign,
}

impl Form {
    pub(super) fn of(kind: &Type) -> Self {
        match *kind {
            Type::BOOL => Self::Bool,
            Type::INT2 => Self::Int2,
            Type::INT4 => Self::Int4,
            Type::INT8 => Self::Int8,
            Type::OID => Self::Oid,
            Type::FLOAT4 => Self::Float4,
            Type::FLOAT8 => Self::Float8,
            Type::NUMERIC => Self::Numeric,
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => Self::Text,
            Type::CHAR => Self::Byte,
            Type::DATE => Self::Date,
            Type::TIMESTAMP => Self::Timestamp,
            Type::TIMESTAMPTZ => Self::Timestamptz,
            Type::TIME => Self::Time,
            Type::TIMETZ => Self::Timetz,
            Type::INTERVAL => Self::Interval,
            Type::JSON => Self::Json,
            Type::JSONB => Self::Jsonb,
            Type::UUID => Self::Uuid,
            Type::BYTEA => Self::Bytea,
            // Their text is not an array's: `1 2 3`.
            Type::INT2_VECTOR | Type::OID_VECTOR => Self::Foreign,
            _ => Self::of_kind(kind.kind()),
        }
    }

    fn of_kind(kind: &Kind) -> Self {
        match kind {
            Kind::Enum(_) => Self::Text,
            Kind::Domain(base) => Self::of(base),
            Kind::Array(element) => match Self::of(element) {
                // An array inside an array is a domain over an array, which nests in PostgreSQL's text only.
                Self::Foreign | Self::Array(_) => Self::Foreign,
                element => Self::Array(Box::new(element)),
            },
            _ => Self::Foreign,
        }
    }

    pub(super) fn is_foreign(&self) -> bool {
        *self == Self::Foreign
    }
}
