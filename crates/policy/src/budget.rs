//! Budgets of one statement: of all that apply, the tightest counts.

use std::time::Duration;

use crate::document::Budget;
use crate::evaluate::role_names;
use crate::expression::RelationName;
use crate::policy::{BudgetRule, Model, Policy};
use crate::principal::Principal;

/// The budgets that apply to a principal's statement: the policy's, and those of the models that it names.
#[derive(Debug, Clone)]
pub struct Limits<'a> {
    budgets: Vec<(Option<&'a Model>, &'a BudgetRule)>,
}

/// A limit, and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Limit<'a, T> {
    /// How much.
    pub value: T,
    /// The model that sets it; `None` for the policy as a whole.
    pub model: Option<&'a Model>,
    /// Which of its budgets, from 0.
    pub number: usize,
}

impl Policy {
    /// What holds for a statement of the principal that names these relations.
    //
    // INVARIANT: a budget more never allows more. Held by the test `the_tightest_counts_and_none_allows_more`.
    pub fn limits(&self, relations: &[RelationName], principal: &Principal) -> Limits<'_> {
        let of_policy = self.budgets.iter().map(|rule| (None, rule));
        let models = relations.iter().filter_map(|relation| self.models.get(relation));
        let of_models = models.flat_map(|model| model.budgets.iter().map(move |rule| (Some(model), rule)));
        let held: Vec<&str> = role_names(principal).collect();
        let applies = |rule: &BudgetRule| {
            let is_of =
                |tenants: &Vec<String>| tenants.iter().any(|tenant| tenant == principal.tenant.as_str());
            rule.gate.admits(&held) && rule.tenants.as_ref().is_none_or(is_of)
        };
        Limits { budgets: of_policy.chain(of_models).filter(|(_, rule)| applies(rule)).collect() }
    }
}

impl<'a> Limits<'a> {
    /// Rows of the answer.
    pub fn max_rows(&self) -> Option<Limit<'a, u64>> {
        self.tightest(|budget| budget.max_rows)
    }

    /// How long the statement may run.
    pub fn timeout(&self) -> Option<Limit<'a, Duration>> {
        self.tightest(Budget::timeout)
    }

    /// Columns of the answer.
    pub fn max_fields(&self) -> Option<Limit<'a, u32>> {
        self.tightest(|budget| budget.max_fields)
    }

    /// How deep includes of a request of the models API may go.
    pub fn max_include_depth(&self) -> Option<Limit<'a, u32>> {
        self.tightest(|budget| budget.max_include_depth)
    }

    /// The score of a request of the models API.
    pub fn max_complexity(&self) -> Option<Limit<'a, u32>> {
        self.tightest(|budget| budget.max_complexity)
    }

    /// What the database expects the statement to cost.
    pub fn max_cost(&self) -> Option<Limit<'a, u64>> {
        self.tightest(|budget| budget.max_cost)
    }

    /// The first of these relations that may not be read as a whole. Of the policy's own budget, each is one.
    pub fn refused_breadth<'b>(
        &self,
        broad: &'b [RelationName],
    ) -> Option<(&'b RelationName, Limit<'a, ()>)> {
        let refusing = || self.budgets.iter().filter(|(_, rule)| rule.budget.refuse_broad_queries);
        broad.iter().find_map(|relation| {
            let meant = |model: Option<&Model>| model.is_none_or(|model| model.relation == *relation);
            let (model, rule) = refusing().find(|(model, _)| meant(*model))?;
            Some((relation, Limit { value: (), model: *model, number: rule.number }))
        })
    }

    /// Statements of one tenant at once: each budget counts those that it applies to.
    pub fn max_concurrent(&self) -> impl Iterator<Item = Limit<'a, u32>> + '_ {
        self.each(|budget| budget.max_concurrent)
    }

    /// Statements of one tenant in a minute: each budget counts those that it applies to.
    pub fn requests_per_minute(&self) -> impl Iterator<Item = Limit<'a, u32>> + '_ {
        self.each(|budget| budget.requests_per_minute)
    }

    fn each<T>(&self, of: impl Fn(&Budget) -> Option<T>) -> impl Iterator<Item = Limit<'a, T>> {
        self.budgets.iter().filter_map(move |(model, rule)| {
            Some(Limit { value: of(&rule.budget)?, model: *model, number: rule.number })
        })
    }

    fn tightest<T: Ord>(&self, of: impl Fn(&Budget) -> Option<T>) -> Option<Limit<'a, T>> {
        self.each(of).min_by(|one, other| one.value.cmp(&other.value))
    }
}
