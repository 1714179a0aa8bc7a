//! Arrivals: users of outside sources, such as OpenID providers and directories.
//!
//! A source's subject is linked to one user, and stays it whatever the source calls them later. What a source says of a
//! user is kept beside what was granted by hand, so that either goes without the other.

use ringfence_policy::principal::rank_of;
use ringfence_policy::{Attributes, OrgId, Role, TenantId, UserId};

use crate::changes::Change;
use crate::database::{Row, Transaction, params, to_json, transact};
use crate::role_mapping::RoleSet;
use crate::users::{self, Outside, User};
use crate::{Store, StoreError};

/// What a source says of one of its users, in our terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// The source's name in the configuration.
    pub source: String,
    /// The user's unchanging name there.
    pub subject: String,
    /// What the user is called here when it is new.
    pub user: UserId,
    /// Where the user belongs.
    pub home: (TenantId, OrgId),
    /// What the source's roles mean here.
    pub granted: RoleSet,
    /// Roles of a user whom neither the source nor anybody here gives one; data roles of one who has neither.
    pub by_default: RoleSet,
    /// Values of the user's that are the source's to say.
    pub variables: Attributes,
    /// When the source said so, in milliseconds since the epoch.
    pub as_of: i64,
    /// What is done for a user who is not linked.
    pub unlinked: Unlinked,
}

/// What is done for a user who is not linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unlinked {
    /// Makes the tenant when there is none of that name.
    pub create_tenant: bool,
    /// Links a user of that name in the organization who has no source, and stands no higher than this role; `None` never.
    pub link_up_to: Option<Role>,
}

/// What became of an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrived {
    /// The user may come in, and was as the source says already.
    Welcome(UserId),
    /// The user may come in, and was made so just now.
    Changed(UserId),
    /// An administrator disabled the user.
    Disabled,
    /// Somebody else has the name.
    NameTaken,
    /// There is no such tenant in the organization.
    TenantUnknown,
    /// The user belongs to another organization.
    OtherOrganization,
}

/// The repository of links between sources' users and ours.
pub struct Arrivals<'a>(pub(crate) &'a Store);

impl Arrivals<'_> {
    /// Makes the user what the source says, and writes only what differs. Two who arrive under one new name at once are
    /// told [`StoreError::Duplicate`]: ask again.
    pub async fn arrive(&self, arrival: &Arrival) -> Result<Arrived, StoreError> {
        // Nearly always nothing has changed, and then nothing is locked.
        let rows = self.0.inner.database.query(LINKED, params![&arrival.source, &arrival.subject]).await?;
        if let Some(linked) = rows.first().map(Linked::read).transpose()? {
            if linked.user.disabled {
                return Ok(Arrived::Disabled);
            }
            if linked.is_told_nothing_new(arrival) {
                return Ok(Arrived::Welcome(linked.user.id));
            }
        }
        transact!(self.0.inner.database, tx => { arrive(tx, arrival).await? })
    }

    /// Whom a source's subject is linked to.
    pub async fn find(&self, source: &str, subject: &str) -> Result<Option<UserId>, StoreError> {
        let select = "SELECT user_id FROM user_links WHERE source = $1 AND subject = $2";
        let rows = self.0.inner.database.query(select, params![source, subject]).await?;
        rows.first().map(|row| row.id(0)).transpose()
    }
}

const LINKED: &str = "SELECT l.user_id, l.as_of, u.id, u.tenant_id, u.org_id, u.name, u.variables, u.roles, \
                      u.data_roles, u.disabled, l.source, l.roles, l.data_roles, l.variables \
                      FROM user_links l JOIN users u ON u.id = l.user_id WHERE l.source = $1 AND l.subject = $2";

/// A user with a link, and what there is by hand.
struct Linked {
    user: User,
    by_hand: RoleSet,
    outside: Outside,
    as_of: i64,
}

impl Linked {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let stored = users::Stored::read(row, 2)?;
        let by_hand = RoleSet { roles: stored.roles.clone(), data_roles: stored.data_roles.clone() };
        let missing = || StoreError::Corrupt("a link without a source".to_owned());
        let outside = stored.outside.clone().ok_or_else(missing)?;
        Ok(Self { by_hand, outside, user: stored.into_user(), as_of: row.integer(1)? })
    }

    // INVARIANT: what a source said earlier never undoes what it said later: an old token does not bring back the role that
    // a newer one is without. Held by the test `what_was_said_earlier_changes_nothing`.
    fn is_told_nothing_new(&self, arrival: &Arrival) -> bool {
        arrival.as_of < self.as_of
            || ((&self.user.tenant, &self.user.org) == (&arrival.home.0, &arrival.home.1)
                && self.outside == given(arrival, &self.by_hand))
    }
}

/// What the source gives a user who has this by hand.
fn given(arrival: &Arrival, by_hand: &RoleSet) -> Outside {
    let Arrival { granted, by_default, .. } = arrival;
    let nothing = granted.is_empty() && by_hand.is_empty();
    // Who is given a data role, and no more, must not lose what lets them in.
    let no_roles = granted.roles.is_empty() && by_hand.roles.is_empty();
    Outside {
        source: arrival.source.clone(),
        roles: if no_roles { &by_default.roles } else { &granted.roles }.clone(),
        data_roles: if nothing { &by_default.data_roles } else { &granted.data_roles }.clone(),
        variables: arrival.variables.clone(),
    }
}

async fn arrive(tx: &mut Transaction, arrival: &Arrival) -> Result<Arrived, StoreError> {
    let lock = "SELECT user_id FROM user_links WHERE source = $1 AND subject = $2 FOR UPDATE";
    tx.query(lock, params![&arrival.source, &arrival.subject]).await?;
    let rows = tx.query(LINKED, params![&arrival.source, &arrival.subject]).await?;
    match rows.first().map(Linked::read).transpose()? {
        Some(linked) => come_back(tx, arrival, linked).await,
        None => come_first(tx, arrival).await,
    }
}

/// Somebody who was here before.
async fn come_back(tx: &mut Transaction, arrival: &Arrival, linked: Linked) -> Result<Arrived, StoreError> {
    if linked.user.disabled {
        return Ok(Arrived::Disabled);
    }
    if linked.is_told_nothing_new(arrival) {
        return Ok(Arrived::Welcome(linked.user.id));
    }
    let (tenant, org) = &arrival.home;
    if *org != linked.user.org {
        return Ok(Arrived::OtherOrganization);
    }
    if *tenant != linked.user.tenant {
        if !has_tenant(tx, arrival).await? {
            return Ok(Arrived::TenantUnknown);
        }
        tx.execute("UPDATE users SET tenant_id = $2 WHERE id = $1", params![&linked.user.id, tenant]).await?;
    }
    let Outside { roles, data_roles, variables, .. } = given(arrival, &linked.by_hand);
    let (roles, data_roles) = (to_json(&roles)?, to_json(&data_roles)?);
    let update = "UPDATE user_links SET roles = $3, data_roles = $4, variables = $5, as_of = $6 \
                  WHERE source = $1 AND subject = $2";
    let variables = to_json(&variables)?;
    let values = params![&arrival.source, &arrival.subject, &roles, &data_roles, &variables, arrival.as_of];
    tx.execute(update, values).await?;
    tx.announce(Change::User(linked.user.id.clone()));
    Ok(Arrived::Changed(linked.user.id))
}

/// Somebody who was never here: made, or linked where that is allowed.
//
// INVARIANT: a name never makes somebody a user whom another is already, unless the source may link that very user. Held by
// the tests `a_name_is_never_taken_over` and `a_link_is_made_only_where_it_may`.
async fn come_first(tx: &mut Transaction, arrival: &Arrival) -> Result<Arrived, StoreError> {
    let (tenant, org) = &arrival.home;
    tx.query("SELECT id FROM users WHERE id = $1 FOR UPDATE", params![&arrival.user]).await?;
    let by_hand = if let Some(user) = users::find(tx, &arrival.user).await? {
        let may_link = arrival.unlinked.link_up_to.is_some_and(|highest| {
            user.outside.is_none() && user.org == *org && stands_no_higher(&user.roles, highest)
        });
        if !may_link {
            return Ok(Arrived::NameTaken);
        }
        if user.disabled {
            return Ok(Arrived::Disabled);
        }
        if user.tenant != *tenant {
            return Ok(Arrived::TenantUnknown);
        }
        RoleSet { roles: user.roles, data_roles: user.data_roles }
    } else {
        if !has_tenant(tx, arrival).await? {
            return Ok(Arrived::TenantUnknown);
        }
        let insert = "INSERT INTO users (id, tenant_id, org_id, roles, data_roles) \
                          VALUES ($1, $2, $3, '[]', '[]')";
        let made = tx.execute(insert, params![&arrival.user, tenant, org]).await;
        made.map_err(|failure| failure.on_insert("user", "tenant"))?;
        RoleSet::default()
    };
    let Outside { roles, data_roles, variables, .. } = given(arrival, &by_hand);
    let insert = "INSERT INTO user_links (source, subject, user_id, roles, data_roles, variables, as_of) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let (roles, data_roles, variables) = (to_json(&roles)?, to_json(&data_roles)?, to_json(&variables)?);
    let (source, subject) = (&arrival.source, &arrival.subject);
    let values = params![source, subject, &arrival.user, &roles, &data_roles, &variables, arrival.as_of];
    tx.execute(insert, values).await.map_err(|failure| failure.on_insert("user", "user"))?;
    tx.announce(Change::User(arrival.user.clone()));
    Ok(Arrived::Changed(arrival.user.clone()))
}

fn stands_no_higher(roles: &[Role], highest: Role) -> bool {
    use ringfence_policy::principal::permissions_of;
    rank_of(roles) <= highest.rank() && permissions_of(roles).is_subset_of(highest.permissions())
}

/// Whether the tenant is in the organization; it is made when the source may do so.
async fn has_tenant(tx: &mut Transaction, arrival: &Arrival) -> Result<bool, StoreError> {
    let (tenant, org) = &arrival.home;
    let rows = tx.query("SELECT org_id FROM tenants WHERE id = $1", params![tenant]).await?;
    if let Some(row) = rows.first() {
        return Ok(row.id::<OrgId>(0)? == *org);
    }
    if !arrival.unlinked.create_tenant {
        return Ok(false);
    }
    let made = tx.execute("INSERT INTO tenants (id, org_id) VALUES ($1, $2)", params![tenant, org]).await;
    made.map_err(|failure| failure.on_insert("tenant", "organization"))?;
    tx.announce(Change::Directory);
    Ok(true)
}
