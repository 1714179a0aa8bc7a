//! What the engine holds a statement to that the guard has rewritten, whatever the source.

use std::borrow::Cow;

use ringfence_guard::{Fence, GuardedQuery, REFUSED};

use crate::result::Row;
use crate::value::Value;
use crate::{ResultColumn, RunOptions, SessionParameter, SourceError};

/// Counts and checks the rows of a statement that changes some.
//
// INVARIANT: a row that fails its check, or one too many, undoes the whole statement, and no row is handed out before
// the database has kept them all. tests/engine/fenced.rs and tests/engine/fenced_sqlite.rs hold it.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    check_column: bool,
    returns_rows: bool,
    max_rows: Option<u64>,
    counted: u64,
    refused: bool,
}

impl Checked {
    /// `None` for a statement that is not to be undone: one in open mode, or a read.
    pub(crate) fn of(query: &GuardedQuery) -> Option<Self> {
        let Fence { writes, check_column, returns_rows, max_rows, .. } = *query.fence()?;
        (writes || check_column).then_some(Self {
            check_column,
            returns_rows,
            max_rows,
            counted: 0,
            refused: false,
        })
    }

    /// The columns that the caller gets.
    pub(crate) fn shown(&self, mut columns: Vec<ResultColumn>) -> Result<Vec<ResultColumn>, SourceError> {
        if self.check_column && columns.pop().is_none() {
            // The guard promised a column: without it nothing was checked.
            return Err(SourceError::RowRefused);
        }
        if !self.returns_rows {
            columns.clear();
        }
        Ok(columns)
    }

    /// How many of its rows the caller gets, when that many are wanted.
    pub(crate) fn wanted(&self, rows: u64) -> u64 {
        if self.returns_rows { rows } else { 0 }
    }

    /// Whether each row must be looked at, also one that nobody wants.
    pub(crate) fn looks(&self) -> bool {
        self.check_column
    }

    /// Counts a row.
    pub(crate) fn count(&mut self) {
        self.counted = self.counted.saturating_add(1);
    }

    /// Takes the check off a row.
    pub(crate) fn check(&mut self, row: &mut Row) {
        if self.check_column {
            let holds = matches!(row.pop(), Some(Value::Bool(true) | Value::Integer(1)));
            self.refused |= !holds;
        }
    }

    /// Whether the rows so far are too many.
    pub(crate) fn refuse_excess(&self) -> Result<(), SourceError> {
        self.refuse_more_than(self.counted)
    }

    /// The rows changed, if they may stay. `told`: how many the database says, for a statement without rows.
    pub(crate) fn settle(&self, has_rows: bool, told: Option<u64>) -> Result<u64, SourceError> {
        let affected = if has_rows { self.counted } else { told.unwrap_or(0) };
        self.refuse_more_than(affected)?;
        if self.refused {
            return Err(SourceError::RowRefused);
        }
        Ok(affected)
    }

    fn refuse_more_than(&self, rows: u64) -> Result<(), SourceError> {
        match self.max_rows {
            Some(limit) if rows > limit => Err(SourceError::TooManyRows { limit }),
            _ => Ok(()),
        }
    }
}

/// What the caller's options may still do. The guard has resolved every name, so the schema says nothing any more; and a
/// setting that changes how dates and numbers are read or written could change what a policy's condition means.
pub(crate) fn options<'a>(
    query: &GuardedQuery,
    options: &'a RunOptions,
) -> Result<Cow<'a, RunOptions>, SourceError> {
    if query.fence().is_none() {
        return Ok(Cow::Borrowed(options));
    }
    refuse_bending(options)?;
    if options.current_schema.is_none() {
        return Ok(Cow::Borrowed(options));
    }
    Ok(Cow::Owned(RunOptions { current_schema: None, ..options.clone() }))
}

/// Refuses settings that could change what a policy means.
pub(crate) fn refuse_bending(options: &RunOptions) -> Result<(), SourceError> {
    let bends = options.session_parameters.iter().find(|(parameter, _)| match parameter {
        SessionParameter::StatementTimeout | SessionParameter::LockTimeout | SessionParameter::WorkMem => {
            false
        }
        SessionParameter::TimeZone
        | SessionParameter::DateStyle
        | SessionParameter::IntervalStyle
        | SessionParameter::ExtraFloatDigits => true,
    });
    if let Some((parameter, _)) = bends {
        return Err(SourceError::Option(format!("{parameter:?} can't be set on a guarded connection")));
    }
    Ok(())
}

/// What a database's error on a rewritten statement may say. Class 22 and 23 print values, perhaps another's; a missing
/// privilege prints a relation that perhaps only the policy names; and internal failures print files.
pub(crate) fn sanitised(message: &str, sqlstate: &str) -> SourceError {
    // What the guard has a proposed row raise that may not be written.
    if message.contains(REFUSED) {
        return SourceError::RowRefused;
    }
    let text = match sqlstate {
        // Another transaction came first, holds what this one needs, or waits for what it holds.
        "40001" | "40P01" | "55P03" => return SourceError::Conflict,
        // A reference to a hidden row and to none look the same, and like a row outside the policy.
        "23503" | "44000" => return SourceError::RowRefused,
        "23505" | "23P01" => {
            return constraint("a row with this key exists already, or the key is taken", sqlstate);
        }
        "22012" => "division by zero",
        "22001" => "a text is too long for its column",
        "22003" => "a number is out of the range of its type",
        "22P02" | "22007" | "22008" | "22009" => "a value does not have the form that its type needs",
        "42501" => "the database does not let the gateway do this: ask the owner of the connection",
        _ if sqlstate.starts_with("23") => return constraint("a value is missing or not allowed", sqlstate),
        _ if sqlstate.starts_with("22") => "a value can't be used like this",
        _ if ["XX", "58", "F0", "HV", "38", "39"].iter().any(|class| sqlstate.starts_with(class)) => {
            "the database failed to run this"
        }
        _ => message,
    };
    SourceError::Statement { message: text.to_owned(), sqlstate: Some(sqlstate.to_owned()) }
}

fn constraint(message: &'static str, sqlstate: &str) -> SourceError {
    SourceError::Constraint { message, sqlstate: sqlstate.to_owned() }
}
