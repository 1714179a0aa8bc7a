//! The law of access once more, as plainly as it can be said: row by row, nothing folded, nothing resolved.

use std::collections::BTreeMap;

use ringfence_policy::document::DefaultAccess;
use ringfence_policy::evaluate::{Datum, Row, World, evaluate};
use ringfence_policy::expression::{ListShape, Literal, PrincipalPath, PrincipalValue};
use ringfence_policy::policy::{Gate, RowEffect};
use ringfence_policy::{AccessRule, Expression, Policy, Principal, RelationName, RuleKind};

use crate::world::Rows;

pub(crate) struct Reference<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) rules: &'a [AccessRule],
    pub(crate) who: &'a Principal,
    pub(crate) rows: &'a Rows,
}

impl Reference<'_> {
    /// Whether the relation exists, by clause 1.
    pub(crate) fn visible(&self, table: &RelationName) -> bool {
        let blocked = self.applying(table).any(|rule| rule.kind == RuleKind::Block);
        let allowed = match self.policy.models.get(table) {
            None => self.policy.default == DefaultAccess::Allow,
            Some(model) => model.allowed && self.is_for(&model.gate),
        };
        allowed && !blocked && self.rows.contains_key(table)
    }

    /// Whether a value that the scope needs is missing, for the relation or for one whose rows it inherits.
    pub(crate) fn lacks_scope(&self, table: &RelationName) -> bool {
        let own = self.policy.models.get(table).is_some_and(|model| {
            !self.bypassed(table) && model.scoping.iter().any(|(_, path)| self.is_missing(path))
        });
        own || self.inherited(table).any(|target| self.visible(&target) && self.lacks_scope(&target))
    }

    /// Whether the row exists, by clause 3.
    pub(crate) fn shows(&self, table: &RelationName, row: &Row) -> bool {
        let lifted = self.bypassed(table);
        (lifted || (self.base(table, row) && self.narrow(table, row)))
            && self.restricted(table, row)
            && self.ruled(table, row)
            && self.partners(table, row)
    }

    fn base(&self, table: &RelationName, row: &Row) -> bool {
        let Some(model) = self.policy.models.get(table) else { return true };
        let scoped = model.scoping.iter().all(|(column, path)| {
            let operand = Box::new(Expression::Column { qualifier: None, name: column.clone() });
            let one_of = Expression::InPrincipal {
                operand,
                path: path.clone(),
                values: ListShape::Unresolved,
                negated: false,
            };
            self.is_true(&one_of, row)
        });
        scoped
            || model.row_policies.iter().any(|policy| {
                policy.effect == RowEffect::Extend
                    && self.is_for(&policy.gate)
                    && self.is_true(&policy.condition, row)
            })
    }

    fn narrow(&self, table: &RelationName, row: &Row) -> bool {
        self.policy.models.get(table).is_none_or(|model| {
            model.row_policies.iter().all(|policy| {
                policy.effect != RowEffect::Narrow
                    || !self.is_for(&policy.gate)
                    || self.is_true(&policy.condition, row)
            })
        })
    }

    fn bypassed(&self, table: &RelationName) -> bool {
        self.policy.models.get(table).is_some_and(|model| {
            model.row_policies.iter().any(|policy| {
                policy.effect == RowEffect::Bypass
                    && self.is_for(&policy.gate)
                    && self.is_true(&policy.condition, &Row::new())
            })
        })
    }

    fn restricted(&self, table: &RelationName, row: &Row) -> bool {
        let mut by_hierarchy = BTreeMap::new();
        for restriction in self.policy.restrictions.get(table).into_iter().flatten() {
            if self.who.data_roles.contains(&restriction.role) {
                let allowed: &mut bool = by_hierarchy.entry(restriction.hierarchy.clone()).or_insert(false);
                *allowed |= self.is_true(&restriction.condition, row);
            }
        }
        by_hierarchy.into_values().all(|allowed| allowed)
    }

    fn ruled(&self, table: &RelationName, row: &Row) -> bool {
        let rank = |rule: &AccessRule| (rule.user.is_some(), rule.tenant.is_some(), rule.org.is_some());
        let Some(tightest) = self.applying(table).map(rank).max() else { return true };
        self.applying(table).filter(|rule| rank(rule) == tightest).all(|rule| match &rule.kind {
            RuleKind::Filter(condition) => self.is_true(condition, row),
            RuleKind::Block => false,
        })
    }

    fn partners(&self, table: &RelationName, row: &Row) -> bool {
        self.policy
            .joins
            .get(table)
            .into_iter()
            .flatten()
            .filter(|join| join.inherit && self.is_for(&join.gate))
            .all(|join| {
                self.visible(&join.target)
                    && self.rows[&join.target].iter().any(|partner| {
                        partner[&join.target_column] == row[&join.column] && self.shows(&join.target, partner)
                    })
            })
    }

    fn inherited(&self, table: &RelationName) -> impl Iterator<Item = RelationName> {
        let joins = self.policy.joins.get(table).into_iter().flatten();
        joins.filter(|join| join.inherit && self.is_for(&join.gate)).map(|join| join.target.clone())
    }

    fn applying(&self, table: &RelationName) -> impl Iterator<Item = &AccessRule> {
        let who = self.who;
        self.rules.iter().filter(move |rule| {
            rule.table == *table
                && (rule.org.is_none() || rule.org.as_ref() == Some(&who.org))
                && (rule.tenant.is_none() || rule.tenant.as_ref() == Some(&who.tenant))
                && (rule.user.is_none() || rule.user.as_ref() == Some(&who.user))
        })
    }

    fn is_for(&self, gate: &Gate) -> bool {
        let held = |role: &String| role == "api-user" || self.who.data_roles.contains(role);
        gate.roles.as_ref().is_none_or(|roles| roles.iter().any(held)) && !gate.except.iter().any(held)
    }

    fn is_missing(&self, path: &PrincipalPath) -> bool {
        let value = Expression::Principal(PrincipalValue { path: path.clone(), item: None });
        let world = World { principal: self.who, relations: self.rows };
        evaluate(&value, world, None) == Ok(Datum::from_literal(&Literal::Null))
    }

    fn is_true(&self, condition: &Expression, row: &Row) -> bool {
        let world = World { principal: self.who, relations: self.rows };
        evaluate(condition, world, Some(row)) == Ok(Datum::Bool(true))
    }
}
