//! Explanations for people: what matters first, one rule a line.

use std::fmt::Display;

use ringfence_gateway::queries::{
    AdministratorsView, Asked, Because, CallersView, ClauseValue, ColumnShown, ExplainedRelation,
    Explanation, Limits, Sent, Why, WhyClause,
};
use ringfence_policy::Permit;

use crate::cli::terminal::{BAD, CODE, FAINT, GOOD, TITLE, paint, plain_table, say};
use crate::explanation::permit;

/// Where what is said begins, behind its label.
const LABEL: usize = 11;

pub(super) fn explanation(explanation: &Explanation) {
    match explanation {
        Explanation::Caller(view) => caller(view),
        Explanation::Administrator(view) => administrator(view),
    }
}

fn caller(view: &CallersView) {
    line("runs", if view.changes { "yes, and may change rows" } else { "yes, and only reads" });
    line("guarded", if view.guarded { "yes, by a policy" } else { "no" });
    limits(view.limits);
    for seen in &view.relations {
        say("");
        say(paint(TITLE, &seen.relation));
        say_line("rows", if seen.rows_limited { "limited: rows may be hidden" } else { "all" });
        if !seen.masked.is_empty() {
            say_line("masked", seen.masked.join(", "));
        }
    }
    if view.guarded {
        say("");
        say(paint(FAINT, "Columns and relations that do not exist for the user are not listed."));
    }
}

fn administrator(view: &AdministratorsView) {
    about(&view.asked);
    match view.policy_version {
        Some(version) => {
            let catalog = view.catalog_version.map(|version| format!(", catalog {version}"));
            line("policy", format!("version {version}{}", catalog.unwrap_or_default()));
        }
        None => line("policy", "none: the connection is open"),
    }
    match &view.refusal {
        None => line("answer", paint(GOOD, "it runs")),
        Some(refused) => {
            let words = format!("refused: {}", refused.code.row().name);
            line("answer", format!("{} {}", paint(BAD, words), refused.message));
        }
    }
    limits(view.limits);
    if let Some(statement) = &view.sent {
        say("");
        sent(statement);
    }
    for explained in &view.relations {
        say("");
        relation(explained);
    }
    if !view.read_by_policy.is_empty() {
        let names: Vec<String> = view.read_by_policy.iter().map(ToString::to_string).collect();
        say("");
        line("also read", format!("{} (by the policy's conditions)", names.join(", ")));
    }
    if let Some(plan) = &view.plan {
        say("");
        say(paint(TITLE, "Plan of the database"));
        for row in plan {
            say(format_args!("  {row}"));
        }
    }
}

fn sent(sent: &Sent) {
    say(paint(TITLE, "Statement for the database"));
    say(format_args!("  {}", paint(CODE, &sent.sql)));
    for (index, parameter) in sent.parameters.iter().enumerate() {
        let value = parameter.value.as_ref().map(|value| format!(" = {value}")).unwrap_or_default();
        say_line(&format!("{}", index + 1), format!("{}{value}", parameter.is));
    }
    let transaction = if sent.changes { "read-write" } else { "read-only" };
    say_line("runs", format!("in a {transaction} transaction"));
    let barrier =
        if sent.barrier { "yes: what may raise an error sees visible rows only" } else { "not needed" };
    say_line("barrier", barrier);
    if let Some(most) = sent.max_changes {
        say_line("changes", format!("at most {most} rows"));
    }
    for (relation, policy) in &sent.bypasses {
        say_line("bypass", format!("{policy} on {relation}, recorded at each use"));
    }
}

fn relation(explained: &ExplainedRelation) {
    let name = paint(TITLE, &explained.relation);
    match &explained.denial {
        None => say(name),
        Some(denial) => say(format_args!("{name}  {}", paint(BAD, denial))),
    }
    for reason in &explained.reasons {
        say_line("", because(reason));
    }
    if explained.denial.is_none() {
        say_line("rows", explained.rows.as_deref().unwrap_or("all"));
    }
    for reason in &explained.row_reasons {
        say_line("", because(reason));
    }
    if explained.denial.is_some() {
        return;
    }
    let plain: Vec<&str> = explained
        .columns
        .iter()
        .filter(|column| column.shown == ColumnShown::Plain)
        .map(|column| column.name.as_str())
        .collect();
    say_line("columns", if plain.is_empty() { "none in clear".to_owned() } else { plain.join(", ") });
    for column in &explained.columns {
        let word = match column.shown {
            ColumnShown::Plain => continue,
            ColumnShown::Masked => "masked",
            ColumnShown::Hidden => "hidden",
        };
        let reasons: Vec<String> = column.reasons.iter().map(because).collect();
        say_line(word, format!("{}: {}", column.name, reasons.join("; ")));
    }
    say_line("changes", permits(explained.permits));
    if let Some(rows) = &explained.changed_rows {
        say_line("", format!("of the rows where {rows}"));
    }
    for reason in &explained.write_reasons {
        say_line("", because(reason));
    }
}

pub(super) fn why(why: &Why) {
    about(&why.asked);
    let answer = match (&why.denial, why.found, why.visible) {
        (Some(denial), _, _) => paint(BAD, format!("not visible: {denial}")),
        (None, false, _) => paint(BAD, "there is no such row"),
        (None, true, true) => paint(GOOD, "visible"),
        (None, true, false) => paint(BAD, "not visible"),
    };
    line("row of", &why.relation);
    line("answer", answer);
    for reason in &why.reasons {
        line("", because(reason));
    }
    line("policy", format!("version {}", why.policy_version));
    if !why.clauses.is_empty() {
        say("");
        say(paint(TITLE, "Clauses"));
        clauses(&why.clauses);
    }
    if !why.parts.is_empty() {
        say("");
        let parts: Vec<String> =
            why.parts.iter().map(|(part, value)| format!("{part} {}", truth(*value))).collect();
        line("together", parts.join("  AND  "));
    }
    if !why.attributes.is_empty() {
        say("");
        say(paint(TITLE, "Values of the user"));
        for (name, value) in &why.attributes {
            let value = value.as_ref().map_or_else(|| "missing".to_owned(), ToString::to_string);
            say(format_args!("  {name} = {value}"));
        }
    }
    if why.found && !why.columns.is_empty() {
        say("");
        say(paint(TITLE, "Values of the row"));
        for column in &why.columns {
            let value = column.value.as_ref().map(ToString::to_string);
            let value =
                value.unwrap_or_else(|| "not shown: the administrator does not see it either".to_owned());
            say(format_args!("  {} = {value}", column.name));
        }
    }
    say("");
    line("changes", permits(why.permits));
}

fn clauses(clauses: &[WhyClause]) {
    let mut table = plain_table();
    for clause in clauses {
        let part = match &clause.hierarchy {
            Some(hierarchy) => format!("{} ({hierarchy})", clause.part),
            None => clause.part.to_owned(),
        };
        let line = clause.because.line.map(|line| format!(" (line {line})")).unwrap_or_default();
        let lifted = if clause.because.effect == "nothing" { "no effect: " } else { "" };
        let condition = clause.because.condition.as_deref().unwrap_or_default();
        let rule = format!("{lifted}{}{line}", clause.because.rule);
        table.add_row([part, truth(clause.value).to_owned(), rule, condition.to_owned()]);
    }
    say(table);
}

fn about(asked: &Asked) {
    let Asked { user, tenant, org, roles, has_connection } = asked;
    line("as", format!("{user} of {tenant} in {org}, {}", roles.join(", ")));
    if !has_connection {
        line("", "who has no connection of this key: every call of theirs is refused as not found");
    }
}

fn limits(limits: Limits) {
    line("limits", format!("{} rows, {:?}", limits.max_rows, limits.timeout));
}

fn because(reason: &Because) -> String {
    let word = match reason.effect {
        "gives" => "given by",
        "takes" => "taken by",
        "masks" => "masked by",
        "narrows" => "narrowed by",
        "extends" => "extended by",
        "lifts" => "scope lifted by",
        _ => "no effect of",
    };
    let line = reason.line.map(|line| format!(" (line {line})")).unwrap_or_default();
    format!("{word} {}{line}", reason.rule)
}

fn permits([create, update, delete]: [Permit; 3]) -> String {
    format!("create {}, update {}, delete {}", permit(create), permit(update), permit(delete))
}

fn truth(value: ClauseValue) -> &'static str {
    match value {
        ClauseValue::True => "TRUE",
        ClauseValue::False => "FALSE",
        ClauseValue::Null => "NULL",
        ClauseValue::Unasked => "-",
        ClauseValue::Failed => "ERROR",
    }
}

fn line(label: &str, text: impl Display) {
    say(format_args!("{label:<LABEL$}{text}"));
}

fn say_line(label: &str, text: impl Display) {
    line(&format!("  {label}"), text);
}
