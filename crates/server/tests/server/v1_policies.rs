//! Policies over HTTP: put, read, look back, roll back, and what they make of queries.

use ringfence_testkit::Postgres;
use serde_json::{Value, json};

use crate::process::{ADMIN_KEY, Answer, Server};
use crate::v1_client::{V1, read, segment};
use crate::world::{World, connect, key_of, make_database};

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
        let postgres = Postgres::shared().await;
        let world = World::make(server).await;
        make_database(postgres, name).await;
        let v1 = V1::of(server);
        let user = json!({"id": "boss", "tenant": "apple-tenant", "roles": ["org-admin-user"]});
        v1.expect(ADMIN_KEY, "POST", "/v1/users", user, 201).await;
        let boss = key_of(server, "boss").await;
        let key = connect(server, &boss, postgres, name).await;
        connect(server, &world.banana, postgres, name).await;
        let (path, queries) =
            (format!("/v1/policies/{}", segment(&key)), format!("/v1/connections/{}/query", segment(&key)));
        Self { v1, boss, banana: world.banana, path, queries }
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
