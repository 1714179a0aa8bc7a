//! From a request to a statement that may run, and where: the part of the road before the database.

use std::sync::Arc;

use ringfence_engine::{RunOptions, SourceAddress, SourceError};
use ringfence_guard::GuardedQuery;
use ringfence_policy::{Identity, OpenAccess, Permission, QueryId, RunMode};
use ringfence_store::connections::Connection;
use ringfence_store::history::HistoryEntry;

use super::budgets::Spending;
use super::guard::Guarded;
use super::{QueryRequest, guard, options};
use crate::agents;
use crate::connections::address_of;
use crate::guarded::Through;
use crate::{Call, Gateway, Refused};

/// A statement that may run, where and how.
pub(super) struct Admitted {
    pub(super) connection: Arc<Connection>,
    pub(super) address: SourceAddress,
    statement: Statement,
    pub(super) options: RunOptions,
}

/// A rewritten statement.
struct Fenced {
    guarded: Guarded,
    /// As the caller wrote it.
    written: Arc<str>,
}

/// As the guard lets it through.
enum Statement {
    /// On an open connection, and whether literals were lifted out of it.
    Open(GuardedQuery, bool),
    /// Behind the fences of the caller's view.
    Fenced(Box<Fenced>),
}

impl Admitted {
    pub(super) fn query(&self) -> &GuardedQuery {
        match &self.statement {
            Statement::Open(query, _) => query,
            Statement::Fenced(fenced) => &fenced.guarded.query,
        }
    }

    /// Whether a policy guards the connection.
    pub(super) fn is_guarded(&self) -> bool {
        matches!(self.statement, Statement::Fenced(_))
    }

    /// What became of the statement, with the caller's values in it, where that names nothing hidden.
    pub(super) fn shown_text(&self) -> Option<String> {
        match &self.statement {
            Statement::Fenced(fenced) if fenced.guarded.may_show => {
                fenced.guarded.query.text_with_values(self.address.kind)
            }
            Statement::Fenced(_) | Statement::Open(..) => None,
        }
    }

    /// The statement as its caller wrote it, where a policy guards the connection.
    pub(super) fn guarded_text(&self) -> Option<&Arc<str>> {
        match &self.statement {
            Statement::Open(..) => None,
            Statement::Fenced(fenced) => Some(&fenced.written),
        }
    }

    /// What a guarded statement was seen through.
    pub(super) fn through(&self) -> Option<&Through> {
        self.fenced().map(|fenced| &fenced.guarded.through)
    }

    /// The budgets that hold for a guarded statement.
    pub(super) fn spending(&self) -> Option<&Spending> {
        self.fenced().map(|fenced| &fenced.guarded.spending)
    }

    /// Notes in the audit record that a budget stopped the statement, if one did.
    pub(super) fn note(&self, call: &Call, refused: &Refused) {
        if let Some(spending) = self.spending() {
            spending.note(call, refused);
        }
    }

    fn fenced(&self) -> Option<&Fenced> {
        match &self.statement {
            Statement::Open(..) => None,
            Statement::Fenced(fenced) => Some(fenced),
        }
    }

    /// The statement with its literals in it, when the database found fault with the one that they were lifted out of:
    /// what is told is what it says of the statement as it was written. Only reads have literals lifted.
    pub(super) fn as_written(
        &self,
        request: &QueryRequest,
        error: Option<&SourceError>,
    ) -> Option<GuardedQuery> {
        let Some(SourceError::Statement { .. } | SourceError::Constraint { .. }) = error else {
            return None;
        };
        let kind = self.connection.spec.kind().ok()?;
        match &self.statement {
            Statement::Open(_, false) => None,
            Statement::Open(query, true) => {
                let access = OpenAccess { read_only: query.read_only() };
                ringfence_guard::open(&request.statement, kind, access).ok()
            }
            Statement::Fenced(fenced) => fenced.guarded.as_written(request, kind)?.ok(),
        }
    }

    /// What is told of the database's error.
    pub(super) fn told(&self, error: SourceError) -> Refused {
        match self.guarded_text() {
            Some(text) => guard::told(error, text),
            None => error.into(),
        }
    }
}

impl Gateway {
    /// The road of every query that is executed.
    pub(super) async fn admit(
        &self,
        call: &Call,
        key: &str,
        request: &QueryRequest,
    ) -> Result<Admitted, Refused> {
        self.admit_to(RunMode::Execute, call, key, request).await
    }

    /// The road of one that is executed or planned.
    pub(super) async fn admit_to(
        &self,
        mode: RunMode,
        call: &Call,
        key: &str,
        request: &QueryRequest,
    ) -> Result<Admitted, Refused> {
        call.needs(Permission::ReadDatabases)?;
        let connection = self.connection_to_query(call, key).await?;
        self.shared.audit.ready().await?;
        let kind = connection.spec.kind().map_err(|invalid| Refused::internal(&invalid))?;
        let access = OpenAccess { read_only: connection.spec.db_access_policy.read_only };
        call.log().set_reason(request.reason.as_deref());
        let mut address = address_of(&connection, &call.principal().org)?;
        let mut options = options::options(&self.shared.config, request)?;
        // INVARIANT: whether there is a policy, or a rule, is asked for every statement, before the guard sees it. Held by
        // the tests `a_change_takes_effect_at_once` and `a_rule_takes_effect_at_once`.
        let statement = if let Some(lens) = self.lens(call.principal(), &connection, &address).await? {
            let guarded = guard::guard(self, call, &connection, lens, (mode, request), &mut options).await?;
            address = guarded.through.policy.destination(address);
            Statement::Fenced(Box::new(Fenced { guarded, written: request.statement.as_str().into() }))
        } else {
            agents::need_guard(call)?;
            refuse_parameters(request)?;
            let tenant = &call.principal().tenant;
            // What is planned only is taken as it is written.
            let lifts = mode == RunMode::Execute;
            let judged = self.shared.statements.judge(tenant, &request.statement, kind, access, lifts)?;
            call.log().set_statement(&judged.plan.fingerprint, &judged.plan.tables);
            let is_lifted = !judged.values.is_empty();
            Statement::Open(judged.plan.plan.bind(judged.values), is_lifted)
        };
        Ok(Admitted { connection, address, statement, options })
    }

    /// History has the query before its answer, so that whoever has the id finds it.
    pub(super) fn remember(&self, call: &Call, id: &QueryId, admitted: &Admitted, request: &QueryRequest) {
        self.shared.history.record(HistoryEntry {
            id: id.clone(),
            owner: Identity { account: admitted.connection.user.clone(), ..call.principal().identity() },
            connection: admitted.connection.key.clone(),
            query: request.statement.clone(),
            ran_at: jiff::Timestamp::now().as_millisecond(),
        });
    }
}

/// The guard's open road takes none.
fn refuse_parameters(request: &QueryRequest) -> Result<(), Refused> {
    if request.parameters.is_empty() {
        return Ok(());
    }
    Err(Refused::invalid("parameters are for guarded connections: write the values into the statement"))
}
