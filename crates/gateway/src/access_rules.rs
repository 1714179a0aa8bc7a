//! Access rules: who may write which, and what a rule must be. A rule is on a place, as a policy is, so that no alias of a
//! connection escapes it.

mod cache;
mod check;

use ringfence_policy::{AccessRule, OrgId, Permission, RelationName, Role, TenantId, UserId};
use ringfence_store::StoreError;
use ringfence_store::access_rules::{RulePlace, StoredRule};
use ringfence_store::connections::Connection;

pub(crate) use cache::{RuleCache, RuleSet};
pub(crate) use check::all_of;

use crate::annotations;
use crate::connections::address_of;
use crate::limits::given;
use crate::{Call, Code, Gateway, Refused};

/// Rules in one call.
const MAX_RULES: usize = 1_000;
const MAX_NAME_BYTES: usize = 256;

/// A rule as a caller writes it.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct NewRule {
    /// Made up when there is none.
    pub id: Option<String>,
    pub name: String,
    pub table: annotations::RelationName,
    /// Any within the author's reach when absent or `*`, and so are the other two.
    pub org: Option<String>,
    pub tenant: Option<String>,
    pub user: Option<String>,
    /// Which rows are shown; `None` blocks the table.
    pub expression: Option<String>,
}

/// Which rules are listed; all given conditions hold together.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct RuleLookup {
    pub table: Option<annotations::RelationName>,
    pub ids: Option<Vec<String>>,
    /// The rules that bind this user's queries: of each table, those that count.
    pub user: Option<String>,
}

/// Whom a rule is for.
struct Audience {
    org: Option<OrgId>,
    tenant: Option<TenantId>,
    user: Option<UserId>,
}

impl Gateway {
    /// Adds rules, or replaces those of the same id, scope and table: all or none. Needs `publish:access-rules`; an
    /// administrator of a tenant writes for that tenant, one of an organization for that organization.
    pub async fn update_access_rules(
        &self,
        call: &Call,
        key: &str,
        rules: Vec<NewRule>,
    ) -> Result<(), Refused> {
        call.log().set_action("update-table-access-rules");
        let (connection, place) = self.ruled(call, key).await?;
        if rules.len() > MAX_RULES {
            return Err(Refused::invalid(format!("too many rules: at most {MAX_RULES}")));
        }
        let known = self.shared.store.access_rules().list(&place, None).await?;
        let mut checked = Vec::with_capacity(rules.len());
        for rule in rules {
            let audience = self.audience(call, &rule).await?;
            let stored = self.checked_rule(call, &connection, rule, audience, &known).await?;
            call.log().set_object(&stored.id);
            may_replace(call, &connection, &stored, &known)?;
            checked.push(stored);
        }
        let put = self.shared.store.access_rules().put(&place, &checked).await;
        // Also after a failure: whether the change arrived is not known then.
        self.shared.rules.forget(&place);
        put.map_err(|error| match error {
            StoreError::Duplicate { what } => {
                Refused::new(Code::AlreadyExists, format!("there is another {what}: change that one"))
            }
            StoreError::Missing { .. } => out_of_reach(),
            other => other.into(),
        })
    }

    /// Removes rules by their ids; unknown ones, and those out of reach, are ignored alike. Needs `publish:access-rules`.
    pub async fn remove_access_rules(&self, call: &Call, key: &str, ids: &[String]) -> Result<(), Refused> {
        call.log().set_action("remove-table-access-rules");
        let (_, place) = self.ruled(call, key).await?;
        let known = self.shared.store.access_rules().list(&place, None).await?;
        let mut gone = Vec::new();
        for rule in known.into_iter().filter(|rule| ids.contains(&rule.id) && may_write(call, rule)) {
            if rule.author_rank > call.principal().rank() {
                return Err(above(&rule));
            }
            gone.push((rule.org, rule.id));
        }
        let removed = self.shared.store.access_rules().remove(&place, &gone).await;
        self.shared.rules.forget(&place);
        Ok(removed?)
    }

    /// The rules that bind somebody within the caller's reach. Needs `publish:access-rules`: rules name what they hide.
    pub async fn list_access_rules(
        &self,
        call: &Call,
        key: &str,
        lookup: RuleLookup,
    ) -> Result<Vec<StoredRule>, Refused> {
        call.log().set_action("list-table-access-rules");
        let (connection, place) = self.ruled(call, key).await?;
        let org = (!call.principal().is_super_admin()).then_some(&call.principal().org);
        let mut rules = self.shared.store.access_rules().list(&place, org).await?;
        let mut reached = Vec::with_capacity(rules.len());
        for rule in rules.drain(..) {
            if self.reaches(call, &rule).await? {
                reached.push(rule);
            }
        }
        if let Some(id) = &lookup.user {
            self.keep_binding(call, &connection, id, &mut reached).await?;
        }
        if let Some(table) = &lookup.table {
            let same = |stored: &str, named: &str| stored.to_lowercase() == named.to_lowercase();
            reached.retain(|rule| {
                same(&rule.table, &table.name)
                    && table.schema.as_ref().is_none_or(|schema| same(&rule.schema, schema))
            });
        }
        if let Some(ids) = &lookup.ids {
            reached.retain(|rule| ids.contains(&rule.id));
        }
        Ok(reached)
    }

    /// Leaves the rules that bind this user's queries; none for a user whom the caller does not see.
    async fn keep_binding(
        &self,
        call: &Call,
        connection: &Connection,
        id: &str,
        rules: &mut Vec<StoredRule>,
    ) -> Result<(), Refused> {
        let kind = connection.spec.kind().map_err(|invalid| Refused::invalid(invalid.to_string()))?;
        let user = match UserId::new(id) {
            Ok(user) => self.shared.principals.principal(&self.shared.store, &user).await?,
            Err(_) => None,
        };
        let Some(user) = user.filter(|user| reaches_user(call, &user.org, &user.tenant)) else {
            rules.clear();
            return Ok(());
        };
        let loaded: Vec<AccessRule> = rules.iter().map(|rule| cache::load(rule, kind)).collect();
        let binds = |rule: &AccessRule| {
            let binding = AccessRule::binding(&loaded, &rule.table, &user);
            binding.iter().any(|one| std::ptr::eq(*one, rule))
        };
        let mut kept = loaded.iter().map(binds);
        rules.retain(|_| kept.next().unwrap_or_default());
        Ok(())
    }

    /// One of the caller's connections, and its place.
    async fn ruled(&self, call: &Call, key: &str) -> Result<(Connection, RulePlace), Refused> {
        call.log().set_scope(key);
        call.needs(Permission::PublishAccessRules)?;
        let connection = self.connection_of(call, key).await?;
        let address = address_of(&connection, &call.principal().org)?;
        let place = self.place_of(&call.principal().org, &address)?.ok_or_else(|| {
            Refused::invalid(
                "a pushed catalog has no rows: access rules are for connections that run queries",
            )
        })?;
        Ok((connection, RulePlace::new(&place.place)))
    }

    /// Whom the rule is for, within the caller's reach. Missing and out of reach get one answer.
    async fn audience(&self, call: &Call, rule: &NewRule) -> Result<Audience, Refused> {
        let caller = call.principal();
        let mut org = named(rule.org.as_deref()).map(OrgId::new).transpose()?;
        let mut tenant = named(rule.tenant.as_deref()).map(TenantId::new).transpose()?;
        let user = named(rule.user.as_deref()).map(UserId::new).transpose()?;
        if !caller.is_super_admin() {
            // What says nothing of the organization, or of the tenant, means the author's own.
            org = org.or_else(|| Some(caller.org.clone()));
            if is_of_tenant(call) {
                tenant = tenant.or_else(|| Some(caller.tenant.clone()));
            }
        }
        let mut reach = org.as_ref().is_none_or(|org| call.sees(org))
            && (!is_of_tenant(call) || tenant.as_ref() == Some(&caller.tenant));
        if let Some(tenant) = &tenant {
            let found = self.shared.store.tenants().get(tenant).await?;
            reach &= found.is_some_and(|found| org.as_ref().is_none_or(|org| *org == found.org));
        }
        if let Some(user) = &user {
            let found = self.shared.store.users().get(user).await?;
            reach &= found.is_some_and(|found| {
                org.as_ref().is_none_or(|org| *org == found.org)
                    && tenant.as_ref().is_none_or(|tenant| *tenant == found.tenant)
            });
        }
        if reach { Ok(Audience { org, tenant, user }) } else { Err(out_of_reach()) }
    }

    /// Whether the rule may bind somebody whom the caller administers.
    async fn reaches(&self, call: &Call, rule: &StoredRule) -> Result<bool, Refused> {
        if !is_of_tenant(call) {
            return Ok(true);
        }
        let own = &call.principal().tenant;
        Ok(match (&rule.tenant, &rule.user) {
            (Some(tenant), _) => tenant == own,
            (None, None) => true,
            (None, Some(user)) => {
                self.shared.store.users().get(user).await?.is_some_and(|user| user.tenant == *own)
            }
        })
    }
}

/// The part of a scope, unless it means any.
fn named(part: Option<&str>) -> Option<&str> {
    given(part).filter(|part| *part != "*")
}

/// Whether the caller administers a tenant and no more.
fn is_of_tenant(call: &Call) -> bool {
    call.principal().rank() < Role::OrgAdminUser.rank()
}

fn reaches_user(call: &Call, org: &OrgId, tenant: &TenantId) -> bool {
    call.sees(org) && (!is_of_tenant(call) || call.principal().tenant == *tenant)
}

/// Whether the rule is one of those that the caller writes.
fn may_write(call: &Call, rule: &StoredRule) -> bool {
    let caller = call.principal();
    let own_org = caller.is_super_admin() || rule.org.as_ref() == Some(&caller.org);
    own_org && (!is_of_tenant(call) || rule.tenant.as_ref() == Some(&caller.tenant))
}

/// A rule that takes the place of another, or counts instead of a wider one, could show more: that takes the rank of the
/// other's author.
//
// INVARIANT: nobody shows more than a higher-ranked author let them. Held by the test `rank_guards_what_others_wrote`.
fn may_replace(
    call: &Call,
    connection: &Connection,
    rule: &StoredRule,
    known: &[StoredRule],
) -> Result<(), Refused> {
    let kind = connection.spec.kind().map_err(|invalid| Refused::invalid(invalid.to_string()))?;
    let loaded = cache::load(rule, kind);
    for other in known.iter().filter(|other| other.author_rank > call.principal().rank()) {
        let is_same = other.id == rule.id && other.org == rule.org;
        if is_same || loaded.overrides(&cache::load(other, kind)) {
            return Err(above(other));
        }
    }
    Ok(())
}

fn above(rule: &StoredRule) -> Refused {
    let name = if rule.name.is_empty() { &rule.id } else { &rule.name };
    Refused::new(
        Code::NotPermitted,
        format!(
            "the rule \"{name}\" is by somebody who ranks above you: it takes that rank to change or to override it"
        ),
    )
}

fn out_of_reach() -> Refused {
    Refused::new(
        Code::NotFound,
        "organization, tenant or user not found: name those that you administer, or `*` for all of them",
    )
}

fn relation_of(rule: &StoredRule) -> RelationName {
    RelationName::new(&rule.schema, &rule.table)
}
