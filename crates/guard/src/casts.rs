//! Whether a statement's casts go to built-in types only.

use sqlparser::tokenizer::Token;

use crate::fingerprint::is_string;
use crate::named::closing;
use crate::statement::word_at;

/// A relation is a type too (`NULL::users`), and `regclass` turns a text into one: casts go to built-in types only.
pub(crate) fn are_plain(tokens: &[Token]) -> bool {
    (0..tokens.len()).all(|index| {
        let next = index.saturating_add(1);
        let before_string = tokens.get(next).is_some_and(is_string);
        match (tokens.get(index), word_at(tokens, index)) {
            (Some(Token::DoubleColon), _) => is_plain_type(tokens, next),
            (_, Some(word)) if word == "CAST" && tokens.get(next) == Some(&Token::LParen) => {
                is_plain_call(tokens, next)
            }
            // `date '2020-01-01'` is a cast as well.
            (_, Some(word)) if before_string => {
                is_plain_type(tokens, index) || BEFORE_STRING.contains(&word.as_str())
            }
            (Some(Token::Word(_)), None) => !before_string,
            _ => true,
        }
    })
}

/// `CAST (x AS type)`: the last AS within the parentheses is the cast's.
fn is_plain_call(tokens: &[Token], open: usize) -> bool {
    let end = closing(tokens, open.saturating_add(1));
    let within = (open..end).rev();
    let target = within.into_iter().find(|index| word_at(tokens, *index).as_deref() == Some("AS"));
    target.is_some_and(|at| is_plain_type(tokens, at.saturating_add(1)))
}

fn is_plain_type(tokens: &[Token], index: usize) -> bool {
    let qualified = tokens.get(index.saturating_add(1)) == Some(&Token::Period);
    !qualified && word_at(tokens, index).is_some_and(|word| PLAIN_TYPES.contains(&word.as_str()))
}

const PLAIN_TYPES: &[&str] = &[
    "BIGINT", "BIT", "BLOB", "BOOL", "BOOLEAN", "BPCHAR", "BYTEA", "CHAR", "CHARACTER", "DATE", "DECIMAL",
    "DOUBLE", "FLOAT", "FLOAT4", "FLOAT8", "INET", "INT", "INT2", "INT4", "INT8", "INTEGER", "INTERVAL",
    "JSON", "JSONB", "NUMERIC", "PRECISION", "REAL", "SMALLINT", "TEXT", "TIME", "TIMESTAMP", "TIMESTAMPTZ",
    "TIMETZ", "UUID", "VARCHAR", "VARYING", "ZONE",
];

/// Words of the grammar that a string may follow.
const BEFORE_STRING: &[&str] = &[
    "ALL", "AND", "AS", "BETWEEN", "BY", "CASE", "DISTINCT", "ELSE", "ESCAPE", "FROM", "HAVING", "ILIKE",
    "IN", "IS", "LIKE", "NOT", "ON", "OR", "RETURNING", "SELECT", "THEN", "TO", "WHEN", "WHERE", "LIMIT",
    "OFFSET",
];
