//! Whose rows are whose, by what the catalog and the intent say: never by what the model of that relation says, because
//! that is what is to be proven.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_policy::expression::PrincipalPath;
use ringfence_policy::filter::wildcard_matches;
use ringfence_policy::intent::{SharedRows, relation_name};
use ringfence_policy::{
    Catalog, Constraint, Intent, Policy, Relation, RelationKind, RelationName, folded, names_a_tenant,
};

use super::world::relations;

/// How a relation's rows say which tenant they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ownership {
    /// By a column.
    Column(String),
    /// By the rows that they refer to.
    Parents(Vec<Link>),
    /// Not at all: they are meant for everybody.
    Shared,
    /// Nothing says.
    Nobody,
}

/// A reference to rows that may say whose they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) columns: Vec<String>,
    pub(super) target: RelationName,
    pub(super) target_columns: Vec<String>,
    /// How many of the columns find the other row; the others only have to agree.
    pub(super) key: usize,
    /// Whether the catalog or the intent says so; else the rows have to bear it out.
    pub(super) declared: bool,
}

impl Link {
    pub(super) fn key_columns(&self) -> impl Iterator<Item = &String> {
        self.columns.iter().take(self.key)
    }

    pub(super) fn key_targets(&self) -> impl Iterator<Item = &String> {
        self.target_columns.iter().take(self.key)
    }

    fn one(column: &str, target: &RelationName, target_column: &str) -> Self {
        Self {
            columns: vec![column.to_owned()],
            target: target.clone(),
            target_columns: vec![target_column.to_owned()],
            key: 1,
            declared: false,
        }
    }
}

/// What the models are scoped by, taken together: one model that is scoped by something else is in the minority.
pub(super) struct Custom {
    /// Columns that at least two models are scoped by, folded.
    columns: BTreeSet<String>,
    /// The value that most of them have to equal.
    pub(super) value: PrincipalPath,
}

impl Custom {
    pub(super) fn of(policy: &Policy, intent: &Intent) -> Self {
        let mut columns: BTreeMap<String, usize> = BTreeMap::new();
        let mut values: BTreeMap<&PrincipalPath, usize> = BTreeMap::new();
        for (column, path) in policy.models.values().flat_map(|model| &model.scoping) {
            // Every table may refer to users, and the table of tenants is found by what refers to it.
            if *path == PrincipalPath::UserId || column.eq_ignore_ascii_case("id") {
                continue;
            }
            *columns.entry(folded(column)).or_default() += 1;
            if names_a_tenant(column) || is_named(intent, column) {
                *values.entry(path).or_default() += 1;
            }
        }
        let most = values.into_iter().max_by_key(|(path, count)| (*count, **path == PrincipalPath::TenantId));
        let value = intent.tenant_value().or_else(|| most.map(|(path, _)| path.clone()));
        let columns = columns.into_iter().filter(|(_, count)| *count > 1).map(|(column, _)| column).collect();
        Self { columns, value: value.unwrap_or(PrincipalPath::TenantId) }
    }

    /// Whether the column's name says whose row it is.
    pub(super) fn names(&self, intent: &Intent, column: &str) -> bool {
        if !intent.tenant.columns.is_empty() {
            return is_named(intent, column);
        }
        names_a_tenant(column) || self.columns.contains(&folded(column))
    }
}

fn is_named(intent: &Intent, column: &str) -> bool {
    intent.tenant.columns.iter().any(|pattern| wildcard_matches(pattern, column, true))
}

/// How the rows of each relation say whose they are, as far as names and keys tell.
pub(super) fn find(
    catalog: &Catalog,
    policy: &Policy,
    custom: &Custom,
    intent: &Intent,
) -> BTreeMap<RelationName, Ownership> {
    let mut found = BTreeMap::new();
    for (name, relation) in relations(catalog) {
        let said = said(policy, intent, &name);
        found.insert(name.clone(), said.unwrap_or_else(|| named(catalog, custom, intent, &name, relation)));
    }
    // The table of tenants: what the tenant's column of others refers to.
    for (_, relation) in relations(catalog) {
        for constraint in &relation.constraints {
            let Constraint::Foreign { columns, target_schema, target_relation, target_columns } = constraint
            else {
                continue;
            };
            let target = RelationName::new(target_schema, target_relation);
            if let ([column], [target_column]) = (columns.as_slice(), target_columns.as_slice())
                && custom.names(intent, column)
                && said(policy, intent, &target).is_none()
                && !matches!(found.get(&target), Some(Ownership::Column(_)) | None)
            {
                found.insert(target, Ownership::Column(target_column.clone()));
            }
        }
    }
    found
}

/// What the intent says of the relation.
fn said(policy: &Policy, intent: &Intent, name: &RelationName) -> Option<Ownership> {
    let is_meant = |text: &str| relation_name(policy.schema(), text).as_ref() == Some(name);
    let (_, told) = intent.relations.0.iter().find(|(key, _)| is_meant(&key.value))?;
    if let Some(column) = &told.tenant {
        return Some(Ownership::Column(column.clone()));
    }
    if let Some(parent) = &told.parent {
        let link = Link {
            columns: told.on.0.iter().map(|(column, _)| column.value.clone()).collect(),
            target: relation_name(policy.schema(), &parent.value)?,
            target_columns: told.on.0.iter().map(|(_, column)| column.clone()).collect(),
            key: told.on.0.len(),
            declared: true,
        };
        return Some(Ownership::Parents(vec![link]));
    }
    matches!(told.shared, Some(SharedRows::All(true))).then_some(Ownership::Shared)
}

/// What names and keys say of it.
fn named(
    catalog: &Catalog,
    custom: &Custom,
    intent: &Intent,
    name: &RelationName,
    relation: &Relation,
) -> Ownership {
    if let Some(column) = relation.columns.iter().find(|column| custom.names(intent, &column.name)) {
        return Ownership::Column(column.name.clone());
    }
    let mut links: Vec<Link> = relation.constraints.iter().filter_map(|it| declared(relation, it)).collect();
    let is_view = matches!(relation.kind, RelationKind::View | RelationKind::MaterializedView);
    for (target, other) in relations(catalog).filter(|(target, _)| target != name) {
        let Some(key) = single_key(other) else { continue };
        for column in &relation.columns {
            let is_linked = links.iter().any(|link| link.columns.contains(&column.name));
            if !is_linked
                && refers_by_name(&column.name, &other.name, key)
                && is_owner(column.nullable || is_view, &column.name, is_view)
            {
                links.push(Link::one(&column.name, &target, key));
            }
        }
        if is_view {
            links.extend(copied(relation, &target, other, key));
        }
    }
    if links.is_empty() { Ownership::Nobody } else { Ownership::Parents(links) }
}

/// A foreign key that says whose the row is: one that every row has, and that is not about who changed it.
fn declared(relation: &Relation, constraint: &Constraint) -> Option<Link> {
    let Constraint::Foreign { columns, target_schema, target_relation, target_columns } = constraint else {
        return None;
    };
    let nullable = |name: &String| {
        relation.columns.iter().find(|column| column.name == *name).is_none_or(|column| column.nullable)
    };
    if columns.iter().any(|column| !is_owner(nullable(column), column, false)) {
        return None;
    }
    Some(Link {
        columns: columns.clone(),
        target: RelationName::new(target_schema, target_relation),
        target_columns: target_columns.clone(),
        key: columns.len(),
        declared: true,
    })
}

/// Whether such a reference can say whose the row is. `updated_by` says who had it in hand.
fn is_owner(nullable: bool, column: &str, is_view: bool) -> bool {
    (is_view || !nullable) && !folded(column).ends_with("by")
}

fn single_key(relation: &Relation) -> Option<&str> {
    relation.constraints.iter().find_map(|constraint| match constraint {
        Constraint::Primary { columns } => match columns.as_slice() {
            [one] => Some(one.as_str()),
            _ => None,
        },
        Constraint::Unique { .. } | Constraint::Foreign { .. } => None,
    })
}

/// `order_id`, of `orders.id`.
fn refers_by_name(column: &str, table: &str, key: &str) -> bool {
    let (column, table, key) = (folded(column), folded(table), folded(key));
    let singular = table
        .strip_suffix("ies")
        .map(|stem| format!("{stem}y"))
        .or_else(|| table.strip_suffix("ses").map(|stem| format!("{stem}s")))
        .or_else(|| table.strip_suffix('s').map(str::to_owned));
    column == format!("{table}{key}")
        || singular.is_some_and(|singular| column == format!("{singular}{key}"))
        || (column == key && key != "id")
}

/// A view that shows a table's key beside other columns of it, under their names.
fn copied(view: &Relation, target: &RelationName, table: &Relation, key: &str) -> Option<Link> {
    let has = |relation: &Relation, name: &str| relation.columns.iter().any(|column| column.name == name);
    if !has(view, key) {
        return None;
    }
    let others = view.columns.iter().map(|column| &column.name);
    let others: Vec<String> = others.filter(|name| *name != key && has(table, name)).cloned().collect();
    if others.is_empty() {
        return None;
    }
    let columns: Vec<String> = std::iter::once(key.to_owned()).chain(others).collect();
    Some(Link { target_columns: columns.clone(), columns, target: target.clone(), key: 1, declared: false })
}

impl Ownership {
    /// In the words of reports.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Column(column) => column.clone(),
            Self::Parents(links) => {
                let targets: BTreeSet<String> = links.iter().map(|link| link.target.to_string()).collect();
                format!("through {}", Vec::from_iter(targets).join(", "))
            }
            Self::Shared => "everybody's".to_owned(),
            Self::Nobody => "nothing says".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refer_to_tables() {
        for (column, table, key, refers) in [
            ("order_id", "orders", "id", true),
            ("orderId", "orders", "id", true),
            ("category_id", "categories", "id", true),
            ("address_id", "addresses", "id", true),
            ("bus_id", "buses", "id", true),
            ("order_no", "orders", "order_no", true),
            ("id", "orders", "id", false),
            ("order_id", "customers", "id", false),
        ] {
            assert_eq!(refers_by_name(column, table, key), refers, "{column} {table}.{key}");
        }
    }

    #[test]
    fn who_changed_a_row_does_not_own_it() {
        assert!(is_owner(false, "order_id", false) && is_owner(true, "order_id", true));
        assert!(!is_owner(true, "order_id", false) && !is_owner(false, "updated_by", false));
    }
}
