//! Arrivals: a user of an outside source (an OpenID provider, a directory) becomes a user here.
//!
//! The source vouches for who it is and says where they belong; its rules in the configuration say how far it is believed,
//! and the role mapping in the store what its roles mean. `docs/oidc.md` tells it for operators.

use std::collections::BTreeMap;

use ringfence_policy::principal::is_own_name;
use ringfence_policy::{Attributes, OrgId, Role, TenantId, UserId};
use ringfence_store::StoreError;
use ringfence_store::arrivals::{Arrival as Stored, Arrived, Unlinked};
use ringfence_store::role_mapping::RoleSet;

use crate::call::now_ms;
use crate::limits::check_variables;
use crate::{Gateway, Refused};

/// Longest subject, in bytes: an issuer's address and what OpenID Connect allows for a subject.
const MAX_SUBJECT_BYTES: usize = 1024;
/// Roles that one arrival may name.
const MAX_OUTSIDE_ROLES: usize = 1000;

/// How far an outside source is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name in the configuration, unique among all sources.
    pub name: String,
    /// The organization of all its users; `None` when each arrival names one.
    pub organization: Option<OrgId>,
    /// The tenant of all its users; `None` when each arrival names one.
    pub tenant: Option<TenantId>,
    /// What names of tenants mean here. Any other name is the tenant's own.
    pub tenants: BTreeMap<String, TenantId>,
    /// Makes tenants that don't exist, in the organization.
    pub create_tenants: bool,
    /// Links users of the organization who have the same name and no source.
    pub link_existing: bool,
    /// The highest product role that it gives, and that a user whom it links may have.
    pub highest_role: Role,
    /// What a user gets who has no role, neither from it nor by hand.
    pub default_roles: RoleSet,
}

/// Somebody, as a source says.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// The unchanging name of the user at the source.
    pub subject: String,
    /// What the user is called here.
    pub name: String,
    /// For a source that says the organization of each user.
    pub organization: Option<String>,
    /// For a source that says the tenant of each user.
    pub tenant: Option<String>,
    /// Roles as the source spells them.
    pub roles: Vec<String>,
    /// Values that policies may use for the user.
    pub attributes: Attributes,
    /// When the source said so, in milliseconds since the epoch; `None` for now. What was said before something newer
    /// changes nothing.
    pub as_of: Option<i64>,
}

/// Why somebody does not come in. Callers hear one answer for all of it, the log hears the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwelcome {
    /// For what the source says, or for who it is about.
    Because(&'static str),
    /// The store could not be asked.
    Refused(Refused),
}

impl From<StoreError> for Unwelcome {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

impl Gateway {
    /// Makes the user what the source says now, and answers who it is. Not called for every request: what it answers may be
    /// kept as long as the user's version stands.
    pub(crate) async fn arrive(&self, source: &Source, arrival: Arrival) -> Result<UserId, Unwelcome> {
        let mapping = self.shared.store.role_mapping().list(&source.name).await?;
        let mut granted = RoleSet::default();
        for mapped in mapping.iter().filter(|mapped| arrival.roles.contains(&mapped.outside_role)) {
            granted.extend(&mapped.means);
        }
        let stored = read(source, arrival, granted, now_ms()).map_err(Unwelcome::Because)?;
        let arrivals = self.shared.store.arrivals();
        let mut arrived = arrivals.arrive(&stored).await;
        if matches!(arrived, Err(StoreError::Duplicate { .. } | StoreError::Conflict { .. })) {
            // Somebody arrived under the same new name, or in the same new tenant, at the same time.
            arrived = arrivals.arrive(&stored).await;
        }
        match arrived? {
            Arrived::Welcome(user) => Ok(user),
            Arrived::Changed(user) => {
                self.shared.forget_user(&user);
                Ok(user)
            }
            Arrived::Disabled => Err(Unwelcome::Because("the user is disabled")),
            Arrived::NameTaken => Err(Unwelcome::Because("somebody else has the name, and is not linked")),
            Arrived::TenantUnknown => Err(Unwelcome::Because("the organization has no such tenant")),
            Arrived::OtherOrganization => {
                Err(Unwelcome::Because("the user belongs to another organization by now"))
            }
        }
    }
}

/// What the source says, as far as it may say it.
//
// INVARIANT: no source gives a product role above its highest, or a user of an organization that is not its own. Held by the
// tests below.
fn read(source: &Source, arrival: Arrival, granted: RoleSet, now: i64) -> Result<Stored, &'static str> {
    let Arrival { subject, name, organization, tenant, roles, attributes, as_of } = arrival;
    if subject.is_empty() || subject.len() > MAX_SUBJECT_BYTES {
        return Err("the subject is empty or too long");
    }
    if roles.len() > MAX_OUTSIDE_ROLES {
        return Err("too many roles");
    }
    let user = UserId::new(&name).map_err(|_| "the name can't be one")?;
    let org = match (&source.organization, organization) {
        (Some(own), None) => own.clone(),
        (Some(own), Some(named)) if named == own.as_str() => own.clone(),
        (Some(_), Some(_)) => return Err("another organization than the source's"),
        (None, Some(named)) => OrgId::new(&named).map_err(|_| "an organization that can't be one")?,
        (None, None) => return Err("no organization is named"),
    };
    let named = tenant.map(|named| match source.tenants.get(&named) {
        Some(tenant) => Ok(tenant.clone()),
        None => TenantId::new(&named).map_err(|_| "a tenant that can't be one"),
    });
    let tenant = match (&source.tenant, named.transpose()?) {
        (Some(own), None) => own.clone(),
        (Some(own), Some(named)) if named == *own => named,
        (Some(_), Some(_)) => return Err("another tenant than the source's"),
        (None, Some(named)) => named,
        (None, None) => return Err("no tenant is named"),
    };
    if attributes.keys().any(|name| is_own_name(name)) {
        return Err("an attribute has the name of what the server says of a principal itself");
    }
    check_variables(Some(&attributes)).map_err(|_| "attributes that are too large, or of no good name")?;
    let link_up_to = source.link_existing.then_some(source.highest_role);
    Ok(Stored {
        source: source.name.clone(),
        subject,
        user,
        home: (tenant, org),
        granted: within(granted, source.highest_role),
        by_default: within(source.default_roles.clone(), source.highest_role),
        variables: attributes,
        // A source whose clock is ahead must not keep a later word of its own from counting.
        as_of: as_of.unwrap_or(now).min(now),
        unlinked: Unlinked { create_tenant: source.create_tenants, link_up_to },
    })
}

/// Without product roles above the highest.
fn within(mut set: RoleSet, highest: Role) -> RoleSet {
    set.roles.retain(|role| may_give(highest, *role));
    set
}

/// Whether a source with this highest product role gives that one.
pub fn may_give(highest: Role, role: Role) -> bool {
    role.rank() <= highest.rank() && role.permissions().is_subset_of(highest.permissions())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source {
            name: "corporate".to_owned(),
            organization: Some(OrgId::new("a").unwrap()),
            tenant: None,
            tenants: BTreeMap::from([("Acme Ltd".to_owned(), TenantId::new("acme").unwrap())]),
            create_tenants: false,
            link_existing: false,
            highest_role: Role::ApiUser,
            default_roles: RoleSet::default(),
        }
    }

    fn arrival() -> Arrival {
        Arrival {
            subject: "s1".to_owned(),
            name: "ann".to_owned(),
            organization: None,
            tenant: Some("t1".to_owned()),
            roles: Vec::new(),
            attributes: Attributes::new(),
            as_of: Some(5),
        }
    }

    fn of(roles: &[Role], data_roles: &[&str]) -> RoleSet {
        RoleSet {
            roles: roles.to_vec(),
            data_roles: data_roles.iter().map(|role| (*role).to_owned()).collect(),
        }
    }

    #[test]
    fn a_source_gives_nothing_above_its_highest_role() {
        let granted = of(&Role::ALL, &["ROLE_FRANCE"]);
        let given = read(&source(), arrival(), granted.clone(), 9).unwrap().granted;
        let below = [Role::TrialUser, Role::TrialApiUser, Role::User, Role::ApiUser];
        assert_eq!(given, of(&below, &["ROLE_FRANCE"]));
        let generous = Source { highest_role: Role::User, default_roles: granted.clone(), ..source() };
        let by_default = read(&generous, arrival(), RoleSet::default(), 9).unwrap().by_default;
        assert_eq!(by_default, of(&[Role::TrialUser, Role::User], &["ROLE_FRANCE"]));
        let highest = Source { highest_role: Role::SuperAdminUser, ..source() };
        let given = read(&highest, arrival(), granted, 9).unwrap().granted.roles;
        assert!(
            !given.contains(&Role::ActingApplication),
            "who acts for others is nothing that a source gives"
        );
    }

    #[test]
    fn a_home_is_the_sources_own() {
        let home = |source: &Source, organization: Option<&str>, tenant: Option<&str>| {
            let [organization, tenant] = [organization, tenant].map(|name| name.map(str::to_owned));
            let arrival = Arrival { organization, tenant, ..arrival() };
            read(source, arrival, RoleSet::default(), 9)
                .map(|read| format!("{}/{}", read.home.1, read.home.0))
        };
        let fixed = Source { tenant: Some(TenantId::new("t1").unwrap()), ..source() };
        let named = Source { organization: None, ..source() };
        assert_eq!(home(&source(), None, Some("t2")), Ok("a/t2".to_owned()));
        assert_eq!(home(&source(), Some("a"), Some("Acme Ltd")), Ok("a/acme".to_owned()));
        assert_eq!(home(&fixed, None, None), Ok("a/t1".to_owned()));
        assert_eq!(home(&fixed, None, Some("t1")), Ok("a/t1".to_owned()));
        assert_eq!(home(&named, Some("b"), Some("t2")), Ok("b/t2".to_owned()));
        for (source, organization, tenant) in [
            (source(), Some("b"), Some("t1")),
            (source(), None, None),
            (source(), None, Some("")),
            (fixed, None, Some("t2")),
            (named.clone(), None, Some("t1")),
            (named, Some(""), Some("t1")),
        ] {
            assert!(home(&source, organization, tenant).is_err(), "{organization:?} {tenant:?}");
        }
    }

    #[test]
    fn what_can_be_no_user_is_refused() {
        let large = Attributes::from_iter([("a".to_owned(), "x".repeat(70_000).into())]);
        let own = Attributes::from_iter([("tenant_id".to_owned(), "other".into())]);
        for bad in [
            Arrival { subject: String::new(), ..arrival() },
            Arrival { subject: "s".repeat(MAX_SUBJECT_BYTES + 1), ..arrival() },
            Arrival { name: " ".to_owned(), ..arrival() },
            Arrival { name: "a\nb".to_owned(), ..arrival() },
            Arrival { roles: vec!["r".to_owned(); MAX_OUTSIDE_ROLES + 1], ..arrival() },
            Arrival { attributes: large, ..arrival() },
            Arrival { attributes: own, ..arrival() },
        ] {
            assert!(read(&source(), bad, RoleSet::default(), 9).is_err());
        }
        let ahead = Arrival { as_of: Some(1_000), ..arrival() };
        assert_eq!(read(&source(), ahead, RoleSet::default(), 9).unwrap().as_of, 9);
    }
}
