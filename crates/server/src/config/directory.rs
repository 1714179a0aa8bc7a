//! User directories: tables of the company's own, and the query that reads one user.

use std::collections::BTreeMap;

use ringfence_gateway::arrivals::Source;
use ringfence_gateway::directories::{self as gateway, DirectoryColumns, PARAMETER};
use ringfence_policy::id::{MAX_ID_BYTES, check_name};
use ringfence_policy::principal::is_own_name;
use ringfence_policy::{ConnectionKey, NameInvalid, Role, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;
use super::believed::Believed;
use super::quantity::Span;

/// A table of users of the company's own.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Directory {
    /// Its name here: letters, digits and dashes. It stays what it is: users are linked to it.
    pub(crate) name: String,
    /// The key of the registered connection that the query runs on.
    pub(crate) connection: String,
    /// The user whose connection it is.
    pub(crate) owner: String,
    /// A SELECT that answers one row for the user name `:user`, and none for a name that it does not know.
    pub(crate) query: String,
    /// What the query's columns mean.
    #[serde(default)]
    pub(crate) columns: Columns,
    /// How long the query may take.
    #[serde(default = "timeout")]
    pub(crate) timeout: Span,
    /// The organization of its users.
    #[serde(default)]
    pub(crate) organization: Option<String>,
    /// The tenant of its users.
    #[serde(default)]
    pub(crate) tenant: Option<String>,
    /// What the tenant's column says, and the tenant that it means. Anything else is a tenant's own id.
    #[serde(default)]
    pub(crate) tenants: BTreeMap<String, String>,
    /// Make tenants that don't exist.
    #[serde(default)]
    pub(crate) create_tenants: bool,
    /// Let the directory's users be the users of the organization that have their names already, and no other source.
    #[serde(default)]
    pub(crate) link_existing: bool,
    /// The highest role that the directory can give.
    #[serde(default = "highest_role")]
    pub(crate) highest_role: String,
    /// Roles for users who have none otherwise.
    #[serde(default = "default_roles")]
    pub(crate) default_roles: Vec<String>,
}

/// Names of the query's columns.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Columns {
    /// The user's name.
    pub(crate) user: String,
    /// The password's hash: argon2id in PHC form, or passlib's pbkdf2-sha256.
    pub(crate) password: String,
    /// The tenant, for a directory of several.
    pub(crate) tenant: Option<String>,
    /// The organization, for a directory of several.
    pub(crate) organization: Option<String>,
    /// The directory's roles: a list, or a text with names between commas. What each means here is at
    /// /v1/security/role-mapping.
    pub(crate) roles: Option<String>,
    /// Attributes of users for policies, and the column that each is.
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            user: "username".to_owned(),
            password: "password".to_owned(),
            tenant: None,
            organization: None,
            roles: None,
            attributes: BTreeMap::new(),
        }
    }
}

fn timeout() -> Span {
    Span::seconds(5)
}

fn highest_role() -> String {
    Role::ApiUser.name().to_owned()
}

fn default_roles() -> Vec<String> {
    vec![Role::ApiUser.name().to_owned()]
}

/// Whether a server can start with these directories.
pub(super) fn check(config: &Config) -> Result<(), String> {
    let directories = &config.directories;
    for (place, directory) in directories.iter().enumerate() {
        directory.read().map_err(|why| format!("`{}`: {why}", directory.name))?;
        if directories.iter().take(place).any(|other| other.name == directory.name) {
            return Err(format!("`{}`: another directory has that name", directory.name));
        }
        // Users are linked to their source by its name.
        if config.oidc.providers.iter().any(|provider| provider.name == directory.name) {
            return Err(format!("`{}`: an OpenID provider has that name", directory.name));
        }
    }
    Ok(())
}

impl Directory {
    /// For the gateway.
    pub(super) fn read(&self) -> Result<gateway::Directory, String> {
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if self.name.is_empty() || self.name.len() > 64 || !plain(&self.name) {
            return Err("`name` must be 1 to 64 letters, digits and dashes".to_owned());
        }
        if !self.query.contains(&format!(":{PARAMETER}")) {
            return Err(format!("`query` must ask for the user name, as :{PARAMETER}"));
        }
        let Columns { user, password, tenant, organization, roles, attributes } = &self.columns;
        for name in attributes.keys() {
            check_name("an attribute's name", name, MAX_ID_BYTES).map_err(|error| error.to_string())?;
            if is_own_name(name) {
                return Err(format!(
                    "`columns.attributes`: `{name}` is what the server itself says of a user"
                ));
            }
        }
        let text = |error: NameInvalid| error.to_string();
        Ok(gateway::Directory {
            source: self.source()?,
            owner: UserId::new(&self.owner).map_err(text)?,
            connection: ConnectionKey::new(&self.connection).map_err(text)?,
            query: self.query.clone(),
            columns: DirectoryColumns {
                user: user.clone(),
                password: password.clone(),
                tenant: tenant.clone(),
                organization: organization.clone(),
                roles: roles.clone(),
                attributes: attributes.clone().into_iter().collect(),
            },
            timeout: self.timeout.duration(),
        })
    }

    fn source(&self) -> Result<Source, String> {
        if self.organization.is_none() && self.columns.organization.is_none() {
            return Err("say where its users belong: `organization` or `columns.organization`".to_owned());
        }
        if self.tenant.is_none() && self.columns.tenant.is_none() {
            return Err("say where its users belong: `tenant` or `columns.tenant`".to_owned());
        }
        Believed {
            name: &self.name,
            organization: self.organization.as_deref(),
            tenant: self.tenant.as_deref(),
            tenants: &self.tenants,
            create_tenants: self.create_tenants,
            link_existing: self.link_existing,
            highest_role: &self.highest_role,
            default_roles: &self.default_roles,
        }
        .source()
    }
}
