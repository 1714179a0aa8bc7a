//! How a mistake is mended, in the words of policy documents.

use ringfence_policy::Permit;
use ringfence_policy::policy::RowEffect;

use super::Bench;
use super::actor::Actor;
use super::judge::Fault;
use super::report::Invariant;
use super::tenancy::{Custom, Ownership};
use super::world::World;

/// What to do about the fault.
pub(super) fn advice(
    bench: &Bench<'_>,
    world: &World,
    custom: &Custom,
    actor: Option<&Actor>,
    fault: &Fault,
) -> String {
    let column = fault.column.as_deref().unwrap_or("the column");
    match fault.invariant {
        Invariant::NoCrossTenantData => rows(bench, world, custom, actor, fault),
        Invariant::NoDeniedFields if fault.column.is_none() => {
            "say `allowed: false` of its model, or name the roles that see it (`roles`), or take `hidden` out of the intent".to_owned()
        }
        Invariant::NoDeniedFields => format!("say `{column}: deny` in the model's `fields`, or allow it to roles in the intent"),
        Invariant::MaskedFieldsMasked => format!(
            "say `{column}: {{ action: mask, ... }}` (or `deny`, `redact`, `hash`) in the model's `fields`, with a mask that shows less; if it is no secret, say `show: clear` in the intent"
        ),
        Invariant::ResponseWithinBudget => "set `budget: { max_rows: ..., max_fields: ... }` of the policy or of the model to what is meant".to_owned(),
        Invariant::WritesStayInside => writes(bench, world, custom, fault),
        Invariant::HiddenEqualsMissing => {
            "this is not for the policy to mend: tell those who make Ringfence, with this report".to_owned()
        }
    }
}

fn rows(bench: &Bench<'_>, world: &World, custom: &Custom, actor: Option<&Actor>, fault: &Fault) -> String {
    let name = &fault.relation;
    let entitlement = actor.and_then(|actor| actor.seat.shape.view.relations.get(name));
    if let Some(bypass) = entitlement.and_then(|entitlement| entitlement.bypass.as_ref()) {
        return format!(
            "narrow the bypass `{bypass}` with `roles` or a condition on the principal, or declare it in the intent's `crossings`"
        );
    }
    let Some(model) = bench.policy.models.get(name) else {
        return format!("make a model for {name} that is scoped, or set `default: deny`");
    };
    let held: Vec<&str> =
        actor.map(|actor| actor.roles().iter().map(String::as_str).collect()).unwrap_or_default();
    let extends = model
        .row_policies
        .iter()
        .find(|policy| policy.effect == RowEffect::Extend && policy.gate.admits(&held));
    if let Some(policy) = extends {
        return format!(
            "narrow the row policy `{}`, which extends the scope, or declare what it shows in the intent's `crossings`",
            policy.name
        );
    }
    match world.tables.get(name).map(|table| &table.ownership) {
        Some(Ownership::Column(column)) => format!(
            "scope {}: `scoping: {{ {column}: {} }}`, or declare the rows that are for everybody in the intent (`shared`)",
            model.name, custom.value
        ),
        Some(Ownership::Parents(links)) => {
            let joins: Vec<String> = links
                .iter()
                .filter_map(|link| {
                    let (column, other) = (link.columns.first()?, link.target_columns.first()?);
                    Some(format!("`{{ from: {name}.{column}, to: {}.{other}, inherit: true }}`", link.target))
                })
                .collect();
            format!("let {} inherit: add to `joins` {}", model.name, joins.join(" or "))
        }
        Some(Ownership::Shared | Ownership::Nobody) | None => {
            format!(
                "give {} a row policy, or keep it to roles: its rows come from tables of tenants",
                model.name
            )
        }
    }
}

fn writes(bench: &Bench<'_>, world: &World, custom: &Custom, fault: &Fault) -> String {
    let column = match world.tables.get(&fault.relation).map(|table| &table.ownership) {
        Some(Ownership::Column(column)) => column.clone(),
        Some(Ownership::Parents(links)) => {
            links.first().and_then(|link| link.columns.first()).cloned().unwrap_or_default()
        }
        Some(Ownership::Shared | Ownership::Nobody) | None => String::new(),
    };
    let creates = bench
        .policy
        .models
        .get(&fault.relation)
        .is_some_and(|model| model.writes.iter().any(|rule| rule.rules.create != Permit::Deny));
    let auto =
        if creates { format!("`auto_set: {{ {column}: {} }}`, ", custom.value) } else { String::new() };
    format!(
        "in the write policy: {auto}`immutable_fields: [{column}]`, and `rows: \"{column} = {}\"` where more is read than may be changed",
        custom.value
    )
}
