//! Statements that an administrator of policies tries as somebody else: through the guard, on the administrator's own
//! connection, reading only.

use std::sync::Arc;

use ringfence_engine::{Isolation, ResultSet, RunOptions, SourceAddress, Value};
use ringfence_policy::{Attributes, ConnectionKind, Entitlement, Principal, RunMode, View};
use ringfence_store::connections::Connection;

use super::running::Permit;
use super::{QueryRequest, guard, options};
use crate::access_rules::RuleSet;
use crate::catalog::find_schema;
use crate::connections::address_of;
use crate::guarded::{Seat, Snapshot};
use crate::{Call, Gateway, Refused};

/// What came of a statement.
pub(crate) enum Trial {
    /// Its rows.
    Answered(ResultSet),
    /// The guard lets it through, and it was not run: it changes data.
    NotRun,
}

/// A change that was tried, and undone: the rows of its relation before and after.
pub(crate) struct Changed {
    pub(crate) before: ResultSet,
    pub(crate) answer: ResultSet,
    pub(crate) after: ResultSet,
}

/// Statements tried one after the other, which are one query of the administrator's among those that may run at once.
pub(crate) struct Trials<'a> {
    gateway: &'a Gateway,
    connection: &'a Connection,
    address: SourceAddress,
    permit: Permit,
}

impl<'a> Trials<'a> {
    pub(crate) async fn begin(
        gateway: &'a Gateway,
        call: &'a Call,
        connection: &'a Connection,
    ) -> Result<Self, Refused> {
        let permit = gateway.enter(call).await?;
        // What is read as others is on record, like every query.
        gateway.shared.audit.ready().await?;
        let address = address_of(connection, &call.principal().org)?;
        Ok(Self { gateway, connection, address, permit })
    }

    /// The principal before the snapshot; names without a schema are looked up in `schema` first. What the policy reads
    /// about the principal is read, but for what is `stated`.
    pub(crate) async fn seat(
        &self,
        snapshot: &Snapshot,
        rules: &Arc<RuleSet>,
        principal: &Arc<Principal>,
        stated: &Attributes,
        schema: Option<&str>,
    ) -> Result<Arc<Seat>, Refused> {
        let schema = schema.and_then(|name| find_schema(&snapshot.shown.catalog, name));
        let stored = schema.map(|schema| schema.name.as_str());
        let mut principal = self.gateway.with_attributes(principal, self.connection, snapshot).await?;
        if !stated.is_empty() {
            Arc::make_mut(&mut Arc::make_mut(&mut principal).attributes).extend(stated.clone());
        }
        Ok(snapshot.seat(&principal, stored, rules, &self.gateway.shared.store))
    }

    /// Runs a statement that reads, as the seat's principal would.
    //
    // INVARIANT: nothing that changes data is run. Held by the test `tests_change_nothing`.
    pub(crate) async fn run(
        &self,
        snapshot: &Snapshot,
        seat: &Seat,
        request: &QueryRequest,
    ) -> Result<Trial, Refused> {
        let policy = &snapshot.policy.policy;
        let plan = ringfence_guard::guard(&request.statement, policy.kind, &seat.shape.view)?;
        let query = plan.bind(&seat.principal, &request.parameters)?;
        if query.fence().is_none_or(|fence| fence.writes) {
            guard::check_write(self.connection, &plan, seat, RunMode::Execute, request)?;
            return Ok(Trial::NotRun);
        }
        let mut options = self.options(request.max_rows)?;
        super::budgets::narrow(&mut options, policy, &seat.principal, &plan);
        let cancel = self.permit.cancel.clone();
        let address = snapshot.policy.destination(self.address.clone());
        let ran = self.gateway.shared.engine.run(&address, &query, &options, cancel).await;
        ran.map(Trial::Answered).map_err(|error| guard::told(error, &request.statement))
    }

    /// Runs a statement that changes data, as the seat's principal would, and undoes it. `raw` reads rows as they are stored,
    /// before and after.
    //
    // INVARIANT: nothing of it stays. Held by the test `a_proof_changes_nothing`.
    pub(crate) async fn change(
        &self,
        snapshot: &Snapshot,
        seat: &Seat,
        request: &QueryRequest,
        (raw, reading): (&Seat, &str),
    ) -> Result<Changed, Refused> {
        let policy = &snapshot.policy.policy;
        let plan = ringfence_guard::guard(&request.statement, policy.kind, &seat.shape.view)?;
        let query = plan.bind(&seat.principal, &request.parameters)?;
        guard::check_write(self.connection, &plan, seat, RunMode::Execute, request)?;
        let looking =
            ringfence_guard::guard(reading, policy.kind, &raw.shape.view)?.bind(&raw.principal, &[])?;
        if looking.fence().is_none_or(|fence| fence.writes) {
            return Err(Refused::internal(&"a raw read that changes rows"));
        }
        let mut options = self.options(None)?;
        super::budgets::narrow(&mut options, policy, &seat.principal, &plan);
        let raw_options = RunOptions { max_rows: u64::MAX, ..self.options(None)? };
        let cancel = self.permit.cancel.clone();
        let told = |error| guard::told(error, &request.statement);
        let engine = &self.gateway.shared.engine;
        let address = snapshot.policy.destination(self.address.clone());
        let begun = engine.begin(&address, &raw_options, Isolation::RepeatableRead, cancel).await;
        let mut transaction = begun.map_err(told)?;
        let before = transaction.run(&looking, &raw_options).await.map_err(told)?;
        // An error ends the transaction, and undoes everything.
        let answer = transaction.run(&query, &options).await.map_err(told)?;
        let after = transaction.run(&looking, &raw_options).await.map_err(told)?;
        transaction.roll_back().await.map_err(told)?;
        Ok(Changed { before, answer, after })
    }

    /// How many rows the entitlement shows to the principal.
    pub(crate) async fn count(
        &self,
        principal: &Principal,
        entitlement: Arc<Entitlement>,
    ) -> Result<u64, Refused> {
        let kind = self.address.kind;
        let relation = &entitlement.relation;
        let statement = format!(
            "SELECT count(*) FROM {}.{}",
            quoted(&relation.schema, kind),
            quoted(&relation.name, kind)
        );
        let view =
            View { relations: [(relation.clone(), entitlement)].into_iter().collect(), ..View::default() };
        let query = ringfence_guard::guard(&statement, kind, &view)?.bind(principal, &[])?;
        let cancel = self.permit.cancel.clone();
        let ran = self.gateway.shared.engine.run(&self.address, &query, &self.options(None)?, cancel).await;
        let result = ran.map_err(|error| guard::told(error, &statement))?;
        match result.rows.first().and_then(|row| row.first()) {
            Some(Value::Integer(count)) => Ok(u64::try_from(*count).unwrap_or(0)),
            _ => Err(Refused::internal(&"a count that is no number")),
        }
    }

    /// Reads rows as they are stored, through a view that hides nothing, `max_rows` of them at most.
    pub(crate) async fn read_raw(
        &self,
        seat: &Seat,
        statement: &str,
        max_rows: u64,
    ) -> Result<ResultSet, Refused> {
        let plan = ringfence_guard::guard(statement, self.address.kind, &seat.shape.view)?;
        let query = plan.bind(&seat.principal, &[])?;
        if query.fence().is_none_or(|fence| fence.writes) {
            return Err(Refused::internal(&"a raw read that changes rows"));
        }
        let options = RunOptions { max_rows, ..self.options(None)? };
        let cancel = self.permit.cancel.clone();
        let ran = self.gateway.shared.engine.run(&self.address, &query, &options, cancel).await;
        ran.map_err(|error| guard::told(error, statement))
    }

    fn options(&self, max_rows: Option<u64>) -> Result<RunOptions, Refused> {
        let request = QueryRequest { max_rows, ..QueryRequest::default() };
        options::options(&self.gateway.shared.config, &request)
    }
}

/// A name as the database quotes it.
pub(crate) fn quoted(name: &str, kind: ConnectionKind) -> String {
    match kind {
        ConnectionKind::Mysql => format!("`{}`", name.replace('`', "``")),
        ConnectionKind::Postgresql | ConnectionKind::Sqlite | ConnectionKind::Lake | ConnectionKind::Push => {
            format!("\"{}\"", name.replace('"', "\"\""))
        }
    }
}
