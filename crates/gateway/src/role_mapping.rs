//! Role mapping: what the roles of an outside source mean here, said by administrators.

use ringfence_policy::id::check_name;
use ringfence_policy::{Permission, Role};
use ringfence_store::role_mapping::{MappedRole, RoleSet};

use crate::arrivals::{Source, may_give};
use crate::users::{checked_data_roles, grantable_roles};
use crate::{Call, Gateway, Refused};

/// Roles of one source that have a meaning.
const MAX_MAPPED: usize = 1000;
/// Longest name of a source's role: directories call theirs by long paths.
const MAX_OUTSIDE_BYTES: usize = 1024;

impl Gateway {
    /// Needs `read:user`, and that the source is of the caller's organization.
    pub async fn list_role_mapping(&self, call: &Call, source: &str) -> Result<Vec<MappedRole>, Refused> {
        call.log.set_action("list-role-mapping");
        call.log.set_object(source);
        call.needs(Permission::ReadUser)?;
        let source = self.manageable_source(call, source)?;
        Ok(self.shared.store.role_mapping().list(&source.name).await?)
    }

    /// Says what a source's role means: product roles and data roles, by name. Needs `write:user`, and that the source is of the
    /// caller's organization. No role above the caller's own, and none above the source's highest.
    pub async fn put_role_mapping(
        &self,
        call: &Call,
        source: &str,
        outside_role: &str,
        roles: &[String],
    ) -> Result<MappedRole, Refused> {
        call.log.set_action("put-role-mapping");
        call.log.set_object(&format!("{source}/{outside_role}"));
        call.needs(Permission::WriteUser)?;
        let source = self.manageable_source(call, source)?;
        check_name("role of the source", outside_role, MAX_OUTSIDE_BYTES)?;
        let (product, data): (Vec<String>, Vec<String>) =
            roles.iter().cloned().partition(|name| name.parse::<Role>().is_ok());
        let product = grantable_roles(call, &product)?;
        if let Some(role) = product.iter().find(|role| !may_give(source.highest_role, **role)) {
            return Err(Refused::invalid(format!(
                "{role} is above what the source may give: `highest_role` of it is {}",
                source.highest_role
            )));
        }
        let data_roles = checked_data_roles(Some(data))?.unwrap_or_default();
        let mapping = self.shared.store.role_mapping();
        let present = mapping.list(&source.name).await?;
        if present.len() >= MAX_MAPPED && present.iter().all(|mapped| mapped.outside_role != outside_role) {
            return Err(Refused::invalid(format!("at most {MAX_MAPPED} roles of a source have a meaning")));
        }
        let means = RoleSet { roles: product, data_roles };
        let mapped = MappedRole { outside_role: outside_role.to_owned(), means };
        let put = mapping.put(&source.name, &mapped).await;
        // Also after a failure: whether the change arrived is not known then.
        self.shared.principals.forget_all();
        put?;
        Ok(mapped)
    }

    /// From the next arrival on the role means nothing. Needs what putting needs.
    pub async fn delete_role_mapping(
        &self,
        call: &Call,
        source: &str,
        outside_role: &str,
    ) -> Result<(), Refused> {
        call.log.set_action("delete-role-mapping");
        call.log.set_object(&format!("{source}/{outside_role}"));
        call.needs(Permission::WriteUser)?;
        let source = self.manageable_source(call, source)?;
        let deleted = self.shared.store.role_mapping().delete(&source.name, outside_role).await;
        self.shared.principals.forget_all();
        if deleted? { Ok(()) } else { Err(Refused::not_found("mapped role")) }
    }

    /// The source, when it is of an organization that the caller rules. One that says the organization of each user is the super
    /// administrator's. One of somebody else is answered like one that does not exist.
    fn manageable_source(&self, call: &Call, name: &str) -> Result<&Source, Refused> {
        let source = self.shared.providers.source(name);
        let rules = |source: &&Source| match &source.organization {
            Some(org) => call.sees(org),
            None => call.principal.is_super_admin(),
        };
        source.filter(rules).ok_or_else(|| Refused::not_found("source"))
    }
}
