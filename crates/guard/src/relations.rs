//! Which relation and which column a name means: the scopes of a statement.

use std::sync::Arc;

use ringfence_policy::{Entitlement, RelationName};
use sqlparser::ast::{ObjectName, ObjectNamePart};

use crate::admit::ONLY;

/// A column that something in FROM has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) name: String,
    /// The declared type of a plain column; `None` for what was computed.
    pub(crate) data_type: Option<String>,
}

/// The columns of a query's result, as far as they can be told; `None` when they can't.
pub(crate) type Outputs = Option<Vec<Output>>;

/// Something that FROM names.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// How the statement calls it.
    pub(crate) alias: String,
    /// The relation, when it stands there without an alias of its own: columns may then be named with the schema.
    pub(crate) unaliased: Option<RelationName>,
    pub(crate) columns: Outputs,
    /// The entitlement, when it is a relation and not a query.
    pub(crate) entitlement: Option<Arc<Entitlement>>,
    /// Whether it is the relation that the statement changes, which is not fenced: each of its columns is looked up.
    pub(crate) is_target: bool,
}

/// What FROM names at one level of a query.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub(crate) sources: Vec<Source>,
    /// Whether it is `excluded`: the row that an INSERT proposes.
    pub(crate) is_proposed: bool,
    /// Columns that a join merged, and the source that each is one of; none for a FULL JOIN.
    pub(crate) merged: Vec<(String, Option<String>)>,
}

/// A common table expression that may be named.
#[derive(Debug, Clone)]
pub(crate) struct CommonTable {
    pub(crate) name: String,
    pub(crate) columns: Outputs,
    /// Whether there is a column of ours behind those.
    pub(crate) has_check: bool,
}

/// Everything that can be named at a point of the statement; the innermost is last.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) scopes: Vec<Scope>,
    pub(crate) common: Vec<CommonTable>,
    /// While WITH, FROM or USING of a change is written: the relation that is changed. Nothing there may name its columns,
    /// but SQLite finds them: for a common table where that is used, and for the arguments of a function in FROM.
    pub(crate) beside: Option<Arc<Entitlement>>,
}

/// What a column's name means.
#[derive(Debug, Clone)]
pub(crate) enum Meaning {
    /// A column of something fenced, or of a query: it stands as it is written. Its type, when that is known.
    Visible(Option<String>),
    /// A column of the relation that is changed.
    Target(Arc<Entitlement>),
    /// The row as a whole of something fenced.
    WholeRow,
    /// The same, unless something whose columns are not known has a column of that name.
    PerhapsRow,
    /// Nothing that the principal can see.
    Unknown,
    /// It can't be told, and the relation that is changed has something of that name.
    Unclear,
}

/// A relation's name without the mark that says ONLY, and whether it had one.
pub(crate) fn without_only(name: &ObjectName) -> (ObjectName, bool) {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(mark), rest @ ..] if mark.value == ONLY && !rest.is_empty() => {
            (ObjectName(rest.to_vec()), true)
        }
        _ => (name.clone(), false),
    }
}

impl Names {
    pub(crate) fn common_table(&self, name: &str, same: Same) -> Option<&CommonTable> {
        self.common.iter().rev().find(|table| same(&table.name, name))
    }

    /// What a name alone means. `system` are the columns that every table has.
    pub(crate) fn unqualified(&self, name: &str, same: Same, system: &[&str]) -> Meaning {
        let mut is_opaque_before = false;
        for scope in self.scopes.iter().rev() {
            let has = |source: &Source| {
                source
                    .columns
                    .as_ref()
                    .is_some_and(|columns| columns.iter().any(|column| same(&column.name, name)))
            };
            // Two of one level have it: the database says that it is ambiguous, whichever of them is the changed relation.
            if scope.sources.iter().any(|source| source.is_target)
                && scope.sources.iter().any(|source| !source.is_target && has(source))
            {
                return Meaning::Visible(None);
            }
            for source in &scope.sources {
                if let Some(meaning) = source.meaning(name, same, system, is_opaque_before) {
                    return meaning;
                }
            }
            is_opaque_before |= scope.sources.iter().any(|source| source.columns.is_none());
        }
        // INVARIANT: what a database finds in the changed relation although it stands beside is what the principal sees in
        // clear. Held by the cases of `cases/guard/refused*.txt` that name `password_hash` there.
        if let Some(target) = &self.beside {
            let visible = target.columns.iter().find(|column| same(&column.name, name));
            match visible {
                Some(column) if column.mask.is_none() => return Meaning::Visible(None),
                Some(_) if is_opaque_before => return Meaning::Unclear,
                None if !target.hidden.iter().any(|hidden| same(hidden, name)) => {}
                Some(_) | None => return Meaning::Unknown,
            }
        }
        let row = self
            .scopes
            .iter()
            .rev()
            .flat_map(|scope| &scope.sources)
            .find(|source| same(&source.alias, name));
        match row {
            Some(_) if self.holds_hidden(name, same) => Meaning::Unknown,
            Some(_) if is_opaque_before => Meaning::PerhapsRow,
            Some(_) => Meaning::WholeRow,
            None => Meaning::Visible(None),
        }
    }

    /// Whether the row as a whole of what is called so holds what is hidden: that of the changed relation does, and the
    /// proposed one, with its defaults.
    pub(crate) fn holds_hidden(&self, alias: &str, same: Same) -> bool {
        let named = |scope: &Scope| {
            let source = scope.sources.iter().find(|source| same(&source.alias, alias))?;
            Some(source.is_target || scope.is_proposed)
        };
        self.scopes.iter().rev().find_map(named).unwrap_or(false)
    }

    /// What `alias.name` means.
    pub(crate) fn qualified(&self, alias: &str, name: &str, same: Same) -> Meaning {
        let sources = self.scopes.iter().rev().flat_map(|scope| &scope.sources);
        match sources.clone().find(|source| same(&source.alias, alias)) {
            Some(Source { is_target: true, entitlement: Some(target), .. }) => {
                Meaning::Target(Arc::clone(target))
            }
            Some(Source { columns: Some(columns), .. }) => columns
                .iter()
                .find(|column| same(&column.name, name))
                .map_or(Meaning::Unknown, |column| Meaning::Visible(column.data_type.clone())),
            Some(_) => Meaning::Visible(None),
            None => Meaning::Unknown,
        }
    }

    /// The alias under which `schema.relation` stands.
    pub(crate) fn alias_of(&self, relation: &RelationName) -> Option<&str> {
        let sources = self.scopes.iter().rev().flat_map(|scope| &scope.sources);
        sources
            .clone()
            .find(|source| source.unaliased.as_ref() == Some(relation))
            .map(|source| source.alias.as_str())
    }

    pub(crate) fn source(&self, alias: &str, same: Same) -> Option<&Source> {
        self.scopes.iter().rev().flat_map(|scope| &scope.sources).find(|source| same(&source.alias, alias))
    }
}

/// Whether two names are the same in a dialect.
pub(crate) type Same = fn(&str, &str) -> bool;

pub(crate) fn same_exactly(left: &str, right: &str) -> bool {
    left == right
}

pub(crate) fn same_without_case(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
}

impl Source {
    fn meaning(&self, name: &str, same: Same, system: &[&str], is_opaque_before: bool) -> Option<Meaning> {
        let has = |columns: &[Output]| {
            columns.iter().find(|column| same(&column.name, name)).map(|column| column.data_type.clone())
        };
        if !self.is_target {
            return self.columns.as_deref().and_then(has).map(Meaning::Visible);
        }
        let target = self.entitlement.as_ref()?;
        let visible = target.columns.iter().find(|column| same(&column.name, name));
        let exists = visible.is_some()
            || target.hidden.iter().any(|hidden| same(hidden, name))
            || system.iter().any(|column| same(column, name));
        match visible {
            _ if !exists => None,
            Some(column) if is_opaque_before && column.mask.is_some() => Some(Meaning::Unclear),
            Some(_) if is_opaque_before => Some(Meaning::Visible(None)),
            Some(_) => Some(Meaning::Target(Arc::clone(target))),
            // What is hidden sounds like what is missing, also where something else might have a column of that name.
            None => Some(Meaning::Unknown),
        }
    }
}
