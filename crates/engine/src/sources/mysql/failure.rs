//! What errors of MySQL and MariaDB mean to the one who asked.

use mysql_async::{DriverError, Error, IoError, ServerError};
use mysql_common::proto::codec::error::PacketCodecError;
use ringfence_guard::Fence;

use crate::{EngineLimits, SourceError, fenced};

/// What `PostgreSQL` says of a key that is taken.
const TAKEN: &str = "23505";

/// An error of a statement.
pub(super) fn of_statement(error: &Error, limits: &EngineLimits) -> SourceError {
    match error {
        Error::Server(error) => match error.code {
            // The server goes down, or somebody ended the session.
            1053 | 1079 | 1927 => SourceError::Lost,
            _ => {
                SourceError::Statement { message: error.message.clone(), sqlstate: Some(error.state.clone()) }
            }
        },
        Error::Driver(DriverError::PacketTooLarge) => too_large(limits),
        // The driver reads packets through a codec, whose errors arrive as those of the stream.
        Error::Io(IoError::Io(error))
            if matches!(
                error.get_ref().and_then(|inner| inner.downcast_ref()),
                Some(PacketCodecError::PacketTooLarge)
            ) =>
        {
            too_large(limits)
        }
        _ => SourceError::Lost,
    }
}

/// The same for a statement that the guard rewrote. Most messages here print values or names, so few are passed on.
pub(super) fn of_fenced(error: &Error, fence: &Fence, limits: &EngineLimits) -> SourceError {
    let told = of_statement(error, limits);
    let (SourceError::Statement { message, .. }, Error::Server(error)) = (&told, error) else {
        return told;
    };
    let is_taken = |column: &String| error.code == 1048 && message.contains(&format!("'{column}'"));
    let taken = fence.null_when_taken.as_ref().is_some_and(is_taken);
    // A syntax error quotes the statement from there on, which is the guard's and holds conditions of the policy.
    let message: &str = if SYNTAX.contains(&error.code) { NOT_READ } else { message };
    fenced::sanitised(message, if taken { TAKEN } else { stands_for(error) })
}

/// An error while connecting and signing in. `place` is host and port, which the caller gave.
pub(super) fn of_connecting(error: &Error, place: &str, database: &str) -> SourceError {
    match error {
        Error::Server(error) => match error.code {
            // Access denied: for the user, to the database, without a password; a way to sign in that the server refuses.
            1044 | 1045 | 1698 | 1251 | 3118 | 4151 => {
                SourceError::Credentials("the database did not accept the user name or password".to_owned())
            }
            1049 => {
                SourceError::Unreachable(format!("the database \"{database}\" does not exist at {place}"))
            }
            _ => SourceError::Unreachable(format!(
                "the database at {place} refused the connection: {}",
                error.message
            )),
        },
        Error::Driver(DriverError::NoClientSslFlagFromServer) | Error::Io(IoError::Tls(_)) => {
            SourceError::Unreachable(format!(
                "the database at {place} did not agree to TLS as sslmode asks for"
            ))
        }
        Error::Driver(
            DriverError::UnknownAuthPlugin { .. }
            | DriverError::MysqlOldPasswordDisabled
            | DriverError::CleartextPluginDisabled,
        ) => SourceError::Credentials(
            "the database asks for a way to sign in that is not supported".to_owned(),
        ),
        Error::Io(IoError::Io(error)) => {
            SourceError::Unreachable(format!("{place} can't be reached: {}", error.kind()))
        }
        _ => SourceError::Unreachable(format!("{place} does not answer like a MySQL database")),
    }
}

/// Errors of the parser.
const SYNTAX: [u16; 2] = [1064, 1149];
const NOT_READ: &str = "the database can't read this form of a statement";

/// What PostgreSQL's SQLSTATE would be: MySQL says most things in HY000 and 23000.
fn stands_for(error: &ServerError) -> &str {
    match error.code {
        // No such parent, or still referred to.
        1216 | 1217 | 1451 | 1452 | 1761 | 1762 => "23503",
        // WITH CHECK OPTION.
        1369 => "44000",
        1022 | 1062 | 1169 | 1586 | 1859 => TAKEN,
        1048 | 1263 | 1364 => "23502",
        3819 | 4025 => "23514",
        1365 => "22012",
        1406 => "22001",
        1264 | 1690 => "22003",
        1265 | 1292 | 1366 | 1367 | 1411 => "22P02",
        1044 | 1142 | 1143 | 1227 | 1370 => "42501",
        // An ambiguous column, which MySQL counts among broken constraints.
        1052 => "42702",
        _ if ["21", "22", "23", "40", "42", "45", "70"]
            .iter()
            .any(|class| error.state.starts_with(class)) =>
        {
            &error.state
        }
        // Waiting for a lock took too long; and a row that was changed since it was read (MariaDB).
        1205 => "55P03",
        1020 => "40001",
        // Everything else, such as the XML functions, whose errors print what they read.
        _ => "XX000",
    }
}

fn too_large(limits: &EngineLimits) -> SourceError {
    SourceError::TooLarge { limit_bytes: limits.max_row_bytes as u64 }
}
