//! CSV as PostgreSQL writes it (COPY ... CSV): NULL is nothing at all, every other value stands in quotes. So an empty text
//! and NULL stay two things, which readers of quotes lose.

use std::io::{self, BufRead, Write};

use ringfence_engine::operator::TextRow;

/// Writes one record.
pub(super) fn write(out: &mut impl Write, row: &TextRow) -> io::Result<()> {
    for (at, value) in row.iter().enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        if let Some(value) = value {
            write!(out, "\"{}\"", value.replace('"', "\"\""))?;
        }
    }
    out.write_all(b"\n")
}

/// Reads records as [`write()`] writes them.
pub(super) struct Records<R> {
    bytes: io::Bytes<R>,
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(input: R) -> Self {
        Self { bytes: input.bytes() }
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<TextRow>, String> {
        let Some(mut byte) = self.byte()? else { return Ok(None) };
        let mut row = TextRow::new();
        loop {
            let (value, after) = self.field(byte)?;
            row.push(value);
            match after {
                b',' => byte = self.byte()?.ok_or("a record is cut off")?,
                _ => return Ok(Some(row)),
            }
        }
    }

    /// A value that begins with that byte, and what stands behind it.
    fn field(&mut self, first: u8) -> Result<(Option<String>, u8), String> {
        match first {
            b',' | b'\n' => return Ok((None, first)),
            b'"' => {}
            _ => return Err("a value stands outside of quotes".to_owned()),
        }
        let mut value = Vec::new();
        loop {
            let byte = self.byte()?.ok_or("a value is cut off")?;
            if byte != b'"' {
                value.push(byte);
                continue;
            }
            match self.byte()? {
                Some(b'"') => value.push(b'"'),
                Some(after @ (b',' | b'\n')) => {
                    return String::from_utf8(value)
                        .map(|text| (Some(text), after))
                        .map_err(|_| "a value is not UTF-8".to_owned());
                }
                Some(_) | None => return Err("something stands behind a value's closing quote".to_owned()),
            }
        }
    }

    fn byte(&mut self) -> Result<Option<u8>, String> {
        self.bytes.next().transpose().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let rows: Vec<TextRow> = vec![
            vec![Some(String::new()), None, Some("a".to_owned())],
            vec![None, None, None],
            vec![Some("a \"b\", c\nd\r\n\\N".to_owned()), Some(",".to_owned()), Some("ä\u{1}".to_owned())],
            vec![None],
        ];
        let mut written = Vec::new();
        for row in &rows {
            write(&mut written, row).unwrap();
        }
        let mut records = Records::new(written.as_slice());
        let mut read = Vec::new();
        while let Some(row) = records.next().unwrap() {
            read.push(row);
        }
        assert_eq!(read, rows);
        for broken in ["a", "\"a", "\"a\"b\n", "\"a\",", "\"a\""] {
            assert!(Records::new(broken.as_bytes()).next().is_err(), "{broken}");
        }
    }
}
