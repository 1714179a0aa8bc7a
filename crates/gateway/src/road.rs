//! The road of a request that makes its own statements: the connection, the caller's view of it, and statements run one after
//! the other. Models and published endpoints walk on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use ringfence_engine::{Isolation, ResultSet, RunOptions, SourceAddress, SourceTransaction};
use ringfence_guard::{GuardedPlan, GuardedQuery, Parameter};
use ringfence_policy::{Permission, RunMode};
use ringfence_semantic::Statement;
use ringfence_store::connections::Connection;
use serde_json::Value;

use crate::connections::address_of;
use crate::guarded::{Breadth, Seat, Snapshot, WrittenAttributes, shown};
use crate::queries::{Permit, QueryRequest, Spending, refuse_cost, told};
use crate::{Call, Code, Gateway, Refused};

/// A request on its way.
pub(crate) struct Road<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) call: &'a Call,
    pub(crate) connection: Arc<Connection>,
    pub(crate) address: SourceAddress,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) seat: Arc<Seat>,
    permit: Permit,
    told: Mutex<Told>,
}

/// What the record of the call says of its statements.
#[derive(Default)]
struct Told {
    fingerprint: Option<String>,
    tables: Vec<String>,
    bypasses: BTreeSet<String>,
    spending: Spending,
}

/// A statement that may run.
pub(crate) struct Ready {
    pub(crate) query: GuardedQuery,
    pub(crate) options: RunOptions,
    pub(crate) text: String,
    /// Forgets the attributes that are read from what the statement changes.
    _written: Option<WrittenAttributes>,
}

impl Ready {
    /// Whether it changes rows.
    pub(crate) fn writes(&self) -> bool {
        self.query.fence().is_none_or(|fence| fence.writes)
    }
}

impl<'a> Road<'a> {
    /// To one of the caller's connections.
    pub(crate) async fn open(gateway: &'a Gateway, call: &'a Call, key: &str) -> Result<Self, Refused> {
        call.needs(Permission::ReadDatabases)?;
        let permit = gateway.enter(call).await?;
        let connection = gateway.connection_to_query(call, key).await?;
        let nothing = "there are no models here: models are what a policy on the connection names";
        Self::to(gateway, call, connection, permit, || Refused::new(Code::ModelNotAllowed, nothing)).await
    }

    /// To a connection that is guarded by a policy; `open` is what is said of one that is not.
    //
    // INVARIANT: what is run here runs behind the caller's own view, whoever registered the connection.
    pub(crate) async fn to(
        gateway: &'a Gateway,
        call: &'a Call,
        connection: Arc<Connection>,
        permit: Permit,
        open: impl FnOnce() -> Refused,
    ) -> Result<Self, Refused> {
        gateway.shared.audit.ready().await?;
        let address = address_of(&connection, &call.principal().org)?;
        // INVARIANT: policy and rules are asked for with every request. Held by `a_change_takes_effect_at_once`.
        let lens = gateway.lens(call.principal(), &connection, &address).await?;
        let lens = lens.filter(|lens| lens.breadth == Breadth::Policy).ok_or_else(open)?;
        let (snapshot, seat) = gateway.seat(call, &connection, lens, None).await?;
        let address = snapshot.policy.destination(address);
        Ok(Self { gateway, call, connection, address, snapshot, seat, permit, told: Mutex::default() })
    }

    /// Puts the statement behind the fences of the seat's view, and has budgets look at it.
    pub(crate) async fn guard(
        &self,
        seat: &Seat,
        statement: &Statement,
        reason: Option<&str>,
    ) -> Result<Ready, Refused> {
        let (gateway, call, policy) = (self.gateway, self.call, &self.snapshot.policy);
        let found =
            crate::queries::plan(gateway, call, &self.connection, (&self.snapshot, seat), &statement.text)
                .await?;
        let parameters: Vec<Parameter> = statement.parameters.iter().map(parameter).collect();
        let query = found.bind_typed(&seat.principal, &parameters)?;
        let plan = &found.plan.plan;
        self.note(&found.plan.fingerprint, &found.plan.tables, plan);
        call.log().set_enforced(seat.applied(&self.snapshot, plan.named()), found.plan.masked.clone());
        let request = QueryRequest { reason: reason.map(str::to_owned), ..QueryRequest::default() };
        if plan.writes() {
            crate::queries::check_write(&self.connection, plan, seat, RunMode::Execute, &request)?;
        }
        let mut options = crate::queries::run_options(&gateway.shared.config, &request)?;
        // A page reads one row more than it shows.
        options.max_rows = options.max_rows.max(gateway.shared.config.max_rows.saturating_add(1));
        let most = options.max_rows;
        self.told.lock().spending.spend(gateway, call, policy, plan, RunMode::Execute, &mut options)?;
        // Those of the request were held against the budgets already, in its own words.
        (options.max_rows, options.max_columns) = (most, None);
        let written = WrittenAttributes::of(gateway, &policy.policy, &policy.place, plan.changed());
        Ok(Ready { query, options, text: statement.text.clone(), _written: written })
    }

    /// Runs a statement by itself.
    pub(crate) async fn run(&self, ready: &Ready) -> Result<ResultSet, Refused> {
        self.within_cost(ready).await?;
        let engine = &self.gateway.shared.engine;
        let ran = engine.run(&self.address, &ready.query, &ready.options, self.permit.cancel.clone()).await;
        ran.map_err(|error| told(error, &ready.text))
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&self, isolation: Isolation) -> Result<SourceTransaction, Refused> {
        let options = crate::queries::run_options(&self.gateway.shared.config, &QueryRequest::default())?;
        let engine = &self.gateway.shared.engine;
        Ok(engine.begin(&self.address, &options, isolation, self.permit.cancel.clone()).await?)
    }

    /// Comes when the call must end: its caller is no longer who they were, or the server stops.
    pub(crate) async fn cancelled(&self) {
        self.permit.cancel.cancelled().await;
    }

    /// What the database may expect the last statement to cost, and the budget that says so.
    pub(crate) fn max_cost(&self) -> Option<(u64, String)> {
        self.told.lock().spending.max_cost()
    }

    /// Refuses what the database expects to cost more than the budget.
    pub(crate) async fn within_cost(&self, ready: &Ready) -> Result<(), Refused> {
        let limit = self.max_cost();
        let at = (&self.address, &ready.query, &ready.options);
        self.gateway.cost_within(self.call, limit, at, &self.permit, &ready.text).await
    }

    /// The same, asked for in the read-only transaction that the statement will run in.
    pub(crate) async fn within_cost_of(
        &self,
        ready: &Ready,
        transaction: &mut SourceTransaction,
    ) -> Result<(), Refused> {
        let Some(limit) = self.max_cost() else { return Ok(()) };
        let cost = transaction.cost(&ready.query, &ready.options).await;
        refuse_cost(self.call, limit, cost.map_err(|error| told(error, &ready.text))?)
    }

    /// The seat with that view in the place of its own.
    pub(crate) fn seat_with(&self, view: ringfence_policy::View) -> Arc<Seat> {
        self.snapshot.seat_with(&self.seat, view)
    }

    /// Notes in the call's record what the statement is, beside those before it.
    fn note(&self, fingerprint: &str, tables: &[String], plan: &GuardedPlan) {
        let mut told = self.told.lock();
        told.fingerprint.get_or_insert_with(|| fingerprint.to_owned());
        for table in tables {
            if !told.tables.contains(table) {
                told.tables.push(table.clone());
            }
        }
        let bypasses =
            plan.bypasses().iter().map(|(relation, policy)| format!("{}: {policy}", shown(relation)));
        told.bypasses.extend(bypasses);
        let log = self.call.log();
        log.set_statement(told.fingerprint.as_deref().unwrap_or_default(), &told.tables);
        log.set_bypasses(told.bypasses.iter().cloned());
    }
}

/// As the guard binds it.
fn parameter(value: &Value) -> Parameter {
    match value {
        Value::Null => Parameter::Null,
        Value::Bool(truth) => Parameter::Bool(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Parameter::Integer(integer),
            // Larger than any integer type: the database says so itself, or takes it for a decimal.
            (None, _) if number.is_u64() => Parameter::Text(number.to_string()),
            (None, Some(float)) => Parameter::Float(float),
            (None, None) => Parameter::Text(number.to_string()),
        },
        Value::String(text) => Parameter::Text(text.clone()),
        Value::Array(items) => Parameter::List(items.iter().map(parameter).collect()),
        object @ Value::Object(_) => Parameter::Text(object.to_string()),
    }
}
