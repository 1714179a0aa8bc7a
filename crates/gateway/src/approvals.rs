//! Approvals: an operation that needs somebody's consent waits as a ticket, and runs once when it has it.
//!
//! Reading order: `operations` is what those who make tickets provide, `requester` makes the requester's principal again,
//! `execution` runs what was approved and looks after tickets that were left behind, `news` tells of changes.

mod execution;
mod news;
mod operations;
mod requester;

use std::sync::Arc;
use std::time::Duration;

use ringfence_policy::{Permission, Principal};
use ringfence_store::approvals::{
    Approval, ApprovalFilter, ApprovalId, ApprovalRequest, ApprovalState, Decision, Step,
};
use serde_json::Value;
use tokio::sync::broadcast;

use crate::call::now_ms;
use crate::connections::address_of;
use crate::{Call, Code, Gateway, Refused};

pub(crate) use execution::start;
pub use news::ApprovalNews;
pub use operations::{NoOperations, Operation, Operations};

/// Tickets of one requester that may wait at once.
const MOST_PENDING: u64 = 100;
/// Bytes of an operation as JSON.
const MAX_OPERATION_BYTES: usize = 1024 * 1024;
/// Bytes of a reason.
const MAX_REASON_BYTES: usize = 1000;
/// Tickets on one page.
const MAX_PAGE: u32 = 200;
/// How many changes somebody who listens may fall behind.
const NEWS_BACKLOG: usize = 1024;

/// What the gateway keeps for approvals.
pub(crate) struct Desk {
    operations: Arc<dyn Operations>,
    news: broadcast::Sender<ApprovalNews>,
}

/// An operation that needs consent, as the policy and the caller describe it.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct NewApproval<'a> {
    /// One of the caller's connections.
    pub connection: &'a str,
    pub model: &'a str,
    /// `create`, `update`, `delete`, ...
    pub action: &'a str,
    /// Kept sealed, and handed to [`Operations`] as it is.
    pub operation: Value,
    /// Names of roles, product or data roles, of which one is needed to decide.
    pub approvers: &'a [String],
    pub expires: Duration,
    pub reason: Option<&'a str>,
}

/// As whom somebody looks at tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Side {
    /// Those that the caller may decide.
    #[default]
    Approver,
    /// Those that the caller asked for.
    Requester,
}

/// Which page of which tickets.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ApprovalLookup {
    pub side: Side,
    pub state: Option<ApprovalState>,
    /// The last ticket of the page before.
    pub after: Option<String>,
    pub limit: u32,
}

/// A ticket, and what it would do.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ApprovalDetail {
    pub approval: Approval,
    /// What it would do now, while it waits; or why that can't be said.
    pub preview: Option<Result<Value, Refused>>,
}

impl Desk {
    pub(crate) fn new(operations: Arc<dyn Operations>) -> Self {
        Self { operations, news: broadcast::Sender::new(NEWS_BACKLOG) }
    }
}

impl Gateway {
    /// Makes a ticket for an operation of the caller's.
    pub async fn request_approval(&self, call: &Call, new: NewApproval<'_>) -> Result<Approval, Refused> {
        call.log.set_action("request-approval");
        call.log.set_reason(new.reason);
        check_reason(new.reason)?;
        // Their principal is made of a token, which is gone by the time somebody decides.
        if call.principal.application.is_some() {
            return Err(Refused::new(
                Code::NotPermitted,
                "an approval is asked for, and given, by users with an account of their own, not by those of an application",
            ));
        }
        if new.approvers.is_empty() {
            return Err(Refused::new(
                Code::PolicyUnusable,
                "the policy wants an approval and names nobody who could give it: tell an administrator",
            ));
        }
        if serde_json::to_vec(&new.operation).map_or(usize::MAX, |json| json.len()) > MAX_OPERATION_BYTES {
            let limit = MAX_OPERATION_BYTES;
            return Err(Refused::invalid(format!(
                "the operation is too large: at most {limit} bytes of JSON"
            )));
        }
        let connection = self.connection_of(call, new.connection).await?;
        let place = self.place_of(&call.principal.org, &address_of(&connection, &call.principal.org)?)?;
        let place = place.ok_or_else(|| Refused::invalid("a pushed catalog has no rows to change"))?.place;
        let now = now_ms();
        let mine = ApprovalFilter { state: Some(ApprovalState::Pending), ..own_tickets(&call.principal) };
        if self.shared.store.approvals().count(&mine, now).await? >= MOST_PENDING {
            return Err(Refused::new(
                Code::RateLimited,
                format!("{MOST_PENDING} operations of yours wait for approval: withdraw some, or wait"),
            ));
        }
        let principal = &*call.principal;
        let request = ApprovalRequest {
            org: principal.org.clone(),
            tenant: principal.tenant.clone(),
            account: principal.account().clone(),
            requester: principal.user.clone(),
            presenter: principal.authenticated_user().clone(),
            principal: requester::remembered(principal)?,
            place,
            connection: connection.key,
            model: new.model.to_owned(),
            action: new.action.to_owned(),
            operation: new.operation,
            approvers: new.approvers.to_vec(),
            reason: new.reason.map(str::to_owned),
            expires_at: now.saturating_add(i64::try_from(new.expires.as_millis()).unwrap_or(i64::MAX)),
        };
        let id = ApprovalId::generate();
        call.log.set_object(id.as_str());
        self.shared.store.approvals().create(&id, &request, now).await?;
        self.tell_of(&id).await
    }

    /// A page of tickets, the newest first; the id to go on after, when there are more.
    pub async fn list_approvals(
        &self,
        call: &Call,
        lookup: &ApprovalLookup,
    ) -> Result<(Vec<Approval>, Option<ApprovalId>), Refused> {
        call.log.set_action("list-approvals");
        let mut filter = match lookup.side {
            Side::Requester => own_tickets(&call.principal),
            Side::Approver => deciding_tickets(&call.principal),
        };
        filter.state = lookup.state;
        if let Some(after) = &lookup.after {
            // What is no id stands nowhere in any list.
            let Ok(after) = after.parse() else { return Ok((Vec::new(), None)) };
            filter.before = Some(after);
        }
        let limit = lookup.limit.clamp(1, MAX_PAGE);
        // One more than asked for tells whether there is a next page.
        let mut found = self.shared.store.approvals().list(&filter, now_ms(), limit + 1).await?;
        let page = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = found.len() > page;
        found.truncate(page);
        let next = found.last().filter(|_| has_more).map(|last| last.id.clone());
        call.log.set_rows(found.len() as u64);
        Ok((found.into_iter().map(|approval| shown_to(&call.principal, approval)).collect(), next))
    }

    /// A ticket of the caller's, or one that the caller may decide, with what it would do.
    pub async fn get_approval(&self, call: &Call, id: &str) -> Result<ApprovalDetail, Refused> {
        call.log.set_action("get-approval");
        call.log.set_object(id);
        let approval = self.visible(call, id).await?;
        let preview = match approval.state {
            ApprovalState::Pending => Some(self.preview(call, &approval).await),
            _ => None,
        };
        Ok(ApprovalDetail { approval: shown_to(&call.principal, approval), preview })
    }

    /// Consents, and runs the operation as its requester. Answers the ticket as the run left it; when it failed, the ticket
    /// says why. Who stops waiting does not stop the run.
    pub async fn approve(&self, call: &Call, id: &str, reason: Option<&str>) -> Result<Approval, Refused> {
        call.log.set_action("approve-operation");
        let id = self.decide(call, id, reason, true).await?;
        let (gateway, running) = (self.clone(), id.clone());
        let run = tokio::spawn(async move { gateway.run_approved(&running).await });
        match run.await {
            Ok(ran) => ran?,
            // Whether it took effect is not known: the ticket says so when its time is over.
            Err(died) => return Err(Refused::internal(&died)),
        }
        Ok(shown_to(&call.principal, self.now(&id).await?))
    }

    /// Refuses consent.
    pub async fn reject(&self, call: &Call, id: &str, reason: Option<&str>) -> Result<Approval, Refused> {
        call.log.set_action("reject-operation");
        let id = self.decide(call, id, reason, false).await?;
        self.now(&id).await
    }

    /// Takes back what the caller asked for, while nobody has decided.
    pub async fn withdraw_approval(&self, call: &Call, id: &str) -> Result<Approval, Refused> {
        call.log.set_action("withdraw-approval");
        call.log.set_object(id);
        let approval = self.visible(call, id).await?;
        if !asked_for(&call.principal, &approval) {
            return Err(Refused::new(
                Code::NotPermitted,
                "only who asked for an operation withdraws it: reject it instead",
            ));
        }
        if !self.shared.store.approvals().step(&approval.id, &Step::Withdraw, now_ms()).await? {
            return Err(self.too_late(&approval.id).await);
        }
        self.tell_of(&approval.id).await
    }

    /// News of tickets that change on this node.
    pub fn approval_news(&self) -> broadcast::Receiver<ApprovalNews> {
        self.shared.approvals.news.subscribe()
    }

    // INVARIANT: nobody decides what they asked for, under whatever name they come, and nobody outside of their reach. Held by
    // the tests `a_requester_never_decides` and `approvers_reach_their_own_alone`.
    async fn decide(
        &self,
        call: &Call,
        id: &str,
        reason: Option<&str>,
        consents: bool,
    ) -> Result<ApprovalId, Refused> {
        call.log.set_object(id);
        call.log.set_reason(reason);
        check_reason(reason)?;
        let approval = self.visible(call, id).await?;
        if !may_decide(&call.principal, &approval) {
            return Err(Refused::new(
                Code::NotPermitted,
                "nobody decides about an operation that they asked for themselves: another approver has to",
            ));
        }
        call.log.set_approval(approval.id.as_str());
        // A decision that could leave no record is not made.
        self.shared.audit.ready().await?;
        let decision = Decision {
            approver: call.principal.user.clone(),
            presenter: call.principal.authenticated_user().clone(),
            reason: reason.map(str::to_owned),
        };
        let step = if consents { Step::Approve(&decision) } else { Step::Reject(&decision) };
        if !self.shared.store.approvals().step(&approval.id, &step, now_ms()).await? {
            return Err(self.too_late(&approval.id).await);
        }
        self.tell_of(&approval.id).await?;
        Ok(approval.id)
    }

    /// The ticket, if it is the caller's business.
    async fn visible(&self, call: &Call, id: &str) -> Result<Approval, Refused> {
        let missing = || Refused::not_found("approval");
        let id: ApprovalId = id.parse().map_err(|_| missing())?;
        let approval = self.shared.store.approvals().get(&id, now_ms()).await?.ok_or_else(missing)?;
        let sees = asked_for(&call.principal, &approval) || may_decide(&call.principal, &approval);
        if sees { Ok(approval) } else { Err(missing()) }
    }

    /// The ticket as it is now.
    async fn now(&self, id: &ApprovalId) -> Result<Approval, Refused> {
        let found = self.shared.store.approvals().get(id, now_ms()).await?;
        found.ok_or_else(|| Refused::not_found("approval"))
    }

    /// Tells of a change, and answers the ticket.
    async fn tell_of(&self, id: &ApprovalId) -> Result<Approval, Refused> {
        let approval = self.now(id).await?;
        // Nobody listening is no error.
        let _ = self.shared.approvals.news.send(ApprovalNews::of(&approval));
        Ok(approval)
    }

    /// Why a step was not made.
    async fn too_late(&self, id: &ApprovalId) -> Refused {
        match self.now(id).await {
            Ok(approval) => Refused::new(
                Code::Conflict,
                format!("nothing can be decided any more: the operation is {}", approval.state.name()),
            ),
            Err(refused) => refused,
        }
    }
}

/// The caller's own.
fn own_tickets(principal: &Principal) -> ApprovalFilter {
    ApprovalFilter {
        org: Some(principal.org.clone()),
        tenant: Some(principal.tenant.clone()),
        requester: Some((principal.account().clone(), principal.user.clone())),
        ..ApprovalFilter::default()
    }
}

/// Those that the caller may decide: what [`may_decide`] says of one.
fn deciding_tickets(principal: &Principal) -> ApprovalFilter {
    ApprovalFilter {
        org: Some(principal.org.clone()),
        tenant: (!reaches_all_tenants(principal)).then(|| principal.tenant.clone()),
        roles: Some(deciding_roles(principal)),
        not_by: vec![principal.user.clone(), principal.authenticated_user().clone()],
        ..ApprovalFilter::default()
    }
}

fn asked_for(principal: &Principal, approval: &Approval) -> bool {
    let request = &approval.request;
    (&request.org, &request.tenant) == (&principal.org, &principal.tenant)
        && request.requester == principal.user
        && request.account == *principal.account()
}

// INVARIANT: what came of an operation has rows in it as its requester sees them, and who decides may see less. Held by the test
// `what_is_approved_runs_as_its_requester`.
fn shown_to(principal: &Principal, mut approval: Approval) -> Approval {
    if !asked_for(principal, &approval) {
        approval.outcome = None;
    }
    approval
}

/// Whether the principal has a role for it, in its reach, and had no part in asking for it: not under its own name, and not
/// under another's that the same person or application came with.
fn may_decide(principal: &Principal, approval: &Approval) -> bool {
    let request = &approval.request;
    let in_reach = request.org == principal.org
        && (request.tenant == principal.tenant || reaches_all_tenants(principal));
    let has_role = role_names(principal).any(|role| request.approvers.iter().any(|needed| needed == role));
    // The application alone says who its users are and what they may.
    let is_person = principal.application.is_none();
    let deciding = [&principal.user, principal.authenticated_user()];
    let asking = [&request.requester, &request.presenter, &request.account];
    is_person && in_reach && has_role && !deciding.iter().any(|user| asking.contains(user))
}

/// Of the organization.
fn reaches_all_tenants(principal: &Principal) -> bool {
    principal.may(Permission::ReadTenant)
}

/// As [`may_decide`] has it, none for who decides nothing.
fn deciding_roles(principal: &Principal) -> Vec<String> {
    if principal.application.is_some() {
        return Vec::new();
    }
    role_names(principal).map(str::to_owned).collect()
}

fn role_names(principal: &Principal) -> impl Iterator<Item = &str> {
    let product = principal.roles.iter().map(|role| role.name());
    product.chain(principal.data_roles.iter().map(String::as_str))
}

fn check_reason(reason: Option<&str>) -> Result<(), Refused> {
    if reason.is_some_and(|reason| reason.len() > MAX_REASON_BYTES) {
        return Err(Refused::invalid(format!("a reason has at most {MAX_REASON_BYTES} bytes")));
    }
    Ok(())
}
