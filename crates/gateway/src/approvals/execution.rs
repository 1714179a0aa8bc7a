//! Runs what was approved, once, and looks after tickets that were left behind.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ringfence_policy::TraceId;
use ringfence_store::approvals::{Approval, ApprovalId, Step};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::operations::Operation;
use crate::call::now_ms;
use crate::connections::address_of;
use crate::{Call, CallLog, Code, Decision, Door, Gateway, Refused, Shared};

/// How long a run counts as alive after it last said so.
const ALIVE: Duration = Duration::from_mins(2);
/// How often it says so.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// How often tickets are looked after.
const UPKEEP_EVERY: Duration = Duration::from_secs(15);
/// How long a ticket that was approved is left to the node where it was.
const TAKEN_UP_AFTER: Duration = Duration::from_secs(30);
/// How often the end of a run is written before it is given up.
const ATTEMPTS: u32 = 5;
/// What failed when nobody knows whether it took effect: its node died, or could not write down how it ended.
const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";

/// Looks after tickets until the gateway stops.
pub(crate) fn start(gateway: &Gateway) {
    if gateway.shared.config.indexing_at_once == 0 {
        // One of the command line, which ends in a moment: what is left behind is the server's to run.
        return;
    }
    let stopped = gateway.shared.stopped.clone();
    // A weak hold: a gateway that nobody has any more looks after nothing.
    tokio::spawn(stopped.run_until_cancelled_owned(look_after(Arc::downgrade(&gateway.shared))));
}

async fn look_after(shared: Weak<Shared>) {
    let mut ticks = interval(UPKEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        if let Err(refused) = (Gateway { shared }).settle_approvals().await {
            tracing::warn!(error = %refused, "approvals can't be looked after: tried again soon");
        }
    }
}

impl Gateway {
    /// Writes down what expired, ends runs whose node died, and runs what was approved on a node that died before it began.
    /// Called now and then by itself.
    pub async fn settle_approvals(&self) -> Result<(), Refused> {
        let (approvals, now) = (self.shared.store.approvals(), now_ms());
        for id in approvals.expire(now).await? {
            self.record_end(&id, "expire-approval").await;
        }
        for id in approvals.bury(now, OUTCOME_UNKNOWN).await? {
            tracing::error!(approval.id = %id, "an approved operation ended with its node: whether it took effect is not known");
            self.record_end(&id, "bury-approval").await;
        }
        for id in approvals.left_behind(now.saturating_sub(milliseconds(TAKEN_UP_AFTER))).await? {
            self.run_approved(&id).await?;
        }
        Ok(())
    }

    /// Runs an approved ticket, unless somebody else does or did.
    //
    // INVARIANT: `execute` is called after the one step from approved to running, which the store makes once. A run that dies is
    // never begun again. Held by the tests `two_nodes_run_a_ticket_once` and `a_dead_run_is_not_repeated`.
    pub(super) async fn run_approved(&self, id: &ApprovalId) -> Result<(), Refused> {
        // What could leave no record is not begun.
        self.shared.audit.ready().await?;
        let runner = hex::encode(rand::random::<[u8; 16]>());
        let begin = Step::Start { runner: &runner, until: until() };
        if !self.shared.store.approvals().step(id, &begin, now_ms()).await? {
            return Ok(());
        }
        let approval = self.tell_of(id).await?;
        let log = self.own_log("execute-approval", &approval)?;
        let ended = tokio::select! {
            ended = self.run_as_requester(&approval, &log) => ended,
            never = self.keep_alive(id, &runner) => match never {},
        };
        let (failure, outcome) = match &ended {
            Ok(outcome) => (None, outcome.clone()),
            Err(refused) => (Some(refused.code.row().name), json!({"message": refused.message})),
        };
        let end = Step::Finish { runner: &runner, failure, outcome: &outcome };
        let written = self.write_end(id, &end).await;
        let decision = ended.map_or_else(|refused| Decision::Refused(refused.code), |_| Decision::Allowed);
        // It is done, whether or not its record is durable yet; the record stays in line.
        let recorded = log.finish(decision).await;
        written?;
        recorded?;
        self.tell_of(id).await.map(drop)
    }

    /// What the ticket would do, as its requester, for somebody who looks at it.
    pub(super) async fn preview(&self, viewer: &Call, approval: &Approval) -> Result<Value, Refused> {
        let log = self.own_log("preview-approval", approval)?;
        let operations = Arc::clone(&self.shared.approvals.operations);
        let shown = async {
            let requester = self.as_requester(approval, &log).await?;
            operations.preview(self, &requester, viewer, operation(approval)).await
        };
        let shown = shown.await;
        let decision =
            shown.as_ref().map_or_else(|refused| Decision::Refused(refused.code), |_| Decision::Allowed);
        log.finish(decision).await?;
        shown
    }

    async fn run_as_requester(&self, approval: &Approval, log: &Arc<CallLog>) -> Result<Value, Refused> {
        let operations = Arc::clone(&self.shared.approvals.operations);
        let requester = self.as_requester(approval, log).await?;
        operations.execute(self, &requester, operation(approval)).await
    }

    /// The requester's call, if the connection still leads where it led.
    async fn as_requester(&self, approval: &Approval, log: &Arc<CallLog>) -> Result<Call, Refused> {
        let call = self.requester_call(approval, Arc::clone(log)).await?;
        let connection = self.connection_of(&call, approval.request.connection.as_str()).await?;
        let place = self.place_of(&call.principal.org, &address_of(&connection, &call.principal.org)?)?;
        if place.is_none_or(|place| place.place != approval.request.place) {
            return Err(Refused::new(
                Code::NotPermitted,
                "the connection leads elsewhere since the operation was asked for: it has to be asked for again",
            ));
        }
        Ok(call)
    }

    /// Says again and again that the run goes on.
    async fn keep_alive(&self, id: &ApprovalId, runner: &str) -> std::convert::Infallible {
        loop {
            sleep(HEARTBEAT).await;
            let keep = Step::Keep { runner, until: until() };
            if let Err(error) = self.shared.store.approvals().step(id, &keep, now_ms()).await {
                tracing::warn!(%error, approval.id = %id, "that an operation still runs can't be written down");
            }
        }
    }

    async fn write_end(&self, id: &ApprovalId, end: &Step<'_>) -> Result<(), Refused> {
        let mut pause = Duration::from_millis(50);
        for attempt in 1..=ATTEMPTS {
            match self.shared.store.approvals().step(id, end, now_ms()).await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    tracing::error!(approval.id = %id, "an operation ended after it was given up, or its ticket is gone");
                    return Ok(());
                }
                Err(error) if attempt == ATTEMPTS => return Err(error.into()),
                Err(_) => sleep(pause).await,
            }
            pause *= 4;
        }
        Ok(())
    }

    /// Tells of a ticket that ended without anybody's doing, and leaves a record of it.
    async fn record_end(&self, id: &ApprovalId, action: &'static str) {
        match self.tell_of(id).await {
            Ok(approval) => {
                if let Ok(log) = self.own_log(action, &approval) {
                    // The record stays in line also when it is not durable yet.
                    let _ = log.finish(Decision::Allowed).await;
                }
            }
            Err(refused) => tracing::warn!(error = %refused, approval.id = %id, "an approval can't be read"),
        }
    }

    /// The record of what the gateway does on behalf of a ticket.
    fn own_log(&self, action: &'static str, approval: &Approval) -> Result<Arc<CallLog>, Refused> {
        let trace = TraceId::new(&hex::encode(rand::random::<[u8; 16]>()))?;
        let log = self.begin(Door::Own, action, trace);
        log.set_action(action);
        log.set_object(approval.id.as_str());
        log.set_approval(approval.id.as_str());
        log.set_connection(approval.request.connection.as_str());
        log.set_reason(approval.request.reason.as_deref());
        Ok(log)
    }
}

fn operation(approval: &Approval) -> Operation<'_> {
    let request = &approval.request;
    Operation {
        connection: &request.connection,
        model: &request.model,
        action: &request.action,
        value: &request.operation,
    }
}

fn until() -> i64 {
    now_ms().saturating_add(milliseconds(ALIVE))
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
