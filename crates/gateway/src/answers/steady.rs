//! Whether a statement answers the same as long as the data stay the same: only then may its answer be kept.

use ringfence_guard::{GuardedQuery, Parameter};
use ringfence_policy::ConnectionKind;

/// What these databases read as the time of asking, where a text becomes a date.
const MOMENTS: &[&str] = &["now", "today", "tomorrow", "yesterday"];
/// Words without parentheses that are the time of asking.
const BARE: &[&str] = &["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"];
/// Functions of what the guard lets through that answer otherwise when they are asked again, whatever the data.
const CHANGING: &[&str] = &[
    "age", "clock_timestamp", "curdate", "curtime", "gen_random_uuid", "now", "rand", "random",
    "statement_timestamp", "sysdate", "transaction_timestamp", "unix_timestamp", "utc_date", "utc_time",
    "utc_timestamp", "uuid",
];

/// Whether it does. It must be one that the guard rewrote; where in doubt it does not, which costs a question to the
/// database and nothing else.
//
// INVARIANT: no condition that hangs on the clock is outlived by what it showed. Held by the test
// `what_hangs_on_the_moment_is_kept_for_nobody`.
pub(super) fn is_steady(query: &GuardedQuery, kind: ConnectionKind) -> bool {
    let Some(fence) = query.fence() else { return false };
    // What functions of somebody's own do, nobody here knows: they have a schema before their names.
    let is_own = |name: &String| name.contains('.');
    !fence.writes
        && !fence.functions.iter().any(is_own)
        && text(query.sql(), kind)
        && query.parameters().iter().all(value)
}

/// Every word of it counts, in strings and names as well: the guard prints what it calls without anything between.
fn text(sql: &str, kind: ConnectionKind) -> bool {
    words(sql).all(|(word, rest)| {
        let is_among = |known: &[&str]| known.iter().any(|known| word.eq_ignore_ascii_case(known));
        let call = rest.trim_start_matches(['"', '`']).trim_start();
        let asks = || kind == ConnectionKind::Sqlite && asks_for_now(word, call);
        let changes = call.starts_with('(') && (is_among(CHANGING) || asks());
        !(is_among(MOMENTS) || is_among(BARE) || changes)
    })
}

/// Whether the value does, wherever it stands.
fn value(parameter: &Parameter) -> bool {
    match parameter {
        Parameter::Null | Parameter::Integer(_) | Parameter::Float(_) | Parameter::Bool(_) => true,
        Parameter::Text(text) => {
            words(text).all(|(word, _)| !MOMENTS.iter().any(|moment| word.eq_ignore_ascii_case(moment)))
        }
        Parameter::List(items) => items.iter().all(value),
    }
}

/// Each word, with what comes behind it.
fn words(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_inside = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c| !is_inside(c));
        let (word, behind) = rest.split_at(rest.find(|c| !is_inside(c)).unwrap_or(rest.len()));
        rest = behind;
        (!word.is_empty()).then_some((word, behind))
    })
}

/// Whether a function of `SQLite` for dates is called without one: it takes the time of asking then.
fn asks_for_now(name: &str, call: &str) -> bool {
    let arguments = call.strip_prefix('(').unwrap_or_default();
    match name.to_ascii_lowercase().as_str() {
        "date" | "time" | "datetime" | "julianday" | "unixepoch" => arguments.trim_start().starts_with(')'),
        "strftime" => !has_second(arguments),
        _ => false,
    }
}

/// Whether there is another argument behind the first one.
fn has_second(arguments: &str) -> bool {
    let (mut depth, mut is_quoted) = (0_usize, false);
    for c in arguments.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '(' => depth += 1,
            ')' if depth == 0 => return false,
            ')' => depth -= 1,
            ',' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use ConnectionKind::{Mysql, Postgresql, Sqlite};

    use super::*;

    #[test]
    fn what_hangs_on_the_moment_is_found() {
        for (kind, sql) in [
            (Postgresql, r#"SELECT "pg_catalog"."now"()"#),
            (Postgresql, r#"SELECT * FROM (SELECT "a" FROM "s"."t" WHERE "d" < CURRENT_DATE) AS "t""#),
            (Postgresql, r#"SELECT "pg_catalog"."random"() < 0.5"#),
            (Postgresql, r#"SELECT "pg_catalog"."gen_random_uuid"()"#),
            (Postgresql, r#"SELECT "pg_catalog"."age" ("born")"#),
            (Postgresql, "SELECT CAST('Today' AS date)"),
            (Postgresql, r#"SELECT "a" FROM "t" WHERE "d" > ' tomorrow 12:00'"#),
            (Sqlite, "SELECT random()"),
            (Sqlite, "SELECT date('now')"),
            (Sqlite, "SELECT date( )"),
            (Sqlite, "SELECT strftime('%Y, %m')"),
            (Sqlite, "SELECT strftime(lower('%Y'))"),
            (Sqlite, r#"SELECT "a" FROM "t" WHERE "d" < CURRENT_TIMESTAMP"#),
            (Mysql, "SELECT NOW(), 1"),
            (Mysql, "SELECT uuid()"),
            (Mysql, "SELECT rand()"),
            (Mysql, "SELECT unix_timestamp()"),
        ] {
            assert!(!text(sql, kind), "{sql}");
        }
    }

    #[test]
    fn what_hangs_on_the_data_alone_is_steady() {
        for (kind, sql) in [
            (Postgresql, r#"SELECT "age", "random" FROM "s"."t" WHERE "a" = $1 AND "b" = 'know how'"#),
            (Postgresql, r#"SELECT "pg_catalog"."sum"("a"), "pg_catalog"."date_trunc"('day', "d") FROM "t""#),
            (Sqlite, r#"SELECT date("d"), strftime('%Y', "d") FROM "t" WHERE "time" > '2026-01-01'"#),
            (Sqlite, r#"SELECT strftime(lower('%Y'), date("d"))"#),
            (Mysql, "SELECT date(`uuid`), sum(`a`) FROM `t` WHERE `b` = ?"),
        ] {
            assert!(text(sql, kind), "{sql}");
        }
    }

    #[test]
    fn a_value_may_be_a_moment() {
        let list = |text: &str| Parameter::List(vec![Parameter::Null, Parameter::Text(text.to_owned())]);
        assert!(value(&list("acme, knowhow")) && value(&Parameter::Integer(1)));
        assert!(!value(&list("NOW")) && !value(&Parameter::Text("yesterday allballs".to_owned())));
    }
}
