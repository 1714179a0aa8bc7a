//! Records as an Apache Parquet file, made a group of rows at a time.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

use super::entry::{AuditEntry, COLUMNS, Cell};

/// Records of one group of rows: readers skip whole groups, and all of one is in memory.
const GROUP_RECORDS: usize = 8_192;
/// The same in bytes of what can be long.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// A file in the making.
pub(crate) struct Encoder {
    writer: SerializedFileWriter<Vec<u8>>,
    gathered: Vec<AuditEntry>,
    bytes: usize,
}

impl Encoder {
    pub(super) fn new() -> io::Result<Self> {
        let schema = parse_message_type(&schema()).map_err(failed)?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties));
        Ok(Self { writer: writer.map_err(failed)?, gathered: Vec::new(), bytes: 0 })
    }

    /// What was written since it was asked for last.
    pub(super) fn written(&mut self) -> io::Result<Vec<u8>> {
        self.writer.flush()?;
        Ok(std::mem::take(self.writer.inner_mut()))
    }

    pub(super) fn records(&mut self, entries: Vec<AuditEntry>) -> io::Result<Vec<u8>> {
        self.bytes += entries.iter().map(size_of_long).sum::<usize>();
        self.gathered.extend(entries);
        if self.gathered.len() >= GROUP_RECORDS || self.bytes >= GROUP_BYTES {
            self.write_group().map_err(failed)?;
        }
        self.written()
    }

    pub(super) fn end(mut self) -> io::Result<Vec<u8>> {
        self.write_group().map_err(failed)?;
        self.writer.into_inner().map_err(failed)
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let entries = std::mem::take(&mut self.gathered);
        self.bytes = 0;
        let mut group = self.writer.next_row_group()?;
        for column in &COLUMNS {
            let missing = || ParquetError::General(format!("the schema lacks {}", column.name));
            let mut writer = group.next_column()?.ok_or_else(missing)?;
            write_column(&mut writer, &column.cell, &entries)?;
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }
}

/// A value's level says whether it is there (1), or of a list: whether it has elements (1) or none (0).
fn write_column(
    writer: &mut SerializedColumnWriter<'_>,
    cell: &Cell,
    entries: &[AuditEntry],
) -> Result<(), ParquetError> {
    match cell {
        Cell::Integer(get) | Cell::Moment(get) => {
            let values: Vec<Option<i64>> = entries.iter().map(get).collect();
            let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
            let present: Vec<i64> = values.into_iter().flatten().collect();
            writer.typed::<Int64Type>().write_batch(&present, Some(&levels), None)?;
        }
        Cell::Text(get) => {
            let values: Vec<Option<&str>> = entries.iter().map(get).collect();
            write_texts(writer, &values)?;
        }
        Cell::Json(get) => {
            let values: Vec<Option<String>> = entries.iter().map(get).collect();
            write_texts(writer, &values.iter().map(Option::as_deref).collect::<Vec<_>>())?;
        }
        Cell::List(get) => {
            let (mut present, mut levels, mut repeats) = (Vec::new(), Vec::new(), Vec::new());
            for list in entries.iter().map(get) {
                if list.is_empty() {
                    levels.push(0);
                    repeats.push(0);
                }
                for (index, text) in list.iter().enumerate() {
                    present.push(ByteArray::from(text.as_str()));
                    levels.push(1);
                    repeats.push(i16::from(index > 0));
                }
            }
            writer.typed::<ByteArrayType>().write_batch(&present, Some(&levels), Some(&repeats))?;
        }
    }
    Ok(())
}

fn write_texts(writer: &mut SerializedColumnWriter<'_>, values: &[Option<&str>]) -> Result<(), ParquetError> {
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let present: Vec<ByteArray> = values.iter().flatten().copied().map(ByteArray::from).collect();
    writer.typed::<ByteArrayType>().write_batch(&present, Some(&levels), None)?;
    Ok(())
}

/// In the words of Parquet's own schema language. Lists have the three levels that its specification asks for.
fn schema() -> String {
    let mut text = "message audit {".to_owned();
    for column in &COLUMNS {
        let name = column.name;
        // Writing to a string does not fail.
        let _ = match column.cell {
            Cell::Integer(_) => write!(text, " optional int64 {name};"),
            Cell::Moment(_) => write!(text, " optional int64 {name} (TIMESTAMP(MILLIS,true));"),
            Cell::Text(_) => write!(text, " optional binary {name} (STRING);"),
            Cell::Json(_) => write!(text, " optional binary {name} (JSON);"),
            Cell::List(_) => write!(
                text,
                " required group {name} (LIST) {{ repeated group list {{ required binary element (STRING); }} }}"
            ),
        };
    }
    text.push_str(" }");
    text
}

fn size_of_long(entry: &AuditEntry) -> usize {
    COLUMNS
        .iter()
        .map(|column| match &column.cell {
            Cell::Integer(_) | Cell::Moment(_) => 8,
            Cell::Text(get) => get(entry).map_or(0, str::len),
            Cell::List(get) => get(entry).iter().map(String::len).sum(),
            Cell::Json(get) => get(entry).map_or(0, |json| json.len()),
        })
        .sum()
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use ringfence_gateway::trail::TrailRecord;
    use ringfence_store::audit::AuditRecord;

    use super::*;

    fn entry(n: i64) -> AuditEntry {
        let record = AuditRecord {
            at_ms: n,
            user: (n % 2 == 0).then(|| format!("user-{n}")),
            tables: (0..n % 3).map(|table| format!("public.t{table}")).collect(),
            rows: Some(n),
            inputs: (n == 4).then(|| serde_json::json!({ "select": ["a"] })),
            ..AuditRecord::default()
        };
        TrailRecord { sequence: None, record }.into()
    }

    /// What a reader that others wrote reads back; more than one group of rows.
    #[test]
    fn what_is_written_reads_back() {
        let mut encoder = Encoder::new().unwrap();
        let mut file = encoder.written().unwrap();
        for batch in 0..90 {
            let entries = (batch * 100..(batch + 1) * 100).map(entry).collect();
            file.extend(encoder.records(entries).unwrap());
        }
        assert!(file.len() > 10_000, "nothing is handed out before the end");
        file.extend(encoder.end().unwrap());
        let reader = SerializedFileReader::new(bytes::Bytes::from(file)).unwrap();
        assert_eq!(reader.num_row_groups(), 2);
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 9_000);
        let check = |row: usize, name: &str, expected: &str| {
            let (_, found) = rows[row].get_column_iter().find(|(column, _)| *column == name).unwrap();
            assert_eq!(found.to_string(), expected, "{name} of {row}");
        };
        check(4, "user", "\"user-4\"");
        check(5, "user", "null");
        check(5, "sequence", "null");
        check(8_999, "rows", "8999");
        check(5, "tables", "[\"public.t0\", \"public.t1\"]");
        check(3, "tables", "[]");
        check(4, "inputs", "\"{\"select\":[\"a\"]}\"");
    }

    #[test]
    fn an_empty_log_is_a_file() {
        let mut encoder = Encoder::new().unwrap();
        let mut file = encoder.written().unwrap();
        file.extend(encoder.end().unwrap());
        let reader = SerializedFileReader::new(bytes::Bytes::from(file)).unwrap();
        assert_eq!(reader.get_row_iter(None).unwrap().count(), 0);
    }
}
