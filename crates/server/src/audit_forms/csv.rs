//! Records as comma-separated values that are safe to open in a spreadsheet.

use std::io;

use super::entry::{AuditEntry, COLUMNS, Cell};

/// The line of names.
pub(super) fn head() -> io::Result<Vec<u8>> {
    written(std::iter::once(COLUMNS.iter().map(|column| column.name.to_owned()).collect()))
}

/// A line for each record.
pub(super) fn lines(entries: &[AuditEntry]) -> io::Result<Vec<u8>> {
    written(entries.iter().map(|entry| COLUMNS.iter().map(|column| shown(&column.cell, entry)).collect()))
}

fn written(records: impl Iterator<Item = Vec<String>>) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in records {
        writer.write_record(record)?;
    }
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

fn shown(cell: &Cell, entry: &AuditEntry) -> String {
    match cell {
        Cell::Integer(get) => get(entry).map(|value| value.to_string()).unwrap_or_default(),
        Cell::Moment(_) => entry.time.clone(),
        Cell::Text(get) => get(entry).map(harmless).unwrap_or_default(),
        Cell::List(get) => harmless(&get(entry).join("; ")),
        Cell::Json(get) => get(entry).as_deref().map(harmless).unwrap_or_default(),
    }
}

/// Spreadsheets run a cell that begins like a formula, and callers choose these texts. A control character may end a line,
/// or a cell, where a reader does not know quotes.
fn harmless(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    // Some take signs of full width for the others, and spaces before them for nothing.
    let begins = text.trim_start().chars().next();
    let is_formula =
        matches!(begins, Some('=' | '+' | '-' | '@' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}'));
    if is_formula { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_no_formulas() {
        for (text, expected) in [
            ("=1+1", "'=1+1"),
            ("  @SUM(A1)", "'  @SUM(A1)"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("\u{ff1d}cmd", "'\u{ff1d}cmd"),
            ("\t=1", "\u{fffd}=1"),
            ("a\r\nb\0", "a\u{fffd}\u{fffd}b\u{fffd}"),
            ("ada", "ada"),
            ("", ""),
        ] {
            assert_eq!(harmless(text), expected, "{text:?}");
        }
    }
}
