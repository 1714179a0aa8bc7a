//! A schema or a database for each tenant: which one is a principal's, and which other schemas there are for them.
//!
//! The name comes from a [`Template`] over the principal, never from a statement. What comes out of it is taken only when
//! it is a plain name that no other principal's values could give and that names nothing but a tenant's own schema;
//! everything else refuses the principal.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::catalog::{Catalog, Constraint, Relation, Schema};
use crate::connection::ConnectionKind;
use crate::decide::is_of_the_system;
use crate::entitlement::Denial;
use crate::expression::PrincipalPath;
use crate::parse::RESERVED_ATTRIBUTE;
use crate::placed::Placed;
use crate::policy::Policy;
use crate::principal::Principal;
use crate::problem::PolicyInvalid;

/// What databases keep of a name (`PostgreSQL` 63 bytes, MySQL 64).
pub const MAX_NAME_BYTES: usize = 63;
/// Schemas that are there before any tenant is, and hold what all of them use.
const EVERYBODYS: [&str; 4] = ["public", "main", "temp", "dbo"];

/// Each tenant has a schema, or a database, of its own: one of the two is said.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenancyEntry {
    /// The schema of a principal: `{tenant_id}`, or any text with `{tenant_id}`, `{org_id}` or `{attributes.name}` in it.
    pub schema: Option<Placed<String>>,
    /// The database of a principal, on the same server as the connection's own, which those of tenants are made like. In
    /// SQLite a file beside the connection's, named so with the same ending.
    pub database: Option<Placed<String>>,
    /// Schemas that all tenants share: names without a schema are looked up there after the tenant's own, in order.
    #[serde(default)]
    pub shared: Vec<Placed<String>>,
    /// A schema that those of tenants are made like. Its columns count for a tenant whose schema is not indexed yet, and
    /// the document's names are checked against it.
    pub template: Option<Placed<String>>,
}

/// Each tenant has a schema or a database of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenancy {
    /// What it is that each has.
    pub realm: Realm,
    /// Says which one is a principal's.
    pub name: Template,
    /// Schemas that all tenants share, in the order of looking names up.
    pub shared: Vec<String>,
    /// The schema that those of tenants are made like.
    pub template: Option<String>,
    /// The schema or database that the policy was made for; `None` for nobody's, which shows nothing.
    pub resolved: Option<String>,
    /// The document, from which it is made for each schema.
    pub document: Arc<str>,
}

/// What each tenant has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Realm {
    Schema,
    Database,
}

/// A text with values of the principal in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Value(PrincipalPath),
}

impl Tenancy {
    /// The principal's schema or database.
    //
    // INVARIANT: no principal gets the schema of another one's template values, a shared one, the template's or the
    // database's own, and one without a value gets none. Held by the test `a_schema_is_a_tenants_own_or_none`.
    pub fn own(&self, principal: &Principal, kind: ConnectionKind) -> Result<String, Denial> {
        let name = self.name.of(principal, kind)?;
        let same = |other: &String| other.eq_ignore_ascii_case(&name);
        let is_another = match self.realm {
            Realm::Schema => {
                self.shared.iter().any(same) || self.template.as_ref().is_some_and(same) || is_reserved(&name)
            }
            Realm::Database => is_of_the_server(&name),
        };
        if is_another { Err(self.denial()) } else { Ok(name) }
    }

    /// The database of the tenant that the policy was made for, where each has one.
    pub fn database(&self) -> Option<&str> {
        self.resolved.as_deref().filter(|_| self.realm == Realm::Database)
    }

    /// Whether some tenant's database could have that name.
    pub fn may_be_a_tenants(&self, database: &str) -> bool {
        self.realm == Realm::Database && self.name.fits(database)
    }

    /// What somebody hears whose values make no name that may be theirs.
    pub fn denial(&self) -> Denial {
        self.name.denial()
    }

    /// Whether relations of the schema can exist for those that the policy was made for.
    //
    // INVARIANT: whatever the catalog and the policy's default say, a schema that is neither the tenant's nor shared holds
    // nothing. Held by the test `other_schemas_hold_nothing`.
    pub fn has(&self, schema: &str) -> bool {
        let Some(own) = &self.resolved else { return false };
        match self.realm {
            Realm::Schema => own == schema || self.shared.iter().any(|shared| shared == schema),
            Realm::Database => true,
        }
    }

    /// What there is of the catalog for that schema's tenant: its own relations and the shared ones. What `whole` does not
    /// know of the schema is taken from the template; `known` is the catalog before any filter, which says whether it does.
    pub fn catalog(&self, whole: &Catalog, known: &Catalog, own: &str) -> Catalog {
        if self.realm == Realm::Database {
            return whole.clone();
        }
        let has_own = known.schemas.iter().any(|schema| schema.name == own);
        let copied = self.template.as_deref().filter(|_| !has_own);
        let mut schemas: Vec<Schema> = whole
            .schemas
            .iter()
            .filter_map(|schema| match copied {
                Some(template) if schema.name == template => Some(moved(schema, template, own)),
                _ if schema.name == own || self.shared.contains(&schema.name) => Some(schema.clone()),
                _ => None,
            })
            .collect();
        schemas.sort_by(|one, other| one.name.cmp(&other.name));
        Catalog { database: whole.database.clone(), schemas }
    }

    /// What of the catalog the document's names can be held against while it is nobody's.
    pub(crate) fn to_check(&self, whole: &Catalog) -> Catalog {
        if self.realm == Realm::Database {
            return whole.clone();
        }
        let is_meant = |schema: &&Schema| {
            self.template.as_ref() == Some(&schema.name) || self.shared.contains(&schema.name)
        };
        let schemas = whole.schemas.iter().filter(is_meant).cloned().collect();
        Catalog { database: whole.database.clone(), schemas }
    }
}

impl Policy {
    /// The policy for the tenant of that schema or database, whose tables its names then mean.
    pub fn for_tenant(&self, own: &str) -> Result<Self, PolicyInvalid> {
        match &self.tenancy {
            Some(tenancy) if tenancy.realm == Realm::Schema => self.load_for_tenant(&tenancy.document, own),
            Some(tenancy) => {
                let tenancy = Tenancy { resolved: Some(own.to_owned()), ..tenancy.clone() };
                Ok(Self { tenancy: Some(tenancy), ..self.clone() })
            }
            None => Ok(self.clone()),
        }
    }

    /// Whether it gives each tenant a schema or a database and was made for none of them: it shows nothing.
    pub fn is_nobodys(&self) -> bool {
        self.tenancy.as_ref().is_some_and(|tenancy| tenancy.resolved.is_none())
    }

    /// Whether nobody can say before a tenant is known what is in the schema.
    pub(crate) fn is_unknown_yet(&self, schema: &str) -> bool {
        let Some(tenancy) = &self.tenancy else { return false };
        tenancy.realm == Realm::Schema
            && tenancy.resolved.is_none()
            && tenancy.template.is_none()
            && schema == tenancy.name.text()
    }
}

/// The template's relations as a tenant's own.
fn moved(schema: &Schema, template: &str, own: &str) -> Schema {
    let relations = schema.relations.iter().map(|relation| {
        let mut relation = Relation { ddl: None, ..relation.clone() };
        for column in &mut relation.columns {
            column.data_type = moved_type(&column.data_type, template, own);
            column.sample_values = None;
        }
        for constraint in &mut relation.constraints {
            if let Constraint::Foreign { target_schema, .. } = constraint
                && target_schema == template
            {
                own.clone_into(target_schema);
            }
        }
        relation
    });
    Schema { name: own.to_owned(), relations: relations.collect() }
}

/// A type of the template's own has a namesake in each tenant's schema.
fn moved_type(data_type: &str, template: &str, own: &str) -> String {
    let quoted = format!("\"{template}\"");
    let rest = data_type.strip_prefix(template).or_else(|| data_type.strip_prefix(&quoted));
    match rest.and_then(|rest| rest.strip_prefix('.')) {
        // As the database writes it: in quotes where letters are not small.
        Some(name) if own.chars().any(|c| c.is_ascii_uppercase()) => format!("\"{own}\".{name}"),
        Some(name) => format!("{own}.{name}"),
        None => data_type.to_owned(),
    }
}

/// Whether a schema of that name is the database's own, everybody's, or where we keep records.
fn is_reserved(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    is_of_the_system(&lower)
        || lower.starts_with("pg_")
        || lower.starts_with("ringfence_")
        || EVERYBODYS.contains(&lower.as_str())
}

/// Whether a database of that name is there on every server.
fn is_of_the_server(name: &str) -> bool {
    ["postgres", "template0", "template1"].contains(&name.to_ascii_lowercase().as_str())
}

impl Template {
    /// Reads a template; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a `{` is not closed")?;
            if !before.is_empty() {
                parts.push(Part::Literal(before.to_owned()));
            }
            parts.push(Part::Value(path(name)?));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        let is_value = |part: &&Part| matches!(part, Part::Value(_));
        let values = parts.iter().filter(is_value).count();
        if values == 0 {
            return Err("it names no value of the principal: `{tenant_id}` is one".to_owned());
        }
        for part in &parts {
            let Part::Literal(literal) = part else { continue };
            if !literal.chars().all(is_plain) {
                return Err("beside values it holds letters, digits and `_` only".to_owned());
            }
        }
        let mut between = parts.iter().skip_while(|part| !is_value(part)).peekable();
        while let Some(part) = between.next() {
            let (true, Some(next)) = (is_value(&part), between.peek()) else { continue };
            let stands_apart = matches!(next, Part::Literal(literal) if literal.contains('_'));
            if !stands_apart && (is_value(next) || values > 1 && between.clone().any(|part| is_value(&part)))
            {
                return Err(
                    "between two values there has to be a `_`, so that they can be told apart".to_owned()
                );
            }
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Whether some values make that name. Rather too many than too few: what fits may be somebody's.
    fn fits(&self, name: &str) -> bool {
        fits(&self.parts, name)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name for the principal. With several values none of them holds what may stand between them: two principals with
    /// other values never get one name.
    pub fn of(&self, principal: &Principal, kind: ConnectionKind) -> Result<String, Denial> {
        let values = self.parts.iter().filter(|part| matches!(part, Part::Value(_))).count();
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => name.push_str(literal),
                Part::Value(path) => {
                    let value = principal.value(path);
                    let value = value.as_deref().and_then(plain_value);
                    let is_fine =
                        |value: &String| (values == 1 || !value.contains('_')) && keeps_its_case(value, kind);
                    name.push_str(&value.filter(is_fine).ok_or_else(|| required(path))?);
                }
            }
        }
        let begins = name.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
        if begins && name.len() <= MAX_NAME_BYTES { Ok(name) } else { Err(self.denial()) }
    }

    /// Somebody whose values make no name that may be theirs.
    fn denial(&self) -> Denial {
        let first = self.parts.iter().find_map(|part| match part {
            Part::Value(path) => Some(path),
            Part::Literal(_) => None,
        });
        first.map_or_else(|| Denial::ScopeRequired { attribute: self.text.clone() }, required)
    }
}

fn fits(parts: &[Part], name: &str) -> bool {
    let Some((part, rest)) = parts.split_first() else { return name.is_empty() };
    match part {
        Part::Literal(literal) => {
            let (own, after) = name.split_at_checked(literal.len()).unwrap_or(("", ""));
            own.eq_ignore_ascii_case(literal) && fits(rest, after)
        }
        Part::Value(_) => {
            let lengths =
                name.char_indices().take_while(|(_, c)| is_plain(*c)).map(|(at, c)| at + c.len_utf8());
            lengths.into_iter().any(|length| name.get(length..).is_some_and(|after| fits(rest, after)))
        }
    }
}

/// Missing, empty, and unfit are one answer: what was given is not repeated.
fn required(path: &PrincipalPath) -> Denial {
    Denial::ScopeRequired { attribute: path.to_string() }
}

/// A value that is a plain word, as text.
fn plain_value(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_u64()?.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty() && text.chars().all(is_plain)).then_some(text)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `Acme` and `acme` are two schemas in `PostgreSQL`; elsewhere names may be files, which may be one.
fn keeps_its_case(value: &str, kind: ConnectionKind) -> bool {
    kind == ConnectionKind::Postgresql || !value.chars().any(|c| c.is_ascii_uppercase())
}

/// Values that belong to a whole tenant: a user's own would make one schema for each user.
fn path(name: &str) -> Result<PrincipalPath, String> {
    let name = name.trim();
    let name = name.strip_prefix("principal.").unwrap_or(name);
    let attribute = name.strip_prefix("attributes.").or_else(|| name.strip_prefix("metadata."));
    match (name, attribute) {
        ("tenant_id", _) => Ok(PrincipalPath::TenantId),
        ("org_id", _) => Ok(PrincipalPath::OrgId),
        (_, Some(path)) => {
            let parts: Vec<String> = path.split('.').map(str::to_owned).collect();
            if parts.iter().any(String::is_empty)
                || parts.first().is_some_and(|first| first == RESERVED_ATTRIBUTE)
            {
                return Err(format!("`{{{name}}}` is no attribute"));
            }
            Ok(PrincipalPath::Attribute(parts))
        }
        _ => Err(format!(
            "`{{{name}}}` is not known here: use `{{tenant_id}}`, `{{org_id}}` or `{{attributes.name}}`"
        )),
    }
}
