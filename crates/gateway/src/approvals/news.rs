//! What is told of a ticket that changed: who and when, and no value of anybody's data.

use ringfence_store::approvals::Approval;
use serde::Serialize;

/// A ticket that changed, as it is now. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ApprovalNews {
    pub id: String,
    pub state: &'static str,
    pub model: String,
    pub action: String,
    pub org: String,
    pub tenant: String,
    pub requester: String,
    pub approver: Option<String>,
    pub created_at: i64,
    pub expires_at: i64,
    pub decided_at: Option<i64>,
    pub executed_at: Option<i64>,
    /// The public code, when it failed.
    pub failure: Option<String>,
}

impl ApprovalNews {
    pub(super) fn of(approval: &Approval) -> Self {
        let Approval { id, request, state, created_at, decided_at, executed_at, decision, failure, .. } =
            approval;
        Self {
            id: id.to_string(),
            state: state.name(),
            model: request.model.clone(),
            action: request.action.clone(),
            org: request.org.to_string(),
            tenant: request.tenant.to_string(),
            requester: request.requester.to_string(),
            approver: decision.as_ref().map(|decision| decision.approver.to_string()),
            created_at: *created_at,
            expires_at: request.expires_at,
            decided_at: *decided_at,
            executed_at: *executed_at,
            failure: failure.clone(),
        }
    }
}
