//! What a statement that the guard rewrote may touch in a file: a second wall, at which SQLite asks while it compiles.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use ringfence_guard::Fence;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::{Connection, OptionalExtension, Result};

/// The fence, and what follows from it in this file. All names in lower case.
pub(super) struct Bounds {
    writes: bool,
    relations: HashSet<String>,
    functions: HashSet<String>,
    /// Views among the relations, and triggers on them: what these do is their owner's business.
    owners: HashSet<String>,
    /// What the views read, and the triggers of a statement that writes touch.
    behind: Behind,
    /// Tables that foreign keys lead to from those written: SQLite checks and changes them on the statement's behalf.
    neighbours: HashSet<String>,
}

enum Behind {
    /// Of views, SQLite says it when it compiles them.
    Views(HashSet<String>),
    /// Triggers may touch anything.
    Anything,
}

const TRIGGERS: &str =
    "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE";
const VIEW: &str = "SELECT name FROM sqlite_schema WHERE type = 'view' AND name = ?1 COLLATE NOCASE";
const PARENTS: &str = "SELECT \"table\" FROM pragma_foreign_key_list(?1)";
const CHILDREN: &str = "SELECT m.name FROM sqlite_schema AS m, pragma_foreign_key_list(m.name) AS f \
     WHERE m.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE";

impl Bounds {
    /// Reads from the file what follows from the fence.
    pub(super) fn read(connection: &mut Connection, fence: &Fence) -> Result<Self> {
        let mut bounds = Self {
            writes: fence.writes,
            relations: fence
                .relations
                .iter()
                .filter(|(schema, _)| schema.eq_ignore_ascii_case("main"))
                .map(|(_, relation)| relation.to_ascii_lowercase())
                .collect(),
            functions: fence.functions.iter().map(|function| function.to_ascii_lowercase()).collect(),
            owners: HashSet::new(),
            behind: Behind::Views(HashSet::new()),
            neighbours: HashSet::new(),
        };
        bounds.follow_views(connection)?;
        if fence.writes {
            bounds.follow_triggers(connection)?;
            bounds.follow_keys(connection)?;
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
        match &self.behind {
            Behind::Anything => true,
            Behind::Views(tables) => tables.contains(&table_name.to_ascii_lowercase()),
        }
    }

    fn follow_views(&mut self, connection: &mut Connection) -> Result<()> {
        let touched = Arc::new(Mutex::new(HashSet::new()));
        for relation in &self.relations {
            let view: Option<String> = connection.query_row(VIEW, [relation], |row| row.get(0)).optional()?;
            let Some(view) = view else { continue };
            self.owners.insert(view.to_ascii_lowercase());
            let noting = Arc::clone(&touched);
            connection.authorizer(Some(move |context: AuthContext<'_>| {
                if let AuthAction::Read { table_name, .. } = context.action {
                    let mut noted = noting.lock().unwrap_or_else(PoisonError::into_inner);
                    noted.insert(table_name.to_ascii_lowercase());
                }
                Authorization::Allow
            }))?;
            // A view whose tables are gone reads none.
            let _ = connection.prepare(&format!("SELECT * FROM main.\"{}\"", view.replace('"', "\"\"")));
            connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
        }
        let tables = std::mem::take(&mut *touched.lock().unwrap_or_else(PoisonError::into_inner));
        // Views within views are accessors of their own.
        for table in &tables {
            if connection.query_row(VIEW, [table], |_| Ok(())).optional()?.is_some() {
                self.owners.insert(table.clone());
            }
        }
        self.behind = Behind::Views(tables);
        Ok(())
    }

    fn follow_triggers(&mut self, connection: &Connection) -> Result<()> {
        for relation in &self.relations {
            for trigger in names(connection, TRIGGERS, relation)? {
                self.owners.insert(trigger);
                self.behind = Behind::Anything;
            }
        }
        Ok(())
    }

    fn follow_keys(&mut self, connection: &Connection) -> Result<()> {
        let mut open: Vec<String> = self.relations.iter().cloned().collect();
        while let Some(table) = open.pop() {
            self.neighbours.extend(names(connection, PARENTS, &table)?);
            for child in names(connection, CHILDREN, &table)? {
                if self.neighbours.insert(child.clone()) {
                    open.push(child);
                }
            }
        }
        Ok(())
    }
}

fn names(connection: &Connection, sql: &str, of: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([of], |row| row.get::<_, String>(0))?;
    rows.map(|name| Ok(name?.to_ascii_lowercase())).collect()
}
