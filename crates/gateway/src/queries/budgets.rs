//! Budgets: what a policy lets one statement use, and all statements of one tenant together.
//!
//! What a statement uses is held by the engine (rows, columns, time), by the database's own estimate (cost), or by the
//! guard, which says what a statement reads as a whole. What a tenant uses is counted here, on this node.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use moka::sync::Cache;
use parking_lot::Mutex;
use ringfence_engine::{RunOptions, SourceAddress, SourceError};
use ringfence_guard::{GuardedPlan, GuardedQuery};
use ringfence_policy::budget::Limit;
use ringfence_policy::{Policy, Principal, RelationName, RunMode, TenantId};
use ringfence_store::policies::PolicyPlace;

use super::guard::told;
use super::told::{BudgetReport, Concurrency, Rate};
use super::{Admitted, Permit};
use crate::policies::LoadedPolicy;
use crate::{Call, Code, Gateway, Refused};

/// Tenants and budgets whose statements of the last minute are counted.
const RATES: u64 = 65_536;
/// Unused for so long, a count is full again, and need not be kept.
const IDLE: Duration = Duration::from_mins(2);

/// The time of `requests_per_minute`.
const MINUTE: Duration = Duration::from_mins(1);

/// What tenants use now, and have used within the last minute, on this node.
pub(crate) struct TenantBudgets {
    running: Arc<Running>,
    rates: Cache<(Counter, u32), Arc<Minute>>,
    clock: DefaultClock,
}

type Running = Mutex<HashMap<Counter, u32>>;
type Minute = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// A tenant's statements under one budget: one of the policy's as a whole, or of a model's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Counter {
    place: PolicyPlace,
    model: Option<RelationName>,
    number: usize,
    tenant: TenantId,
}

/// What holds for one statement, or those of one request, while it runs. Dropped, however it ended, it frees the places that it took.
#[derive(Default)]
pub(crate) struct Spending {
    taken: Vec<Taken>,
    /// Counts of the last minute that the request is in.
    counted: Vec<Counter>,
    max_cost: Option<(u64, String)>,
    /// Whose limit the statement's time is, when it is a budget's.
    timeout: Option<String>,
    told: BudgetReport,
}

/// A place among the statements of a tenant.
struct Taken {
    counter: Counter,
    /// Those of the tenant when it was taken, this one among them.
    used: u32,
    running: Arc<Running>,
}

impl TenantBudgets {
    pub(crate) fn new() -> Self {
        Self {
            running: Arc::default(),
            rates: Cache::builder().max_capacity(RATES).time_to_idle(IDLE).build(),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a statement of the last minute.
    fn count(&self, counter: Counter, per_minute: u32, budget: &str) -> Result<Rate, (Refused, Rate)> {
        let left = |remaining: u32, reset: Duration| Rate { limit: per_minute, remaining, reset };
        let Some(quota) = NonZeroU32::new(per_minute) else {
            return Err((rate_limited(per_minute, budget, None), left(0, MINUTE)));
        };
        let key = (counter, per_minute);
        let new = || Arc::new(RateLimiter::direct(Quota::per_minute(quota)).with_middleware());
        match self.rates.get_with(key, new).check() {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity().min(per_minute);
                let used = per_minute.saturating_sub(remaining);
                Ok(left(remaining, MINUTE.mul_f64(f64::from(used) / f64::from(per_minute))))
            }
            Err(until) => {
                let wait = until.wait_time_from(self.clock.now());
                Err((rate_limited(per_minute, budget, Some(wait)), left(0, wait)))
            }
        }
    }

    /// Takes a place.
    //
    // INVARIANT: a place is freed when the statement ends, fails, is cancelled or nobody waits for it any more, because
    // whoever holds it is dropped then. Held by the test `places_of_a_tenant_are_freed_however_a_statement_ends`.
    fn take(&self, counter: Counter, most: u32, budget: &str) -> Result<Taken, Refused> {
        let mut running = self.running.lock();
        let count = running.get(&counter).copied().unwrap_or(0);
        let is_full = count >= most;
        measure("max_concurrent", is_full);
        if is_full {
            return Err(Refused::new(
                Code::TenantBusy,
                format!(
                    "{budget} lets your tenant run {most} queries at once (max_concurrent): wait for one of them to end"
                ),
            ));
        }
        let used = count.saturating_add(1);
        running.insert(counter.clone(), used);
        drop(running);
        Ok(Taken { counter, used, running: Arc::clone(&self.running) })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut running = self.running.lock();
        if let Entry::Occupied(mut count) = running.entry(self.counter.clone()) {
            if *count.get() > 1 {
                *count.get_mut() -= 1;
            } else {
                count.remove();
            }
        }
    }
}

/// What statements of one request spend together is counted once.
impl Spending {
    /// Narrows the statement's limits to the budgets that apply, and takes the places that it needs, unless a statement of
    /// the same request took them. Of several models the tightest counts.
    pub(crate) fn spend(
        &mut self,
        gateway: &Gateway,
        call: &Call,
        policy: &LoadedPolicy,
        plan: &GuardedPlan,
        mode: RunMode,
        options: &mut RunOptions,
    ) -> Result<(), Refused> {
        let principal = call.principal();
        refuse_breadth(&policy.policy, principal, plan).map_err(|(refused, budget)| {
            measure("refuse_broad_queries", true);
            call.log().set_object(&budget);
            refused
        })?;
        self.timeout = narrow(options, &policy.policy, principal, plan);
        if mode == RunMode::Explain {
            return Ok(());
        }
        let limits = policy.policy.limits(plan.named(), principal);
        let max_rows = limits.max_rows().map(|limit| limit.value);
        let timeout = limits.timeout().map(|limit| limit.value);
        self.report(call, BudgetReport { max_rows, timeout, ..BudgetReport::default() });
        self.max_cost = limits.max_cost().map(|limit| (limit.value, named("max_cost", &limit)));
        let budgets = &gateway.shared.budgets;
        let counter = |limit: &Limit<'_, u32>| Counter {
            place: policy.place.clone(),
            model: limit.model.map(|model| model.relation.clone()),
            number: limit.number,
            tenant: principal.tenant.clone(),
        };
        for limit in limits.requests_per_minute() {
            let counter = counter(&limit);
            if !self.counted.contains(&counter) {
                let spent = budgets.count(counter.clone(), limit.value, &whose(&limit));
                measure("requests_per_minute", spent.is_err());
                let (Ok(rate) | Err((_, rate))) = &spent;
                self.report(call, BudgetReport { rate: Some(*rate), ..BudgetReport::default() });
                noted(call, spent.map_err(|(refused, _)| refused), || named("requests_per_minute", &limit))?;
                self.counted.push(counter);
            }
        }
        for limit in limits.max_concurrent() {
            let counter = counter(&limit);
            if !self.taken.iter().any(|taken| taken.counter == counter) {
                let taken = budgets.take(counter, limit.value, &whose(&limit));
                let used = taken.as_ref().map_or(limit.value, |taken| taken.used);
                let concurrency = Some(Concurrency { limit: limit.value, used });
                self.report(call, BudgetReport { concurrency, ..BudgetReport::default() });
                self.taken.push(noted(call, taken, || named("max_concurrent", &limit))?);
            }
        }
        Ok(())
    }

    /// Tells the caller of a budget, beside those told before.
    fn report(&mut self, call: &Call, report: BudgetReport) {
        self.told = self.told.tightened(report);
        call.log().set_budget(self.told);
    }

    /// What the database may expect the last statement to cost, and the budget that says so.
    pub(crate) fn max_cost(&self) -> Option<(u64, String)> {
        self.max_cost.clone()
    }
}

/// Narrows what the engine holds the statement to; answers whose limit its time is, when it is a budget's.
pub(super) fn narrow(
    options: &mut RunOptions,
    policy: &Policy,
    principal: &Principal,
    plan: &GuardedPlan,
) -> Option<String> {
    let limits = policy.limits(plan.named(), principal);
    if let Some(limit) = limits.max_rows() {
        options.max_rows = options.max_rows.min(limit.value);
    }
    options.max_columns = limits.max_fields().map(|limit| limit.value);
    let limit = limits.timeout().filter(|limit| limit.value < options.timeout)?;
    options.timeout = limit.value;
    Some(named("statement_timeout", &limit))
}

/// The guard says what the statement reads without a condition and without a limit. A refusal comes with the budget's name.
pub(super) fn refuse_breadth(
    policy: &Policy,
    principal: &Principal,
    plan: &GuardedPlan,
) -> Result<(), (Refused, String)> {
    let limits = policy.limits(plan.named(), principal);
    let Some((relation, limit)) = limits.refused_breadth(plan.broad()) else { return Ok(()) };
    let message = format!(
        "the query reads \"{}\" as a whole, which {} does not allow: give a condition on a column, or a LIMIT",
        relation.name,
        whose(&limit)
    );
    Err((Refused::new(Code::QueryTooBroad, message), named("refuse_broad_queries", &limit)))
}

impl Gateway {
    /// Refuses a statement that the database expects to cost more than the budget.
    pub(super) async fn within_cost(
        &self,
        call: &Call,
        admitted: &Admitted,
        permit: &Permit,
    ) -> Result<(), Refused> {
        let limit = admitted.spending().and_then(Spending::max_cost);
        let at = (&admitted.address, admitted.query(), &admitted.options);
        let text = admitted.guarded_text().map_or("", |text| &**text);
        self.cost_within(call, limit, at, permit, text).await
    }

    /// The same of a statement on the way to that address; `text` is how its caller wrote it.
    pub(crate) async fn cost_within(
        &self,
        call: &Call,
        limit: Option<(u64, String)>,
        (address, query, options): (&SourceAddress, &GuardedQuery, &RunOptions),
        permit: &Permit,
        text: &str,
    ) -> Result<(), Refused> {
        let Some(limit) = limit else { return Ok(()) };
        let asking = self.shared.engine.cost(address, query, options);
        let cost = tokio::select! {
            cost = asking => cost.map_err(|error| told(error, text))?,
            () = permit.cancel.cancelled() => return Err(SourceError::Cancelled.into()),
        };
        refuse_cost(call, limit, cost)
    }
}

/// Refuses what is expected to cost more than the budget of that name.
pub(crate) fn refuse_cost(
    call: &Call,
    (most, budget): (u64, String),
    cost: Option<f64>,
) -> Result<(), Refused> {
    #[expect(clippy::cast_precision_loss, reason = "an estimate that large is no longer exact to a unit")]
    let is_over = cost.is_some_and(|cost| cost > most as f64);
    measure("max_cost", is_over);
    if !is_over {
        return Ok(());
    }
    call.log().set_object(&budget);
    // The estimate itself is made of rows that the caller may not see.
    Err(Refused::new(
        Code::CostExceeded,
        format!(
            "the database expects the query to cost more than {most}, which is the policy's limit (max_cost): narrow it"
        ),
    ))
}

impl Spending {
    /// Notes in the audit record that a budget stopped the statement, if one did.
    pub(super) fn note(&self, call: &Call, refused: &Refused) {
        match refused.code {
            Code::QueryTimedOut => {
                if let Some(budget) = &self.timeout {
                    measure("statement_timeout", true);
                    call.log().set_object(budget);
                }
            }
            Code::TooManyFields => {
                measure("max_fields", true);
                call.log().set_object("budget max_fields");
            }
            _ => {}
        }
    }
}

/// Notes in the audit record which budget refused.
fn noted<T>(call: &Call, outcome: Result<T, Refused>, budget: impl FnOnce() -> String) -> Result<T, Refused> {
    if outcome.is_err() {
        call.log().set_object(&budget());
    }
    outcome
}

fn rate_limited(per_minute: u32, budget: &str, wait: Option<Duration>) -> Refused {
    let when = match wait {
        Some(wait) => format!("try again in {} s", wait.as_secs().saturating_add(1)),
        None => "ask your administrator".to_owned(),
    };
    let message =
        format!("{budget} lets your tenant send {per_minute} queries a minute (requests_per_minute): {when}");
    Refused::new(Code::TenantRateLimited, message)
}

/// Counts how a budget ended. By the limit's name alone: nothing that a caller chooses is in a label.
fn measure(limit: &'static str, is_refused: bool) {
    let outcome = if is_refused { "refused" } else { "within" };
    metrics::counter!("ringfence_budget_checks_total", "limit" => limit, "outcome" => outcome).increment(1);
}

/// In the words of messages.
fn whose<T>(limit: &Limit<'_, T>) -> String {
    match limit.model {
        Some(model) => format!("the budget of {}", model.name),
        None => "the policy's budget".to_owned(),
    }
}

/// In the words of the audit record.
fn named<T>(key: &str, limit: &Limit<'_, T>) -> String {
    match limit.model {
        Some(model) => format!("budget {key} of {}", model.name),
        None => format!("budget {key}"),
    }
}

#[cfg(test)]
mod tests {
    use ringfence_policy::OrgId;

    use super::*;

    fn counter(tenant: &str, model: Option<&str>) -> Counter {
        Counter {
            place: PolicyPlace { org: OrgId::new("acme").unwrap(), place: "here".to_owned() },
            model: model.map(|name| RelationName::new("public", name)),
            number: 0,
            tenant: TenantId::new(tenant).unwrap(),
        }
    }

    #[test]
    fn each_tenant_and_budget_has_places_of_its_own() {
        let budgets = TenantBudgets::new();
        let take = |tenant: &str, model: Option<&str>| budgets.take(counter(tenant, model), 2, "the budget");
        let (first, second) = (take("a", None).ok().unwrap(), take("a", None).ok().unwrap());
        assert_eq!(take("a", None).err().unwrap().code, Code::TenantBusy);
        let (other, model) = (take("b", None).ok().unwrap(), take("a", Some("orders")).ok().unwrap());
        drop(first);
        let third = take("a", None);
        assert!(third.is_ok() && take("a", None).is_err());
        assert_eq!(budgets.take(counter("c", None), 0, "x").err().unwrap().code, Code::TenantBusy);
        drop((third, second, other, model));
        assert!(budgets.running.lock().is_empty(), "nothing is kept of what ended");
    }

    #[test]
    fn each_tenant_has_a_minute_of_its_own() {
        let budgets = TenantBudgets::new();
        let count = |tenant: &str| budgets.count(counter(tenant, None), 2, "the budget");
        let left =
            |tenant: &str| count(tenant).map(|rate| rate.remaining).map_err(|(refused, _)| refused.code);
        assert_eq!((left("a"), left("a")), (Ok(1), Ok(0)));
        let (refused, rate) = count("a").unwrap_err();
        assert!(rate.remaining == 0 && !rate.reset.is_zero() && rate.reset <= MINUTE, "{rate:?}");
        assert_eq!(refused.code, Code::TenantRateLimited);
        assert!(refused.message.contains("try again in"), "{refused}");
        assert_eq!(left("b"), Ok(1));
        assert!(budgets.count(counter("b", None), 0, "the budget").is_err());
        let anew = budgets.count(counter("a", None), 3, "the budget");
        assert!(anew.is_ok(), "another budget counts anew");
        let second = Counter { number: 1, ..counter("a", None) };
        assert!(budgets.count(second, 2, "the budget").is_ok(), "so does the policy's second one");
    }
}
