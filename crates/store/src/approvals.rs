//! Approvals: operations that wait for somebody's consent, and run once when they have it.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use ringfence_policy::{ConnectionKey, OrgId, TenantId, UserId};
use serde_json::Value as Json;

use crate::database::{Row, Value, params, to_json, transact};
use crate::sealing::{Sealer, approval_places, sealer};
use crate::{Store, StoreError};

/// What a ticket is known by: 160 random bits as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ApprovalId(String);

/// Where a ticket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApprovalState {
    /// Nobody has decided.
    Pending,
    /// Somebody consented; it has not begun to run.
    Approved,
    /// Somebody refused.
    Rejected,
    /// It runs.
    Running,
    /// It ran, and took effect.
    Executed,
    /// It ran and had no effect, or nobody knows.
    Failed,
    /// Nobody decided in time.
    Expired,
    /// The requester took it back.
    Withdrawn,
}

/// A ticket.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Approval {
    pub id: ApprovalId,
    pub request: ApprovalRequest,
    pub state: ApprovalState,
    /// Milliseconds since the epoch, as all times here.
    pub created_at: i64,
    pub decided_at: Option<i64>,
    pub executed_at: Option<i64>,
    pub decision: Option<Decision>,
    /// The public code of what went wrong.
    pub failure: Option<String>,
    pub outcome: Option<Json>,
}

/// What is asked for, and by whom.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ApprovalRequest {
    pub org: OrgId,
    pub tenant: TenantId,
    /// Whose the ticket is in the store: it goes when the account goes.
    pub account: UserId,
    /// As whom the operation runs.
    pub requester: UserId,
    /// Who presented the credentials.
    pub presenter: UserId,
    /// What is needed to make the requester's principal again.
    pub principal: Json,
    /// The data source.
    pub place: String,
    pub connection: ConnectionKey,
    pub model: String,
    pub action: String,
    pub operation: Json,
    /// Roles of which one is needed to decide.
    pub approvers: Vec<String>,
    pub reason: Option<String>,
    pub expires_at: i64,
}

/// Who decided.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Decision {
    pub approver: UserId,
    /// Who presented the credentials.
    pub presenter: UserId,
    pub reason: Option<String>,
}

/// One step of a ticket. Each is a comparison and a change in one: it is made from the states that it may be made from, or
/// not at all.
//
// INVARIANT: a ticket begins to run once, whatever nodes race and whichever of them dies. Held by the contract tests
// `a_ticket_runs_once` and `a_run_whose_node_died_is_not_repeated`.
#[derive(Debug, Clone)]
pub enum Step<'a> {
    /// From pending, in time.
    Approve(&'a Decision),
    /// From pending, in time.
    Reject(&'a Decision),
    /// From pending.
    Withdraw,
    /// From approved. `runner` names this one run, `until` when it counts as dead unless it is kept.
    #[expect(missing_docs, reason = "said above")]
    Start { runner: &'a str, until: i64 },
    /// The run goes on.
    #[expect(missing_docs, reason = "as for the start")]
    Keep { runner: &'a str, until: i64 },
    /// From running, by that run alone. With a code it failed.
    #[expect(missing_docs, reason = "said above")]
    Finish { runner: &'a str, failure: Option<&'a str>, outcome: &'a Json },
}

/// Which tickets; all given conditions hold together.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ApprovalFilter {
    pub org: Option<OrgId>,
    pub tenant: Option<TenantId>,
    /// The account and the one who asked.
    pub requester: Option<(UserId, UserId)>,
    /// Those that one of these roles may decide.
    pub roles: Option<Vec<String>>,
    /// Not those that one of these asked for, or presented.
    pub not_by: Vec<UserId>,
    pub state: Option<ApprovalState>,
    /// Those made before this one, of the same organization.
    pub before: Option<ApprovalId>,
}

/// The repository of approvals.
pub struct Approvals<'a>(pub(crate) &'a Store);

impl Approvals<'_> {
    /// Adds a pending ticket.
    pub async fn create(
        &self,
        id: &ApprovalId,
        request: &ApprovalRequest,
        now: i64,
    ) -> Result<(), StoreError> {
        let (principal, operation) = (to_json(&request.principal)?, to_json(&request.operation)?);
        transact!(self.0.inner.database, tx => {
            let sealer = sealer(tx, &self.0.inner.keyring).await?;
            let [principal_place, operation_place, _] = approval_places(request.org.as_str(), id.as_str());
            let insert = "INSERT INTO approvals (id, org_id, tenant_id, account, requester, presenter, principal, place, \
                          connection_key, model, action, operation, reason, state, created_at, expires_at, \
                          approver_roles) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'pending', $14, $15, $16)";
            let mut roles = request.approvers.clone();
            roles.sort();
            roles.dedup();
            let values = params![
                id.as_str(), &request.org, &request.tenant, &request.account, &request.requester,
                &request.presenter, sealer.seal(&principal_place, principal.as_bytes())?, &request.place,
                &request.connection, &request.model, &request.action,
                sealer.seal(&operation_place, operation.as_bytes())?, request.reason.as_ref(), now,
                request.expires_at, to_json(&roles)?
            ];
            tx.execute(insert, values).await.map_err(|failure| failure.on_insert("approval", "user"))?;
            for role in &roles {
                let insert = "INSERT INTO approval_roles (approval, role) VALUES ($1, $2)";
                tx.execute(insert, params![id.as_str(), role]).await?;
            }
        })
    }

    /// The one with that id, as it stands at that time.
    pub async fn get(&self, id: &ApprovalId, now: i64) -> Result<Option<Approval>, StoreError> {
        let select = format!("{} WHERE a.id = $2", select());
        let rows = self.0.inner.database.query(&select, params![now, id.as_str()]).await?;
        rows.first().map(|row| self.read(row)).transpose()
    }

    /// Those that match, the newest first, as they stand at that time.
    pub async fn list(
        &self,
        filter: &ApprovalFilter,
        now: i64,
        limit: u32,
    ) -> Result<Vec<Approval>, StoreError> {
        let (conditions, values) = conditions(filter, now);
        let select = format!("{} WHERE 1 = 1{conditions} ORDER BY a.ordinal DESC LIMIT {limit}", select());
        self.0.inner.database.query(&select, values).await?.iter().map(|row| self.read(row)).collect()
    }

    /// How many match.
    pub async fn count(&self, filter: &ApprovalFilter, now: i64) -> Result<u64, StoreError> {
        let (conditions, values) = conditions(filter, now);
        // The time is a parameter whether or not a condition asks for it.
        let always = "(a.created_at >= $1 OR a.created_at < $1)";
        let count = format!("SELECT COUNT(*) FROM approvals a WHERE {always}{conditions}");
        let rows = self.0.inner.database.query(&count, values).await?;
        let counted = rows.first().map_or(Ok(0), |row| row.integer(0))?;
        Ok(u64::try_from(counted).unwrap_or(0))
    }

    /// Makes the step, if the ticket stands where it is made from; `false` when it does not.
    pub async fn step(&self, id: &ApprovalId, step: &Step<'_>, now: i64) -> Result<bool, StoreError> {
        transact!(self.0.inner.database, tx => {
            let (update, values) = match step {
                Step::Approve(decision) => decide(id, "approved", decision, now),
                Step::Reject(decision) => decide(id, "rejected", decision, now),
                Step::Withdraw => (
                    "UPDATE approvals SET state = 'withdrawn', decided_at = $2 \
                     WHERE id = $1 AND state = 'pending' AND expires_at > $2",
                    params![id.as_str(), now],
                ),
                Step::Start { runner, until } => (
                    "UPDATE approvals SET state = 'running', runner = $2, runs_until = $3 \
                     WHERE id = $1 AND state = 'approved'",
                    params![id.as_str(), *runner, *until],
                ),
                Step::Keep { runner, until } => (
                    "UPDATE approvals SET runs_until = $3 WHERE id = $1 AND state = 'running' AND runner = $2",
                    params![id.as_str(), *runner, *until],
                ),
                Step::Finish { runner, failure, outcome } => {
                    let org = "SELECT org_id FROM approvals WHERE id = $1";
                    let rows = tx.query(org, params![id.as_str()]).await?;
                    let Some(row) = rows.first() else { return Ok(false) };
                    let sealed = seal_outcome(&sealer(tx, &self.0.inner.keyring).await?, row.text(0)?, id, outcome)?;
                    let state = if failure.is_some() { "failed" } else { "executed" };
                    (
                        "UPDATE approvals SET state = $3, failure = $4, outcome = $5, executed_at = $6, \
                         runner = NULL, runs_until = NULL WHERE id = $1 AND state = 'running' AND runner = $2",
                        params![id.as_str(), *runner, state, *failure, sealed, now],
                    )
                }
            };
            tx.execute(update, values).await? == 1
        })
    }

    /// Writes down which tickets nobody decided in time, and answers them.
    pub async fn expire(&self, now: i64) -> Result<Vec<ApprovalId>, StoreError> {
        let update = "UPDATE approvals SET state = 'expired', decided_at = expires_at \
                      WHERE state = 'pending' AND expires_at <= $1 RETURNING id";
        self.sweep(update, params![now]).await
    }

    /// Ends the runs that nobody keeps any more, as failed with that code: whether they took effect is not known, and they
    /// are not run again. Answers them.
    pub async fn bury(&self, now: i64, failure: &str) -> Result<Vec<ApprovalId>, StoreError> {
        let update = "UPDATE approvals SET state = 'failed', failure = $2, executed_at = $1, runner = NULL, \
                      runs_until = NULL WHERE state = 'running' AND runs_until <= $1 RETURNING id";
        self.sweep(update, params![now, failure]).await
    }

    /// Tickets that were approved before that time and have not begun to run: their approver's node died in between.
    pub async fn left_behind(&self, before: i64) -> Result<Vec<ApprovalId>, StoreError> {
        let select = "SELECT id FROM approvals WHERE state = 'approved' AND decided_at < $1 ORDER BY ordinal LIMIT 100";
        let rows = self.0.inner.database.query(select, params![before]).await?;
        rows.iter().map(|row| row.id(0)).collect()
    }

    async fn sweep(&self, update: &str, values: Vec<Value>) -> Result<Vec<ApprovalId>, StoreError> {
        transact!(self.0.inner.database, tx => {
            let rows = tx.query(update, values.clone()).await?;
            rows.iter().map(|row| row.id(0)).collect::<Result<Vec<_>, _>>()?
        })
    }

    fn read(&self, row: &Row) -> Result<Approval, StoreError> {
        let id: ApprovalId = row.id(0)?;
        let org: OrgId = row.id(1)?;
        let [principal, operation, outcome] = approval_places(org.as_str(), id.as_str());
        let approver: Option<UserId> = row.optional_id(18)?;
        let decision = match (approver, row.optional_id(19)?) {
            (Some(approver), Some(presenter)) => {
                let reason = row.optional_text(20)?.map(str::to_owned);
                Some(Decision { approver, presenter, reason })
            }
            _ => None,
        };
        let outcome = row.optional_blob(22)?.map(|sealed| self.unseal(&outcome, sealed)).transpose()?;
        let request = ApprovalRequest {
            org: org.clone(),
            tenant: row.id(2)?,
            account: row.id(3)?,
            requester: row.id(4)?,
            presenter: row.id(5)?,
            principal: self.unseal(&principal, row.blob(6)?)?,
            place: row.text(7)?.to_owned(),
            connection: row.id(8)?,
            model: row.text(9)?.to_owned(),
            action: row.text(10)?.to_owned(),
            operation: self.unseal(&operation, row.blob(11)?)?,
            reason: row.optional_text(12)?.map(str::to_owned),
            expires_at: row.integer(15)?,
            approvers: row.json(23)?,
        };
        Ok(Approval {
            id,
            request,
            state: row.id(13)?,
            created_at: row.integer(14)?,
            decided_at: row.optional_integer(16)?,
            executed_at: row.optional_integer(17)?,
            decision,
            failure: row.optional_text(21)?.map(str::to_owned),
            outcome,
        })
    }

    fn unseal(&self, place: &[&str], sealed: &[u8]) -> Result<Json, StoreError> {
        let text = self.0.inner.keyring.unseal(place, sealed)?;
        serde_json::from_slice(&text)
            .map_err(|_| StoreError::Corrupt("a sealed part of an approval is not JSON".to_owned()))
    }
}

/// A pending ticket whose time is over is expired, whoever writes that down and when.
const STATE: &str = "CASE WHEN a.state = 'pending' AND a.expires_at <= $1 THEN 'expired' ELSE a.state END";

fn select() -> String {
    format!(
        "SELECT a.id, a.org_id, a.tenant_id, a.account, a.requester, a.presenter, a.principal, a.place, \
         a.connection_key, a.model, a.action, a.operation, a.reason, {STATE}, a.created_at, a.expires_at, \
         a.decided_at, a.executed_at, a.approver, a.approver_presenter, a.decision_reason, a.failure, a.outcome, \
         a.approver_roles FROM approvals a"
    )
}

fn conditions(filter: &ApprovalFilter, now: i64) -> (String, Vec<Value>) {
    let (mut text, mut values) = (String::new(), params![now]);
    let mut and = |condition: &str, value: Value| {
        values.push(value);
        let number = format!("${}", values.len());
        let _ = write!(text, " AND {}", condition.replace('?', &number));
    };
    let ApprovalFilter { org, tenant, requester, roles, not_by, state, before } = filter;
    if let Some(org) = org {
        and("a.org_id = ?", org.into());
    }
    if let Some(tenant) = tenant {
        and("a.tenant_id = ?", tenant.into());
    }
    if let Some((account, requester)) = requester {
        and("a.account = ?", account.into());
        and("a.requester = ?", requester.into());
    }
    for user in not_by {
        and("a.requester <> ?", user.into());
        and("a.presenter <> ?", user.into());
        and("a.account <> ?", user.into());
    }
    if let Some(state) = state {
        and(&format!("{STATE} = ?"), state.name().into());
    }
    if let Some(before) = before {
        and(
            "a.ordinal < (SELECT b.ordinal FROM approvals b WHERE b.id = ? AND b.org_id = a.org_id)",
            before.as_str().into(),
        );
    }
    if let Some(roles) = roles {
        let mut places = Vec::new();
        for role in roles {
            values.push(role.into());
            places.push(format!("${}", values.len()));
        }
        // Nobody has a role without a name.
        let among = if places.is_empty() { "''".to_owned() } else { places.join(", ") };
        let _ = write!(
            text,
            " AND EXISTS (SELECT 1 FROM approval_roles r WHERE r.approval = a.id AND r.role IN ({among}))"
        );
    }
    (text, values)
}

fn decide(id: &ApprovalId, state: &'static str, decision: &Decision, now: i64) -> (&'static str, Vec<Value>) {
    let update = "UPDATE approvals SET state = $2, approver = $3, approver_presenter = $4, decision_reason = $5, \
                  decided_at = $6 WHERE id = $1 AND state = 'pending' AND expires_at > $6";
    let Decision { approver, presenter, reason } = decision;
    (update, params![id.as_str(), state, approver, presenter, reason.as_ref(), now])
}

fn seal_outcome(sealer: &Sealer, org: &str, id: &ApprovalId, outcome: &Json) -> Result<Vec<u8>, StoreError> {
    let [_, _, place] = approval_places(org, id.as_str());
    sealer.seal(&place, to_json(outcome)?.as_bytes())
}

impl ApprovalId {
    /// A new one.
    pub fn generate() -> Self {
        let bits: [u8; 20] = rand::random();
        Self(hex::encode(bits))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not known")]
pub struct NotKnown;

impl FromStr for ApprovalId {
    type Err = NotKnown;

    fn from_str(text: &str) -> Result<Self, NotKnown> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_id = text.len() == 40 && text.bytes().all(is_digit);
        if is_id { Ok(Self(text.to_owned())) } else { Err(NotKnown) }
    }
}

impl ApprovalState {
    /// Every state, in the order of a ticket's life.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Approved,
        Self::Rejected,
        Self::Running,
        Self::Executed,
        Self::Failed,
        Self::Expired,
        Self::Withdrawn,
    ];

    /// The word that clients see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Running => "running",
            Self::Executed => "executed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl FromStr for ApprovalState {
    type Err = NotKnown;

    fn from_str(text: &str) -> Result<Self, NotKnown> {
        Self::ALL.into_iter().find(|state| state.name() == text).ok_or(NotKnown)
    }
}
