//! Under which action, and for which connection, the audit log has each kind of call.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::cli::Home;
use crate::process::ADMIN_KEY;
use crate::v1_client::segment;

const CONNECTION: &str = "snowflake://push/acme/Sales";

/// Route, body, the recorded action, and whether the call names the connection.
fn calls() -> Vec<(&'static str, &'static str, Value, &'static str, bool)> {
    let connection = json!({"db_type": "snowflake", "push": true, "host": "acme", "database": "Sales"});
    let scoped = |field: &str, value: Value| json!({"scope": CONNECTION, field: value});
    let none = Value::Null;
    vec![
        ("POST", "/v1/connections", connection.clone(), "edit-connections", true),
        ("POST", "/v1/connections", connection.clone(), "edit-connections", true),
        ("PUT", "/v1/connections/default", json!({"key": CONNECTION}), "edit-connections", true),
        ("PUT", "/v1/connections/default", json!({"key": "a://b"}), "edit-connections", false),
        ("PATCH", "/v1/connections/{key}", json!({"description": "x"}), "edit-connections", true),
        ("GET", "/v1/connections", none.clone(), "list-connections", false),
        ("GET", "/v1/connections/{key}", none.clone(), "get-connection", true),
        ("GET", "/v1/connections/{key}/catalog", none.clone(), "get-catalog", true),
        ("PUT", "/v1/connections/{key}/catalog/public/t", json!({}), "describe-relation", true),
        ("POST", "/v1/connections/{key}/query", json!({"statement": "SELECT 1"}), "run-query", true),
        ("PUT", "/v1/connections/{key}/likes", json!({"ask": "a", "statement": "b"}), "like-query", true),
        ("GET", "/v1/config", none.clone(), "get-config", false),
        ("PATCH", "/v1/config", json!({"a": 1}), "update-config", false),
        ("GET", "/v1/approvals", none.clone(), "list-approvals", false),
        ("GET", "/v1/approvals/nothing", none.clone(), "get-approval", false),
        ("POST", "/v1/approvals/nothing/approve", json!({}), "approve-operation", false),
        ("POST", "/v1/approvals/nothing/reject", json!({}), "reject-operation", false),
        ("POST", "/v1/approvals/nothing/withdraw", none.clone(), "withdraw-approval", false),
        ("GET", "/v1/users/nobody", none.clone(), "get-user", false),
        ("GET", "/v1/me", none.clone(), "get-user-info", false),
        ("POST", "/api/update-db-connect-info", json!({"updated": [connection]}), "edit-connections", true),
        (
            "POST",
            "/api/refresh-db-connection",
            json!({"db_conn_key": CONNECTION}),
            "refresh-connection",
            true,
        ),
        ("POST", "/api/get-table-definitions", json!({"scope": CONNECTION}), "get-catalog", true),
        (
            "POST",
            "/api/update-table-definitions",
            scoped("updated_tables", json!([])),
            "push-relations",
            true,
        ),
        (
            "POST",
            "/api/update-constraint",
            scoped("updated_constraints", json!([])),
            "edit-constraints",
            true,
        ),
        ("POST", "/api/run-query", scoped("query", json!("SELECT 1")), "run-query", true),
        ("POST", "/api/run-query", scoped("query", json!(5)), "run-query", true),
        ("POST", "/api/get-user-info", json!({}), "get-user-info", false),
        ("POST", "/api/", json!({}), "unmatched", false),
        ("DELETE", "/v1/connections/{key}", none.clone(), "edit-connections", true),
        ("DELETE", "/v1/connections/{key}", none, "edit-connections", true),
    ]
}

#[tokio::test]
async fn a_call_is_recorded_under_one_name() {
    let home = Home::new();
    let server = home.serve();
    let client = Client::builder().no_proxy().build().unwrap();
    let mut asked = Vec::new();
    // Refused for want of a key, then answered: the name is the same.
    for key in ["=wrong", ADMIN_KEY] {
        for (method, route, body, action, names) in calls() {
            let trace = format!("{:032x}", asked.len() + 1);
            let path = route.replace("{key}", &segment(CONNECTION));
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let mut request = client.request(method, format!("{}{path}", server.url)).bearer_auth(key);
            request = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
            request = if body.is_null() { request } else { request.json(&body) };
            request.send().await.unwrap();
            asked.push((trace, route, action, key == ADMIN_KEY && names));
        }
    }
    server.signal("TERM");
    server.end();
    let records = home.done(&["audit", "export", "--data-dir", "data"]);
    let records: Vec<Value> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (trace, route, action, names) in asked {
        let of_call: Vec<&Value> = records.iter().filter(|record| record["trace_id"] == trace).collect();
        assert_eq!(of_call.len(), 1, "{route}");
        assert_eq!(of_call[0]["action"], action, "{route}: {}", of_call[0]);
        if names {
            assert_eq!(of_call[0]["connection"], CONNECTION, "{route}: {}", of_call[0]);
        }
    }
}
