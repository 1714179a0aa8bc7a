//! What the arguments of a tool look like, made of what the principal sees and may do.
//!
//! One schema serves all models that a tool is offered for, because clients and models of language cope with flat objects
//! best: names are those of all of them together, and which belongs to which, `describe_schema` tells. It guides; whether a
//! request is allowed is decided when it is made.

use std::collections::BTreeSet;

use ringfence_gateway::models::{FieldDescription, FieldType, ModelDescription};
use rmcp::model::JsonObject;
use serde_json::{Map, Value, json};

use super::bounds::Bounds;
use super::reach::Reach;
use super::tools::Tool;

/// Names that one list in a schema holds. Longer ones cost more than asking for a description.
const MOST_NAMES: usize = 200;

/// How conditions are written.
const CONDITION: &str = "A condition {\"field\", \"op\", \"value\"}, or several as {\"and\": [...]}, {\"or\": [...]}, {\"not\": ...}; \
    in a list, all hold. `op`: eq, ne, lt, lte, gt, gte, in, not_in, is_null, contains, startswith, endswith, between.";

/// The schema of a tool's arguments.
pub(super) fn arguments(tool: Tool, reach: &Reach, bounds: Bounds) -> JsonObject {
    match tool.operation() {
        Some(operation) => {
            let models: Vec<_> = reach.models(operation).collect();
            of_models(tool, &models, bounds)
        }
        None if tool == Tool::ListConnections => object(Map::new(), &[]),
        None => of_statement(tool, reach, bounds),
    }
}

fn of_statement(tool: Tool, reach: &Reach, bounds: Bounds) -> JsonObject {
    let keys = reach.guarded().map(|connection| connection.key.as_str());
    let mut properties = Map::new();
    put(&mut properties, "connection", names(keys, "The connection's key."));
    put(
        &mut properties,
        "statement",
        json!({"type": "string", "minLength": 1, "description": "One SQL statement."}),
    );
    put(
        &mut properties,
        "parameters",
        json!({
            "type": "array",
            "items": {"type": ["string", "number", "boolean", "null"]},
            "description": "Values of the placeholders, in their order.",
        }),
    );
    let schema = "The schema in which unqualified names are looked up.";
    put(&mut properties, "current_schema", json!({"type": "string", "description": schema}));
    if tool == Tool::RunSql {
        put(&mut properties, "max_rows", count(bounds.max_rows, "How many rows at most."));
    }
    put(&mut properties, "reason", reason());
    object(properties, &["connection", "statement"])
}

fn of_models(tool: Tool, models: &[(&str, &ModelDescription)], bounds: Bounds) -> JsonObject {
    let mut properties = Map::new();
    let keys = models.iter().map(|(key, _)| *key);
    put(&mut properties, "connection", names(keys, "The connection's key."));
    let model_names = models.iter().map(|(_, model)| model.name.as_str());
    put(&mut properties, "model", names(model_names, &whose(models)));
    let mut required = vec!["connection"];
    if tool != Tool::DescribeSchema {
        required.push("model");
    }
    let fields = || models.iter().flat_map(|(_, model)| &model.fields).map(|field| field.name.as_str());
    let select = |what: &str| json!({"type": "array", "items": names(fields(), ""), "description": what});
    let condition = json!({
        "description": CONDITION,
        "anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}],
    });
    let order = "In which order; a minus in front for the largest first, such as [\"-id\"].";
    let order = json!({"type": "array", "items": {"type": "string"}, "description": order});
    match tool {
        Tool::Query => {
            put(&mut properties, "select", select("The fields wanted; all when left out."));
            put(&mut properties, "where", condition);
            put(&mut properties, "order_by", order);
            put(&mut properties, "take", count(bounds.max_rows, "How many rows at most."));
            let cursor = "`next_cursor` of the page before.";
            put(&mut properties, "cursor", json!({"type": "string", "description": cursor}));
            put(&mut properties, "include", include(models));
            let total = "Whether to count all rows that the condition holds for.";
            put(&mut properties, "total_count", json!({"type": "boolean", "description": total}));
        }
        Tool::Get => {
            put(&mut properties, "id", id());
            put(&mut properties, "select", select("The fields wanted; all when left out."));
            required.push("id");
        }
        Tool::Aggregate => {
            put(
                &mut properties,
                "aggregates",
                measures(&names(fields(), "Of which field; `count` needs none.")),
            );
            put(&mut properties, "group_by", select("For each combination of these fields."));
            put(&mut properties, "where", condition);
            put(&mut properties, "order_by", order);
            put(&mut properties, "take", count(bounds.max_rows, "How many groups at most."));
            required.push("aggregates");
        }
        Tool::ListConnections | Tool::DescribeSchema | Tool::RunSql | Tool::Explain => {}
        Tool::Create | Tool::BulkCreate | Tool::Update | Tool::BulkUpdate | Tool::Delete => {
            of_change(tool, models, &mut properties, &mut required);
            if tool != Tool::Delete {
                let returned = "The fields to answer; all when left out.";
                put(&mut properties, "return_fields", select(returned));
            }
            let key =
                "Any text of your own: a change that is sent again with the same one is not made again.";
            put(&mut properties, "idempotency_key", json!({"type": "string", "description": key}));
            put(&mut properties, "reason", reason());
            if models.iter().all(|(_, model)| model.requires_reason) {
                required.push("reason");
            }
        }
    }
    object(properties, &required)
}

/// What a change needs beside the model.
fn of_change(
    tool: Tool,
    models: &[(&str, &ModelDescription)],
    properties: &mut Map<String, Value>,
    required: &mut Vec<&'static str>,
) {
    match tool {
        Tool::Create => put(properties, "data", data(models, |field| field.may_create, true)),
        Tool::BulkCreate => {
            let items = data(models, |field| field.may_create, true);
            put(properties, "data", json!({"type": "array", "minItems": 1, "items": items}));
        }
        Tool::Update | Tool::BulkUpdate => {
            put(properties, "data", data(models, |field| field.may_update, false));
        }
        _ => {}
    }
    if tool != Tool::Delete {
        required.push("data");
    }
    match tool {
        Tool::Update | Tool::Delete => {
            put(properties, "id", id());
            required.push("id");
            if models.iter().any(|(_, model)| model.version.is_some()) {
                let version =
                    "Only when the model's version is this one, so that nobody else's change is lost.";
                put(properties, "if_version", json!({"description": version}));
            }
        }
        Tool::BulkUpdate => {
            put(properties, "ids", json!({"type": "array", "minItems": 1, "items": id()}));
            required.push("ids");
        }
        _ => {}
    }
}

/// The fields of a row that may be written.
fn data(models: &[(&str, &ModelDescription)], may: fn(&FieldDescription) -> bool, is_new: bool) -> Value {
    let mut properties = Map::new();
    for field in models.iter().flat_map(|(_, model)| &model.fields).filter(|field| may(field)) {
        let schema = value_of(field);
        match properties.get(&field.name) {
            // Of two models, each with another kind of value.
            Some(known) if *known != schema => put(&mut properties, &field.name, json!({})),
            _ => put(&mut properties, &field.name, schema),
        }
    }
    if properties.len() > MOST_NAMES {
        return json!({"type": "object", "description": "Fields by name: describe_schema lists them."});
    }
    let required: Vec<&str> = match models {
        [(_, model)] if is_new => model.required.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    Value::Object(object(properties, &required))
}

fn value_of(field: &FieldDescription) -> Value {
    let kinds: &[&str] = match field.class {
        FieldType::Integer => &["integer"],
        FieldType::Decimal => &["number", "string"],
        FieldType::Float => &["number"],
        FieldType::Boolean => &["boolean"],
        FieldType::Array => &["array"],
        FieldType::Json => return json!({"description": field.database_type}),
        FieldType::Text | FieldType::Time | FieldType::Uuid | FieldType::Bytes | FieldType::Other => {
            &["string"]
        }
    };
    let null = field.nullable.then_some("null");
    let kinds: Vec<&str> = kinds.iter().copied().chain(null).collect();
    json!({"type": kinds, "description": field.database_type})
}

fn include(models: &[(&str, &ModelDescription)]) -> Value {
    let relations = models.iter().flat_map(|(_, model)| &model.relations);
    let known: BTreeSet<&str> = relations.map(|relation| relation.name.as_str()).collect();
    json!({
        "type": "object",
        "description": "Rows of related models, by the relation's name: an object with `select`, `where`, `order_by`, `take`, \
                        `include`, all of which may be left out.",
        "properties": known.iter().take(MOST_NAMES).map(|name| ((*name).to_owned(), json!({"type": "object"})))
            .collect::<Map<_, _>>(),
        "additionalProperties": known.len() > MOST_NAMES,
    })
}

fn measures(field: &Value) -> Value {
    json!({
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "properties": {
                "op": {"type": "string", "enum": ["count", "count_distinct", "sum", "avg", "min", "max"]},
                "field": field,
                "as": {"type": "string", "description": "What the answer calls it; otherwise `op` or `op_field`."},
            },
            "required": ["op"],
            "additionalProperties": false,
        },
    })
}

/// Which model is on which connection, where there are several.
fn whose(models: &[(&str, &ModelDescription)]) -> String {
    let keys: BTreeSet<&str> = models.iter().map(|(key, _)| *key).collect();
    if keys.len() < 2 || models.len() > MOST_NAMES {
        return "The model's name.".to_owned();
    }
    let on = |key: &&str| {
        let names: Vec<&str> =
            models.iter().filter(|(of, _)| of == key).map(|(_, model)| model.name.as_str()).collect();
        format!("{key}: {}", names.join(", "))
    };
    format!(
        "The model's name. On each connection there are: {}.",
        keys.iter().map(on).collect::<Vec<_>>().join("; ")
    )
}

/// One of the names; any text where there are too many to list.
fn names<'a>(names: impl Iterator<Item = &'a str>, description: &str) -> Value {
    let names: BTreeSet<&str> = names.collect();
    let mut schema = Map::new();
    put(&mut schema, "type", "string".into());
    if names.len() <= MOST_NAMES {
        put(&mut schema, "enum", names.into_iter().collect());
    }
    if !description.is_empty() {
        put(&mut schema, "description", description.into());
    }
    Value::Object(schema)
}

fn id() -> Value {
    json!({
        "type": ["string", "number", "object"],
        "description": "The row's primary key: its value, or an object of all its fields.",
    })
}

fn count(most: u64, description: &str) -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": most, "description": description})
}

fn reason() -> Value {
    json!({"type": "string", "description": "Why you do it, for the record. Some policies want one."})
}

fn object(properties: Map<String, Value>, required: &[&str]) -> JsonObject {
    let mut schema = Map::new();
    put(&mut schema, "type", "object".into());
    put(&mut schema, "properties", Value::Object(properties));
    if !required.is_empty() {
        put(&mut schema, "required", required.into());
    }
    put(&mut schema, "additionalProperties", false.into());
    schema
}

fn put(object: &mut Map<String, Value>, name: &str, value: Value) {
    object.insert(name.to_owned(), value);
}
