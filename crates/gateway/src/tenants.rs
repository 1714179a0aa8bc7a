//! Tenants.

use ringfence_policy::{Attributes, OrgId, Permission, TenantId};
use ringfence_store::tenants::Tenant;

use crate::limits::{check_display_name, check_variables, given};
use crate::{Call, Gateway, Refused};

/// A tenant as a caller describes it.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct TenantSpec {
    pub id: String,
    /// Default: the caller's organization.
    pub org: Option<String>,
    pub name: Option<String>,
    pub variables: Option<Attributes>,
}

impl Gateway {
    /// Needs `write:tenant`, within the own organization unless super administrator.
    pub async fn create_tenant(&self, call: &Call, spec: TenantSpec) -> Result<Tenant, Refused> {
        call.log.set_action("create-tenant");
        call.log.set_object(&spec.id);
        call.needs(Permission::WriteTenant)?;
        let id = TenantId::new(&spec.id)?;
        check_display_name(spec.name.as_deref())?;
        check_variables(spec.variables.as_ref())?;
        let org = match given(spec.org.as_deref()) {
            None => call.principal.org.clone(),
            Some(org) => self.visible_org(call, &OrgId::new(org)?).await?.id,
        };
        let tenant = Tenant { id, org, name: spec.name, variables: spec.variables };
        self.shared.store.tenants().create(&tenant).await?;
        Ok(tenant)
    }

    /// Needs `write:tenant`. Fields that are absent stay as they are; another organization is refused.
    pub async fn update_tenant(&self, call: &Call, spec: TenantSpec) -> Result<Tenant, Refused> {
        call.log.set_action("update-tenant");
        call.log.set_object(&spec.id);
        call.needs(Permission::WriteTenant)?;
        let id = TenantId::new(&spec.id)?;
        check_display_name(spec.name.as_deref())?;
        check_variables(spec.variables.as_ref())?;
        let tenant = self.visible_tenant(call, &id).await?;
        if given(spec.org.as_deref()).is_some_and(|org| org != tenant.org.as_str()) {
            return Err(Refused::invalid("a tenant stays in its organization: make a new tenant there"));
        }
        let tenants = self.shared.store.tenants();
        let updated = tenants.update(&id, spec.name.as_deref(), spec.variables.as_ref()).await;
        if spec.variables.is_some() {
            self.shared.principals.forget_all();
        }
        updated?;
        self.visible_tenant(call, &id).await
    }

    /// Needs `write:tenant`; refused while the tenant has users.
    pub async fn delete_tenant(&self, call: &Call, id: &str) -> Result<(), Refused> {
        call.log.set_action("delete-tenant");
        call.log.set_object(id);
        call.needs(Permission::WriteTenant)?;
        let tenant = self.visible_tenant(call, &TenantId::new(id)?).await?;
        let deleted = self.shared.store.tenants().delete(&tenant.id).await;
        // Applications act for users of a tenant that are in no list of ours.
        self.shared.principals.forget_all();
        self.shared.running.suspect_everybody();
        Ok(deleted?)
    }

    /// Needs `read:tenant`. Default: the caller's organization.
    pub async fn list_tenants(&self, call: &Call, org: Option<&str>) -> Result<Vec<Tenant>, Refused> {
        call.log.set_action("list-tenants");
        call.needs(Permission::ReadTenant)?;
        let org = match given(org) {
            None => call.principal.org.clone(),
            Some(org) => OrgId::new(org)?,
        };
        // An organization out of sight is as empty as one that does not exist.
        if call.sees(&org) { Ok(self.shared.store.tenants().list(&org).await?) } else { Ok(Vec::new()) }
    }

    /// Needs `read:tenant`.
    pub async fn get_tenant(&self, call: &Call, id: &str) -> Result<Tenant, Refused> {
        call.log.set_action("get-tenant");
        call.log.set_object(id);
        call.needs(Permission::ReadTenant)?;
        self.visible_tenant(call, &TenantId::new(id)?).await
    }

    /// The tenant, when the caller may know of it.
    pub(crate) async fn visible_tenant(&self, call: &Call, id: &TenantId) -> Result<Tenant, Refused> {
        let found = self.shared.store.tenants().get(id).await?;
        found.filter(|tenant| call.sees(&tenant.org)).ok_or_else(|| Refused::not_found("tenant"))
    }
}
