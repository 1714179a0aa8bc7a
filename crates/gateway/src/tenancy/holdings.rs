//! What is a tenant's: the tables of its schema, and its rows in tables that several tenants share.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_engine::operator::OperatorSession;
use ringfence_policy::expression::PrincipalPath;
use ringfence_policy::{Policy, TenantId};

use super::{Estate, cell, ident, literal, literals};
use crate::Refused;

/// A table with rows of a tenant.
#[derive(Debug, Clone)]
pub(super) struct Holding {
    pub(super) schema: String,
    pub(super) table: String,
    /// Its columns in order, without those that the database computes, with their types.
    pub(super) columns: Vec<(String, String)>,
    /// The columns of its primary key.
    key: Vec<String>,
    /// The column that says whose a row is, in a table that is not the tenant's alone.
    pub(super) scope: Option<String>,
}

/// All that is one tenant's.
#[derive(Debug, Clone)]
pub(super) struct Holdings {
    pub(super) tenant: TenantId,
    /// Its schema, where tenants have them.
    pub(super) schema: Option<String>,
    /// In an order in which every row that is referred to stands before those that refer to it, as far as there is one.
    pub(super) tables: Vec<Holding>,
}

const COLUMNS: &str = "
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
  COALESCE(array_position(k.conkey, a.attnum)::text, '')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
WHERE n.nspname = ANY ($) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY n.nspname, c.relname, a.attnum";

const REFERENCES: &str = "
SELECT n.nspname, c.relname, m.nspname, d.relname FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class d ON d.oid = k.confrelid JOIN pg_catalog.pg_namespace m ON m.oid = d.relnamespace
WHERE k.contype = 'f' AND n.nspname = ANY ($)";

impl Holding {
    /// The table, as SQL names it.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", ident(&self.schema), ident(&self.table))
    }

    /// Its columns, as SQL lists them.
    pub(super) fn column_list(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|(name, _)| ident(name)).collect();
        columns.join(", ")
    }

    /// Which of its rows are the tenant's.
    pub(super) fn condition(&self, tenant: &TenantId) -> String {
        match &self.scope {
            Some(column) => format!("{}::text = {}", ident(column), literal(tenant.as_str())),
            None => "true".to_owned(),
        }
    }

    /// The tenant's rows, always in the same order.
    pub(super) fn select(&self, tenant: &TenantId) -> String {
        let ordered = if self.key.is_empty() {
            &self.columns.iter().map(|it| it.0.clone()).collect()
        } else {
            &self.key
        };
        let order: Vec<String> = ordered.iter().map(|name| format!("t.{}::text", ident(name))).collect();
        let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
        format!(
            "SELECT {} FROM {} t WHERE {}{order}",
            self.column_list(),
            self.name(),
            self.condition(tenant)
        )
    }

    /// How many rows the tenant has, and one value that changes when any of them does.
    pub(super) fn fingerprint(&self, tenant: &TenantId) -> String {
        format!(
            "SELECT count(*)::text, COALESCE(md5(string_agg(h, '' ORDER BY h)), '') FROM (SELECT md5(ROW({})::text) AS h \
             FROM {} WHERE {}) x",
            self.column_list(),
            self.name(),
            self.condition(tenant)
        )
    }
}

impl Estate<'_> {
    /// What is the tenant's in the database now.
    pub(super) async fn holdings(&self, session: &OperatorSession, id: &str) -> Result<Holdings, Refused> {
        self.is_not_for_databases("remove it with the database's own tools")?;
        let tenant = self.tenant(id).await?.id;
        let schema = match &self.policy.tenancy {
            Some(_) => Some(self.member(id).await?.schema),
            None => None,
        };
        let scoped = scoped(&self.policy, schema.as_deref())?;
        let schemas: BTreeSet<&str> =
            scoped.keys().map(|(schema, _)| schema.as_str()).chain(schema.as_deref()).collect();
        let schemas = literals(schemas.into_iter());
        let mut tables: Vec<Holding> = Vec::new();
        let mut keys: Vec<(usize, String)> = Vec::new();
        for row in session.rows(&COLUMNS.replace('$', &schemas)).await? {
            let name = (cell(&row, 0), cell(&row, 1));
            let scope = scoped.get(&name).cloned();
            if scope.is_none() && schema.as_ref() != Some(&name.0) {
                continue;
            }
            let is_new = tables.last().is_none_or(|last| (&last.schema, &last.table) != (&name.0, &name.1));
            if is_new {
                let (schema_name, table) = name;
                // In the tenant's own schema every row is the tenant's.
                let scope = scope.filter(|_| schema.as_ref() != Some(&schema_name));
                finish(&mut tables, &mut keys);
                tables.push(Holding {
                    schema: schema_name,
                    table,
                    columns: Vec::new(),
                    key: Vec::new(),
                    scope,
                });
            }
            if let Some(last) = tables.last_mut() {
                last.columns.push((cell(&row, 2), cell(&row, 3)));
            }
            if let Ok(place) = cell(&row, 4).parse() {
                keys.push((place, cell(&row, 2)));
            }
        }
        finish(&mut tables, &mut keys);
        for (schema, table) in scoped.keys() {
            if !tables.iter().any(|known| (&known.schema, &known.table) == (schema, table)) {
                return Err(Refused::invalid(format!(
                    "the policy names the table {schema}.{table}, which is not there"
                )));
            }
        }
        let references = session.rows(&REFERENCES.replace('$', &schemas)).await?;
        let references: BTreeSet<_> = references
            .iter()
            .map(|row| ((cell(row, 0), cell(row, 1)), (cell(row, 2), cell(row, 3))))
            .collect();
        Ok(Holdings { tenant, schema, tables: ordered(tables, &references) })
    }
}

fn finish(tables: &mut [Holding], keys: &mut Vec<(usize, String)>) {
    keys.sort();
    if let Some(last) = tables.last_mut() {
        last.key = keys.drain(..).map(|(_, name)| name).collect();
    }
    keys.clear();
}

/// Tables whose rows the policy tells apart by the tenant's id, and the column that does.
fn scoped(policy: &Policy, own: Option<&str>) -> Result<BTreeMap<(String, String), String>, Refused> {
    let resolved = match own {
        Some(schema) => policy.for_tenant(schema).map_err(|invalid| Refused::invalid(invalid.to_string()))?,
        None => policy.clone(),
    };
    let mut scoped = BTreeMap::new();
    for model in resolved.models.values() {
        let column = model.scoping.iter().find(|(_, path)| *path == PrincipalPath::TenantId);
        if let Some((column, _)) = column.filter(|_| own != Some(model.relation.schema.as_str())) {
            scoped.insert((model.relation.schema.clone(), model.relation.name.clone()), column.clone());
        }
    }
    if own.is_none() && scoped.is_empty() {
        return Err(Refused::invalid(
            "nothing here is a tenant's: the policy has neither `tenancy` nor a model scoped by principal.tenant_id",
        ));
    }
    Ok(scoped)
}

type Name = (String, String);

/// What is referred to goes first; where tables refer to each other in a circle, any order is as good.
fn ordered(mut tables: Vec<Holding>, references: &BTreeSet<(Name, Name)>) -> Vec<Holding> {
    let mut placed = Vec::with_capacity(tables.len());
    while !tables.is_empty() {
        let names: BTreeSet<Name> = tables.iter().map(|it| (it.schema.clone(), it.table.clone())).collect();
        let waits = |table: &Holding| {
            let own = (table.schema.clone(), table.table.clone());
            references.iter().any(|(from, to)| *from == own && *to != own && names.contains(to))
        };
        let next = tables.iter().position(|table| !waits(table)).unwrap_or(0);
        placed.push(tables.remove(next));
    }
    placed
}
