//! How much a request asks for at once, as one figure that budgets can bound.
//!
//! A model counts 10, a field 1, a condition on a field 2, a field of the order 1, a figure 3, a group 2, a count of all
//! rows 10. What is included counts twice on the first level, three times on the second, and so on.

use std::collections::BTreeMap;

use crate::model::ModelView;
use crate::request::{Aggregate, Condition, Include, Query};

/// The score of rows.
pub fn of_query(model: ModelView<'_>, query: &Query) -> u64 {
    let own = [
        10,
        fields(model, query.select.as_deref()),
        conditions(query.filter.as_ref()),
        query.order_by.len() as u64,
        u64::from(query.total_count).saturating_mul(10),
    ];
    total(own).saturating_add(includes(model, &query.include, 2))
}

/// The score of figures.
pub fn of_aggregate(request: &Aggregate) -> u64 {
    total([
        10,
        (request.aggregates.len() as u64).saturating_mul(3),
        (request.group_by.len() as u64).saturating_mul(2),
        conditions(request.filter.as_ref()),
        request.order_by.len() as u64,
    ])
}

fn includes(model: ModelView<'_>, asked: &BTreeMap<String, Include>, depth: u64) -> u64 {
    let one = |(name, include): (&String, &Include)| {
        let target = model.way(name).map(|way| way.target);
        let selected = include.select.as_ref().map_or(0, |names| names.len() as u64);
        let own = total([
            10,
            target.as_ref().map_or(selected, |target| fields(*target, include.select.as_deref())),
            conditions(include.filter.as_ref()),
            include.order_by.len() as u64,
        ]);
        let below = target.map_or(0, |target| includes(target, &include.include, depth.saturating_add(1)));
        own.saturating_mul(depth).saturating_add(below)
    };
    total(asked.iter().map(one))
}

fn fields(model: ModelView<'_>, select: Option<&[String]>) -> u64 {
    select.map_or_else(|| model.entitlement.columns.len() as u64, |names| names.len() as u64)
}

fn conditions(filter: Option<&Condition>) -> u64 {
    match filter {
        None => 0,
        Some(Condition::Test(_)) => 2,
        Some(Condition::Not(inner)) => conditions(Some(inner)),
        Some(Condition::And(all) | Condition::Or(all)) => {
            total(all.iter().map(|part| conditions(Some(part))))
        }
    }
}

fn total(parts: impl IntoIterator<Item = u64>) -> u64 {
    parts.into_iter().fold(0, u64::saturating_add)
}
