//! Opens a SQLite file so that a statement can do nothing but work on that file.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringfence_guard::Fence;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::bounds::Bounds;
use super::failure;
use super::run::Stops;
use crate::{EngineLimits, SourceError};

/// How many instructions of SQLite's machine pass between two looks at the clock: some microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 1000;

/// How long a statement waits for another's lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Pragmas that describe the database and change nothing. `database_list` is not among them: it shows paths.
const PRAGMAS: [&str; 9] = [
    "table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list",
    "foreign_key_check", "integrity_check",
];

/// Pragmas that only tell a value when they are given none.
const VALUE_PRAGMAS: [&str; 7] = [
    "user_version", "application_id", "schema_version", "encoding", "page_count", "page_size",
    "freelist_count",
];

/// Tables (database, name) that a statement touches, as SQLite names them while compiling it. Where no column is read
/// (`count(*)`), SQLite says the database only if the statement did, and the name may be that of a WITH query.
pub(super) type Touched = Arc<Mutex<Vec<(Option<String>, String)>>>;

/// What a connection's statements meet.
#[derive(Default)]
pub(super) struct Walls<'a> {
    pub(super) read_only: bool,
    /// Where to note what they touch.
    pub(super) touched: Option<Touched>,
    /// What the guard says that they may touch, when it rewrote them.
    pub(super) fence: Option<&'a Fence>,
}

/// Opens an existing file for work of our own.
pub(super) fn open(path: &Path, limits: &EngineLimits, stops: &Stops) -> Result<Connection, SourceError> {
    open_walled(path, Walls { read_only: true, ..Walls::default() }, limits, stops)
}

/// Opens an existing file for a statement.
pub(super) fn open_walled(
    path: &Path,
    walls: Walls<'_>,
    limits: &EngineLimits,
    stops: &Stops,
) -> Result<Connection, SourceError> {
    let Walls { read_only, touched, fence } = walls;
    let access = if read_only { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
    // The path has no links any more; a link put in its place since then is refused.
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let failed = |error: &rusqlite::Error| failure::of(error, stops, limits);
    let mut connection = Connection::open_with_flags(path, flags).map_err(|error| failed(&error))?;
    let set_up = || -> rusqlite::Result<()> {
        connection.busy_timeout(stops.remaining().min(LOCK_WAIT))?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        // The progress handler is asked between the machine's instructions, and one instruction may be a whole call of
        // `instr`, `replace` or LIKE: the lengths are what bounds their time.
        let longest = i32::try_from(limits.sqlite_length()).unwrap_or(i32::MAX);
        for (limit, value) in [
            (Limit::SQLITE_LIMIT_LENGTH, longest),
            (Limit::SQLITE_LIMIT_EXPR_DEPTH, 500),
            (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 500),
            (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000),
            (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 100),
            (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
        ] {
            connection.set_limit(limit, value)?;
        }
        if read_only {
            connection.pragma_update(None, "query_only", true)?;
        }
        hold(&mut connection, touched, fence, stops)
    };
    set_up().map_err(|error| failed(&error))?;
    Ok(connection)
}

/// What the statements from here on meet, instead of what those before met.
pub(super) fn hold(
    connection: &mut Connection,
    touched: Option<Touched>,
    fence: Option<&Fence>,
    stops: &Stops,
) -> rusqlite::Result<()> {
    let looking = stops.clone();
    connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || looking.reached().is_some()))?;
    // Reading what a fence means is ours, and not held to the one before.
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
    let bounds = fence.map(|fence| Bounds::read(connection, fence)).transpose()?;
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        if let Some(touched) = &touched {
            note(touched, &context);
        }
        let allowed =
            is_allowed(&context.action) && bounds.as_ref().is_none_or(|bounds| bounds.allow(&context));
        if allowed { Authorization::Allow } else { Authorization::Deny }
    }))
}

/// SQLite asks for everything a statement would do, also what its own parts do on its behalf.
fn is_allowed(action: &AuthAction<'_>) -> bool {
    match action {
        // VACUUM attaches an unnamed temporary database; VACUUM INTO a file.
        AuthAction::Attach { filename } => filename.is_empty(),
        AuthAction::Detach { database_name } => database_name.starts_with("vacuum_"),
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        AuthAction::Pragma { pragma_name, pragma_value } => {
            let is_in = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(pragma_name));
            is_in(&PRAGMAS) || (pragma_value.is_none() && is_in(&VALUE_PRAGMAS))
        }
        AuthAction::Unknown { .. } => false,
        _ => true,
    }
}

fn note(touched: &Touched, context: &AuthContext<'_>) {
    let (AuthAction::Read { table_name: table, .. }
    | AuthAction::Update { table_name: table, .. }
    | AuthAction::Insert { table_name: table }
    | AuthAction::Delete { table_name: table }) = context.action
    else {
        return;
    };
    let mut touched = touched.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = (context.database_name.map(str::to_owned), table.to_owned());
    if !touched.contains(&entry) {
        touched.push(entry);
    }
}
