//! Organizations: made and changed by super administrators.

use ringfence_policy::{Attributes, OrgId, Permission};
use ringfence_store::organizations::Organization;

use crate::limits::{check_display_name, check_variables};
use crate::{Call, Gateway, Refused};

/// An organization as a caller describes it.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct OrganizationSpec {
    pub id: String,
    pub name: Option<String>,
    pub variables: Option<Attributes>,
}

impl Gateway {
    /// Needs `write:org`.
    pub async fn create_org(&self, call: &Call, spec: OrganizationSpec) -> Result<Organization, Refused> {
        call.log.set_action("create-org");
        call.log.set_object(&spec.id);
        call.needs(Permission::WriteOrg)?;
        let id = OrgId::new(&spec.id)?;
        check_display_name(spec.name.as_deref())?;
        check_variables(spec.variables.as_ref())?;
        let organization = Organization { id, name: spec.name, variables: spec.variables };
        self.shared.store.organizations().create(&organization).await?;
        Ok(organization)
    }

    /// Needs `write:org`. Fields that are absent stay as they are.
    pub async fn update_org(&self, call: &Call, spec: OrganizationSpec) -> Result<Organization, Refused> {
        call.log.set_action("update-org");
        call.log.set_object(&spec.id);
        call.needs(Permission::WriteOrg)?;
        let id = OrgId::new(&spec.id)?;
        check_display_name(spec.name.as_deref())?;
        check_variables(spec.variables.as_ref())?;
        let organizations = self.shared.store.organizations();
        let updated = organizations.update(&id, spec.name.as_deref(), spec.variables.as_ref()).await;
        if spec.variables.is_some() {
            self.shared.principals.forget_all();
        }
        updated?;
        organizations.get(&id).await?.ok_or_else(|| Refused::not_found("organization"))
    }

    /// Needs `write:org`; refused while the organization has tenants.
    pub async fn delete_org(&self, call: &Call, id: &str) -> Result<(), Refused> {
        call.log.set_action("delete-org");
        call.log.set_object(id);
        call.needs(Permission::WriteOrg)?;
        Ok(self.shared.store.organizations().delete(&OrgId::new(id)?).await?)
    }

    /// Needs `read:org`: all for a super administrator, else the own one.
    pub async fn list_orgs(&self, call: &Call) -> Result<Vec<Organization>, Refused> {
        call.log.set_action("list-orgs");
        call.needs(Permission::ReadOrg)?;
        let organizations = self.shared.store.organizations();
        if call.principal.is_super_admin() {
            Ok(organizations.list().await?)
        } else {
            Ok(organizations.get(&call.principal.org).await?.into_iter().collect())
        }
    }

    /// Needs `read:org`.
    pub async fn get_org(&self, call: &Call, id: &str) -> Result<Organization, Refused> {
        call.log.set_action("get-org");
        call.log.set_object(id);
        call.needs(Permission::ReadOrg)?;
        let id = OrgId::new(id)?;
        self.visible_org(call, &id).await
    }

    /// The organization, when the caller may know of it.
    pub(crate) async fn visible_org(&self, call: &Call, id: &OrgId) -> Result<Organization, Refused> {
        let found = if call.sees(id) { self.shared.store.organizations().get(id).await? } else { None };
        found.ok_or_else(|| Refused::not_found("organization"))
    }
}
