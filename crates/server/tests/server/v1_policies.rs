//! Policies over HTTP: put, read, look back, roll back, and what they make of queries.

use serde_json::{Value, json};

use crate::process::{ADMIN_KEY, Answer, Server};
use crate::v1_client::{V1, read, segment};
use crate::world::{SharedConnection, World, key_of};

const DOCUMENT: &str = "# Films of the last century\nmodels:\n  Movie:\n    table: public.movies\n    row_policies:\n      \
                        - { name: old, condition: '\"Year\" < 1980' }\n    fields: { id: { action: allow } }\n    \
                        other_fields: allow\n";

struct Shop<'a> {
    v1: V1<'a>,
    boss: String,
    banana: String,
    path: String,
    queries: String,
}

impl<'a> Shop<'a> {
    async fn open(server: &'a Server, name: &str) -> Self {
        let SharedConnection { boss, banana, key } = SharedConnection::make(server, name).await;
        let (path, queries) =
            (format!("/v1/policies/{}", segment(&key)), format!("/v1/connections/{}/query", segment(&key)));
        Self { v1: V1::of(server), boss, banana, path, queries }
    }

    async fn put(&self, document: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request =
            self.v1.request(&self.boss, "PUT", &self.path).header("content-type", "application/yaml");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.body(document.to_owned())).await
    }

    async fn titles(&self) -> Value {
        let body = json!({"statement": "SELECT title FROM movies ORDER BY id"});
        self.v1.expect(&self.banana, "POST", &self.queries, body, 200).await.json()["rows"].clone()
    }
}

#[tokio::test]
async fn policies_are_put_and_come_back() {
    let server = Server::start().await;
    let shop = Shop::open(&server, "v1_policies").await;
    let (v1, boss, path) = (&shop.v1, shop.boss.as_str(), shop.path.as_str());
    v1.refused(boss, "GET", path, Value::Null, 404, "NOT_FOUND").await;
    assert_eq!(shop.titles().await, json!([["Alien"], ["Brazil"], ["Heat"]]));

    let put = shop.put(DOCUMENT, &[("if-none-match", "*")]).await;
    assert_eq!((put.status.as_u16(), put.header("etag")), (201, "\"1\""), "{}", put.text);
    assert_eq!(put.json()["author"], "boss");
    assert_eq!(shop.titles().await, json!([["Alien"]]));
    let stored = v1.expect(boss, "GET", path, Value::Null, 200).await;
    assert_eq!((stored.header("etag"), &stored.json()["document"]), ("\"1\"", &json!(DOCUMENT)));

    for stale in
        [[("if-none-match", "*")], [("if-match", "\"2\"")], [("if-match", "W/\"1\"")], [("if-match", "1")]]
    {
        let refused = shop.put("models: {}", &stale).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (412, &json!("PRECONDITION_FAILED")));
    }
    let put = shop.put("models: {}", &[("if-match", "\"1\"")]).await;
    assert_eq!((put.status.as_u16(), put.header("etag")), (200, "\"2\""), "{}", put.text);
    let body = json!({"statement": "SELECT title FROM movies"});
    v1.refused(&shop.banana, "POST", &shop.queries, body, 422, "RELATION_UNKNOWN").await;

    let back = v1.expect(boss, "POST", &format!("{path}/roll-back"), json!({"version": 1}), 200).await;
    assert_eq!((back.header("etag"), &back.json()["comment"]), ("\"3\"", &json!("back to version 1")));
    assert_eq!(shop.titles().await, json!([["Alien"]]));
    let history = v1.expect(boss, "GET", &format!("{path}/history"), Value::Null, 200).await.json();
    let versions: Vec<_> = history["items"].as_array().unwrap().iter().map(|item| &item["version"]).collect();
    assert_eq!(versions, [3, 2, 1]);
    // Parameters and a reason go along.
    let body = json!({"statement": "SELECT title FROM movies WHERE id = $1", "parameters": ["1"], "reason": "why not"});
    let found = v1.expect(&shop.banana, "POST", &shop.queries, body, 200).await.json();
    assert_eq!(found["rows"], json!([["Alien"]]));
    // A tenant's own people may not.
    v1.refused(&shop.banana, "GET", path, Value::Null, 403, "NOT_PERMITTED").await;
    v1.refused(&shop.banana, "PUT", path, json!({"models": {}}), 403, "NOT_PERMITTED").await;
}

#[tokio::test]
async fn all_that_is_wrong_with_a_policy_is_told() {
    let server = Server::start().await;
    let shop = Shop::open(&server, "v1_policy_problems").await;
    let refused = shop.put("models:\n  Movie: { table: public.movies, skoping: {} }\n", &[]).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["code"]),
        (422, &json!("POLICY_INVALID")),
        "{}",
        refused.text
    );
    let problem = &refused.json()["problems"][0];
    assert_eq!(problem["line"], 2, "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("skoping"), "{problem}");
    let put = shop.put("models:\n  Movie: { table: public.movies, fields: { tilte: deny } }\n", &[]).await;
    assert_eq!(put.status, 201, "{}", put.text);
    let warning = put.json()["warnings"][0].clone();
    assert!(warning["message"].as_str().unwrap().contains("tilte") && warning["line"] == 2, "{warning}");
    let odd = shop.v1.request(&shop.boss, "PUT", &shop.path).header("content-type", "image/png").body("x");
    assert_eq!(read(odd).await.status, 415);
    let odd =
        shop.v1.request(&shop.boss, "PUT", &shop.path).header("content-type", "text/yaml").body(vec![0xff]);
    assert_eq!(read(odd).await.status, 400);
}

impl Shop<'_> {
    async fn send(&self, verb: &str, what: &str, document: &str, headers: &[(&str, &str)]) -> Answer {
        let path = format!("{}{what}", self.path);
        let mut request = self.v1.request(&self.boss, verb, &path).header("content-type", "application/yaml");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.body(document.to_owned())).await
    }
}

#[tokio::test]
async fn a_document_is_looked_at_before_it_counts() {
    let server = Server::start().await;
    let shop = Shop::open(&server, "v1_policy_looks").await;
    let checked =
        shop.send("POST", "/check", "models:\n  Movie: { table: public.movies, roles: [] }\n", &[]).await;
    assert_eq!(checked.status, 200, "{}", checked.text);
    let warning = &checked.json()["warnings"][0];
    assert_eq!(
        (checked.json()["valid"].clone(), checked.json()["indexed"].clone()),
        (json!(true), json!(true))
    );
    assert_eq!(
        (&warning["code"], &warning["line"], &warning["relation"]),
        (&json!("RULE_EMPTY"), &json!(2), &json!("public.movies")),
        "{warning}"
    );
    let checked = shop.send("POST", "/check", "modles: {}\n", &[]).await.json();
    assert_eq!((&checked["valid"], &checked["problems"][0]["line"]), (&json!(false), &json!(1)), "{checked}");
    shop.v1.refused(&shop.boss, "GET", &shop.path, Value::Null, 404, "NOT_FOUND").await;

    let effect = shop.send("POST", "/diff?users=banana-user", DOCUMENT, &[]).await;
    assert_eq!(effect.status, 200, "{}", effect.text);
    let effect = effect.json();
    assert_eq!((&effect["version"], &effect["users"]), (&Value::Null, &json!(1)));
    let movies = &effect["groups"][0]["relations"][1];
    assert_eq!(
        (&movies["relation"], &movies["after"]),
        (&json!("public.movies"), &json!("visible")),
        "{effect}"
    );
    let rows = &movies["rows"][0];
    assert_eq!(
        (&rows["before"], &rows["after"], &rows["lost"]),
        (&json!(3), &json!(1), &json!(2)),
        "{effect}"
    );
    let uncounted = shop.send("POST", "/diff?users=banana-user&count=false", DOCUMENT, &[]).await.json();
    assert_eq!(
        (&uncounted["counts"], &uncounted["groups"][0]["relations"][1]["rows"]),
        (&json!(0), &json!([]))
    );
    let odd = shop.send("POST", "/diff?user=banana-user", DOCUMENT, &[]).await;
    assert_eq!(odd.status, 400, "{}", odd.text);
    let invalid = shop.send("POST", "/diff", "modles: {}", &[]).await;
    assert_eq!((invalid.status.as_u16(), &invalid.json()["code"]), (422, &json!("POLICY_INVALID")));

    let test = "tests:\n  - { name: old films, as: banana-user, query: SELECT title FROM movies, expect: { rows: [[Alien]] } }\n";
    let nothing = shop.send("POST", "/test", test, &[]).await;
    assert_eq!(nothing.status, 404, "there is no policy: {}", nothing.text);
    let body = json!({"policy": DOCUMENT, "tests": [
        {"name": "old films", "as": "banana-user", "query": "SELECT title FROM movies", "expect": {"rows": [["Alien"]]}},
        {"name": "all films", "as": "banana-user", "query": "SELECT title FROM movies", "expect": {"count": 3}},
    ]});
    let report = shop.v1.expect(&shop.boss, "POST", &format!("{}/test", shop.path), body, 200).await.json();
    assert_eq!(
        (&report["passed"], &report["failed"], &report["version"]),
        (&json!(1), &json!(1), &Value::Null)
    );
    assert_eq!(report["tests"][1]["failures"], json!(["expected 3 rows, got 1"]), "{report}");
    // Nothing of all that is in force; what is looked at is for administrators.
    assert_eq!(shop.titles().await, json!([["Alien"], ["Brazil"], ["Heat"]]));
    for what in ["/check", "/diff", "/test"] {
        let path = format!("{}{what}", shop.path);
        shop.v1.refused(&shop.banana, "POST", &path, json!({"tests": []}), 403, "NOT_PERMITTED").await;
    }
}

#[tokio::test]
async fn a_policy_is_removed_on_purpose_only() {
    let server = Server::start().await;
    let shop = Shop::open(&server, "v1_policy_removed").await;
    shop.put(DOCUMENT, &[]).await;
    assert_eq!(shop.titles().await, json!([["Alien"]]));
    for (headers, status, code) in [
        (&[][..], 400, "INVALID_REQUEST"),
        (&[("if-none-match", "*")], 400, "INVALID_REQUEST"),
        (&[("if-match", "\"2\"")], 412, "PRECONDITION_FAILED"),
        (&[("if-match", "*")], 412, "PRECONDITION_FAILED"),
    ] {
        let refused = shop.send("DELETE", "", "", headers).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (status, &json!(code)), "{headers:?}");
    }
    assert_eq!(shop.titles().await, json!([["Alien"]]));
    let removed = shop.send("DELETE", "?comment=moved", "", &[("if-match", "\"1\"")]).await;
    assert_eq!((removed.status.as_u16(), removed.header("etag")), (200, "\"2\""), "{}", removed.text);
    assert_eq!((&removed.json()["removed"], &removed.json()["comment"]), (&json!(true), &json!("moved")));
    assert_eq!(shop.titles().await, json!([["Alien"], ["Brazil"], ["Heat"]]));
    shop.v1.refused(&shop.boss, "GET", &shop.path, Value::Null, 404, "NOT_FOUND").await;
    let back = format!("{}/roll-back", shop.path);
    shop.v1.refused(&shop.boss, "POST", &back, json!({"version": 2}), 400, "INVALID_REQUEST").await;
    shop.v1.expect(&shop.boss, "POST", &back, json!({"version": 1}), 200).await;
    assert_eq!(shop.titles().await, json!([["Alien"]]));
}

#[tokio::test]
async fn data_roles_are_set_with_the_user() {
    let server = Server::start().await;
    World::make(&server).await;
    let v1 = V1::of(&server);
    let new = json!({"id": "ann", "tenant": "apple-tenant", "data_roles": ["ROLE_B", "ROLE_A", "ROLE_B"]});
    let made = v1.expect(ADMIN_KEY, "POST", "/v1/users", new, 201).await.json();
    assert_eq!(made["data_roles"], json!(["ROLE_A", "ROLE_B"]));
    let key = key_of(&server, "ann").await;
    assert_eq!(
        v1.expect(&key, "GET", "/v1/me", Value::Null, 200).await.json()["data_roles"],
        json!(["ROLE_A", "ROLE_B"])
    );
    v1.expect(ADMIN_KEY, "PATCH", "/v1/users/ann", json!({"name": "Ann"}), 200).await;
    let kept = v1.expect(ADMIN_KEY, "GET", "/v1/users/ann", Value::Null, 200).await.json();
    assert_eq!(kept["data_roles"], json!(["ROLE_A", "ROLE_B"]));
    let none = v1.expect(ADMIN_KEY, "PATCH", "/v1/users/ann", json!({"data_roles": []}), 200).await.json();
    assert_eq!(none["data_roles"], json!([]));
    // What looks like a role that permits something is none.
    for bad in [json!(["super-admin-user"]), json!(["waii-user"]), json!([""]), json!(["a\u{7}"])] {
        let change = json!({"data_roles": bad});
        v1.refused(ADMIN_KEY, "PATCH", "/v1/users/ann", change, 400, "INVALID_REQUEST").await;
    }
    v1.refused(&key, "PATCH", "/v1/users/ann", json!({"data_roles": ["ROLE_A"]}), 403, "NOT_PERMITTED").await;
}
