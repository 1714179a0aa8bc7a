//! Whether a statement answers the same as long as the data stay the same: only then may its answer be kept.

use sqlparser::tokenizer::{Token, Tokenizer};

use crate::dialect::Dialect;
use crate::sealed::Parameter;

/// What these databases read as the time of asking, where a text becomes a date.
const MOMENTS: &[&str] = &["now", "today", "tomorrow", "yesterday"];

/// Whether the text does: it is one that the guard printed, in which every name is in quotes. `functions` are those that it
/// calls. Where in doubt it does not, which costs a question to the database and nothing else.
pub(crate) fn text(sql: &str, functions: &[String], dialect: &Dialect) -> bool {
    // What functions of somebody's own do, nobody here knows.
    if functions.iter().any(|name| name.contains('.')) {
        return false;
    }
    let printed = dialect.printed();
    let Ok(tokens) = Tokenizer::new(&*printed, sql).with_unescape(false).tokenize() else { return false };
    let tokens: Vec<Token> =
        tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    (0..tokens.len()).all(|at| is_steady(tokens.get(at..).unwrap_or_default(), dialect))
}

/// Whether the value does, wherever it stands.
pub(crate) fn value(parameter: &Parameter) -> bool {
    match parameter {
        Parameter::Null | Parameter::Integer(_) | Parameter::Float(_) | Parameter::Bool(_) => true,
        Parameter::Text(text) => !names_a_moment(text),
        Parameter::List(items) => items.iter().all(value),
    }
}

/// The first of the tokens, by what comes behind it.
fn is_steady(tokens: &[Token], dialect: &Dialect) -> bool {
    let Some((first, rest)) = tokens.split_first() else { return true };
    match first {
        Token::Word(word) => {
            let name = word.value.to_ascii_lowercase();
            let is_called = rest.first() == Some(&Token::LParen);
            let is_bare = word.quote_style.is_none() && dialect.bare.contains(&name.as_str());
            let changes =
                dialect.changing.contains(&name.as_str()) || dialect.is_sqlite() && asks_for_now(&name, rest);
            !(is_bare || is_called && changes)
        }
        Token::Placeholder(_) => true,
        other => !names_a_moment(&other.to_string()),
    }
}

/// Whether a function of `SQLite` for dates is called without one: it takes the time of asking then. `call` begins with the
/// parenthesis.
fn asks_for_now(name: &str, call: &[Token]) -> bool {
    match name {
        "date" | "time" | "datetime" | "julianday" | "unixepoch" => call.get(1) == Some(&Token::RParen),
        "strftime" => !has_second(call),
        _ => false,
    }
}

/// Whether the call has more than one argument.
fn has_second(call: &[Token]) -> bool {
    let mut depth = 0_usize;
    for token in call {
        match token {
            Token::LParen => depth = depth.saturating_add(1),
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Comma if depth == 1 => return true,
            _ => {}
        }
        if depth == 0 {
            return false;
        }
    }
    false
}

/// Whether one of its words is a moment's.
fn names_a_moment(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_alphabetic());
    words.any(|word| MOMENTS.iter().any(|moment| word.eq_ignore_ascii_case(moment)))
}

#[cfg(test)]
mod tests {
    use ringfence_policy::ConnectionKind;

    use super::*;

    fn is(kind: ConnectionKind, sql: &str) -> bool {
        text(sql, &[], Dialect::of(kind).unwrap())
    }

    #[test]
    fn what_hangs_on_the_moment_is_found() {
        use ConnectionKind::{Mysql, Postgresql, Sqlite};
        for (kind, sql) in [
            (Postgresql, r#"SELECT "pg_catalog"."now"()"#),
            (Postgresql, r#"SELECT * FROM (SELECT "a" FROM "s"."t" WHERE "d" < CURRENT_DATE) AS "t""#),
            (Postgresql, r#"SELECT "pg_catalog"."random"() < 0.5"#),
            (Postgresql, r#"SELECT "pg_catalog"."gen_random_uuid"()"#),
            (Postgresql, r#"SELECT "pg_catalog"."age"("born")"#),
            (Postgresql, "SELECT CAST('Today' AS date)"),
            (Postgresql, r#"SELECT "a" FROM "t" WHERE "d" > ' tomorrow 12:00'"#),
            (Sqlite, "SELECT random()"),
            (Sqlite, "SELECT date('now')"),
            (Sqlite, "SELECT date()"),
            (Sqlite, "SELECT strftime('%Y')"),
            (Sqlite, "SELECT strftime(lower('%Y'))"),
            (Sqlite, r#"SELECT "a" FROM "t" WHERE "d" < CURRENT_TIMESTAMP"#),
            (Mysql, "SELECT NOW(), 1"),
            (Mysql, "SELECT uuid()"),
            (Mysql, "SELECT rand()"),
            (Mysql, "SELECT unix_timestamp()"),
        ] {
            assert!(!is(kind, sql), "{sql}");
        }
        assert!(!text("SELECT 1", &["shop.price".to_owned()], Dialect::of(Postgresql).unwrap()));
    }

    #[test]
    fn what_hangs_on_the_data_alone_is_steady() {
        use ConnectionKind::{Mysql, Postgresql, Sqlite};
        for (kind, sql) in [
            (Postgresql, r#"SELECT "age", "now", "random" FROM "s"."t" WHERE "a" = $1 AND "b" = 'know how'"#),
            (Postgresql, r#"SELECT "pg_catalog"."sum"("a"), "pg_catalog"."date_trunc"('day', "d") FROM "t""#),
            (Sqlite, r#"SELECT date("d"), strftime('%Y', "d") FROM "t" WHERE "time" > '2026-01-01'"#),
            (Mysql, "SELECT date(`now`), sum(`a`) FROM `t` WHERE `b` = ?"),
        ] {
            assert!(is(kind, sql), "{sql}");
        }
    }

    #[test]
    fn a_value_may_be_a_moment() {
        let list = |text: &str| Parameter::List(vec![Parameter::Null, Parameter::Text(text.to_owned())]);
        assert!(value(&list("acme")) && value(&Parameter::Integer(1)));
        assert!(!value(&list("NOW")) && !value(&Parameter::Text("yesterday allballs".to_owned())));
    }
}
