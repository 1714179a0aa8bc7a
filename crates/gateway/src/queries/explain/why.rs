//! Why somebody sees one row, or does not: every clause of the law with its value on it.
//!
//! The database computes the values, on the row as it is, in a statement that the guard makes of the policy: so they are
//! the values that fences have there. That the row is visible is not put together from them but computed beside them, from
//! the very condition that stands in fences.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ringfence_engine::{ResultSet, RunOptions, SourceAddress, SourceError, Value};
use ringfence_guard::{Inspection, inspect_row};
use ringfence_policy::{
    Catalog, ConnectionKind, Expression, Part, Reason, Relation, RelationName, Subject, Verdict,
    decide_with_reasons,
};
use tokio_util::sync::CancellationToken;

use super::{ClauseValue, Standpoint, Why, WhyClause, WhyColumn, WhyRequest, reasons};
use crate::catalog::{find_column, find_relation};
use crate::guarded::Seat;
use crate::queries::{QueryRequest, options};
use crate::{Call, Gateway, Refused};

/// Columns of one key.
const MOST_KEY_COLUMNS: usize = 32;
/// Longest text of a column that is shown.
const LONGEST_VALUE: usize = 256;

/// One row of a relation.
struct Place<'a> {
    gateway: &'a Gateway,
    seat: &'a Seat,
    kind: ConnectionKind,
    address: SourceAddress,
    options: RunOptions,
    cancel: CancellationToken,
    relation: &'a RelationName,
    key: Vec<String>,
    parameters: Vec<Option<String>>,
}

/// What the database says of conditions on the row.
struct Values {
    conditions: Vec<ClauseValue>,
    columns: Vec<serde_json::Value>,
}

pub(super) async fn why(gateway: &Gateway, call: &Call, request: &WhyRequest) -> Result<Why, Refused> {
    let standpoint = gateway.stand_before(call, request.as_user.as_deref(), &request.key).await?;
    let Standpoint { permit, target, asked, connection, address, lens, catalog_version } = standpoint;
    let lens = lens
        .ok_or_else(|| Refused::invalid("this connection is open: no policy and no rule hides rows of it"))?;
    let (policy_version, kind) = (lens.policy.version, lens.policy.policy.kind);
    let (snapshot, seat) = gateway.seat(&target, &connection, lens, None).await?;
    let there = snapshot.policy.destination(address.clone());
    let (name, relation) = find(&snapshot.shown.unfiltered, &request.relation)?;
    let (key, parameters) = key_of(relation, request)?;
    call.log().set_statement("the policy's conditions on one row", &[crate::guarded::shown(&name)]);

    let (decided, told) = decide_with_reasons(snapshot.question(&seat), &name);
    let clauses: Vec<(&Reason, &Expression)> =
        told.iter().filter_map(|reason| Some((reason, &reason.clause.as_ref()?.condition))).collect();
    let mut conditions: Vec<&Expression> = clauses.iter().map(|(_, condition)| *condition).collect();
    // What fences have: the last of all.
    conditions.extend(decided.as_ref().ok().map(|entitlement| &entitlement.rows));
    let read = columns_of(&clauses, relation);
    // As the one who asks sees the relation: a column that is hidden from them stays so. The operator is nobody in that
    // organization, and is shown what the user sees.
    let asking = if super::is_operator(call) {
        seat.clone()
    } else {
        let own = gateway.lens(call.principal(), &connection, &address).await?;
        let open = || Refused::invalid("this connection is open to you: nothing hides rows of it");
        gateway.seat(call, &connection, own.ok_or_else(open)?, None).await?.1
    };
    let clear = |column: &String| is_clear(&asking, &name, column);
    let shown: Vec<String> = read.iter().filter(|column| clear(column)).cloned().collect();
    let options = options::options(&gateway.shared.config, &QueryRequest::default())?;
    let cancel = permit.cancel.clone();
    let place = Place {
        gateway,
        seat: &seat,
        kind,
        address: there,
        options,
        cancel,
        relation: &name,
        key,
        parameters,
    };
    let values = place.values(&conditions, &shown).await?;
    let found = values.is_some();
    let values = values.unwrap_or_else(|| Values::none(conditions.len()));

    let visible = decided.is_ok() && values.conditions.last() == Some(&ClauseValue::True);
    let weighed: Vec<(&Reason, ClauseValue)> =
        clauses.iter().map(|(reason, _)| *reason).zip(values.conditions.iter().copied()).collect();
    let verdict = Verdict::of(weighed.iter().map(|(reason, value)| (*reason, value.truth())));
    // INVARIANT: the clauses that are told come to what the fence does. Held by the test `why_agrees_with_the_guard`.
    let is_told_in_full = found && decided.is_ok() && !values.conditions.contains(&ClauseValue::Failed);
    if is_told_in_full && verdict.is_visible() != visible {
        return Err(Refused::internal(&"an explanation disagrees with the fence"));
    }
    let mut shown = values.columns.into_iter();
    let columns = read.iter().map(|column| WhyColumn {
        name: column.clone(),
        value: if clear(column) { shown.next() } else { None },
    });
    let of_relation = told.iter().filter(|reason| reason.subject == Subject::Relation);
    Ok(Why {
        asked,
        policy_version,
        catalog_version,
        found,
        visible,
        denial: decided.as_ref().err().map(reasons::denial_text),
        reasons: of_relation.map(reasons::because).collect(),
        parts: if is_told_in_full {
            verdict.parts().map(|(part, truth)| (part, ClauseValue::of(truth))).collect()
        } else {
            Vec::new()
        },
        clauses: told.iter().filter_map(|reason| clause(reason, &weighed)).collect(),
        permits: decided.as_ref().map_or(reasons::NOTHING_PERMITTED, reasons::permits),
        attributes: attributes(&clauses, &seat),
        columns: columns.collect(),
        relation: name,
    })
}

impl Place<'_> {
    /// What the conditions come to; `None` when there is no such row.
    async fn values(
        &self,
        conditions: &[&Expression],
        columns: &[String],
    ) -> Result<Option<Values>, Refused> {
        if let Ok(values) = self.ask(conditions, columns).await? {
            return Ok(values);
        }
        // A condition raised an error on this row. Which one, and what the others come to, each tells by itself.
        let Some(mut all) = self.ask(&[], columns).await?? else { return Ok(None) };
        for condition in conditions {
            let value = match self.ask(&[condition], &[]).await? {
                Ok(values) => values.and_then(|values| values.conditions.first().copied()),
                Err(_) => Some(ClauseValue::Failed),
            };
            all.conditions.push(value.unwrap_or(ClauseValue::Unasked));
        }
        Ok(Some(all))
    }

    /// The same in one statement. The inner error is what the database says of the statement.
    async fn ask(
        &self,
        conditions: &[&Expression],
        columns: &[String],
    ) -> Result<Result<Option<Values>, Refused>, Refused> {
        let row = Inspection { relation: self.relation, key: &self.key, conditions, columns };
        let plan = inspect_row(&row, self.kind, &self.seat.shape.view)?;
        let query = plan.bind(&self.seat.principal, &self.parameters)?;
        let engine = &self.gateway.shared.engine;
        let ran = engine.run(&self.address, &query, &self.options, self.cancel.clone()).await;
        match ran {
            Ok(result) => Self::read(&result, conditions.len()).map(Ok),
            Err(error @ SourceError::Statement { .. }) => Ok(Err(error.into())),
            Err(error) => Err(error.into()),
        }
    }

    fn read(result: &ResultSet, conditions: usize) -> Result<Option<Values>, Refused> {
        let row = match result.rows.as_slice() {
            [] => return Ok(None),
            [row] => row,
            _ => {
                return Err(Refused::invalid(
                    "more than one row has these values: give those of the whole primary key",
                ));
            }
        };
        // Behind the conditions is a constant.
        let (truths, columns) = row.split_at(conditions.min(row.len()));
        let columns = columns.iter().skip(1).map(short).collect();
        Ok(Some(Values { conditions: truths.iter().map(ClauseValue::read).collect(), columns }))
    }
}

impl Values {
    /// There is no row.
    fn none(conditions: usize) -> Self {
        Self { conditions: vec![ClauseValue::Unasked; conditions], columns: Vec::new() }
    }
}

impl ClauseValue {
    fn of(truth: Option<bool>) -> Self {
        match truth {
            Some(true) => Self::True,
            Some(false) => Self::False,
            None => Self::Null,
        }
    }

    /// As the guard has it printed: 1, 0 or NULL.
    fn read(value: &Value) -> Self {
        match value {
            Value::Integer(1) => Self::True,
            Value::Integer(0) => Self::False,
            Value::Null => Self::Null,
            _ => Self::Failed,
        }
    }

    /// For those parts of the law that can be told.
    fn truth(self) -> Option<bool> {
        match self {
            Self::True => Some(true),
            Self::False => Some(false),
            Self::Null | Self::Unasked | Self::Failed => None,
        }
    }
}

/// The relation of that name, as the catalog has it without filters.
fn find<'a>(catalog: &'a Catalog, name: &str) -> Result<(RelationName, &'a Relation), Refused> {
    let all = catalog.schemas.iter();
    let mut all = all.flat_map(|schema| schema.relations.iter().map(move |relation| (schema, relation)));
    // A name may hold dots and quotes: written as it is shown, it is found.
    let exact = all.find(|(schema, relation)| format!("{}.{}", schema.name, relation.name) == name);
    let parts = || {
        let (schema, relation) =
            name.split_once('.').map_or((None, name), |(schema, rest)| (Some(schema), rest));
        let unquoted = |part: &str| part.trim_matches('"').to_owned();
        find_relation(catalog, schema.map(unquoted).as_deref(), &unquoted(relation))
    };
    let (schema, relation) = exact.or_else(parts).ok_or_else(|| Refused::not_found("relation"))?;
    Ok((RelationName::new(&schema.name, &relation.name), relation))
}

/// The columns of the key, as stored, and their values.
fn key_of(relation: &Relation, request: &WhyRequest) -> Result<(Vec<String>, Vec<Option<String>>), Refused> {
    if request.row.is_empty() || request.row.len() > MOST_KEY_COLUMNS {
        return Err(Refused::invalid("name the row by the values of its primary key"));
    }
    let mut key = Vec::new();
    let mut parameters = Vec::new();
    for (name, value) in &request.row {
        let column = find_column(relation, name)
            .ok_or_else(|| Refused::invalid("the key names a column that the relation does not have"))?;
        key.push(column.name.clone());
        parameters.push(Some(value.clone()));
    }
    Ok((key, parameters))
}

/// The relation's columns that the clauses read, in its order.
fn columns_of(clauses: &[(&Reason, &Expression)], relation: &Relation) -> Vec<String> {
    let written = clauses.iter().filter_map(|(reason, _)| reason.clause.as_ref());
    let read: BTreeSet<String> = written.flat_map(|clause| clause.written.own_columns()).collect();
    let columns = relation.columns.iter().map(|column| &column.name);
    columns.filter(|column| read.contains(*column)).cloned().collect()
}

/// Whether the one on the seat sees the column as it is.
fn is_clear(seat: &Seat, relation: &RelationName, column: &str) -> bool {
    let entitlement = seat.shape.view.relations.get(relation);
    entitlement.is_some_and(|entitlement| {
        entitlement.columns.iter().any(|visible| visible.name == column && visible.mask.is_none())
    })
}

/// What the clauses ask of the principal.
fn attributes(clauses: &[(&Reason, &Expression)], seat: &Seat) -> Vec<(String, Option<serde_json::Value>)> {
    let written = clauses.iter().filter_map(|(reason, _)| reason.clause.as_ref());
    let paths: BTreeSet<_> = written.flat_map(|clause| clause.written.principal_paths()).collect();
    paths.iter().map(|path| (path.to_string(), seat.principal.value(path).map(Cow::into_owned))).collect()
}

/// A reason about rows or changes, with its value if it has one.
fn clause(reason: &Reason, weighed: &[(&Reason, ClauseValue)]) -> Option<WhyClause> {
    let part = reason.clause.as_ref().map(|clause| &clause.part);
    let value = weighed.iter().find(|(known, _)| std::ptr::eq(*known, reason)).map(|(_, value)| *value);
    let (name, hierarchy) = match (part, &reason.subject) {
        (Some(Part::Scope), _) => ("scope", None),
        (Some(Part::Extends), _) => ("extends", None),
        (Some(Part::Bypass), _) => ("bypass", None),
        // Without a clause it is a row policy for other roles.
        (Some(Part::Narrow), _) | (None, Subject::Rows) => ("narrow", None),
        (Some(Part::Restriction(hierarchy)), _) => ("roles", Some(hierarchy.to_string())),
        (Some(Part::Inherited), _) => ("inherited", None),
        (Some(Part::AccessRule), _) => ("rule", None),
        (Some(Part::Changes), _) | (None, Subject::Writes) => ("changes", None),
        (None, Subject::Relation | Subject::Column(_)) => return None,
    };
    let value = value.unwrap_or(ClauseValue::Unasked);
    Some(WhyClause { part: name, hierarchy, because: reasons::because(reason), value })
}

/// A value as it is shown: long texts are cut.
fn short(value: &Value) -> serde_json::Value {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) if text.len() > LONGEST_VALUE => {
            let end = text.floor_char_boundary(LONGEST_VALUE);
            serde_json::Value::String(format!("{}...", &text[..end]))
        }
        Ok(value) => value,
        Err(_) => serde_json::Value::Null,
    }
}
