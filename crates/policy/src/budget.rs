//! Budgets of one statement: of all that apply, the tightest counts.

use std::time::Duration;

use crate::document::Budget;
use crate::expression::RelationName;
use crate::policy::{Model, Policy};

/// The budgets that apply to a statement: the policy's, and those of the models that it names.
#[derive(Debug, Clone)]
pub struct Limits<'a> {
    budgets: Vec<(Option<&'a Model>, &'a Budget)>,
}

/// A limit, and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Limit<'a, T> {
    /// How much.
    pub value: T,
    /// The model that sets it; `None` for the policy as a whole.
    pub model: Option<&'a Model>,
}

impl Policy {
    /// What holds for a statement that names these relations.
    pub fn limits(&self, relations: &[RelationName]) -> Limits<'_> {
        let of_policy = self.budget.as_ref().map(|budget| (None, budget));
        let models = relations.iter().filter_map(|relation| self.models.get(relation));
        let of_models = models.filter_map(|model| Some((Some(model), model.budget.as_ref()?)));
        Limits { budgets: of_policy.into_iter().chain(of_models).collect() }
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

    /// What the database expects the statement to cost.
    pub fn max_cost(&self) -> Option<Limit<'a, u64>> {
        self.tightest(|budget| budget.max_cost)
    }

    /// The first of these relations that may not be read as a whole. Of the policy's own budget, each is one.
    pub fn refused_breadth<'b>(
        &self,
        broad: &'b [RelationName],
    ) -> Option<(&'b RelationName, Limit<'a, ()>)> {
        let refusing = || self.budgets.iter().filter(|(_, budget)| budget.refuse_broad_queries);
        broad.iter().find_map(|relation| {
            let meant = |model: Option<&Model>| model.is_none_or(|model| model.relation == *relation);
            let (model, _) = refusing().find(|(model, _)| meant(*model))?;
            Some((relation, Limit { value: (), model: *model }))
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
        self.budgets
            .iter()
            .filter_map(move |(model, budget)| Some(Limit { value: of(budget)?, model: *model }))
    }

    fn tightest<T: Ord>(&self, of: impl Fn(&Budget) -> Option<T>) -> Option<Limit<'a, T>> {
        self.each(of).min_by(|one, other| one.value.cmp(&other.value))
    }
}
