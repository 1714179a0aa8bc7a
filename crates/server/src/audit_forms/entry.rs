//! A record of the audit log as people get it.

use ringfence_gateway::trail::TrailRecord;
use ringfence_store::audit::{AuditRecord, RowChange};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What is remembered of one call.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "time": "2026-01-31T12:00:00Z",
    "trace_id": "6f1c",
    "door": "v1",
    "action": "run-query",
    "user": "ann",
    "tenant": "acme-corp",
    "org": "shop",
    "tables": ["public.orders"],
    "decision": "allowed",
    "rows": 12,
    "scopes": ["public.orders: tenant_id = 'acme-corp'"],
    "rules": ["public.orders: row policy own_drafts"],
    "masked": ["public.orders.card_number"],
}))]
pub(crate) struct AuditEntry {
    /// Its place in the chain. Only for super administrators and the operator: to others the gaps would tell how much goes on
    /// elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = i64, required = false)]
    pub(super) sequence: Option<i64>,
    /// When the call began.
    #[schema(format = DateTime)]
    pub(super) time: String,
    /// As the answer had it in `x-request-id`.
    pub(super) trace_id: String,
    /// `api`, `v1`, `cli`, or `server` for what the server did by itself.
    pub(super) door: String,
    /// Such as `run-query` or `create-user`.
    pub(super) action: String,
    /// Who presented the credentials; null when nobody could be identified.
    pub(super) user: Option<String>,
    /// As whom the call ran, when impersonating.
    pub(super) acting_for: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) org: Option<String>,
    /// The connection's key.
    pub(super) connection: Option<String>,
    /// A hash of the statement with its literals taken out.
    pub(super) statement: Option<String>,
    /// Relations that the statement names, and those that its policy reads.
    pub(super) tables: Vec<String>,
    /// What was created, changed, removed or asked for.
    pub(super) object: Option<String>,
    /// Rows that went to the caller.
    pub(super) rows: Option<i64>,
    /// How old the rows were, in milliseconds, when they were not read for this call but kept from another one.
    pub(super) kept_ms: Option<i64>,
    pub(super) duration_us: i64,
    /// `allowed`, `refused`, `failed` or `abandoned`.
    pub(super) decision: String,
    /// The code of a refusal.
    pub(super) code: Option<String>,
    /// `time` in milliseconds since the epoch.
    pub(super) at_ms: i64,
    /// Relations whose scope a row policy lifted, with the policy's name.
    pub(super) bypasses: Vec<String>,
    /// Why the caller did it, in the caller's words.
    pub(super) reason: Option<String>,
    /// The model of a models request.
    pub(super) model: Option<String>,
    /// The scopes that were put into the statement, with the caller's values.
    pub(super) scopes: Vec<String>,
    /// What else decided on the rows: row policies, restrictions of data roles, inherited joins, access rules.
    pub(super) rules: Vec<String>,
    /// Columns of which the statement could only read the masks.
    pub(super) masked: Vec<String>,
    /// The rows that a models request changed, as its caller sees them; values only for administrators.
    pub(super) changes: Vec<ChangedRow>,
    /// What `changes` leaves out, if there was too much.
    pub(super) changes_note: Option<String>,
    /// What a models request asked for: fields and operators, and for values their types.
    #[schema(value_type = Option<Object>)]
    pub(super) inputs: Option<Value>,
    /// The ticket of an approval.
    pub(super) approval: Option<String>,
    /// The program that asked for the user, as it calls itself.
    pub(super) agent: Option<String>,
}

/// A row before and after a change.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ChangedRow {
    relation: String,
    /// Null when the row is new.
    #[schema(value_type = Option<Object>)]
    before: Option<Map<String, Value>>,
    /// Null when the row is gone.
    #[schema(value_type = Option<Object>)]
    after: Option<Map<String, Value>>,
}

impl From<TrailRecord> for AuditEntry {
    fn from(TrailRecord { sequence, record }: TrailRecord) -> Self {
        // Every field by its name, so that a new one is not forgotten.
        let AuditRecord {
            trace_id,
            door,
            action,
            user,
            acting_for,
            tenant,
            org,
            connection,
            statement,
            tables,
            object,
            rows,
            kept_ms,
            duration_us,
            decision,
            code,
            at_ms,
            bypasses,
            reason,
            model,
            scopes,
            rules,
            masked,
            changes,
            changes_note,
            inputs,
            approval,
            agent,
        } = record;
        Self {
            sequence,
            time: jiff::Timestamp::from_millisecond(at_ms).map(|at| format!("{at:.3}")).unwrap_or_default(),
            changes: changes.into_iter().map(ChangedRow::from).collect(),
            trace_id,
            door,
            action,
            user,
            acting_for,
            tenant,
            org,
            connection,
            statement,
            tables,
            object,
            rows,
            kept_ms,
            duration_us,
            decision,
            code,
            at_ms,
            bypasses,
            reason,
            model,
            scopes,
            rules,
            masked,
            changes_note,
            inputs,
            approval,
            agent,
        }
    }
}

impl From<RowChange> for ChangedRow {
    fn from(RowChange { relation, before, after }: RowChange) -> Self {
        Self { relation, before, after }
    }
}

/// A column of a table of records.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) cell: Cell,
}

/// What a column holds, and how it is got.
pub(super) enum Cell {
    Integer(fn(&AuditEntry) -> Option<i64>),
    /// Milliseconds since the epoch.
    Moment(fn(&AuditEntry) -> Option<i64>),
    Text(fn(&AuditEntry) -> Option<&str>),
    List(fn(&AuditEntry) -> &[String]),
    Json(fn(&AuditEntry) -> Option<String>),
}

const fn column(name: &'static str, cell: Cell) -> Column {
    Column { name, cell }
}

/// All of a record, for forms that are tables. New columns go to the end.
pub(super) const COLUMNS: [Column; 30] = [
    column("sequence", Cell::Integer(|entry| entry.sequence)),
    column("time", Cell::Moment(|entry| Some(entry.at_ms))),
    column("trace_id", Cell::Text(|entry| Some(&entry.trace_id))),
    column("door", Cell::Text(|entry| Some(&entry.door))),
    column("action", Cell::Text(|entry| Some(&entry.action))),
    column("user", Cell::Text(|entry| entry.user.as_deref())),
    column("acting_for", Cell::Text(|entry| entry.acting_for.as_deref())),
    column("tenant", Cell::Text(|entry| entry.tenant.as_deref())),
    column("org", Cell::Text(|entry| entry.org.as_deref())),
    column("connection", Cell::Text(|entry| entry.connection.as_deref())),
    column("statement", Cell::Text(|entry| entry.statement.as_deref())),
    column("tables", Cell::List(|entry| &entry.tables)),
    column("object", Cell::Text(|entry| entry.object.as_deref())),
    column("rows", Cell::Integer(|entry| entry.rows)),
    column("duration_us", Cell::Integer(|entry| Some(entry.duration_us))),
    column("decision", Cell::Text(|entry| Some(&entry.decision))),
    column("code", Cell::Text(|entry| entry.code.as_deref())),
    column("at_ms", Cell::Integer(|entry| Some(entry.at_ms))),
    column("bypasses", Cell::List(|entry| &entry.bypasses)),
    column("reason", Cell::Text(|entry| entry.reason.as_deref())),
    column("model", Cell::Text(|entry| entry.model.as_deref())),
    column("scopes", Cell::List(|entry| &entry.scopes)),
    column("rules", Cell::List(|entry| &entry.rules)),
    column("masked", Cell::List(|entry| &entry.masked)),
    column("changes", Cell::Json(|entry| (!entry.changes.is_empty()).then(|| json(&entry.changes)))),
    column("changes_note", Cell::Text(|entry| entry.changes_note.as_deref())),
    column("inputs", Cell::Json(|entry| entry.inputs.as_ref().map(json))),
    column("approval", Cell::Text(|entry| entry.approval.as_deref())),
    column("agent", Cell::Text(|entry| entry.agent.as_deref())),
    column("kept_ms", Cell::Integer(|entry| entry.kept_ms)),
];

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
