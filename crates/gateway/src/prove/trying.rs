//! Running the statements as one principal after the other.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use ringfence_engine::ResultSet;
use ringfence_policy::intent::{ShownIntent, relation_name};
use ringfence_policy::{Catalog, RelationName};

use super::actor::Actor;
use super::judge::{Fault, Judge, Seen, Texts, alike};
use super::report::{Invariant, RowCounts};
use super::secrecy::Secrets;
use super::statements::{Case, Check, Material, generate};
use super::world::{World, relations};
use super::{Bench, ProveRequest};
use crate::queries::{QueryRequest, Trial};
use crate::{Code, Refused};

/// What was tried, and what came of it.
pub(super) struct Tried {
    texts: Texts,
    pub(super) sightings: Vec<Sighting>,
    /// By principal and relation: rows, and how many statements asked.
    pub(super) looks: BTreeMap<(usize, RelationName), Look>,
    /// By invariant: answers that were held against it.
    pub(super) checked: BTreeMap<Invariant, u64>,
    pub(super) notes: Vec<String>,
}

/// A fault and who met it.
pub(super) struct Sighting {
    pub(super) principal: usize,
    pub(super) fault: Fault,
    pub(super) statement: String,
}

/// What one principal saw of one relation.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Look {
    pub(super) rows: RowCounts,
    pub(super) statements: usize,
    /// Whether the relation was read as a whole.
    pub(super) read: bool,
}

impl Tried {
    pub(super) fn new(world: &World) -> Self {
        Self {
            texts: Texts::of(world),
            sightings: Vec::new(),
            looks: BTreeMap::new(),
            checked: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn checked(&mut self, invariant: Invariant) {
        *self.checked.entry(invariant).or_default() += 1;
    }

    pub(super) fn sight(&mut self, principal: usize, statement: &str, faults: Vec<Fault>) {
        self.sightings.extend(faults.into_iter().map(|fault| Sighting {
            principal,
            fault,
            statement: statement.to_owned(),
        }));
    }
}

/// Tries the statements as one principal.
pub(super) async fn try_all(
    bench: &Bench<'_>,
    (world, secrets): (&World, &Secrets),
    (number, actor): (usize, &Actor),
    tried: &mut Tried,
) -> Result<(), Refused> {
    declared(bench, secrets, (number, actor), tried);
    let catalog = &bench.snapshot.shown.unfiltered;
    let missing = |name: &str| missing_name(catalog, name);
    let material = Material { actor, world, catalog, kind: bench.kind, missing: &missing };
    let cases = drawn(generate(&material), bench.request, number);
    let mut seen: BTreeMap<RelationName, Seen> = BTreeMap::new();
    for case in &cases {
        tried.looks.entry((number, case.relation.clone())).or_default().statements += 1;
        if let Check::Alike { other, names } = &case.check {
            let fault = compare(bench, actor, case, (other, names.as_ref())).await?;
            tried.checked(Invariant::HiddenEqualsMissing);
            tried.sight(number, &case.shown, fault.into_iter().collect());
            continue;
        }
        let result = match run(bench, actor, case).await {
            Ok(Some(result)) => result,
            Ok(None) => continue,
            Err(refused) if ends_the_proof(refused.code) => return Err(refused),
            Err(refused) => {
                if matches!(case.check, Check::Whole(_)) {
                    tried
                        .notes
                        .push(format!("{} could not be read as a principal: {refused}", case.relation));
                }
                continue;
            }
        };
        let texts = std::mem::take(&mut tried.texts);
        let judge = Judge { actor, world, secrets, texts: &texts };
        let seen = seen.entry(case.relation.clone()).or_default();
        let mut faults = judge.judge(case, &result, seen);
        tried.texts = texts;
        if matches!(case.check, Check::Whole(_)) {
            faults.extend(over_budget(bench, actor, &case.relation, &result));
            let look = tried.looks.entry((number, case.relation.clone())).or_default();
            (look.rows, look.read) = (seen.rows, true);
        }
        for invariant in held_by(&case.check) {
            tried.checked(*invariant);
        }
        tried.sight(number, &case.shown, faults);
    }
    Ok(())
}

/// Which invariants an answer is held against.
const fn held_by(check: &Check) -> &'static [Invariant] {
    match check {
        Check::Whole(_) => &[
            Invariant::NoCrossTenantData,
            Invariant::NoDeniedFields,
            Invariant::MaskedFieldsMasked,
            Invariant::ResponseWithinBudget,
        ],
        Check::Rows(_) | Check::Groups(_) | Check::Values(_) | Check::Count(_) => {
            &[Invariant::NoCrossTenantData]
        }
        Check::Nothing(_) => &[Invariant::MaskedFieldsMasked],
        Check::Alike { .. } => &[Invariant::HiddenEqualsMissing],
    }
}

/// Those that are always tried, and as many others as are wanted, drawn by the seed.
fn drawn(cases: Vec<Case>, request: &ProveRequest, number: usize) -> Vec<Case> {
    let (mut core, mut others): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(|case| case.core);
    let seed = request.seed.wrapping_add((number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    others.shuffle(&mut StdRng::seed_from_u64(seed));
    others.truncate(request.statements.saturating_sub(core.len()));
    // Whole reads come first: the others are held against what they show.
    core.append(&mut others);
    core
}

/// What would be wrong whatever is asked: the connection is away, or the proof was cancelled.
fn ends_the_proof(code: Code) -> bool {
    matches!(code, Code::QueryCancelled | Code::SourceUnreachable)
}

/// The rows; `None` when the statement changes data.
async fn run(bench: &Bench<'_>, actor: &Actor, case: &Case) -> Result<Option<ResultSet>, Refused> {
    let ask = async |statement: String| {
        let request = QueryRequest { statement, max_rows: Some(bench.most_rows), ..QueryRequest::default() };
        let trial = bench.trials.run(bench.snapshot, &actor.seat, &request).await;
        trial.map(|trial| match trial {
            Trial::Answered(result) => Some(result),
            Trial::NotRun => None,
        })
    };
    match (ask(case.sql.clone()).await, &case.check) {
        // A condition on a column that holds for every row.
        (Err(refused), Check::Whole(columns)) if refused.code == Code::QueryTooBroad => {
            let Some(column) = columns.first() else { return Err(refused) };
            let column = crate::queries::quoted(column, bench.kind);
            ask(format!("{} WHERE {column} IS NULL OR {column} IS NOT NULL", case.sql)).await
        }
        (outcome, _) => outcome,
    }
}

/// What is hidden must be answered like what is not there.
async fn compare(
    bench: &Bench<'_>,
    actor: &Actor,
    case: &Case,
    (other, names): (&str, Option<&(String, String)>),
) -> Result<Option<Fault>, Refused> {
    let ask = async |statement: &str| {
        let statement = statement.to_owned();
        let request = QueryRequest { statement, max_rows: Some(bench.most_rows), ..QueryRequest::default() };
        bench.trials.run(bench.snapshot, &actor.seat, &request).await
    };
    let is_alike = match (ask(&case.sql).await, ask(other).await) {
        (Err(refused), _) | (_, Err(refused)) if ends_the_proof(refused.code) => return Err(refused),
        (Ok(Trial::Answered(one)), Ok(Trial::Answered(other))) => alike(&one, &other),
        (Ok(Trial::NotRun), Ok(Trial::NotRun)) => true,
        (Err(one), Err(other)) => {
            let other_text = match names {
                Some((hidden, missing)) => other.message.replace(missing.as_str(), hidden),
                None => other.message.to_string(),
            };
            one.code == other.code && one.message == other_text
        }
        _ => false,
    };
    let noun = match names {
        None => "a row of another tenant is",
        Some((hidden, _)) if *hidden == case.relation.name => "the hidden relation is",
        Some(_) => "the hidden column is",
    };
    let column = names.map(|(hidden, _)| hidden.clone()).filter(|hidden| *hidden != case.relation.name);
    Ok((!is_alike).then(|| Fault {
        invariant: Invariant::HiddenEqualsMissing,
        relation: case.relation.clone(),
        column,
        what: format!("{noun} answered otherwise than one that is not there"),
        of_row: names.is_none(),
    }))
}

/// What the view itself shows before anything is run: columns in clear that are not meant to be, budgets that are missing.
fn declared(bench: &Bench<'_>, secrets: &Secrets, (number, actor): (usize, &Actor), tried: &mut Tried) {
    let schema = bench.policy.schema();
    let mut faults = Vec::new();
    for (name, entitlement) in &actor.seat.shape.view.relations {
        for (column, sensitive) in
            secrets.of_relation(name).filter(|(_, sensitive)| !sensitive.excepts(actor))
        {
            let Some(visible) = entitlement.columns.iter().find(|visible| visible.name == column) else {
                continue;
            };
            let (invariant, what) = match (sensitive.show, &visible.mask) {
                (ShownIntent::Nothing, _) => {
                    (Invariant::NoDeniedFields, "it exists, and is meant to be hidden")
                }
                (ShownIntent::Mask, None) => (Invariant::MaskedFieldsMasked, "it is shown in clear"),
                (ShownIntent::Mask, Some(_)) | (ShownIntent::Clear, _) => continue,
            };
            faults.push(Fault {
                invariant,
                relation: name.clone(),
                column: Some(column.to_owned()),
                what: what.to_owned(),
                of_row: false,
            });
        }
        let is_meant = |text: &str| relation_name(schema, text).as_ref() == Some(name);
        let told = bench.intent.relations.0.iter().find(|(key, _)| is_meant(&key.value));
        if told.is_some_and(|(_, told)| told.hidden && !actor.holds(&told.except_roles)) {
            faults.push(Fault {
                invariant: Invariant::NoDeniedFields,
                relation: name.clone(),
                column: None,
                what: "it exists, and is meant to be hidden".to_owned(),
                of_row: false,
            });
        }
        faults.extend(budget_missing(bench, actor, name));
    }
    for fault in faults {
        let statement = format!("SELECT * FROM {}", fault.relation);
        tried.sight(number, &statement, vec![fault]);
    }
}

/// A budget that the intent demands and the policy does not hold.
fn budget_missing(bench: &Bench<'_>, actor: &Actor, relation: &RelationName) -> Option<Fault> {
    let meant = bench.intent.budget.as_ref()?;
    let relations = [relation.clone()];
    let limits = bench.policy.limits(&relations, &actor.seat.principal);
    let rows = limits.max_rows().map(|limit| limit.value);
    let fields = limits.max_fields().map(|limit| limit.value);
    let what = if let Some(most) = meant.max_rows.filter(|most| rows.is_none_or(|rows| rows > *most)) {
        format!("answers may have more than the {most} rows that are meant")
    } else if let Some(most) = meant.max_fields.filter(|most| fields.is_none_or(|fields| fields > *most)) {
        format!("answers may have more than the {most} columns that are meant")
    } else {
        return None;
    };
    Some(Fault {
        invariant: Invariant::ResponseWithinBudget,
        relation: relation.clone(),
        column: None,
        what,
        of_row: false,
    })
}

/// An answer that is larger than the policy's own budget.
fn over_budget(
    bench: &Bench<'_>,
    actor: &Actor,
    relation: &RelationName,
    result: &ResultSet,
) -> Option<Fault> {
    let relations = [relation.clone()];
    let limits = bench.policy.limits(&relations, &actor.seat.principal);
    let rows = limits.max_rows().filter(|limit| result.rows.len() as u64 > limit.value);
    let fields = limits.max_fields().filter(|limit| result.columns.len() as u64 > u64::from(limit.value));
    (rows.is_some() || fields.is_some()).then(|| Fault {
        invariant: Invariant::ResponseWithinBudget,
        relation: relation.clone(),
        column: None,
        what: "an answer is larger than the budget of the policy".to_owned(),
        of_row: false,
    })
}

/// A name of the same length that nothing in the catalog has.
fn missing_name(catalog: &Catalog, name: &str) -> String {
    let is_taken = |other: &str| {
        relations(catalog).any(|(taken, relation)| {
            taken.name.eq_ignore_ascii_case(other)
                || relation.columns.iter().any(|column| column.name.eq_ignore_ascii_case(other))
        })
    };
    for first in ('q'..='z').chain('a'..='p') {
        for second in 'a'..='z' {
            let letters =
                name.chars().enumerate().map(|(place, _)| if place % 2 == 0 { first } else { second });
            let made: String = letters.collect();
            if !is_taken(&made) {
                return made;
            }
        }
    }
    format!("{name}_of_nobody")
}
