//! Values from PostgreSQL's text format: for results that hold a type which only PostgreSQL can put into words.

use super::form::Form;
use super::{binary, clock, number};
use crate::value::{Value, float};

/// A value of that form. What does not read as its type stays text.
pub(super) fn value(form: &Form, text: &str) -> Value {
    let read = match form {
        Form::Bool => match text {
            "t" => Some(Value::Bool(true)),
            "f" => Some(Value::Bool(false)),
            _ => None,
        },
        Form::Int2 | Form::Int4 | Form::Int8 | Form::Oid => text.parse().ok().map(Value::Integer),
        Form::Float4 | Form::Float8 => text.parse().ok().map(float),
        Form::Numeric => Some(number::decimal(text.to_owned())),
        Form::Timestamp if is_iso(text) => Some(Value::Text(text.replacen(' ', "T", 1))),
        Form::Timestamptz => {
            clock::read_timestamptz(text).map(|micros| Value::Text(clock::timestamp(micros, true)))
        }
        Form::Json | Form::Jsonb => Some(binary::json(text.to_owned())),
        Form::Array(element) => array(element, text),
        _ => None,
    };
    read.unwrap_or_else(|| Value::Text(text.to_owned()))
}

/// `2024-01-31 12:00:00` and nothing beyond four digits of a year.
fn is_iso(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 19 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[10] == b' ' && !text.ends_with('C')
}

/// `{1,NULL,"a b"}`, nested for more dimensions, perhaps with bounds in front: `[0:2]={...}` (manual, 8.15.6).
fn array(element: &Form, text: &str) -> Option<Value> {
    let literal = match text.strip_prefix('[') {
        Some(bounds) => bounds.split_once("]={").map(|_| &text[text.find('{').unwrap_or(0)..])?,
        None => text,
    };
    let mut rest = literal;
    let value = braces(element, &mut rest)?;
    rest.is_empty().then_some(value)
}

fn braces(element: &Form, rest: &mut &str) -> Option<Value> {
    *rest = rest.strip_prefix('{')?;
    let mut values = Vec::new();
    if let Some(after) = rest.strip_prefix('}') {
        *rest = after;
        return Some(Value::Array(values));
    }
    loop {
        values.push(if rest.starts_with('{') { braces(element, rest)? } else { item(element, rest)? });
        let mut after = rest.chars();
        let separator = after.next()?;
        *rest = after.as_str();
        match separator {
            ',' => {}
            '}' => return Some(Value::Array(values)),
            _ => return None,
        }
    }
}

fn item(element: &Form, rest: &mut &str) -> Option<Value> {
    if let Some(quoted) = rest.strip_prefix('"') {
        let mut text = String::new();
        let mut characters = quoted.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => text.push(characters.next()?),
                character => text.push(character),
            }
        }
        *rest = characters.as_str();
        return Some(value(element, &text));
    }
    let end = rest.find([',', '}'])?;
    let (text, after) = rest.split_at(end);
    *rest = after;
    Some(if text == "NULL" { Value::Null } else { value(element, text) })
}

#[cfg(test)]
mod tests {
    use super::{Form, value};

    #[test]
    fn text_becomes_the_same_values_as_binary() {
        let array = |form| Form::Array(Box::new(form));
        for (form, text, json) in [
            (Form::Bool, "t", "true"),
            (Form::Int8, "9223372036854775807", "9223372036854775807"),
            (Form::Float8, "NaN", "\"NaN\""),
            (Form::Float8, "-Infinity", "\"-Infinity\""),
            (Form::Float4, "0.1", "0.1"),
            (Form::Numeric, "1.50", "1.50"),
            (Form::Timestamp, "2024-01-31 12:00:00.5", "\"2024-01-31T12:00:00.5\""),
            (Form::Timestamp, "10000-01-01 00:00:00", "\"10000-01-01 00:00:00\""),
            (Form::Timestamptz, "2024-01-31 12:00:00+05:30", "\"2024-01-31T06:30:00+00:00\""),
            (Form::Jsonb, r#"{"a": [1]}"#, r#"{"a": [1]}"#),
            (Form::Json, "{a", "\"{a\""),
            (array(Form::Int4), "{1,NULL,3}", "[1,null,3]"),
            (array(Form::Int4), "[0:1]={1,2}", "[1,2]"),
            (array(Form::Int4), "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
            (
                array(Form::Text),
                r#"{a,"b \"c\" \\ ,}","NULL",NULL,""}"#,
                r#"["a","b \"c\" \\ ,}","NULL",null,""]"#,
            ),
            (array(Form::Text), "{}", "[]"),
            (array(Form::Int4), "{1,2", "\"{1,2\""),
            (Form::Foreign, "[1,5)", "\"[1,5)\""),
        ] {
            let got = serde_json::to_string(&value(&form, text)).expect("values are JSON");
            assert_eq!(got, json, "{form:?} {text}");
        }
    }
}
