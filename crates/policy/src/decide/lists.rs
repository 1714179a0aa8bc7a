//! Long lists for databases without arrays: their length in steps, so that principals still share plans.

use crate::entitlement::Entitlement;
use crate::evaluate::{Values, values_of};
use crate::expression::{Expression, ListShape};
use crate::principal::Principal;

/// The shortest of them; each next one is twice as long.
const SHORTEST: usize = 16;

/// Gives each long list of the entitlement its length in steps.
pub(super) fn pad(entitlement: &mut Entitlement, principal: &Principal) {
    let writes = &mut entitlement.writes;
    let masks = entitlement.columns.iter_mut().filter_map(|column| column.mask.as_mut());
    let set = writes.auto_set.iter_mut().flat_map(|(_, set)| [&mut set.value, &mut set.accepts]);
    for expression in masks.chain(set).chain(&mut writes.rows).chain([&mut entitlement.rows]) {
        expression.for_each_part_mut(&mut |part| {
            if let Expression::InPrincipal { path, values: values @ ListShape::Many, .. } = part
                && let Values::List(list) = values_of(principal, path)
            {
                *values = ListShape::Padded(step(list.len()));
            }
        });
    }
}

fn step(count: usize) -> usize {
    // Longer lists than there is a power of two for are refused by the database.
    count.max(SHORTEST).checked_next_power_of_two().unwrap_or(count)
}
