//! The forms that records of the audit log are handed out in: JSON lines, CSV, Parquet. The same over HTTP and on the
//! command line.

mod csv;
mod entry;
mod moment;
mod parquet;

use std::io;

use clap::ValueEnum;

pub(crate) use entry::AuditEntry;
pub(crate) use moment::moment;

/// A form of many records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// One JSON object a line
    Jsonl,
    /// Comma-separated, with a header
    Csv,
    /// Apache Parquet, for analytics
    Parquet,
}

impl Form {
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Jsonl => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// Writes records in one form, a few at a time. What it answers is to be sent in that order.
pub(crate) enum Encoder {
    Jsonl,
    Csv,
    Parquet(Box<parquet::Encoder>),
}

impl Encoder {
    pub(crate) fn new(form: Form) -> io::Result<Self> {
        Ok(match form {
            Form::Jsonl => Self::Jsonl,
            Form::Csv => Self::Csv,
            Form::Parquet => Self::Parquet(Box::new(parquet::Encoder::new()?)),
        })
    }

    /// What stands before the records.
    pub(crate) fn begin(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Jsonl => Ok(Vec::new()),
            Self::Csv => csv::head(),
            Self::Parquet(encoder) => encoder.written(),
        }
    }

    /// The records; nothing while they are gathered.
    pub(crate) fn records(&mut self, entries: Vec<AuditEntry>) -> io::Result<Vec<u8>> {
        match self {
            Self::Jsonl => {
                let mut lines = Vec::new();
                for entry in &entries {
                    serde_json::to_writer(&mut lines, entry)?;
                    lines.push(b'\n');
                }
                Ok(lines)
            }
            Self::Csv => csv::lines(&entries),
            Self::Parquet(encoder) => encoder.records(entries),
        }
    }

    /// What stands behind the records.
    pub(crate) fn end(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Jsonl | Self::Csv => Ok(Vec::new()),
            Self::Parquet(encoder) => encoder.end(),
        }
    }
}
