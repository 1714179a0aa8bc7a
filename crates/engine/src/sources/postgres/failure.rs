//! What PostgreSQL's errors mean to the one who asked.

use tokio_postgres::error::DbError;

use super::watch::{Fault, Watch};
use crate::{SourceError, fenced};

/// An error of a statement. Only the primary message is passed on: DETAIL, HINT and CONTEXT print rows and code.
pub(super) fn of_statement(error: &tokio_postgres::Error, watch: &Watch) -> SourceError {
    match watch.fault() {
        Some(Fault::TooLarge) => {
            return SourceError::TooLarge { limit_bytes: watch.limit() as u64 };
        }
        Some(Fault::Copy) => {
            return SourceError::Statement {
                message: "COPY to or from the client is not supported: use SELECT or INSERT".to_owned(),
                sqlstate: Some("0A000".to_owned()),
            };
        }
        None => {}
    }
    match error.as_db_error() {
        Some(error) if ends_session(error) => SourceError::Lost,
        Some(error) => statement(error),
        None => SourceError::Lost,
    }
}

/// The same for a statement that the guard rewrote.
pub(super) fn of_fenced(error: &tokio_postgres::Error, watch: &Watch) -> SourceError {
    match of_statement(error, watch) {
        SourceError::Statement { message, sqlstate: Some(code) } => fenced::sanitised(&message, &code),
        other => other,
    }
}

/// An error while connecting and signing in. `place` is host and port, which the caller gave.
pub(super) fn of_connecting(error: &tokio_postgres::Error, place: &str, database: &str) -> SourceError {
    let Some(error) = error.as_db_error() else {
        let text = error.to_string();
        let source = std::error::Error::source(error).map(ToString::to_string);
        return if source.is_some_and(|source| source.contains("password missing")) {
            SourceError::Credentials(CREDENTIALS.to_owned())
        } else if text.contains("TLS") {
            SourceError::Unreachable(format!(
                "the database at {place} did not agree to TLS as sslmode asks for"
            ))
        } else if text.contains("authentication") {
            SourceError::Credentials(
                "the database asks for a way to sign in that is not supported".to_owned(),
            )
        } else {
            SourceError::Unreachable(format!("{place} does not answer like a PostgreSQL database"))
        };
    };
    match error.code().code() {
        code if code.starts_with("28") => SourceError::Credentials(CREDENTIALS.to_owned()),
        "3D000" => SourceError::Unreachable(format!("the database \"{database}\" does not exist at {place}")),
        _ => SourceError::Unreachable(format!(
            "the database at {place} refused the connection: {}",
            error.message()
        )),
    }
}

/// A prepared statement that the database has forgotten, or whose tables changed: nothing was run, prepare it anew.
pub(super) fn is_stale_statement(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| match error.code().code() {
        "26000" => true,
        "0A000" => error.routine() == Some("RevalidateCachedQuery"),
        _ => false,
    })
}

/// Class 42: what the statement names or compares is not there, or not in this way.
pub(super) fn is_misread(error: &tokio_postgres::Error) -> bool {
    code(error).is_some_and(|code| code.starts_with("42"))
}

/// A statement that wanted to write in a read-only transaction.
pub(super) fn is_write_in_read(error: &tokio_postgres::Error) -> bool {
    code(error) == Some("25006")
}

/// The SQLSTATE, when the database said it.
pub(super) fn code(error: &tokio_postgres::Error) -> Option<&str> {
    error.as_db_error().map(|error| error.code().code())
}

/// Whether the statement could not even be parsed.
pub(super) fn is_syntax_error(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code() == "42601")
}

pub(super) fn statement(error: &DbError) -> SourceError {
    SourceError::Statement {
        message: error.message().to_owned(),
        sqlstate: Some(error.code().code().to_owned()),
    }
}

/// Classes 57P (operator intervention) and 08 (connection exception).
fn ends_session(error: &DbError) -> bool {
    let code = error.code().code();
    code.starts_with("57P") || code.starts_with("08")
}

const CREDENTIALS: &str = "the database did not accept the user name or password";
