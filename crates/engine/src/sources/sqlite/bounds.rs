//! What a statement that the guard rewrote may touch in a file: a second wall, at which SQLite asks while it compiles.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use ringfence_guard::Fence;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::{Connection, Result};

/// The fence, and what follows from it in this file. All names in lower case.
pub(super) struct Bounds {
    writes: bool,
    relations: HashSet<String>,
    functions: HashSet<String>,
    /// Views among the relations, and triggers on them: what these do is their owner's business.
    owners: HashSet<String>,
    /// What those touch.
    behind: HashSet<String>,
    /// Tables that foreign keys lead to from those written: SQLite checks and changes them on the statement's behalf.
    neighbours: HashSet<String>,
}

/// Who touches which table: the statement itself, or a view or trigger.
type Touched = HashSet<(Option<String>, String)>;

/// Generated columns can't be set.
const COLUMNS: &str = "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0";

impl Bounds {
    /// Reads from the file what follows from the fence: SQLite tells it when it compiles the plainest statements.
    pub(super) fn read(connection: &mut Connection, fence: &Fence) -> Result<Self> {
        let main = fence.relations.iter().filter(|(schema, _)| schema.eq_ignore_ascii_case("main"));
        let mut bounds = Self {
            writes: fence.writes,
            relations: main.map(|(_, relation)| relation.to_ascii_lowercase()).collect(),
            functions: fence.functions.iter().map(|function| function.to_ascii_lowercase()).collect(),
            owners: HashSet::new(),
            behind: HashSet::new(),
            neighbours: HashSet::new(),
        };
        for relation in &bounds.relations {
            let target = format!("main.{}", quoted(relation));
            let mut plainest = vec![format!("SELECT * FROM {target}")];
            if fence.writes {
                plainest.push(format!("INSERT INTO {target} DEFAULT VALUES"));
                plainest.push(format!("DELETE FROM {target}"));
                plainest.push(format!("UPDATE {target} SET {}", assignments(connection, relation)?));
            }
            for sql in plainest {
                for (accessor, table) in touched(connection, &sql)? {
                    if let Some(owner) = accessor {
                        bounds.owners.insert(owner);
                        bounds.behind.insert(table);
                    } else {
                        bounds.neighbours.insert(table);
                    }
                }
            }
        }
        Ok(bounds)
    }

    /// Whether the statement may do that.
    pub(super) fn allow(&self, context: &AuthContext<'_>) -> bool {
        // INVARIANT: the name of a WITH query stands here too, and anyone may choose it: so it opens no more than what a
        // view of that name reads anyway. tests/engine/fenced_sqlite.rs holds it.
        if let Some(accessor) = context.accessor
            && self.owners.contains(&accessor.to_ascii_lowercase())
        {
            return self.allow_owner(context);
        }
        let is_main = context.database_name.is_none_or(|database| database == "main");
        let known = |name: &str| is_main && self.relations.contains(&name.to_ascii_lowercase());
        let near = |name: &str| is_main && self.neighbours.contains(&name.to_ascii_lowercase());
        match context.action {
            // Where no column is read and no database is named, the name is that of a WITH query: the guard names the
            // database of every relation.
            AuthAction::Read { column_name: "", .. } if context.database_name.is_none() => true,
            AuthAction::Read { table_name, .. } => known(table_name) || near(table_name),
            AuthAction::Insert { table_name } => self.writes && known(table_name),
            AuthAction::Update { table_name, .. } | AuthAction::Delete { table_name } => {
                self.writes && (known(table_name) || near(table_name))
            }
            AuthAction::Function { function_name } => {
                self.functions.contains(&function_name.to_ascii_lowercase())
            }
            // A transaction is ours, around the statement.
            AuthAction::Select | AuthAction::Recursive | AuthAction::Transaction { .. } => true,
            _ => false,
        }
    }

    fn allow_owner(&self, context: &AuthContext<'_>) -> bool {
        let (AuthAction::Read { table_name, .. }
        | AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name }) = context.action
        else {
            return matches!(
                context.action,
                AuthAction::Select | AuthAction::Recursive | AuthAction::Function { .. }
            );
        };
        self.behind.contains(&table_name.to_ascii_lowercase())
    }
}

/// What SQLite says while it compiles the statement; nothing is executed.
fn touched(connection: &mut Connection, sql: &str) -> Result<Touched> {
    let touched = Arc::new(Mutex::new(Touched::new()));
    let noting = Arc::clone(&touched);
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        if let AuthAction::Read { table_name, .. }
        | AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name } = context.action
        {
            let accessor = context.accessor.map(str::to_ascii_lowercase);
            let mut noted = noting.lock().unwrap_or_else(PoisonError::into_inner);
            noted.insert((accessor, table_name.to_ascii_lowercase()));
        }
        Authorization::Allow
    }))?;
    // What can't be compiled, the statement can't do either: a view whose tables are gone, or one without triggers.
    let _ = connection.prepare(sql);
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
    let found = std::mem::take(&mut *touched.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(found)
}

/// Every column set to itself.
fn assignments(connection: &Connection, relation: &str) -> Result<String> {
    let mut statement = connection.prepare(COLUMNS)?;
    let names = statement.query_map([relation], |row| row.get::<_, String>(0))?;
    let set = names.map(|name| name.map(|name| format!("{0} = {0}", quoted(&name))));
    Ok(set.collect::<Result<Vec<_>>>()?.join(", "))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
