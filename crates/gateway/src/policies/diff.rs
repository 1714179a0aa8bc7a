//! The effect of a document that is not in force, measured on the data: who gains and loses what by it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use ringfence_policy::{Attributes, Entitlement, Policy, Principal, Problem, Realm, RelationName, View};
use ringfence_store::connections::{Connection, Proof};
use ringfence_store::policies::{Guarding, PolicyPlace};
use serde_json::Value;

use super::cache::LoadedPolicy;
use super::effect::{GroupEffect, PolicyEffect, RelationEffect, RowsEffect, differences};
use crate::access_rules::RuleSet;
use crate::catalog::Shown;
use crate::guarded::{Breadth, Seat, Snapshot, not_ready};
use crate::queries::Trials;
use crate::{Call, Code, Gateway, Refused};

/// Groups that one answer tells of.
const MOST_GROUPS: usize = 100;
/// Statements that count rows for one answer.
const MOST_COUNTS: usize = 300;
/// Users of a group whose rows are counted, unless the caller says.
const SAMPLE: usize = 3;
const LARGEST_SAMPLE: usize = 50;

/// A document, and through whose eyes it is looked at.
#[derive(Debug, Clone, Default)]
pub struct DiffRequest {
    /// YAML or JSON.
    pub document: String,
    /// Ids of users of the organization; all of them when empty.
    pub users: Vec<String>,
    /// Whether rows are counted.
    pub counting: bool,
    /// For how many users of each group, of different tenants as far as there are.
    pub sample: Option<usize>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub enum Diff {
    /// What the document changes.
    Effect(PolicyEffect),
    /// It can't be used, for these reasons.
    Invalid(Vec<Problem>),
}

/// A principal before both policies.
struct Pair {
    principal: Arc<Principal>,
    before: Arc<Seat>,
    after: Arc<Seat>,
}

impl Gateway {
    /// Says what a document would change, for whom, and counts the rows gained and lost as those users. Nothing is put.
    pub async fn diff_policy(&self, call: &Call, key: &str, request: DiffRequest) -> Result<Diff, Refused> {
        call.log().set_action("diff-policy");
        let (connection, place) = self.governed(call, key).await?;
        let weighed = match self.weigh(call, &connection, &request.document).await? {
            Ok(weighed) => weighed,
            Err(problems) => return Ok(Diff::Invalid(problems)),
        };
        let shown = self.shown_to_governor(call, &connection).await?;
        let (version, before) = self.snapshot_in_force(&place, weighed.policy.kind, &shown).await?;
        let rules = self.rules_on(&call.principal().org, &place, weighed.policy.kind).await?;
        let draft = Arc::new(LoadedPolicy::draft(place, weighed.policy));
        let after = Arc::new(Snapshot::of(draft, shown, Breadth::Policy));
        let (people, users_left_out) = self.people(call, &request.users).await?;
        // What the policies read about others, and their rows, is one query of the caller's, and on record.
        let trials = Trials::begin(self, call, &connection).await?;
        let mut pairs = Vec::with_capacity(people.len());
        for principal in people {
            let principal = Arc::new(principal);
            let before = seat_in_effect(&trials, &before, &rules, &principal).await?;
            let after = seat_in_effect(&trials, &after, &rules, &principal).await?;
            pairs.push(Pair { principal, before, after });
        }
        let mut effect = PolicyEffect { version, users_left_out, ..PolicyEffect::default() };
        let groups = grouped(pairs, &mut effect);
        // Rows that lie in tenants' own databases have no one place to be counted in.
        let is_one_place = [&before, &after].iter().all(|snapshot| {
            let tenancy = snapshot.policy.policy.tenancy.as_ref();
            tenancy.is_none_or(|tenancy| tenancy.realm == Realm::Schema)
        });
        let counting = request.counting && is_one_place;
        let sample = request.sample.unwrap_or(SAMPLE).min(LARGEST_SAMPLE);
        let mut left = if counting { MOST_COUNTS } else { 0 };
        for (pairs, relations) in groups {
            let mut group = GroupEffect {
                users: pairs.iter().map(|pair| pair.principal.user.to_string()).collect(),
                roles: common_roles(&pairs),
                relations,
            };
            if counting {
                count(&trials, &chosen(&pairs, sample), &mut group.relations, &mut left).await;
            }
            effect.groups.push(group);
        }
        effect.counts_left_out = request.counting && left == 0;
        effect.counts = if counting { MOST_COUNTS - left } else { 0 };
        call.log().set_object(&format!("{} users", effect.users));
        Ok(Diff::Effect(effect))
    }

    /// The catalog behind the caller's connection, whose credentials were seen to work.
    pub(crate) async fn shown_to_governor(
        &self,
        call: &Call,
        connection: &Connection,
    ) -> Result<Arc<Shown>, Refused> {
        self.ask_for_proof(call, connection);
        if connection.proof != Proof::Proven {
            return Err(not_ready());
        }
        let source = self.shared.store.sources().get(connection.source).await?;
        let source = source.filter(|source| source.org == call.principal().org).ok_or_else(not_ready)?;
        self.shared.catalogs.shown(&self.shared.store, source).await?.ok_or_else(not_ready)
    }

    /// The policy in force on this catalog, or what an open connection is.
    pub(crate) async fn snapshot_in_force(
        &self,
        place: &PolicyPlace,
        kind: ringfence_policy::ConnectionKind,
        shown: &Arc<Shown>,
    ) -> Result<(Option<i64>, Arc<Snapshot>), Refused> {
        let store = &self.shared.store;
        let version = match store.policies().current(place).await? {
            Guarding::Guarded(version) => Some(version.version),
            Guarding::Open | Guarding::Lost => None,
        };
        let database = &shown.catalog.database;
        let policy = self.shared.policies.of(store, place.clone(), kind, database).await?;
        let policy = policy
            .unwrap_or_else(|| Arc::new(LoadedPolicy::draft(place.clone(), Policy::open(kind, Vec::new()))));
        Ok((version, Arc::new(Snapshot::of(policy, shown.clone(), Breadth::Policy))))
    }
}

/// Those for whom something changes, by the views that they had and get.
fn grouped(pairs: Vec<Pair>, effect: &mut PolicyEffect) -> Vec<(Vec<Pair>, Vec<RelationEffect>)> {
    effect.users = pairs.len();
    let mut groups: BTreeMap<(u64, u64, bool), Vec<Pair>> = BTreeMap::new();
    for pair in pairs {
        let other_values = read_differently(&pair).is_some();
        let views = (pair.before.shape.number, pair.after.shape.number, other_values);
        groups.entry(views).or_default().push(pair);
    }
    let mut told = Vec::new();
    for ((.., other_values), pairs) in groups {
        let relations = pairs
            .first()
            .map(|pair| differences(&pair.before.shape.view, &pair.after.shape.view, other_values));
        let relations = relations.unwrap_or_default();
        if relations.is_empty() {
            effect.unchanged += pairs.len();
        } else if told.len() < MOST_GROUPS {
            told.push((pairs, relations));
        } else {
            effect.groups_left_out += 1;
        }
    }
    told
}

fn common_roles(pairs: &[Pair]) -> Vec<String> {
    let of = |principal: &Principal| -> Vec<String> {
        let product = principal.roles.iter().map(|role| role.name().to_owned());
        product.chain(principal.data_roles.iter().cloned()).collect()
    };
    let mut common = pairs.first().map(|pair| of(&pair.principal)).unwrap_or_default();
    for pair in pairs {
        let held = of(&pair.principal);
        common.retain(|role| held.contains(role));
    }
    common
}

/// What the principal sees, with what the policy reads about them. Who lacks what it is read with is refused whatever
/// they send: they see nothing.
async fn seat_in_effect(
    trials: &Trials<'_>,
    snapshot: &Arc<Snapshot>,
    rules: &Arc<RuleSet>,
    principal: &Arc<Principal>,
) -> Result<Arc<Seat>, Refused> {
    let seated = async {
        let own = snapshot.for_tenant_of(principal).await?;
        trials.seat(&own, rules, principal, &Attributes::new(), None).await
    };
    match seated.await {
        Err(refused) if refused.code == Code::TenantScopeRequired => {
            Ok(snapshot.blind_seat(principal, rules))
        }
        seat => seat,
    }
}

/// Counts rows with the guard's own statements, of which `left` may still run.
async fn count(trials: &Trials<'_>, pairs: &[&Pair], relations: &mut [RelationEffect], left: &mut usize) {
    for effect in relations.iter_mut().filter(|effect| effect.rows_change) {
        for pair in pairs {
            // Three statements at most count the rows of one.
            if *left < 3 {
                *left = 0;
                return;
            }
            let counted = rows(trials, pair, &effect.relation, left).await;
            effect.rows.push(counted);
        }
    }
}

/// Of as many tenants as there are.
fn chosen(pairs: &[Pair], sample: usize) -> Vec<&Pair> {
    let mut tenants = HashSet::new();
    let (first, others): (Vec<&Pair>, Vec<&Pair>) =
        pairs.iter().partition(|pair| tenants.insert(pair.principal.tenant.clone()));
    first.into_iter().chain(others).take(sample).collect()
}

async fn rows(trials: &Trials<'_>, pair: &Pair, relation: &RelationName, left: &mut usize) -> RowsEffect {
    let of = |view: &View| view.relations.get(relation).cloned();
    let (before, after) = (of(&pair.before.shape.view), of(&pair.after.shape.view));
    let mut problem = read_differently(pair).map(|name| {
        format!(
            "principal.attributes.{name} has another value under each policy: rows of both are not counted"
        )
    });
    let principals = [&pair.before.principal, &pair.after.principal, &with_both(pair)];
    // A row is in both when both predicates are TRUE of it.
    let both = before.as_ref().zip(after.as_ref()).filter(|_| problem.is_none()).map(|(before, after)| {
        let rows = before.rows.clone().and(after.rows.clone());
        Arc::new(Entitlement { rows, ..Entitlement::clone(after) })
    });
    let mut counts = [0_u64; 3];
    let counted = principals.into_iter().zip([before, after, both]);
    for (count, (principal, entitlement)) in counts.iter_mut().zip(counted) {
        let Some(entitlement) = entitlement else { continue };
        *left = left.saturating_sub(1);
        match trials.count(principal, entitlement).await {
            Ok(counted) => *count = counted,
            Err(refused) => problem = Some(refused.to_string()),
        }
    }
    let [before, after, both] = counts;
    RowsEffect {
        user: pair.principal.user.to_string(),
        tenant: pair.principal.tenant.to_string(),
        before,
        after,
        gained: after.saturating_sub(both),
        lost: before.saturating_sub(both),
        problem,
    }
}

/// An attribute that the two policies read differently of the principal.
fn read_differently(pair: &Pair) -> Option<&str> {
    let (before, after) = (&pair.before.principal.attributes, &pair.after.principal.attributes);
    let differs = |(name, value): &(&String, &Value)| after.get(*name).is_some_and(|other| other != *value);
    before.iter().find(differs).map(|(name, _)| name.as_str())
}

/// The principal with what both policies read.
fn with_both(pair: &Pair) -> Principal {
    let mut attributes = Attributes::clone(&pair.before.principal.attributes);
    attributes.extend(Attributes::clone(&pair.after.principal.attributes));
    Principal { attributes: Arc::new(attributes), ..Principal::clone(&pair.after.principal) }
}
