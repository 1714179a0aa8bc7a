//! A decision's reasons, sorted by what they are about.

use ringfence_policy::catalog::Catalog;
use ringfence_policy::{
    Denial, Effect, Entitlement, Expression, Permit, Question, Reason, RelationName, Subject,
    decide_with_reasons,
};

use super::{Because, ColumnShown, ExplainedColumn, ExplainedRelation};

pub(super) const NOTHING_PERMITTED: [Permit; 3] = [Permit::Deny; 3];

/// What the principal may do with the relation, with the rules.
pub(super) fn relation(question: Question<'_>, relation: &RelationName) -> ExplainedRelation {
    let (decided, reasons) = decide_with_reasons(question, relation);
    let of = |wanted: &Subject| {
        let reasons = reasons.iter().filter(|reason| reason.subject == *wanted);
        reasons.map(because).collect::<Vec<_>>()
    };
    let (denial, entitlement) = match &decided {
        Ok(entitlement) => (None, Some(entitlement)),
        Err(denial) => (Some(denial_text(denial)), None),
    };
    let columns = names(question.unfiltered, relation).into_iter().map(|name| {
        let (shown, mask) = shown(entitlement, &name);
        ExplainedColumn { reasons: of(&Subject::Column(name.clone())), name, shown, mask }
    });
    let rows = entitlement.map(|entitlement| &entitlement.rows);
    ExplainedRelation {
        relation: relation.clone(),
        denial,
        reasons: of(&Subject::Relation),
        columns: columns.collect(),
        rows: rows.filter(|rows| **rows != Expression::truth(true)).map(ToString::to_string),
        row_reasons: of(&Subject::Rows),
        permits: entitlement.map_or(NOTHING_PERMITTED, permits),
        changed_rows: entitlement
            .and_then(|entitlement| entitlement.writes.rows.as_ref())
            .map(ToString::to_string),
        write_reasons: of(&Subject::Writes),
    }
}

/// In the words that the caller hears.
pub(super) fn denial_text(denial: &Denial) -> String {
    denial.to_string()
}

pub(super) fn permits(entitlement: &Entitlement) -> [Permit; 3] {
    let writes = &entitlement.writes;
    [writes.create, writes.update, writes.delete]
}

pub(super) fn because(reason: &Reason) -> Because {
    Because {
        effect: match reason.effect {
            Effect::Gives => "gives",
            Effect::Takes => "takes",
            Effect::Masks => "masks",
            Effect::Narrows => "narrows",
            Effect::Extends => "extends",
            Effect::Lifts => "lifts",
            Effect::Nothing => "nothing",
        },
        rule: reason.rule.clone(),
        line: reason.place.map(|place| place.line).filter(|line| *line > 0),
        condition: reason.clause.as_ref().map(|clause| clause.written.to_string()),
    }
}

fn names(catalog: &Catalog, relation: &RelationName) -> Vec<String> {
    let found = catalog.relation(&relation.schema, &relation.name);
    found.into_iter().flat_map(|relation| &relation.columns).map(|column| column.name.clone()).collect()
}

fn shown(entitlement: Option<&Entitlement>, column: &str) -> (ColumnShown, Option<String>) {
    let visible =
        entitlement.and_then(|entitlement| entitlement.columns.iter().find(|visible| visible.name == column));
    match visible {
        None => (ColumnShown::Hidden, None),
        Some(visible) => match &visible.mask {
            None => (ColumnShown::Plain, None),
            // The mask of a hash names its key, as a parameter.
            Some(mask) => (ColumnShown::Masked, Some(mask.to_string())),
        },
    }
}
