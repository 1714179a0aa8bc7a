//! `/v1/`: queries, in every form of answer.

use ringfence_testkit::Postgres;
use serde_json::{Value, json};

use crate::process::{Answer, Server};
use crate::v1_client::{V1, read, segment};
use crate::world::{World, connect, make_database};

const NO_BODY: Value = Value::Null;

/// A connection of banana-user's: (server, key, path).
async fn connected(database: &str) -> (Server, String, String) {
    let (server, postgres) = (Server::start().await, Postgres::shared().await);
    let world = World::make(&server).await;
    make_database(postgres, database).await;
    let name = connect(&server, &world.banana, postgres, database).await;
    (server, world.banana, format!("/v1/connections/{}", segment(&name)))
}

async fn run(v1: &V1<'_>, key: &str, path: &str, accept: &str, body: Value) -> Answer {
    read(v1.request(key, "POST", &format!("{path}/query")).header("accept", accept).json(&body)).await
}

const SAMPLE: &str =
    "SELECT id, title AS t, \"Year\" AS t, 'a,\"b\"' AS q FROM movies WHERE id > 1 ORDER BY id";

#[tokio::test]
async fn a_result_comes_in_the_form_that_is_asked_for() {
    let (server, key, path) = connected("v1_forms_db").await;
    let v1 = V1::of(&server);
    let ask = async |accept: &str| run(&v1, &key, &path, accept, json!({"statement": SAMPLE})).await;

    let whole = ask("*/*").await;
    assert_eq!(whole.header("content-type"), "application/json");
    let result = whole.json();
    assert_eq!(result["query_id"], whole.header("x-query-id"));
    assert_eq!(result["columns"][2], json!({"name": "t", "type": "int4"}));
    assert_eq!(result["rows"], json!([[2, "Brazil", 1985, "a,\"b\""], [3, "Heat", null, "a,\"b\""]]));
    assert_eq!((&result["more_rows"], result.get("affected")), (&json!(0), None));

    let csv = ask("text/csv").await;
    assert_eq!(csv.header("content-type"), "text/csv");
    assert_eq!(csv.text, "id,t,t,q\r\n2,Brazil,1985,\"a,\"\"b\"\"\"\r\n3,Heat,,\"a,\"\"b\"\"\"\r\n");

    let lines = ask("application/x-ndjson").await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    assert_eq!(
        lines.text,
        "{\"id\":2,\"t\":\"Brazil\",\"t_1\":1985,\"q\":\"a,\\\"b\\\"\"}\n{\"id\":3,\"t\":\"Heat\",\"t_1\":null,\"q\":\"a,\\\"b\\\"\"}\n"
    );
    for answer in [&whole, &csv, &lines] {
        assert_eq!(answer.header("vary"), "accept");
        assert!(!answer.header("x-query-id").is_empty());
    }
    let unknown = ask("text/html").await;
    assert_eq!((unknown.status.as_u16(), &unknown.json()["code"]), (406, &json!("NOT_ACCEPTABLE")));
}

#[tokio::test]
async fn refusals_are_problems_in_every_form() {
    let (server, key, path) = connected("v1_problems_db").await;
    let v1 = V1::of(&server);
    let cases = [
        (json!({"statement": "SELECT * FROM nothing"}), 422, "QUERY_FAILED"),
        (json!({"statement": "SELECT 1; SELECT 2"}), 400, "QUERY_REFUSED"),
        (json!({"statement": "SELECT pg_sleep(20)", "timeout_ms": 50}), 422, "QUERY_TIMED_OUT"),
        (json!({"statement": "SELECT 1/0"}), 422, "QUERY_FAILED"),
        (json!({"statement": 1}), 400, "INVALID_REQUEST"),
        (
            json!({"statement": "SELECT 1", "session_parameters": {"role": "postgres"}}),
            400,
            "INVALID_REQUEST",
        ),
    ];
    for (body, status, code) in cases {
        for accept in ["application/json", "text/csv", "application/x-ndjson"] {
            let answer = run(&v1, &key, &path, accept, body.clone()).await;
            assert_eq!(
                answer.header("content-type"),
                "application/problem+json",
                "{body} {accept}: {}",
                answer.text
            );
            assert_eq!(
                (answer.status.as_u16(), &answer.json()["code"]),
                (status, &json!(code)),
                "{body} {accept}"
            );
        }
    }
}

#[tokio::test]
async fn a_statement_without_a_result_says_what_it_changed() {
    let (server, key, path) = connected("v1_changes_db").await;
    let v1 = V1::of(&server);
    let insert = json!({"statement": "INSERT INTO movies VALUES (4, 'Ran', 1985), (5, 'Tár', 2022)"});
    let result = run(&v1, &key, &path, "application/json", insert).await.json();
    assert_eq!(
        (&result["affected"], &result["rows"], &result["columns"]),
        (&json!(2), &json!([]), &json!([]))
    );
    let empty = run(&v1, &key, &path, "text/csv", json!({"statement": "CREATE TABLE made (id int)"})).await;
    assert_eq!((empty.status.as_u16(), empty.text.as_str()), (200, ""));
    let capped = json!({"statement": "SELECT id FROM movies ORDER BY id", "max_rows": 2});
    let result = run(&v1, &key, &path, "application/json", capped.clone()).await.json();
    assert_eq!(result["rows"], json!([[1], [2]]));
    assert!(result["more_rows"].as_u64().unwrap() > 0, "{result}");
    assert_eq!(run(&v1, &key, &path, "text/csv", capped).await.text, "id\r\n1\r\n2\r\n");
}

#[tokio::test]
async fn a_hundred_thousand_rows_stream() {
    let (server, key, path) = connected("v1_stream_db").await;
    let v1 = V1::of(&server);
    let body = json!({"statement": "SELECT g, 'row ' || g AS text FROM generate_series(1, 100000) g", "max_rows": 100_000});
    let lines = run(&v1, &key, &path, "application/x-ndjson", body.clone()).await;
    assert_eq!(lines.status, 200, "{}", lines.text);
    assert_eq!(lines.text.lines().count(), 100_000);
    assert_eq!(lines.text.lines().last(), Some(r#"{"g":100000,"text":"row 100000"}"#));
    let csv = run(&v1, &key, &path, "text/csv", body).await;
    assert_eq!(csv.text.lines().count(), 100_001);
    assert_eq!(csv.text.lines().last(), Some("100000,row 100000"));
}

#[tokio::test]
async fn a_failure_after_rows_were_sent_does_not_look_like_an_end() {
    let (server, key, path) = connected("v1_late_db").await;
    let v1 = V1::of(&server);
    let late = "SELECT g, 1 / (90000 - g) AS n, repeat('x', 100) AS t FROM generate_series(1, 100000) g";
    let body = json!({"statement": late, "max_rows": 100_000});
    let lines = run(&v1, &key, &path, "application/x-ndjson", body.clone()).await;
    let last: Value = serde_json::from_str(lines.text.lines().last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "QUERY_FAILED", "{last}");
    assert_eq!(last["error"]["trace_id"], lines.header("x-request-id"));
    assert!(lines.text.lines().count() > 1000);

    let response =
        v1.request(&key, "POST", &format!("{path}/query")).header("accept", "text/csv").json(&body);
    let response = response.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.text().await.is_err(), "a broken CSV came to an orderly end");
}

#[tokio::test]
async fn a_query_is_submitted_fetched_and_cancelled() {
    let (server, key, path) = connected("v1_submit_db").await;
    let v1 = V1::of(&server);
    let queries = format!("{path}/queries");
    let submitted = v1
        .expect(&key, "POST", &queries, json!({"statement": "SELECT 7 AS n UNION ALL SELECT 8"}), 202)
        .await;
    let place = submitted.header("location");
    assert_eq!(place, format!("/v1/queries/{}", submitted.json()["query_id"].as_str().unwrap()));
    for _ in 0..2 {
        let result = v1.expect(&key, "GET", place, NO_BODY, 200).await.json();
        assert_eq!(result["rows"], json!([[7], [8]]));
    }
    let part = v1.expect(&key, "GET", &format!("{place}?max_rows=1"), NO_BODY, 200).await.json();
    assert_eq!((&part["rows"], &part["more_rows"]), (&json!([[7]]), &json!(1)));
    v1.expect(&key, "DELETE", place, NO_BODY, 204).await;

    let slow = v1.expect(&key, "POST", &queries, json!({"statement": "SELECT pg_sleep(60)"}), 202).await;
    v1.expect(&key, "DELETE", slow.header("location"), NO_BODY, 204).await;
    v1.refused(&key, "GET", slow.header("location"), NO_BODY, 409, "QUERY_CANCELLED").await;
    v1.refused(&key, "DELETE", "/v1/queries/unknown", NO_BODY, 404, "NOT_FOUND").await;
}

#[tokio::test]
async fn statements_compile_and_leave_a_history() {
    let (server, key, path) = connected("v1_history_db").await;
    let v1 = V1::of(&server);
    let compile = async |statement: &str| {
        v1.expect(&key, "POST", &format!("{path}/compile"), json!({"statement": statement}), 200).await.json()
    };
    let fine = compile("SELECT title FROM movies").await;
    assert_eq!(
        fine,
        json!({"compiles": true, "error": null, "tables": [{"schema": "public", "table": "movies"}]})
    );
    let wrong = compile("SELECT nothing FROM movies").await;
    assert_eq!(wrong["compiles"], false);
    assert!(wrong["error"].as_str().unwrap().contains("nothing"), "{wrong}");

    for number in 1..=3 {
        let body = json!({"statement": format!("SELECT {number}")});
        run(&v1, &key, &path, "application/json", body).await;
    }
    let history = format!("{path}/history");
    let page =
        v1.expect(&key, "GET", &format!("{history}?limit=2&order=oldest_first"), NO_BODY, 200).await.json();
    let statements: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|item| item["statement"].clone()).collect();
    assert_eq!(statements, ["SELECT 1", "SELECT 2"]);
    assert_eq!(page["next"], 2);
    let rest = v1
        .expect(&key, "GET", &format!("{history}?limit=2&offset=2&order=oldest_first"), NO_BODY, 200)
        .await
        .json();
    assert_eq!((&rest["items"][0]["statement"], &rest["next"]), (&json!("SELECT 3"), &NO_BODY));
    v1.refused(&key, "GET", &format!("{history}?limit=x"), NO_BODY, 400, "INVALID_REQUEST").await;
}
