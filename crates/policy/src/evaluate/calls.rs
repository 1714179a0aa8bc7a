//! The functions that all databases agree on, as far as they do.

use super::{Datum, Unsupported};

pub(super) fn call(function: &str, arguments: &[Datum]) -> Result<Datum, Unsupported> {
    match (function, arguments) {
        ("coalesce" | "ifnull", _) => {
            Ok(arguments.iter().find(|argument| **argument != Datum::Null).cloned().unwrap_or(Datum::Null))
        }
        ("nullif", [one, other]) => {
            Ok(if one.equals(other)? == Some(true) { Datum::Null } else { one.clone() })
        }
        (
            "length" | "lower" | "upper" | "left" | "right" | "strpos" | "instr" | "split_part" | "substr",
            _,
        ) if arguments.contains(&Datum::Null) => Ok(Datum::Null),
        ("length", [Datum::Text(text)]) => Ok(count(text.chars().count())),
        ("lower", [Datum::Text(text)]) if text.is_ascii() => Ok(Datum::Text(text.to_ascii_lowercase())),
        ("upper", [Datum::Text(text)]) if text.is_ascii() => Ok(Datum::Text(text.to_ascii_uppercase())),
        ("left", [Datum::Text(text), Datum::Integer(length @ 0..)]) => {
            Ok(Datum::Text(text.chars().take(size(*length)).collect()))
        }
        ("right", [Datum::Text(text), Datum::Integer(length @ 0..)]) => {
            let skipped = text.chars().count().saturating_sub(size(*length));
            Ok(Datum::Text(text.chars().skip(skipped).collect()))
        }
        ("substr", [Datum::Text(text), Datum::Integer(start @ 1..)]) => {
            Ok(Datum::Text(text.chars().skip(size(*start).saturating_sub(1)).collect()))
        }
        ("substr", [Datum::Text(text), Datum::Integer(start @ 1..), Datum::Integer(length @ 0..)]) => {
            let from = text.chars().skip(size(*start).saturating_sub(1));
            Ok(Datum::Text(from.take(size(*length)).collect()))
        }
        // SQLite counts from the end.
        ("substr", [Datum::Text(text), Datum::Integer(start @ ..=-1)]) => {
            let skipped = text.chars().count().saturating_sub(size(start.saturating_neg()));
            Ok(Datum::Text(text.chars().skip(skipped).collect()))
        }
        ("strpos" | "instr", [Datum::Text(text), Datum::Text(part)]) => {
            let before = text.find(part.as_str()).and_then(|bytes| text.get(..bytes));
            Ok(count(before.map_or(0, |before| before.chars().count().saturating_add(1))))
        }
        ("split_part", [Datum::Text(text), Datum::Text(separator), Datum::Integer(place @ 1..)]) => {
            let part = text.split(separator.as_str()).nth(size(*place).saturating_sub(1));
            Ok(Datum::Text(part.unwrap_or_default().to_owned()))
        }
        _ => Err(Unsupported("this function")),
    }
}

/// `LIKE` with `%` and `_`; a pattern with the escape character is left to the database, as is the case of letters in
/// SQLite's LIKE.
pub(super) fn like(
    operand: &Datum,
    pattern: &Datum,
    any_case: bool,
    negated: bool,
) -> Result<Datum, Unsupported> {
    match (operand, pattern) {
        (Datum::Null, _) | (_, Datum::Null) => Ok(Datum::Null),
        (Datum::Text(text), Datum::Text(pattern)) if !any_case && !pattern.contains('\\') => {
            let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
            Ok(Datum::Bool(matches(&text, &pattern) != negated))
        }
        _ => Err(Unsupported("this LIKE")),
    }
}

/// Row by row over the pattern: linear in the product of the lengths.
fn matches(text: &[char], pattern: &[char]) -> bool {
    let mut reach = vec![true];
    reach.resize(text.len().saturating_add(1), false);
    for piece in pattern {
        let mut next = vec![false; reach.len()];
        let mut before = false;
        for (place, reached) in reach.iter().enumerate() {
            let hit = match piece {
                '%' => *reached || before,
                one => place
                    .checked_sub(1)
                    .and_then(|last| Some((reach.get(last)?, text.get(last)?)))
                    .is_some_and(|(reached, letter)| *reached && (*one == '_' || one == letter)),
            };
            if let Some(slot) = next.get_mut(place) {
                *slot = hit;
            }
            before = hit;
        }
        reach = next;
    }
    reach.last().copied().unwrap_or(false)
}

fn count(number: usize) -> Datum {
    i128::try_from(number).map_or(Datum::Null, Datum::Integer)
}

fn size(number: i128) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
