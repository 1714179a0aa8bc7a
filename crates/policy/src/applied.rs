//! What of the law held for one principal on one relation, in words for the audit record.

use std::fmt::Write as _;

use serde_json::Value;

use crate::decide::{Question, decide_with_reasons};
use crate::expression::{Expression, Literal, PrincipalPath, PrincipalValue, RelationName};
use crate::principal::Principal;
use crate::reason::{Clause, Effect, Part, Reason};
use crate::spelling::Name;

/// Values of a list that are named; the others are counted.
const MOST_VALUES: usize = 16;

/// What narrowed, extended or lifted the rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// The scopes with the principal's values, such as `tenant_id = 'acme-corp'`.
    pub scopes: Vec<String>,
    /// Everything else, such as `row policy own_drafts` or `access rule r-1`.
    pub rules: Vec<String>,
}

/// What held for the principal on the relation. Nothing on one that the principal does not see.
pub fn applied(question: Question<'_>, relation: &RelationName) -> Applied {
    let mut applied = Applied::default();
    let (decided, reasons) = decide_with_reasons(question, relation);
    if decided.is_err() {
        return applied;
    }
    for reason in &reasons {
        let Some(clause) = &reason.clause else { continue };
        if !counts(reason, clause) {
            continue;
        }
        if clause.part == Part::Scope {
            applied.scopes.push(scope(clause, question.principal));
        } else {
            let rule = reason.rule.strip_prefix("the ").unwrap_or(&reason.rule);
            applied.rules.push(rule.to_owned());
        }
    }
    applied
}

/// What extends nothing for the principal did not extend; what changes may touch is no reading rule.
fn counts(reason: &Reason, clause: &Clause) -> bool {
    let is_never = matches!(clause.condition, Expression::Literal(Literal::Bool(false) | Literal::Null));
    match (&clause.part, reason.effect) {
        (_, Effect::Nothing) | (Part::Changes, _) => false,
        (Part::Extends, _) => !is_never,
        (
            Part::Scope
            | Part::Bypass
            | Part::Narrow
            | Part::Restriction(_)
            | Part::Inherited
            | Part::AccessRule,
            _,
        ) => true,
    }
}

/// A scope's column and what the principal has for it.
fn scope(clause: &Clause, principal: &Principal) -> String {
    let Some((column, path)) = scoped(&clause.written) else { return clause.condition.to_string() };
    let value = principal.value(path);
    match value.as_deref() {
        Some(Value::Array(items)) => match items.as_slice() {
            [one] => format!("{} = {}", Name(column), spelt(one)),
            items => listed(column, items),
        },
        Some(one) => format!("{} = {}", Name(column), spelt(one)),
        None => clause.condition.to_string(),
    }
}

fn listed(column: &str, items: &[Value]) -> String {
    let named: Vec<String> = items.iter().take(MOST_VALUES).map(spelt).collect();
    let mut text = format!("{} IN ({}", Name(column), named.join(", "));
    let others = items.len().saturating_sub(MOST_VALUES);
    if others > 0 {
        // Writing to a string does not fail.
        let _ = write!(text, " and {others} more");
    }
    text.push(')');
    text
}

fn scoped(written: &Expression) -> Option<(&str, &PrincipalPath)> {
    let Expression::Binary { left, operator: _, right } = written else { return None };
    match (&**left, &**right) {
        (
            Expression::Column { qualifier: _, name },
            Expression::Principal(PrincipalValue { path, item: _ }),
        ) => Some((name, path)),
        _ => None,
    }
}

fn spelt(value: &Value) -> String {
    match value {
        Value::String(text) => Literal::Text(text.clone()).to_string(),
        Value::Null => "NULL".to_owned(),
        other => other.to_string(),
    }
}
