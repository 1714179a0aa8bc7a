//! A schema or a database for each tenant, as a document says it.

use super::Compiler;
use crate::connection::ConnectionKind;
use crate::document::Document;
use crate::placed::{Place, Placed};
use crate::problem::Problem;
use crate::tenancy::{Realm, Template, Tenancy, TenancyEntry};

/// What the document says of tenants' schemas or databases, made for one of them or for nobody, and what is wrong with it.
pub(super) fn tenancy(
    (file, source): (&str, &str),
    document: &Document,
    kind: ConnectionKind,
    tenant: Option<&str>,
) -> (Option<Tenancy>, Vec<Problem>) {
    let Some(entry) = &document.tenancy else { return (None, Vec::new()) };
    let mut problems = Vec::new();
    let mut problem = |place: Place, message: String| problems.push(Problem::new(file, place, message));
    let (realm, name) = match (&entry.schema, &entry.database) {
        (Some(name), None) => (Realm::Schema, name),
        (None, Some(name)) => (Realm::Database, name),
        (Some(name), Some(_)) => {
            problem(name.place, "a tenant has a schema or a database of its own, not both".to_owned());
            (Realm::Schema, name)
        }
        (None, None) => {
            let message = "`tenancy` says what each tenant has: `schema: \"{tenant_id}\"` or `database: \"{tenant_id}\"`";
            problem(Place::default(), message.to_owned());
            return (None, problems);
        }
    };
    let cannot = match (realm, kind) {
        (Realm::Schema, ConnectionKind::Postgresql | ConnectionKind::Mysql)
        | (Realm::Database, ConnectionKind::Postgresql | ConnectionKind::Sqlite) => None,
        (Realm::Schema, ConnectionKind::Sqlite) => {
            Some("this kind of connection has no schemas: give each tenant a `database` of its own")
        }
        (Realm::Database, ConnectionKind::Mysql) => Some("databases are schemas here: write `schema`"),
        (_, ConnectionKind::Lake) => {
            Some("a lake has one schema: keep tenants apart by conditions on its rows")
        }
        (_, ConnectionKind::Push) => Some("a pushed catalog has no rows to keep apart"),
    };
    if let Some(message) = cannot {
        problem(name.place, message.to_owned());
    }
    match realm {
        Realm::Schema => check_schemas(entry, document, name.place, &mut problem),
        Realm::Database => {
            for said in entry.shared.iter().chain(&entry.template) {
                let message = "`shared` and `template` are for schemas: a tenant's database is made like the connection's own, whole";
                problem(said.place, message.to_owned());
            }
        }
    }
    let what = match realm {
        Realm::Schema => "schema",
        Realm::Database => "database",
    };
    let template = Template::parse(&name.value)
        .map_err(|message| problem(name.place, format!("the tenant's {what}: {message}")));
    let tenancy = template.ok().map(|template| Tenancy {
        realm,
        name: template,
        shared: entry.shared.iter().map(|name| name.value.clone()).collect(),
        template: entry.template.as_ref().map(|name| name.value.clone()),
        resolved: tenant.map(str::to_owned),
        document: source.into(),
    });
    (tenancy, problems)
}

fn check_schemas(
    entry: &TenancyEntry,
    document: &Document,
    place: Place,
    problem: &mut impl FnMut(Place, String),
) {
    if !document.search_schemas.is_empty() {
        let message =
            "`search_schemas` and `tenancy` say the same thing twice: list shared schemas in `shared`";
        problem(place, message.to_owned());
    }
    for name in entry.shared.iter().chain(&entry.template).filter(|name| name.value.is_empty()) {
        problem(name.place, "a schema has a name".to_owned());
    }
    if let Some(name) = entry.template.as_ref().filter(|name| is_among(name, &entry.shared)) {
        problem(name.place, "the template is not shared: tenants see their own schemas".to_owned());
    }
}

fn is_among(name: &Placed<String>, others: &[Placed<String>]) -> bool {
    others.iter().any(|other| other.value.eq_ignore_ascii_case(&name.value))
}

/// Where names without a schema are looked up: first in the tenant's own.
pub(super) fn search(tenancy: &Tenancy, own: &str) -> Vec<String> {
    let shared = tenancy.shared.iter().filter(|shared| *shared != own).cloned();
    std::iter::once(own.to_owned()).chain(shared).collect()
}

impl Compiler<'_> {
    /// A rule on a table that no tenant could see would protect nothing.
    pub(super) fn beside_tenants(&mut self, schema: &str, place: Place) {
        if self.shared.is_some_and(|shared| !shared.iter().any(|known| known == schema)) {
            let message = format!(
                "`{schema}` is not among the shared schemas: name a tenant's own tables without a schema"
            );
            self.problem(place, message);
        }
    }
}
