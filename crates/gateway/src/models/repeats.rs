//! Requests that carry an idempotency key: sent again, they answer what came of them and do nothing.
//!
//! Of what was done, the keys of the rows are kept and not the rows: a repeat shows the rows as its sender sees them now.

use ringfence_semantic::Models;
use ringfence_semantic::write::{self, Key};
use ringfence_store::repeats::{Known, Repeat};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::rows;
use super::{Change, Changed, Operation, OperationResult};
use crate::call::now_ms;
use crate::road::Road;
use crate::{Code, Refused};

/// Longest key.
const LONGEST: usize = 255;
/// How long a request is known, in milliseconds: a day.
const KNOWN_FOR: i64 = 24 * 60 * 60 * 1000;

/// What came of a request.
#[derive(Serialize, Deserialize)]
enum Outcome {
    /// It was done.
    Done(Vec<Trace>),
    /// It waits as a ticket, or waited.
    Pending(String),
}

/// What came of an operation.
#[derive(Serialize, Deserialize)]
struct Trace {
    affected: u64,
    /// The rows that it left, by their primary keys; `None` where its sender sees none.
    ids: Option<Vec<Value>>,
}

/// A request that is known by a key.
pub(super) struct Repeated<'r> {
    road: &'r Road<'r>,
    repeat: Repeat,
}

impl<'r> Repeated<'r> {
    /// Begins the request, or answers what came of it. Keys are each user's own, on each connection.
    pub(super) async fn begin(
        road: &'r Road<'r>,
        key: &str,
        change: &Change,
    ) -> Result<Result<Self, Changed>, Refused> {
        if key.is_empty() || key.len() > LONGEST || key.chars().any(char::is_control) {
            return Err(Refused::invalid(format!("an idempotency key has 1 to {LONGEST} printable bytes")));
        }
        let principal = road.call.principal();
        let place = &road.snapshot.policy.place.place;
        let parts = [
            principal.org.as_str(),
            principal.tenant.as_str(),
            principal.account().as_str(),
            principal.user.as_str(),
            principal.authenticated_user().as_str(),
            place,
            key,
        ];
        let repeat = Repeat::of(&parts);
        let said = serde_json::to_vec(&change.operations).map_err(|error| Refused::internal(&error))?;
        let request = hex::encode(Sha256::digest(&said));
        let (store, now) = (&road.gateway.shared.store, now_ms());
        match store.repeats().begin(&repeat, &request, now, now.saturating_sub(KNOWN_FOR)).await? {
            Known::New => Ok(Ok(Self { road, repeat })),
            Known::Underway => Err(Refused::new(
                Code::Conflict,
                "a request with this idempotency key is being done, or nobody knows what came of it: look before you send another",
            )),
            Known::Done { request: other, .. } if other != request => Err(Refused::new(
                Code::IdempotencyKeyReused,
                "this idempotency key was used for another request: take a new one",
            )),
            Known::Done { outcome, .. } => {
                let outcome: Outcome =
                    serde_json::from_str(&outcome).map_err(|error| Refused::internal(&error))?;
                Ok(Err(replay(road, change, outcome).await?))
            }
        }
    }

    /// Notes what came of the request. When it is not known whether it took effect, neither will repeats know.
    pub(super) async fn finish(
        self,
        change: &Change,
        outcome: &Result<Changed, Refused>,
    ) -> Result<(), Refused> {
        let repeats = self.road.gateway.shared.store.repeats();
        match outcome {
            Ok(Changed::Pending(ticket)) => self.note(&Outcome::Pending(ticket.id.to_string())).await,
            Ok(Changed::Done(results)) => {
                let traces = change.operations.iter().zip(results).map(|(operation, result)| Trace {
                    affected: result.affected,
                    ids: self.ids(operation, result),
                });
                self.note(&Outcome::Done(traces.collect())).await
            }
            Err(refused) if may_have_happened(refused.code) => Ok(()),
            Err(_) => Ok(repeats.abandon(&self.repeat).await?),
        }
    }

    async fn note(&self, outcome: &Outcome) -> Result<(), Refused> {
        let outcome = serde_json::to_string(outcome).map_err(|error| Refused::internal(&error))?;
        Ok(self.road.gateway.shared.store.repeats().finish(&self.repeat, &outcome).await?)
    }

    fn ids(&self, operation: &Operation, result: &OperationResult) -> Option<Vec<Value>> {
        let model = self.road.models().named(operation.model()).ok()?;
        match operation {
            Operation::Update { id, .. } => Some(vec![id.clone()]),
            Operation::BulkUpdate { ids, .. } => Some(ids.clone()),
            Operation::Delete { .. } => Some(Vec::new()),
            Operation::Create { .. } | Operation::BulkCreate { .. } => {
                let fields = model.key()?;
                let keys = result.keys.iter().map(|row| {
                    let parts =
                        fields.iter().map(|field| Some((field.name.to_owned(), row.value(field.name)?)));
                    parts.collect::<Option<serde_json::Map<_, _>>>().map(Value::Object)
                });
                keys.collect()
            }
        }
    }
}

/// What was done is told again, with the rows as they are now.
async fn replay(road: &Road<'_>, change: &Change, outcome: Outcome) -> Result<Changed, Refused> {
    let traces = match outcome {
        Outcome::Done(traces) => traces,
        Outcome::Pending(ticket) => {
            let ticket = road.gateway.get_approval(road.call, &ticket).await?;
            return Ok(Changed::Pending(Box::new(ticket.approval)));
        }
    };
    let mut results = Vec::new();
    for (operation, Trace { affected, ids }) in change.operations.iter().zip(traces) {
        let models = Models::of(&road.snapshot.policy.policy, &road.seat.shape.view);
        let model = models.named(operation.model())?;
        let mut rows = Vec::new();
        let ids = ids.unwrap_or_default();
        if !ids.is_empty() {
            let keys: Vec<Key<'_>> =
                ids.iter().map(|id| write::key_of(model, id)).collect::<Result<_, _>>()?;
            let shown = write::returned(model, operation.return_fields())?;
            let (statement, columns) = write::before(model, &keys)?;
            let ready = road.guard(&road.seat, &statement, None).await?;
            let found = rows::fetched(road.run(&ready).await?, &columns);
            rows = found.iter().map(|fetched| fetched.row.pick(&shown)).collect();
        }
        let (action, model) = (operation.action(), model.name().to_owned());
        results.push(OperationResult { action, model, affected, rows, keys: Vec::new() });
    }
    Ok(Changed::Done(results))
}

/// Whether a change may have taken effect although it was answered with this.
fn may_have_happened(code: Code) -> bool {
    matches!(code, Code::SourceLost | Code::QueryCancelled | Code::QueryTimedOut | Code::Internal)
}
