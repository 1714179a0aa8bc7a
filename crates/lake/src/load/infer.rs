//! What a CSV file's columns are, by looking at every value.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::compute::kernels::cast_utils::Parser as _;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};

use super::records::{Records, Trouble};

/// Digits of an 8-byte decimal, which is the faster one.
const SHORT_DECIMAL: usize = 18;
const LONG_DECIMAL: usize = 38;
/// What has more digits behind the point is a measurement, not an amount.
const MOST_DECIMALS: usize = 12;

/// What was seen of a file's columns.
#[derive(Debug, Clone)]
pub(crate) struct Inferred {
    pub(crate) names: Vec<String>,
    columns: Vec<Seen>,
    has_line_breaks: bool,
}

/// What all values of a column could be.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a type that is still possible")]
struct Seen {
    any: bool,
    boolean: bool,
    integer: bool,
    decimal: bool,
    float: bool,
    date: bool,
    timestamp: bool,
    zoned: bool,
    /// The most digits before and behind the point.
    whole: usize,
    decimals: usize,
}

impl Seen {
    fn nothing() -> Self {
        let yes = true;
        Self {
            any: false,
            boolean: yes,
            integer: yes,
            decimal: yes,
            float: yes,
            date: yes,
            timestamp: yes,
            zoned: yes,
            whole: 0,
            decimals: 0,
        }
    }

    fn look(&mut self, value: &str) {
        self.any = true;
        self.boolean =
            self.boolean && matches!(value, "true" | "false" | "TRUE" | "FALSE" | "True" | "False");
        if self.decimal {
            if let Some((whole, decimals)) = digits(value) {
                self.integer = self.integer && decimals.is_none() && value.parse::<i64>().is_ok();
                self.whole = self.whole.max(whole);
                self.decimals = self.decimals.max(decimals.unwrap_or(0));
            } else {
                (self.decimal, self.integer) = (false, false);
            }
        }
        self.float = self.float && is_float(value);
        self.date = self.date && value.len() == 10 && is_date(value);
        if self.timestamp || self.zoned {
            let zone = clock(value);
            self.timestamp = self.timestamp && zone == Some(false);
            self.zoned = self.zoned && zone == Some(true);
        }
    }

    fn data_type(&self) -> DataType {
        let digits = self.whole + self.decimals;
        if !self.any {
            DataType::Utf8
        } else if self.boolean {
            DataType::Boolean
        } else if self.integer {
            DataType::Int64
        } else if self.decimal && self.decimals <= MOST_DECIMALS && digits <= LONG_DECIMAL {
            let precision = if digits <= SHORT_DECIMAL { SHORT_DECIMAL } else { LONG_DECIMAL };
            DataType::Decimal128(
                u8::try_from(precision).unwrap_or(38),
                i8::try_from(self.decimals).unwrap_or(0),
            )
        } else if self.float {
            DataType::Float64
        } else if self.date {
            DataType::Date32
        } else if self.timestamp {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        } else if self.zoned {
            DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
        } else {
            DataType::Utf8
        }
    }
}

impl Inferred {
    /// The columns; `given` says of some what they are.
    pub(crate) fn schema(&self, given: &BTreeMap<String, DataType>) -> SchemaRef {
        let field = |(name, seen): (&String, &Seen)| {
            Field::new(name, given.get(name).cloned().unwrap_or_else(|| seen.data_type()), true)
        };
        Arc::new(Schema::new(self.names.iter().zip(&self.columns).map(field).collect::<Vec<_>>()))
    }

    pub(crate) fn has_line_breaks(&self) -> bool {
        self.has_line_breaks
    }
}

/// Looks at all records. Those with another number of values than there are columns are for whoever reads them next.
pub(crate) fn of_records(records: &mut Records<impl io::Read>) -> Result<Inferred, Trouble> {
    let names = records.names().to_vec();
    let mut inferred =
        Inferred { columns: vec![Seen::nothing(); names.len()], names, has_line_breaks: false };
    while let Some(record) = records.next()? {
        for (value, seen) in record.iter().zip(&mut inferred.columns) {
            if value.is_empty() {
                continue;
            }
            inferred.has_line_breaks |= value.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
            // What is no text at all is found when it is read.
            seen.look(std::str::from_utf8(value).unwrap_or("?"));
        }
    }
    Ok(inferred)
}

/// The columns of a table of several files, which all have the same.
pub(crate) fn of_files(paths: &[PathBuf]) -> io::Result<Inferred> {
    let mut all: Option<Inferred> = None;
    for path in paths {
        let records = Records::open(File::open(path)?);
        let inferred = records.and_then(|mut records| of_records(&mut records));
        let inferred =
            inferred.map_err(|trouble| io::Error::new(io::ErrorKind::InvalidData, trouble.to_string()))?;
        all = Some(match all {
            None => inferred,
            Some(known) if known.names == inferred.names => merged(known, inferred),
            Some(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "files of a table have other columns",
                ));
            }
        });
    }
    all.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a table without a file"))
}

fn merged(mut all: Inferred, more: Inferred) -> Inferred {
    all.has_line_breaks |= more.has_line_breaks;
    for (seen, other) in all.columns.iter_mut().zip(more.columns) {
        if !other.any {
            continue;
        }
        *seen = if seen.any {
            Seen {
                any: true,
                boolean: seen.boolean && other.boolean,
                integer: seen.integer && other.integer,
                decimal: seen.decimal && other.decimal,
                float: seen.float && other.float,
                date: seen.date && other.date,
                timestamp: seen.timestamp && other.timestamp,
                zoned: seen.zoned && other.zoned,
                whole: seen.whole.max(other.whole),
                decimals: seen.decimals.max(other.decimals),
            }
        } else {
            other
        };
    }
    all
}

/// How many digits a plain number has before and behind its point. `007` is a code, not a number.
fn digits(value: &str) -> Option<(usize, Option<usize>)> {
    let number = value.strip_prefix('-').unwrap_or(value);
    let (whole, decimals) = number.split_once('.').map_or((number, None), |(w, d)| (w, Some(d)));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = all_digits(whole) && (whole == "0" || !whole.starts_with('0'));
    (plain && decimals.is_none_or(all_digits)).then(|| (whole.len(), decimals.map(str::len)))
}

fn is_float(value: &str) -> bool {
    let first = value.strip_prefix('-').unwrap_or(value);
    let is_code =
        first.len() > 1 && first.starts_with('0') && !first.starts_with("0.") && !first.starts_with("0e");
    !is_code
        && value.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'))
        && value.parse::<f64>().is_ok_and(f64::is_finite)
}

fn is_date(value: &str) -> bool {
    let bytes = value.as_bytes();
    bytes.len() >= 10 && bytes[4] == b'-' && bytes[7] == b'-' && Date32Type::parse(&value[..10]).is_some()
}

/// Whether a date with a time has a zone; `None` for what is none.
fn clock(value: &str) -> Option<bool> {
    let (date, time) = value.split_at_checked(10)?;
    let time = time.strip_prefix(['T', ' '])?;
    if !is_date(date) || time.len() < 8 {
        return None;
    }
    TimestampMicrosecondType::parse(value)?;
    Some(time.contains(['Z', 'z', '+', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::sql_type;

    fn type_of(values: &[&str]) -> String {
        let text = format!("a,b\n{},\n", values.join(",\n"));
        let mut records = Records::open(text.as_bytes()).unwrap();
        let inferred = of_records(&mut records).unwrap();
        sql_type(inferred.schema(&BTreeMap::new()).field(0).data_type())
    }

    #[test]
    fn every_value_counts() {
        for (values, expected) in [
            (&["1", "-2", "0"][..], "bigint"),
            (&["1", "", "3"], "bigint"),
            (&["1", "2.50"], "numeric(18,2)"),
            (&["12345678901234567890", "1"], "numeric(38,0)"),
            (&["1", "2e3"], "double precision"),
            (&["0.1234567890123"], "double precision"),
            (&["007", "1"], "text"),
            (&["1", "x"], "text"),
            (&["true", "False"], "boolean"),
            (&["2024-01-31", "2023-12-01"], "date"),
            (&["2024-01-31", "2024-13-01"], "text"),
            (&["2024-01-31 10:00:00", "2024-01-31T10:00:00.5"], "timestamp"),
            (&["2024-01-31 10:00"], "text"),
            (&["2024-01-31T10:00:00Z", "2024-01-31T10:00:00+02:00"], "timestamp with time zone"),
            (&["2024-01-31T10:00:00Z", "2024-01-31T10:00:00"], "text"),
            (&["2024-01-31", "2024-01-31 10:00:00"], "text"),
            (&["", ""], "text"),
            (&["NaN"], "text"),
            (&["1", "\"a,b\""], "text"),
        ] {
            assert_eq!(type_of(values), expected, "{values:?}");
        }
    }
}
