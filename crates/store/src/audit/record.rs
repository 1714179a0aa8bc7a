//! What is remembered of one call.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One call, as it is remembered. No literals, no secrets, and rows only where their caller changed them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "plain fields")]
pub struct AuditRecord {
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    pub trace_id: String,
    /// `api`, `v1`, `cli`.
    pub door: String,
    /// Such as `run-query` or `create-user`.
    pub action: String,
    /// Who presented the credentials; absent when nobody could be identified.
    pub user: Option<String>,
    /// As whom the call ran, when impersonating, or when an application acted for one of its own users.
    pub acting_for: Option<String>,
    pub tenant: Option<String>,
    pub org: Option<String>,
    pub connection: Option<String>,
    /// A hash of the statement with its literals taken out.
    pub statement: Option<String>,
    /// Relations named by the statement, where they could be read.
    pub tables: Vec<String>,
    /// The id of what was created, changed or removed.
    pub object: Option<String>,
    pub rows: Option<i64>,
    /// How old the rows were, in milliseconds, when they were not read for this call: an answer that was kept, or one that
    /// somebody else waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_ms: Option<i64>,
    pub duration_us: i64,
    /// `allowed`, `refused`, `failed` or `abandoned`.
    pub decision: String,
    /// The public code of a refusal.
    pub code: Option<String>,
    /// Relations whose scope a row policy lifted for the caller, each with the policy's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bypasses: Vec<String>,
    /// Why the caller did it, in the caller's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The agent that the caller named, as it was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The model of a models request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The scopes that were put into the statement, with the caller's values: `public.orders: tenant_id = 'acme-corp'`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// What else decided on the rows of what the statement names: row policies, restrictions of data roles, inherited
    /// joins, access rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Columns of which the statement could only read the masks: `public.orders.card`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
    /// The rows that a models request changed, as its caller sees them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<RowChange>,
    /// What `changes` leaves out, if there was too much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes_note: Option<String>,
    /// What a models request asked for: fields and operators, and for values their types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Value>,
    /// The ticket of the approval that the call asked for, decided on, or ran under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
}

/// A row before and after a change, without what its caller may not see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChange {
    /// Which relation, such as `public.orders`.
    pub relation: String,
    /// The row before; absent when it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Map<String, Value>>,
    /// The row after; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Map<String, Value>>,
}
