//! What an application may say of a user of its own: nowhere more than it is itself.

use std::sync::Arc;

use ringfence_policy::principal::{is_own_name, merge_attributes};
use ringfence_policy::{Attributes, OrgId, Permission, Permissions, Principal, Role, Standing, TenantId};
use ringfence_store::{Store, StoreError};

use super::{Acting, PlainPrincipal, Spoken};
use crate::acting::token::{Fault, checked};
use crate::{Code, Refused};

/// What an application lends to its users, where it has it itself: to look at what they see and to ask for rows. Everything
/// else is its account's own: connections, keys, likes, settings, people, policies.
fn lent() -> Permissions {
    Permissions::of(&[Permission::UsageApi, Permission::ReadDatabases, Permission::ReadSemanticContext])
}

/// Whether it may act for users of its own at all.
pub(super) fn may_speak(application: &Principal) -> Result<(), Refused> {
    if !application.may(Permission::ActPrincipals) {
        return Err(Refused::lacks(Permission::ActPrincipals));
    }
    // Who stands in somebody's place already has no place of their own to lend.
    if application.acted_by.is_some() {
        return Err(both_at_once());
    }
    Ok(())
}

/// Nobody acts for somebody in somebody else's place.
pub(crate) fn both_at_once() -> Refused {
    Refused::invalid("either impersonate a user, or act for one of your own: not both in one request")
}

/// A tenant of the application's organization.
#[derive(Debug)]
pub(crate) struct Home {
    org: OrgId,
    tenant: TenantId,
    /// Variables of the organization and of the tenant.
    attributes: Attributes,
}

impl Home {
    /// `None` for a tenant that the application's organization has not.
    pub(super) async fn read(
        store: &Store,
        application: &Principal,
        tenant: &TenantId,
    ) -> Result<Option<Self>, StoreError> {
        let Some(found) = store.tenants().get(tenant).await?.filter(|found| found.org == application.org)
        else {
            return Ok(None);
        };
        let Some(org) = store.organizations().get(&found.org).await? else { return Ok(None) };
        let attributes = merge_attributes([org.variables.as_ref(), found.variables.as_ref()]);
        Ok(Some(Self { org: found.org, tenant: found.id, attributes }))
    }
}

/// The principal; the reason why not is for the log.
//
// INVARIANT: organization, tenant, roles and permissions of it are within the application's. Held by the tests of
// `acting::reach`.
pub(super) fn principal(
    application: &Arc<Principal>,
    home: &Home,
    spoken: Spoken,
    standing: Standing,
) -> Result<Principal, &'static str> {
    let (roles, data_roles) = split_roles(spoken.roles);
    let mut attributes = home.attributes.clone();
    for (name, value) in spoken.attributes {
        if is_own_name(&name) {
            return Err("an attribute has the name of what the server says of a principal itself");
        }
        // What is said of a tenant keeps its users apart from others: it is not the application's to change.
        if home.attributes.get(&name).is_some_and(|said| *said != value) {
            return Err("an attribute has another value than the organization or the tenant gives it");
        }
        attributes.insert(name, value);
    }
    let principal = Principal {
        org: home.org.clone(),
        tenant: home.tenant.clone(),
        name: spoken.user.to_string(),
        user: spoken.user,
        roles,
        data_roles: data_roles.into(),
        permissions: application.permissions.intersection(lent()),
        attributes: Arc::new(attributes),
        acted_by: Some(application.user.clone()),
        application: Some(application.user.clone()),
        agent: spoken.agent,
        standing: Some(standing),
    };
    stays_within_reach(application, &principal)?;
    Ok(principal)
}

/// Whether the application may say all this of its user: asked when it does, and again while the user's queries run.
pub(crate) fn stays_within_reach(application: &Principal, principal: &Principal) -> Result<(), &'static str> {
    if application.org != principal.org {
        return Err("the tenant is none of the application's organization");
    }
    if application.tenant != principal.tenant && !application.may(Permission::ActTenants) {
        return Err("the tenant is not the application's own");
    }
    let passes_on = |role: &Role| application.roles.contains(role) && role.rank() > 0;
    if !principal.roles.iter().all(passes_on) {
        return Err("the application does not have one of the product roles");
    }
    if !principal.data_roles.iter().all(|role| application.data_roles.contains(role)) {
        return Err("the application does not have one of the data roles");
    }
    if !principal.permissions.is_subset_of(application.permissions) {
        return Err("the application does not have one of the permissions");
    }
    Ok(())
}

/// Product roles and data roles, each once and in order, so that who has the same ones sees through the same view.
fn split_roles(names: Vec<String>) -> (Vec<Role>, Vec<String>) {
    let (mut roles, mut data_roles) = (Vec::new(), Vec::new());
    for name in names {
        match name.parse::<Role>() {
            Ok(role) => roles.push(role),
            Err(_) => data_roles.push(name),
        }
    }
    roles.sort_unstable_by_key(|role| role.name());
    roles.dedup();
    data_roles.sort_unstable();
    data_roles.dedup();
    (roles, data_roles)
}

impl PlainPrincipal<'_> {
    /// The same as a token would say.
    pub(super) fn read(self) -> Result<Spoken, Fault> {
        let roles = self.roles.unwrap_or_default().split(',').map(str::trim);
        let roles = roles.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let attributes = match self.attributes {
            None => Attributes::new(),
            Some(json) => serde_json::from_str(json)
                .map_err(|_| Fault::Malformed("the attributes are no JSON object"))?,
        };
        checked(self.tenant, self.user, roles, attributes, None)
    }
}

impl Fault {
    /// For the log.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(reason) | Self::Refused(reason) => reason,
            Self::Expired => "expired",
        }
    }

    /// For the caller.
    pub(super) fn told(&self, acting: Acting<'_>) -> Refused {
        let message = match (acting, self) {
            (Acting::Token(_), Self::Malformed(_)) => {
                "the principal's token can't be read: send a signed JWT with the claims that the manual names"
            }
            (Acting::Token(_), Self::Expired) => "the principal's token has expired: sign a new one",
            (Acting::Token(_), Self::Refused(_)) => {
                "the principal's token is not accepted: look at its key, its claims, and what you may say of a user"
            }
            (Acting::Headers(_), Self::Malformed(_)) => {
                "the headers that name a user can't be read: tenant, user, roles by commas, attributes as a JSON object"
            }
            (Acting::Headers(_), Self::Expired | Self::Refused(_)) => {
                "the user in the headers is not accepted: look at what you may say of a user"
            }
        };
        Refused::new(Code::InvalidPrincipalToken, message)
    }
}
