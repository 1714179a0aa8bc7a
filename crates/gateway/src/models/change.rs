//! Changes: one operation or several, all of them or none.
//!
//! Each runs as a statement behind the fences, in one transaction with the rows as they were before, so that the record of
//! the call says what became of what. A transaction that met another one is repeated.

use std::time::Duration;

use ringfence_engine::{Isolation, ResultSet, SourceTransaction};
use ringfence_semantic::ModelView;
use ringfence_store::approvals::Approval;
use ringfence_store::audit::RowChange;
use serde::Serialize;
use serde_json::{Map, Value};

use super::prepare::{Consent, Prepared, Work};
use super::read::no_such_row;
use super::repeats::Repeated;
use super::rows::{self, Row};
use super::{Operation, inputs};
use crate::guarded::shown as shown_name;
use crate::road::{Ready, Road};
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
        let seat = self.seat_for(change, consent)?;
        let prepared = self.prepare(&seat, change).await?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.attempt(&prepared).await {
                Err(refused) if refused.code == Code::WriteConflict && attempt < ATTEMPTS => {
                    let longest = PAUSE.saturating_mul(1 << attempt);
                    tokio::time::sleep(longest.mul_f64(rand::random::<f64>())).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt(&self, prepared: &[Prepared<'_>]) -> Result<Vec<OperationResult>, Refused> {
        // A row that has the version asked for is the row as it was before.
        let is_exact = |prepared: &Prepared<'_>| match prepared.operation {
            Operation::Create { .. } | Operation::BulkCreate { .. } => true,
            Operation::Update { if_version, .. } | Operation::Delete { if_version, .. } => {
                if_version.is_some()
            }
            Operation::BulkUpdate { .. } => false,
        };
        let isolation =
            if prepared.iter().all(is_exact) { Isolation::ReadCommitted } else { Isolation::RepeatableRead };
        let mut transaction = self.begin(isolation).await?;
        let (mut results, mut changes) = (Vec::new(), Vec::new());
        for operation in prepared {
            let (before, after) = operation.run(&mut transaction).await?;
            changes.extend(operation.changes(&before, &after));
            results.push(operation.result(&before, after));
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

impl Prepared<'_> {
    /// Runs in its transaction. The rows before and after.
    async fn run(&self, transaction: &mut SourceTransaction) -> Result<(Vec<Row>, Vec<Row>), Refused> {
        match &self.work {
            Work::Create(inserts) => Ok((Vec::new(), self.create(transaction, inserts).await?)),
            Work::Change { rows, change, count } => {
                let before = self.rows(transaction, rows).await?;
                if before.len() < *count {
                    return Err(no_such_row());
                }
                let result = execute(transaction, change).await?;
                all_changed(&result, *count, self.has_version())?;
                let after = match self.operation {
                    Operation::Delete { .. } => Vec::new(),
                    _ if result.columns.is_empty() => self.rows(transaction, rows).await?,
                    _ => self.read(result),
                };
                Ok((before, after))
            }
        }
    }

    /// The new rows, in the order of the request.
    async fn create(
        &self,
        transaction: &mut SourceTransaction,
        inserts: &[(Ready, Vec<usize>)],
    ) -> Result<Vec<Row>, Refused> {
        let mut created = Vec::new();
        for (insert, places) in inserts {
            let result = execute(transaction, insert).await?;
            created.extend(places.iter().copied().zip(self.read(result)));
        }
        created.sort_by_key(|(place, _)| *place);
        Ok(created.into_iter().map(|(_, row)| row).collect())
    }

    /// The rows as they are.
    async fn rows(&self, transaction: &mut SourceTransaction, ready: &Ready) -> Result<Vec<Row>, Refused> {
        Ok(self.read(execute(transaction, ready).await?))
    }

    fn read(&self, result: ResultSet) -> Vec<Row> {
        rows::fetched(result, &self.all).into_iter().map(|fetched| fetched.row).collect()
    }

    fn has_version(&self) -> bool {
        match self.operation {
            Operation::Update { if_version, .. } | Operation::Delete { if_version, .. } => {
                if_version.is_some()
            }
            Operation::Create { .. } | Operation::BulkCreate { .. } | Operation::BulkUpdate { .. } => false,
        }
    }

    fn result(&self, before: &[Row], after: Vec<Row>) -> OperationResult {
        let affected = match self.operation {
            Operation::BulkCreate { data, .. } => data.len(),
            Operation::Create { .. } => 1,
            Operation::Update { .. } | Operation::BulkUpdate { .. } | Operation::Delete { .. } => {
                before.len()
            }
        };
        OperationResult {
            action: self.operation.action(),
            model: self.model.name().to_owned(),
            affected: affected as u64,
            rows: after.iter().map(|row| row.pick(&self.shown)).collect(),
            keys: after,
        }
    }

    /// Each row before and after.
    fn changes(&self, before: &[Row], after: &[Row]) -> Vec<RowChange> {
        changes(&shown_name(&self.model.entitlement.relation), self.model, before, after)
    }
}

async fn execute(transaction: &mut SourceTransaction, ready: &Ready) -> Result<ResultSet, Refused> {
    let ran = transaction.run(&ready.query, &ready.options).await;
    ran.map_err(|error| crate::queries::told(error, &ready.text))
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
