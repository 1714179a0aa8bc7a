//! Values, rows and errors as `PostgreSQL` sends them.

use bytes::BytesMut;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::{Failure, Row, Value};

pub(super) fn parameters(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

impl ToSql for Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(integer) => integer.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Blob(blob) => blob.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        [Type::INT8, Type::TEXT, Type::BYTEA].contains(ty)
    }

    to_sql_checked!();
}

impl std::fmt::Debug for Value {
    /// A value may be a secret; only its kind is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Integer(_) => "integer",
            Self::Text(_) => "text",
            Self::Blob(_) => "blob",
        })
    }
}

pub(super) fn row(row: &tokio_postgres::Row) -> Result<Row, Failure> {
    let read = |(index, column): (usize, &tokio_postgres::Column)| match *column.type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(index).map(Value::from),
        Type::INT4 => row.try_get::<_, Option<i32>>(index).map(|value| Value::from(value.map(i64::from))),
        Type::TEXT => row.try_get::<_, Option<String>>(index).map(Value::from),
        Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(index).map(Value::from),
        // The result of a function that returns nothing, such as pg_notify.
        _ => Ok(Value::Null),
    };
    let values = row.columns().iter().enumerate().map(read).collect::<Result<_, _>>();
    values.map(Row).map_err(|_| Failure::Corrupt("a column does not have the type it should have".to_owned()))
}

/// Maps an error. Of the server's own words only the SQLSTATE is told: they may name addresses, users and values.
pub(super) fn failure(error: &tokio_postgres::Error) -> Failure {
    let unavailable = |why: &str| Failure::Unavailable(why.to_owned());
    let Some(code) = error.code() else {
        return if error.is_closed() {
            unavailable("the connection to the database was lost")
        } else {
            connection_failure(error)
        };
    };
    match code.code() {
        "23505" => Failure::Taken,
        "23503" => Failure::Reference,
        "40001" | "40P01" => Failure::GaveWay,
        "28P01" | "28000" => unavailable("the database refused the user or the password"),
        "3D000" => unavailable("the database does not exist on its server"),
        "42501" => unavailable("the database's user lacks a privilege: it must own its schema's tables"),
        "25006" => unavailable("the database is read-only"),
        "53100" => unavailable("the database's disk is full"),
        "53300" => unavailable("the database has no connection left"),
        "55P03" | "57014" => unavailable("another transaction holds what is needed for too long"),
        class if ["08", "53", "57", "58"].iter().any(|prefix| class.starts_with(prefix)) => {
            Failure::Unavailable(format!("the database can't serve now (SQLSTATE {class})"))
        }
        _ => unexpected(code),
    }
}

fn unexpected(code: &SqlState) -> Failure {
    Failure::Corrupt(format!("the database refused a statement (SQLSTATE {})", code.code()))
}

/// Errors without a SQLSTATE: connecting, TLS, or a broken stream.
fn connection_failure(error: &tokio_postgres::Error) -> Failure {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return Failure::Unavailable(format!("the database can't be reached: {}", io.kind()));
        }
        source = cause.source();
    }
    Failure::Unavailable("the database can't be reached, or it and TLS (sslmode) don't agree".to_owned())
}
