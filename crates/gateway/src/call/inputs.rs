//! What a models request asked for, as a record may hold it: fields and operators, and values only where that is allowed.

use serde_json::{Map, Value};

use super::plain;

/// Bytes of one request, as JSON.
const MOST_BYTES: usize = 16 * 1024;
/// Depth below which nothing is told.
const MOST_LEVELS: usize = 16;

/// Makes a request fit for a record.
pub struct Sanitiser<'a> {
    /// Keys whose texts are names of fields and not values, such as `select`.
    pub naming: &'a [&'a str],
    /// Whether the values of that field may be told: the caller sees it plain, and the configuration lets them.
    pub is_told: &'a dyn Fn(&str) -> bool,
}

impl Sanitiser<'_> {
    /// Keys of requests whose texts name fields, models and ways to sort.
    pub const NAMING: &'static [&'static str] = &[
        "action", "as", "op", "model", "select", "fields", "return_fields", "order_by", "field", "direction",
        "group_by", "include", "take", "limit", "function", "operation", "total_count",
    ];

    /// The request with types in the place of values.
    pub fn sanitise(&self, request: &Value) -> Value {
        self.value(request, false, MOST_LEVELS)
    }

    fn value(&self, value: &Value, is_told: bool, levels: usize) -> Value {
        let Some(below) = levels.checked_sub(1) else { return "<deep>".into() };
        match value {
            Value::Array(items) => items.iter().map(|item| self.value(item, is_told, below)).collect(),
            Value::Object(fields) => Value::Object(self.fields(fields, is_told, below)),
            leaf if is_told => told(leaf),
            leaf => type_of(leaf),
        }
    }

    /// What is told of a field is told of its operators' operands.
    fn fields(&self, fields: &Map<String, Value>, is_told: bool, levels: usize) -> Map<String, Value> {
        let field = |(name, value): (&String, &Value)| {
            let is_naming = self.naming.contains(&name.as_str()) && is_names(value);
            let is_told = is_told || is_naming || (self.is_told)(name);
            (plain(name), self.value(value, is_told, levels))
        };
        fields.iter().map(field).collect()
    }
}

/// Whether it looks like names of fields: what does not is a value in a wrong place.
fn is_names(value: &Value) -> bool {
    match value {
        Value::String(name) => {
            name.len() <= 128
                && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' '))
        }
        Value::Array(items) => items.iter().all(is_names),
        Value::Number(_) | Value::Bool(_) | Value::Null => true,
        Value::Object(_) => false,
    }
}

fn told(leaf: &Value) -> Value {
    match leaf {
        Value::String(text) => plain(text).into(),
        other => other.clone(),
    }
}

const TYPES: [&str; 4] = ["<boolean>", "<number>", "<text>", "<deep>"];

/// What stands in the place of a value.
pub(crate) fn type_of(leaf: &Value) -> Value {
    match leaf {
        Value::Null => Value::Null,
        Value::Bool(_) => "<boolean>".into(),
        Value::Number(_) => "<number>".into(),
        // Said before.
        Value::String(text) if TYPES.contains(&text.as_str()) => text.as_str().into(),
        Value::String(_) => "<text>".into(),
        Value::Array(_) => "<list>".into(),
        Value::Object(_) => "<object>".into(),
    }
}

/// What is too long is counted instead.
pub(super) fn bounded(inputs: Value) -> Value {
    let bytes = serde_json::to_vec(&inputs).map_or(usize::MAX, |json| json.len());
    if bytes <= MOST_BYTES { inputs } else { format!("<{bytes} bytes>").into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_their_types() {
        let request = json!({
            "model": "Order",
            "select": ["id", "status"],
            "where": { "and": [{ "status": { "eq": "draft" } }, { "card": { "in": ["4111", 7, true, null] } }] },
            "order_by": ["x'; DROP TABLE orders; --"],
            "take": 10,
        });
        let naming = ["model", "select", "order_by", "take"];
        let sanitiser = Sanitiser { naming: &naming, is_told: &|field| field == "status" };
        let expected = json!({
            "model": "Order",
            "select": ["id", "status"],
            "where": { "and": [
                { "status": { "eq": "draft" } },
                { "card": { "in": ["<text>", "<number>", "<boolean>", null] } },
            ] },
            "order_by": ["<text>"],
            "take": 10,
        });
        assert_eq!(sanitiser.sanitise(&request), expected);
    }

    #[test]
    fn nothing_is_endless() {
        let mut deep = json!("secret");
        for _ in 0..40 {
            deep = json!({ "and": [deep] });
        }
        let sanitiser = Sanitiser { naming: &[], is_told: &|_| false };
        assert!(sanitiser.sanitise(&deep).to_string().contains("<deep>"));
        let long = json!({ "select": vec!["field"; 10_000] });
        assert_eq!(bounded(long).as_str().map(|note| note.ends_with(" bytes>")), Some(true));
    }
}
