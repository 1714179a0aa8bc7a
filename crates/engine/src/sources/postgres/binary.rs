//! Values from PostgreSQL's binary format.

use serde_json::value::RawValue;
use tokio_postgres::types::{FromSql, Type};

use super::form::Form;
use super::{clock, number};
use crate::value::{Value, float, hex};

/// PostgreSQL's own limit (MAXDIM).
const MOST_DIMENSIONS: usize = 6;

/// The bytes of a column, whatever its type.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> FromSql<'a> for Bytes<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A value of that form; `None` when the bytes are not what the type promises.
pub(super) fn value(form: &Form, bytes: &[u8]) -> Option<Value> {
    Some(match form {
        Form::Bool => Value::Bool(u8::from_be_bytes(exact(bytes)?) != 0),
        Form::Int2 => Value::Integer(i16::from_be_bytes(exact(bytes)?).into()),
        Form::Int4 => Value::Integer(i32::from_be_bytes(exact(bytes)?).into()),
        Form::Int8 => Value::Integer(i64::from_be_bytes(exact(bytes)?)),
        Form::Oid => Value::Integer(u32::from_be_bytes(exact(bytes)?).into()),
        Form::Float4 => number::float4(f32::from_be_bytes(exact(bytes)?)),
        Form::Float8 => float(f64::from_be_bytes(exact(bytes)?)),
        Form::Numeric => number::numeric(bytes)?,
        Form::Text => Value::Text(text(bytes)),
        Form::Byte => Value::Text(byte(exact::<1>(bytes)?[0])),
        Form::Date => Value::Text(clock::date(i32::from_be_bytes(exact(bytes)?))),
        Form::Timestamp => Value::Text(clock::timestamp(i64::from_be_bytes(exact(bytes)?), false)),
        Form::Timestamptz => Value::Text(clock::timestamp(i64::from_be_bytes(exact(bytes)?), true)),
        Form::Time => Value::Text(clock::time(i64::from_be_bytes(exact(bytes)?))),
        Form::Timetz => {
            let (micros, zone) = bytes.split_at_checked(8)?;
            Value::Text(clock::timetz(i64::from_be_bytes(exact(micros)?), i32::from_be_bytes(exact(zone)?)))
        }
        Form::Interval => interval(bytes)?,
        Form::Json => json(text(bytes)),
        // A version, then the text (`jsonb_send`).
        Form::Jsonb => json(text(bytes.strip_prefix(&[1])?)),
        Form::Uuid => Value::Text(uuid(exact(bytes)?)),
        Form::Bytea => Value::Text(hex(bytes)),
        Form::Array(element) => array(element, bytes)?,
        Form::Foreign => return None,
    })
}

/// JSON as stored; what is not JSON after all stays text.
pub(in crate::sources) fn json(text: String) -> Value {
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(_) => RawValue::from_string(text).map_or(Value::Null, Value::Json),
        Err(_) => Value::Text(text),
    }
}

fn exact<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// The session's encoding is UTF-8; a database in `SQL_ASCII` can hold anything all the same.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// As `charout` writes it: NUL is empty, what is not ASCII is octal.
fn byte(byte: u8) -> String {
    match byte {
        0 => String::new(),
        1..=127 => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    }
}

fn interval(bytes: &[u8]) -> Option<Value> {
    let (micros, rest) = bytes.split_at_checked(8)?;
    let (days, months) = rest.split_at_checked(4)?;
    let (micros, days, months) = (
        i64::from_be_bytes(exact(micros)?),
        i32::from_be_bytes(exact(days)?),
        i32::from_be_bytes(exact(months)?),
    );
    // PostgreSQL 17 has infinite intervals.
    Some(Value::Text(match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => "infinity".to_owned(),
        (i64::MIN, i32::MIN, i32::MIN) => "-infinity".to_owned(),
        _ => clock::interval(micros, days, months),
    }))
}

fn uuid(bytes: [u8; 16]) -> String {
    let digits = hex(&bytes);
    let digits = &digits[2..];
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// Dimensions, flags, the element's type, a length and lower bound each, then the elements (`array_send`).
fn array(element: &Form, bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let dimensions = usize::try_from(take_i32(&mut rest)?).ok()?;
    let (_flags, _element) = (take_i32(&mut rest)?, take_i32(&mut rest)?);
    if dimensions == 0 {
        return Some(Value::Array(Vec::new()));
    }
    if dimensions > MOST_DIMENSIONS {
        return None;
    }
    let mut lengths = Vec::with_capacity(dimensions);
    for _ in 0..dimensions {
        lengths.push(usize::try_from(take_i32(&mut rest)?).ok()?);
        let _lower_bound = take_i32(&mut rest)?;
    }
    // Each element takes four bytes at least: so what is promised is bounded by what came.
    let promised = lengths.iter().try_fold(1_usize, |all, length| all.checked_mul(*length))?;
    if promised == 0 || promised > rest.len() / 4 {
        return None;
    }
    dimension(element, &lengths, &mut rest)
}

fn dimension(element: &Form, lengths: &[usize], rest: &mut &[u8]) -> Option<Value> {
    let (length, inner) = lengths.split_first()?;
    let mut values = Vec::with_capacity(*length);
    for _ in 0..*length {
        values.push(if inner.is_empty() { item(element, rest)? } else { dimension(element, inner, rest)? });
    }
    Some(Value::Array(values))
}

fn item(element: &Form, rest: &mut &[u8]) -> Option<Value> {
    let Ok(length) = usize::try_from(take_i32(rest)?) else {
        return Some(Value::Null);
    };
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    value(element, bytes)
}

fn take_i32(rest: &mut &[u8]) -> Option<i32> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(i32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::{Form, value};

    #[test]
    fn malformed_bytes_are_refused_and_never_a_panic() {
        let forms = [
            Form::Bool,
            Form::Int8,
            Form::Numeric,
            Form::Byte,
            Form::Date,
            Form::Timetz,
            Form::Interval,
            Form::Jsonb,
            Form::Uuid,
            Form::Array(Box::new(Form::Int4)),
        ];
        for form in &forms {
            for length in [0, 3, 7, 9] {
                assert!(value(form, &vec![255; length]).is_none(), "{form:?} of {length} bytes");
            }
        }
        // A billion empty rows in 20 bytes.
        let bomb = [2_i32, 0, 23, 1_000_000_000, 1, 0, 1].map(i32::to_be_bytes).concat();
        assert!(value(&Form::Array(Box::new(Form::Int4)), &bomb).is_none());
    }
}
