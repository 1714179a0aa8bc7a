//! Values as clients get them, whatever database they come from.

use serde::Serialize;

/// One value. Serializes to the JSON of the HTTP interface.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// NULL.
    Null,
    /// A boolean.
    Bool(bool),
    /// int2, int4, int8; all digits are kept.
    Integer(i64),
    /// A finite float. NaN and the infinities become [`Value::Text`].
    Float(f64),
    /// A decimal whose digits a JSON number keeps exactly, as written.
    Decimal(Box<serde_json::value::RawValue>),
    /// Text, and every type whose text form is what clients get.
    Text(String),
    /// A JSON document, as stored.
    Json(Box<serde_json::value::RawValue>),
    /// An array, nested for more dimensions.
    Array(Vec<Value>),
}

pub use crate::sources::postgres::number::{decimal, float4};

impl Value {
    /// What it takes in memory, in bytes.
    pub fn bytes(&self) -> u64 {
        let content = match self {
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Float(_) => 0,
            Self::Decimal(json) | Self::Json(json) => json.get().len() as u64,
            Self::Text(text) => text.capacity() as u64,
            Self::Array(items) => items.iter().map(Self::bytes).sum(),
        };
        content + size_of::<Self>() as u64
    }
}

/// A float; what JSON has no number for is text.
pub fn float(value: f64) -> Value {
    if value.is_finite() {
        Value::Float(value)
    } else if value.is_nan() {
        Value::Text("NaN".to_owned())
    } else {
        Value::Text(if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned())
    }
}

/// Bytes as `\x` and two digits for each.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
