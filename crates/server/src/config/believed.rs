//! How far an outside source of users is believed: the settings that directories and providers have in common.

use std::collections::BTreeMap;

use ringfence_gateway::arrivals::{Source, may_give};
use ringfence_policy::id::{MAX_ID_BYTES, check_name};
use ringfence_policy::{NameInvalid, OrgId, Role, TenantId};
use ringfence_store::role_mapping::RoleSet;

/// As they are written.
pub(super) struct Believed<'a> {
    pub(super) name: &'a str,
    pub(super) organization: Option<&'a str>,
    pub(super) tenant: Option<&'a str>,
    pub(super) tenants: &'a BTreeMap<String, String>,
    pub(super) create_tenants: bool,
    pub(super) link_existing: bool,
    pub(super) highest_role: &'a str,
    pub(super) default_roles: &'a [String],
}

impl Believed<'_> {
    /// For the gateway.
    pub(super) fn source(self) -> Result<Source, String> {
        let text = |error: NameInvalid| error.to_string();
        let mut tenants = BTreeMap::new();
        for (named, tenant) in self.tenants {
            tenants.insert(named.clone(), TenantId::new(tenant).map_err(text)?);
        }
        let highest_role: Role = self
            .highest_role
            .parse()
            .map_err(|_| format!("`highest_role`: `{}` is no role", self.highest_role))?;
        Ok(Source {
            name: self.name.to_owned(),
            organization: self.organization.map(OrgId::new).transpose().map_err(text)?,
            tenant: self.tenant.map(TenantId::new).transpose().map_err(text)?,
            tenants,
            create_tenants: self.create_tenants,
            link_existing: self.link_existing,
            highest_role,
            default_roles: split_roles(self.default_roles, highest_role)?,
        })
    }
}

/// Product roles and data roles.
fn split_roles(names: &[String], highest: Role) -> Result<RoleSet, String> {
    let mut set = RoleSet::default();
    for name in names {
        match name.parse::<Role>() {
            Ok(role) if may_give(highest, role) => set.roles.push(role),
            Ok(role) => return Err(format!("`default_roles`: {role} is above `highest_role`")),
            Err(_) => {
                check_name("a data role", name, MAX_ID_BYTES).map_err(|error| error.to_string())?;
                set.data_roles.push(name.clone());
            }
        }
    }
    set.data_roles.sort();
    set.data_roles.dedup();
    Ok(set)
}
