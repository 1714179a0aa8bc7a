//! The records of a CSV file, with the lines that they stand in.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::rc::Rc;

use csv::{ByteRecord, ReaderBuilder};

/// A record that is longer has a quote that nobody closed.
const LONGEST_RECORD: u64 = 16 * 1024 * 1024;

/// A CSV file: a line of names, and records.
pub(crate) struct Records<R> {
    reader: csv::Reader<Bounded<R>>,
    since_record: Rc<Cell<u64>>,
    names: Vec<String>,
    record: ByteRecord,
}

/// Why a file can't be read on.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It is no such file, from that line on.
    Form(String),
    /// The disk.
    Io(io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(message) => f.write_str(message),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl From<csv::Error> for Trouble {
    fn from(error: csv::Error) -> Self {
        match error.into_kind() {
            csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                Self::Form("a record is longer than 16 MiB: is there a quote that nothing closes?".to_owned())
            }
            csv::ErrorKind::Io(error) => Self::Io(error),
            other => Self::Form(format!("{other:?}")),
        }
    }
}

impl<R: Read> Records<R> {
    pub(crate) fn open(file: R) -> Result<Self, Trouble> {
        let since_record = Rc::new(Cell::new(0));
        let bounded = Bounded { inner: file, since_record: Rc::clone(&since_record) };
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bounded);
        let mut record = ByteRecord::new();
        if !reader.read_byte_record(&mut record)? {
            return Err(Trouble::Form("the file is empty: its first line names the columns".to_owned()));
        }
        let mut names = Vec::new();
        for name in &record {
            let Ok(name) = std::str::from_utf8(name) else {
                return Err(Trouble::Form("line 1: a name of a column is not UTF-8".to_owned()));
            };
            names.push(name.trim_start_matches('\u{feff}').to_owned());
        }
        Ok(Self { reader, since_record, names, record })
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn next(&mut self) -> Result<Option<&ByteRecord>, Trouble> {
        self.since_record.set(0);
        if self.reader.read_byte_record(&mut self.record)? { Ok(Some(&self.record)) } else { Ok(None) }
    }
}

/// The line that a record begins in, from 1.
pub(crate) fn line(record: &ByteRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}

/// Stops a reader that would gather a whole file as one record.
struct Bounded<R> {
    inner: R,
    since_record: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.since_record.get() > LONGEST_RECORD {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let read = self.inner.read(buffer)?;
        self.since_record.set(self.since_record.get() + read as u64);
        Ok(read)
    }
}
