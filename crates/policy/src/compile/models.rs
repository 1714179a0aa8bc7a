//! Models: rows, fields and writes.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::{ByRelation, Compiler, gate, names};
use crate::connection::ConnectionKind;
use crate::document::{
    AutoSetEntry, Document, FieldAction, FieldEntry, ModelEntry, Text, WriteAction, WriteEntry,
};
use crate::entitlement::{AutoSet, Permit, WriteRules};
use crate::expression::{BinaryOperator, Expression, IsTest, RelationName};
use crate::mask::{Mask, MaskPattern};
use crate::placed::{Place, Placed};
use crate::policy::{
    FieldRule, Gate, Model, ModelRelation, RowEffect, RowPolicy, SOFT_DELETE, Show, WriteRule,
};
use crate::problem::Problem;

impl Compiler<'_> {
    pub(super) fn models(
        &mut self,
        document: &Document,
    ) -> (ByRelation<Model>, BTreeMap<String, RelationName>) {
        let mut models: ByRelation<Model> = HashMap::new();
        let mut names = BTreeMap::new();
        for (name, entry) in &document.models.0 {
            let Some(relation) = self.relation(&entry.table) else { continue };
            if let Some(other) = models.get(&relation) {
                let message = format!("the table {relation} is the model {}'s already", other.name);
                self.problem(entry.table.place, message);
                continue;
            }
            names.insert(name.value.clone(), relation.clone());
            let model = self.model(name, entry, relation.clone(), document);
            models.insert(relation, model);
        }
        (models, names)
    }

    fn model(
        &mut self,
        name: &Placed<String>,
        entry: &ModelEntry,
        relation: RelationName,
        document: &Document,
    ) -> Model {
        let mut scoping = Vec::new();
        for (column, value) in &entry.scoping.0 {
            if let Some(path) = self.principal_path(value) {
                scoping.push((column.value.clone(), path));
            }
        }
        let mut fields = HashMap::new();
        for (column, entries) in &entry.fields.0 {
            let rules = entries.0.iter().filter_map(|entry| self.field(entry, column.place, &relation));
            let rules: Vec<FieldRule> = rules.collect();
            fields.insert(column.value.clone(), rules);
        }
        Model {
            name: name.value.clone(),
            description: entry.description.clone(),
            allowed: entry.allowed,
            gate: gate(entry.roles.as_ref(), &entry.except_roles),
            scoping,
            row_policies: self.row_policies(entry, &relation),
            soft_delete: entry.soft_delete.as_ref().map(|column| column.value.clone()),
            version: entry.version.as_ref().map(|column| column.value.clone()),
            fields,
            other_fields: entry.other_fields,
            relations: self.model_relations(entry, document),
            writes: entry
                .write_policy
                .0
                .iter()
                .map(|write| self.write(write, name.place, &relation))
                .collect(),
            budgets: self.budgets(entry.budget.as_ref(), name.place),
            attributes: entry.attributes.clone(),
            place: name.place,
            relation,
        }
    }

    fn model_relations(&mut self, entry: &ModelEntry, document: &Document) -> Vec<(String, ModelRelation)> {
        let known = || document.models.0.iter().map(|(name, _)| name.value.as_str());
        let mut relations = Vec::new();
        for (name, relation) in &entry.relations.0 {
            let model = &relation.model;
            if !known().any(|name| name == model.value) {
                let problem =
                    Problem::new(self.file, model.place, format!("there is no model `{}`", model.value));
                self.problems.push(problem.meant(&model.value, known()));
            }
            if relation.on.0.is_empty() {
                self.problem(name.place, "say which columns join: `on: { customer_id: id }`");
            }
            let on = relation.on.0.iter().map(|(here, there)| (here.value.clone(), there.clone())).collect();
            let (model, many) = (model.value.clone(), relation.many);
            relations
                .push((name.value.clone(), ModelRelation { model, on, many, max_depth: relation.max_depth }));
        }
        relations
    }

    fn row_policies(&mut self, model: &ModelEntry, relation: &RelationName) -> Vec<RowPolicy> {
        let mut policies: Vec<RowPolicy> = model.soft_delete.iter().map(not_removed).collect();
        for entry in &model.row_policies {
            if policies.iter().any(|policy| policy.name == entry.name.value) {
                self.problem(entry.name.place, format!("there are two row policies `{}`", entry.name.value));
            }
            let effect = match (entry.extends, entry.bypass) {
                (false, false) => RowEffect::Narrow,
                (true, false) => RowEffect::Extend,
                (false, true) => RowEffect::Bypass,
                (true, true) => {
                    self.problem(entry.name.place, "a row policy either extends or bypasses");
                    continue;
                }
            };
            // A bypass is decided before the statement: it has no row to look at.
            let scope = (effect != RowEffect::Bypass).then_some(relation);
            let Some(condition) = self.condition(&entry.condition, scope) else { continue };
            policies.push(RowPolicy {
                name: entry.name.value.clone(),
                gate: gate(entry.roles.as_ref(), &entry.except_roles),
                condition,
                effect,
                place: entry.condition.place,
            });
        }
        policies
    }

    fn field(&mut self, entry: &FieldEntry, column: Place, relation: &RelationName) -> Option<FieldRule> {
        // A rule that is one word has no place of its own.
        let place = if entry.action.place.line == 0 { column } else { entry.action.place };
        let action = entry.action.value;
        if action != FieldAction::Mask && (entry.mask_pattern.is_some() || entry.expression.is_some()) {
            self.problem(place, "`mask_pattern` and `expression` belong to `action: mask`");
        }
        if action != FieldAction::Redact && entry.constant.is_some() {
            self.problem(place, "`constant` belongs to `action: redact`");
        }
        let show = match action {
            FieldAction::Allow => Show::Plain,
            FieldAction::Deny => Show::Hidden,
            FieldAction::Mask => Show::Masked(self.mask(entry, place, relation)?),
            FieldAction::Hash if self.kind == ConnectionKind::Sqlite => {
                self.problem(place, "SQLite has no SHA-256 to hash with: use `mask`, `redact` or `null`");
                return None;
            }
            FieldAction::Hash => Show::Masked(Mask::Hash),
            FieldAction::Redact => Show::Masked(Mask::Constant(entry.constant.clone())),
            FieldAction::Null => Show::Masked(Mask::Null),
        };
        let writable = entry.writable.unwrap_or(matches!(show, Show::Plain));
        Some(FieldRule { gate: gate(entry.roles.as_ref(), &entry.except_roles), show, writable, place })
    }

    fn mask(&mut self, entry: &FieldEntry, place: Place, relation: &RelationName) -> Option<Mask> {
        match (&entry.mask_pattern, &entry.expression) {
            (Some(pattern), None) => match MaskPattern::parse(&pattern.value) {
                Ok(parsed) => Some(Mask::Pattern(parsed)),
                Err(message) => {
                    self.problem(pattern.place, message);
                    None
                }
            },
            (None, Some(expression)) => self.value(expression, Some(relation)).map(Mask::Expression),
            (None, None) | (Some(_), Some(_)) => {
                self.problem(place, "a mask has either a `mask_pattern` or an `expression`");
                None
            }
        }
    }

    fn write(&mut self, entry: &WriteEntry, place: Place, relation: &RelationName) -> WriteRule {
        let names = |list: &[Placed<String>]| list.iter().map(|name| name.value.clone()).collect::<Vec<_>>();
        let mut auto_set = Vec::new();
        for (column, value) in &entry.auto_set.0 {
            if let Some(set) = self.auto_set(&column.value, value, relation) {
                auto_set.push((column.value.clone(), set));
            }
        }
        let rows = entry.rows.as_ref().and_then(|rows| self.condition(rows, Some(relation)));
        let rules = WriteRules {
            create: permit(entry.create),
            update: permit(entry.update),
            delete: permit(entry.delete),
            auto_set,
            immutable: names(&entry.immutable_fields),
            required: names(&entry.required_fields),
            columns: entry.columns.as_deref().map(names),
            rows,
            require_reason: entry.require_reason,
            max_rows: entry.max_rows,
            approvers: entry.approvers.clone(),
            approval_expires: self.approval_expires(entry, place),
        };
        WriteRule { gate: gate(entry.roles.as_ref(), &entry.except_roles), rules, place }
    }

    fn approval_expires(&mut self, entry: &WriteEntry, place: Place) -> Option<Duration> {
        let expires = entry.approval_expires.as_deref()?;
        let parsed = names::duration(expires).filter(|duration| !duration.is_zero());
        if parsed.is_none() {
            self.problem(place, "`approval_expires` is a number and its unit: ms, s, m or h");
        }
        parsed
    }

    fn auto_set(
        &mut self,
        column: &str,
        entry: &Placed<AutoSetEntry>,
        relation: &RelationName,
    ) -> Option<AutoSet> {
        let text =
            |text: &Placed<String>| Placed { value: Text::Same(text.value.clone()), place: text.place };
        let (value, accepts) = match &entry.value {
            AutoSetEntry::Value(value) => {
                (Placed { value: Text::Same(value.clone()), place: entry.place }, None)
            }
            AutoSetEntry::Checked(checked) => (text(&checked.value), checked.accepts.as_ref()),
        };
        // A new row has no columns yet.
        let value = self.value(&value, None)?;
        let accepts = match accepts {
            Some(accepts) => self.condition(&text(accepts), Some(relation))?,
            None => Expression::Binary {
                left: Box::new(Expression::Column { qualifier: None, name: column.to_owned() }),
                operator: BinaryOperator::Equal,
                right: Box::new(value.clone()),
            },
        };
        Some(AutoSet { value, accepts })
    }
}

/// What hides rows that were removed softly.
fn not_removed(column: &Placed<String>) -> RowPolicy {
    let operand = Box::new(Expression::Column { qualifier: None, name: column.value.clone() });
    RowPolicy {
        name: SOFT_DELETE.to_owned(),
        gate: Gate::default(),
        condition: Expression::Is { operand, test: IsTest::Null, negated: false },
        effect: RowEffect::Narrow,
        place: column.place,
    }
}

const fn permit(action: WriteAction) -> Permit {
    match action {
        WriteAction::Deny => Permit::Deny,
        WriteAction::Approval => Permit::Approval,
        WriteAction::Allow => Permit::Allow,
    }
}
