//! Operations made ready: their statements stand behind the fences, and budgets have looked at them, before a transaction
//! holds a session. Guarding may itself ask the database, which must not wait for the session that its own request holds.

use std::sync::Arc;

use ringfence_policy::{Permit, View};
use ringfence_semantic::query::Columns;
use ringfence_semantic::write::{self, Inserted, Key};
use ringfence_semantic::{ModelView, Models, Statement};

use super::{Change, Operation};
use crate::Refused;
use crate::guarded::Seat;
use crate::road::{Ready, Road};

/// How operations may go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// The caller's own.
    Own,
    /// Somebody approved them.
    Approved,
}

/// One operation, ready to run, as often as its transaction is tried. Kept until that is over: dropped, it forgets the
/// attributes of principals that are read from what it changes.
pub(super) struct Prepared<'m> {
    pub(super) model: ModelView<'m>,
    pub(super) operation: &'m Operation,
    /// The fields that the answer shows.
    pub(super) shown: Columns<'m>,
    /// All fields of a row, as the statements answer them.
    pub(super) all: Columns<'m>,
    pub(super) work: Work,
}

/// What an operation runs.
pub(super) enum Work {
    /// Each with the places that its rows have in the request.
    Create(Vec<(Ready, Vec<usize>)>),
    /// What reads the rows, and what changes them.
    Change { rows: Box<Ready>, change: Box<Ready>, count: usize },
}

impl Road<'_> {
    /// The view that operations are guarded with.
    pub(super) fn seat_for(&self, change: &Change, consent: Consent) -> Result<Arc<Seat>, Refused> {
        if consent == Consent::Own {
            return Ok(self.seat.clone());
        }
        let mut view = self.seat.shape.view.clone();
        for operation in &change.operations {
            let model = self.models().named(operation.model())?;
            let relation = model.entitlement.relation.clone();
            view.relations.insert(relation, Arc::new(model.entitlement.once_approved()));
        }
        Ok(self.seat_with(view))
    }

    /// The operations with their statements, guarded with that view.
    pub(super) async fn prepare<'m>(
        &'m self,
        seat: &'m Seat,
        change: &'m Change,
    ) -> Result<Vec<Prepared<'m>>, Refused> {
        let models = Models::of(&self.snapshot.policy.policy, &seat.shape.view);
        let mut prepared = Vec::with_capacity(change.operations.len());
        for operation in &change.operations {
            let model = models.named(operation.model())?;
            let shown = write::returned(model, operation.return_fields())?;
            let all = write::returned(model, None)?;
            let work = self.work(seat, model, operation, &all, change.reason.as_deref()).await?;
            prepared.push(Prepared { model, operation, shown, all, work });
        }
        Ok(prepared)
    }

    async fn work(
        &self,
        seat: &Seat,
        model: ModelView<'_>,
        operation: &Operation,
        all: &Columns<'_>,
        reason: Option<&str>,
    ) -> Result<Work, Refused> {
        let keys = keys_of(model, operation)?;
        let (statement, deleting) = match operation {
            Operation::Create { data, .. } => {
                return self
                    .creating(seat, write::create(model, std::slice::from_ref(data), all)?, reason)
                    .await;
            }
            Operation::BulkCreate { data, .. } => {
                return self.creating(seat, write::create(model, data, all)?, reason).await;
            }
            Operation::Update { data, if_version, .. } => {
                (write::update(model, &keys, data, if_version.as_ref(), all)?, None)
            }
            Operation::BulkUpdate { data, .. } => (write::update(model, &keys, data, None, all)?, None),
            Operation::Delete { if_version, .. } => {
                (write::delete(model, &keys, if_version.as_ref())?, model.entitlement.while_deleting())
            }
        };
        let (reading, _) = write::before(model, &keys)?;
        let rows = self.ready(seat, &reading, reason).await?;
        let change = match deleting {
            None => self.ready(seat, &statement, reason).await?,
            Some(deleting) => {
                let mut view: View = seat.shape.view.clone();
                view.relations.insert(deleting.relation.clone(), Arc::new(deleting));
                self.ready(&self.seat_with(view), &statement, reason).await?
            }
        };
        Ok(Work::Change { rows: Box::new(rows), change: Box::new(change), count: keys.len() })
    }

    async fn creating(
        &self,
        seat: &Seat,
        inserted: Vec<Inserted>,
        reason: Option<&str>,
    ) -> Result<Work, Refused> {
        let mut ready = Vec::with_capacity(inserted.len());
        for Inserted { statement, rows } in inserted {
            ready.push((self.ready(seat, &statement, reason).await?, rows));
        }
        Ok(Work::Create(ready))
    }

    async fn ready(
        &self,
        seat: &Seat,
        statement: &Statement,
        reason: Option<&str>,
    ) -> Result<Ready, Refused> {
        let ready = self.guard(seat, statement, reason).await?;
        self.within_cost(&ready).await?;
        Ok(ready)
    }
}

/// The rows that an operation names, each once: one named twice would be counted twice. None of one that adds rows.
pub(super) fn keys_of<'m>(model: ModelView<'m>, operation: &Operation) -> Result<Vec<Key<'m>>, Refused> {
    let ids = match operation {
        Operation::Create { .. } | Operation::BulkCreate { .. } => return Ok(Vec::new()),
        Operation::Update { id, .. } | Operation::Delete { id, .. } => std::slice::from_ref(id),
        Operation::BulkUpdate { ids, .. } => ids.as_slice(),
    };
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

pub(super) fn permit(model: ModelView<'_>, operation: &Operation) -> Permit {
    let operations = model.operations();
    match operation {
        Operation::Create { .. } | Operation::BulkCreate { .. } => operations.create,
        Operation::Update { .. } | Operation::BulkUpdate { .. } => operations.update,
        Operation::Delete { .. } => operations.delete,
    }
}
