//! The guarded road: a statement and a view make a plan, and a plan and a principal's values make a query.

use std::sync::Arc;

use ringfence_policy::expression::PrincipalValue;
use ringfence_policy::{ConnectionKind, Principal, RelationName, View};
use serde_json::Value;

use crate::dialect::Dialect;
use crate::lift::Scanned;
use crate::named::{NamedRelation, NamedRelations};
use crate::refusal::Refusal;
use crate::rewrite::{Slot, Written, rewrite};
use crate::sealed::{self, Fence, FencedStatement, GuardedQuery, Parameter, Sealed};
use crate::{admit, verify};

/// A statement behind the fences of a view. It holds no principal's values, so that all whose views are equal share it.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardedPlan {
    written: Written,
    sealed: Arc<Sealed>,
    placeholders: usize,
}

/// Guards one statement for everybody who has this view.
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

fn plan(
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
            returns_rows: written.returns_rows,
            max_rows: written.max_rows,
            relations: written.relations.iter().map(pair).chain(tables).collect(),
            functions: written.functions.clone(),
        },
        fingerprint,
        named: NamedRelations {
            relations: written.relations.iter().map(named).collect(),
            ..NamedRelations::default()
        },
    }
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

    /// Which of the text's literals are parameters.
    pub fn lifted(&self) -> &[bool] {
        &self.written.lifted
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
        if parameters.len() != self.placeholders {
            return Err(Refusal::ParameterCount { expected: self.placeholders, given: parameters.len() });
        }
        let bound = self.written.slots.iter().map(|slot| bound(slot, principal, parameters, values));
        Ok(GuardedQuery::of(&self.sealed, bound.collect::<Result<Vec<_>, _>>()?))
    }
}

fn named(relation: &RelationName) -> NamedRelation {
    NamedRelation { schema: Some(relation.schema.clone()), name: relation.name.clone() }
}

fn bound(
    slot: &Slot,
    principal: &Principal,
    parameters: &[Option<String>],
    values: &[Parameter],
) -> Result<Parameter, Refusal> {
    match slot {
        Slot::Lifted(number) => values.get(*number).cloned().ok_or(Refusal::NotVerified),
        Slot::Caller(number) => {
            let value = number.checked_sub(1).and_then(|index| parameters.get(index));
            let value =
                value.ok_or(Refusal::ParameterCount { expected: *number, given: parameters.len() })?;
            Ok(value.clone().map_or(Parameter::Null, Parameter::Text))
        }
        Slot::Principal(PrincipalValue { path, item }) => {
            let value = principal.value(path).ok_or(Refusal::NotVerified)?;
            match (item, &value) {
                (Some(item), Value::Array(items)) => parameter(items.get(*item).ok_or(Refusal::NotVerified)?),
                // A single value stands for a list of one.
                (None | Some(0), value) => parameter(value),
                (Some(_), _) => Err(Refusal::NotVerified),
            }
        }
        Slot::PrincipalJson(path) => match principal.value(path) {
            Some(list @ Value::Array(_)) => Ok(Parameter::Text(list.to_string())),
            _ => Err(Refusal::NotVerified),
        },
        Slot::PrincipalList(path) => match principal.value(path) {
            Some(Value::Array(items)) => {
                Ok(Parameter::List(items.iter().map(parameter).collect::<Result<_, _>>()?))
            }
            _ => Err(Refusal::NotVerified),
        },
    }
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
