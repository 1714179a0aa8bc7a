//! Which columns exist for the principal, and what is shown of them.

use super::Decision;
use crate::catalog::{Column, Relation};
use crate::document::DefaultAccess;
use crate::entitlement::VisibleColumn;
use crate::evaluate::{Values, values_of};
use crate::expression::{Expression, PrincipalPath, RelationName};
use crate::filter::wildcard_matches;
use crate::mask::{HASH_KEY_ATTRIBUTE, Mask, MaskPattern, mask_expression};
use crate::placed::Place;
use crate::policy::{FieldRule, Model, Show};
use crate::reason::{Effect, Subject};
use crate::resolve::resolve;

/// What global patterns say of a column's name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict<'a> {
    Plain,
    Hidden,
    Masked(&'a MaskPattern),
}

/// What is shown of one column.
enum Shown {
    Hidden,
    Plain,
    Masked { mask: Expression, writable: bool },
}

impl<'a> Decision<'a> {
    /// The columns that exist, and those that do not.
    pub(super) fn columns(
        &mut self,
        name: &RelationName,
        relation: &Relation,
        model: Option<&'a Model>,
    ) -> (Vec<VisibleColumn>, Vec<String>) {
        let mut columns = Vec::with_capacity(relation.columns.len());
        let mut hidden = self.filtered(name, relation);
        for column in &relation.columns {
            let (mask, writable) = match self.column(column, model) {
                Shown::Hidden => {
                    hidden.push(column.name.clone());
                    continue;
                }
                Shown::Plain => (None, true),
                Shown::Masked { mask, writable } => (Some(mask), writable),
            };
            let (name, data_type) = (column.name.clone(), column.data_type.clone());
            columns.push(VisibleColumn { name, data_type, mask, writable });
        }
        (columns, hidden)
    }

    /// The columns that the content filters took.
    fn filtered(&mut self, name: &RelationName, relation: &Relation) -> Vec<String> {
        let whole = match &self.unfiltered {
            Some(index) => index.get(&(name.schema.as_str(), name.name.as_str())).copied(),
            None => self.question.unfiltered.relation(&name.schema, &name.name),
        };
        let Some(whole) = whole else { return Vec::new() };
        if whole.columns.len() == relation.columns.len() {
            return Vec::new();
        }
        let shown = |column: &Column| relation.columns.iter().any(|kept| kept.name == column.name);
        let taken: Vec<String> =
            whole.columns.iter().filter(|column| !shown(column)).map(|column| column.name.clone()).collect();
        for column in &taken {
            self.because(Subject::Column(column.clone()), Effect::Takes, None, || {
                "the content filters".to_owned()
            });
        }
        taken
    }

    fn column(&mut self, column: &Column, model: Option<&'a Model>) -> Shown {
        let global = self.global(&column.name);
        let rules = model.and_then(|model| model.fields.get(&column.name));
        match (global, rules, model) {
            (Verdict::Hidden, _, _) => {
                self.of_column(column, Effect::Takes, None, || "a pattern of global.deny".to_owned());
                Shown::Hidden
            }
            (_, Some(rules), _) => self.by_rules(column, rules),
            (_, None, Some(model)) if model.other_fields == DefaultAccess::Deny => {
                self.of_column(column, Effect::Takes, Some(model.place), || "other_fields: deny".to_owned());
                Shown::Hidden
            }
            (Verdict::Masked(pattern), None, _) => {
                let rule = || "a pattern of global.mask".to_owned();
                self.masked(column, &Mask::Pattern(pattern.clone()), false, None, rule)
            }
            (Verdict::Plain, None, _) => Shown::Plain,
        }
    }

    /// The first rule for the principal's roles counts; without one the column does not exist.
    fn by_rules(&mut self, column: &Column, rules: &[FieldRule]) -> Shown {
        let Some(rule) = rules.iter().find(|rule| rule.gate.admits(&self.roles)) else {
            self.of_column(column, Effect::Takes, None, || {
                "a list of field rules, none for these roles".to_owned()
            });
            return Shown::Hidden;
        };
        let words = || format!("its field rule {}", rule.gate.describe()).trim_end().to_owned();
        match &rule.show {
            Show::Plain => {
                self.of_column(column, Effect::Gives, Some(rule.place), words);
                Shown::Plain
            }
            Show::Hidden => {
                self.of_column(column, Effect::Takes, Some(rule.place), words);
                Shown::Hidden
            }
            Show::Masked(mask) => self.masked(column, mask, rule.writable, Some(rule.place), words),
        }
    }

    /// INVARIANT: a mask that can't be made hides the column. Held by the test `a_mask_that_cannot_be_made_hides`.
    fn masked(
        &mut self,
        column: &Column,
        mask: &Mask,
        writable: bool,
        place: Option<Place>,
        words: impl FnOnce() -> String,
    ) -> Shown {
        if matches!(mask, Mask::Hash) && !self.has_hash_key() {
            self.of_column(column, Effect::Takes, place, || {
                "its hash, because the tenant has no key".to_owned()
            });
            return Shown::Hidden;
        }
        let made = mask_expression(mask, column, self.question.policy.kind);
        let mask = match made.map(|mask| resolve(&mask, self.question.principal)) {
            Ok(Ok(mask)) => mask,
            Ok(Err(denial)) => {
                self.of_column(column, Effect::Takes, place, || denial.to_string());
                return Shown::Hidden;
            }
            Err(message) => {
                self.of_column(column, Effect::Takes, place, || format!("its mask: {message}"));
                return Shown::Hidden;
            }
        };
        self.of_column(column, Effect::Masks, place, words);
        Shown::Masked { mask, writable }
    }

    fn has_hash_key(&self) -> bool {
        let path = PrincipalPath::Attribute(HASH_KEY_ATTRIBUTE.map(str::to_owned).to_vec());
        matches!(values_of(self.question.principal, &path), Values::One(crate::evaluate::Datum::Text(key)) if !key.is_empty())
    }

    fn global(&mut self, column: &str) -> Verdict<'a> {
        let policy = self.question.policy;
        if policy.global_deny.is_empty() && policy.global_mask.is_empty() {
            return Verdict::Plain;
        }
        if let Some(verdict) = self.globals.get(column) {
            return *verdict;
        }
        let matches = |pattern: &str| wildcard_matches(pattern, column, true);
        let verdict = if policy.global_deny.iter().any(|pattern| matches(pattern)) {
            Verdict::Hidden
        } else {
            let masked = policy.global_mask.iter().find(|(pattern, _)| matches(pattern));
            masked.map_or(Verdict::Plain, |(_, pattern)| Verdict::Masked(pattern))
        };
        self.globals.insert(column.to_owned(), verdict);
        verdict
    }

    fn of_column(
        &mut self,
        column: &Column,
        effect: Effect,
        place: Option<Place>,
        rule: impl FnOnce() -> String,
    ) {
        if self.reasons.is_some() {
            self.because(Subject::Column(column.name.clone()), effect, place, rule);
        }
    }
}
