//! `/v1/`: connections, catalogs, settings and likes.

use std::time::{Duration, Instant};

use ringfence_testkit::Postgres;
use serde_json::{Value, json};

use crate::process::Server;
use crate::v1_client::{V1, segment};
use crate::world::{World, connect, connection_to, key_to, make_database};

const NO_BODY: Value = Value::Null;

#[tokio::test]
async fn connections_live_and_go() {
    let (server, postgres) = (Server::start().await, Postgres::shared().await);
    let world = World::make(&server).await;
    make_database(postgres, "v1_db").await;
    let v1 = V1::of(&server);
    let key = world.banana.as_str();
    let body = connection_to(postgres, "v1_db");
    let name = key_to(postgres, "v1_db");
    let path = format!("/v1/connections/{}", segment(&name));

    let mut wrong = body.clone();
    wrong["password"] = json!("wrong");
    v1.refused(key, "POST", "/v1/connections?validate=true", wrong, 424, "SOURCE_CREDENTIALS").await;
    v1.refused(key, "POST", "/v1/connections", json!({"db_type": "abacus"}), 400, "INVALID_REQUEST").await;
    v1.refused(key, "GET", &path, NO_BODY, 404, "NOT_FOUND").await;
    let made = v1.expect(key, "POST", "/v1/connections?validate=true", body.clone(), 201).await;
    assert_eq!(made.header("location"), path);
    assert!(!made.text.contains("secret"), "a password came back: {}", made.text);
    v1.refused(key, "POST", "/v1/connections", body, 409, "ALREADY_EXISTS").await;

    v1.expect(key, "PUT", "/v1/connections/default", json!({"key": name}), 204).await;
    let list = v1.expect(key, "GET", "/v1/connections", NO_BODY, 200).await.json();
    assert_eq!((&list["default"], &list["items"][0]["key"]), (&json!(name), &json!(name)));
    assert_eq!(list["items"][0]["default"], true);

    let changed = v1.expect(key, "PATCH", &path, json!({"description": "Films"}), 200).await.json();
    assert_eq!(
        (&changed["spec"]["description"], &changed["spec"]["database"]),
        (&json!("Films"), &json!("v1_db"))
    );
    v1.refused(key, "PATCH", &path, json!({"database": "other"}), 400, "INVALID_REQUEST").await;
    let typo = v1.refused(key, "PATCH", &path, json!({"descriptoin": "x"}), 400, "INVALID_REQUEST").await;
    assert_eq!(typo["hint"], "did you mean `description`?");
    // The password was kept.
    v1.expect(key, "POST", &format!("{path}/query"), json!({"statement": "SELECT 1"}), 200).await;

    v1.expect(key, "POST", &format!("{path}/refresh"), NO_BODY, 202).await;
    wait_for_index(&v1, key, &path).await;
    v1.expect(key, "DELETE", &path, NO_BODY, 204).await;
    v1.refused(key, "DELETE", &path, NO_BODY, 404, "NOT_FOUND").await;
}

async fn wait_for_index(v1: &V1<'_>, key: &str, path: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = v1.expect(key, "GET", &format!("{path}/status"), NO_BODY, 200).await.json();
        if status["status"] == "completed" {
            return;
        }
        assert!(Instant::now() < deadline && status["status"] != "failed", "not indexed: {status}");
        tokio::time::sleep(Duration::from_millis(20)).await; // poll: until the deadline above
    }
}

#[tokio::test]
async fn a_catalog_is_read_and_described() {
    let (server, postgres) = (Server::start().await, Postgres::shared().await);
    let world = World::make(&server).await;
    make_database(postgres, "v1_catalog_db").await;
    let name = connect(&server, &world.banana, postgres, "v1_catalog_db").await;
    let v1 = V1::of(&server);
    let key = world.banana.as_str();
    let catalog = format!("/v1/connections/{}/catalog", segment(&name));

    v1.expect(key, "PUT", &format!("{catalog}/public"), json!({"summary": "Films and people"}), 204).await;
    let about = json!({"description": "Each film once", "columns": {"title": "As shown", "nothing": "x"}, "primary_key": ["title"]});
    let described = v1.expect(key, "PUT", &format!("{catalog}/public/movies"), about, 200).await.json();
    assert_eq!(described, json!({"columns": ["title"]}));
    v1.refused(key, "PUT", &format!("{catalog}/public/nothing"), json!({}), 400, "INVALID_REQUEST").await;
    v1.refused(
        key,
        "PUT",
        &format!("{catalog}/public/movies"),
        json!({"columns": {"a": 1}}),
        400,
        "INVALID_REQUEST",
    )
    .await;

    let seen =
        v1.expect(key, "GET", &format!("{catalog}?schema=public&table=mov*"), NO_BODY, 200).await.json();
    assert_eq!(seen["schemas"].as_array().unwrap().len(), 1);
    let schema = &seen["schemas"][0];
    assert_eq!(schema["description"]["summary"], "Films and people");
    assert_eq!(schema["tables"].as_array().unwrap().len(), 1);
    let table = &schema["tables"][0];
    assert_eq!(
        (&table["name"], &table["kind"], &table["comment"]),
        (&json!("movies"), &json!("table"), &json!("Films"))
    );
    assert_eq!(table["description"], "Each film once");
    assert_eq!(table["constraints"], json!([{"kind": "primary", "columns": ["title"]}]));
    assert_eq!(
        table["columns"][1],
        json!({"name": "title", "type": "text", "nullable": false, "comment": "In English", "description": "As shown"})
    );
    let nothing = v1.expect(key, "GET", &format!("{catalog}?table=nothing"), NO_BODY, 200).await.json();
    assert_eq!(nothing["schemas"], json!([]));
}

#[tokio::test]
async fn settings_and_likes() {
    let (server, postgres) = (Server::start().await, Postgres::shared().await);
    let world = World::make(&server).await;
    make_database(postgres, "v1_settings_db").await;
    let name = connect(&server, &world.banana, postgres, "v1_settings_db").await;
    let v1 = V1::of(&server);
    let key = world.banana.as_str();
    let path = format!("/v1/connections/{}", segment(&name));

    let one = format!("{path}/parameters/PUBLIC.REFLECTION.ENABLED");
    v1.expect(key, "PUT", &one, json!({"value": true}), 204).await;
    let value = async || {
        let list = v1.expect(key, "GET", &format!("{path}/parameters"), NO_BODY, 200).await.json();
        let items = list["items"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["name"] == "PUBLIC.REFLECTION.ENABLED").unwrap()["value"].clone()
    };
    assert_eq!(value().await, true);
    v1.refused(key, "PUT", &one, json!({"value": "perhaps"}), 400, "INVALID_REQUEST").await;
    v1.refused(
        key,
        "PUT",
        &one,
        json!({"value": true, "target": {"user": "apple-user"}}),
        403,
        "NOT_PERMITTED",
    )
    .await;
    v1.expect(key, "DELETE", &one, NO_BODY, 204).await;
    assert_eq!(value().await, false);

    let likes = format!("{path}/likes");
    v1.expect(
        key,
        "PUT",
        &likes,
        json!({"ask": "How many?", "statement": "SELECT count(*) FROM movies"}),
        204,
    )
    .await;
    v1.refused(key, "PUT", &likes, json!({"ask": "How many?"}), 400, "INVALID_REQUEST").await;
    let list = v1.expect(key, "GET", &likes, NO_BODY, 200).await.json();
    assert_eq!((&list["items"][0]["ask"], &list["items"][0]["own"]), (&json!("How many?"), &json!(true)));
    let id = list["items"][0]["id"].as_str().unwrap();
    v1.expect(key, "DELETE", &format!("{likes}?query_id={id}"), NO_BODY, 204).await;
    assert_eq!(v1.expect(key, "GET", &likes, NO_BODY, 200).await.json(), json!({"items": []}));
}
