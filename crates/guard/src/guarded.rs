//! The guarded road: a statement and a view make a plan, and a plan and a principal's values make a query.

use std::sync::Arc;

use ringfence_policy::expression::{PrincipalPath, PrincipalValue, SubQuery};
use ringfence_policy::{ConnectionKind, Principal, RelationName, View};
use serde_json::Value;

use crate::dialect::Dialect;
use crate::labels::Labels;
use crate::lift::Scanned;
use crate::named::NamedRelation;
use crate::refusal::Refusal;
use crate::rewrite::{Slot, Writer, Written, rewrite};
use crate::sealed::{self, Fence, FencedStatement, GuardedQuery, Parameter, Sealed};
use crate::{admit, inspect, verify};

/// A statement behind the fences of a view. It holds no principal's values, so that all whose views are equal share it.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardedPlan {
    written: Written,
    sealed: Arc<Sealed>,
    placeholders: usize,
}

/// Texts up to this long, of so many words and signs, can't nest deeper than the stack of the caller bears: each level takes
/// at least one of its own.
const SHALLOW_BYTES: usize = 200;
const SHALLOW_WORDS: usize = 20;
/// What the deepest statement that [`admit`] lets through needs, of the parser, the walk, and taking its tree down, in a
/// build without optimization. It is reserved, not used, until a statement is that deep.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// What a placeholder of a plan stands for, by name: no value is in here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanParameter {
    /// The caller's parameter of that number, from 1.
    Caller(usize),
    /// A value of the principal.
    Principal(PrincipalValue),
    /// All values of a list of the principal.
    PrincipalList(PrincipalPath),
    /// What a system relation tells of the view.
    System,
    /// A literal of the statement, by its number among those that were lifted, from 0.
    Lifted(usize),
}

/// The query of an attribute, once it is resolved for the principal: of a policy, not of a caller, so that it reads raw
/// rows. Each value comes once, and no more of them than `limit`.
pub fn attribute_query(
    query: &SubQuery,
    kind: ConnectionKind,
    principal: &Principal,
    limit: usize,
) -> Result<GuardedQuery, Refusal> {
    let dialect = Dialect::of(kind).ok_or(Refusal::NothingToQuery)?;
    let (view, labels) = (View::default(), Labels::default());
    let mut writer = Writer::new(&view, dialect, &labels, 0);
    writer.attribute(query, limit)?;
    let written = writer.finish();
    verify::verify(&written, &view, dialect)?;
    let sealed = sealed::seal_fenced(fenced(&written, String::new()));
    GuardedPlan { placeholders: 0, sealed: Arc::new(sealed), written }.bind(principal, &[])
}

/// Guards one statement for everybody who has this view.
//
// INVARIANT: no text of a caller ends the process. Held by the tests of tests/guard/nasty.rs, on a thread's small stack.
pub fn guard(statement: &str, kind: ConnectionKind, view: &View) -> Result<GuardedPlan, Refusal> {
    plan(statement, kind, view, None)
}

/// The same, with those literals lifted whose place allows it: the plan is that of all texts with the same
/// [`Scanned::key`]. A statement that changes rows keeps its literals.
pub fn guard_lifted(
    scanned: &Scanned<'_>,
    kind: ConnectionKind,
    view: &View,
) -> Result<GuardedPlan, Refusal> {
    plan(scanned.text(), kind, view, Some(scanned))
}

/// On a stack that is deep enough.
fn plan(
    statement: &str,
    kind: ConnectionKind,
    view: &View,
    scanned: Option<&Scanned<'_>>,
) -> Result<GuardedPlan, Refusal> {
    if is_shallow(statement) {
        return plan_here(statement, kind, view, scanned);
    }
    stacker::grow(STACK_BYTES, || plan_here(statement, kind, view, scanned))
}

/// Commas and dots don't nest.
fn is_shallow(statement: &str) -> bool {
    let (mut words, mut is_inside) = (0_usize, false);
    for byte in statement.bytes().take(SHALLOW_BYTES.saturating_add(1)) {
        let is_word =
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b',' | b'$' | b'\'' | b'"');
        let begins = if is_word { !is_inside } else { !byte.is_ascii_whitespace() };
        words = words.saturating_add(usize::from(begins));
        is_inside = is_word;
    }
    statement.len() <= SHALLOW_BYTES && words <= SHALLOW_WORDS
}

fn plan_here(
    statement: &str,
    kind: ConnectionKind,
    view: &View,
    scanned: Option<&Scanned<'_>>,
) -> Result<GuardedPlan, Refusal> {
    let dialect = Dialect::of(kind).ok_or(Refusal::NothingToQuery)?;
    let read = admit::read(statement, dialect, scanned)?;
    let literals = scanned.filter(|_| read.is_scanned).map_or(&[][..], Scanned::literals);
    let mut written = rewrite(&read, view, dialect, literals)?;
    if written.writes && written.lifted.contains(&true) {
        written = rewrite(&read, view, dialect, &[])?;
    }
    verify::verify(&written, view, dialect)?;
    // Where none was looked at, none was lifted.
    written.lifted.resize(scanned.map_or(0, |scanned| scanned.literals().len()), false);
    let sealed = sealed::seal_fenced(fenced(&written, read.fingerprint));
    Ok(GuardedPlan { placeholders: read.placeholders, sealed: Arc::new(sealed), written })
}

fn fenced(written: &Written, fingerprint: String) -> FencedStatement {
    let pair = |relation: &RelationName| (relation.schema.clone(), relation.name.clone());
    // SQLite asks for the functions of FROM as for tables.
    let tables = written.functions.iter();
    let tables = tables.filter(|function| matches!(function.as_str(), "json_each" | "json_tree"));
    let tables = tables.map(|function| ("main".to_owned(), function.clone()));
    FencedStatement {
        sql: written.sql.clone(),
        fence: Fence {
            writes: written.writes,
            check_column: written.check_column,
            null_when_taken: written.null_when_taken.clone(),
            returns_rows: written.returns_rows,
            max_rows: written.max_rows,
            relations: written.relations.iter().map(pair).chain(tables).collect(),
            functions: written.functions.clone(),
        },
        fingerprint,
        named: written.relations.iter().map(named).collect(),
    }
}

/// What the conditions come to on one row, whoever sees it: for the one who rules over the policy, and nobody else.
///
/// The plan's result has a column for each condition (1, 0 or NULL), one that means nothing, and then the columns asked for; its parameters are the
/// values of the key. Two rows mean that the key is none.
pub fn inspect_row(
    row: &inspect::Inspection<'_>,
    kind: ConnectionKind,
    view: &View,
) -> Result<GuardedPlan, Refusal> {
    let dialect = Dialect::of(kind).ok_or(Refusal::NothingToQuery)?;
    let written = inspect::write(row, view, dialect)?;
    verify::verify(&written, view, dialect)?;
    let sealed = sealed::seal_fenced(fenced(&written, inspect::FINGERPRINT.to_owned()));
    Ok(GuardedPlan { placeholders: row.key.len(), sealed: Arc::new(sealed), written })
}

impl GuardedPlan {
    /// The text that the database gets.
    pub fn sql(&self) -> &str {
        &self.written.sql
    }

    /// The relations that it reads or changes, those of the policy's own conditions among them.
    pub fn relations(&self) -> &[RelationName] {
        &self.written.relations
    }

    /// Those that it changes.
    pub fn changed(&self) -> &[RelationName] {
        &self.written.changed
    }

    /// Those that it reads or changes without a condition on a column, and without a limit, of its own.
    pub fn broad(&self) -> &[RelationName] {
        &self.written.broad
    }

    /// The relations that the statement itself names: what only the policy's conditions read is not among them.
    pub fn named(&self) -> &[RelationName] {
        &self.written.named
    }

    /// What the statement calls relations and queries.
    pub fn aliases(&self) -> &[String] {
        &self.written.aliases
    }

    /// Whether it changes rows. Where not, it runs in a read-only transaction.
    pub fn writes(&self) -> bool {
        self.written.writes
    }

    /// How many rows it may change at most.
    pub fn max_changes(&self) -> Option<u64> {
        self.written.max_rows
    }

    /// What the placeholders stand for, in their order.
    pub fn parameters(&self) -> impl Iterator<Item = PlanParameter> + '_ {
        self.written.slots.iter().map(|slot| match slot {
            Slot::Caller(number) => PlanParameter::Caller(*number),
            Slot::Principal(value) | Slot::PrincipalPadded(value) => PlanParameter::Principal(value.clone()),
            Slot::System(_) => PlanParameter::System,
            Slot::PrincipalList(path) | Slot::PrincipalJson(path) => {
                PlanParameter::PrincipalList(path.clone())
            }
            Slot::Lifted(number) => PlanParameter::Lifted(*number),
        })
    }

    /// Whether it holds a description of the view, as large as the catalog.
    pub fn is_large(&self) -> bool {
        self.written.slots.iter().any(|slot| matches!(slot, Slot::System(_)))
    }

    /// Whether the fences keep the planner from running the statement's conditions before ours.
    pub fn has_barrier(&self) -> bool {
        self.written.has_barrier
    }

    /// Relations whose scope a row policy lifted, with the policy's name.
    pub fn bypasses(&self) -> &[(RelationName, String)] {
        &self.written.bypasses
    }

    /// The statement without literals and comments.
    pub fn fingerprint_text(&self) -> &str {
        self.sealed.fingerprint()
    }

    /// How many parameters the caller has to give.
    pub fn placeholders(&self) -> usize {
        self.placeholders
    }

    /// Which of the text's literals are parameters.
    pub fn lifted(&self) -> &[bool] {
        &self.written.lifted
    }

    /// As [`Self::bind`], and the database only tells how it would run it. Its estimates speak of hidden rows, and its
    /// conditions of the policy: for the one who rules over the policy, and nobody else. It runs read-only.
    pub fn bind_to_explain(
        &self,
        kind: ConnectionKind,
        principal: &Principal,
        parameters: &[Option<String>],
    ) -> Result<GuardedQuery, Refusal> {
        let dialect = Dialect::of(kind).ok_or(Refusal::NothingToQuery)?;
        let mut statement = fenced(&self.written, self.fingerprint_text().to_owned());
        statement.sql.insert_str(0, dialect.explain);
        statement.fence = Fence {
            writes: false,
            check_column: false,
            null_when_taken: None,
            returns_rows: true,
            max_rows: None,
            ..statement.fence
        };
        Ok(GuardedQuery::of(
            &Arc::new(sealed::seal_fenced(statement)),
            self.bound(principal, &texts(parameters), &[])?,
        ))
    }

    /// The query of one principal. `parameters` are the caller's, as text.
    pub fn bind(
        &self,
        principal: &Principal,
        parameters: &[Option<String>],
    ) -> Result<GuardedQuery, Refusal> {
        self.bind_lifted(principal, parameters, &[])
    }

    /// The same for a text whose literals were lifted: `values` are [`Scanned::values`].
    pub fn bind_lifted(
        &self,
        principal: &Principal,
        parameters: &[Option<String>],
        values: &[Parameter],
    ) -> Result<GuardedQuery, Refusal> {
        self.bind_typed(principal, &texts(parameters), values)
    }

    /// The same with parameters that are more than texts.
    pub fn bind_typed(
        &self,
        principal: &Principal,
        parameters: &[Parameter],
        values: &[Parameter],
    ) -> Result<GuardedQuery, Refusal> {
        Ok(GuardedQuery::of(&self.sealed, self.bound(principal, parameters, values)?))
    }

    fn bound(
        &self,
        principal: &Principal,
        parameters: &[Parameter],
        values: &[Parameter],
    ) -> Result<Vec<Parameter>, Refusal> {
        if parameters.len() != self.placeholders {
            return Err(Refusal::ParameterCount { expected: self.placeholders, given: parameters.len() });
        }
        self.written.slots.iter().map(|slot| bound(slot, principal, parameters, values)).collect()
    }
}

fn named(relation: &RelationName) -> NamedRelation {
    NamedRelation { schema: Some(relation.schema.clone()), name: relation.name.clone() }
}

fn texts(parameters: &[Option<String>]) -> Vec<Parameter> {
    parameters.iter().map(|value| value.clone().map_or(Parameter::Null, Parameter::Text)).collect()
}

fn bound(
    slot: &Slot,
    principal: &Principal,
    parameters: &[Parameter],
    values: &[Parameter],
) -> Result<Parameter, Refusal> {
    match slot {
        Slot::Lifted(number) => values.get(*number).cloned().ok_or(Refusal::NotVerified),
        Slot::Caller(number) => {
            let value = number.checked_sub(1).and_then(|index| parameters.get(index));
            let value =
                value.ok_or(Refusal::ParameterCount { expected: *number, given: parameters.len() })?;
            Ok(value.clone())
        }
        Slot::Principal(PrincipalValue { path, item }) => {
            let value = principal.value(path).ok_or(Refusal::NotVerified)?;
            match (item, &*value) {
                (Some(item), Value::Array(items)) => element(items.get(*item).ok_or(Refusal::NotVerified)?),
                // A single value stands for a list of one.
                (None | Some(0), value) => parameter(value),
                (Some(_), _) => Err(Refusal::NotVerified),
            }
        }
        Slot::PrincipalPadded(PrincipalValue { path, item }) => {
            match (item, principal.value(path).as_deref()) {
                (Some(item), Some(Value::Array(items))) => {
                    element(items.get(*item).or(items.last()).ok_or(Refusal::NotVerified)?)
                }
                _ => Err(Refusal::NotVerified),
            }
        }
        Slot::System(document) => Ok(Parameter::Text(document.to_string())),
        Slot::PrincipalJson(path) => match principal.value(path).as_deref() {
            Some(list @ Value::Array(_)) => Ok(Parameter::Text(list.to_string())),
            _ => Err(Refusal::NotVerified),
        },
        Slot::PrincipalList(path) => match principal.value(path).as_deref() {
            Some(Value::Array(items)) => {
                Ok(Parameter::List(items.iter().map(element).collect::<Result<_, _>>()?))
            }
            _ => Err(Refusal::NotVerified),
        },
    }
}

/// A value of a list. Beside others there may be a NULL, which IN takes as it takes every NULL.
fn element(value: &Value) -> Result<Parameter, Refusal> {
    if value.is_null() { Ok(Parameter::Null) } else { parameter(value) }
}

fn parameter(value: &Value) -> Result<Parameter, Refusal> {
    match value {
        Value::String(text) => Ok(Parameter::Text(text.clone())),
        Value::Bool(value) => Ok(Parameter::Bool(*value)),
        Value::Number(number) => Ok(number
            .as_i64()
            .map(Parameter::Integer)
            .or_else(|| number.as_f64().map(Parameter::Float))
            .unwrap_or(Parameter::Null)),
        // A view is never made from a missing value.
        Value::Null | Value::Array(_) | Value::Object(_) => Err(Refusal::NotVerified),
    }
}
