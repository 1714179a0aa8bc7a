//! What the catalog holds and the policy leaves open: rows of all tenants, keys that tell of others, secrets.

use std::collections::BTreeSet;

use super::words::{folded, names_a_secret, names_a_tenant};
use super::{Warning, WarningCode};
use crate::catalog::{Catalog, Column, Constraint, Relation};
use crate::decide::is_of_the_system;
use crate::document::DefaultAccess;
use crate::entitlement::Permit;
use crate::expression::{Expression, PrincipalPath, RelationName};
use crate::filter::wildcard_matches;
use crate::placed::Place;
use crate::policy::{Gate, Model, Policy, RowEffect, Show};
use crate::problem::Problem;

pub(super) fn lint(policy: &Policy, catalog: &Catalog) -> Vec<Warning> {
    let mut lint = Lint { policy, scopes: scopes(policy), warnings: Vec::new() };
    for schema in catalog.schemas.iter().filter(|schema| !is_of_the_system(&schema.name)) {
        for relation in &schema.relations {
            let name = RelationName::new(&schema.name, &relation.name);
            let model = policy.models.get(&name);
            let is_visible = match model {
                Some(model) => model.allowed && model.gate.is_for_somebody(),
                None => policy.default == DefaultAccess::Allow,
            };
            if is_visible {
                lint.scope(&name, relation, model);
                lint.secrets(&name, relation, model);
                if let Some(model) = model {
                    lint.keys(relation, model);
                }
            }
        }
    }
    lint.warnings
}

/// Names of the columns that models are scoped by, but for those that say which user it is: every table refers to users.
fn scopes(policy: &Policy) -> BTreeSet<String> {
    let all = policy.models.values().flat_map(|model| &model.scoping);
    let of_tenants =
        all.filter(|(column, path)| *path != PrincipalPath::UserId && !column.eq_ignore_ascii_case("id"));
    of_tenants.map(|(column, _)| folded(column)).collect()
}

struct Lint<'a> {
    policy: &'a Policy,
    scopes: BTreeSet<String>,
    warnings: Vec<Warning>,
}

impl Lint<'_> {
    fn warn(
        &mut self,
        code: WarningCode,
        relation: &RelationName,
        place: Place,
        message: String,
        advice: String,
    ) {
        let problem = Problem::new(&self.policy.file, place, message);
        self.warnings.push(Warning::new(code, problem).about(relation).advise(advice));
    }

    fn is_of_tenant(&self, column: &Column) -> bool {
        names_a_tenant(&column.name) || self.scopes.contains(&folded(&column.name))
    }

    /// A relation that says whose each row is, and shows all rows to everybody.
    fn scope(&mut self, name: &RelationName, relation: &Relation, model: Option<&Model>) {
        if model.is_some_and(|model| self.narrows(model)) {
            return;
        }
        let Some(column) = relation.columns.iter().find(|column| self.is_of_tenant(column)) else { return };
        let column = &column.name;
        let advice = format!(
            "add `scoping: {{ {column}: principal.tenant_id }}` (or the value that {column} holds), or `allowed: false` when nobody needs it"
        );
        let message = format!(
            "{name} has the column `{column}`, which looks like its tenant's, and nothing narrows its rows: every principal that sees it sees all tenants' rows"
        );
        self.warn(WarningCode::TenantColumnUnscoped, name, place_of(model), message, advice);
    }

    /// Whether something that depends on the principal holds the rows of the model back from everybody.
    fn narrows(&self, model: &Model) -> bool {
        let joins = self.policy.joins.get(&model.relation).into_iter().flatten();
        !model.scoping.is_empty()
            || model.row_policies.iter().any(|policy| {
                policy.effect == RowEffect::Narrow
                    && policy.gate.is_for_everybody()
                    && asks(&policy.condition)
            })
            || joins.into_iter().any(|join| join.inherit && join.gate.is_for_everybody())
    }

    /// A key over all tenants on what a tenant may write: whether a value is taken tells of the others' rows.
    fn keys(&mut self, relation: &Relation, model: &Model) {
        let writes = |permit: Permit| permit != Permit::Deny;
        let is_written = model.writes.iter().any(|rule| {
            rule.gate.is_for_somebody() && (writes(rule.rules.create) || writes(rule.rules.update))
        });
        let own: Vec<&str> = relation
            .columns
            .iter()
            .filter(|column| {
                model.scoping.iter().any(|(scope, _)| *scope == column.name) || self.is_of_tenant(column)
            })
            .map(|column| column.name.as_str())
            .collect();
        // Where nothing says whose a row is, all of them are everybody's.
        if !is_written || own.is_empty() {
            return;
        }
        let constraints = relation.constraints.iter().filter_map(|constraint| match constraint {
            Constraint::Primary { columns } => Some(("primary key", columns)),
            Constraint::Unique { columns } => Some(("unique constraint", columns)),
            Constraint::Foreign { .. } => None,
        });
        let indexes = relation.unique_indexes.iter().map(|columns| ("unique index", columns));
        let found: Vec<(&str, &Vec<String>)> = constraints.chain(indexes).collect();
        for (what, columns) in found {
            let is_safe = columns.iter().any(|column| own.contains(&column.as_str()))
                || columns.iter().any(|column| !can_be_guessed_and_given(relation, model, column));
            if is_safe {
                continue;
            }
            let listed = if columns.is_empty() { "an expression".to_owned() } else { columns.join(", ") };
            let message = format!(
                "the {what} of {} on ({listed}) spans all tenants: an INSERT or UPDATE that fails tells that another tenant has such a row",
                model.relation
            );
            let first = own.first().copied().unwrap_or_default();
            let advice = format!(
                "make it ({first}, {listed}), or values that can't be guessed (uuid), or hide the column from those who write"
            );
            self.warn(WarningCode::UniqueWithoutTenant, &model.relation, model.place, message, advice);
        }
    }

    /// Columns that are named like a secret and that everybody who sees the relation reads in clear.
    fn secrets(&mut self, name: &RelationName, relation: &Relation, model: Option<&Model>) {
        for column in relation.columns.iter().filter(|column| names_a_secret(&column.name, &column.data_type))
        {
            let Some((place, is_written)) = self.clear(model, &column.name) else { continue };
            let how = if is_written { "is allowed" } else { "is shown, because nothing says otherwise," };
            let message = format!(
                "`{}` of {name} is named like a secret and {how} in clear: whoever sees a row reads it",
                column.name
            );
            let advice = format!(
                "say `{0}: deny`, mask it, or give it to a role: `{0}: [{{ roles: [...], action: allow }}]`",
                column.name
            );
            self.warn(WarningCode::SecretInClear, name, place, message, advice);
        }
    }

    /// Where it is said that everybody reads the column, and whether the document says so in words; `None` when not
    /// everybody does.
    fn clear(&self, model: Option<&Model>, column: &str) -> Option<(Place, bool)> {
        let matches = |pattern: &str| wildcard_matches(pattern, column, true);
        if self.policy.global_deny.iter().any(|pattern| matches(pattern)) {
            return None;
        }
        if let Some((model, rules)) = model.and_then(|model| Some((model, model.fields.get(column)?))) {
            let rule = rules.iter().find(|rule| rule.gate.roles.is_none())?;
            let place = if rule.place == Place::default() { model.place } else { rule.place };
            return matches!(rule.show, Show::Plain).then_some((place, true));
        }
        let is_masked = self.policy.global_mask.iter().any(|(pattern, _)| matches(pattern));
        let is_hidden = model.is_some_and(|model| model.other_fields == DefaultAccess::Deny);
        (!is_masked && !is_hidden).then(|| (place_of(model), false))
    }
}

fn place_of(model: Option<&Model>) -> Place {
    model.map_or_else(Place::default, |model| model.place)
}

/// Whether a writer can put a chosen value into the column, and has a chance to hit one that is there.
fn can_be_guessed_and_given(relation: &Relation, model: &Model, column: &str) -> bool {
    let data_type =
        relation.columns.iter().find(|known| known.name == column).map(|known| known.data_type.as_str());
    let is_random = data_type.is_some_and(|data_type| data_type.eq_ignore_ascii_case("uuid"));
    let rules = model.fields.get(column);
    let is_hidden = rules.is_some_and(|rules| rules.iter().all(|rule| matches!(rule.show, Show::Hidden)))
        || (rules.is_none() && model.other_fields == DefaultAccess::Deny);
    !is_random && !is_hidden
}

/// Whether the condition asks who it is.
fn asks(condition: &Expression) -> bool {
    let mut asks = false;
    condition.for_each_part(&mut |part| {
        asks |= matches!(part, Expression::Principal(_) | Expression::InPrincipal { .. });
    });
    asks
}

impl Gate {
    /// Whether nobody is left out.
    pub(crate) fn is_for_everybody(&self) -> bool {
        self.roles.is_none() && self.except.is_empty()
    }

    /// Whether there can be anybody whom it admits.
    pub(super) fn is_for_somebody(&self) -> bool {
        self.roles.as_ref().is_none_or(|roles| roles.iter().any(|role| !self.except.contains(role)))
    }

    /// Whether it admits everybody whom `other` admits.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let is_held = |role: &String| self.roles.as_ref().is_none_or(|roles| roles.contains(role));
        let by_roles = match (&self.roles, &other.roles) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some(roles)) => roles.iter().all(is_held),
        };
        by_roles && self.except.iter().all(|role| other.except.contains(role))
    }
}
