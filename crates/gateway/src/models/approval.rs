//! Changes that wait for somebody's consent: what a ticket keeps of them, shows of them, and runs.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::BoxFuture;
use ringfence_policy::{Permit, Role};
use ringfence_semantic::ModelView;
use ringfence_semantic::write::{self, Key};
use ringfence_store::approvals::Approval;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::prepare::{Consent, keys_of, permit};
use super::read::no_such_row;
use super::rows::{self, Row};
use super::{Change, Operation};
use crate::approvals::{NewApproval, Operation as Ticket, Operations};
use crate::road::Road;
use crate::{Call, Code, Gateway, Refused};

/// How long a ticket waits when the policy does not say.
const WAITS: Duration = Duration::from_hours(24);

/// Changes of models, for those who approve.
#[derive(Debug, Clone, Copy, Default)]
pub struct ModelOperations;

/// What a ticket keeps.
#[derive(Serialize, Deserialize)]
struct Kept {
    operations: Vec<Operation>,
    reason: Option<String>,
}

/// Who may consent, and for how long it is waited.
struct Terms {
    approvers: Vec<String>,
    expires: Duration,
}

impl Road<'_> {
    /// Makes a ticket of the changes, if one of them needs consent. They are looked at first: what could not be done is
    /// refused now.
    pub(super) async fn ask_for_consent(&self, change: &Change) -> Result<Option<Approval>, Refused> {
        let Some(terms) = self.terms(change)? else { return Ok(None) };
        let seat = self.seat_for(change, Consent::Approved)?;
        for prepared in self.prepare(&seat, change).await? {
            self.touched(prepared.model, prepared.operation).await?;
        }
        let kept = Kept { operations: change.operations.clone(), reason: change.reason.clone() };
        let words = |word: fn(&Operation) -> &str| {
            let words: BTreeSet<&str> = change.operations.iter().map(word).collect();
            words.into_iter().collect::<Vec<_>>().join(", ")
        };
        let new = NewApproval {
            connection: self.connection.key.as_str(),
            model: &words(Operation::model),
            action: &words(|operation| operation.action()),
            operation: serde_json::to_value(&kept).map_err(|error| Refused::internal(&error))?,
            approvers: &terms.approvers,
            expires: terms.expires,
            reason: change.reason.as_deref(),
        };
        let ticket = self.gateway.request_approval(self.call, new).await?;
        self.call.log().set_approval(ticket.id.as_str());
        Ok(Some(ticket))
    }

    /// Of several changes that need consent, who may consent to all, for the shortest of their times.
    fn terms(&self, change: &Change) -> Result<Option<Terms>, Refused> {
        let mut terms: Option<Terms> = None;
        for operation in &change.operations {
            let model = self.models().named(operation.model())?;
            if permit(model, operation) != Permit::Approval {
                continue;
            }
            let writes = &model.entitlement.writes;
            let approvers = if writes.approvers.is_empty() {
                [Role::OrgAdminUser, Role::SuperAdminUser].map(|role| role.name().to_owned()).to_vec()
            } else {
                writes.approvers.clone()
            };
            let expires = writes.approval_expires.unwrap_or(WAITS);
            terms = Some(match terms {
                None => Terms { approvers, expires },
                Some(mut terms) => {
                    terms.approvers.retain(|role| approvers.contains(role));
                    terms.expires = terms.expires.min(expires);
                    terms
                }
            });
        }
        if terms.as_ref().is_some_and(|terms| terms.approvers.is_empty()) {
            return Err(Refused::invalid("nobody may consent to all of these changes: send them one by one"));
        }
        Ok(terms)
    }

    async fn touched_by(&self, operation: &Operation) -> Result<Vec<Row>, Refused> {
        self.touched(self.models().named(operation.model())?, operation).await
    }

    /// The rows that an operation touches, as the one on this road sees them; none of one that adds rows.
    async fn touched(&self, model: ModelView<'_>, operation: &Operation) -> Result<Vec<Row>, Refused> {
        let keys = keys_of(model, operation)?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.rows_of(model, &keys).await?;
        if rows.len() < keys.len() { Err(no_such_row()) } else { Ok(rows) }
    }

    async fn rows_of(&self, model: ModelView<'_>, keys: &[Key<'_>]) -> Result<Vec<Row>, Refused> {
        let (statement, columns) = write::before(model, keys)?;
        let ready = self.guard(&self.seat, &statement, None).await?;
        let result = self.run(&ready).await?;
        Ok(rows::fetched(result, &columns).into_iter().map(|fetched| fetched.row).collect())
    }
}

impl Operations for ModelOperations {
    fn execute<'a>(
        &'a self,
        gateway: &'a Gateway,
        requester: &'a Call,
        operation: Ticket<'a>,
    ) -> BoxFuture<'a, Result<Value, Refused>> {
        Box::pin(async move {
            let Kept { operations, reason } = kept(operation.value)?;
            let change = Change { operations, idempotency_key: None, reason };
            // The view of now decides, as if it were asked for now; consent alone is new.
            let road = Road::open(gateway, requester, operation.connection.as_str()).await?;
            let results = road.change(&change, Consent::Approved).await?;
            serde_json::to_value(json!({ "results": results })).map_err(|error| Refused::internal(&error))
        })
    }

    fn preview<'a>(
        &'a self,
        gateway: &'a Gateway,
        requester: &'a Call,
        viewer: &'a Call,
        operation: Ticket<'a>,
    ) -> BoxFuture<'a, Result<Value, Refused>> {
        Box::pin(async move {
            let Kept { operations, .. } = kept(operation.value)?;
            let key = operation.connection.as_str();
            // Who else decides must not read in a refusal what only the requester may know.
            let told = |refused: Refused| {
                if requester.principal().account() == viewer.principal().account() { refused } else { gone() }
            };
            let road = Road::open(gateway, requester, key).await.map_err(told)?;
            // INVARIANT: who decides sees rows through their own view. Held by the test
            // `test_an_approver_sees_rows_through_their_own_view`.
            let own = Road::open(gateway, viewer, key).await;
            let mut shown = Vec::new();
            for operation in &operations {
                let touched = road.touched_by(operation).await.map_err(told)?.len();
                let rows = match &own {
                    Ok(own) => own.seen(operation).await?,
                    Err(_) => Vec::new(),
                };
                let hidden = touched.saturating_sub(rows.len());
                shown.push(json!({ "operation": operation, "rows": rows, "hidden_rows": hidden }));
            }
            Ok(json!({ "operations": shown }))
        })
    }
}

impl Road<'_> {
    /// Those of the rows that an operation touches which the one on this road sees.
    async fn seen(&self, operation: &Operation) -> Result<Vec<Row>, Refused> {
        let Ok(model) = self.models().named(operation.model()) else { return Ok(Vec::new()) };
        match keys_of(model, operation) {
            Ok(keys) if !keys.is_empty() => self.rows_of(model, &keys).await,
            // Nothing is touched, or its key is hidden.
            Ok(_) | Err(_) => Ok(Vec::new()),
        }
    }
}

fn gone() -> Refused {
    Refused::new(
        Code::NotPermitted,
        "the requester can't do this any more: what it is about is gone, or no longer theirs",
    )
}

fn kept(value: &Value) -> Result<Kept, Refused> {
    serde_json::from_value(value.clone()).map_err(|_| {
        Refused::new(
            Code::NotImplemented,
            "the operation was asked for under another version: ask for it again",
        )
    })
}
