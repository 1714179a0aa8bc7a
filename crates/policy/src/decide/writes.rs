//! What the principal may change.

use super::Decision;
use crate::catalog::Relation;
use crate::entitlement::{AutoSet, Denial, Permit, SoftDelete, VisibleColumn, WriteRules};
use crate::expression::{Expression, Literal, RelationName};
use crate::policy::Model;
use crate::reason::{Clause, Effect, Part, Reason, Subject};
use crate::resolve::{resolve, resolve_filter};

impl Decision<'_> {
    /// The first write policy for the principal's roles; nothing may be changed without one.
    pub(super) fn writes(&mut self, model: Option<&Model>) -> WriteRules {
        if model.is_none() && self.question.policy.open_writes {
            let allow = Permit::Allow;
            return WriteRules { create: allow, update: allow, delete: allow, ..WriteRules::default() };
        }
        let Some(rule) =
            model.and_then(|model| model.writes.iter().find(|rule| rule.gate.admits(&self.roles)))
        else {
            self.because(Subject::Writes, Effect::Takes, None, || {
                "having no write policy for these roles".to_owned()
            });
            return WriteRules::default();
        };
        match self.resolved_writes(&rule.rules) {
            Ok(mut writes) => {
                // What moves on with every update may be written by everybody who may update.
                if let (Some(columns), Some(version)) =
                    (&mut writes.columns, model.and_then(|model| model.version.as_ref()))
                    && !columns.contains(version)
                {
                    columns.push(version.clone());
                }
                let clause = rule.rules.rows.as_ref().map(|written| {
                    let decided = writes.rows.clone().unwrap_or(Expression::truth(true));
                    Clause::of(Part::Changes, written, &decided, self.question.principal)
                });
                if let Some(reasons) = &mut self.reasons {
                    let words = format!("the write policy {}", rule.gate.describe()).trim_end().to_owned();
                    let (subject, place) = (Subject::Writes, Some(rule.place));
                    reasons.push(Reason { subject, effect: Effect::Gives, rule: words, place, clause });
                }
                writes
            }
            Err(denial) => {
                self.because(Subject::Writes, Effect::Takes, Some(rule.place), || denial.to_string());
                WriteRules::default()
            }
        }
    }

    /// How rows of the model are removed, where they stay. DELETE is denied then: it would remove them for good.
    pub(super) fn soft_delete(
        &mut self,
        name: &RelationName,
        relation: &Relation,
        model: &Model,
        writes: &mut WriteRules,
    ) -> Result<Option<SoftDelete>, Denial> {
        let Some(column) = &model.soft_delete else { return Ok(None) };
        let permit = std::mem::take(&mut writes.delete);
        let Some(column) = relation.columns.iter().find(|candidate| candidate.name == *column) else {
            return Ok(None);
        };
        let column = VisibleColumn {
            name: column.name.clone(),
            data_type: column.data_type.clone(),
            mask: None,
            writable: true,
        };
        Ok(Some(SoftDelete { column, permit, rows: self.rows_with_removed(name, model)? }))
    }

    fn resolved_writes(&self, rules: &WriteRules) -> Result<WriteRules, Denial> {
        let principal = self.question.principal;
        let mut writes = rules.clone();
        if let Some(rows) = &rules.rows {
            // All rows that are visible: the guard need not ask twice.
            writes.rows =
                Some(resolve_filter(rows, principal)?).filter(|rows| *rows != Expression::truth(true));
        }
        writes.auto_set.clear();
        for (column, AutoSet { value, accepts }) in &rules.auto_set {
            let resolved =
                AutoSet { value: resolve(value, principal)?, accepts: resolve_filter(accepts, principal)? };
            // A value of the principal that is missing must not become NULL, which may mean "everybody's".
            if resolved.value == Expression::Literal(Literal::Null) && *value != resolved.value {
                writes.create = Permit::Deny;
            }
            writes.auto_set.push((column.clone(), resolved));
        }
        Ok(writes)
    }
}
