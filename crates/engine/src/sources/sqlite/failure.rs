//! What SQLite's errors mean to the one who asked.

use rusqlite::{Error, ErrorCode};

use super::run::Stops;
use crate::{EngineLimits, SourceError};

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
