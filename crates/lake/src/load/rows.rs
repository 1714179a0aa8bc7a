//! Rows of any of the formats, made batches of the table's columns. One that does not fit undoes the load; all are looked
//! at, so that who sent them can mend all at once.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, StringArray, StringBuilder};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::{FileReader, StreamReader};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ringfence_engine::{LoadFormat, SourceError};
use tokio_util::sync::CancellationToken;

use super::infer;
use super::records::{Records, Trouble, line};
use super::write::{Writer, Written};
use super::{Failed, Wanted, check_columns, data, places};
use crate::columns::{kept_as, sql_type};
use crate::snapshot::schema_of;

const BATCH_ROWS: usize = 8_192;
/// Texts of a batch of CSV, together: fewer rows, if they are long.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Bad rows that are shown.
const SHOWN: usize = 20;
/// Bad rows after which no more are looked for.
const ENOUGH: u64 = 1_000;
/// What is shown of a bad value, in letters.
const SHOWN_LETTERS: usize = 40;

/// Writes the rows of the file into the part.
pub(super) fn write(
    wanted: &Wanted,
    mut file: File,
    part: &Path,
    stop: &CancellationToken,
) -> Result<Written, Failed> {
    match wanted.load.format {
        LoadFormat::Csv => csv(wanted, &mut file, part, stop),
        LoadFormat::Parquet => {
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|_| unreadable("Parquet"))?;
            let schema = Arc::clone(reader.schema());
            let batches = reader.with_batch_size(BATCH_ROWS).build().map_err(|_| unreadable("Parquet"))?;
            arrow(wanted, &schema, batches, part, stop)
        }
        LoadFormat::Arrow => {
            let mut magic = [0; 6];
            let is_file = file.read_exact(&mut magic).is_ok() && magic == *b"ARROW1";
            file.seek(SeekFrom::Start(0))?;
            if is_file {
                let reader = FileReader::try_new(file, None).map_err(|_| unreadable("Arrow"))?;
                return arrow(wanted, &reader.schema(), reader, part, stop);
            }
            let reader =
                StreamReader::try_new(BufReader::new(file), None).map_err(|_| unreadable("Arrow"))?;
            arrow(wanted, &reader.schema(), reader, part, stop)
        }
    }
}

fn unreadable(format: &str) -> Failed {
    data(format!("the body is not {format}, or is damaged"))
}

/// What is wrong with rows, and where.
#[derive(Default)]
struct Complaints {
    shown: Vec<String>,
    count: u64,
}

impl Complaints {
    fn add(&mut self, complaint: String) {
        self.count += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(complaint);
        }
    }

    fn settle(&self) -> Result<(), Failed> {
        if self.count == 0 {
            return Ok(());
        }
        let more = self.count - self.shown.len() as u64;
        let more = match more {
            0 => String::new(),
            _ if self.count >= ENOUGH => "; and more".to_owned(),
            more => format!("; and {more} more"),
        };
        Err(data(format!("nothing was loaded: {}{more}", self.shown.join("; "))))
    }
}

/// A table's columns: those that it has, or those that come.
fn target(wanted: &Wanted, came: &SchemaRef) -> Result<(SchemaRef, Vec<usize>), Failed> {
    let names: Vec<String> = came.fields().iter().map(|field| field.name().clone()).collect();
    check_columns(&names, wanted)?;
    if let Some(existing) = &wanted.existing {
        let schema = schema_of(existing).ok_or_else(|| unreadable("a table of this version"))?;
        let differs = schema
            .fields()
            .iter()
            .find(|field| wanted.types.get(field.name()).is_some_and(|given| given != field.data_type()));
        if let Some(field) = differs {
            return Err(Failed::Told(SourceError::TableConflict(format!(
                "the table's column \"{}\" is {}: types are chosen when a table is replaced",
                field.name(),
                sql_type(field.data_type())
            ))));
        }
        return Ok((schema, places(existing, &names)?));
    }
    let mut fields = Vec::new();
    for field in came.fields() {
        let given = wanted.types.get(field.name()).cloned();
        let Some(data_type) = given.or_else(|| kept_as(field.data_type())) else {
            return Err(data(format!(
                "column \"{}\" is {}, which a table of a lake can't keep: cast it first",
                field.name(),
                field.data_type()
            )));
        };
        fields.push(Field::new(field.name(), data_type, true));
    }
    Ok((Arc::new(Schema::new(fields)), (0..names.len()).collect()))
}

/// Makes the table's batch of one that came, and says which rows can't be in it.
fn fitted(
    columns: &[ArrayRef],
    schema: &SchemaRef,
    keys: &[String],
    place: &dyn Fn(usize) -> String,
    complaints: &mut Complaints,
) -> Result<RecordBatch, Failed> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let mut fitted = Vec::with_capacity(columns.len());
    for (column, field) in columns.iter().zip(schema.fields()) {
        let cast = cast_with_options(column, field.data_type(), &options).map_err(|_| {
            data(format!(
                "column \"{}\": {} can't become {}",
                field.name(),
                column.data_type(),
                sql_type(field.data_type())
            ))
        })?;
        if cast.logical_null_count() > column.logical_null_count() {
            complain(column, &cast, field, place, complaints);
        }
        if keys.contains(field.name()) && column.logical_null_count() > 0 {
            for row in (0..column.len()).filter(|row| column.is_null(*row)) {
                complaints.add(format!("{}: \"{}\" is a key and is empty", place(row), field.name()));
            }
        }
        fitted.push(cast);
    }
    RecordBatch::try_new(Arc::clone(schema), fitted).map_err(|error| arrow_failed(&error))
}

fn complain(
    column: &ArrayRef,
    cast: &ArrayRef,
    field: &Field,
    place: &dyn Fn(usize) -> String,
    complaints: &mut Complaints,
) {
    for row in (0..column.len()).filter(|row| cast.is_null(*row) && column.is_valid(*row)) {
        let value = array_value_to_string(column, row).unwrap_or_default();
        let shown: String = value.chars().take(SHOWN_LETTERS).collect();
        let data_type = sql_type(field.data_type());
        complaints.add(format!(
            "{}: \"{}\" is not of the type {data_type}: {shown:?}",
            place(row),
            field.name()
        ));
    }
}

fn arrow(
    wanted: &Wanted,
    came: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    part: &Path,
    stop: &CancellationToken,
) -> Result<Written, Failed> {
    let (schema, places) = target(wanted, came)?;
    let (mut writer, mut complaints) = (Writer::create(part, Arc::clone(&schema))?, Complaints::default());
    let mut before = 0;
    for batch in batches {
        refuse_stopped(stop)?;
        let batch = batch.map_err(|error| arrow_failed(&error))?;
        let columns: Vec<ArrayRef> = places.iter().map(|place| Arc::clone(batch.column(*place))).collect();
        let place = |row: usize| format!("row {}", before + row + 1);
        let fitted = fitted(&columns, &schema, &wanted.keys, &place, &mut complaints)?;
        before += batch.num_rows();
        if complaints.count == 0 {
            writer.write(&fitted)?;
        } else if complaints.count >= ENOUGH {
            break;
        }
    }
    complaints.settle()?;
    writer.finish()
}

fn arrow_failed(error: &ArrowError) -> Failed {
    match error {
        // It ends before what it says is in it.
        ArrowError::IoError(_, cause) if cause.kind() == ErrorKind::UnexpectedEof => {
            data("the body is damaged")
        }
        ArrowError::IoError(_, cause) => Failed::Io(std::io::Error::new(cause.kind(), error.to_string())),
        _ => data("the body is damaged"),
    }
}

fn refuse_stopped(stop: &CancellationToken) -> Result<(), Failed> {
    if stop.is_cancelled() { Err(Failed::Told(SourceError::Cancelled)) } else { Ok(()) }
}

fn csv(wanted: &Wanted, file: &mut File, part: &Path, stop: &CancellationToken) -> Result<Written, Failed> {
    let mut records = Records::open(BufReader::new(&mut *file)).map_err(troubled)?;
    check_columns(records.names(), wanted)?;
    let names = records.names().to_vec();
    let came = if wanted.existing.is_some() || names.iter().all(|name| wanted.types.contains_key(name)) {
        Arc::new(Schema::new(
            names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>(),
        ))
    } else {
        infer::of_records(&mut records).map_err(troubled)?.schema(&wanted.types)
    };
    let (schema, places) = target(wanted, &came)?;
    refuse_stopped(stop)?;
    file.seek(SeekFrom::Start(0))?;
    let mut records = Records::open(BufReader::new(file)).map_err(troubled)?;
    let mut writer = Writer::create(part, Arc::clone(&schema))?;
    let mut complaints = Complaints::default();
    let mut texts = Texts::new(names.len());
    loop {
        let is_more = texts.take(&mut records, &names, &mut complaints)?;
        refuse_stopped(stop)?;
        let (columns, lines) = texts.finish();
        let columns: Vec<ArrayRef> = places.iter().map(|place| Arc::clone(&columns[*place])).collect();
        let place = |row: usize| format!("line {}", lines.get(row).copied().unwrap_or_default());
        let fitted = fitted(&columns, &schema, &wanted.keys, &place, &mut complaints)?;
        if complaints.count == 0 {
            writer.write(&fitted)?;
        }
        if !is_more || complaints.count >= ENOUGH {
            break;
        }
    }
    complaints.settle()?;
    writer.finish()
}

fn troubled(trouble: Trouble) -> Failed {
    match trouble {
        Trouble::Form(message) => data(message),
        Trouble::Io(error) => Failed::Io(error),
    }
}

/// Records of CSV as columns of texts, and the lines that they stand in.
struct Texts {
    columns: Vec<StringBuilder>,
    lines: Vec<u64>,
}

impl Texts {
    fn new(columns: usize) -> Self {
        Self { columns: (0..columns).map(|_| StringBuilder::new()).collect(), lines: Vec::new() }
    }

    /// Takes records until there are enough for a batch; `false` when there are no more.
    fn take(
        &mut self,
        records: &mut Records<impl std::io::Read>,
        names: &[String],
        complaints: &mut Complaints,
    ) -> Result<bool, Failed> {
        let mut bytes = 0;
        while self.lines.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let Some(record) = records.next().map_err(troubled)? else { return Ok(false) };
            if record.len() != names.len() {
                let (values, columns) = (record.len(), names.len());
                complaints.add(format!("line {}: {values} values for {columns} columns", line(record)));
                continue;
            }
            for ((value, column), name) in record.iter().zip(&mut self.columns).zip(names) {
                match std::str::from_utf8(value) {
                    Ok("") => column.append_null(),
                    Ok(text) => column.append_value(text),
                    Err(_) => {
                        column.append_null();
                        complaints.add(format!("line {}: \"{name}\" is not UTF-8", line(record)));
                    }
                }
            }
            bytes += record.as_slice().len();
            self.lines.push(line(record));
        }
        Ok(true)
    }

    fn finish(&mut self) -> (Vec<ArrayRef>, Vec<u64>) {
        let finished = |column: &mut StringBuilder| {
            let texts: StringArray = column.finish();
            Arc::new(texts) as ArrayRef
        };
        (self.columns.iter_mut().map(finished).collect(), std::mem::take(&mut self.lines))
    }
}
