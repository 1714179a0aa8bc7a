//! The road of a request on models: the connection, the caller's view of it, and statements run one after the other.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use ringfence_engine::{Isolation, ResultSet, RunOptions, SourceAddress, SourceTransaction};
use ringfence_guard::{GuardedPlan, GuardedQuery, Parameter};
use ringfence_policy::{Permission, RunMode};
use ringfence_semantic::query::Bounds;
use ringfence_semantic::{ModelView, Models, Statement};
use ringfence_store::connections::Connection;
use serde_json::Value;

use crate::connections::address_of;
use crate::guarded::{Breadth, Seat, Snapshot, WrittenAttributes, shown};
use crate::queries::{Permit, QueryRequest, Spending, refuse_cost, told};
use crate::{Call, Code, Gateway, Refused};

/// Rows of a page when neither the request nor a budget says.
const DEFAULT_TAKE: u64 = 100;
/// How deep includes go where no budget says.
const DEEPEST: u32 = 8;

/// A request on its way.
pub(super) struct Road<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) call: &'a Call,
    pub(super) connection: Arc<Connection>,
    pub(super) address: SourceAddress,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) seat: Arc<Seat>,
    pub(super) permit: Permit,
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
pub(super) struct Ready {
    pub(super) query: GuardedQuery,
    pub(super) options: RunOptions,
    pub(super) text: String,
    /// Forgets the attributes that are read from what the statement changes.
    _written: Option<WrittenAttributes>,
}

impl<'a> Road<'a> {
    pub(super) async fn open(gateway: &'a Gateway, call: &'a Call, key: &str) -> Result<Self, Refused> {
        call.needs(Permission::ReadDatabases)?;
        let permit = gateway.enter(call).await?;
        let connection = gateway.connection_to_query(call, key).await?;
        gateway.shared.audit.ready().await?;
        let address = address_of(&connection, &call.principal().org)?;
        // INVARIANT: policy and rules are asked for with every request. Held by `a_change_takes_effect_at_once`.
        let lens = gateway.lens(call.principal(), &connection, &address).await?;
        let lens = lens.filter(|lens| lens.breadth == Breadth::Policy).ok_or_else(|| {
            Refused::new(
                Code::ModelNotAllowed,
                "there are no models here: models are what a policy on the connection names",
            )
        })?;
        let (snapshot, seat) = gateway.seat(call, &connection, lens, None).await?;
        Ok(Self { gateway, call, connection, address, snapshot, seat, permit, told: Mutex::default() })
    }

    /// The models that the caller sees.
    pub(super) fn models(&self) -> Models<'_> {
        Models::of(&self.snapshot.policy.policy, &self.seat.shape.view)
    }

    /// What holds for a request on the model.
    pub(super) fn bounds(&self, model: ModelView<'_>) -> Bounds {
        let policy = &self.snapshot.policy.policy;
        let config = &self.gateway.shared.config;
        let limits = policy.limits(std::slice::from_ref(&model.model.relation), self.call.principal());
        let max_take = limits.max_rows().map_or(config.max_rows, |limit| limit.value.min(config.max_rows));
        let depth = limits.max_include_depth().map(|limit| limit.value);
        Bounds {
            default_take: DEFAULT_TAKE.min(max_take),
            max_take,
            max_depth: depth.map_or(DEEPEST, |depth| depth.min(DEEPEST)),
            max_fields: limits.max_fields().map(|limit| limit.value),
        }
    }

    /// Refuses a request that asks for more at once than a budget allows.
    pub(super) fn within_complexity(&self, model: ModelView<'_>, score: u64) -> Result<(), Refused> {
        let policy = &self.snapshot.policy.policy;
        let limits = policy.limits(std::slice::from_ref(&model.model.relation), self.call.principal());
        let Some(limit) = limits.max_complexity().filter(|limit| score > u64::from(limit.value)) else {
            return Ok(());
        };
        Err(Refused::new(
            Code::BudgetExceeded,
            format!(
                "the request's score is {score}, and {} are allowed (max_complexity): ask for fewer fields, conditions or relations",
                limit.value
            ),
        ))
    }

    /// Puts the statement behind the fences of the seat's view, and has budgets look at it.
    pub(super) async fn guard(
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
    pub(super) async fn run(&self, ready: &Ready) -> Result<ResultSet, Refused> {
        self.within_cost(ready).await?;
        let engine = &self.gateway.shared.engine;
        let ran = engine.run(&self.address, &ready.query, &ready.options, self.permit.cancel.clone()).await;
        ran.map_err(|error| told(error, &ready.text))
    }

    /// Begins a transaction.
    pub(super) async fn begin(&self, isolation: Isolation) -> Result<SourceTransaction, Refused> {
        let options = crate::queries::run_options(&self.gateway.shared.config, &QueryRequest::default())?;
        let engine = &self.gateway.shared.engine;
        Ok(engine.begin(&self.address, &options, isolation, self.permit.cancel.clone()).await?)
    }

    /// Refuses what the database expects to cost more than the budget.
    pub(super) async fn within_cost(&self, ready: &Ready) -> Result<(), Refused> {
        let limit = self.told.lock().spending.max_cost();
        let at = (&self.address, &ready.query, &ready.options);
        self.gateway.cost_within(self.call, limit, at, &self.permit, &ready.text).await
    }

    /// The same, asked for in the read-only transaction that the statement will run in.
    pub(super) async fn within_cost_of(
        &self,
        ready: &Ready,
        transaction: &mut SourceTransaction,
    ) -> Result<(), Refused> {
        let Some(limit) = self.told.lock().spending.max_cost() else { return Ok(()) };
        let cost = transaction.cost(&ready.query, &ready.options).await;
        refuse_cost(self.call, limit, cost.map_err(|error| told(error, &ready.text))?)
    }

    /// The seat with that view in the place of its own.
    pub(super) fn seat_with(&self, view: ringfence_policy::View) -> Arc<Seat> {
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
