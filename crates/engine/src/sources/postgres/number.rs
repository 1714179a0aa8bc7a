//! Numbers: exact, or else text.

use serde_json::value::RawValue;

use crate::value::{Value, float};

/// JSON readers keep numbers as doubles, which hold 15 significant digits whatever the number.
const EXACT_DIGITS: usize = 15;

/// A decimal written in digits: a JSON number when every reader gets it exactly, else text.
pub fn decimal(text: String) -> Value {
    if !is_exact(&text) {
        return Value::Text(text);
    }
    match RawValue::from_string(text) {
        Ok(number) => Value::Decimal(number),
        // Not reached: digits with a sign and a point are JSON.
        Err(error) => Value::Text(error.to_string()),
    }
}

fn is_exact(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = !whole.is_empty()
        && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
        && (whole == "0" || !whole.starts_with('0'));
    let zeros = |text: &str| text.bytes().take_while(|byte| *byte == b'0').count();
    let fraction_kept = fraction.trim_end_matches('0');
    let significant = if whole == "0" {
        fraction_kept.len() - zeros(fraction_kept)
    } else {
        whole.len() + fraction_kept.len()
    };
    // Far behind the point a double runs out of exponent.
    plain && significant <= EXACT_DIGITS && fraction.len() <= 290
}

/// A float4, by its shortest digits: 0.1 stays 0.1.
pub fn float4(value: f32) -> Value {
    if !value.is_finite() {
        return float(f64::from(value));
    }
    float(value.to_string().parse().unwrap_or_else(|_| f64::from(value)))
}

/// The binary form of numeric: groups of four digits, their weight, the sign and the digits to show behind the point
/// (`numeric_send`). `None` when it is malformed.
pub(super) fn numeric(bytes: &[u8]) -> Option<Value> {
    let word = |index: usize| Some(u16::from_be_bytes(bytes.get(index * 2..index * 2 + 2)?.try_into().ok()?));
    let (groups, weight, sign, scale) =
        (usize::from(word(0)?), word(1)?.cast_signed(), word(2)?, usize::from(word(3)?));
    let special = match sign {
        0x0000 | 0x4000 => None,
        0xC000 => Some("NaN"),
        0xD000 => Some("Infinity"),
        0xF000 => Some("-Infinity"),
        _ => return None,
    };
    if let Some(special) = special {
        return Some(Value::Text(special.to_owned()));
    }
    if bytes.len() != 8 + groups * 2 {
        return None;
    }
    let group = |index: i32| {
        usize::try_from(index).ok().filter(|index| *index < groups).map_or(Some(0), |index| word(4 + index))
    };
    let mut text = String::new();
    if sign == 0x4000 {
        text.push('-');
    }
    let weight = i32::from(weight);
    if weight < 0 {
        text.push('0');
    }
    for index in 0..=weight {
        push_group(&mut text, group(index)?, index == 0)?;
    }
    if scale > 0 {
        text.push('.');
        let end = text.len() + scale;
        let mut index = weight + 1;
        while text.len() < end {
            push_group(&mut text, group(index)?, false)?;
            index += 1;
        }
        text.truncate(end);
    }
    Some(decimal(text))
}

fn push_group(text: &mut String, group: u16, first: bool) -> Option<()> {
    if group > 9999 {
        return None;
    }
    if first {
        text.push_str(&group.to_string());
        return Some(());
    }
    for scale in [1000, 100, 10, 1] {
        text.push(char::from(b'0' + u8::try_from(group / scale % 10).ok()?));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{Value, decimal};

    #[test]
    fn a_number_is_a_json_number_only_when_every_reader_gets_it_exactly() {
        for text in
            ["0", "0.00", "-1.50", "123456789012345", "0.000000000000000000001", "-0.1", "99999999999999.9"]
        {
            assert!(
                matches!(decimal(text.to_owned()), Value::Decimal(number) if number.get() == text),
                "{text}"
            );
        }
        for text in [
            "1234567890123456", "0.1234567890123456", "100000000000000000000", "NaN", "Infinity", "", "1e5",
            "01",
        ] {
            assert!(matches!(decimal(text.to_owned()), Value::Text(kept) if kept == text), "{text}");
        }
    }
}
