//! What a caller sends, read as the parameters that the endpoint's author wrote.

use percent_encoding::percent_decode_str;
use ringfence_policy::endpoint::{Parameter, ParameterDocument, ParameterPlace, ParameterType};
use serde_json::{Map, Value};

use crate::Refused;

/// Longest text, in characters, when its author does not say.
const LONGEST_TEXT: u64 = 10_000;

/// Values of the parameters, each checked. What is no parameter is refused.
pub(super) fn read(
    parameters: &[(String, Parameter)],
    path: &[(String, String)],
    query: &[(String, String)],
    body: Option<&Map<String, Value>>,
) -> Result<Map<String, Value>, Refused> {
    let is_in = |name: &str, place| parameters.iter().any(|(known, it)| known == name && it.place == place);
    if let Some((unknown, _)) = query.iter().find(|(name, _)| !is_in(name, ParameterPlace::Query)) {
        return Err(unknown_parameter(parameters, unknown));
    }
    let keys = body.iter().flat_map(|body| body.keys());
    if let Some(unknown) = keys.into_iter().find(|name| !is_in(name, ParameterPlace::Body)) {
        return Err(unknown_parameter(parameters, unknown));
    }
    let mut values = Map::new();
    for (name, Parameter { place, rules }) in parameters {
        let given = match place {
            ParameterPlace::Path => one(name, path)?.map(|text| decoded(name, text)).transpose()?,
            ParameterPlace::Query => one(name, query)?.map(str::to_owned),
            ParameterPlace::Body => None,
        };
        let value = match (given, body.and_then(|body| body.get(name))) {
            (Some(text), _) => Some(of_text(name, rules.data_type, text)?),
            (None, Some(value)) if *place == ParameterPlace::Body => Some(value.clone()),
            (None, _) => None,
        };
        let value = match value.filter(|value| !value.is_null()) {
            Some(value) => checked(name, rules, value)?,
            None if rules.required || *place == ParameterPlace::Path => {
                return Err(Refused::invalid(format!("`{name}` is missing")));
            }
            None => rules.default.clone().unwrap_or(Value::Null),
        };
        values.insert(name.clone(), value);
    }
    Ok(values)
}

/// The same for values that are given by name alone.
pub(super) fn by_name(
    parameters: &[(String, Parameter)],
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, Refused> {
    if let Some(unknown) = given.keys().find(|name| !parameters.iter().any(|(known, _)| known == *name)) {
        return Err(unknown_parameter(parameters, unknown));
    }
    let in_body = parameters.iter().map(|(name, parameter)| {
        let required = parameter.rules.required || parameter.place == ParameterPlace::Path;
        let rules = ParameterDocument { required, ..parameter.rules.clone() };
        (name.clone(), Parameter { place: ParameterPlace::Body, rules })
    });
    read(&in_body.collect::<Vec<_>>(), &[], &[], Some(given))
}

/// Refuses rules that contradict themselves: what they would let through is wrong, or nothing is let through.
pub(super) fn check_rules(parameters: &[(String, Parameter)]) -> Result<(), Refused> {
    for (name, Parameter { rules, .. }) in parameters {
        let free = ParameterDocument { one_of: None, min: None, max: None, ..rules.clone() };
        for bound in [&rules.min, &rules.max].into_iter().flatten() {
            checked(name, &free, bound.clone())?;
        }
        for value in rules.default.iter().chain(rules.one_of.iter().flatten()) {
            checked(name, rules, value.clone())?;
        }
    }
    Ok(())
}

fn unknown_parameter(parameters: &[(String, Parameter)], name: &str) -> Refused {
    let known: Vec<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
    let known = if known.is_empty() {
        "there are none".to_owned()
    } else {
        format!("there are {}", known.join(", "))
    };
    Refused::invalid(format!("\"{}\" is no parameter here: {known}", name.escape_debug()))
}

fn one<'v>(name: &str, given: &'v [(String, String)]) -> Result<Option<&'v str>, Refused> {
    let mut values = given.iter().filter(|(known, _)| known == name);
    let first = values.next().map(|(_, value)| value.as_str());
    if values.next().is_some() {
        return Err(Refused::invalid(format!("`{name}` is there twice")));
    }
    Ok(first)
}

fn decoded(name: &str, text: &str) -> Result<String, Refused> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| Refused::invalid(format!("`{name}` is no UTF-8")))
}

/// From a path or query, where all is text.
fn of_text(name: &str, data_type: ParameterType, text: String) -> Result<Value, Refused> {
    let value = match data_type {
        ParameterType::Integer => text.parse::<i64>().ok().map(Value::from),
        ParameterType::Number => {
            text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number)
        }
        ParameterType::Boolean => text.parse::<bool>().ok().map(Value::from),
        ParameterType::Text | ParameterType::Date | ParameterType::Timestamp | ParameterType::Uuid => {
            return Ok(Value::String(text));
        }
    };
    value.ok_or_else(|| wrong(name, data_type))
}

fn wrong(name: &str, data_type: ParameterType) -> Refused {
    let what = match data_type {
        ParameterType::Text => "a text",
        ParameterType::Integer => "an integer of 64 bits",
        ParameterType::Number => "a number",
        ParameterType::Boolean => "true or false",
        ParameterType::Date => "a date, such as 2026-11-22",
        ParameterType::Timestamp => "a moment, such as 2026-11-22T10:00:00Z",
        ParameterType::Uuid => "a UUID",
    };
    Refused::invalid(format!("`{name}` must be {what}"))
}

fn checked(name: &str, rules: &ParameterDocument, value: Value) -> Result<Value, Refused> {
    let is_right = match (rules.data_type, &value) {
        (ParameterType::Text, Value::String(text)) => !text.contains('\0'),
        (ParameterType::Integer, Value::Number(number)) => number.is_i64(),
        (ParameterType::Number, Value::Number(_)) | (ParameterType::Boolean, Value::Bool(_)) => true,
        (ParameterType::Date, Value::String(text)) => {
            text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10
        }
        (ParameterType::Timestamp, Value::String(text)) => text.parse::<jiff::Timestamp>().is_ok(),
        (ParameterType::Uuid, Value::String(text)) => is_uuid(text),
        _ => false,
    };
    if !is_right {
        return Err(wrong(name, rules.data_type));
    }
    if let Some(most) = rules.one_of.as_ref().filter(|most| !most.contains(&value)) {
        let most: Vec<String> = most.iter().map(ToString::to_string).collect();
        return Err(Refused::invalid(format!("`{name}` must be one of {}", most.join(", "))));
    }
    for (bound, is_least) in [(&rules.min, true), (&rules.max, false)] {
        let Some(bound) = bound else { continue };
        if !is_within(rules.data_type, &value, bound, is_least) {
            let side = if is_least { "least" } else { "most" };
            return Err(Refused::invalid(format!("`{name}` must be at {side} {bound}")));
        }
    }
    if let (ParameterType::Text, Value::String(text)) = (rules.data_type, &value) {
        let length = text.chars().count() as u64;
        let (least, most) = (rules.min_length.unwrap_or(0), rules.max_length.unwrap_or(LONGEST_TEXT));
        if length < least || length > most {
            return Err(Refused::invalid(format!("`{name}` must have {least} to {most} characters")));
        }
    }
    Ok(value)
}

/// A bound that can't be compared with lets nothing through.
fn is_within(data_type: ParameterType, value: &Value, bound: &Value, is_least: bool) -> bool {
    let order = match (data_type, value, bound) {
        (ParameterType::Timestamp, Value::String(value), Value::String(bound)) => {
            match (value.parse::<jiff::Timestamp>(), bound.parse::<jiff::Timestamp>()) {
                (Ok(value), Ok(bound)) => Some(value.cmp(&bound)),
                _ => None,
            }
        }
        // Dates of one form are in the order of their texts.
        (_, Value::String(value), Value::String(bound)) => Some(value.cmp(bound)),
        (_, Value::Number(value), Value::Number(bound)) => match (value.as_i64(), bound.as_i64()) {
            (Some(value), Some(bound)) => Some(value.cmp(&bound)),
            _ => value.as_f64().zip(bound.as_f64()).and_then(|(value, bound)| value.partial_cmp(&bound)),
        },
        _ => None,
    };
    order.is_some_and(|order| if is_least { order.is_ge() } else { order.is_le() })
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use ringfence_policy::Endpoint;
    use serde_json::json;

    use super::*;

    fn parameters(written: &str) -> Vec<(String, Parameter)> {
        let text = format!(
            "{{name: e, path: '/e/{{p}}', method: POST, connection: c, statement: 'SELECT :p, :q', \
             parameters: {{p: {{type: integer}}, q: {{{written}}}}}}}"
        );
        Endpoint::load("f", &text).unwrap().parameters
    }

    fn value(written: &str, given: &str) -> Result<Value, String> {
        let query = [("q".to_owned(), given.to_owned())];
        let path = [("p".to_owned(), "7".to_owned())];
        let read = read(&parameters(written), &path, &query, None);
        read.map(|values| values["q"].clone()).map_err(|refused| refused.message.into_owned())
    }

    #[test]
    fn values_are_what_their_author_says() {
        for (written, given, expected) in [
            ("type: integer", "-5", json!(-5)),
            ("type: number", "1.5", json!(1.5)),
            ("type: boolean", "true", json!(true)),
            ("type: date", "2026-02-28", json!("2026-02-28")),
            ("type: timestamp", "2026-02-28T10:00:00+02:00", json!("2026-02-28T10:00:00+02:00")),
            (
                "type: uuid",
                "67e55044-10b1-426f-9247-bb680e5fe0c8",
                json!("67e55044-10b1-426f-9247-bb680e5fe0c8"),
            ),
            ("type: text, max_length: 2", "üß", json!("üß")),
            ("type: integer, enum: [1, 2]", "2", json!(2)),
            ("type: date, min: '2026-01-01'", "2026-01-01", json!("2026-01-01")),
        ] {
            assert_eq!(value(written, given), Ok(expected), "{written} {given}");
        }
        for (written, given) in [
            ("type: integer", "9223372036854775808"),
            ("type: integer", "1.0"),
            ("type: integer", ""),
            ("type: number", "NaN"),
            ("type: number", "inf"),
            ("type: boolean", "1"),
            ("type: date", "2026-02-30"),
            ("type: date", "2026-02-28T00:00:00"),
            ("type: timestamp", "2026-02-28"),
            ("type: uuid", "67e55044"),
            ("type: text, max_length: 2", "abc"),
            ("type: text", "a\0b"),
            ("type: text, min_length: 1", ""),
            ("type: integer, enum: [1, 2]", "3"),
            ("type: integer, min: 3", "2"),
            ("type: integer, max: 3", "4"),
            ("type: integer, min: x", "4"),
            ("type: date, max: '2026-01-01'", "2026-01-02"),
        ] {
            assert!(value(written, given).is_err(), "{written} {given}");
        }
    }

    #[test]
    fn rules_that_contradict_themselves_are_refused() {
        for written in [
            "type: integer, default: x",
            "type: integer, default: 3, max: 2",
            "type: integer, min: x",
            "type: date, max: 2026",
            "type: text, enum: [1]",
            "type: text, enum: [a], default: b",
            "type: uuid, default: none",
        ] {
            assert!(check_rules(&parameters(written)).is_err(), "{written}");
        }
        check_rules(&parameters("type: integer, min: 1, max: 3, default: 2, enum: [1, 2]")).unwrap();
    }

    #[test]
    fn what_is_missing_or_unknown_is_said() {
        let read = |written: &str, query: &[(&str, &str)], body: Option<Value>| {
            let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
            };
            let body = body.and_then(|body| body.as_object().cloned());
            let path = pairs(&[("p", "%37")]);
            read(&parameters(written), &path, &pairs(query), body.as_ref())
        };
        let done = read("type: integer, default: 3", &[], None).unwrap();
        assert_eq!(Value::Object(done), json!({"p": 7, "q": 3}));
        assert_eq!(read("type: integer", &[], None).unwrap()["q"], Value::Null);
        assert!(read("type: integer, required: true", &[], None).is_err());
        assert!(read("type: integer", &[("q", "1"), ("q", "2")], None).is_err());
        assert!(read("type: integer", &[("x", "1")], None).unwrap_err().message.contains("there are p, q"));
        assert!(read("type: integer", &[], Some(json!({"q": 1}))).is_err(), "it is in the query");
        assert_eq!(read("type: integer, in: body", &[], Some(json!({"q": 1}))).unwrap()["q"], json!(1));
        assert!(read("type: integer, in: body", &[], Some(json!({"q": "1"}))).is_err());
        assert!(read("type: integer, in: body", &[("q", "1")], None).is_err());
    }
}
