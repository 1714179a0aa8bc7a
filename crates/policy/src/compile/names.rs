//! Names with dots, times with units, and places inside texts.

use std::time::Duration;

use crate::placed::Place;

/// The parts of a dotted name, as stored; a part with a dot or a quote stands in double quotes.
pub(crate) fn split(name: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = name;
    loop {
        let (part, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_part(quoted)?
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            let (part, after) = rest.split_at_checked(end)?;
            if part.contains('"') || part.trim() != part {
                return None;
            }
            (part.to_owned(), after)
        };
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None => return after.is_empty().then_some(parts),
        }
    }
}

/// Up to the closing quote; two quotes are one.
fn quoted_part(mut rest: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        part.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                part.push('"');
                rest = next;
            }
            None => return Some((part, after)),
        }
    }
}

/// `500ms`, `5s`, `2m`, `1h`.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    match unit.trim() {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// The place in the document of a place in one of its texts. A text on one line that stands as it is, quoted or not, is
/// found exactly, and so is a block (`|`); anything else by its beginning.
pub(super) fn within(source: &str, place: Place, text: &str, line: usize, column: usize) -> Place {
    let rest = place.offset.and_then(|offset| source.get(offset..)).unwrap_or_default();
    let quote = usize::from(rest.starts_with(['"', '\'']));
    let inner = rest.get(quote..).unwrap_or_default();
    if !text.contains('\n') && inner.starts_with(text.trim_end()) {
        let column = place.column.saturating_add(quote).saturating_add(column).saturating_sub(1);
        return Place { column, ..place };
    }
    // The lines of a block stand as they are, indented.
    let above = line.saturating_sub(1);
    let (Some(found), Some(wanted)) = (rest.lines().nth(above), text.lines().nth(above)) else {
        return place;
    };
    if found.trim() != wanted.trim() {
        return place;
    }
    let indent = if above == 0 {
        place.column.saturating_sub(1)
    } else {
        found.chars().count().saturating_sub(wanted.chars().count())
    };
    Place { line: place.line.saturating_add(above), column: indent.saturating_add(column), offset: None }
}
