//! Users.

use ringfence_policy::id::{MAX_ID_BYTES, check_name};
use ringfence_policy::principal::{permissions_of, rank_of};
use ringfence_policy::{Attributes, OrgId, Permission, Role, TenantId, UserId};
use ringfence_store::users::{User, UserChange, UserFilter};
use tokio::sync::MutexGuard;

use crate::call::now_ms;
use crate::limits::{check_display_name, check_variables, given};
use crate::{Call, Code, Gateway, Refused};

/// Data roles of one user.
const MAX_DATA_ROLES: usize = 100;

/// A user as a caller describes it.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct UserSpec {
    pub id: String,
    pub name: Option<String>,
    /// Default at creation: the caller's tenant.
    pub tenant: Option<String>,
    /// Default at creation: the tenant's organization.
    pub org: Option<String>,
    pub variables: Option<Attributes>,
    /// Empty at creation: `api-user`. Empty at a change: the roles stay.
    pub roles: Vec<String>,
    /// Names of data roles, which policies know. `None`: none at creation, and at a change they stay.
    pub data_roles: Option<Vec<String>>,
    /// Refused wherever it comes from. `None`: not at creation, and at a change it stays.
    pub disabled: Option<bool>,
}

/// Which users; all given conditions hold together.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct UserLookup {
    pub org: Option<String>,
    pub tenant: Option<String>,
    pub user: Option<String>,
}

impl Gateway {
    /// Needs `write:user`. Nobody grants a role above the own rank.
    pub async fn create_user(&self, call: &Call, spec: UserSpec) -> Result<User, Refused> {
        call.log.set_action("create-user");
        call.log.set_object(&spec.id);
        call.needs(Permission::WriteUser)?;
        let id = UserId::new(&spec.id)?;
        check_display_name(spec.name.as_deref())?;
        check_variables(spec.variables.as_ref())?;
        let roles =
            if spec.roles.is_empty() { vec![Role::ApiUser] } else { grantable_roles(call, &spec.roles)? };
        let data_roles = checked_data_roles(spec.data_roles)?;
        let tenant = given(spec.tenant.as_deref()).unwrap_or(call.principal.tenant.as_str());
        let (tenant, org) = self.home(call, tenant, given(spec.org.as_deref())).await?;
        let (name, variables) = (spec.name, spec.variables);
        let data_roles = data_roles.unwrap_or_default();
        let disabled = spec.disabled.unwrap_or_default();
        let user = User { id, tenant, org, name, variables, roles, data_roles, disabled, outside: None };
        let made = self.shared.store.users().create(&user).await;
        self.shared.forget_user(&user.id);
        made?;
        Ok(user)
    }

    /// Needs `write:user`. Moving to another organization is the super administrator's.
    pub async fn update_user(&self, call: &Call, spec: UserSpec) -> Result<User, Refused> {
        call.log.set_action("update-user");
        call.log.set_object(&spec.id);
        call.needs(Permission::WriteUser)?;
        let id = UserId::new(&spec.id)?;
        check_display_name(spec.name.as_deref())?;
        check_variables(spec.variables.as_ref())?;
        let roles = Some(grantable_roles(call, &spec.roles)?).filter(|roles| !roles.is_empty());
        let data_roles = checked_data_roles(spec.data_roles)?;
        let user = self.manageable_user(call, &id).await?;
        let home = match (given(spec.tenant.as_deref()), given(spec.org.as_deref())) {
            (None, None) => None,
            (tenant, org) => Some(self.home(call, tenant.unwrap_or(user.tenant.as_str()), org).await?),
        };
        let demoted = roles.as_ref().is_some_and(|roles| !roles.contains(&Role::SuperAdminUser));
        let leaves = demoted || spec.disabled == Some(true);
        let _turn = if leaves { self.keep_a_super_admin(&user).await? } else { None };
        let users = self.shared.store.users();
        let UserSpec { name, variables, disabled, .. } = spec;
        let change = UserChange { name, home, variables, roles, data_roles, disabled, at_ms: now_ms() };
        let updated = users.update(&id, &change).await;
        // Also after a failure: whether the change arrived is not known then.
        self.shared.forget_user(&id);
        updated?;
        users.get(&id).await?.ok_or_else(|| Refused::not_found("user"))
    }

    /// Needs `write:user`.
    pub async fn delete_user(&self, call: &Call, id: &str) -> Result<(), Refused> {
        call.log.set_action("delete-user");
        call.log.set_object(id);
        call.needs(Permission::WriteUser)?;
        let id = UserId::new(id)?;
        let user = self.manageable_user(call, &id).await?;
        let _turn = self.keep_a_super_admin(&user).await?;
        let deleted = self.shared.store.users().delete(&id).await;
        self.shared.forget_user(&id);
        Ok(deleted?)
    }

    /// Needs `read:user`. Default: the caller's organization; a super administrator who names only a user or a tenant
    /// searches all.
    pub async fn list_users(&self, call: &Call, lookup: UserLookup) -> Result<Vec<User>, Refused> {
        call.log.set_action("list-users");
        call.needs(Permission::ReadUser)?;
        let mut filter = UserFilter {
            org: given(lookup.org.as_deref()).map(OrgId::new).transpose()?,
            tenant: given(lookup.tenant.as_deref()).map(TenantId::new).transpose()?,
            user: given(lookup.user.as_deref()).map(UserId::new).transpose()?,
        };
        let everywhere =
            call.principal.is_super_admin() && (filter.tenant.is_some() || filter.user.is_some());
        if filter.org.is_none() && !everywhere {
            filter.org = Some(call.principal.org.clone());
        }
        match &filter.org {
            // An organization out of sight is as empty as one that does not exist.
            Some(org) if !call.sees(org) => Ok(Vec::new()),
            _ => Ok(self.shared.store.users().list(&filter).await?),
        }
    }

    /// Needs `read:user`.
    pub async fn get_user(&self, call: &Call, id: &str) -> Result<User, Refused> {
        call.log.set_action("get-user");
        call.log.set_object(id);
        call.needs(Permission::ReadUser)?;
        self.visible_user(call, &UserId::new(id)?).await
    }

    /// The user, when the caller may know of it.
    pub(crate) async fn visible_user(&self, call: &Call, id: &UserId) -> Result<User, Refused> {
        let found = self.shared.store.users().get(id).await?;
        found.filter(|user| call.sees(&user.org)).ok_or_else(|| Refused::not_found("user"))
    }

    /// The user, when the caller may know of it and stands no lower. Whether the caller has `write:user` is not asked
    /// here.
    pub(crate) async fn manageable_user(&self, call: &Call, id: &UserId) -> Result<User, Refused> {
        let user = self.visible_user(call, id).await?;
        let lower = rank_of(&user.roles) <= call.principal.rank()
            && permissions_of(&user.roles).on_ladder().is_subset_of(call.principal.permissions);
        if lower {
            Ok(user)
        } else {
            Err(Refused::new(
                Code::NotPermitted,
                "this user has more permissions than you: ask one who has as many",
            ))
        }
    }

    /// Where a user is to live: the tenant, and its organization, which must be the named one when one is named.
    async fn home(&self, call: &Call, tenant: &str, org: Option<&str>) -> Result<(TenantId, OrgId), Refused> {
        let org = match org {
            None => None,
            Some(org) => Some(self.visible_org(call, &OrgId::new(org)?).await?.id),
        };
        let tenant = self.visible_tenant(call, &TenantId::new(tenant)?).await?;
        if org.is_some_and(|org| org != tenant.org) {
            return Err(Refused::invalid("the tenant is not in that organization: name a tenant of it"));
        }
        Ok((tenant.id, tenant.org))
    }

    /// Refuses when nobody would be left who rules over all organizations. Two who go at once wait for each other: the
    /// turn is held until the change is made.
    async fn keep_a_super_admin(&self, user: &User) -> Result<Option<MutexGuard<'_, ()>>, Refused> {
        let rules = |user: &User| !user.disabled && user.roles.contains(&Role::SuperAdminUser);
        if !rules(user) {
            return Ok(None);
        }
        let turn = self.shared.super_admins.lock().await;
        let everybody = self.shared.store.users().list(&UserFilter::default()).await?;
        if everybody.iter().any(|other| other.id != user.id && rules(other)) {
            return Ok(Some(turn));
        }
        Err(Refused::new(Code::InUse, "this is the last super administrator: make another one first"))
    }
}

/// The roles of those names, each once, none above the caller.
fn grantable_roles(call: &Call, names: &[String]) -> Result<Vec<Role>, Refused> {
    let mut roles = Vec::new();
    for name in names {
        let role: Role = name
            .parse()
            .map_err(|unknown: ringfence_policy::RoleUnknown| Refused::invalid(unknown.to_string()))?;
        let permissions = role.permissions().on_ladder();
        if role.rank() > call.principal.rank() || !permissions.is_subset_of(call.principal.permissions) {
            return Err(Refused::new(
                Code::NotPermitted,
                format!("the role {role} is above your own: grant one that you have, or a lower one"),
            ));
        }
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    Ok(roles)
}

/// Names of data roles, each once and in order, so that who has the same ones sees through the same view.
pub(crate) fn checked_data_roles(names: Option<Vec<String>>) -> Result<Option<Vec<String>>, Refused> {
    let Some(mut names) = names else { return Ok(None) };
    names.sort();
    names.dedup();
    if names.len() > MAX_DATA_ROLES {
        return Err(Refused::invalid(format!("too many data roles: at most {MAX_DATA_ROLES}")));
    }
    for name in &names {
        check_name("data role", name, MAX_ID_BYTES)?;
        // Policies ask for both kinds of roles by name: a data role must not look like a product role.
        if name.parse::<Role>().is_ok() {
            return Err(Refused::invalid(format!(
                "`{name}` is the name of a role of its own: grant it in `roles`"
            )));
        }
    }
    Ok(Some(names))
}
