//! The principal: who is asking, resolved once per request.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::expression::PrincipalPath;
use crate::id::{OrgId, TenantId, UserId};
use crate::parse::RESERVED_ATTRIBUTE;
use crate::role::{Permission, Permissions, Role};

/// Named values that policies may use: variables of the organization, the tenant and the user.
pub type Attributes = Map<String, Value>;

/// Who is asking. There is no anonymous principal.
#[derive(Debug, Clone, PartialEq)]
pub struct Principal {
    /// The organization of the user's tenant.
    pub org: OrgId,
    /// The user's tenant.
    pub tenant: TenantId,
    /// The user as whom the request runs.
    pub user: UserId,
    /// The user's display name.
    pub name: String,
    /// The user's roles.
    pub roles: Vec<Role>,
    /// Names of data roles, such as `ROLE_FRANCE`: they restrict what is seen, and policies may ask for them.
    pub data_roles: Arc<[String]>,
    /// The union of what the roles permit.
    pub permissions: Permissions,
    /// Variables of organization, then tenant, then user; the narrower wins.
    pub attributes: Arc<Attributes>,
    /// Who acts for this user: the administrator who impersonates them, or the application. Both names are recorded.
    pub acted_by: Option<UserId>,
    /// The application whose user this is. Such a user has no account here: what a request needs beside its data
    /// (connections, places, history) is the application's, and everything that is for accounts is for the application.
    pub application: Option<UserId>,
    /// The agent that the request is made with, if it says so.
    pub agent: Option<Agent>,
    /// The credential behind the request; `None` for the operator, who needs none.
    pub standing: Option<Standing>,
}

/// The program, mostly a language model, that asks for a user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Agent {
    /// Named by what is trusted to name the user, too: a token that an application signed.
    Vouched(String),
    /// Named by whoever asks. Recorded as it is; policies see that it is an agent, never that it is a certain one.
    Claimed(String),
}

impl Agent {
    /// What policies see of an agent that nobody vouches for.
    pub const UNVERIFIED: &'static str = "unverified";

    /// The name as it was given.
    pub fn label(&self) -> &str {
        match self {
            Self::Vouched(name) | Self::Claimed(name) => name,
        }
    }

    /// The value of `principal.agent`.
    // INVARIANT: what a caller says about itself is never the name that a policy asks for, so that nobody gets more by
    // saying it. Held by the test `a_claimed_agent_is_no_certain_one`.
    pub fn as_policies_see_it(&self) -> &str {
        match self {
            Self::Vouched(name) => name,
            Self::Claimed(_) => Self::UNVERIFIED,
        }
    }
}

/// Whose something is: an account's, or one of the users that an application acts for. What one of them leaves behind
/// (running queries, results, history) is nobody else's, also among the users of one application.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The account.
    pub account: UserId,
    /// The application's user, when `account` is an application that acts for one.
    pub on_behalf_of: Option<(TenantId, UserId)>,
}

/// The kinds of credentials. All but tokens are kept in the control store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// A user's access key.
    AccessKey,
    /// The cookie of a sign-in session.
    Session,
    /// A technical user's name and password.
    Password,
    /// An access token of an `OpenID` provider, which only the provider can take back.
    Token,
}

/// What a principal rests on, as it was when it was resolved: so that what still runs can be ended when it changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What kind of credential it was.
    pub credential: Credential,
    /// The credential's hash: no two kinds share one.
    pub key: [u8; 32],
    /// Versions of the credential and of who presented it, in the memory of the process that resolved them.
    pub presented: [u64; 2],
    /// The version of the account that the request uses.
    pub acting: u64,
    /// The key that an application signed its user's token with, as a digest; `None` without a token.
    pub signed_by: Option<[u8; 32]>,
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A hash of a weak key could be guessed at, so that it is in no log.
        f.debug_struct("Standing").finish_non_exhaustive()
    }
}

impl Principal {
    /// Whether the principal has the permission.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(permission)
    }

    /// The account that the request uses: the user's own, or the application's whose user this is.
    pub fn account(&self) -> &UserId {
        self.application.as_ref().unwrap_or(&self.user)
    }

    /// Whose it is what the request leaves behind.
    pub fn identity(&self) -> Identity {
        let on_behalf_of = self.application.is_some().then(|| (self.tenant.clone(), self.user.clone()));
        Identity { account: self.account().clone(), on_behalf_of }
    }

    /// The highest rung among the principal's roles; 0 without any, and for a user of an application, whose roles are for
    /// policies and rule over nothing.
    pub fn rank(&self) -> u8 {
        if self.application.is_some() {
            return 0;
        }
        rank_of(&self.roles)
    }

    /// The value of a path in a policy; `None` when the principal has none.
    pub fn value(&self, path: &PrincipalPath) -> Option<Cow<'_, Value>> {
        let text = |text: &str| Some(Cow::Owned(Value::from(text)));
        let names = |names: &mut dyn Iterator<Item = &str>| {
            Some(Cow::Owned(Value::Array(names.map(Value::from).collect())))
        };
        match path {
            PrincipalPath::OrgId => text(self.org.as_str()),
            PrincipalPath::TenantId => text(self.tenant.as_str()),
            PrincipalPath::UserId => text(self.user.as_str()),
            PrincipalPath::Agent => self.agent.as_ref().and_then(|agent| text(agent.as_policies_see_it())),
            PrincipalPath::Roles => {
                let product = self.roles.iter().map(|role| role.name());
                names(&mut product.chain(self.data_roles.iter().map(String::as_str)))
            }
            PrincipalPath::Permissions => names(&mut self.permissions.iter().map(Permission::name)),
            PrincipalPath::Attribute(path) => {
                let (first, rest) = path.split_first()?;
                let value =
                    rest.iter().try_fold(self.attributes.get(first)?, |value, name| value.get(name))?;
                // Not a copy: each value of a long list is asked for by itself.
                (!value.is_null()).then_some(Cow::Borrowed(value))
            }
            PrincipalPath::Variable(name) => self.value(&self.variable(name)),
        }
    }

    /// What a variable of an access rule stands for: an attribute goes before a built-in value of the same name.
    pub(crate) fn variable(&self, name: &str) -> PrincipalPath {
        let own = self.attributes.get(name).is_some_and(|value| !value.is_null());
        let built_in = if own { None } else { PrincipalPath::built_in(name) };
        built_in.unwrap_or_else(|| PrincipalPath::Attribute(vec![name.to_owned()]))
    }

    /// Whether the principal rules over every organization.
    pub fn is_super_admin(&self) -> bool {
        self.may(Permission::WriteOrg)
    }

    /// Who presented the credentials: the impersonating administrator, or the user.
    pub fn authenticated_user(&self) -> &UserId {
        self.acted_by.as_ref().unwrap_or(&self.user)
    }
}

/// Whether an attribute of that name would stand for what the server itself says of the principal: an access rule's
/// `{user_id}` means the attribute of that name where there is one.
pub fn is_own_name(attribute: &str) -> bool {
    let others = [RESERVED_ATTRIBUTE, "agent", "attributes", "metadata"];
    PrincipalPath::built_in(attribute).is_some() || others.contains(&attribute)
}

/// The highest rung among the roles; 0 without any.
pub fn rank_of(roles: &[Role]) -> u8 {
    roles.iter().map(|role| role.rank()).max().unwrap_or(0)
}

/// What the roles permit together.
pub fn permissions_of(roles: &[Role]) -> Permissions {
    roles.iter().fold(Permissions::default(), |set, role| set.union(role.permissions()))
}

/// Merges variables, widest scope first; a later one replaces an earlier one of the same name.
pub fn merge_attributes<'a>(widest_first: impl IntoIterator<Item = Option<&'a Attributes>>) -> Attributes {
    let mut merged = Attributes::new();
    for scope in widest_first.into_iter().flatten() {
        merged.extend(scope.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    merged
}

/// Why an impersonation is refused: the caller hears one answer for all, the audit log hears this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImpersonationDenied {
    /// The caller lacks `usage:impersonation`.
    NotPermitted,
    /// The target is in an organization the caller does not rule.
    OtherOrganization,
    /// The target may do something that the caller may not.
    TargetMorePowerful,
}

/// Decides whether `caller` may act for `target`: same organization (any for a super admin), and never upward.
pub fn may_impersonate(caller: &Principal, target: &Principal) -> Result<(), ImpersonationDenied> {
    if !caller.may(Permission::UsageImpersonation) {
        return Err(ImpersonationDenied::NotPermitted);
    }
    if caller.org != target.org && !caller.is_super_admin() {
        return Err(ImpersonationDenied::OtherOrganization);
    }
    // Who steps into an application's place has no token of its, and so acts for none of its users.
    if !target.permissions.on_ladder().is_subset_of(caller.permissions) {
        return Err(ImpersonationDenied::TargetMorePowerful);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(org: &str, roles: &[Role]) -> Principal {
        Principal {
            org: OrgId::new(org).unwrap(),
            tenant: TenantId::new("t").unwrap(),
            user: UserId::new("u").unwrap(),
            name: "u".to_owned(),
            roles: roles.to_vec(),
            data_roles: Arc::default(),
            permissions: permissions_of(roles),
            attributes: Arc::default(),
            acted_by: None,
            application: None,
            agent: None,
            standing: None,
        }
    }

    #[test]
    fn impersonation_never_leaves_the_organization_or_climbs() {
        use ImpersonationDenied as D;
        let org_admin = principal("a", &[Role::OrgAdminUser]);
        let cases = [
            (&org_admin, principal("a", &[Role::ApiUser]), Ok(())),
            (&org_admin, principal("a", &[Role::OrgAdminUser]), Ok(())),
            (&org_admin, principal("b", &[Role::ApiUser]), Err(D::OtherOrganization)),
            (&org_admin, principal("a", &[Role::SuperAdminUser]), Err(D::TargetMorePowerful)),
            (&principal("a", &[Role::SuperAdminUser]), principal("b", &[Role::OrgAdminUser]), Ok(())),
            (&principal("a", &[Role::AdminUser]), principal("a", &[Role::TrialUser]), Err(D::NotPermitted)),
            (&principal("a", &[]), principal("a", &[]), Err(D::NotPermitted)),
        ];
        for (caller, target, expected) in cases {
            assert_eq!(
                may_impersonate(caller, &target),
                expected,
                "{:?} -> {:?}",
                caller.roles,
                target.roles
            );
        }
    }

    #[test]
    fn a_claimed_agent_is_no_certain_one() {
        let mut asking = principal("a", &[Role::ApiUser]);
        let seen = |principal: &Principal| principal.value(&PrincipalPath::Agent).map(Cow::into_owned);
        assert_eq!(seen(&asking), None);
        asking.agent = Some(Agent::Vouched("assistant".to_owned()));
        assert_eq!(seen(&asking), Some(Value::from("assistant")));
        asking.agent = Some(Agent::Claimed("assistant".to_owned()));
        assert_eq!(seen(&asking), Some(Value::from(Agent::UNVERIFIED)));
        assert_eq!(asking.agent.as_ref().map(Agent::label), Some("assistant"), "the record has the name");
    }

    #[test]
    fn an_application_lends_its_account_and_mixes_up_none_of_its_users() {
        let alone = principal("a", &[]);
        assert_eq!(alone.account(), &alone.user);
        assert_eq!(alone.identity().on_behalf_of, None);
        let application = Some(UserId::new("portal").unwrap());
        let acting = Principal { application: application.clone(), acted_by: application, ..alone.clone() };
        assert_eq!(acting.account().as_str(), "portal");
        assert_ne!(acting.identity(), alone.identity());
        let elsewhere = Principal { tenant: TenantId::new("other").unwrap(), ..acting.clone() };
        assert_ne!(acting.identity(), elsewhere.identity());
    }

    #[test]
    fn narrower_variables_win() {
        let map = |text: &str| serde_json::from_str::<Attributes>(text).unwrap();
        let (org, user) = (map(r#"{"a":1,"b":1}"#), map(r#"{"b":2}"#));
        assert_eq!(merge_attributes([Some(&org), None, Some(&user)]), map(r#"{"a":1,"b":2}"#));
    }
}
