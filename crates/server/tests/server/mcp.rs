//! The door for agents, without an SDK: who is let in, what is told to whom, and what stays on record.

use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::process::{ADMIN_KEY, Answer, Server};
use crate::v1_client::{V1, read, segment};
use crate::world::{SharedConnection, World};

const POLICY: &str = "models:
  Movie:
    table: public.movies
    row_policies:
      - { name: old, condition: '\"Year\" < 1980' }
    write_policy: { create: allow, update: allow, delete: deny }
";

/// A message of somebody's agent.
pub(crate) fn message(v1: &V1<'_>, key: &str, body: &Value) -> RequestBuilder {
    v1.request(key, "POST", "/mcp").header("accept", "application/json, text/event-stream").json(body)
}

/// A call of a tool, as a message.
pub(crate) fn tool(name: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}})
}

/// The tools that somebody's agent is offered, by name.
async fn offered(v1: &V1<'_>, key: &str) -> Vec<(String, Value)> {
    let listing = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let answer = read(message(v1, key, &listing)).await.json();
    let tools =
        answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("no tools in {answer}")).clone();
    tools
        .into_iter()
        .map(|tool| (tool["name"].as_str().unwrap().to_owned(), tool["inputSchema"].clone()))
        .collect()
}

/// What a tool answers: its data, or its refusal's code.
async fn call(v1: &V1<'_>, key: &str, name: &str, arguments: Value) -> Result<Value, String> {
    let answer = read(message(v1, key, &tool(name, &arguments))).await.json();
    let result = &answer["result"];
    match result["isError"].as_bool() {
        Some(false) => Ok(result["structuredContent"].clone()),
        _ => Err(result["structuredContent"]["error"]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()),
    }
}

#[tokio::test]
async fn tools_follow_the_switch_of_the_connection() {
    let server = Server::start().await;
    let SharedConnection { boss, banana, key } = SharedConnection::make(&server, "mcp_switch").await;
    let v1 = V1::of(&server);
    let at = json!({ "connection": key });
    // Without a policy there is nothing but the list.
    let names =
        |tools: &[(String, Value)]| tools.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(names(&offered(&v1, &banana).await), "list_connections");
    let sql = json!({"connection": key, "statement": "SELECT 1"});
    assert_eq!(call(&v1, &banana, "run_sql", sql.clone()).await, Err("NOT_PERMITTED".to_owned()));

    v1.put_policy(&boss, &key, POLICY).await;
    let reading = "list_connections describe_schema query get aggregate run_sql explain";
    let tools = offered(&v1, &banana).await;
    assert_eq!(names(&tools), reading);
    assert_eq!(tools[2].1["properties"]["model"]["enum"], json!(["Movie"]));
    assert_eq!(tools[2].1["properties"]["connection"]["enum"], json!([key]));
    let new =
        json!({"connection": key, "model": "Movie", "data": {"id": 9, "title": "Zardoz", "Year": 1974}});
    let refused = call(&v1, &banana, "create", new.clone()).await.unwrap_err();
    assert!(["WRITE_DENIED", "WRITE_DISABLED"].contains(&refused.as_str()), "{refused}");

    let path = format!("/v1/connections/{}", segment(&key));
    let put =
        async |tools: &str| v1.expect(&banana, "PATCH", &path, json!({ "agent_tools": tools }), 200).await;
    assert_eq!(put("read-write").await.json()["spec"]["agent_tools"], "read-write");
    let writing = "list_connections describe_schema query get aggregate create bulk_create update bulk_update run_sql explain";
    assert_eq!(names(&offered(&v1, &banana).await), writing, "what the policy denies is not offered");
    assert_eq!(call(&v1, &banana, "create", new).await.unwrap()["affected"], 1);
    // The SDK, which does not know the switch, leaves it as it is.
    let list = server.done(&banana, "update-db-connect-info", &json!({})).await;
    let mut known = list["connectors"].as_array().and_then(|all| all.first()).cloned().unwrap_or_default();
    known["password"] = json!("secret");
    known.as_object_mut().unwrap().remove("agent_tools");
    server.done(&banana, "update-db-connect-info", &json!({ "updated": [known] })).await;
    assert_eq!(
        v1.expect(&banana, "GET", &path, Value::Null, 200).await.json()["spec"]["agent_tools"],
        "read-write"
    );

    put("none").await;
    assert_eq!(names(&offered(&v1, &banana).await), "list_connections");
    assert_eq!(call(&v1, &banana, "run_sql", sql).await, Err("NOT_FOUND".to_owned()));
    assert_eq!(call(&v1, &banana, "list_connections", json!({})).await.unwrap()["connections"], json!([]));
    v1.expect(&banana, "GET", &path, Value::Null, 200).await;
    v1.expect(&banana, "PATCH", &path, json!({"agent_tools": "all"}), 400).await;
    assert_eq!(call(&v1, &boss, "describe_schema", at).await.unwrap()["models"][0]["name"], "Movie");
}

#[tokio::test]
async fn a_call_is_recorded_once_with_its_code() {
    let server = Server::start().await;
    let SharedConnection { boss, banana, key } = SharedConnection::make(&server, "mcp_record").await;
    let v1 = V1::of(&server);
    v1.put_policy(&boss, &key, POLICY).await;
    let ask = async |key: &str, body: Value| -> Answer { read(message(&v1, key, &body)).await };
    let get = |id: i64| tool("get", &json!({"connection": key, "model": "Movie", "id": id}));
    let done = ask(&banana, get(1)).await;
    assert_eq!(done.json()["result"]["isError"], false, "{}", done.text);
    let refused = ask(&banana, get(2)).await;
    assert_eq!(
        refused.json()["result"]["structuredContent"]["error"]["trace_id"],
        refused.header("x-request-id")
    );
    let wrong = ask(&banana, tool("get", &json!({"connection": key, "model": "Movie", "nothing": 1}))).await;
    let nobody = ask("no-key", get(1)).await;
    assert_eq!(nobody.status, 401);
    for (answer, action, decision, code) in [
        (done, "get-model", "allowed", Value::Null),
        (refused, "get-model", "refused", json!("NOT_FOUND")),
        (wrong, "get-model", "refused", json!("INVALID_REQUEST")),
        (nobody, "mcp-message", "refused", json!("KEY_UNKNOWN")),
    ] {
        let path = format!("/v1/audit?trace_id={}", answer.header("x-request-id"));
        let deadline = Instant::now() + Duration::from_secs(10);
        let found = loop {
            let found = v1.expect(ADMIN_KEY, "GET", &path, Value::Null, 200).await.json()["items"].clone();
            if found.as_array().is_some_and(|found| !found.is_empty()) {
                break found;
            }
            assert!(Instant::now() < deadline, "no record of {}", answer.text);
            tokio::time::sleep(Duration::from_millis(5)).await; // poll: until the deadline above
        };
        assert_eq!(found.as_array().unwrap().len(), 1, "one call, one record: {found}");
        let record = &found[0];
        let seen = [&record["door"], &record["action"], &record["decision"]];
        assert_eq!(seen, [&json!("mcp"), &json!(action), &json!(decision)], "{record}");
        assert_eq!(record.get("code").cloned().unwrap_or_default(), code, "{record}");
    }
}

#[tokio::test]
async fn the_door_can_stay_shut() {
    let server = Server::start_with(&[("RINGFENCE_MCP__ENABLED", "false")]).await;
    let world = World::make(&server).await;
    let v1 = V1::of(&server);
    let listing = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    assert_eq!(read(message(&v1, &world.banana, &listing)).await.status, 404);
    v1.expect("", "GET", "/.well-known/oauth-protected-resource", Value::Null, 404).await;
}
