//! The effect of a policy document: what views gain and lose by it, group by group and relation by relation.

use std::collections::BTreeSet;

use ringfence_policy::{Denial, Entitlement, Expression, Permit, RelationName, View, VisibleColumn};

/// What a document changes for the people of an organization.
#[derive(Debug, Clone, Default)]
pub struct PolicyEffect {
    /// The version that it is held against; `None` for an open connection.
    pub version: Option<i64>,
    /// Users that were looked through.
    pub users: usize,
    /// Users that were not, because there are too many.
    pub users_left_out: usize,
    /// Users for whom nothing changes.
    pub unchanged: usize,
    /// Those for whom something does, by what changes for them.
    pub groups: Vec<GroupEffect>,
    /// Groups that are not told, because there are too many.
    pub groups_left_out: usize,
    /// Statements that counted rows.
    pub counts: usize,
    /// Whether rows are left uncounted because there would have been too many statements.
    pub counts_left_out: bool,
}

/// Users whose views are equal before, and equal after.
#[derive(Debug, Clone)]
pub struct GroupEffect {
    /// Their ids.
    pub users: Vec<String>,
    /// Product roles and data roles that all of them have.
    pub roles: Vec<String>,
    /// By name.
    pub relations: Vec<RelationEffect>,
}

/// Whether a relation is there for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// It is.
    Visible,
    /// It does not exist.
    Missing,
    /// The database moved away from under its policy.
    Suspended,
    /// An attribute is missing, which it needs.
    Needs(String),
}

/// What changes on one relation.
#[derive(Debug, Clone)]
pub struct RelationEffect {
    /// Which one.
    pub relation: RelationName,
    /// Before and after.
    pub access: (Access, Access),
    /// Columns that come into being.
    pub columns_gained: Vec<String>,
    /// Columns that go.
    pub columns_lost: Vec<String>,
    /// Columns that show something else.
    pub columns_changed: Vec<ColumnChange>,
    /// What may be changed.
    pub writes: Vec<WriteChange>,
    /// Whether other rows may be seen.
    pub rows_change: bool,
    /// Rows as they were counted, for some of the group.
    pub rows: Vec<RowsEffect>,
}

/// What is shown of a column: `in clear`, `masked`, `masked otherwise`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ColumnChange {
    pub column: String,
    pub before: &'static str,
    pub after: &'static str,
}

/// A right to change rows: `create`, `update`, `delete`, and `rules` for all else a write policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct WriteChange {
    pub action: &'static str,
    pub before: &'static str,
    pub after: &'static str,
}

/// Rows of one relation that one user sees.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct RowsEffect {
    pub user: String,
    pub tenant: String,
    pub before: u64,
    pub after: u64,
    pub gained: u64,
    pub lost: u64,
    /// Why they could not be counted.
    pub problem: Option<String>,
}

/// What two views of the same principal differ in, by relation. With `other_values` the two are of one principal of whom
/// the policies read different attributes, so that equal conditions may show other rows.
pub(super) fn differences(before: &View, after: &View, other_values: bool) -> Vec<RelationEffect> {
    let views = [before, after];
    let all = views.iter().flat_map(|view| view.relations.keys().chain(view.unresolved.keys()));
    let names: BTreeSet<&RelationName> = all.collect();
    names.into_iter().filter_map(|name| difference(name, before, after, other_values)).collect()
}

fn difference(
    name: &RelationName,
    before: &View,
    after: &View,
    other_values: bool,
) -> Option<RelationEffect> {
    let entitlements = (before.relations.get(name), after.relations.get(name));
    let other_rows = other_values && entitlements.0.is_some_and(|it| it.rows != Expression::truth(true));
    if let (Some(one), Some(other)) = entitlements
        && one == other
        && !other_rows
    {
        return None;
    }
    let access = (access(name, before), access(name, after));
    if entitlements == (None, None) && access.0 == access.1 {
        return None;
    }
    let none: &[VisibleColumn] = &[];
    let columns = (
        entitlements.0.map_or(none, |entitlement| &entitlement.columns),
        entitlements.1.map_or(none, |entitlement| &entitlement.columns),
    );
    let effect = RelationEffect {
        relation: name.clone(),
        access,
        columns_gained: beyond(columns.1, columns.0),
        columns_lost: beyond(columns.0, columns.1),
        columns_changed: changed(columns.0, columns.1),
        writes: writes(entitlements.0.map(|it| &**it), entitlements.1.map(|it| &**it)),
        rows_change: other_rows || entitlements.0.map(|it| &it.rows) != entitlements.1.map(|it| &it.rows),
        rows: Vec::new(),
    };
    let is_change = effect.access.0 != effect.access.1
        || !effect.columns_gained.is_empty()
        || !effect.columns_lost.is_empty()
        || !effect.columns_changed.is_empty()
        || !effect.writes.is_empty()
        || effect.rows_change;
    is_change.then_some(effect)
}

fn access(name: &RelationName, view: &View) -> Access {
    if view.relations.contains_key(name) {
        return Access::Visible;
    }
    match view.unresolved.get(name) {
        Some(Denial::Suspended) => Access::Suspended,
        Some(Denial::ScopeRequired { attribute }) => Access::Needs(attribute.clone()),
        Some(Denial::Invisible(_)) | None => Access::Missing,
    }
}

/// Names that only the first list has.
fn beyond(columns: &[VisibleColumn], others: &[VisibleColumn]) -> Vec<String> {
    let is_new = |column: &&VisibleColumn| others.iter().all(|other| other.name != column.name);
    columns.iter().filter(is_new).map(|column| column.name.clone()).collect()
}

fn changed(before: &[VisibleColumn], after: &[VisibleColumn]) -> Vec<ColumnChange> {
    let pairs = after.iter().filter_map(|column| {
        let was = before.iter().find(|other| other.name == column.name)?;
        let change = match (&was.mask, &column.mask) {
            (None, None) => return None,
            (None, Some(_)) => ("in clear", "masked"),
            (Some(_), None) => ("masked", "in clear"),
            (Some(one), Some(other)) if one == other && was.writable == column.writable => return None,
            (Some(one), Some(other)) if one == other => ("masked", "masked, with other rights to write it"),
            (Some(_), Some(_)) => ("masked", "masked otherwise"),
        };
        Some(ColumnChange { column: column.name.clone(), before: change.0, after: change.1 })
    });
    pairs.collect()
}

fn writes(before: Option<&Entitlement>, after: Option<&Entitlement>) -> Vec<WriteChange> {
    let permits = |entitlement: Option<&Entitlement>| {
        entitlement.map_or([Permit::Deny; 3], |it| [it.writes.create, it.writes.update, it.writes.delete])
    };
    let actions =
        ["create", "update", "delete"].into_iter().zip(permits(before).into_iter().zip(permits(after)));
    let mut changes: Vec<WriteChange> = actions
        .filter(|(_, (before, after))| before != after)
        .map(|(action, (before, after))| WriteChange { action, before: word(before), after: word(after) })
        .collect();
    if let (Some(before), Some(after)) = (before, after)
        && changes.is_empty()
        && before.writes != after.writes
    {
        changes.push(WriteChange { action: "rules", before: "as they were", after: "otherwise" });
    }
    changes
}

const fn word(permit: Permit) -> &'static str {
    match permit {
        Permit::Deny => "deny",
        Permit::Approval => "approval",
        Permit::Allow => "allow",
    }
}
