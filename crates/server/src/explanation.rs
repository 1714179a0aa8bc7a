//! Explanations as JSON: the same over HTTP and on the command line.

use std::collections::BTreeMap;

use ringfence_gateway::queries::{
    AdministratorsView, Asked, Because, CallersView, ClauseValue, ColumnShown, ExplainedColumn,
    ExplainedRelation, Explanation, Limits, SeenRelation, Sent, Why, WhyClause,
};
use ringfence_policy::{Permit, RelationName};
use serde::Serialize;
use utoipa::ToSchema;

/// An explanation of a statement.
#[derive(Serialize, ToSchema)]
#[serde(tag = "view", rename_all = "lowercase")]
#[schema(as = Explanation, example = json!({
    "view": "caller",
    "guarded": true,
    "changes": false,
    "relations": [{"schema": "public", "relation": "orders", "rows": "limited", "masked": ["card"]}],
    "limits": {"max_rows": 1000, "timeout_ms": 30000},
}))]
pub(crate) enum ExplanationAnswer {
    /// Yours: what is hidden, in kind. The administrator's is for those who may read the policy.
    Caller(CallerAnswer),
    Administrator(Box<AdministratorAnswer>),
}

/// What you may know of a statement of yours. Columns and relations that do not exist for you are in no view of yours.
#[derive(Serialize, ToSchema)]
#[schema(as = CallersView)]
pub(crate) struct CallerAnswer {
    /// Whether a policy is on the connection.
    guarded: bool,
    /// Whether the statement changes rows, or may.
    changes: bool,
    /// The relations that it names.
    relations: Vec<SeenAnswer>,
    limits: LimitsAnswer,
}

/// A relation as you see it.
#[derive(Serialize, ToSchema)]
#[schema(as = SeenRelation)]
pub(crate) struct SeenAnswer {
    schema: String,
    relation: String,
    /// `all`, or `limited`: rows may be hidden from you. Whether some are is not said.
    #[schema(example = "limited")]
    rows: &'static str,
    /// Columns that show you something else than what is stored.
    masked: Vec<String>,
}

/// What running the statement is held to.
#[derive(Serialize, ToSchema)]
#[schema(as = StatementLimits)]
pub(crate) struct LimitsAnswer {
    max_rows: u64,
    timeout_ms: u64,
}

/// All that is to be known of a statement.
#[derive(Serialize, ToSchema)]
#[schema(as = AdministratorsView)]
pub(crate) struct AdministratorAnswer {
    /// About whom it is.
    #[serde(rename = "as")]
    asked: AskedAnswer,
    /// null on an open connection.
    policy_version: Option<i64>,
    catalog_version: Option<i64>,
    /// What running it would be refused with.
    refusal: Option<RefusalAnswer>,
    /// What the database gets; null when the guard refuses it.
    sent: Option<SentAnswer>,
    limits: LimitsAnswer,
    /// The relations that the statement names.
    relations: Vec<RelationAnswer>,
    /// Those that only the policy's own conditions read.
    read_by_policy: Vec<String>,
    /// The database's plan, line by line, when it was asked for.
    plan: Option<Vec<String>>,
}

/// About whom an explanation is.
#[derive(Serialize, ToSchema)]
#[schema(as = ExplainedUser)]
pub(crate) struct AskedAnswer {
    pub(crate) user: String,
    tenant: String,
    org: String,
    /// Product roles, then data roles.
    roles: Vec<String>,
    /// Whether the user has a connection of that key. Without one every call is refused as not found.
    has_connection: bool,
}

/// A refusal that running the statement would be answered with.
#[derive(Serialize, ToSchema)]
#[schema(as = WouldBeRefused)]
pub(crate) struct RefusalAnswer {
    code: &'static str,
    message: String,
}

/// A statement as the database gets it.
#[derive(Serialize, ToSchema)]
#[schema(as = SentStatement)]
pub(crate) struct SentAnswer {
    statement: String,
    /// What `$1`, `$2`... (or the `?` in their order) stand for.
    parameters: Vec<ParameterAnswer>,
    /// Whether the planner is kept from running the statement's conditions before the policy's.
    barrier: bool,
    /// Whether the guard had made it before, for somebody with an equal view.
    cached: bool,
    /// `read-only`: it runs in a read-only transaction; or `read-write`.
    transaction: &'static str,
    /// Rows that it may change at most.
    max_changes: Option<u64>,
    /// Row policies that lift the scope of a relation, each use of which is recorded.
    bypasses: Vec<BypassAnswer>,
}

/// What a parameter stands for.
#[derive(Serialize, ToSchema)]
#[schema(as = SentParameter)]
pub(crate) struct ParameterAnswer {
    /// Its name.
    #[schema(example = "principal.tenant_id")]
    is: String,
    /// Its value; null for the caller's own, and for secrets.
    value: Option<serde_json::Value>,
}

/// A bypass that a statement uses.
#[derive(Serialize, ToSchema)]
#[schema(as = Bypass)]
pub(crate) struct BypassAnswer {
    relation: String,
    policy: String,
}

/// What somebody may do with a relation, and why.
#[derive(Serialize, ToSchema)]
#[schema(as = ExplainedRelation)]
pub(crate) struct RelationAnswer {
    schema: String,
    relation: String,
    /// Whether it exists for the one who asks.
    visible: bool,
    /// What using it is refused with when it does not.
    denial: Option<String>,
    reasons: Vec<ReasonAnswer>,
    columns: Vec<ColumnAnswer>,
    /// For which rows it is visible; null for all.
    rows: Option<String>,
    row_reasons: Vec<ReasonAnswer>,
    changes: ChangesAnswer,
    change_reasons: Vec<ReasonAnswer>,
}

/// What may be changed.
#[derive(Serialize, ToSchema)]
#[schema(as = PermittedChanges)]
pub(crate) struct ChangesAnswer {
    /// `deny`, `approval` or `allow`.
    create: &'static str,
    update: &'static str,
    delete: &'static str,
    /// Which of the visible rows; null for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<String>,
}

/// A column, and why it is shown so.
#[derive(Serialize, ToSchema)]
#[schema(as = ExplainedColumn)]
pub(crate) struct ColumnAnswer {
    name: String,
    /// `plain`, `masked` or `hidden`.
    shown: &'static str,
    /// What stands in its place.
    mask: Option<String>,
    reasons: Vec<ReasonAnswer>,
}

/// A rule, and what came of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Because)]
pub(crate) struct ReasonAnswer {
    /// `gives`, `takes`, `masks`, `narrows`, `extends`, `lifts`, or `nothing`: for other roles, lifted, or not met.
    effect: &'static str,
    rule: String,
    /// Where it stands in the policy document.
    line: Option<usize>,
    /// Its condition on rows.
    condition: Option<String>,
}

/// Why somebody sees a row, or does not.
#[derive(Serialize, ToSchema)]
#[schema(as = Why, example = json!({
    "as": {"user": "ann", "tenant": "berlin", "org": "acme", "roles": ["api-user"], "has_connection": true},
    "policy_version": 3, "catalog_version": 1,
    "schema": "public", "relation": "orders", "found": true, "visible": false, "denial": null, "reasons": [],
    "clauses": [{
        "part": "scope", "value": "false", "effect": "narrows", "rule": "the scope tenant_id = principal.tenant_id",
        "line": 3, "condition": "tenant_id = principal.tenant_id",
    }],
    "parts": {"base": "false", "narrow": "true", "roles": "true", "inherited": "true", "rule": "true"},
    "changes": {"create": "deny", "update": "deny", "delete": "deny"},
    "attributes": {"principal.tenant_id": "berlin"},
    "columns": [{"name": "tenant_id", "value": "paris", "withheld": false}],
}))]
pub(crate) struct WhyAnswer {
    #[serde(rename = "as")]
    asked: AskedAnswer,
    policy_version: i64,
    catalog_version: Option<i64>,
    schema: String,
    relation: String,
    /// Whether there is a row with that key.
    found: bool,
    /// Whether it is visible: what the guard's own condition says.
    visible: bool,
    /// What using the relation is refused with, when it is.
    denial: Option<String>,
    /// Why the relation is visible or not.
    reasons: Vec<ReasonAnswer>,
    /// Every clause of the law that speaks of its rows.
    clauses: Vec<ClauseAnswer>,
    /// What the clauses come to: `base`, `narrow` (unless lifted), `roles`, `inherited`, `rule`. A row is visible where all
    /// of them are true.
    parts: BTreeMap<&'static str, &'static str>,
    changes: ChangesAnswer,
    /// The values that the clauses ask of the principal; null for one that is missing.
    attributes: BTreeMap<String, Option<serde_json::Value>>,
    /// The row's columns that the clauses read.
    columns: Vec<ValueAnswer>,
}

/// A clause, and its value on the row.
#[derive(Serialize, ToSchema)]
#[schema(as = WhyClause)]
pub(crate) struct ClauseAnswer {
    /// `scope`, `extends`, `bypass`, `narrow`, `roles`, `inherited`, `rule` or `changes`.
    part: &'static str,
    /// For `roles`: what restrictions on are alternatives of each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    hierarchy: Option<String>,
    /// `true`, `false`, `null`; `error` where the database can't compute it on this row; `none` where there is no row or
    /// nothing to compute.
    value: &'static str,
    #[serde(flatten)]
    because: ReasonAnswer,
}

/// A column of the row.
#[derive(Serialize, ToSchema)]
#[schema(as = WhyColumn)]
pub(crate) struct ValueAnswer {
    name: String,
    value: Option<serde_json::Value>,
    /// You do not see this column in clear yourself: its value is not shown here either.
    withheld: bool,
}

impl From<Explanation> for ExplanationAnswer {
    fn from(explanation: Explanation) -> Self {
        match explanation {
            Explanation::Caller(view) => Self::Caller(view.into()),
            Explanation::Administrator(view) => Self::Administrator(Box::new((*view).into())),
        }
    }
}

impl From<CallersView> for CallerAnswer {
    fn from(view: CallersView) -> Self {
        let CallersView { guarded, changes, relations, limits } = view;
        let relations = relations.into_iter().map(SeenAnswer::from).collect();
        Self { guarded, changes, relations, limits: limits.into() }
    }
}

impl From<SeenRelation> for SeenAnswer {
    fn from(seen: SeenRelation) -> Self {
        let SeenRelation { relation: RelationName { schema, name }, rows_limited, masked } = seen;
        Self { schema, relation: name, rows: if rows_limited { "limited" } else { "all" }, masked }
    }
}

impl From<Limits> for LimitsAnswer {
    fn from(limits: Limits) -> Self {
        let timeout_ms = u64::try_from(limits.timeout.as_millis()).unwrap_or(u64::MAX);
        Self { max_rows: limits.max_rows, timeout_ms }
    }
}

impl From<AdministratorsView> for AdministratorAnswer {
    fn from(view: AdministratorsView) -> Self {
        let AdministratorsView {
            asked,
            policy_version,
            catalog_version,
            refusal,
            sent,
            limits,
            relations,
            read_by_policy,
            plan,
        } = view;
        let refusal = refusal.map(|refused| RefusalAnswer {
            code: refused.code.row().name,
            message: refused.message.into_owned(),
        });
        Self {
            asked: asked.into(),
            policy_version,
            catalog_version,
            refusal,
            sent: sent.map(SentAnswer::from),
            limits: limits.into(),
            relations: relations.into_iter().map(RelationAnswer::from).collect(),
            read_by_policy: read_by_policy.iter().map(ToString::to_string).collect(),
            plan,
        }
    }
}

impl From<Asked> for AskedAnswer {
    fn from(asked: Asked) -> Self {
        let Asked { user, tenant, org, roles, has_connection } = asked;
        Self { user, tenant, org, roles, has_connection }
    }
}

impl From<Sent> for SentAnswer {
    fn from(sent: Sent) -> Self {
        let Sent { sql, parameters, barrier, cached, changes, max_changes, bypasses } = sent;
        let parameters = parameters.into_iter();
        let bypasses = bypasses.into_iter();
        Self {
            statement: sql,
            parameters: parameters
                .map(|parameter| ParameterAnswer { is: parameter.is, value: parameter.value })
                .collect(),
            barrier,
            cached,
            transaction: if changes { "read-write" } else { "read-only" },
            max_changes,
            bypasses: bypasses
                .map(|(relation, policy)| BypassAnswer { relation: relation.to_string(), policy })
                .collect(),
        }
    }
}

impl From<ExplainedRelation> for RelationAnswer {
    fn from(explained: ExplainedRelation) -> Self {
        let ExplainedRelation {
            relation: RelationName { schema, name },
            denial,
            reasons,
            columns,
            rows,
            row_reasons,
            permits,
            changed_rows,
            write_reasons,
        } = explained;
        Self {
            schema,
            relation: name,
            visible: denial.is_none(),
            denial,
            reasons: all(reasons),
            columns: columns.into_iter().map(ColumnAnswer::from).collect(),
            rows,
            row_reasons: all(row_reasons),
            changes: changes(permits, changed_rows),
            change_reasons: all(write_reasons),
        }
    }
}

impl From<ExplainedColumn> for ColumnAnswer {
    fn from(column: ExplainedColumn) -> Self {
        let ExplainedColumn { name, shown, mask, reasons } = column;
        let shown = match shown {
            ColumnShown::Plain => "plain",
            ColumnShown::Masked => "masked",
            ColumnShown::Hidden => "hidden",
        };
        Self { name, shown, mask, reasons: all(reasons) }
    }
}

impl From<Because> for ReasonAnswer {
    fn from(because: Because) -> Self {
        let Because { effect, rule, line, condition } = because;
        Self { effect, rule, line, condition }
    }
}

impl From<Why> for WhyAnswer {
    fn from(why: Why) -> Self {
        let Why {
            asked,
            policy_version,
            catalog_version,
            relation: RelationName { schema, name },
            found,
            visible,
            denial,
            reasons,
            clauses,
            parts,
            permits,
            attributes,
            columns,
        } = why;
        let columns = columns.into_iter();
        Self {
            asked: asked.into(),
            policy_version,
            catalog_version,
            schema,
            relation: name,
            found,
            visible,
            denial,
            reasons: all(reasons),
            clauses: clauses.into_iter().map(ClauseAnswer::from).collect(),
            parts: parts.into_iter().map(|(part, value)| (part, word(value))).collect(),
            changes: changes(permits, None),
            attributes: attributes.into_iter().collect(),
            columns: columns
                .map(|column| ValueAnswer {
                    name: column.name,
                    withheld: found && column.value.is_none(),
                    value: column.value,
                })
                .collect(),
        }
    }
}

impl From<WhyClause> for ClauseAnswer {
    fn from(clause: WhyClause) -> Self {
        let WhyClause { part, hierarchy, because, value } = clause;
        Self { part, hierarchy, value: word(value), because: because.into() }
    }
}

fn all(reasons: Vec<Because>) -> Vec<ReasonAnswer> {
    reasons.into_iter().map(ReasonAnswer::from).collect()
}

fn changes([create, update, delete]: [Permit; 3], rows: Option<String>) -> ChangesAnswer {
    ChangesAnswer { create: permit(create), update: permit(update), delete: permit(delete), rows }
}

/// As policy documents have it.
pub(crate) fn permit(permit: Permit) -> &'static str {
    match permit {
        Permit::Deny => "deny",
        Permit::Approval => "approval",
        Permit::Allow => "allow",
    }
}

pub(crate) fn word(value: ClauseValue) -> &'static str {
    match value {
        ClauseValue::True => "true",
        ClauseValue::False => "false",
        ClauseValue::Null => "null",
        ClauseValue::Unasked => "none",
        ClauseValue::Failed => "error",
    }
}
