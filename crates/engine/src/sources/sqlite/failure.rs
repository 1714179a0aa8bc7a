//! What SQLite's errors mean to the one who asked.

use ringfence_guard::REFUSED;
use rusqlite::{Error, ErrorCode, ffi};

use super::run::Stops;
use crate::{EngineLimits, SourceError, fenced};

pub(super) fn of(error: &Error, stops: &Stops, limits: &EngineLimits) -> SourceError {
    let code = error.sqlite_error_code();
    match code {
        Some(ErrorCode::OperationInterrupted) => stops.reached().unwrap_or(SourceError::Cancelled),
        Some(ErrorCode::NotADatabase) => {
            SourceError::Unreachable("the file is not a SQLite database".to_owned())
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            SourceError::Unreachable("the file can't be opened".to_owned())
        }
        Some(ErrorCode::TooBig) => SourceError::TooLarge { limit_bytes: limits.sqlite_length() as u64 },
        _ => SourceError::Statement { message: message(error), sqlstate: None },
    }
}

/// The same for a statement that the guard rewrote. SQLite has no SQLSTATE: those here say what PostgreSQL's would.
pub(super) fn of_fenced(error: &Error, stops: &Stops, limits: &EngineLimits) -> SourceError {
    let told = of(error, stops, limits);
    let SourceError::Statement { message, .. } = &told else {
        return told;
    };
    let extended = error.sqlite_error().map_or(0, |error| error.extended_code);
    let stands_for = match (error.sqlite_error_code(), extended) {
        (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => "40001",
        (Some(ErrorCode::ConstraintViolation), ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => "23503",
        // What a trigger's author wrote.
        (Some(ErrorCode::ConstraintViolation), ffi::SQLITE_CONSTRAINT_TRIGGER) => return told,
        (
            Some(ErrorCode::ConstraintViolation),
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID,
        ) => "23505",
        (Some(ErrorCode::ConstraintViolation), _) => "23000",
        (Some(ErrorCode::TypeMismatch), _) => "22000",
        (Some(ErrorCode::AuthorizationForStatementDenied), _) => "42501",
        _ if message.contains(REFUSED) => "44000",
        // SQLite says at the wall which table it was, and has no code for a function there.
        _ if message.contains("not authorized") || message.contains("is prohibited") => "42501",
        _ => return told,
    };
    match fenced::sanitised(message, stands_for) {
        SourceError::Statement { message, .. } => SourceError::Statement { message, sqlstate: None },
        other => other,
    }
}

/// SQLite's own message, without what the driver adds (the statement's text).
fn message(error: &Error) -> String {
    match error {
        Error::SqliteFailure(_, Some(message)) => message.clone(),
        Error::SqlInputError { msg, .. } => msg.clone(),
        Error::MultipleStatement => "only one statement per call is allowed".to_owned(),
        Error::SqliteFailure(failure, None) => failure.to_string(),
        other => other.to_string(),
    }
}
