//! Endpoints as an `OpenAPI` document.

use ringfence_policy::endpoint::{
    Endpoint, Parameter, ParameterDocument, ParameterPlace, ParameterType, Shape, Source,
};
use serde_json::{Map, Value, json};

/// The document of these.
pub(super) fn document(endpoints: &[Endpoint]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints {
        let path = paths.entry(endpoint.path.clone()).or_insert_with(|| json!({}));
        path[endpoint.method.name().to_lowercase()] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Published endpoints", "version": "1" },
        "paths": paths,
        "components": { "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } } },
        "security": [{ "key": [] }],
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let (mut parameters, mut keys, mut required) = (Vec::new(), Map::new(), Vec::new());
    for (name, Parameter { place, rules }) in &endpoint.parameters {
        let place = match place {
            ParameterPlace::Body => {
                keys.insert(name.clone(), schema(rules));
                if rules.required {
                    required.push(name.clone());
                }
                continue;
            }
            ParameterPlace::Path => "path",
            ParameterPlace::Query => "query",
        };
        parameters.push(json!({
            "name": name,
            "in": place,
            "required": rules.required || place == "path",
            "schema": schema(rules),
        }));
    }
    let mut operation = json!({
        "operationId": endpoint.name,
        "parameters": parameters,
        "responses": {
            "200": { "description": "What you see.", "content": { "application/json": { "schema": answer(endpoint) } } },
            "default": { "description": "Problem details (RFC 9457) with a stable `code`.", "content": { "application/problem+json": {} } },
        },
    });
    if let Some(description) = &endpoint.description {
        operation["description"] = json!(description);
    }
    if !keys.is_empty() {
        let schema = json!({ "type": "object", "properties": keys, "required": required, "additionalProperties": false });
        let is_required = !required.is_empty();
        operation["requestBody"] =
            json!({ "required": is_required, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

fn schema(rules: &ParameterDocument) -> Value {
    let (name, format) = match rules.data_type {
        ParameterType::Text => ("string", None),
        ParameterType::Integer => ("integer", Some("int64")),
        ParameterType::Number => ("number", None),
        ParameterType::Boolean => ("boolean", None),
        ParameterType::Date => ("string", Some("date")),
        ParameterType::Timestamp => ("string", Some("date-time")),
        ParameterType::Uuid => ("string", Some("uuid")),
    };
    let mut schema = Map::from_iter([("type".to_owned(), json!(name))]);
    let is_number = matches!(rules.data_type, ParameterType::Integer | ParameterType::Number);
    for (key, value) in [
        ("format", format.map(Value::from)),
        ("description", rules.description.clone().map(Value::from)),
        ("default", rules.default.clone()),
        ("enum", rules.one_of.clone().map(Value::from)),
        ("minimum", rules.min.clone().filter(|_| is_number)),
        ("maximum", rules.max.clone().filter(|_| is_number)),
        ("minLength", rules.min_length.map(Value::from)),
        ("maxLength", rules.max_length.map(Value::from)),
    ] {
        if let Some(value) = value {
            schema.insert(key.to_owned(), value);
        }
    }
    Value::Object(schema)
}

fn answer(endpoint: &Endpoint) -> Value {
    let own = match (&endpoint.source, endpoint.result.shape) {
        (Source::Builtin(_), _) => json!({
            "type": "object",
            "properties": { "name": { "type": "string" }, "roles": { "type": "array", "items": { "type": "string" } } },
        }),
        (_, Shape::Rows) => json!({ "type": "array", "items": { "type": "object" } }),
        (_, Shape::Row) => json!({ "type": "object" }),
        (_, Shape::Scalar) => json!({}),
    };
    match &endpoint.result.wrap {
        None => own,
        Some(key) => json!({ "type": "object", "properties": { key: own } }),
    }
}
