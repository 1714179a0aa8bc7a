//! The role ladder, the roles beside it, and the permissions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a user may do with the control plane. Data is governed by policies, not by these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant says its name; `name` has the spelling clients see")]
#[repr(u8)]
pub enum Permission {
    ReadDatabases,
    ReadSemanticContext,
    ReadLikedQueries,
    ReadSimilaritySearchIndex,
    WriteDatabases,
    WriteSemanticContext,
    WriteLikedQueries,
    UsageApi,
    WriteAccessKey,
    PublishSemanticContext,
    PublishLikedQueries,
    PublishAccessRules,
    PushDatabases,
    WriteSimilaritySearchIndex,
    ReadUser,
    ReadTenant,
    ReadOrg,
    WriteUser,
    WriteTenant,
    UsageImpersonation,
    ReadUsageReport,
    WriteOrg,
    ActPrincipals,
    ActTenants,
}

impl Permission {
    /// Every permission, in the order in which the ladder adds them; then those that no rung of it has.
    pub const ALL: [Self; 24] = [
        Self::ReadDatabases,
        Self::ReadSemanticContext,
        Self::ReadLikedQueries,
        Self::ReadSimilaritySearchIndex,
        Self::WriteDatabases,
        Self::WriteSemanticContext,
        Self::WriteLikedQueries,
        Self::UsageApi,
        Self::WriteAccessKey,
        Self::PublishSemanticContext,
        Self::PublishLikedQueries,
        Self::PublishAccessRules,
        Self::PushDatabases,
        Self::WriteSimilaritySearchIndex,
        Self::ReadUser,
        Self::ReadTenant,
        Self::ReadOrg,
        Self::WriteUser,
        Self::WriteTenant,
        Self::UsageImpersonation,
        Self::ReadUsageReport,
        Self::WriteOrg,
        Self::ActPrincipals,
        Self::ActTenants,
    ];

    /// The name that clients see, such as `write:databases`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadDatabases => "read:databases",
            Self::ReadSemanticContext => "read:semantic-context",
            Self::ReadLikedQueries => "read:liked-queries",
            Self::ReadSimilaritySearchIndex => "read:similarity-search-index",
            Self::WriteDatabases => "write:databases",
            Self::WriteSemanticContext => "write:semantic-context",
            Self::WriteLikedQueries => "write:liked-queries",
            Self::UsageApi => "usage:api",
            Self::WriteAccessKey => "write:access_key",
            Self::PublishSemanticContext => "publish:semantic-context",
            Self::PublishLikedQueries => "publish:liked-queries",
            Self::PublishAccessRules => "publish:access-rules",
            Self::PushDatabases => "push:databases",
            Self::WriteSimilaritySearchIndex => "write:similarity-search-index",
            Self::ReadUser => "read:user",
            Self::ReadTenant => "read:tenant",
            Self::ReadOrg => "read:org",
            Self::WriteUser => "write:user",
            Self::WriteTenant => "write:tenant",
            Self::UsageImpersonation => "usage:impersonation",
            Self::ReadUsageReport => "read:usage-report",
            Self::WriteOrg => "write:org",
            Self::ActPrincipals => "act:principals",
            Self::ActTenants => "act:tenants",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions(u32);

impl Permissions {
    /// The set of those given.
    pub fn of(list: &[Permission]) -> Self {
        Self(list.iter().fold(0, |set, permission| set | permission.bit()))
    }

    /// Whether the set has this one.
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether every permission of this set is in the other.
    pub const fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The set without what no rung of the ladder has: what somebody is compared by who rules over others. An administrator
    /// who may not act for an application's users still makes the application, and removes it.
    #[must_use]
    pub fn on_ladder(self) -> Self {
        Self(self.0 & !Self::of(&[Permission::ActPrincipals, Permission::ActTenants]).0)
    }

    /// What both sets have.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The members, in the ladder's order.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.contains(*permission))
    }
}

/// A product role. Each has every permission of the one below it; `TrialApiUser` is a side branch of the lowest rung.
/// Three stand beside the ladder: `Auditor` reads the audit log of its organization and no data, and the two for
/// applications are given on top of a rung, and are no rung themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[expect(missing_docs, reason = "each variant says its name; `name` has the spelling clients see")]
pub enum Role {
    TrialUser,
    TrialApiUser,
    User,
    ApiUser,
    AdminUser,
    OrgAdminUser,
    SuperAdminUser,
    Auditor,
    ActingApplication,
    OrgActingApplication,
}

impl Role {
    /// Every role: the ladder, lowest first, and then what stands beside it.
    pub const ALL: [Self; 10] = [
        Self::TrialUser,
        Self::TrialApiUser,
        Self::User,
        Self::ApiUser,
        Self::AdminUser,
        Self::OrgAdminUser,
        Self::SuperAdminUser,
        Self::Auditor,
        Self::ActingApplication,
        Self::OrgActingApplication,
    ];

    /// The role's name, such as `api-user`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TrialUser => "trial-user",
            Self::TrialApiUser => "trial-api-user",
            Self::User => "user",
            Self::ApiUser => "api-user",
            Self::AdminUser => "admin-user",
            Self::OrgAdminUser => "org-admin-user",
            Self::SuperAdminUser => "super-admin-user",
            Self::Auditor => "auditor",
            Self::ActingApplication => "acting-application",
            Self::OrgActingApplication => "org-acting-application",
        }
    }

    /// The rung of the ladder; nobody grants a role of a higher rung than their own highest.
    pub const fn rank(self) -> u8 {
        match self {
            Self::ActingApplication | Self::OrgActingApplication => 0,
            Self::TrialUser | Self::TrialApiUser => 1,
            Self::User => 2,
            Self::ApiUser | Self::Auditor => 3,
            Self::AdminUser => 4,
            Self::OrgAdminUser => 5,
            Self::SuperAdminUser => 6,
        }
    }

    /// What the role may do.
    pub fn permissions(self) -> Permissions {
        use Permission as P;
        match self {
            Self::TrialUser => Permissions::of(&[
                P::ReadDatabases,
                P::ReadSemanticContext,
                P::ReadLikedQueries,
                P::ReadSimilaritySearchIndex,
            ]),
            Self::TrialApiUser => {
                Self::TrialUser.permissions().union(Permissions::of(&[P::UsageApi, P::WriteAccessKey]))
            }
            Self::User => Self::TrialUser.permissions().union(Permissions::of(&[
                P::WriteDatabases,
                P::WriteSemanticContext,
                P::WriteLikedQueries,
            ])),
            Self::ApiUser => {
                Self::User.permissions().union(Permissions::of(&[P::UsageApi, P::WriteAccessKey]))
            }
            Self::AdminUser => Self::ApiUser.permissions().union(Permissions::of(&[
                P::PublishSemanticContext,
                P::PublishLikedQueries,
                P::PublishAccessRules,
                P::PushDatabases,
                P::WriteSimilaritySearchIndex,
            ])),
            Self::OrgAdminUser => Self::AdminUser.permissions().union(Permissions::of(&[
                P::ReadUser,
                P::ReadTenant,
                P::ReadOrg,
                P::WriteUser,
                P::WriteTenant,
                P::UsageImpersonation,
                P::ReadUsageReport,
            ])),
            Self::SuperAdminUser => Self::OrgAdminUser.permissions().union(Permissions::of(&[P::WriteOrg])),
            // INVARIANT: nothing here reads or changes data. Held by the test `an_auditor_reads_the_log_and_no_data`.
            Self::Auditor => Permissions::of(&[P::UsageApi, P::WriteAccessKey, P::ReadUsageReport]),
            Self::ActingApplication => Permissions::of(&[P::ActPrincipals]),
            Self::OrgActingApplication => Permissions::of(&[P::ActPrincipals, P::ActTenants]),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A role name that is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown role: use one of trial-user, trial-api-user, user, api-user, admin-user, org-admin-user, super-admin-user, auditor, acting-application, org-acting-application"
)]
pub struct RoleUnknown;

impl FromStr for Role {
    type Err = RoleUnknown;

    /// Reads a role name, with or without the `waii-` prefix.
    fn from_str(text: &str) -> Result<Self, RoleUnknown> {
        let bare = text.strip_prefix("waii-").unwrap_or(text);
        Self::ALL.into_iter().find(|role| role.name() == bare).ok_or(RoleUnknown)
    }
}

impl TryFrom<String> for Role {
    type Error = RoleUnknown;

    fn try_from(text: String) -> Result<Self, RoleUnknown> {
        text.parse()
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_adds_up_to_all_permissions_but_those_beside_it() {
        assert_eq!(Role::SuperAdminUser.permissions().iter().count(), 22);
        assert_eq!(Role::ApiUser.permissions().iter().count(), 9);
        let ladder = [
            Role::TrialUser,
            Role::User,
            Role::ApiUser,
            Role::AdminUser,
            Role::OrgAdminUser,
            Role::SuperAdminUser,
        ];
        for pair in ladder.windows(2) {
            let (below, above) = (pair[0].permissions(), pair[1].permissions());
            assert!(below.is_subset_of(above) && !above.is_subset_of(below), "{pair:?}");
        }
        assert!(!Role::TrialApiUser.permissions().is_subset_of(Role::User.permissions()));
        for role in ladder {
            assert_eq!(
                role.permissions().on_ladder(),
                role.permissions(),
                "{role} may not act for others' users"
            );
        }
        for role in [Role::ActingApplication, Role::OrgActingApplication] {
            assert_eq!(role.permissions().on_ladder(), Permissions::default(), "{role} is nothing by itself");
            assert_eq!(role.rank(), 0, "{role} is no rung");
        }
    }

    #[test]
    fn names_parse_with_and_without_prefix() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
            assert_eq!(format!("waii-{role}").parse(), Ok(role));
        }
        for unknown in ["", "waii-", "waii-waii-user", "root", "API-USER", "super-admin"] {
            assert_eq!(unknown.parse::<Role>(), Err(RoleUnknown), "{unknown}");
        }
    }
}
