//! The document is complete and current, and what is not understood is refused with its place.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Request;
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{NoParams, Params, read_json};
use super::*;

fn document() -> Value {
    serde_json::from_str(&openapi::in_json(&operations().1)).unwrap()
}

/// (method, path, operation) of everything in the document.
fn described(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.push((method.clone(), path.clone(), operation.clone()));
        }
    }
    found
}

#[test]
fn the_checked_in_document_is_current() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let current = openapi::in_json(&operations().1);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &current).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == current,
        "docs/openapi.json is not what the code says. Look at the difference and take it over with:\n    \
         UPDATE=1 cargo test -p ringfence-server the_checked_in_document_is_current"
    );
}

#[test]
fn every_operation_is_described() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let tags: BTreeSet<_> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].clone().to_string()).collect();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in described(&document) {
        let name = format!("{method} {path}");
        assert!(path.starts_with("/v1/"), "{name}");
        assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 5), "{name}: summary");
        assert!(operation["description"].as_str().is_some_and(|text| text.len() > 15), "{name}: description");
        assert!(ids.insert(operation["operationId"].to_string()), "{name}: operation id");
        let own_tags = operation["tags"].as_array().unwrap();
        assert!(own_tags.len() == 1 && tags.contains(&own_tags[0].to_string()), "{name}: {own_tags:?}");
        let responses = operation["responses"].as_object().unwrap();
        for status in ["400", "401", "403", "429", "503"] {
            assert!(responses.contains_key(status), "{name}: {status}");
        }
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name}");
        for (status, response) in responses {
            let response =
                response["$ref"].as_str().map_or(response, |path| document.pointer(&path[1..]).unwrap());
            let problem = !response["content"]["application/problem+json"].is_null();
            assert_eq!(problem, !status.starts_with('2'), "{name}: {status}");
        }
        let has_body = !operation["requestBody"].is_null();
        assert_eq!(has_body, responses.contains_key("415"), "{name}: 415 goes with a body");
        for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
            assert!(!parameter["schema"].is_null(), "{name}: {parameter}");
            assert!(
                parameter["description"].is_string() || parameter["name"] == "statement",
                "{name}: {parameter}"
            );
        }
    }
}

#[test]
fn every_body_has_an_example() {
    let document = document();
    let has_example = |content: &Value| {
        let schema = &content["schema"];
        let named = schema["$ref"].as_str().map(|path| path.rsplit('/').next().unwrap().to_owned());
        let schema = named.map_or(schema, |name| &document["components"]["schemas"][name]);
        !content["example"].is_null() || !schema["example"].is_null() || !schema["properties"].is_null()
    };
    for (method, path, operation) in described(&document) {
        if let Some(content) = operation["requestBody"]["content"].as_object() {
            // Columns of bytes can't be shown in a document of text.
            let mut written =
                content.iter().filter(|(media, _)| !media.starts_with("application/vnd.apache."));
            assert!(written.all(|(_, content)| has_example(content)), "{method} {path}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(target) if name == "$ref" => drop(found.insert(target.to_owned())),
                        _ => references(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 10);
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read")]
struct Sample {
    name: String,
    #[serde(default)]
    parts: Vec<Part>,
    #[serde(default)]
    notes: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read")]
struct Part {
    size: Option<u8>,
}

#[test]
fn mistakes_in_a_body_are_told_with_their_place() {
    let cases = [
        (r#"{"name":1}"#, "invalid type: integer `1`, expected a string", Some("/name"), None),
        (r#"{"nam":"a"}"#, "unknown field `nam`", Some("/nam"), Some("did you mean `name`?")),
        (r#"{"zzz":"a"}"#, "unknown field `zzz`", Some("/zzz"), Some("known: name, parts, notes")),
        (
            r#"{"a`, expected b":1}"#,
            "unknown field `a`, expected b`",
            None,
            Some("known: name, parts, notes"),
        ),
        (r"{}", "missing field `name`", Some(""), Some("add the field `name`")),
        (
            r#"{"name":"a","parts":[{"size":1},{"size":"x"}]}"#,
            "invalid type: string \"x\", expected a whole number from 0 to 255",
            Some("/parts/1/size"),
            None,
        ),
        (
            r#"{"name":"a","parts":[{"siez":1}]}"#,
            "unknown field `siez`",
            Some("/parts/0/siez"),
            Some("did you mean `size`?"),
        ),
        (
            r#"{"name":"a","parts":[{"size":256}]}"#,
            "invalid value: integer `256`, expected a whole number from 0 to 255",
            Some("/parts/0/size"),
            None,
        ),
        (
            r#"{"name":"a","notes":{"x/y":1}}"#,
            "invalid type: integer `1`, expected a string",
            Some("/notes/x~1y"),
            None,
        ),
        (r#"{"name":"a","name":"b"}"#, "duplicate field `name`", None, None),
        (r"[]", "invalid type: a list, expected an object", None, None),
        (r"{", "the body is not valid JSON: the body ends too early", None, None),
        ("", "the body is not valid JSON: the body ends too early", None, None),
    ];
    for (text, detail, pointer, hint) in cases {
        let problem = serde_json::to_value(read_json::<Sample>(text.as_bytes()).unwrap_err().body()).unwrap();
        assert_eq!(problem["detail"], detail, "{text}");
        assert_eq!(problem["code"], "INVALID_REQUEST");
        if let Some(pointer) = pointer {
            assert_eq!(problem["pointer"], pointer, "{text}");
        }
        assert_eq!(problem["hint"].as_str(), hint, "{text}");
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read")]
struct SampleParams {
    limit: Option<u32>,
    order: Option<String>,
}

async fn refuse_params<T: axum::extract::FromRequestParts<(), Rejection = Problem>>(query: &str) -> Value {
    let request = Request::builder().uri(format!("/x?{query}")).body(()).unwrap();
    let (mut parts, ()) = request.into_parts();
    match T::from_request_parts(&mut parts, &()).await {
        Ok(_) => Value::Null,
        Err(problem) => json!(problem.body()),
    }
}

#[tokio::test]
async fn mistakes_in_query_parameters_are_told() {
    let cases = [
        ("limit=x", "query parameter `limit`: expected a whole number, 0 or more", None),
        ("limit=-1", "query parameter `limit`: expected a whole number, 0 or more", None),
        ("limt=1", "unknown query parameter `limt`", Some("did you mean `limit`?")),
        ("q=1", "unknown query parameter `q`", Some("known: limit, order")),
        ("limit=1&limit=2", "duplicate query parameter `limit`", None),
    ];
    for (query, detail, hint) in cases {
        let problem = refuse_params::<Params<SampleParams>>(query).await;
        assert_eq!(problem["detail"], detail, "{query}");
        assert_eq!(problem["hint"].as_str(), hint, "{query}");
    }
    assert_eq!(refuse_params::<Params<SampleParams>>("limit=1&order=a%20b").await, Value::Null);
    assert_eq!(refuse_params::<NoParams>("").await, Value::Null);
    assert_eq!(refuse_params::<NoParams>("a=1").await["hint"], "there is no query parameter here");
}

#[test]
fn keys_become_one_segment() {
    assert_eq!(path_segment("postgresql://u@h:1/a%20b"), "postgresql%3A%2F%2Fu%40h%3A1%2Fa%2520b");
    assert_eq!(path_segment("ü-._~"), "%C3%BC-._~");
}

#[test]
fn times_are_rfc_3339() {
    assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
    assert_eq!(timestamp(1_769_860_800_123), "2026-01-31T12:00:00.123Z");
}
