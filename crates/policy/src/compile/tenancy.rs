//! A schema for each tenant, as a document says it.

use super::Compiler;
use crate::connection::ConnectionKind;
use crate::document::Document;
use crate::placed::{Place, Placed};
use crate::problem::Problem;
use crate::tenancy::{Template, Tenancy};

/// What the document says of tenants' schemas, made for one of them or for nobody, and what is wrong with it.
pub(super) fn tenancy(
    (file, source): (&str, &str),
    document: &Document,
    kind: ConnectionKind,
    tenant: Option<&str>,
) -> (Option<Tenancy>, Vec<Problem>) {
    let Some(entry) = &document.tenancy else { return (None, Vec::new()) };
    let mut problems = Vec::new();
    let mut problem = |place: Place, message: String| problems.push(Problem::new(file, place, message));
    match kind {
        ConnectionKind::Postgresql | ConnectionKind::Mysql => {}
        ConnectionKind::Sqlite | ConnectionKind::Lake | ConnectionKind::Push => {
            let message = "this kind of connection has no schemas: give each tenant a database of its own";
            problem(entry.schema.place, message.to_owned());
        }
    }
    if !document.search_schemas.is_empty() {
        let message =
            "`search_schemas` and `tenancy` say the same thing twice: list shared schemas in `shared`";
        problem(entry.schema.place, message.to_owned());
    }
    for name in entry.shared.iter().chain(&entry.template).filter(|name| name.value.is_empty()) {
        problem(name.place, "a schema has a name".to_owned());
    }
    if let Some(name) = entry.template.as_ref().filter(|name| is_among(name, &entry.shared)) {
        problem(name.place, "the template is not shared: tenants see their own schemas".to_owned());
    }
    let schema = Template::parse(&entry.schema.value)
        .map_err(|message| problem(entry.schema.place, format!("the tenant's schema: {message}")));
    let tenancy = schema.ok().map(|schema| Tenancy {
        schema,
        shared: entry.shared.iter().map(|name| name.value.clone()).collect(),
        template: entry.template.as_ref().map(|name| name.value.clone()),
        resolved: tenant.map(str::to_owned),
        document: source.into(),
    });
    (tenancy, problems)
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
