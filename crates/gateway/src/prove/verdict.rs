//! Which of what was seen is a mistake, and which is declared.
//!
//! With an intent, whatever it does not say is a mistake. Without one, rows of others that somebody sees by a rule that is
//! there for it (a bypass, `extends`, a condition on the principal that shows more) are declared: they are told, and fail
//! nothing, unless the rule holds for everybody and everything, which is what no rule would be.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_policy::policy::RowEffect;
use ringfence_policy::{Expression, RelationName};

use super::Bench;
use super::actor::{Actor, Standing};
use super::advice::advice;
use super::company::Member;
use super::judge::Fault;
use super::report::{Cell, Crossing, Finding, Invariant, InvariantChecks, Proof, Verdict};
use super::tenancy::Custom;
use super::trying::{Look, Sighting, Tried};
use super::world::World;

/// Joins that are followed to find the rule that shows rows of others.
const DEEPEST: usize = 8;

/// Why rows of others are seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    words: String,
    /// Whether it is a condition on rows, and not a lift of the scope.
    of_rows: bool,
    /// Whether it says in its own word that others' rows are theirs too, to change as well where changes are allowed.
    lifts: bool,
}

/// Puts findings, crossings and the matrix into the proof.
pub(super) fn settle(
    proof: &mut Proof,
    bench: &Bench<'_>,
    world: &World,
    custom: &Custom,
    actors: &[Member],
    tried: Tried,
) {
    let Tried { sightings, looks, checked, .. } = tried;
    let crossers = crossers(&sightings);
    let mut declared: BTreeMap<(usize, RelationName), Rule> = BTreeMap::new();
    if !proof.has_intent {
        for (principal, relation) in &crossers {
            let Some(Member { actor, .. }) = member(actors, *principal) else { continue };
            if let Some(rule) = rule_for(bench, actor, relation, DEEPEST) {
                declared.insert((*principal, relation.clone()), rule);
            }
        }
        declared.retain(|(_, relation), rule| !is_for_all(relation, rule, world, actors, &crossers, &looks));
    }
    let clear = clear_for_some(&sightings, bench, actors, proof.has_intent);
    let mut findings: Vec<Finding> = Vec::new();
    for Sighting { principal, fault, statement } in sightings {
        let at = (principal, fault.relation.clone());
        // That a row of others can be asked for follows from its being seen.
        if fault.of_row && crossers.contains(&at) {
            continue;
        }
        let rule = declared.get(&at);
        let is_excused = match fault.invariant {
            Invariant::NoCrossTenantData => rule.is_some(),
            Invariant::WritesStayInside => rule.is_some_and(|rule| rule.lifts),
            Invariant::NoDeniedFields
            | Invariant::MaskedFieldsMasked
            | Invariant::ResponseWithinBudget
            | Invariant::HiddenEqualsMissing => false,
        };
        if is_excused {
            continue;
        }
        if fault.invariant == Invariant::MaskedFieldsMasked
            && clear.contains(&(fault.relation.clone(), fault.column.clone()))
        {
            continue;
        }
        add(&mut findings, bench, world, custom, actors, (principal, fault, statement));
    }
    findings.sort_by(|one, other| {
        (one.invariant, &one.relation, &one.column).cmp(&(other.invariant, &other.relation, &other.column))
    });
    proof.crossings = crossings(&declared, &looks, world, actors);
    proof.checks = Invariant::ALL
        .into_iter()
        .map(|invariant| InvariantChecks {
            invariant,
            checked: checked.get(&invariant).copied().unwrap_or(0),
            broken: findings.iter().filter(|finding| finding.invariant == invariant).map(|it| it.times).sum(),
        })
        .collect();
    proof.findings = findings;
    proof.cells = cells(proof, actors, &looks);
}

fn member(actors: &[Member], number: usize) -> Option<&Member> {
    actors.iter().find(|member| member.number == number)
}

/// Who saw rows of others, and where.
fn crossers(sightings: &[Sighting]) -> BTreeSet<(usize, RelationName)> {
    let of_rows = sightings.iter().filter(|it| it.fault.invariant == Invariant::NoCrossTenantData);
    of_rows.map(|it| (it.principal, it.fault.relation.clone())).collect()
}

/// One finding for all who meet the same fault.
fn add(
    findings: &mut Vec<Finding>,
    bench: &Bench<'_>,
    world: &World,
    custom: &Custom,
    actors: &[Member],
    (principal, fault, statement): (usize, Fault, String),
) {
    let same = findings.iter_mut().find(|finding| {
        finding.invariant == fault.invariant
            && finding.relation == fault.relation
            && (finding.column == fault.column || fault.invariant == Invariant::NoCrossTenantData)
    });
    if let Some(finding) = same {
        finding.times += 1;
        if !finding.principals.contains(&principal) {
            finding.principals.push(principal);
        }
        return;
    }
    let actor = member(actors, principal).map(|member| &member.actor);
    findings.push(Finding {
        advice: advice(bench, world, custom, actor, &fault),
        invariant: fault.invariant,
        relation: fault.relation,
        column: fault.column,
        what: fault.what,
        statement,
        principals: vec![principal],
        times: 1,
    });
}

/// The rule of the policy that shows rows of others to somebody.
fn rule_for(bench: &Bench<'_>, actor: &Actor, relation: &RelationName, deep: usize) -> Option<Rule> {
    let view = &actor.seat.shape.view;
    if let Some(name) = view.relations.get(relation).and_then(|entitlement| entitlement.bypass.as_ref()) {
        return Some(Rule { words: format!("bypass {name}"), of_rows: false, lifts: true });
    }
    let model = bench.policy.models.get(relation);
    let held: Vec<&str> = actor.roles().iter().map(String::as_str).collect();
    for policy in model.into_iter().flat_map(|model| &model.row_policies) {
        if policy.effect == RowEffect::Extend && policy.gate.admits(&held) {
            return Some(Rule { words: format!("extends {}", policy.name), of_rows: true, lifts: true });
        }
    }
    let narrows =
        model.filter(|model| model.scoping.is_empty()).into_iter().flat_map(|model| &model.row_policies);
    for policy in narrows {
        if policy.effect == RowEffect::Narrow && policy.gate.admits(&held) && asks(&policy.condition) {
            return Some(Rule { words: format!("row policy {}", policy.name), of_rows: true, lifts: false });
        }
    }
    // What is inherited is declared where it is inherited from.
    let joins = bench.policy.joins.get(relation).into_iter().flatten().filter(|join| join.inherit);
    let deeper = deep.checked_sub(1)?;
    joins
        .filter_map(|join| rule_for(bench, actor, &join.target, deeper).map(|rule| (rule, &join.target)))
        .map(|(rule, target)| Rule { words: format!("{} of {target}", rule.words), ..rule })
        .next()
}

/// Whether the condition asks who it is.
fn asks(condition: &Expression) -> bool {
    let mut asks = false;
    condition.for_each_part(&mut |part| {
        asks |= matches!(part, Expression::Principal(_) | Expression::InPrincipal { .. });
    });
    asks
}

/// Whether the rule lets everybody through to everything: then it is no privilege, and the rows are not scoped at all.
fn is_for_all(
    relation: &RelationName,
    rule: &Rule,
    world: &World,
    actors: &[Member],
    crossers: &BTreeSet<(usize, RelationName)>,
    looks: &BTreeMap<(usize, RelationName), Look>,
) -> bool {
    let see = |actor: &Actor| actor.seat.shape.view.relations.contains_key(relation);
    let seeing: Vec<&Member> = actors.iter().filter(|member| see(&member.actor)).collect();
    let tenants: BTreeSet<&str> = seeing.iter().map(|member| member.principal.tenant.as_str()).collect();
    let everybody = tenants.len() > 1
        && seeing.iter().all(|member| crossers.contains(&(member.number, relation.clone())));
    if !everybody || !rule.of_rows {
        return everybody;
    }
    let Some(table) = world.tables.get(relation) else { return false };
    // Of a condition on rows: when no row of others is left out for anybody.
    seeing.iter().all(|Member { number, actor, .. }| {
        let others = (0..table.rows.len()).filter(|&row| actor.standing(table, row) == Standing::Foreign);
        let seen = looks.get(&(*number, relation.clone())).map_or(0, |look| look.rows.foreign);
        seen > 0 && seen >= others.count() as u64
    })
}

/// Columns that only look like secrets' by their names, and that some are shown in clear and others are not: a rule by
/// role says so. With an intent, only what it says counts.
fn clear_for_some(
    sightings: &[Sighting],
    bench: &Bench<'_>,
    actors: &[Member],
    has_intent: bool,
) -> BTreeSet<(RelationName, Option<String>)> {
    if has_intent {
        return BTreeSet::new();
    }
    let clear = sightings.iter().filter(|it| it.fault.invariant == Invariant::MaskedFieldsMasked);
    let columns: BTreeSet<(RelationName, Option<String>)> =
        clear.map(|it| (it.fault.relation.clone(), it.fault.column.clone())).collect();
    columns
        .into_iter()
        .filter(|(relation, column)| {
            let Some(column) = column else { return false };
            let rules = bench.policy.models.get(relation).and_then(|model| model.fields.get(column));
            let by_role = rules.is_some_and(|rules| rules.iter().any(|rule| rule.gate.roles.is_some()));
            let hides = |actor: &Actor| {
                let entitlement = actor.seat.shape.view.relations.get(relation);
                entitlement.is_some_and(|it| {
                    !it.columns.iter().any(|shown| shown.name == *column && shown.mask.is_none())
                })
            };
            by_role && actors.iter().any(|member| hides(&member.actor))
        })
        .collect()
}

/// What is told of declared crossings: those of the policy, and those of the intent.
fn crossings(
    declared: &BTreeMap<(usize, RelationName), Rule>,
    looks: &BTreeMap<(usize, RelationName), Look>,
    world: &World,
    actors: &[Member],
) -> Vec<Crossing> {
    let mut all: Vec<Crossing> = Vec::new();
    let mut add = |relation: &RelationName, rule: String, principal: usize, rows: u64| {
        if let Some(known) = all.iter_mut().find(|known| known.relation == *relation && known.rule == rule) {
            known.principals.push(principal);
            known.rows = known.rows.max(rows);
        } else {
            all.push(Crossing { relation: relation.clone(), rule, principals: vec![principal], rows });
        }
    };
    for ((principal, relation), rule) in declared {
        let rows = looks.get(&(*principal, relation.clone())).map_or(0, |look| look.rows.foreign);
        add(relation, rule.words.clone(), *principal, rows);
    }
    for ((principal, relation), look) in looks.iter().filter(|(_, look)| look.rows.crossing > 0) {
        let table = world.tables.get(relation);
        let actor = member(actors, *principal).map(|member| &member.actor);
        let Some((table, actor)) = table.zip(actor) else { continue };
        let name = (0..table.rows.len()).find_map(|row| match actor.standing(table, row) {
            Standing::Crossing(name) => Some(name),
            Standing::Own | Standing::Shared | Standing::Foreign => None,
        });
        let rule = format!("the intent's {}", name.unwrap_or_default());
        add(relation, rule, *principal, look.rows.crossing);
    }
    all
}

/// The matrix of principals by relations.
fn cells(proof: &Proof, actors: &[Member], looks: &BTreeMap<(usize, RelationName), Look>) -> Vec<Cell> {
    let mut cells = Vec::new();
    for Member { number, actor, .. } in actors {
        for (place, relation) in proof.relations.iter().enumerate() {
            let name = &relation.relation;
            let look = looks.get(&(*number, name.clone())).copied().unwrap_or_default();
            let broken: Vec<Invariant> = proof
                .findings
                .iter()
                .filter(|finding| finding.relation == *name && finding.principals.contains(number))
                .map(|finding| finding.invariant)
                .collect();
            let is_there = actor.seat.shape.view.relations.contains_key(name);
            let verdict = if !broken.is_empty() {
                Verdict::Broken
            } else if !is_there {
                Verdict::Hidden
            } else if !look.read {
                Verdict::Unknown
            } else if look.rows.crossing + look.rows.foreign > 0 {
                Verdict::Crossing
            } else {
                Verdict::Inside
            };
            cells.push(Cell {
                principal: *number,
                relation: place,
                verdict,
                statements: look.statements,
                rows: look.rows,
                broken,
            });
        }
    }
    cells
}
