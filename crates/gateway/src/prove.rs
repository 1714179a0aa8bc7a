//! The proof: statements made from the catalog are run as principals of several tenants, and every answer is held against
//! the rows as they are stored and against what is meant, which does not come from the policy that is proven.
//!
//! Reading order: [`tenancy`] says whose rows are whose, [`world`] reads them, [`company`] seats the principals, each an [`actor`] who is meant to see
//! something, [`secrecy`] what nobody is; [`statements`] makes what is tried, [`trying`] tries it, [`judge`] looks at answers,
//! [`verdict`] tells mistakes from what is declared; [`report`] is what comes of it. docs/decisions/0011-prove.md says why.

mod actor;
mod advice;
mod changes;
mod company;
mod judge;
mod replay;
mod report;
mod secrecy;
mod statements;
mod tenancy;
mod trying;
mod verdict;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use ringfence_policy::intent::{SharedRows, relation_name};
use ringfence_policy::{Attributes, Cast, ConnectionKind, Intent, Policy, Problem, RelationName};
use ringfence_store::connections::Connection;

use crate::access_rules::RuleSet;
use crate::guarded::{Breadth, Seat, Snapshot};
use crate::policies::LoadedPolicy;
use crate::queries::Trials;
use crate::{Call, Gateway, Refused};
use company::Company;
pub use report::{
    Cell, Crossing, Finding, Invariant, InvariantChecks, Proof, ProvenPrincipal, ProvenRelation, Replay,
    Replayed, RowCounts, Verdict,
};
use secrecy::Secrets;
use tenancy::Custom;
use world::{Table, World, reading, relations};

/// What problems call the files.
const INTENT: &str = "intent";
const PRINCIPALS: &str = "principals";

/// What is proven, and how thoroughly.
#[derive(Debug, Clone)]
pub struct ProveRequest {
    /// A document to prove; the one in force when `None`.
    pub policy: Option<String>,
    /// What it is meant to do, YAML or JSON.
    pub intent: Option<String>,
    /// A file of principals; one of each tenant and set of roles when `None`.
    pub principals: Option<String>,
    /// Principals at most.
    pub most_principals: usize,
    /// Statements as each principal, about.
    pub statements: usize,
    /// What statements are drawn by.
    pub seed: u64,
    /// Rows of each relation that answers are held against, at most.
    pub rows: u64,
    /// Whether changes are tried, in transactions that are rolled back.
    pub writes: bool,
    /// Whether statements of the past are run under the policy in force and under `policy`.
    pub replay: bool,
}

impl Default for ProveRequest {
    fn default() -> Self {
        Self {
            policy: None,
            intent: None,
            principals: None,
            most_principals: 40,
            statements: 300,
            seed: 1,
            rows: 10_000,
            writes: true,
            replay: false,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone)]
pub enum Proved {
    /// It was tried.
    Proof(Box<Proof>),
    /// The document, the intent or the principals can't be used.
    Invalid(Vec<Problem>),
}

/// How far a proof is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Principals that are done.
    pub done: usize,
    /// All of them.
    pub all: usize,
    /// What is being done.
    pub doing: String,
}

/// What every step of a proof needs.
struct Bench<'a> {
    request: &'a ProveRequest,
    connection: &'a Connection,
    trials: &'a Trials<'a>,
    snapshot: &'a Snapshot,
    /// What is in force, where another document is proven.
    before: Option<&'a Snapshot>,
    rules: &'a Arc<RuleSet>,
    policy: &'a Policy,
    intent: &'a Intent,
    kind: ConnectionKind,
    /// The largest answer that is asked for.
    most_rows: u64,
}

impl Gateway {
    /// Proves a policy on the data. Needs what putting one needs. Nothing of the data is changed.
    pub async fn prove(
        &self,
        call: &Call,
        key: &str,
        request: ProveRequest,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Proved, Refused> {
        call.log().set_action("prove");
        let (connection, place) = self.governed(call, key).await?;
        let (intent, cast) = match files(&request) {
            Ok(files) => files,
            Err(problems) => return Ok(Proved::Invalid(problems)),
        };
        let kind = connection.spec.kind().map_err(|invalid| Refused::invalid(invalid.to_string()))?;
        let shown = self.shown_to_governor(call, &connection).await?;
        let (version, in_force) = self.snapshot_in_force(&place, kind, &shown).await?;
        let (version, snapshot, before) = match &request.policy {
            Some(document) => match self.weigh(call, &connection, document).await? {
                Ok(weighed) => {
                    let loaded = Arc::new(weighed.loaded(place.clone())?);
                    let draft = Arc::new(Snapshot::of(loaded, shown.clone(), Breadth::Policy));
                    (None, draft, version.is_some().then_some(in_force))
                }
                Err(problems) => return Ok(Proved::Invalid(problems)),
            },
            None if version.is_none() => return Err(Refused::not_found("policy")),
            None => (version, in_force, None),
        };
        let policy = &snapshot.policy.policy;
        if policy.is_nobodys() {
            return Err(Refused::invalid(
                "a policy that gives each tenant a schema can't be proven yet: whose rows are whose is read from columns",
            ));
        }
        let problems = unknown_relations(&intent, policy, &shown.unfiltered);
        if !problems.is_empty() {
            return Ok(Proved::Invalid(problems));
        }
        if request.replay && before.is_none() {
            return Err(Refused::invalid(
                "a replay shows what another document changes: give it, on a connection that has a policy",
            ));
        }
        let rules = self.rules_on(&call.principal().org, &place, kind).await?;
        let trials = Trials::begin(self, call, &connection).await?;
        let bench = Bench {
            request: &request,
            connection: &connection,
            trials: &trials,
            snapshot: &snapshot,
            before: before.as_deref(),
            rules: &rules,
            policy,
            intent: &intent,
            kind,
            most_rows: self.shared.config.max_rows,
        };
        let proof = self.proven(call, &bench, cast, progress).await?;
        call.log().set_object(&format!("{} principals", proof.principals.len()));
        Ok(Proved::Proof(Box::new(Proof { connection: key.to_owned(), policy_version: version, ..proof })))
    }

    async fn proven(
        &self,
        call: &Call,
        bench: &Bench<'_>,
        cast: Option<Cast>,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Proof, Refused> {
        let Bench { request, policy, intent, .. } = *bench;
        let mut notes = Vec::new();
        let custom = Custom::of(policy, intent);
        let raw = self.raw_seat(call, bench).await?;
        let world = read_world(bench, &raw, &custom, &mut notes).await?;
        let secrets = Secrets::of(&world, intent, policy.schema());
        let Company { principals, actors, left_out } = self.company(call, bench, &custom, cast).await?;
        company::note(&actors, &world, &mut notes);
        let mut tried = trying::Tried::new(&world);
        for (done, member) in actors.iter().enumerate() {
            let doing = principals.get(member.number).map(|it| it.name.clone()).unwrap_or_default();
            progress(Progress { done, all: actors.len(), doing });
            let actor = (member.number, &member.actor);
            trying::try_all(bench, (&world, &secrets), actor, &mut tried).await?;
            if request.writes {
                changes::try_changes(bench, &world, actor, &raw, &mut tried).await?;
            }
        }
        let replay = match bench.before.filter(|_| request.replay) {
            Some(before) => Some(self.replay(bench, before, &actors).await?),
            None => None,
        };
        progress(Progress { done: actors.len(), all: actors.len(), doing: "done".to_owned() });
        notes.append(&mut tried.notes);
        let mut proof = Proof {
            connection: String::new(),
            policy_version: None,
            seed: request.seed,
            has_intent: request.intent.is_some(),
            tenant_value: custom.value.to_string(),
            principals,
            principals_left_out: left_out,
            relations: proven_relations(&world),
            cells: Vec::new(),
            checks: Vec::new(),
            findings: Vec::new(),
            crossings: Vec::new(),
            notes,
            replay,
        };
        verdict::settle(&mut proof, bench, &world, &custom, &actors, tried);
        Ok(proof)
    }

    /// A view that hides nothing: the right of whoever rules over the policy.
    async fn raw_seat(&self, call: &Call, bench: &Bench<'_>) -> Result<Arc<Seat>, Refused> {
        let place = bench.snapshot.policy.place.clone();
        let open = LoadedPolicy::draft(place, Policy::open(bench.kind, bench.policy.search.clone()));
        let open = Snapshot::of(Arc::new(open), bench.snapshot.shown.clone(), Breadth::Everything);
        bench.trials.seat(&open, &Arc::default(), &call.principal, &Attributes::new(), None).await
    }
}

/// Reads what answers are held against.
async fn read_world(
    bench: &Bench<'_>,
    raw: &Seat,
    custom: &Custom,
    notes: &mut Vec<String>,
) -> Result<World, Refused> {
    let catalog = &bench.snapshot.shown.unfiltered;
    let request = bench.request;
    let mut world = World::default();
    let schema = bench.policy.schema();
    for (name, relation) in relations(catalog) {
        let is_meant = |text: &str| relation_name(schema, text).as_ref() == Some(&name);
        let told = bench.intent.relations.0.iter().find(|(key, _)| is_meant(&key.value));
        let shared = told.and_then(|(_, told)| match &told.shared {
            Some(SharedRows::Where(condition)) => Some(condition.as_str()),
            Some(SharedRows::All(_)) | None => None,
        });
        let restricted = bench.intent.restricted.iter().enumerate();
        let held: Vec<(usize, &str)> = restricted
            .filter(|(_, it)| is_meant(&it.relation.value))
            .map(|(number, it)| (number, it.only.as_str()))
            .collect();
        let conditions: Vec<&str> =
            shared.into_iter().chain(held.iter().map(|(_, condition)| *condition)).collect();
        let statement = reading(relation, &name, &conditions, request.rows, bench.kind);
        let answer = match bench.trials.read_raw(raw, &statement, request.rows.saturating_add(1)).await {
            Ok(answer) => answer,
            Err(refused) if conditions.is_empty() => {
                notes.push(format!("{name} can't be read: {refused}"));
                continue;
            }
            Err(refused) => {
                return Err(Refused::invalid(format!("a condition of the intent on {name}: {refused}")));
            }
        };
        let (mut table, truths) = Table::of(name.clone(), relation, answer.rows, request.rows);
        let truth = |place: usize| -> Vec<bool> {
            truths.iter().map(|row| row.get(place).copied().unwrap_or(false)).collect()
        };
        if shared.is_some() {
            table.shared = truth(0);
        }
        let first = usize::from(shared.is_some());
        table.held = held.iter().enumerate().map(|(at, (number, _))| (*number, truth(first + at))).collect();
        if !table.complete {
            notes.push(format!(
                "{name} has more than {} rows: answers were held against those (`--rows` looks at more)",
                request.rows
            ));
        }
        world.tables.insert(name, table);
    }
    world.settle(tenancy::find(catalog, bench.policy, custom, bench.intent));
    Ok(world)
}

/// The files of a request, read.
fn files(request: &ProveRequest) -> Result<(Intent, Option<Cast>), Vec<Problem>> {
    let intent = request.intent.as_deref().map(|text| Intent::read(INTENT, text)).transpose();
    let cast = request.principals.as_deref().map(|text| Cast::read(PRINCIPALS, text)).transpose();
    match (intent, cast) {
        (Ok(intent), Ok(cast)) => Ok((intent.unwrap_or_default(), cast)),
        (intent, cast) => Err([intent.err(), cast.err()]
            .into_iter()
            .flatten()
            .flat_map(|invalid| invalid.problems)
            .collect()),
    }
}

/// What the intent names and the catalog does not have: it would protect nothing.
fn unknown_relations(intent: &Intent, policy: &Policy, catalog: &ringfence_policy::Catalog) -> Vec<Problem> {
    let known: BTreeSet<RelationName> = relations(catalog).map(|(name, _)| name).collect();
    let unknown = intent.named_relations().filter(|named| {
        relation_name(policy.schema(), &named.value).is_none_or(|name| !known.contains(&name))
    });
    let message = |name: &str| format!("the connection has no relation `{name}`");
    unknown.map(|named| Problem::new(INTENT, named.place, message(&named.value))).collect()
}

fn proven_relations(world: &World) -> Vec<ProvenRelation> {
    let relation = |table: &Table| ProvenRelation {
        relation: table.name.clone(),
        owner: table.ownership.describe(),
        rows: table.rows.len(),
        partly: !table.complete,
    };
    world.tables.values().map(relation).collect()
}
