//! Who may not, and what is not there: each refusal of /api/, whole.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::process::{ADMIN_KEY, Answer, Server};
use crate::transcript::Transcript;
use crate::world::{World, connection_to, key_of};

/// Endpoints with a body that would be right, if only the caller were. `{scope}` stands in a field `scope`.
fn every_endpoint() -> Vec<(&'static str, Value)> {
    let scoped = |mut body: Value| {
        body["scope"] = json!("postgresql://nobody@nowhere/none");
        body
    };
    let table = json!({ "table_name": "t", "schema_name": "s", "database_name": "d" });
    vec![
        ("get-user-info", json!({})),
        ("create-key", json!({ "name": "n" })),
        ("list-access-keys", json!({})),
        ("delete-access-keys", json!({ "names": ["n"] })),
        ("update-config", json!({})),
        ("create-user", json!({ "user": { "id": "u" } })),
        ("update-user", json!({ "user": { "id": "u" } })),
        ("delete-user", json!({ "id": "u" })),
        ("list-users", json!({})),
        ("create-tenant", json!({ "tenant": { "id": "t", "name": "T" } })),
        ("update-tenant", json!({ "tenant": { "id": "t", "name": "T" } })),
        ("delete-tenant", json!({ "id": "t" })),
        ("list-tenants", json!({})),
        ("create-org", json!({ "organization": { "id": "o", "name": "O" } })),
        ("update-org", json!({ "organization": { "id": "o", "name": "O" } })),
        ("delete-org", json!({ "id": "o" })),
        ("list-orgs", json!({})),
        ("update-db-connect-info", json!({})),
        ("refresh-db-connection", json!({ "db_conn_key": "postgresql://nobody@nowhere/none" })),
        ("get-models", json!({})),
        ("get-table-definitions", scoped(json!({}))),
        ("update-table-description", scoped(json!({ "table_name": table, "description": "d" }))),
        (
            "update-schema-description",
            scoped(json!({ "schema_name": { "schema_name": "s" }, "description": "d" })),
        ),
        ("update-column-description", scoped(json!({ "col_descriptions": [] }))),
        ("update-constraint", scoped(json!({ "updated_constraints": [] }))),
        ("update-table-definitions", scoped(json!({ "updated_tables": [] }))),
        ("run-query", scoped(json!({ "query": "SELECT 1" }))),
        ("submit-query", scoped(json!({ "query": "SELECT 1" }))),
        ("get-query-result", scoped(json!({ "query_id": "q" }))),
        ("cancel-query", scoped(json!({ "query_id": "q" }))),
        ("run-query-compiler", scoped(json!({ "query": "SELECT 1" }))),
        ("apply-table-access-rules", scoped(json!({ "query": "SELECT 1" }))),
        ("list-parameters", scoped(json!({}))),
        ("update-parameter", scoped(json!({ "parameter": "PUBLIC.REFLECTION.ENABLED", "value": true }))),
        ("delete-parameter", scoped(json!({ "parameter": "PUBLIC.REFLECTION.ENABLED" }))),
        ("like-query", scoped(json!({ "ask": "a", "query": "q", "liked": true }))),
        ("get-liked-query", scoped(json!({}))),
        ("get-history", scoped(json!({}))),
        ("get-generated-query-history", scoped(json!({}))),
        ("update-table-access-rules", scoped(json!({ "rules": [] }))),
        ("remove-table-access-rules", scoped(json!({ "rules": [] }))),
        ("list-table-access-rules", scoped(json!({}))),
        ("generate-query", scoped(json!({}))),
        ("describe-query", scoped(json!({}))),
        ("chat-message", scoped(json!({}))),
        ("get-semantic-context", scoped(json!({}))),
        ("create-user-secret", json!({})),
    ]
}

fn short(answer: &Answer) -> String {
    format!("{} {}", answer.status.as_u16(), answer.detail())
}

#[tokio::test]
async fn without_a_valid_key_every_endpoint_answers_401() {
    let server = Server::start().await;
    for (endpoint, body) in every_endpoint() {
        let without = server.send(endpoint, &[], body.to_string()).await;
        assert_eq!(without.status, 401, "{endpoint}: {}", without.text);
        assert_eq!(without.header("www-authenticate"), "Bearer");
        for key in ["nonsense", "ABC123", "abc1234", "abc12"] {
            assert_eq!(server.call(key, endpoint, &body).await.status, 401, "{endpoint} with {key}");
        }
        assert_eq!(without.json().as_object().unwrap().len(), 1, "only a detail: {}", without.text);
    }
}

#[tokio::test]
async fn every_refusal_of_an_ordinary_user() {
    let server = Server::start().await;
    let world = World::make(&server).await;
    let mut text = String::new();
    for (endpoint, body) in every_endpoint() {
        let answer = server.call(&world.banana, endpoint, &body).await;
        if answer.status != 200 {
            let _ = writeln!(text, "{endpoint}: {}", short(&answer));
        }
    }
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn a_scope_is_checked_on_every_endpoint_that_has_one() {
    let server = Server::start().await;
    let world = World::make(&server).await;
    for (endpoint, mut body) in every_endpoint().into_iter().filter(|(_, body)| body.get("scope").is_some()) {
        let unknown = server.call(&world.banana, endpoint, &body).await;
        if unknown.status == 501 || unknown.status == 403 {
            continue;
        }
        assert_eq!(unknown.status, 404, "{endpoint}: {}", unknown.text);
        for scope in [json!(null), json!(""), json!(" ")] {
            body["scope"] = scope;
            assert_eq!(server.call(&world.banana, endpoint, &body).await.status, 400, "{endpoint}");
        }
        body["scope"] = json!(["x"]);
        let wrong = server.call(&world.banana, endpoint, &body).await;
        assert_eq!(short(&wrong), "400 scope: invalid type: a list, expected a string", "{endpoint}");
    }
}

#[tokio::test]
async fn somebody_elses_connection_is_answered_like_none() {
    let server = Server::start().await;
    let world = World::make(&server).await;
    let postgres = ringfence_testkit::Postgres::shared().await;
    let body = json!({ "updated": [connection_to(postgres, "not_made")] });
    server.done(&world.banana, "update-db-connect-info", &body).await;
    let theirs = crate::world::key_to(postgres, "not_made");
    for (endpoint, mut body) in every_endpoint().into_iter().filter(|(_, body)| body.get("scope").is_some()) {
        let none = server.call(&world.apple, endpoint, &body).await;
        body["scope"] = json!(theirs);
        for key in [&world.apple, &world.stone] {
            let some = server.call(key, endpoint, &body).await;
            assert_eq!((none.status, &none.text), (some.status, &some.text), "{endpoint}");
        }
    }
}

#[tokio::test]
async fn impersonation() {
    let server = Server::start().await;
    let world = World::make(&server).await;
    let boss = json!({ "user": { "id": "fruit-boss", "tenant_id": "apple-tenant", "roles": ["waii-org-admin-user"] } });
    server.done(ADMIN_KEY, "create-user", &boss).await;
    let boss = key_of(&server, "fruit-boss").await;
    let as_user = async |key: &str, user: &str| {
        let authorization = format!("Bearer {key}");
        let headers = [("authorization", authorization.as_str()), ("x-waii-impersonate-user", user)];
        server.send("get-user-info", &headers, "{}").await
    };
    for (key, user) in [(ADMIN_KEY, "stone-user"), (boss.as_str(), "banana-user"), (&boss, "fruit-boss")] {
        let answer = as_user(key, user).await;
        assert_eq!(answer.json()["id"], user, "{}", answer.text);
    }
    let mut refusals = Vec::new();
    for (key, user) in [
        (boss.as_str(), "stone-user"),
        (&boss, "my_org_id"),
        (&boss, "nobody"),
        (&boss, "Banana-User"),
        (&world.banana, "banana-user"),
        (&world.banana, "apple-user"),
    ] {
        let answer = as_user(key, user).await;
        assert_eq!(answer.status, 403, "{user}: {}", answer.text);
        refusals.push(answer.text);
    }
    assert!(refusals.iter().all(|text| *text == refusals[0]), "one answer for all: {refusals:?}");
    for user in ["", " "] {
        assert_eq!(as_user(ADMIN_KEY, user).await.status, 400, "an empty name is not ignored");
    }
}

#[tokio::test]
async fn paths_and_methods() {
    let server = Server::start().await;
    let mut script = Transcript::new(&server);
    for endpoint in
        ["no-such-endpoint", "run-query/", "run-query/x", "Run-Query", "", "get-semantic-layer-dump"]
    {
        script.call(crate::world::ADMIN, endpoint, json!({})).await;
    }
    for path in ["run-query", "ping", "no-such-endpoint"] {
        let answer = server.get(&format!("{}/api/{path}", server.url)).await;
        script.record("GET", path, &Value::Null, &answer);
    }
    insta::assert_snapshot!(script.text());
}
