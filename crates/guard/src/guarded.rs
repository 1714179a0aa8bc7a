//! The guarded road: a statement and a view make a plan, and a plan and a principal's values make a query.

use ringfence_policy::expression::{PrincipalPath, PrincipalValue};
use ringfence_policy::{ConnectionKind, Principal, RelationName, View};
use serde_json::Value;

use crate::dialect::Dialect;
use crate::named::{NamedRelation, NamedRelations};
use crate::refusal::Refusal;
use crate::rewrite::{Slot, Written, rewrite};
use crate::sealed::{self, Fence, FencedStatement, GuardedQuery, Parameter};
use crate::{admit, fingerprint, inspect, verify};

/// A statement behind the fences of a view. It holds no principal's values, so that all whose views are equal share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardedPlan {
    written: Written,
    fingerprint: String,
    placeholders: usize,
}

/// What a placeholder of a plan stands for, by name: no value is in here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanParameter {
    /// The caller's parameter of that number, from 1.
    Caller(usize),
    /// A value of the principal.
    Principal(PrincipalValue),
    /// All values of a list of the principal.
    PrincipalList(PrincipalPath),
}

/// Guards one statement for everybody who has this view.
pub fn guard(statement: &str, kind: ConnectionKind, view: &View) -> Result<GuardedPlan, Refusal> {
    let dialect = Dialect::of(kind).ok_or(Refusal::NothingToQuery)?;
    let read = admit::read(statement, dialect)?;
    let written = rewrite(&read, view, dialect)?;
    verify::verify(&written, view, dialect)?;
    Ok(GuardedPlan { fingerprint: fingerprint::of(&read.tokens), placeholders: read.placeholders, written })
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
    Ok(GuardedPlan { fingerprint: inspect::FINGERPRINT.to_owned(), placeholders: row.key.len(), written })
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

    /// The relations that the statement itself names: what only the policy's conditions read is not among them.
    pub fn named(&self) -> &[RelationName] {
        &self.written.named
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
            Slot::Principal(value) => PlanParameter::Principal(value.clone()),
            Slot::PrincipalList(path) | Slot::PrincipalJson(path) => {
                PlanParameter::PrincipalList(path.clone())
            }
        })
    }

    /// Whether the fences keep the planner from running the statement's conditions before ours.
    pub fn has_barrier(&self) -> bool {
        self.written.has_barrier
    }

    /// Relations whose scope a row policy lifted, with the policy's name.
    pub fn bypasses(&self) -> &[(RelationName, String)] {
        &self.written.bypasses
    }

    /// SQLite asks for the functions of FROM as for tables.
    fn tables_of_functions(&self) -> impl Iterator<Item = (String, String)> {
        let tables = self.written.functions.iter();
        let tables = tables.filter(|function| matches!(function.as_str(), "json_each" | "json_tree"));
        tables.map(|function| ("main".to_owned(), function.clone()))
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
        let mut statement = self.fenced(principal, parameters)?;
        statement.sql.insert_str(0, dialect.explain);
        statement.fence = Fence {
            writes: false,
            check_column: false,
            returns_rows: true,
            max_rows: None,
            ..statement.fence
        };
        Ok(sealed::seal_fenced(statement))
    }

    /// The query of one principal. `parameters` are the caller's, as text.
    pub fn bind(
        &self,
        principal: &Principal,
        parameters: &[Option<String>],
    ) -> Result<GuardedQuery, Refusal> {
        self.fenced(principal, parameters).map(sealed::seal_fenced)
    }

    fn fenced(
        &self,
        principal: &Principal,
        parameters: &[Option<String>],
    ) -> Result<FencedStatement, Refusal> {
        if parameters.len() != self.placeholders {
            return Err(Refusal::ParameterCount { expected: self.placeholders, given: parameters.len() });
        }
        let bound = self.written.slots.iter().map(|slot| bound(slot, principal, parameters));
        let written = &self.written;
        let pair = |relation: &RelationName| (relation.schema.clone(), relation.name.clone());
        Ok(FencedStatement {
            sql: written.sql.clone(),
            parameters: bound.collect::<Result<Vec<_>, _>>()?,
            fence: Fence {
                writes: written.writes,
                check_column: written.check_column,
                returns_rows: written.returns_rows,
                max_rows: written.max_rows,
                relations: written.relations.iter().map(pair).chain(self.tables_of_functions()).collect(),
                functions: written.functions.clone(),
            },
            fingerprint: self.fingerprint.clone(),
            named: NamedRelations {
                relations: written.relations.iter().map(named).collect(),
                ..NamedRelations::default()
            },
        })
    }
}

fn named(relation: &RelationName) -> NamedRelation {
    NamedRelation { schema: Some(relation.schema.clone()), name: relation.name.clone() }
}

fn bound(slot: &Slot, principal: &Principal, parameters: &[Option<String>]) -> Result<Parameter, Refusal> {
    match slot {
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
