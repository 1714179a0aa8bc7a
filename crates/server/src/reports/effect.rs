//! What a document would change, and for whom.

use ringfence_gateway::policies::{
    Access, ColumnChange, GroupEffect, PolicyEffect, RelationEffect, RowsEffect, WriteChange,
};
use serde::Serialize;
use utoipa::ToSchema;

/// The effect of a document against the policy in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "version": 3, "users": 12, "users_left_out": 0, "unchanged": 11, "groups_left_out": 0, "counts": 3, "counts_left_out": false,
    "groups": [{ "users": ["ann"], "roles": ["api-user", "ROLE_FRANCE"], "relations": [{
        "relation": "public.orders", "before": "visible", "after": "visible", "columns_gained": [], "columns_lost": ["note"],
        "columns_changed": [{"column": "card", "before": "in clear", "after": "masked"}], "writes": [{"action": "create", "before": "allow", "after": "deny"}],
        "rows_change": true, "rows": [{"user": "ann", "tenant": "acme", "before": 120, "after": 80, "gained": 0, "lost": 40}],
    }]}],
}))]
pub(crate) struct EffectReport {
    /// The version in force that it is held against; null for an open connection.
    version: Option<i64>,
    /// Users that were looked through.
    users: usize,
    /// Users that were not, because there are too many.
    users_left_out: usize,
    /// Users for whom nothing changes.
    unchanged: usize,
    /// Users for whom something does, by what changes for them.
    groups: Vec<Group>,
    /// Groups that are not told, because there are too many.
    groups_left_out: usize,
    /// Statements that counted rows.
    counts: usize,
    /// Whether rows were left uncounted, because there would have been too many statements.
    counts_left_out: bool,
}

/// Users whose views are equal before, and equal after.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EffectGroup)]
struct Group {
    users: Vec<String>,
    /// Roles and data roles that all of them have.
    roles: Vec<String>,
    relations: Vec<Relation>,
}

/// What changes on one relation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RelationEffect)]
#[expect(clippy::struct_field_names, reason = "the names are those of the answer")]
struct Relation {
    relation: String,
    /// `visible`, `missing`, `suspended`, or `needs` and the attribute that is not set.
    before: String,
    /// The same, after.
    after: String,
    columns_gained: Vec<String>,
    columns_lost: Vec<String>,
    columns_changed: Vec<Column>,
    writes: Vec<Write>,
    /// Whether other rows may be seen.
    rows_change: bool,
    /// Rows as they were counted, for some users of the group.
    rows: Vec<Rows>,
}

/// What is shown of a column.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ColumnEffect)]
#[expect(clippy::struct_field_names, reason = "the names are those of the answer")]
struct Column {
    column: String,
    before: &'static str,
    after: &'static str,
}

/// A right to change rows.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WriteEffect)]
struct Write {
    /// `create`, `update`, `delete`, or `rules` for all else that a write policy says.
    action: &'static str,
    before: &'static str,
    after: &'static str,
}

/// Rows that one user sees.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RowsEffect)]
struct Rows {
    user: String,
    tenant: String,
    before: u64,
    after: u64,
    gained: u64,
    lost: u64,
    /// Why they could not be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    problem: Option<String>,
}

impl From<PolicyEffect> for EffectReport {
    fn from(effect: PolicyEffect) -> Self {
        Self {
            version: effect.version,
            users: effect.users,
            users_left_out: effect.users_left_out,
            unchanged: effect.unchanged,
            groups: effect.groups.into_iter().map(Group::from).collect(),
            groups_left_out: effect.groups_left_out,
            counts: effect.counts,
            counts_left_out: effect.counts_left_out,
        }
    }
}

impl From<GroupEffect> for Group {
    fn from(GroupEffect { users, roles, relations }: GroupEffect) -> Self {
        Self { users, roles, relations: relations.into_iter().map(Relation::from).collect() }
    }
}

impl From<RelationEffect> for Relation {
    fn from(effect: RelationEffect) -> Self {
        let column = |ColumnChange { column, before, after }| Column { column, before, after };
        let write = |WriteChange { action, before, after }| Write { action, before, after };
        let rows = |RowsEffect { user, tenant, before, after, gained, lost, problem }| Rows {
            user,
            tenant,
            before,
            after,
            gained,
            lost,
            problem,
        };
        Self {
            relation: effect.relation.to_string(),
            before: word(&effect.access.0),
            after: word(&effect.access.1),
            columns_gained: effect.columns_gained,
            columns_lost: effect.columns_lost,
            columns_changed: effect.columns_changed.into_iter().map(column).collect(),
            writes: effect.writes.into_iter().map(write).collect(),
            rows_change: effect.rows_change,
            rows: effect.rows.into_iter().map(rows).collect(),
        }
    }
}

fn word(access: &Access) -> String {
    match access {
        Access::Visible => "visible".to_owned(),
        Access::Missing => "missing".to_owned(),
        Access::Suspended => "suspended".to_owned(),
        Access::Needs(attribute) => format!("needs {attribute}"),
    }
}

impl EffectReport {
    /// For people at a terminal: one line for each thing that changes. `paint` marks what is gained and what is lost.
    pub(crate) fn lines(&self, paint: impl Fn(Mark, &str) -> String) -> Vec<String> {
        let against = self
            .version
            .map_or_else(|| "the open connection".to_owned(), |version| format!("version {version}"));
        let changed = self.users.saturating_sub(self.unchanged);
        let mut lines = vec![format!("against {against}: {changed} of {} users are affected", self.users)];
        for group in &self.groups {
            lines.push(String::new());
            let users = some(&group.users);
            let roles = group.roles.join(", ");
            let title = if roles.is_empty() { users } else { format!("{users} ({roles})") };
            lines.push(paint(Mark::Title, &title));
            for relation in &group.relations {
                relation.tell(&mut lines, &paint);
            }
        }
        let left_out = [
            (self.users_left_out > 0)
                .then(|| format!("{} users were not looked through", self.users_left_out)),
            (self.groups_left_out > 0)
                .then(|| format!("{} more groups of users are affected", self.groups_left_out)),
            self.counts_left_out.then(|| "not all rows were counted: name fewer users".to_owned()),
        ];
        for line in left_out.into_iter().flatten() {
            lines.push(String::new());
            lines.push(paint(Mark::Lost, &line));
        }
        lines
    }
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A heading.
    Title,
    /// More is seen or allowed.
    Gained,
    /// Less is.
    Lost,
}

impl Relation {
    fn tell(&self, lines: &mut Vec<String>, paint: &impl Fn(Mark, &str) -> String) {
        let access = if self.before == self.after {
            String::new()
        } else {
            let mark = if self.after == "visible" { Mark::Gained } else { Mark::Lost };
            format!("  {}", paint(mark, &format!("{} -> {}", self.before, self.after)))
        };
        lines.push(format!("  {}{access}", self.relation));
        // Of a relation that comes or goes, the columns say nothing more.
        if self.before == "visible" && self.after == "visible" {
            for (sign, mark, columns) in
                [("+", Mark::Gained, &self.columns_gained), ("-", Mark::Lost, &self.columns_lost)]
            {
                for column in columns {
                    lines.push(format!("    {}", paint(mark, &format!("{sign} column {column}"))));
                }
            }
        }
        for Column { column, before, after } in &self.columns_changed {
            let mark = if *after == "in clear" { Mark::Gained } else { Mark::Lost };
            lines.push(format!("    {}", paint(mark, &format!("~ column {column}: {before} -> {after}"))));
        }
        for Write { action, before, after } in &self.writes {
            let mark = if *after == "deny" { Mark::Lost } else { Mark::Gained };
            lines.push(format!("    {}", paint(mark, &format!("~ {action}: {before} -> {after}"))));
        }
        if self.rows_change && self.rows.is_empty() {
            lines.push("    ~ rows: may change (not counted)".to_owned());
        }
        for rows in &self.rows {
            rows.tell(lines, paint);
        }
    }
}

impl Rows {
    fn tell(&self, lines: &mut Vec<String>, paint: &impl Fn(Mark, &str) -> String) {
        let who = format!("{} of {}", self.user, self.tenant);
        if let Some(problem) = &self.problem {
            lines.push(format!("    rows for {who}: could not be counted: {problem}"));
            return;
        }
        let mut changes = Vec::new();
        if self.gained > 0 {
            changes.push(paint(Mark::Gained, &format!("+{}", self.gained)));
        }
        if self.lost > 0 {
            changes.push(paint(Mark::Lost, &format!("-{}", self.lost)));
        }
        let changes = if changes.is_empty() { "the same rows".to_owned() } else { changes.join(" ") };
        lines.push(format!("    rows for {who}: {} -> {} ({changes})", self.before, self.after));
    }
}

/// The first few names, and how many more.
fn some(names: &[String]) -> String {
    const FEW: usize = 8;
    let shown = names.iter().take(FEW).cloned().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(FEW);
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
