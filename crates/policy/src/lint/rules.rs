//! Rules that never count, count for nobody, or lift what was meant to hold.

use super::{Warning, WarningCode};
use crate::document::DefaultAccess;
use crate::expression::{Expression, IsTest, PrincipalPath, PrincipalValue, RelationName};
use crate::filter::wildcard_matches;
use crate::placed::Place;
use crate::policy::{Gate, Model, Policy, RowEffect, RowPolicy, Show};
use crate::problem::Problem;

pub(super) fn lint(policy: &Policy) -> Vec<Warning> {
    let mut lint = Lint { policy, warnings: Vec::new() };
    for model in policy.models.values().filter(|model| model.allowed) {
        lint.nobody(&model.relation, &model.gate, model.place, "the model");
        lint.fields(model);
        lint.writes(model);
        lint.row_policies(model);
    }
    lint.restrictions();
    lint.warnings
}

struct Lint<'a> {
    policy: &'a Policy,
    warnings: Vec<Warning>,
}

impl Lint<'_> {
    fn warn(&mut self, code: WarningCode, place: Place, message: String, advice: &str) {
        let problem = Problem::new(&self.policy.file, place, message);
        self.warnings.push(Warning::new(code, problem).advise(advice));
    }

    fn about(
        &mut self,
        relation: &RelationName,
        code: WarningCode,
        place: Place,
        message: String,
        advice: &str,
    ) {
        let problem = Problem::new(&self.policy.file, place, message);
        self.warnings.push(Warning::new(code, problem).about(relation).advise(advice));
    }

    fn nobody(&mut self, relation: &RelationName, gate: &Gate, place: Place, what: &str) {
        if !gate.is_for_somebody() {
            let message = format!("{what} is for no role at all: it never counts for anybody");
            self.about(
                relation,
                WarningCode::RuleEmpty,
                place,
                message,
                "name the roles, or leave `roles` out for everybody",
            );
        }
    }

    /// The first rule for somebody's roles counts: one whose people an earlier one has already is never read.
    fn fields(&mut self, model: &Model) {
        for (column, rules) in &model.fields {
            let denied =
                self.policy.global_deny.iter().find(|pattern| wildcard_matches(pattern, column, true));
            if let (Some(pattern), Some(rule)) =
                (denied, rules.iter().find(|rule| !matches!(rule.show, Show::Hidden)))
            {
                let message =
                    format!("what is said of `{column}` does not count: `global.deny` has `{pattern}`");
                let advice = "take the pattern out of `global.deny`, or the rule out of the model";
                self.about(&model.relation, WarningCode::RuleShadowed, rule.place, message, advice);
                continue;
            }
            let gates: Vec<(&Gate, Place)> = rules.iter().map(|rule| (&rule.gate, rule.place)).collect();
            self.in_order(model, &gates, &format!("this rule of `{column}`"));
        }
    }

    fn writes(&mut self, model: &Model) {
        let gates: Vec<(&Gate, Place)> = model.writes.iter().map(|rule| (&rule.gate, rule.place)).collect();
        self.in_order(model, &gates, &format!("a write policy of {}", model.name));
    }

    fn in_order(&mut self, model: &Model, gates: &[(&Gate, Place)], what: &str) {
        for (index, (gate, place)) in gates.iter().enumerate() {
            self.nobody(&model.relation, gate, *place, what);
            let mut earlier = gates.iter().take(index);
            if gate.is_for_somebody() && earlier.any(|(earlier, _)| earlier.covers(gate)) {
                let message = format!(
                    "{what} never counts: one before it is for the same people, and the first one counts"
                );
                let advice = "put the narrower one first, or take one of them out";
                self.about(&model.relation, WarningCode::RuleShadowed, *place, message, advice);
            }
        }
    }

    fn row_policies(&mut self, model: &Model) {
        let bypassed = model.row_policies.iter().any(|policy| {
            policy.effect == RowEffect::Bypass && policy.gate.is_for_everybody() && is_true(&policy.condition)
        });
        for (index, policy) in model.row_policies.iter().enumerate() {
            self.nobody(
                &model.relation,
                &policy.gate,
                policy.place,
                &format!("the row policy {}", policy.name),
            );
            if policy.effect != RowEffect::Narrow && trusts_agent(&policy.condition) {
                let message = format!(
                    "the row policy {} shows more rows where an agent is named: whoever asks with an access key may say that it is an agent",
                    policy.name
                );
                let advice = "lift the scope by role, and hold agents back with `principal.agent IS NULL`";
                self.about(&model.relation, WarningCode::AgentTrusted, policy.place, message, advice);
            }
            let earlier = model.row_policies.get(..index).unwrap_or_default();
            if let Some((code, message, advice)) = judge(model, policy, bypassed, earlier) {
                self.about(&model.relation, code, policy.place, message, advice);
            }
        }
    }

    fn restrictions(&mut self) {
        let policy = self.policy;
        for (role, place) in &policy.unrestricted {
            let message =
                format!("the data role {role} has an empty list of restrictions: it restricts nothing");
            let advice = "list what its holders may see, or take the role out";
            self.warn(WarningCode::RuleEmpty, *place, message, advice);
        }
        for (relation, restrictions) in &policy.restrictions {
            for restriction in restrictions {
                let role = &restriction.role;
                if restriction.condition == Expression::truth(false) {
                    let message = format!(
                        "the restriction of {role} on `{}` lets no value through: by itself it hides every row",
                        restriction.column
                    );
                    let advice = "list the values that its holders see; `allowed: false` and `except_roles` hide a relation";
                    self.about(relation, WarningCode::RuleEmpty, restriction.place, message, advice);
                }
                let is_named = policy
                    .models
                    .get(relation)
                    .map_or(policy.default == DefaultAccess::Allow, |model| model.allowed);
                if !is_named {
                    let message = format!("the restriction of {role} is on {relation}, which nobody sees");
                    let advice = "add a model for the table, or take the restriction out";
                    self.about(relation, WarningCode::RuleWithoutEffect, restriction.place, message, advice);
                }
            }
        }
    }
}

/// What is odd about a row policy.
fn judge(
    model: &Model,
    policy: &RowPolicy,
    bypassed: bool,
    earlier: &[RowPolicy],
) -> Option<(WarningCode, String, &'static str)> {
    let name = &policy.name;
    let is_for_all = policy.gate.is_for_everybody() && is_true(&policy.condition);
    let repeats = earlier.iter().any(|other| {
        other.effect == policy.effect
            && other.gate.covers(&policy.gate)
            && (other.condition == policy.condition
                || (policy.effect != RowEffect::Narrow && is_true(&other.condition)))
    });
    match policy.effect {
        RowEffect::Bypass if is_for_all => Some((
            WarningCode::ScopeLifted,
            format!(
                "the row policy {name} lifts the scope of {} for everybody: all tenants' rows are seen",
                model.name
            ),
            "give it `roles`, or a condition on the principal",
        )),
        RowEffect::Extend if is_for_all && !model.scoping.is_empty() => Some((
            WarningCode::ScopeLifted,
            format!("the row policy {name} extends the scope of {} to every row for everybody", model.name),
            "give it `roles`, or a condition on the row",
        )),
        RowEffect::Extend if model.scoping.is_empty() => Some((
            WarningCode::RuleWithoutEffect,
            format!(
                "the row policy {name} extends a scope, and {} has none: every row is seen already",
                model.name
            ),
            "add `scoping`, or leave `extends` out so that it narrows",
        )),
        RowEffect::Narrow if is_true(&policy.condition) => Some((
            WarningCode::RuleWithoutEffect,
            format!("the row policy {name} holds for every row: it hides nothing"),
            "write the condition, or take it out",
        )),
        RowEffect::Narrow | RowEffect::Extend if bypassed => Some((
            WarningCode::RuleShadowed,
            format!("the row policy {name} does not count: another one lifts it for everybody"),
            "take the bypass out, or give it `roles`",
        )),
        RowEffect::Narrow | RowEffect::Extend | RowEffect::Bypass if repeats => Some((
            WarningCode::RuleShadowed,
            format!("the row policy {name} adds nothing: one before it says so already"),
            "take one of them out",
        )),
        RowEffect::Narrow | RowEffect::Extend | RowEffect::Bypass => None,
    }
}

/// Whether the condition may hold because of the agent that somebody says they are, and not only for want of one.
fn trusts_agent(condition: &Expression) -> bool {
    let is_agent = |part: &Expression| {
        matches!(part, Expression::Principal(PrincipalValue { path: PrincipalPath::Agent, .. }))
            || matches!(part, Expression::InPrincipal { path: PrincipalPath::Agent, .. })
    };
    let (mut named, mut harmless, mut turned) = (0_usize, 0_usize, false);
    condition.for_each_part(&mut |part| match part {
        Expression::Is { operand, test: IsTest::Null, negated: false } if is_agent(operand) => {
            harmless = harmless.saturating_add(1);
        }
        Expression::Not(inner) => inner.for_each_part(&mut |part| turned |= is_agent(part)),
        part if is_agent(part) => named = named.saturating_add(1),
        _ => {}
    });
    turned || named > harmless
}

fn is_true(condition: &Expression) -> bool {
    *condition == Expression::truth(true)
}
