//! The transaction around a statement that needs one: read-only, another schema, settings for one query.

use std::borrow::Cow;

use ringfence_guard::{GuardedQuery, StatementKind};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::{Isolation, RunOptions, SessionParameter, SourceError};

/// Longer values are no settings.
const LONGEST_VALUE: usize = 256;

/// What begins the transaction, as one text for one round trip. Everything set is gone at its end.
pub(super) struct Opening {
    text: Cow<'static, str>,
    sets_schema: Option<String>,
}

const ENTER_ASIDE: &str = "SAVEPOINT ringfence_aside; SET LOCAL transaction_read_only = on; \
     SET LOCAL search_path = pg_catalog";
pub(super) const LEAVE_ASIDE: &str =
    "ROLLBACK TO SAVEPOINT ringfence_aside; RELEASE SAVEPOINT ringfence_aside";

/// The transaction that a statement runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transaction {
    /// None of ours: some statements (VACUUM, CREATE DATABASE) can't run in one.
    None,
    /// Around settings, and around what the guard must be able to undo.
    ReadWrite,
    /// On a read-only connection, whatever the session's settings have become: a view may have changed them.
    ReadOnly,
    /// Around a plain read elsewhere. Rolling it back undoes at once what a view or an operator left in the session,
    /// which is cheaper than cleaning up. Should the read write after all, it runs again without.
    AssumedReadOnly,
}

impl Transaction {
    /// What a statement needs. `writes`: it looked like a read before, and was none.
    pub(super) fn of(query: &GuardedQuery, options: &RunOptions, writes: bool) -> Self {
        if query.fence().is_some_and(|fence| fence.writes) {
            Self::ReadWrite
        } else if query.read_only() {
            Self::ReadOnly
        } else if query.kind() == StatementKind::Read && !query.may_change_session() && !writes {
            Self::AssumedReadOnly
        } else if options.current_schema.is_some() || !options.session_parameters.is_empty() {
            Self::ReadWrite
        } else {
            Self::None
        }
    }

    pub(super) fn is_read_only(self) -> bool {
        matches!(self, Self::ReadOnly | Self::AssumedReadOnly)
    }
}

impl Opening {
    /// `None` when there is no transaction to begin.
    pub(super) fn of(transaction: Transaction, options: &RunOptions) -> Result<Option<Self>, SourceError> {
        let begin = match transaction {
            Transaction::None => return Ok(None),
            Transaction::ReadWrite => "BEGIN",
            Transaction::ReadOnly | Transaction::AssumedReadOnly => "BEGIN READ ONLY",
        };
        Self::with(begin, options).map(Some)
    }

    /// For a transaction of several statements.
    pub(super) fn isolated(isolation: Isolation, options: &RunOptions) -> Result<Self, SourceError> {
        let begin = match isolation {
            Isolation::ReadCommitted => "BEGIN ISOLATION LEVEL READ COMMITTED",
            Isolation::RepeatableRead => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            Isolation::ReadOnly => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        Self::with(begin, options)
    }

    /// For a read among writes: nothing that an owner made takes the place of the database's own functions, and what it does
    /// to the session ends with it.
    pub(super) fn aside() -> Self {
        Self { text: Cow::Borrowed(ENTER_ASIDE), sets_schema: None }
    }

    fn with(begin: &'static str, options: &RunOptions) -> Result<Self, SourceError> {
        if options.current_schema.is_none() && options.session_parameters.is_empty() {
            return Ok(Self { text: Cow::Borrowed(begin), sets_schema: None });
        }
        let mut text = String::from(begin);
        for (parameter, value) in &options.session_parameters {
            let name = name(*parameter);
            let value = literal(value).filter(|value| value.len() <= LONGEST_VALUE);
            let value =
                value.ok_or_else(|| SourceError::Option(format!("the value of {name} is not one")))?;
            text.push_str("; SET LOCAL ");
            text.push_str(name);
            text.push_str(" = ");
            text.push_str(&value);
        }
        if let Some(schema) = &options.current_schema {
            let schema = literal(schema).ok_or_else(|| unknown_schema(schema))?;
            text.push_str("; ");
            text.push_str(&SET_SCHEMA.replace("$1", &schema));
        }
        Ok(Self { text: Cow::Owned(text), sets_schema: options.current_schema.clone() })
    }

    /// Whether nothing but the transaction begins, so that a read may be sent along in the same round trip.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.text, Cow::Borrowed(_))
    }

    /// Begins.
    pub(super) async fn begin(&self, client: &Client) -> Result<(), Failure> {
        let answers = client.simple_query(&self.text).await.map_err(Failure::Setting)?;
        let found = answers.iter().any(|answer| matches!(answer, SimpleQueryMessage::Row(_)));
        match &self.sets_schema {
            Some(schema) if !found => Err(Failure::Refused(unknown_schema(schema))),
            _ => Ok(()),
        }
    }
}

/// Why a statement did not start.
pub(super) enum Failure {
    /// The database refused the statement.
    Database(tokio_postgres::Error),
    /// The database refused a setting.
    Setting(tokio_postgres::Error),
    /// The transaction did not begin, and the statement that was sent along with it ran without.
    Unwrapped(tokio_postgres::Error),
    /// We did.
    Refused(SourceError),
}

impl Failure {
    /// A transaction that did not begin, though a statement was sent along with it.
    pub(super) fn unwrapped(self) -> Self {
        match self {
            Self::Setting(error) => Self::Unwrapped(error),
            other => other,
        }
    }
}

/// Found without regard to case, the exact name first. The default path follows, so that what it shows stays visible.
const SET_SCHEMA: &str = "SELECT pg_catalog.set_config('search_path', \
     pg_catalog.concat_ws(', ', pg_catalog.quote_ident(found.nspname), \
         NULLIF(pg_catalog.current_setting('search_path'), '')), true) \
     FROM (SELECT nspname FROM pg_catalog.pg_namespace \
         WHERE pg_catalog.lower(nspname::pg_catalog.text) = pg_catalog.lower($1::pg_catalog.text) \
         ORDER BY nspname = $1 DESC, nspname LIMIT 1) AS found";

fn unknown_schema(schema: &str) -> SourceError {
    let shown: String = schema.chars().filter(|character| !character.is_control()).take(64).collect();
    SourceError::Option(format!("there is no schema \"{shown}\" in this database"))
}

fn name(parameter: SessionParameter) -> &'static str {
    match parameter {
        SessionParameter::TimeZone => "TimeZone",
        SessionParameter::DateStyle => "DateStyle",
        SessionParameter::IntervalStyle => "IntervalStyle",
        SessionParameter::ExtraFloatDigits => "extra_float_digits",
        SessionParameter::StatementTimeout => "statement_timeout",
        SessionParameter::LockTimeout => "lock_timeout",
        SessionParameter::WorkMem => "work_mem",
    }
}

/// A literal under `standard_conforming_strings`. Backslashes are refused so that it is one without, too.
fn literal(value: &str) -> Option<String> {
    if value.contains(['\0', '\\']) {
        return None;
    }
    Some(format!("'{}'", value.replace('\'', "''")))
}

/// Whether a setting changes how PostgreSQL writes values: then its own text is what the caller wants to see.
pub(super) fn wants_text(options: &RunOptions) -> bool {
    options.session_parameters.iter().any(|(parameter, _)| {
        matches!(parameter, SessionParameter::DateStyle | SessionParameter::IntervalStyle)
    })
}
