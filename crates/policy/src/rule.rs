//! Access rules: a filter or a block on one table, for an organization, a tenant, a user or anybody.

use std::cmp::Reverse;

use crate::connection::ConnectionKind;
use crate::expression::{Expression, PrincipalPath, PrincipalValue, RelationName};
use crate::id::{OrgId, TenantId, UserId};
use crate::parse::{ParseInvalid, Scope, parse_rule};
use crate::principal::Principal;

/// A rule on one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// Its id, for explanations.
    pub id: String,
    /// The table.
    pub table: RelationName,
    /// The organization; any when `None`.
    pub org: Option<OrgId>,
    /// The tenant; any when `None`.
    pub tenant: Option<TenantId>,
    /// The user; any when `None`.
    pub user: Option<UserId>,
    /// What it does.
    pub kind: RuleKind,
}

/// What an access rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleKind {
    /// Shows the rows for which the condition holds.
    Filter(Expression),
    /// Hides the table.
    Block,
}

impl RuleKind {
    /// Reads a filter: a condition over the table's columns, in which `{name}` is a variable of the principal.
    pub fn filter(text: &str, table: &RelationName, kind: ConnectionKind) -> Result<Self, ParseInvalid> {
        let scope = Scope { relation: Some(table), kind, schema: &table.schema };
        parse_rule(text, scope).map(Self::Filter)
    }

    /// Whether it asks other tables, or other rows.
    pub fn has_query(&self) -> bool {
        let mut found = false;
        if let Self::Filter(condition) = self {
            condition.for_each_part(&mut |part| {
                found |= matches!(part, Expression::InQuery { .. } | Expression::Exists { .. });
            });
        }
        found
    }

    /// The variables that it names and that not every principal has.
    pub fn own_variables(&self) -> Vec<String> {
        let mut names = Vec::new();
        if let Self::Filter(condition) = self {
            condition.for_each_part(&mut |part| match part {
                Expression::Principal(PrincipalValue { path: PrincipalPath::Variable(name), .. })
                | Expression::InPrincipal { path: PrincipalPath::Variable(name), .. } => {
                    names.push(name.clone());
                }
                _ => {}
            });
        }
        names.retain(|name| PrincipalPath::built_in(name).is_none());
        names.sort();
        names.dedup();
        names
    }
}

impl AccessRule {
    /// Which of the rules of a table count for the principal: any block, or else the filters of the tightest scope.
    pub fn binding<'a>(rules: &'a [Self], table: &RelationName, principal: &Principal) -> Vec<&'a Self> {
        match ruling(rules, table, principal) {
            Ruling::Blocked(rule) => vec![rule],
            Ruling::Filters(filters) => filters.into_iter().map(|(rule, _)| rule).collect(),
        }
    }

    /// Whether this filter counts instead of the other for somebody to whom both apply.
    pub fn overrides(&self, other: &Self) -> bool {
        fn meet<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        self.table == other.table
            && self.kind != RuleKind::Block
            && other.kind != RuleKind::Block
            && self.tightness() > other.tightness()
            && meet(self.org.as_ref(), other.org.as_ref())
            && meet(self.tenant.as_ref(), other.tenant.as_ref())
            && meet(self.user.as_ref(), other.user.as_ref())
    }

    /// Whether it is for this principal. A rule for a user is for an account: nobody gets into or out of one by the name that
    /// an application gives to a user of its own.
    pub fn applies_to(&self, principal: &Principal) -> bool {
        self.org.as_ref().is_none_or(|org| *org == principal.org)
            && self.tenant.as_ref().is_none_or(|tenant| *tenant == principal.tenant)
            && self.user.as_ref().is_none_or(|user| user == principal.account())
    }

    /// User before tenant before organization before anybody.
    fn tightness(&self) -> (bool, bool, bool) {
        (self.user.is_some(), self.tenant.is_some(), self.org.is_some())
    }
}

/// What the rules of a table come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ruling<'a> {
    /// The table is hidden by this rule.
    Blocked(&'a AccessRule),
    /// The filters of the tightest scope: one, unless two have the same scope, when both count.
    Filters(Vec<(&'a AccessRule, &'a Expression)>),
}

/// What the rules say of the table for the principal. Any block hides it; of the filters the tightest scope counts.
pub(crate) fn ruling<'a>(rules: &'a [AccessRule], table: &RelationName, principal: &Principal) -> Ruling<'a> {
    let applying = || rules.iter().filter(|rule| rule.table == *table && rule.applies_to(principal));
    if let Some(block) = applying().find(|rule| rule.kind == RuleKind::Block) {
        return Ruling::Blocked(block);
    }
    let mut filters: Vec<(&AccessRule, &Expression)> = applying()
        .filter_map(|rule| match &rule.kind {
            RuleKind::Filter(condition) => Some((rule, condition)),
            RuleKind::Block => None,
        })
        .collect();
    filters.sort_by_key(|(rule, _)| Reverse(rule.tightness()));
    // What is for the application itself holds for all of its users, beside what is for their tenant: it takes the place of
    // nothing that is said of the tenant.
    let of_account = |rule: &AccessRule| principal.application.is_some() && rule.user.is_some();
    let tightest_of = |of_account_too: bool| {
        let mut rules = filters.iter().map(|(rule, _)| *rule);
        rules.find(|rule| of_account(rule) == of_account_too).map(AccessRule::tightness)
    };
    let tightest = [tightest_of(false), tightest_of(true)];
    filters.retain(|(rule, _)| tightest.contains(&Some(rule.tightness())));
    Ruling::Filters(filters)
}
