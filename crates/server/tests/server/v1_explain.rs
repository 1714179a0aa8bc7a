//! Explanations over HTTP: the two views of a statement, and why a row is seen or not.

use serde_json::{Value, json};

use crate::process::Server;
use crate::v1_client::{V1, segment};
use crate::world::SharedConnection;

pub(crate) const DOCUMENT: &str = "models:
  Movie:
    table: public.movies
    row_policies:
      - { name: old, condition: '\"Year\" < 1980' }
      - { name: curators, roles: [ROLE_CURATOR], condition: 'TRUE', extends: true }
    fields:
      title: { action: mask, mask_pattern: '{first2}***' }
      id: allow
";

pub(crate) struct Shop<'a> {
    v1: V1<'a>,
    boss: String,
    banana: String,
    key: String,
}

impl<'a> Shop<'a> {
    /// The boss is of the organization, and of another tenant than banana-user.
    pub(crate) async fn open(server: &'a Server, name: &str) -> Self {
        let SharedConnection { boss, banana, key } = SharedConnection::make(server, name).await;
        let v1 = V1::of(server);
        v1.put_policy(&boss, &key, DOCUMENT).await;
        Self { v1, boss, banana, key }
    }

    async fn explain(&self, who: &str, mut body: Value, status: u16) -> Value {
        body["connection"] = json!(self.key);
        self.v1.expect(who, "POST", "/v1/explain", body, status).await.json()
    }

    async fn why(&self, who: &str, mut body: Value, status: u16) -> Value {
        body["connection"] = json!(self.key);
        self.v1.expect(who, "POST", "/v1/why", body, status).await.json()
    }
}

/// As it came, but for what differs from run to run.
fn text(mut answer: Value) -> String {
    if answer.get("catalog_version").is_some() {
        answer["catalog_version"] = json!("CATALOG");
    }
    serde_json::to_string_pretty(&answer).unwrap()
}

#[tokio::test]
async fn a_statement_has_two_views() {
    let server = Server::start().await;
    let shop = Shop::open(&server, "v1_explain").await;
    let statement = "SELECT title FROM movies WHERE id = $1";
    let body = json!({"statement": statement});
    let view = shop.explain(&shop.banana, body.clone(), 200).await;
    insta::assert_snapshot!("callers_view", text(view.clone()));
    let mut body = json!({"statement": statement, "as": "banana-user"});
    let whole = shop.explain(&shop.boss, body.clone(), 200).await;
    insta::assert_snapshot!("administrators_view", text(whole));
    body["view"] = json!("caller");
    assert_eq!(
        shop.explain(&shop.boss, body.clone(), 200).await,
        view,
        "the boss sees what banana-user sees"
    );

    body["view"] = json!("administrator");
    body["plan"] = json!(true);
    let plan = shop.explain(&shop.boss, body.clone(), 200).await["plan"].clone();
    assert!(plan.as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains("movies")), "{plan}");
    let refused = shop
        .explain(&shop.boss, json!({"statement": "SELECT * FROM actors", "as": "banana-user"}), 200)
        .await;
    assert_eq!(refused["refusal"]["code"], "RELATION_UNKNOWN");
    assert_eq!(refused["relations"][0]["reasons"][0]["rule"], "default: deny");
    // Everybody else asks about themselves, and hears what running it would say.
    let not_permitted = shop.explain(&shop.banana, body.clone(), 403).await;
    assert_eq!(not_permitted["code"], "NOT_PERMITTED");
    for statement in ["SELECT * FROM actors", "SELECT year FROM movies", "DELETE FROM movies"] {
        let path = format!("/v1/connections/{}/query", segment(&shop.key));
        let ran = shop.v1.ask(&shop.banana, "POST", &path, &json!({"statement": statement})).await;
        let explained =
            shop.explain(&shop.banana, json!({"statement": statement}), ran.status.as_u16()).await;
        let same = |problem: &Value| (problem["code"].clone(), problem["detail"].clone());
        assert_eq!(same(&explained), same(&ran.json()), "{statement}");
    }
    shop.explain(&shop.boss, json!({"statement": "SELECT 1", "view": "callers"}), 400).await;
    shop.explain(&shop.boss, json!({"statement": "SELECT 1", "view": "caller", "plan": true}), 400).await;
    shop.explain(&shop.boss, json!({"statement": "SELECT 1", "who": "x"}), 400).await;
}

#[tokio::test]
async fn a_row_is_explained() {
    let server = Server::start().await;
    let shop = Shop::open(&server, "v1_why").await;
    let about = |id: Value| json!({"relation": "movies", "key": {"id": id}, "as": "banana-user"});
    let why = shop.why(&shop.boss, about(json!(3)), 200).await;
    insta::assert_snapshot!("why", text(why));
    assert_eq!(shop.why(&shop.boss, about(json!("1")), 200).await["visible"], true);
    assert_eq!(shop.why(&shop.boss, about(json!(9)), 200).await["found"], false);
    shop.why(&shop.boss, about(json!([1])), 400).await;
    shop.why(&shop.boss, json!({"relation": "movies", "key": {"nothing": 1}}), 400).await;
    shop.why(&shop.boss, json!({"relation": "nothing", "key": {"id": 1}}), 404).await;
    let refused = shop.why(&shop.banana, json!({"relation": "movies", "key": {"id": 1}}), 403).await;
    assert_eq!(refused["code"], "NOT_PERMITTED");
}
