//! An application acts for its users over HTTP, with tokens that are signed as any JWT library signs them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::process::{ADMIN_KEY, Answer, Server};
use crate::v1_client::{V1, read, segment};
use crate::world::{World, connect, key_of, make_database};

const POLICY: &str = "models:\n  Movie:\n    table: public.movies\n    scoping: { title: principal.attributes.title }\n    \
                      row_policies: [ { name: people, condition: \"principal.agent IS NULL OR id < 2\" } ]\n    other_fields: allow\n";

fn pair() -> Ed25519KeyPair {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()
}

/// A token of the application for `pia` of a tenant, good for a minute unless `changes` say otherwise.
fn token(pair: &Ed25519KeyPair, application: &str, tenant: &str, changes: &Value) -> String {
    let now = jiff::Timestamp::now().as_second();
    let mut claims = json!({
        "iss": application, "aud": "fruit", "sub": "pia", "tenant": tenant, "iat": now, "exp": now + 60,
    });
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": "2026" });
    let message = format!("{}.{}", part(&header), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// A request with headers beside the key.
async fn ask(
    v1: &V1<'_>,
    key: &str,
    (method, path): (&str, &str),
    body: &Value,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = v1.request(key, method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    read(if body.is_null() { request } else { request.json(body) }).await
}

/// Makes an application of that organization, with the roles of one that acts for all its tenants, and its access key.
async fn application(server: &Server, id: &str, tenant: &str) -> String {
    let roles = ["api-user", "org-acting-application"];
    let user = json!({ "id": id, "tenant": tenant, "roles": roles, "data_roles": ["ROLE_CLERK"] });
    V1::of(server).expect(ADMIN_KEY, "POST", "/v1/users", user, 201).await;
    key_of(server, id).await
}

async fn register(v1: &V1<'_>, key: &str, pair: &Ed25519KeyPair) -> Answer {
    let public =
        json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()) });
    v1.expect(key, "POST", "/v1/signing-keys", json!({ "kid": "2026", "public_key": public }), 201).await
}

/// An application of the organization of fruit with a connection, and another organization's application.
struct Stand {
    server: Server,
    key: String,
    stranger: String,
    pair: Ed25519KeyPair,
    strangers: Ed25519KeyPair,
    boss: String,
    connection: String,
}

impl Stand {
    /// Each tenant's variable names the one film that it sees.
    async fn open(database: &str) -> Self {
        let server = Server::start_with(&[("RINGFENCE_ACTING__AUDIENCE", "fruit")]).await;
        let postgres = ringfence_testkit::Postgres::shared().await;
        World::make(&server).await;
        make_database(postgres, database).await;
        let key = application(&server, "portal", "banana-tenant").await;
        let stranger = application(&server, "rocks", "stone-tenant").await;
        let (own, other) = (pair(), pair());
        let v1 = V1::of(&server);
        let made = register(&v1, &key, &own).await;
        assert_eq!(made.header("location"), "/v1/signing-keys/2026?application=portal");
        assert_eq!(made.json()["algorithm"], "EdDSA");
        register(&v1, &stranger, &other).await;
        let connection = connect(&server, &key, postgres, database).await;
        // The policy is the administrator's to put, on a connection of theirs to the same database.
        let boss = json!({ "id": "boss", "tenant": "apple-tenant", "roles": ["org-admin-user"] });
        v1.expect(ADMIN_KEY, "POST", "/v1/users", boss, 201).await;
        let boss = key_of(&server, "boss").await;
        connect(&server, &boss, postgres, database).await;
        for (tenant, title) in [("banana-tenant", "Alien"), ("apple-tenant", "Brazil")] {
            let body = json!({ "variables": { "title": title } });
            v1.expect(&boss, "PATCH", &format!("/v1/tenants/{tenant}"), body, 200).await;
        }
        Self { server, key, stranger, pair: own, strangers: other, boss, connection }
    }

    fn token(&self, tenant: &str, changes: &Value) -> String {
        token(&self.pair, "portal", tenant, changes)
    }

    /// Asks for the titles of all films.
    async fn titles(&self, key: &str, token: &str, more: &[(&str, &str)]) -> Answer {
        let path = format!("/v1/connections/{}/query", segment(&self.connection));
        let query = json!({ "statement": "SELECT title FROM movies ORDER BY id" });
        let headers: Vec<_> =
            [("x-ringfence-principal", token)].into_iter().chain(more.iter().copied()).collect();
        ask(&V1::of(&self.server), key, ("POST", &path), &query, &headers).await
    }

    /// What is told of a token that is not accepted.
    async fn declined(&self, key: &str, token: &str) -> String {
        let answer = self.titles(key, token, &[]).await;
        let problem = answer.json();
        assert_eq!(
            (answer.status.as_u16(), &problem["code"]),
            (401, &json!("INVALID_PRINCIPAL_TOKEN")),
            "{problem}"
        );
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn two_tenants_ask_through_one_application() {
    let stand = Stand::open("acting").await;
    let (v1, key) = (V1::of(&stand.server), stand.key.as_str());
    let open = stand.titles(key, &stand.token("banana-tenant", &json!({})), &[]).await;
    assert_eq!((open.status.as_u16(), &open.json()["code"]), (403, &json!("NOT_PERMITTED")), "no policy yet");
    v1.put_policy(&stand.boss, &stand.connection, POLICY).await;
    for (tenant, title) in [("banana-tenant", "Alien"), ("apple-tenant", "Brazil")] {
        let answer = stand.titles(key, &stand.token(tenant, &json!({})), &[]).await;
        assert_eq!(answer.json()["rows"], json!([[title]]), "{tenant}: {}", answer.text);
    }
    // The SDK's own interface takes the same headers.
    let banana = stand.token("banana-tenant", &json!({ "agent": "assistant" }));
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str()), ("x-ringfence-principal", &banana)];
    let body = json!({ "scope": stand.connection, "query": "SELECT title FROM movies" });
    let answer = stand.server.send("run-query", &headers, body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.text.contains("Alien") && !answer.text.contains("Brazil"), "{}", answer.text);
    let me =
        ask(&v1, key, ("GET", "/v1/me"), &Value::Null, &[("x-ringfence-principal", &banana)]).await.json();
    for (field, expected) in [
        ("id", json!("pia")),
        ("tenant", json!("banana-tenant")),
        ("acted_by", json!("portal")),
        ("agent", json!("assistant")),
        ("permissions", json!(["read:databases", "read:semantic-context", "usage:api"])),
    ] {
        assert_eq!(me[field], expected, "{field}");
    }
    // An agent is held back, whoever vouches for it.
    let apple = stand.token("apple-tenant", &json!({}));
    assert_eq!(
        stand.titles(key, &apple, &[("x-ringfence-agent", "assistant")]).await.json()["rows"],
        json!([])
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_one_answer() {
    let stand = Stand::open("acting_wrong").await;
    let (v1, key) = (V1::of(&stand.server), stand.key.as_str());
    v1.put_policy(&stand.boss, &stand.connection, POLICY).await;
    let elsewhere = stand.declined(key, &stand.token("stone-tenant", &json!({}))).await;
    for refused in [
        stand.token("no-tenant", &json!({})),
        stand.token("banana-tenant", &json!({ "aud": "ringfence" })),
        token(&stand.pair, "rocks", "banana-tenant", &json!({})),
        token(&stand.strangers, "portal", "banana-tenant", &json!({})),
        stand.token("banana-tenant", &json!({ "roles": ["ROLE_UNKNOWN"] })),
        stand.token("banana-tenant", &json!({ "attributes": { "title": "Brazil" } })),
        stand.token("banana-tenant", &json!({ "attributes": { "tenant_id": "apple-tenant" } })),
    ] {
        assert_eq!(stand.declined(key, &refused).await, elsewhere, "one answer for all");
    }
    let good = stand.token("banana-tenant", &json!({}));
    assert_eq!(stand.titles(key, &good, &[]).await.status, 200);
    stand.declined(&stand.stranger, &good).await;
    stand.declined(key, "not-a-token").await;
    v1.expect(key, "DELETE", "/v1/signing-keys/2026", Value::Null, 204).await;
    stand.declined(key, &good).await;
    v1.refused(key, "DELETE", "/v1/signing-keys/2026", Value::Null, 404, "NOT_FOUND").await;
}

/// Headers that name a user are never ignored, and count only where the configuration says so.
#[tokio::test]
async fn plain_headers_count_where_they_are_configured() {
    let pia = [("x-ringfence-tenant", "banana-tenant"), ("x-ringfence-user", "pia")];
    let server = Server::start().await;
    let v1 = V1::of(&server);
    World::make(&server).await;
    let key = application(&server, "portal", "banana-tenant").await;
    let me = ("GET", "/v1/me");
    let refused = ask(&v1, &key, me, &Value::Null, &pia).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (403, &json!("NOT_PERMITTED")));
    let half = ask(&v1, &key, me, &Value::Null, &pia[1..]).await;
    assert_eq!((half.status.as_u16(), &half.json()["code"]), (401, &json!("INVALID_PRINCIPAL_TOKEN")));
    let admin = ask(&v1, ADMIN_KEY, me, &Value::Null, &pia).await;
    assert_eq!(admin.status, 403, "the highest rank acts for nobody by it: {}", admin.text);

    let server = Server::start_with(&[
        ("RINGFENCE_ACTING__TRUSTED_HEADERS__APPLICATIONS", "portal"),
        ("RINGFENCE_ACTING__TRUSTED_HEADERS__USER", "X-Fruit-User"),
    ])
    .await;
    let v1 = V1::of(&server);
    World::make(&server).await;
    let key = application(&server, "portal", "banana-tenant").await;
    let mine = [
        ("x-ringfence-tenant", "apple-tenant"),
        ("x-fruit-user", "pia"),
        ("x-ringfence-roles", "ROLE_CLERK"),
    ];
    let answer = ask(&v1, &key, me, &Value::Null, &mine).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    assert_eq!((&answer["id"], &answer["tenant"]), (&json!("pia"), &json!("apple-tenant")));
    assert_eq!(answer["data_roles"], json!(["ROLE_CLERK"]));
    let both = [
        ("x-ringfence-tenant", "apple-tenant"),
        ("x-fruit-user", "pia"),
        ("x-waii-impersonate-user", "apple-user"),
    ];
    assert_eq!(ask(&v1, &key, me, &Value::Null, &both).await.status, 400);
    let elsewhere = [("x-ringfence-tenant", "stone-tenant"), ("x-fruit-user", "pia")];
    assert_eq!(ask(&v1, &key, me, &Value::Null, &elsewhere).await.status, 401);
}
