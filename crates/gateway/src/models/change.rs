//! Changes: one operation or several, all of them or none.
//!
//! Each runs as a statement behind the fences, in one transaction with the rows as they were before, so that the record of
//! the call says what became of what. A transaction that met another one is repeated.

use std::sync::Arc;
use std::time::Duration;

use ringfence_engine::{Isolation, ResultSet, SourceError, SourceTransaction};
use ringfence_policy::{Permit, View};
use ringfence_semantic::query::Columns;
use ringfence_semantic::write::{self, Key};
use ringfence_semantic::{ModelView, Models, Statement};
use ringfence_store::approvals::Approval;
use ringfence_store::audit::RowChange;
use serde::Serialize;
use serde_json::{Map, Value};

use super::read::no_such_row;
use super::repeats::Repeated;
use super::road::Road;
use super::rows::{self, Row};
use super::{Operation, inputs};
use crate::guarded::{Seat, shown as shown_name};
use crate::{Call, Code, Gateway, Refused};

/// Operations of one request.
const MOST_OPERATIONS: usize = 100;
/// How often a transaction that met others is tried.
const ATTEMPTS: u32 = 8;
/// How long the first pause between them is at most.
const PAUSE: Duration = Duration::from_millis(20);

/// A request for changes.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Change {
    pub operations: Vec<Operation>,
    /// Sent again with the same key, the request is not done again.
    pub idempotency_key: Option<String>,
    /// Why the caller does it, for the record and for whoever approves.
    pub reason: Option<String>,
}

/// What came of a request for changes.
#[derive(Debug, Clone)]
pub enum Changed {
    /// It is done: what came of each operation.
    Done(Vec<OperationResult>),
    /// It waits for somebody's consent.
    Pending(Box<Approval>),
}

/// What came of an operation.
#[derive(Debug, Clone, Serialize)]
pub struct OperationResult {
    /// The operation's word.
    pub action: &'static str,
    /// The model.
    pub model: String,
    /// Rows changed.
    pub affected: u64,
    /// The rows as they are now, with the fields asked for; none of a row that was removed.
    pub rows: Vec<Row>,
    /// The same in full.
    #[serde(skip)]
    pub(super) keys: Vec<Row>,
}

/// How operations may go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// The caller's own.
    Own,
    /// Somebody approved them.
    Approved,
}

/// The view that a statement of an operation is guarded with, and the models behind it.
pub(super) struct Standing {
    pub(super) seat: Arc<Seat>,
}

impl Gateway {
    /// Makes changes, all of them or none.
    pub async fn change_models(&self, call: &Call, key: &str, change: &Change) -> Result<Changed, Refused> {
        call.log().set_action(action_of(change));
        call.log().set_reason(change.reason.as_deref());
        if change.operations.is_empty() || change.operations.len() > MOST_OPERATIONS {
            return Err(Refused::invalid(format!("1 to {MOST_OPERATIONS} operations can be done at once")));
        }
        let road = Road::open(self, call, key).await?;
        let mut models: Vec<&str> = change.operations.iter().map(Operation::model).collect();
        models.sort_unstable();
        models.dedup();
        call.log().set_model(&models.join(", "));
        inputs::note_operations(call.log(), &change.operations);
        let Some(key) = &change.idempotency_key else { return road.change_or_ask(change).await };
        let repeated = match Repeated::begin(&road, key, change).await? {
            Ok(repeated) => repeated,
            Err(known) => return Ok(known),
        };
        let outcome = road.change_or_ask(change).await;
        if let Err(refused) = repeated.finish(change, &outcome).await {
            // It was done all the same. A repeat will hear that nobody knows.
            tracing::warn!(error = %refused, "what came of a request with an idempotency key could not be noted");
        }
        outcome
    }
}

impl Road<'_> {
    /// Makes the changes, or a ticket of them where one needs somebody's consent.
    async fn change_or_ask(&self, change: &Change) -> Result<Changed, Refused> {
        match self.ask_for_consent(change).await? {
            Some(ticket) => Ok(Changed::Pending(Box::new(ticket))),
            None => self.change(change, Consent::Own).await.map(Changed::Done),
        }
    }

    /// Makes the changes in one transaction, which is repeated while it meets others.
    pub(super) async fn change(
        &self,
        change: &Change,
        consent: Consent,
    ) -> Result<Vec<OperationResult>, Refused> {
        let standing = self.standing(change, consent)?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.attempt(change, &standing).await {
                Err(refused) if refused.code == Code::WriteConflict && attempt < ATTEMPTS => {
                    let longest = PAUSE.saturating_mul(1 << attempt);
                    tokio::time::sleep(longest.mul_f64(rand::random::<f64>())).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// The view for changes, once every operation was looked at.
    pub(super) fn standing(&self, change: &Change, consent: Consent) -> Result<Standing, Refused> {
        for operation in &change.operations {
            let model = self.models().named(operation.model())?;
            if model.entitlement.writes.require_reason
                && change.reason.as_deref().is_none_or(|reason| reason.trim().is_empty())
            {
                return Err(Refused::new(
                    Code::ReasonRequired,
                    "the policy wants to know why: give a `reason`",
                ));
            }
            if permit(model, operation) == Permit::Approval && consent == Consent::Own {
                return Err(Refused::new(
                    Code::ApprovalRequired,
                    format!("to {} {} needs an approval", operation.action(), model.name()),
                ));
            }
        }
        let seat = match consent {
            Consent::Own => self.seat.clone(),
            Consent::Approved => {
                let named = change.operations.iter().map(Operation::model);
                let mut view = self.seat.shape.view.clone();
                for name in named {
                    let model = self.models().named(name)?;
                    let relation = model.entitlement.relation.clone();
                    view.relations.insert(relation, Arc::new(model.entitlement.once_approved()));
                }
                self.seat_with(view)
            }
        };
        Ok(Standing { seat })
    }

    async fn attempt(&self, change: &Change, standing: &Standing) -> Result<Vec<OperationResult>, Refused> {
        // A row that has the version asked for is the row as it was before.
        let is_exact = |operation: &Operation| match operation {
            Operation::Create { .. } | Operation::BulkCreate { .. } => true,
            Operation::Update { if_version, .. } | Operation::Delete { if_version, .. } => {
                if_version.is_some()
            }
            Operation::BulkUpdate { .. } => false,
        };
        let isolation = if change.operations.iter().all(is_exact) {
            Isolation::ReadCommitted
        } else {
            Isolation::RepeatableRead
        };
        let mut transaction = self.begin(isolation).await?;
        let mut step =
            Step { road: self, standing, transaction: &mut transaction, reason: change.reason.as_deref() };
        let (mut results, mut changes) = (Vec::new(), Vec::new());
        for operation in &change.operations {
            let (result, touched) = step.run(operation).await?;
            results.push(result);
            changes.extend(touched);
        }
        transaction.commit().await?;
        self.record(changes);
        Ok(results)
    }

    /// Leaves the rows as they were and as they are in the call's record.
    fn record(&self, changes: Vec<RowChange>) {
        self.call.log().set_rows(changes.len() as u64);
        self.call.log().add_changes(changes);
    }
}

/// One operation in its transaction.
struct Step<'s> {
    road: &'s Road<'s>,
    standing: &'s Standing,
    transaction: &'s mut SourceTransaction,
    reason: Option<&'s str>,
}

impl Step<'_> {
    async fn run(&mut self, operation: &Operation) -> Result<(OperationResult, Vec<RowChange>), Refused> {
        let standing = self.standing;
        let policy = &self.road.snapshot.policy.policy;
        let model = Models::of(policy, &standing.seat.shape.view).named(operation.model())?;
        let (before, after, affected, shown) = match operation {
            Operation::Create { data, return_fields, .. } => {
                let after = self.create(model, std::slice::from_ref(data)).await?;
                (Vec::new(), after, 1, return_fields.as_deref())
            }
            Operation::BulkCreate { data, return_fields, .. } => {
                let after = self.create(model, data).await?;
                (Vec::new(), after, data.len() as u64, return_fields.as_deref())
            }
            Operation::Update { id, data, if_version, return_fields, .. } => {
                let ids = std::slice::from_ref(id);
                let (before, after) = self.update(model, ids, data, if_version.as_ref()).await?;
                (before, after, 1, return_fields.as_deref())
            }
            Operation::BulkUpdate { ids, data, return_fields, .. } => {
                let (before, after) = self.update(model, ids, data, None).await?;
                (before, after, ids.len() as u64, return_fields.as_deref())
            }
            Operation::Delete { id, if_version, .. } => {
                let before = self.delete(model, id, if_version.as_ref()).await?;
                (before, Vec::new(), 1, None)
            }
        };
        let shown = write::returned(model, shown)?;
        let rows = after.iter().map(|row| row.pick(&shown)).collect();
        let changes = changes(&shown_name(&model.entitlement.relation), model, &before, &after);
        let (action, model) = (operation.action(), model.name().to_owned());
        Ok((OperationResult { action, model, affected, rows, keys: after }, changes))
    }

    async fn create(
        &mut self,
        model: ModelView<'_>,
        data: &[Map<String, Value>],
    ) -> Result<Vec<Row>, Refused> {
        let all = write::returned(model, None)?;
        let mut after: Vec<Option<Row>> = vec![None; data.len()];
        for inserted in write::create(model, data, &all)? {
            let result = self.execute(&self.standing.seat.clone(), &inserted.statement).await?;
            for (row, place) in rows::fetched(result, &all).into_iter().zip(&inserted.rows) {
                if let Some(slot) = after.get_mut(*place) {
                    *slot = Some(row.row);
                }
            }
        }
        Ok(after.into_iter().flatten().collect())
    }

    /// The rows before and after.
    async fn update(
        &mut self,
        model: ModelView<'_>,
        ids: &[Value],
        data: &Map<String, Value>,
        if_version: Option<&Value>,
    ) -> Result<(Vec<Row>, Vec<Row>), Refused> {
        let keys = keys_of(model, ids)?;
        let all = write::returned(model, None)?;
        let statement = write::update(model, &keys, data, if_version, &all)?;
        let before = self.before(model, &keys).await?;
        let result = self.execute(&self.standing.seat.clone(), &statement).await?;
        all_changed(&result, keys.len(), if_version.is_some())?;
        let after = if result.columns.is_empty() {
            self.before(model, &keys).await?
        } else {
            rows::fetched(result, &all).into_iter().map(|fetched| fetched.row).collect()
        };
        Ok((before, after))
    }

    async fn delete(
        &mut self,
        model: ModelView<'_>,
        id: &Value,
        if_version: Option<&Value>,
    ) -> Result<Vec<Row>, Refused> {
        let key = write::key_of(model, id)?;
        let statement = write::delete(model, &key, if_version)?;
        let keys = [key];
        let before = self.before(model, &keys).await?;
        let seat = match model.entitlement.while_deleting() {
            None => self.standing.seat.clone(),
            Some(deleting) => {
                let mut view: View = self.standing.seat.shape.view.clone();
                view.relations.insert(deleting.relation.clone(), Arc::new(deleting));
                self.road.seat_with(view)
            }
        };
        let result = self.execute(&seat, &statement).await?;
        all_changed(&result, 1, if_version.is_some())?;
        Ok(before)
    }

    /// The rows as they are. One that is not there, or hidden, ends it.
    async fn before(&mut self, model: ModelView<'_>, keys: &[Key<'_>]) -> Result<Vec<Row>, Refused> {
        let (statement, columns): (Statement, Columns<'_>) = write::before(model, keys)?;
        let result = self.execute(&self.standing.seat.clone(), &statement).await?;
        let rows: Vec<Row> = rows::fetched(result, &columns).into_iter().map(|fetched| fetched.row).collect();
        if rows.len() < keys.len() {
            return Err(no_such_row());
        }
        Ok(rows)
    }

    async fn execute(&mut self, seat: &Seat, statement: &Statement) -> Result<ResultSet, Refused> {
        let ready = self.road.guard(seat, statement, self.reason).await?;
        self.road.within_cost(&ready).await?;
        let ran = self.transaction.run(&ready.query, &ready.options).await;
        ran.map_err(|error: SourceError| crate::queries::told(error, &ready.text))
    }
}

/// The rows are there: one that did not change may not be changed, or has another version.
fn all_changed(result: &ResultSet, wanted: usize, has_version: bool) -> Result<(), Refused> {
    if result.affected.is_some_and(|affected| affected >= wanted as u64) {
        return Ok(());
    }
    if has_version {
        return Err(Refused::new(
            Code::PreconditionFailed,
            "the row was changed since, or may not be changed by you: read it again",
        ));
    }
    Err(Refused::new(Code::RowRefused, "a row may be read and not changed by you"))
}

/// Keys, each once: a row named twice would be counted twice.
fn keys_of<'m>(model: ModelView<'m>, ids: &[Value]) -> Result<Vec<Key<'m>>, Refused> {
    if ids.is_empty() || ids.len() > write::MOST_ROWS {
        return Err(Refused::invalid(format!("1 to {} rows can be changed at once", write::MOST_ROWS)));
    }
    let mut keys: Vec<Key<'m>> = Vec::with_capacity(ids.len());
    let mut seen = std::collections::HashSet::new();
    for id in ids {
        let key = write::key_of(model, id)?;
        if !seen.insert(key.to_object().to_string()) {
            return Err(Refused::invalid("a row is named twice"));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Each row before and after, by its key: a database may answer rows in another order than it was asked in.
fn changes(relation: &str, model: ModelView<'_>, before: &[Row], after: &[Row]) -> Vec<RowChange> {
    let object = |row: &Row| match serde_json::to_value(row) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    };
    let key = model.key().unwrap_or_default();
    let is_same = |one: &Map<String, Value>, other: &Map<String, Value>| {
        key.iter().all(|field| one.get(field.name) == other.get(field.name))
    };
    let mut left: Vec<Map<String, Value>> = after.iter().map(object).collect();
    let mut changes = Vec::new();
    for before in before.iter().map(object) {
        let place = left.iter().position(|after| is_same(&before, after));
        let after = place.map(|place| left.remove(place));
        changes.push(RowChange { relation: relation.to_owned(), before: Some(before), after });
    }
    let new = left.into_iter();
    changes.extend(new.map(|after| RowChange {
        relation: relation.to_owned(),
        before: None,
        after: Some(after),
    }));
    changes
}

pub(super) fn permit(model: ModelView<'_>, operation: &Operation) -> Permit {
    let operations = model.operations();
    match operation {
        Operation::Create { .. } | Operation::BulkCreate { .. } => operations.create,
        Operation::Update { .. } | Operation::BulkUpdate { .. } => operations.update,
        Operation::Delete { .. } => operations.delete,
    }
}

/// As the record calls it.
fn action_of(change: &Change) -> &'static str {
    match change.operations.as_slice() {
        [Operation::Create { .. }] => "create-model",
        [Operation::BulkCreate { .. }] => "bulk-create-model",
        [Operation::Update { .. }] => "update-model",
        [Operation::BulkUpdate { .. }] => "bulk-update-model",
        [Operation::Delete { .. }] => "delete-model",
        _ => "change-models",
    }
}
