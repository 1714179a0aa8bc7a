//! Queries, settings, likes and history: every endpoint's replies, whole.

use ringfence_testkit::Postgres;
use serde_json::json;

use crate::process::Server;
use crate::transcript::Transcript;
use crate::world::{World, connect, make_database};

#[tokio::test]
async fn queries() {
    let (server, postgres) = (Server::start().await, Postgres::shared().await);
    let world = World::make(&server).await;
    make_database(postgres, "query_db").await;
    let scope = connect(&server, &world.banana, postgres, "query_db").await;
    let banana = ("banana", world.banana.as_str());
    let mut script = Transcript::new(&server);
    script.replace(&postgres.port().to_string(), "5432");
    for query in [
        "SELECT current_database();",
        "SELECT id, title, \"Year\", id AS id FROM movies ORDER BY id",
        "SELECT 1 AS a, 9223372036854775807 AS big, 'NaN'::float8 AS nan, 1.10 AS num, true AS t, NULL AS n, '{1,NULL}'::int[] AS l, '{\"b\": [1]}'::jsonb AS j, '\\x00ff'::bytea AS b, date '2024-02-29' AS d",
        "CREATE TABLE made (id int)",
        "INSERT INTO made VALUES (1)",
        "SELECT * FROM nothing",
        "SELECT 1; SELECT 2",
        "BEGIN",
        "",
    ] {
        script.call(banana, "run-query", json!({ "scope": scope, "query": query })).await;
    }
    let capped =
        json!({ "scope": scope, "query": "SELECT * FROM generate_series(1, 5)", "max_returned_rows": 2 });
    script.call(banana, "run-query", capped).await;
    let schema = json!({ "schema_name": "INFORMATION_SCHEMA", "database_name": null });
    let body = json!({ "scope": scope, "query": "SELECT current_schema()", "current_schema": schema, "session_parameters": { "timezone": "UTC" } });
    script.call(banana, "run-query", body).await;
    let body = json!({ "scope": scope, "query": "SELECT 1", "session_parameters": { "role": "postgres" } });
    script.call(banana, "run-query", body).await;

    let submitted =
        script.call(banana, "submit-query", json!({ "scope": scope, "query": "SELECT 7 AS n" })).await;
    let id = submitted["query_id"].clone();
    script.call(banana, "get-query-result", json!({ "scope": scope, "query_id": id })).await;
    script.call(banana, "cancel-query", json!({ "scope": scope, "query_id": id })).await;
    script.call(banana, "get-query-result", json!({ "scope": scope, "query_id": "unknown" })).await;
    let failing = script.call(banana, "submit-query", json!({ "scope": scope, "query": "SELECT 1/0" })).await;
    script.call(banana, "get-query-result", json!({ "scope": scope, "query_id": failing["query_id"] })).await;
    for query in ["SELECT * FROM movies JOIN actors USING (id)", "SELECT nothing", "SELECT 1; SELECT 2"] {
        script.call(banana, "run-query-compiler", json!({ "scope": scope, "query": query })).await;
        script.call(banana, "apply-table-access-rules", json!({ "scope": scope, "query": query })).await;
    }
    insta::assert_snapshot!(script.text());
}

#[tokio::test]
async fn another_users_query_is_an_unknown_one() {
    let (server, postgres) = (Server::start().await, Postgres::shared().await);
    let world = World::make(&server).await;
    make_database(postgres, "shared_db").await;
    let scope = connect(&server, &world.banana, postgres, "shared_db").await;
    connect(&server, &world.apple, postgres, "shared_db").await;
    let submitted =
        server.done(&world.banana, "submit-query", &json!({ "scope": scope, "query": "SELECT 7" })).await;
    for endpoint in ["get-query-result", "cancel-query"] {
        let theirs = json!({ "scope": scope, "query_id": submitted["query_id"] });
        let unknown = json!({ "scope": scope, "query_id": "00000000-0000-4000-8000-000000000000" });
        let theirs = server.call(&world.apple, endpoint, &theirs).await;
        let unknown = server.call(&world.apple, endpoint, &unknown).await;
        assert_eq!((theirs.status.as_u16(), &theirs.text), (404, &unknown.text), "{endpoint}");
    }
}

#[tokio::test]
async fn settings() {
    let (server, postgres) = (Server::start().await, Postgres::shared().await);
    let world = World::make(&server).await;
    make_database(postgres, "setting_db").await;
    let scope = connect(&server, &world.banana, postgres, "setting_db").await;
    let mut script = Transcript::new(&server);
    script.replace(&postgres.port().to_string(), "5432");
    let name = "PUBLIC.LIKED_QUERIES.LEARNING_MODE";
    for (endpoint, mut body) in [
        ("list-parameters", json!({})),
        ("update-parameter", json!({ "parameter": name, "value": "single" })),
        ("update-parameter", json!({ "parameter": name, "value": "never" })),
        ("update-parameter", json!({ "parameter": name })),
        ("update-parameter", json!({ "parameter": "UNKNOWN", "value": 1 })),
        ("update-parameter", json!({ "parameter": name, "value": "single", "target_user_id": "apple-user" })),
        ("list-parameters", json!({})),
        ("delete-parameter", json!({ "parameter": name })),
        ("list-parameters", json!({})),
    ] {
        body["scope"] = json!(scope);
        script.call(("banana", &world.banana), endpoint, body).await;
    }
    insta::assert_snapshot!(script.text());
}

#[tokio::test]
async fn likes_and_history() {
    let (server, postgres) = (Server::start().await, Postgres::shared().await);
    let world = World::make(&server).await;
    make_database(postgres, "history_db").await;
    let scope = connect(&server, &world.banana, postgres, "history_db").await;
    let mut ran = Vec::new();
    for query in ["SELECT 1", "SELECT 2"] {
        let body = json!({ "scope": scope, "query": query });
        ran.push(server.done(&world.banana, "run-query", &body).await["query_uuid"].clone());
    }
    let mut script = Transcript::new(&server);
    script.replace(&postgres.port().to_string(), "5432");
    let like = |liked: bool| json!({ "ask": "How many?", "query": "SELECT 3", "liked": liked, "detailed_steps": ["count"] });
    for (endpoint, mut body) in [
        ("like-query", like(true)),
        ("like-query", json!({ "query_uuid": ran[0], "liked": true })),
        ("like-query", json!({ "liked": true })),
        ("like-query", json!({ "ask": "a", "query": "b", "liked": true, "target_org_id": "*" })),
        ("get-liked-query", json!({})),
        ("get-history", json!({})),
        ("get-history", json!({ "limit": 1, "timestamp_sort_order": "asc", "included_types": ["query"] })),
        ("get-history", json!({ "included_types": ["chart", "chat"] })),
        ("get-history", json!({ "liked_query_filter": true })),
        ("get-history", json!({ "uuid_filter": ran[0] })),
        ("get-generated-query-history", json!({ "limit": 1, "offset": 1 })),
        ("like-query", like(false)),
        ("get-liked-query", json!({})),
    ] {
        body["scope"] = json!(scope);
        script.call(("banana", &world.banana), endpoint, body).await;
    }
    insta::assert_snapshot!(script.text());
}
