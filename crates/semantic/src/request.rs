//! What is asked of a model, as JSON says it.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// Deepest nesting of conditions.
const MAX_NESTING: usize = 16;

/// Rows of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = ModelQuery, example = json!({
    "select": ["id", "status"],
    "where": [{"field": "status", "op": "eq", "value": "pending"}],
    "order_by": ["-id"],
    "take": 20,
    "include": {"customer": {"select": ["name"]}},
}))]
pub struct Query {
    /// The fields wanted; all that you see when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<Vec<String>>,
    /// Which rows.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Condition>,
    /// In which order. The primary key breaks ties.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub order_by: Vec<OrderBy>,
    /// How many rows at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub take: Option<u64>,
    /// Where the page before ended: its `next_cursor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Rows of other models, by the relation's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub include: BTreeMap<String, Include>,
    /// Whether to count all rows that the condition holds for.
    pub total_count: bool,
}

/// Rows of another model beside each row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(no_recursion)]
pub struct Include {
    /// The fields wanted; all that you see when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<Vec<String>>,
    /// Which rows.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Condition>,
    /// In which order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub order_by: Vec<OrderBy>,
    /// How many rows at most beside each row.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub take: Option<u64>,
    /// Rows of further models.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub include: BTreeMap<String, Include>,
}

/// A field, and which way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    /// The field.
    pub field: String,
    /// Largest first.
    pub descending: bool,
}

/// A condition on rows: one of a field, or several.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// All hold.
    And(Vec<Condition>),
    /// One holds.
    Or(Vec<Condition>),
    /// It is false. As everywhere in SQL, what is neither true nor false stays so.
    Not(Box<Condition>),
    /// Of one field.
    Test(Test),
}

/// A condition on a field.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Test {
    pub field: String,
    pub operator: Operator,
    pub value: Value,
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Operator {
    Eq,
    Ne,
    Lt,
    Lte,
    Gt,
    Gte,
    In,
    #[serde(rename = "not_in")]
    NotIn,
    #[serde(rename = "is_null")]
    IsNull,
    Contains,
    StartsWith,
    EndsWith,
    Between,
}

/// Figures over rows of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = ModelAggregate, example = json!({
    "aggregates": [{"op": "count"}, {"op": "sum", "field": "total", "as": "revenue"}],
    "group_by": ["status"],
    "order_by": ["-revenue"],
}))]
pub struct Aggregate {
    /// What to compute.
    pub aggregates: Vec<Measure>,
    /// For each combination of these fields; of all rows together when left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<String>,
    /// Of which rows.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Condition>,
    /// By fields of `group_by` and names of aggregates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub order_by: Vec<OrderBy>,
    /// How many groups at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub take: Option<u64>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// What to compute.
    pub op: Function,
    /// Of which field; `count` needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What the answer calls it; otherwise `op` or `op_field`.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Function {
    Count,
    CountDistinct,
    Sum,
    Avg,
    Min,
    Max,
}

/// A change of rows of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// A new row.
    Create {
        /// The model.
        model: String,
        /// The new row's fields.
        #[schema(value_type = Object)]
        data: Map<String, Value>,
        /// The fields to answer; all that you see when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        return_fields: Option<Vec<String>>,
    },
    /// New rows, all or none.
    BulkCreate {
        /// The model.
        model: String,
        /// The new rows.
        #[schema(value_type = Vec<Object>)]
        data: Vec<Map<String, Value>>,
        /// The fields to answer; all that you see when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        return_fields: Option<Vec<String>>,
    },
    /// A change of one row.
    Update {
        /// The model.
        model: String,
        /// The row's primary key: its value, or an object of all its fields.
        #[schema(value_type = Value)]
        id: Value,
        /// The fields that change.
        #[schema(value_type = Object)]
        data: Map<String, Value>,
        /// Only when the version is this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Value>)]
        if_version: Option<Value>,
        /// The fields to answer; all that you see when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        return_fields: Option<Vec<String>>,
    },
    /// The same change of several rows, all or none.
    BulkUpdate {
        /// The model.
        model: String,
        /// The rows' primary keys.
        #[schema(value_type = Vec<Value>)]
        ids: Vec<Value>,
        /// The fields that change.
        #[schema(value_type = Object)]
        data: Map<String, Value>,
        /// The fields to answer; all that you see when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        return_fields: Option<Vec<String>>,
    },
    /// The end of one row.
    Delete {
        /// The model.
        model: String,
        /// The row's primary key.
        #[schema(value_type = Value)]
        id: Value,
        /// Only when the version is this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Value>)]
        if_version: Option<Value>,
    },
}

impl Operation {
    /// The model that is changed.
    pub fn model(&self) -> &str {
        match self {
            Self::Create { model, .. }
            | Self::BulkCreate { model, .. }
            | Self::Update { model, .. }
            | Self::BulkUpdate { model, .. }
            | Self::Delete { model, .. } => model,
        }
    }

    /// The fields that its answer shows; `None` for all.
    pub fn return_fields(&self) -> Option<&[String]> {
        match self {
            Self::Create { return_fields, .. }
            | Self::BulkCreate { return_fields, .. }
            | Self::Update { return_fields, .. }
            | Self::BulkUpdate { return_fields, .. } => return_fields.as_deref(),
            Self::Delete { .. } => None,
        }
    }

    /// The word of requests and records.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::BulkCreate { .. } => "bulk_create",
            Self::Update { .. } => "update",
            Self::BulkUpdate { .. } => "bulk_update",
            Self::Delete { .. } => "delete",
        }
    }
}

impl<'de> Deserialize<'de> for OrderBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (field, descending) = match text.strip_prefix('-') {
            Some(field) => (field, true),
            None => (text.as_str(), false),
        };
        if field.is_empty() {
            return Err(D::Error::custom("an order is a field, with a minus in front for the largest first"));
        }
        Ok(Self { field: field.to_owned(), descending })
    }
}

impl Serialize for OrderBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sign = if self.descending { "-" } else { "" };
        serializer.collect_str(&format_args!("{sign}{}", self.field))
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(Value::deserialize(deserializer)?, MAX_NESTING).map_err(D::Error::custom)
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::And(all) => json!({ "and": all }).serialize(serializer),
            Self::Or(any) => json!({ "or": any }).serialize(serializer),
            Self::Not(inner) => json!({ "not": inner }).serialize(serializer),
            Self::Test(Test { field, operator, value }) => {
                json!({ "field": field, "op": operator, "value": value }).serialize(serializer)
            }
        }
    }
}

/// A list of conditions means that all hold.
fn read(value: Value, depth: usize) -> Result<Condition, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(format!("conditions are nested more than {MAX_NESTING} deep"));
    };
    let all = |value: Value| match value {
        Value::Array(items) => items.into_iter().map(|item| read(item, depth)).collect::<Result<Vec<_>, _>>(),
        _ => Err("`and` and `or` take a list of conditions".to_owned()),
    };
    let mut object = match value {
        Value::Object(object) => object,
        list @ Value::Array(_) => return all(list).map(Condition::And),
        _ => return Err("a condition is an object, or a list of them that all hold".to_owned()),
    };
    if object.contains_key("field") || object.contains_key("op") {
        return read_test(object).map(Condition::Test);
    }
    let mut entries = std::mem::take(&mut object).into_iter();
    match (entries.next(), entries.next()) {
        (Some((word, value)), None) => match word.as_str() {
            "and" => all(value).map(Condition::And),
            "or" => all(value).map(Condition::Or),
            "not" => read(value, depth).map(|inner| Condition::Not(Box::new(inner))),
            _ => Err(format!(
                "unknown condition `{word}`: write {{\"field\", \"op\", \"value\"}}, `and`, `or` or `not`"
            )),
        },
        _ => Err("a condition is {\"field\", \"op\", \"value\"}, or one of `and`, `or` and `not`".to_owned()),
    }
}

fn read_test(mut object: Map<String, Value>) -> Result<Test, String> {
    let Some(Value::String(field)) = object.remove("field") else {
        return Err("a condition needs the name of a `field`".to_owned());
    };
    let operator = object.remove("op").ok_or_else(|| "a condition needs an `op`".to_owned())?;
    let operator: Operator = serde_json::from_value(operator).map_err(|_| {
        "`op` is one of eq, ne, lt, lte, gt, gte, in, not_in, is_null, contains, startswith, endswith, between".to_owned()
    })?;
    let value = object.remove("value");
    if let Some((word, _)) = object.into_iter().next() {
        return Err(format!("unknown `{word}` in a condition on a field"));
    }
    let value = match (value, operator) {
        (Some(value), _) => value,
        (None, Operator::IsNull) => Value::Bool(true),
        (None, _) => return Err("a condition needs a `value`".to_owned()),
    };
    Ok(Test { field, operator, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_written() {
        for (text, same) in [
            (json!({"field": "a", "op": "eq", "value": 1}), true),
            (json!({"or": [{"field": "a", "op": "not_in", "value": [1]}, {"not": {"and": []}}]}), true),
            (json!([{"field": "a", "op": "startswith", "value": "x"}]), false),
            (json!({"field": "a", "op": "is_null"}), false),
        ] {
            let condition: Condition = serde_json::from_value(text.clone()).unwrap();
            let written = serde_json::to_value(&condition).unwrap();
            assert_eq!(written == text, same, "{written}");
            assert_eq!(serde_json::from_value::<Condition>(written).unwrap(), condition);
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        let mut deep = json!({"field": "a", "op": "eq", "value": 1});
        for _ in 0..20 {
            deep = json!({ "not": deep });
        }
        for text in [
            json!("a = 1"),
            json!({"field": "a", "op": "like", "value": "x"}),
            json!({"field": "a", "op": "eq"}),
            json!({"field": 1, "op": "eq", "value": 1}),
            json!({"field": "a", "op": "eq", "value": 1, "or": []}),
            json!({"and": [], "or": []}),
            json!({"and": {}}),
            json!({}),
            json!({"status": "pending"}),
            deep,
        ] {
            assert!(serde_json::from_value::<Condition>(text.clone()).is_err(), "{text}");
        }
    }
}
