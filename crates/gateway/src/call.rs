//! A call: who asks, and the one audit record that it leaves.

mod changes;
mod inputs;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ringfence_policy::{ConnectionKey, OrgId, Permission, Principal, QueryId, TraceId, UserId};
use ringfence_store::audit::{AuditRecord, RowChange};
use serde_json::Value;

use crate::guarded::Told;
use crate::queries::BudgetReport;
use crate::refused::Code;
use crate::{Refused, audit};

use changes::Changes;
pub use inputs::Sanitiser;
pub(crate) use inputs::type_of;

/// Longest text of a caller that an audit record repeats, in bytes: as long as the longest connection key.
const LONGEST_TEXT: usize = 1020;
/// Relations that one record names.
const MOST_TABLES: usize = 256;

/// The front end that a call came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants name the front ends")]
pub enum Door {
    Api,
    V1,
    /// The one for agents: what it lets through is narrower, see `agents`.
    Mcp,
    /// Where people sign in and out.
    SignIn,
    /// Published endpoints.
    Endpoint,
    Cli,
    /// None: the gateway does it by itself, when its time has come.
    Own,
}

impl Door {
    /// The name that the audit log has.
    pub fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::V1 => "v1",
            Self::Mcp => "mcp",
            Self::SignIn => "sign-in",
            Self::Endpoint => "endpoint",
            Self::Cli => "cli",
            Self::Own => "gateway",
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Done.
    Allowed,
    /// Not done, with the public code.
    Refused(Code),
    /// The client went away first.
    Abandoned,
}

impl Decision {
    /// The word that the audit log has: `refused` is our answer to the caller, `failed` is somebody's fault.
    fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Abandoned => "abandoned",
            Self::Refused(
                Code::QueryFailed
                | Code::QueryTimedOut
                | Code::QueryCancelled
                | Code::SourceUnreachable
                | Code::SourceCredentials
                | Code::SourceBusy
                | Code::SourceLost
                | Code::AuditUnavailable
                | Code::StoreUnavailable
                | Code::ShuttingDown
                | Code::Internal,
            ) => "failed",
            Self::Refused(_) => "refused",
        }
    }
}

/// The record of one call in the making. It is begun before the caller is known and written when [`CallLog::finish`]
/// is called or the last holder drops it (then as abandoned), so that no front end can forget it.
pub struct CallLog {
    door: Door,
    trace_id: TraceId,
    at_ms: i64,
    begun: Instant,
    draft: Mutex<Draft>,
    written: AtomicBool,
    writer: audit::Writer,
}

/// What becomes known of a call while it runs.
#[derive(Default)]
struct Draft {
    action: Cow<'static, str>,
    /// Whether the gateway named the action, not the front end.
    named: bool,
    principal: Option<Arc<Principal>>,
    connection: Option<String>,
    object: Option<String>,
    statement: Option<String>,
    tables: Vec<String>,
    rows: Option<u64>,
    kept: Option<Duration>,
    bypasses: Vec<String>,
    reason: Option<String>,
    model: Option<String>,
    enforced: Vec<Arc<Told>>,
    masked: Arc<[String]>,
    changes: Changes,
    inputs: Option<Value>,
    approval: Option<String>,
    budget: Option<BudgetReport>,
}

/// An identified call: what every function of the gateway takes.
pub struct Call {
    pub(crate) principal: Arc<Principal>,
    pub(crate) log: Arc<CallLog>,
}

impl crate::Gateway {
    /// Begins a call. `action` names it until the gateway knows better.
    pub fn begin(&self, door: Door, action: &str, trace_id: TraceId) -> Arc<CallLog> {
        Arc::new(CallLog {
            door,
            trace_id,
            at_ms: now_ms(),
            begun: Instant::now(),
            draft: Mutex::new(Draft { action: plain(action).into(), ..Draft::default() }),
            written: AtomicBool::new(false),
            writer: self.shared.audit.clone(),
        })
    }
}

impl CallLog {
    /// The call's trace id.
    pub fn trace_id(&self) -> &TraceId {
        &self.trace_id
    }

    /// The front end that the call came through.
    pub fn door(&self) -> Door {
        self.door
    }

    /// Names what is being done, such as `create-user`. The first name stays: a front end that answers a change with a
    /// list made a change.
    pub fn set_action(&self, action: &'static str) {
        let mut draft = self.draft.lock();
        if !draft.named {
            (draft.action, draft.named) = (action.into(), true);
        }
    }

    /// Names what is being asked for, until the gateway knows better.
    pub fn expect_action(&self, action: &'static str) {
        let mut draft = self.draft.lock();
        if !draft.named {
            draft.action = action.into();
        }
    }

    /// Names the connection.
    pub fn set_connection(&self, key: &str) {
        self.draft.lock().connection = Some(plain(&without_password(key)));
    }

    /// Names the connection as the caller wrote it, when a connection can have that key: for calls that may be refused
    /// before it is looked up.
    pub fn set_scope(&self, key: &str) {
        if let Ok(key) = ConnectionKey::new(key) {
            self.set_connection(key.as_str());
        }
    }

    /// Names what is created, changed or removed.
    pub fn set_object(&self, id: &str) {
        self.draft.lock().object = Some(plain(id));
    }

    /// Fingerprint of the statement and the relations it names.
    pub fn set_statement(&self, fingerprint: &str, tables: &[String]) {
        let mut draft = self.draft.lock();
        draft.statement = Some(plain(fingerprint));
        draft.tables = tables.iter().take(MOST_TABLES).map(|table| plain(table)).collect();
    }

    /// Row policies that lifted the scope of what the statement names, and why the caller did it, if that was said.
    pub(crate) fn set_bypasses(&self, bypasses: impl Iterator<Item = String>) {
        self.draft.lock().bypasses = bypasses.take(MOST_TABLES).map(|bypass| plain(&bypass)).collect();
    }

    /// Why the caller does it.
    pub(crate) fn set_reason(&self, reason: Option<&str>) {
        self.draft.lock().reason = reason.filter(|reason| !reason.is_empty()).map(plain);
    }

    /// What held on the relations that the statement names, and the columns of which it could only read the masks. A call
    /// of several statements says it of each.
    pub(crate) fn set_enforced(&self, enforced: Vec<Arc<Told>>, masked: Arc<[String]>) {
        let mut draft = self.draft.lock();
        let room = MOST_TABLES.saturating_sub(draft.enforced.len());
        let new: Vec<_> = enforced.into_iter().filter(|told| !draft.knows(told)).take(room).collect();
        draft.enforced.extend(new);
        draft.masked = if draft.masked.is_empty() {
            masked
        } else {
            let new: Vec<_> =
                masked.iter().filter(|column| !draft.masked.contains(column)).cloned().collect();
            draft.masked.iter().cloned().chain(new).take(MOST_TABLES).collect()
        };
    }

    /// Names the model of a models request.
    pub fn set_model(&self, name: &str) {
        self.draft.lock().model = Some(plain(name));
    }

    /// Rows before and after a change, as the caller's view shows them. What is too much is left out, and counted.
    pub fn add_changes(&self, changes: impl IntoIterator<Item = RowChange>) {
        let mut draft = self.draft.lock();
        changes.into_iter().for_each(|change| draft.changes.add(change));
    }

    /// What a models request asked for, as [`Sanitiser`] leaves it.
    pub fn set_inputs(&self, inputs: Value) {
        self.draft.lock().inputs = Some(inputs::bounded(inputs));
    }

    /// Names the ticket of an approval.
    pub fn set_approval(&self, ticket: &str) {
        self.draft.lock().approval = Some(plain(ticket));
    }

    /// Which budgets the statement runs under, for the caller.
    pub(crate) fn set_budget(&self, report: BudgetReport) {
        self.draft.lock().budget = Some(report);
    }

    /// Which budgets the statement runs under; `None` where no policy's counts. Asked for before the record is written.
    pub fn budget(&self) -> Option<BudgetReport> {
        self.draft.lock().budget
    }

    /// Rows that went to the caller.
    pub fn set_rows(&self, rows: u64) {
        self.draft.lock().rows = Some(rows);
    }

    /// How old the rows are, when the database was not asked for them by this call.
    pub(crate) fn set_kept(&self, age: Duration) {
        self.draft.lock().kept = Some(age);
    }

    /// Names who asks, as soon as that is known: refusals are recorded under their name too.
    pub(crate) fn set_principal(&self, principal: &Arc<Principal>) {
        self.draft.lock().principal = Some(principal.clone());
    }

    /// Writes the record. In strict mode it is durable when this returns, and an error means that the answer must not
    /// be given. Only the first call counts.
    pub async fn finish(&self, decision: Decision) -> Result<(), Refused> {
        if self.written.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.writer.write(self.record(decision)).await
    }

    fn record(&self, decision: Decision) -> AuditRecord {
        let draft = std::mem::take(&mut *self.draft.lock());
        let principal = draft.principal.as_deref();
        let scopes = draft.enforced.iter().flat_map(|told| &told.scopes);
        let rules = draft.enforced.iter().flat_map(|told| &told.rules);
        let (changes, changes_note) = draft.changes.finish();
        AuditRecord {
            scopes: scopes.take(MOST_TABLES).cloned().collect(),
            rules: rules.take(MOST_TABLES).cloned().collect(),
            masked: draft.masked.iter().map(|column| plain(column)).collect(),
            model: draft.model,
            changes,
            changes_note,
            inputs: draft.inputs,
            approval: draft.approval,
            at_ms: self.at_ms,
            trace_id: self.trace_id.to_string(),
            door: self.door.name().to_owned(),
            action: draft.action.into_owned(),
            user: principal.map(|principal| principal.authenticated_user().to_string()),
            acting_for: principal
                .filter(|principal| principal.acted_by.is_some())
                .map(|principal| principal.user.to_string()),
            tenant: principal.map(|principal| principal.tenant.to_string()),
            org: principal.map(|principal| principal.org.to_string()),
            connection: draft.connection,
            statement: draft.statement,
            tables: draft.tables,
            object: draft.object,
            rows: draft.rows.map(|rows| i64::try_from(rows).unwrap_or(i64::MAX)),
            kept_ms: draft.kept.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
            duration_us: i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX),
            decision: decision.word().to_owned(),
            code: match decision {
                Decision::Refused(code) => Some(code.row().name.to_owned()),
                Decision::Allowed | Decision::Abandoned => None,
            },
            bypasses: draft.bypasses,
            reason: draft.reason,
            agent: principal.and_then(|principal| principal.agent.as_ref()).map(|agent| plain(agent.label())),
        }
    }
}

impl Draft {
    /// Whether the record says that already.
    fn knows(&self, told: &Arc<Told>) -> bool {
        (told.scopes.is_empty() && told.rules.is_empty())
            || self.enforced.iter().any(|known| Arc::ptr_eq(known, told))
    }
}

impl Drop for CallLog {
    fn drop(&mut self) {
        if !self.written.swap(true, Ordering::AcqRel) {
            self.writer.write_detached(self.record(Decision::Abandoned));
        }
    }
}

impl Call {
    /// Who asks.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The call's record.
    pub fn log(&self) -> &Arc<CallLog> {
        &self.log
    }

    /// Refuses a principal without the permission.
    pub fn needs(&self, permission: Permission) -> Result<(), Refused> {
        if self.principal.may(permission) { Ok(()) } else { Err(Refused::lacks(permission)) }
    }

    /// The caller's own account, for what is kept in it. The users that an application acts for have none: the account that
    /// they use is the application's, and not theirs to change.
    pub(crate) fn own_account(&self) -> Result<&UserId, Refused> {
        if self.principal.application.is_some() {
            return Err(Refused::new(
                Code::NotPermitted,
                "the users of an application have no account here: ask as the application itself",
            ));
        }
        Ok(&self.principal.user)
    }

    /// Whether what belongs to that organization is within the caller's sight. Everything else is answered like what
    /// does not exist.
    pub(crate) fn sees(&self, org: &OrgId) -> bool {
        self.principal.is_super_admin() || self.principal.org == *org
    }

    /// Which organization a list is asked for: the one that is named, else the caller's own, and all of them for who rules over
    /// all.
    pub(crate) fn asked_org(&self, named: Option<&str>) -> Result<AskedOrg, Refused> {
        let org = match named {
            Some(org) => OrgId::new(org)?,
            None if self.principal.is_super_admin() => return Ok(AskedOrg::Seen(None)),
            None => self.principal.org.clone(),
        };
        Ok(if self.sees(&org) { AskedOrg::Seen(Some(org)) } else { AskedOrg::OutOfSight })
    }
}

/// What organization a list is about.
#[derive(Debug)]
pub(crate) enum AskedOrg {
    /// One that the caller knows nothing of: its list is empty, as that of one that does not exist.
    OutOfSight,
    /// This one; `None` for all.
    Seen(Option<OrgId>),
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A new unguessable query id: 160 random bits, all of them safe in a URL.
pub(crate) fn new_query_id() -> QueryId {
    let bits: [u8; 20] = rand::random();
    QueryId::new(&hex::encode(bits)).unwrap_or_else(|invalid| unreachable!("hex digits are an id: {invalid}"))
}

/// A key has no password in it, but what a caller gives as one may be a whole address, pasted.
fn without_password(key: &str) -> Cow<'_, str> {
    let parts = key.split_once("://").and_then(|(scheme, rest)| {
        let (user, place) = rest.rsplit_once('@')?;
        Some((scheme, user.split_once(':')?.0, place))
    });
    match parts {
        Some((scheme, user, place)) => Cow::Owned(format!("{scheme}://{user}:***@{place}")),
        None => Cow::Borrowed(key),
    }
}

/// A caller's text as a record may hold it. One that the database can't store (a NUL) or that is endless would hold
/// up every record behind it.
pub(crate) fn plain(text: &str) -> String {
    let end = text.floor_char_boundary(LONGEST_TEXT.min(text.len()));
    let kept = &text[..end];
    if !kept.chars().any(char::is_control) {
        return kept.to_owned();
    }
    kept.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn a_pasted_address_loses_its_password() {
        for (given, kept) in [
            ("postgresql://u:hunter2@h:5432/d", "postgresql://u:***@h:5432/d"),
            ("postgresql://u:p@ss@h/d", "postgresql://u:***@h/d"),
            ("postgresql://u@h:5432/d", "postgresql://u@h:5432/d"),
            ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(without_password(given), kept);
        }
    }
}
