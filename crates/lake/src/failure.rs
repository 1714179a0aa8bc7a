//! What DataFusion's errors mean to the one who asked.

use datafusion::arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use ringfence_engine::SourceError;

const NOT_FOR_ALL: &str = "the lake failed to run this";
const UNREADABLE: &str = "a file of the lake can't be read: tell the owner of the connection";
const NOT_OF_THE_FORM: &str = "a value does not have the form that its type needs, or is out of its range";

/// The error in public words. On a guarded connection no text of DataFusion's own that was made while rows were read goes
/// out: it prints values, and perhaps those of hidden rows. What planning says names only what the statement names, which the
/// guard has checked; paths of files are in neither.
//
// INVARIANT: no value of a row and no path is in an answer. Held by `errors_tell_nothing` in crates/lake/tests/lake.
pub(crate) fn of(error: &DataFusionError, is_guarded: bool) -> SourceError {
    let root = error.find_root();
    match root {
        DataFusionError::ResourcesExhausted(_) => SourceError::OutOfMemory(
            "the query needs more memory than the lake may use: narrow it, or ask for less at once"
                .to_owned(),
        ),
        DataFusionError::ArrowError(error, _) => of_arrow(error, is_guarded),
        DataFusionError::SQL(..) => statement("the lake can't read the statement", "42601"),
        DataFusionError::Plan(message) => planning(message),
        DataFusionError::SchemaError(error, _) => planning(&error.to_string()),
        DataFusionError::NotImplemented(message) => with_code(&first_line(message), "0A000"),
        DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
            tracing::warn!(error = %root, "a file of a lake can't be read");
            statement(UNREADABLE, "58030")
        }
        DataFusionError::Execution(message) if !is_guarded && !has_path(message) => {
            with_code(&first_line(message), "22000")
        }
        DataFusionError::Execution(message) => of_execution(message),
        other => {
            tracing::warn!(error = %other, "a lake failed to run a statement");
            statement(NOT_FOR_ALL, "XX000")
        }
    }
}

fn of_arrow(error: &ArrowError, is_guarded: bool) -> SourceError {
    match error {
        ArrowError::DivideByZero => statement("division by zero", "22012"),
        ArrowError::ArithmeticOverflow(_) => statement("a number is out of the range of its type", "22003"),
        ArrowError::MemoryError(_) => SourceError::OutOfMemory("the query needs too much memory".to_owned()),
        ArrowError::CastError(_)
        | ArrowError::ParseError(_)
        | ArrowError::ComputeError(_)
        | ArrowError::InvalidArgumentError(_) => {
            let message = error.to_string();
            if is_guarded || has_path(&message) {
                statement(NOT_OF_THE_FORM, "22P02")
            } else {
                with_code(&first_line(&message), "22P02")
            }
        }
        ArrowError::CsvError(_) | ArrowError::JsonError(_) | ArrowError::IoError(..) => {
            tracing::warn!(error = %error, "a file of a lake can't be read");
            statement(UNREADABLE, "58030")
        }
        other => {
            tracing::warn!(error = %other, "a lake failed to run a statement");
            statement(NOT_FOR_ALL, "XX000")
        }
    }
}

/// What evaluation says, as far as it is the same whatever the rows are.
fn of_execution(message: &str) -> SourceError {
    let says = |words: &str| message.to_ascii_lowercase().contains(words);
    if says("divide by zero") || says("division by zero") {
        statement("division by zero", "22012")
    } else if says("overflow") || says("out of range") {
        statement("a number is out of the range of its type", "22003")
    } else if says("more than one row") {
        statement("a sub-query that is used as a value has more than one row", "21000")
    } else {
        statement(NOT_OF_THE_FORM, "22000")
    }
}

fn planning(message: &str) -> SourceError {
    if has_path(message) {
        tracing::warn!(error = message, "a lake failed to plan a statement");
        return statement(NOT_FOR_ALL, "42000");
    }
    let code = if message.contains("table") && message.contains("not found") { "42P01" } else { "42000" };
    with_code(&first_line(message), code)
}

fn has_path(message: &str) -> bool {
    message.contains("file:/") || message.contains(".ringfence") || message.contains("/data/")
}

fn first_line(message: &str) -> String {
    const LONGEST: usize = 500;
    let line = message.lines().next().unwrap_or_default();
    line[..line.floor_char_boundary(LONGEST.min(line.len()))].to_owned()
}

fn statement(message: &str, sqlstate: &str) -> SourceError {
    with_code(message, sqlstate)
}

fn with_code(message: &str, sqlstate: &str) -> SourceError {
    SourceError::Statement { message: message.to_owned(), sqlstate: Some(sqlstate.to_owned()) }
}

/// What went wrong with the lake's own files.
pub(crate) fn of_io(error: &std::io::Error) -> SourceError {
    tracing::warn!(error = %error, "a lake's own files can't be read or written");
    match error.kind() {
        std::io::ErrorKind::ResourceBusy => SourceError::Busy,
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            SourceError::Unreachable("the lake's disk is full: nothing was changed".to_owned())
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            SourceError::Unreachable(
                "the gateway may not write into the lake's directory: nothing was changed".to_owned(),
            )
        }
        _ => SourceError::Unreachable("the lake's files can't be read or written".to_owned()),
    }
}
