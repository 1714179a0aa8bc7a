//! The principals that a proof looks through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringfence_policy::{Attributes, Cast, Principal, Who};

use super::Bench;
use super::actor::{Actor, roles_of};
use super::report::ProvenPrincipal;
use super::tenancy::Custom;
use super::world::World;
use crate::policies::made_up;
use crate::{Call, Code, Gateway, Refused};

/// All of them.
pub(super) struct Company {
    pub(super) principals: Vec<ProvenPrincipal>,
    /// Those as whom something can be asked.
    pub(super) actors: Vec<Member>,
    /// Users that there was no room for.
    pub(super) left_out: usize,
}

/// One as whom something can be asked.
pub(super) struct Member {
    /// The place among the principals.
    pub(super) number: usize,
    pub(super) principal: Arc<Principal>,
    pub(super) actor: Actor,
}

/// A name, somebody, and what is stated of their attributes.
type Somebody = (String, Arc<Principal>, Attributes);

impl Gateway {
    /// Seats the principals before the policy.
    pub(super) async fn company(
        &self,
        call: &Call,
        bench: &Bench<'_>,
        custom: &Custom,
        cast: Option<Cast>,
    ) -> Result<Company, Refused> {
        let (people, left_out) = self.cast(call, cast, bench.request.most_principals).await?;
        let mut company = Company { principals: Vec::new(), actors: Vec::new(), left_out };
        for (name, principal, stated) in people {
            let seat = bench.trials.seat(bench.snapshot, bench.rules, &principal, &stated, None).await;
            let refused = seat.as_ref().err().map(ToString::to_string);
            let tenant = principal.tenant.to_string();
            let roles = roles_of(&principal);
            match seat {
                Ok(seat) => {
                    let actor = Actor::new(seat, &custom.value, bench.intent, bench.policy.schema());
                    company.actors.push(Member { number: company.principals.len(), principal, actor });
                }
                Err(refused) if is_theirs(refused.code) => {}
                Err(refused) => return Err(refused),
            }
            company.principals.push(ProvenPrincipal { name, tenant, roles, refused });
        }
        Ok(company)
    }

    /// The principals: those of the file, or one of each tenant and set of roles, all tenants first.
    async fn cast(
        &self,
        call: &Call,
        cast: Option<Cast>,
        most: usize,
    ) -> Result<(Vec<Somebody>, usize), Refused> {
        let mut people = Vec::new();
        if let Some(cast) = cast {
            for who in &cast.principals {
                people.push(match who {
                    Who::User(user) => {
                        let principal = self.user_of_organization(call, user).await?;
                        (user.clone(), Arc::new(principal), Attributes::new())
                    }
                    Who::Person(person) => {
                        let name =
                            person.user.clone().unwrap_or_else(|| format!("somebody of {}", person.tenant));
                        (name, Arc::new(made_up(call, person)?), person.attributes.clone())
                    }
                });
            }
            return Ok((people, 0));
        }
        let (users, mut left_out) = self.people(call, &[]).await?;
        let mut groups: BTreeMap<(String, Vec<String>), Principal> = BTreeMap::new();
        for user in users {
            let mut roles = roles_of(&user);
            roles.sort();
            groups.entry((user.tenant.to_string(), roles)).or_insert(user);
        }
        let mut tenants = BTreeMap::<String, usize>::new();
        let mut turns: Vec<(usize, Principal)> = Vec::new();
        for ((tenant, _), principal) in groups {
            let turn = tenants.entry(tenant).or_default();
            turns.push((*turn, principal));
            *turn += 1;
        }
        turns.sort_by_key(|(turn, _)| *turn);
        left_out += turns.len().saturating_sub(most);
        for (_, principal) in turns.into_iter().take(most) {
            people.push((principal.user.to_string(), Arc::new(principal), Attributes::new()));
        }
        Ok((people, left_out))
    }
}

/// Whether a refusal to seat somebody is about them: others can still be looked through.
fn is_theirs(code: Code) -> bool {
    matches!(code, Code::TenantScopeRequired | Code::AttributeUnavailable)
}

/// What a reader should know of who was looked through.
pub(super) fn note(actors: &[Member], world: &World, notes: &mut Vec<String>) {
    let tenants: BTreeSet<&str> = actors.iter().map(|member| member.principal.tenant.as_str()).collect();
    if tenants.len() < 2 {
        notes.push(
            "all principals are of one tenant: name some of another in a file (`--principals`)".to_owned(),
        );
    }
    let owners: BTreeSet<&String> = world.tables.values().flat_map(|table| &table.owners).flatten().collect();
    let is_there = |member: &Member| member.actor.own().iter().any(|own| owners.contains(own));
    if !owners.is_empty() && !actors.iter().any(is_there) {
        notes.push(
            "no row belongs to the tenant of any principal: say in the intent what a principal's tenant is called there (`tenant.value`)"
                .to_owned(),
        );
    }
}
