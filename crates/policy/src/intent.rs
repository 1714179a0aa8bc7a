//! Intent: what an organization means its policies to do, said in words of its own, so that a policy can be proven
//! against something else than itself.
//!
//! It names whose rows are whose, what is secret, and who is meant to cross. Everything in it is optional: what it leaves
//! out is looked for in the catalog.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::compile::split_name;
use crate::expectations::Who;
use crate::expression::{PrincipalPath, RelationName};
use crate::placed::{Entries, Placed};
use crate::problem::{PolicyInvalid, Problem};

/// What policies on a connection are meant to hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Ringfence intent")]
pub struct Intent {
    /// What it is for, in its author's words.
    pub description: Option<String>,
    /// How rows say which tenant they belong to.
    #[serde(default)]
    pub tenant: TenantIntent,
    /// Relations whose rows do not say it that way, by `schema.relation` or `relation`.
    #[serde(default)]
    pub relations: Entries<RelationIntent>,
    /// Columns that nobody, or only some, read in clear.
    #[serde(default)]
    pub sensitive: Vec<SensitiveIntent>,
    /// Who is meant to see rows of other tenants.
    #[serde(default)]
    pub crossings: Vec<CrossingIntent>,
    /// Rows that holders of a role are meant to be held to.
    #[serde(default)]
    pub restricted: Vec<RestrictedIntent>,
    /// Limits that every statement is meant to be held to.
    pub budget: Option<BudgetIntent>,
}

/// How rows say which tenant they belong to.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantIntent {
    /// Names of the columns that hold it, `*` for any run of characters; those that are named like it when left out.
    #[serde(default)]
    pub columns: Vec<String>,
    /// What a principal's own tenant is called there; `principal.tenant_id`, or what most models are scoped by.
    pub value: Option<Placed<String>>,
}

/// Whose rows a relation holds.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelationIntent {
    /// The column that holds the tenant.
    pub tenant: Option<String>,
    /// The relation whose row owns each row.
    pub parent: Option<Placed<String>>,
    /// Columns here, and those of the parent that they refer to.
    #[serde(default)]
    pub on: Entries<String>,
    /// Rows that everybody is meant to see: `true` for all, or a condition on the relation's columns.
    pub shared: Option<SharedRows>,
    /// Whether nobody is meant to know that it is there, but for those of `except_roles`.
    #[serde(default)]
    pub hidden: bool,
    /// Roles that see a hidden relation.
    #[serde(default)]
    pub except_roles: Vec<String>,
}

/// Rows that everybody is meant to see.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SharedRows {
    /// All, or none.
    All(bool),
    /// Those for which this holds.
    Where(String),
}

/// A column that is not meant to be read in clear.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SensitiveIntent {
    /// The relation; every one when left out.
    pub relation: Option<Placed<String>>,
    /// The column, `*` for any run of characters.
    pub column: String,
    /// What may be shown instead.
    #[serde(default)]
    pub show: ShownIntent,
    /// How many characters of a value a mask may show; half of them when left out.
    pub at_most: Option<usize>,
    /// Roles that read it in clear.
    #[serde(default)]
    pub except_roles: Vec<String>,
}

/// What may be shown of a sensitive column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ShownIntent {
    /// A mask.
    #[default]
    Mask,
    /// Nothing: the column does not exist.
    Nothing,
    /// The value: it only looks like a secret.
    Clear,
}

/// Somebody who is meant to see rows of other tenants.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CrossingIntent {
    /// Its name in reports.
    pub name: String,
    /// Holders of one of these roles; everybody when left out.
    pub roles: Option<Vec<String>>,
    /// Which relations; every one when left out.
    pub relations: Option<Vec<Placed<String>>>,
    /// Which tenants: `all`, or a value of the principal such as `principal.attributes.children`.
    pub tenants: Placed<String>,
    /// Whether they may change those rows too.
    #[serde(default)]
    pub writes: bool,
}

/// Rows that holders of a role are meant to be held to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestrictedIntent {
    /// Holders of one of these roles.
    pub roles: Vec<String>,
    /// Which relation.
    pub relation: Placed<String>,
    /// The condition on its columns that holds for all that they see.
    pub only: String,
}

/// Limits that every statement is meant to be held to.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetIntent {
    /// Rows of an answer.
    pub max_rows: Option<u64>,
    /// Columns of an answer.
    pub max_fields: Option<u32>,
}

/// A file that names principals.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Ringfence principals")]
pub struct Cast {
    /// Users of the organization by their ids, and people made up.
    pub principals: Vec<Who>,
}

/// Which tenants a crossing reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Every one.
    All,
    /// Those that the principal has there.
    Those(PrincipalPath),
}

impl Intent {
    /// Reads an intent, YAML or JSON; `file` is its name in errors.
    pub fn read(file: &str, text: &str) -> Result<Self, PolicyInvalid> {
        let read: Self =
            crate::reading::read(file, text).map_err(|problem| PolicyInvalid { problems: vec![problem] })?;
        let problems = read.problems(file);
        if problems.is_empty() { Ok(read) } else { Err(PolicyInvalid { problems }) }
    }

    fn problems(&self, file: &str) -> Vec<Problem> {
        let value = "this is a value of the principal, such as `principal.tenant_id`";
        let name = "a relation is named `schema.relation` or `relation`";
        let mut problems = Vec::new();
        if let Some(text) = self.tenant.value.as_ref().filter(|text| path_of(&text.value).is_none()) {
            problems.push(Problem::new(file, text.place, value));
        }
        for crossing in self.crossings.iter().filter(|crossing| crossing.reach().is_none()) {
            problems.push(Problem::new(file, crossing.tenants.place, format!("`all`, or {value}")));
        }
        let keys = self.relations.0.iter().map(|(key, _)| key);
        let parents = self.relations.0.iter().filter_map(|(_, relation)| relation.parent.as_ref());
        let sensitive = self.sensitive.iter().filter_map(|sensitive| sensitive.relation.as_ref());
        let crossed = self.crossings.iter().filter_map(|crossing| crossing.relations.as_ref()).flatten();
        let restricted = self.restricted.iter().map(|restricted| &restricted.relation);
        for named in keys.chain(parents).chain(sensitive).chain(crossed).chain(restricted) {
            if relation_name("", &named.value).is_none() {
                problems.push(Problem::new(file, named.place, name));
            }
        }
        for (key, relation) in &self.relations.0 {
            if relation.parent.is_some() == relation.on.0.is_empty() {
                let message =
                    "`parent` and `on` belong together: the parent, and the columns that refer to it";
                problems.push(Problem::new(file, key.place, message));
            }
        }
        problems
    }

    /// Every relation that it names, with the place where it does.
    pub fn named_relations(&self) -> impl Iterator<Item = &Placed<String>> {
        let keys = self.relations.0.iter().map(|(key, _)| key);
        let parents = self.relations.0.iter().filter_map(|(_, relation)| relation.parent.as_ref());
        let sensitive = self.sensitive.iter().filter_map(|sensitive| sensitive.relation.as_ref());
        let crossed = self.crossings.iter().filter_map(|crossing| crossing.relations.as_ref()).flatten();
        let restricted = self.restricted.iter().map(|restricted| &restricted.relation);
        keys.chain(parents).chain(sensitive).chain(crossed).chain(restricted)
    }

    /// What a principal's own tenant is called in the rows, when it is said.
    pub fn tenant_value(&self) -> Option<PrincipalPath> {
        path_of(&self.tenant.value.as_ref()?.value)
    }
}

impl CrossingIntent {
    /// Which tenants it reaches; `None` when that can't be read, which reading the file refuses.
    pub fn reach(&self) -> Option<Reach> {
        if self.tenants.value == "all" {
            return Some(Reach::All);
        }
        path_of(&self.tenants.value).map(Reach::Those)
    }
}

impl Cast {
    /// Reads a file of principals, YAML or JSON; `file` is its name in errors.
    pub fn read(file: &str, text: &str) -> Result<Self, PolicyInvalid> {
        crate::reading::read(file, text).map_err(|problem| PolicyInvalid { problems: vec![problem] })
    }
}

/// The relation of that name; one without a schema is in `schema`.
pub fn relation_name(schema: &str, text: &str) -> Option<RelationName> {
    match split_name(text)?.as_slice() {
        [name] => Some(RelationName::new(schema, name)),
        [schema, name] => Some(RelationName::new(schema, name)),
        _ => None,
    }
}

/// `principal.tenant_id`, `principal.attributes.a.b` and the like.
fn path_of(text: &str) -> Option<PrincipalPath> {
    let rest = text.strip_prefix("principal.")?;
    let parts: Vec<&str> = rest.split('.').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    match parts.as_slice() {
        [name] => PrincipalPath::built_in(name),
        ["attributes" | "metadata", first, ..] if *first != crate::parse::RESERVED_ATTRIBUTE => {
            Some(PrincipalPath::Attribute(parts.iter().skip(1).map(|&part| part.to_owned()).collect()))
        }
        _ => None,
    }
}

/// The published JSON Schema of files of intent.
pub fn intent_schema() -> Value {
    schemars::schema_for!(Intent).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        Intent::read("i.yaml", text).map_or_else(|invalid| invalid.to_string(), |_| "fine".to_owned())
    }

    #[test]
    fn an_intent_is_read_strictly() {
        let all = "
tenant: { columns: [tenant_id], value: principal.attributes.tenant.number }
relations:
  public.lines: { parent: orders, on: { order_id: id } }
  products: { shared: 'is_public' }
  countries: { shared: true }
sensitive: [ { column: '*card*', at_most: 4 }, { relation: staff, column: pay, show: nothing, except_roles: [hr] } ]
crossings: [ { name: auditors, roles: [auditor], tenants: all }, { name: down, tenants: principal.attributes.below } ]
restricted: [ { roles: [paris], relation: shops, only: \"city = 'Paris'\" } ]
budget: { max_rows: 100 }";
        assert_eq!(told(all), "fine");
        for (text, part) in [
            ("tennant: {}", "unknown key `tennant`"),
            ("tenant: { value: tenant_id }", "a value of the principal"),
            ("tenant: { value: principal.attributes.ringfence.hash_key }", "a value of the principal"),
            ("crossings: [ { name: a, tenants: some } ]", "`all`, or"),
            ("relations: { a.b.c: {} }", "named `schema.relation`"),
            ("relations: { a: { parent: b } }", "belong together"),
            ("relations: { a: { on: { c: d } } }", "belong together"),
        ] {
            assert!(told(text).contains(part), "{text}: {}", told(text));
        }
    }
}
