//! Explaining: what the gateway makes of a statement, and why somebody sees a row or not. Nothing is executed of it.
//!
//! There are two views. The caller's is about the one who asks, and tells in kind what is hidden ([`caller`]). The
//! administrator's is about anybody of the organization, and names every rule ([`administrator`], [`why`]): it is for those
//! who may read the policy.

mod administrator;
mod caller;
mod reasons;
mod why;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringfence_engine::{RunOptions, SourceAddress};
use ringfence_policy::{Permit, Principal, RelationName};
use ringfence_store::connections::{Connection, Proof};

use super::{QueryRequest, running};
use crate::connections::address_of;
use crate::guarded::{Lens, not_ready};
use crate::policies::may_govern;
use crate::{Call, Code, Door, Gateway, Refused};

/// What is to be explained.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ExplainRequest {
    /// The connection.
    pub key: String,
    pub query: QueryRequest,
    /// As whom; the one who asks when `None`.
    pub as_user: Option<String>,
    /// Which view; when `None`, the administrator's for those who may have it.
    pub view: Option<View>,
    /// With the database's own plan, in the administrator's view.
    pub plan: bool,
}

/// Which view of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum View {
    Caller,
    Administrator,
}

/// An explanation.
#[derive(Debug, Clone)]
pub enum Explanation {
    /// For anybody, about themselves.
    Caller(CallersView),
    /// For those who may read the policy.
    Administrator(Box<AdministratorsView>),
}

/// What the caller may know.
//
// INVARIANT: two worlds that differ only in what is hidden from the caller (rows, columns, relations, the rules that hide
// them) have the same view, to the byte. Held by the tests `explain::two_worlds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallersView {
    /// Whether a policy is on the connection.
    pub guarded: bool,
    /// Whether the statement changes rows, or may.
    pub changes: bool,
    /// The relations that the statement names.
    pub relations: Vec<SeenRelation>,
    /// What running it is held to.
    pub limits: Limits,
}

/// What the caller may know of a relation that the statement names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRelation {
    /// As stored.
    pub relation: RelationName,
    /// Whether rows may be hidden. Not whether some are.
    pub rows_limited: bool,
    /// The columns that show something else than what is stored.
    pub masked: Vec<String>,
}

/// What running a statement is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Limits {
    pub max_rows: u64,
    pub timeout: Duration,
}

/// All that is to be known.
#[derive(Debug, Clone)]
pub struct AdministratorsView {
    /// About whom.
    pub asked: Asked,
    /// The policy's version; `None` on an open connection.
    pub policy_version: Option<i64>,
    /// The indexed catalog's.
    pub catalog_version: Option<i64>,
    /// What running it would be refused with.
    pub refusal: Option<Refused>,
    /// What the database gets, when the guard lets it through.
    pub sent: Option<Sent>,
    /// What running it is held to.
    pub limits: Limits,
    /// Those that the statement names.
    pub relations: Vec<ExplainedRelation>,
    /// Those that only the policy's conditions read.
    pub read_by_policy: Vec<RelationName>,
    /// The database's own plan, line by line, when it was asked for and there is one.
    pub plan: Option<Vec<String>>,
}

/// About whom an explanation is.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Asked {
    pub user: String,
    pub tenant: String,
    pub org: String,
    /// Product roles, then data roles.
    pub roles: Vec<String>,
    /// Whether the user has a connection of that key: without one, every call is refused as not found.
    pub has_connection: bool,
}

/// A statement as the database gets it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// As printed by the guard.
    pub sql: String,
    /// What the placeholders stand for, in order.
    pub parameters: Vec<SentParameter>,
    /// Whether the planner is kept from running the statement's conditions before the policy's.
    pub barrier: bool,
    /// Whether the plan was made before, for anybody with an equal view.
    pub cached: bool,
    /// Whether it may change rows; else it runs in a read-only transaction.
    pub changes: bool,
    /// Rows that it may change at most.
    pub max_changes: Option<u64>,
    /// Row policies that lift the scope: (relation, policy).
    pub bypasses: Vec<(RelationName, String)>,
}

/// A parameter of a statement.
#[derive(Debug, Clone)]
pub struct SentParameter {
    /// Its name, such as `principal.tenant_id`.
    pub is: String,
    /// Its value; `None` for the caller's and for secrets.
    pub value: Option<serde_json::Value>,
}

/// What somebody may do with a relation, and why.
#[derive(Debug, Clone)]
pub struct ExplainedRelation {
    /// As stored; as the statement names it when there is none.
    pub relation: RelationName,
    /// Why it can't be used, in the words that the caller hears, when it can't.
    pub denial: Option<String>,
    /// Why it is visible or not.
    pub reasons: Vec<Because>,
    /// All columns that it has, in order, and what is shown of them.
    pub columns: Vec<ExplainedColumn>,
    /// For which rows it is visible; `None` for all.
    pub rows: Option<String>,
    /// What gave or took rows.
    pub row_reasons: Vec<Because>,
    /// What may be done: create, update, delete.
    pub permits: [Permit; 3],
    /// Which rows may be changed, beyond those that are visible.
    pub changed_rows: Option<String>,
    /// Why.
    pub write_reasons: Vec<Because>,
}

/// A column, and why it is shown so.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct ExplainedColumn {
    pub name: String,
    pub shown: ColumnShown,
    /// What stands in its place.
    pub mask: Option<String>,
    pub reasons: Vec<Because>,
}

/// What is shown of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnShown {
    /// As stored.
    Plain,
    /// Something else.
    Masked,
    /// It does not exist for the principal.
    Hidden,
}

/// One rule, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Because {
    /// In a word: gives, takes, masks, narrows, extends, lifts, nothing.
    pub effect: &'static str,
    /// In the document's words.
    pub rule: String,
    /// Where it stands in the document.
    pub line: Option<usize>,
    /// Its condition on rows, as the document says it.
    pub condition: Option<String>,
}

/// Which row is asked about.
#[derive(Debug, Clone, Default)]
pub struct WhyRequest {
    /// The connection.
    pub key: String,
    /// `schema.relation` or `relation`.
    pub relation: String,
    /// The values of its key, by column.
    pub row: BTreeMap<String, String>,
    /// As whom; the one who asks when `None`.
    pub as_user: Option<String>,
}

/// Why somebody sees a row, or does not.
#[derive(Debug, Clone)]
pub struct Why {
    /// About whom.
    pub asked: Asked,
    /// The policy's version.
    pub policy_version: i64,
    /// The indexed catalog's.
    pub catalog_version: Option<i64>,
    /// As stored.
    pub relation: RelationName,
    /// Whether there is a row with that key.
    pub found: bool,
    /// Whether it is visible.
    pub visible: bool,
    /// Why the relation can't be used, in the words that the caller hears, when it can't.
    pub denial: Option<String>,
    /// Why it is visible or not.
    pub reasons: Vec<Because>,
    /// Every clause of the law that speaks of rows, in its order.
    pub clauses: Vec<WhyClause>,
    /// What they come to: base, narrow, roles, inherited, rule.
    pub parts: Vec<(&'static str, ClauseValue)>,
    /// What may be done: create, update, delete.
    pub permits: [Permit; 3],
    /// The principal's values that the clauses ask for; `None` for one that is missing.
    pub attributes: Vec<(String, Option<serde_json::Value>)>,
    /// The row's columns that the clauses read.
    pub columns: Vec<WhyColumn>,
}

/// A clause and its value on the row.
#[derive(Debug, Clone)]
pub struct WhyClause {
    /// scope, extends, bypass, narrow, roles, inherited, rule, changes.
    pub part: &'static str,
    /// The hierarchy, for a restriction of a role.
    pub hierarchy: Option<String>,
    /// What it is.
    pub because: Because,
    /// Its value on the row.
    pub value: ClauseValue,
}

/// A value of SQL's logic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum ClauseValue {
    True,
    False,
    Null,
    /// There is no row, or it is for other roles.
    Unasked,
    /// The database could not compute it on this row.
    Failed,
}

/// A column of the row.
#[derive(Debug, Clone)]
pub struct WhyColumn {
    /// As stored.
    pub name: String,
    /// `None` when the one who asks does not see the column in clear either, and when there is no row.
    pub value: Option<serde_json::Value>,
}

/// Where an administrator stands who asks about a user and a connection.
struct Standpoint {
    /// The place among running queries.
    permit: running::Permit,
    /// The call as one of the user.
    target: Call,
    asked: Asked,
    connection: Connection,
    address: SourceAddress,
    /// What the user sees the connection through.
    lens: Option<Lens>,
    catalog_version: Option<i64>,
}

impl Gateway {
    /// Explains what becomes of a statement; it is not run. The administrator's view needs what reading the policy needs,
    /// and so does asking as somebody else; everybody else gets the caller's view of themselves.
    pub async fn explain_query(&self, call: &Call, request: ExplainRequest) -> Result<Explanation, Refused> {
        call.log().set_action("explain-query");
        call.log().set_scope(&request.key);
        let governs = may_govern(call);
        let callers = request.view == Some(View::Caller);
        if callers || governs.is_err() {
            if request.as_user.is_some() || request.plan || request.view == Some(View::Administrator) {
                governs?;
            }
            if request.plan {
                return Err(Refused::invalid("the plan is in the administrator's view only"));
            }
            let standing = self.stand_in(call, request.as_user.as_deref()).await?;
            let view = caller::view(self, &standing, &request.key, &request.query).await?;
            return Ok(Explanation::Caller(view));
        }
        let view = Box::pin(administrator::view(self, call, &request)).await?;
        Ok(Explanation::Administrator(Box::new(view)))
    }

    /// Explains why somebody sees a row, or does not: each condition with its value on it. Needs what reading the policy
    /// needs.
    pub async fn explain_row(&self, call: &Call, request: WhyRequest) -> Result<Why, Refused> {
        call.log().set_action("explain-row");
        call.log().set_scope(&request.key);
        may_govern(call)?;
        Box::pin(why::why(self, call, &request)).await
    }

    /// The call as one of the user; both names are recorded. Only for people of the caller's own organization.
    async fn stand_in(&self, call: &Call, user: Option<&str>) -> Result<Call, Refused> {
        let Some(user) = user.filter(|user| *user != call.principal().user.as_str()) else {
            return Ok(Call { principal: call.principal.clone(), log: call.log.clone() });
        };
        call.log().set_object(user);
        let target = self.step_into(call.principal(), user).await?;
        // A super administrator may act in every organization, and reads the policies of its own only.
        if target.org != call.principal().org && !is_operator(call) {
            return Err(denied());
        }
        let presenter = call.principal().authenticated_user().clone();
        let principal = Arc::new(Principal { acted_by: Some(presenter), ..target });
        call.log().set_principal(&principal);
        Ok(Call { principal, log: call.log.clone() })
    }

    /// The connection that an administrator asks about, as the user has it: one of the administrator's own list. The
    /// operator has none, and asks about the user's.
    async fn stand_before(&self, call: &Call, user: Option<&str>, key: &str) -> Result<Standpoint, Refused> {
        let permit = self.enter(call).await?;
        let target = self.stand_in(call, user).await?;
        let owner = if is_operator(call) { &target } else { call };
        let connection = self.connection_of(owner, key).await?;
        if connection.proof != Proof::Proven {
            self.ask_for_proof(owner, &connection);
            return Err(not_ready());
        }
        let principal = target.principal();
        let address = address_of(&connection, &principal.org)?;
        let own = self.shared.store.connections().get(principal.account(), &connection.key).await?;
        let lens = self.lens(principal, &connection, &address).await?;
        let source = self.shared.store.sources().get(connection.source).await?;
        let catalog_version =
            source.filter(|source| source.org == principal.org).map(|source| source.generation);
        let asked = asked(principal, own.is_some());
        Ok(Standpoint { permit, target, asked, connection, address, lens, catalog_version })
    }
}

/// Whether it is the command line in nobody's place.
fn is_operator(call: &Call) -> bool {
    let principal = call.principal();
    call.log().door() == Door::Cli && principal.acted_by.is_none() && principal.standing.is_none()
}

/// The one answer for everybody that a caller may not act for.
fn denied() -> Refused {
    Refused::new(Code::ImpersonationDenied, "impersonation denied: name a user that you may act for")
}

fn asked(principal: &Principal, has_connection: bool) -> Asked {
    let product = principal.roles.iter().map(|role| role.name().to_owned());
    Asked {
        user: principal.user.to_string(),
        tenant: principal.tenant.to_string(),
        org: principal.org.to_string(),
        roles: product.chain(principal.data_roles.iter().cloned()).collect(),
        has_connection,
    }
}

fn limits(options: &RunOptions) -> Limits {
    Limits { max_rows: options.max_rows, timeout: options.timeout }
}
