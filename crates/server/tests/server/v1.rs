//! `/v1/`: people, keys, what is not understood, and the reference page.

use serde_json::{Value, json};

use crate::process::{ADMIN_KEY, Server};
use crate::v1_client::{V1, read};
use crate::world::World;

const NO_BODY: Value = Value::Null;

#[tokio::test]
async fn people_are_made_changed_and_removed() {
    let server = Server::start().await;
    let v1 = V1::of(&server);
    make_orgs_and_tenants(&v1).await;
    make_users(&v1).await;
    take_away(&v1).await;
}

async fn make_orgs_and_tenants(v1: &V1<'_>) {
    let (a, none) = (ADMIN_KEY, || NO_BODY);

    let made = v1.expect(a, "POST", "/v1/orgs", json!({"id": "shop/1", "name": "Shop"}), 201).await;
    assert_eq!(made.header("location"), "/v1/orgs/shop%2F1");
    assert_eq!(made.json(), json!({"id": "shop/1", "name": "Shop", "variables": null}));
    v1.refused(a, "POST", "/v1/orgs", json!({"id": "shop/1"}), 409, "ALREADY_EXISTS").await;
    v1.refused(a, "POST", "/v1/orgs", json!({"id": ""}), 400, "INVALID_REQUEST").await;
    let changed =
        v1.expect(a, "PATCH", made.header("location"), json!({"variables": {"eu": true}}), 200).await;
    assert_eq!(changed.json(), json!({"id": "shop/1", "name": "Shop", "variables": {"eu": true}}));
    assert_eq!(v1.expect(a, "GET", "/v1/orgs/shop%2F1", none(), 200).await.json(), changed.json());
    let problem =
        v1.refused(a, "PATCH", "/v1/orgs/shop%2F1", json!({"name": null}), 400, "INVALID_REQUEST").await;
    assert_eq!(problem["pointer"], "/name");

    v1.expect(a, "POST", "/v1/tenants", json!({"id": "acme", "org": "shop/1"}), 201).await;
    v1.refused(a, "POST", "/v1/tenants", json!({"id": "x", "org": "nowhere"}), 404, "NOT_FOUND").await;
    v1.expect(a, "PATCH", "/v1/tenants/acme", json!({"name": "Acme"}), 200).await;
    let tenants = v1.expect(a, "GET", "/v1/tenants?org=shop%2F1", none(), 200).await.json();
    assert_eq!(
        tenants,
        json!({"items": [{"id": "acme", "org": "shop/1", "name": "Acme", "variables": null}]})
    );
}

async fn make_users(v1: &V1<'_>) {
    let (a, none) = (ADMIN_KEY, || NO_BODY);
    let user = json!({"id": "ann", "tenant": "acme", "org": "shop/1", "roles": ["org-admin-user"]});
    let ann = v1.expect(a, "POST", "/v1/users", user, 201).await.json();
    assert_eq!(ann["roles"], json!(["org-admin-user"]));
    v1.refused(
        a,
        "POST",
        "/v1/users",
        json!({"id": "b", "tenant": "acme", "roles": ["king"]}),
        400,
        "INVALID_REQUEST",
    )
    .await;
    v1.expect(a, "PATCH", "/v1/users/ann", json!({"variables": {"n": 1}}), 200).await;
    let users = v1.expect(a, "GET", "/v1/users?tenant=acme", none(), 200).await.json();
    assert_eq!(users["items"][0]["variables"], json!({"n": 1}));
}

/// From the inside out; what is gone is unknown.
async fn take_away(v1: &V1<'_>) {
    let (a, none) = (ADMIN_KEY, || NO_BODY);
    v1.refused(a, "DELETE", "/v1/orgs/shop%2F1", none(), 409, "IN_USE").await;
    v1.refused(a, "DELETE", "/v1/tenants/acme", none(), 409, "IN_USE").await;
    for path in ["/v1/users/ann", "/v1/tenants/acme", "/v1/orgs/shop%2F1"] {
        v1.expect(a, "DELETE", path, none(), 204).await;
        v1.refused(a, "GET", path, none(), 404, "NOT_FOUND").await;
        v1.refused(a, "PATCH", path, json!({"name": "x"}), 404, "NOT_FOUND").await;
        v1.refused(a, "DELETE", path, none(), 404, "NOT_FOUND").await;
    }
}

#[tokio::test]
async fn an_id_that_can_be_none_is_answered_like_an_unknown_one() {
    let server = Server::start().await;
    let v1 = V1::of(&server);
    for noun in ["orgs", "tenants", "users", "connections", "queries"] {
        let unknown =
            v1.refused(ADMIN_KEY, "GET", &format!("/v1/{noun}/unknown"), NO_BODY, 404, "NOT_FOUND").await;
        for id in ["%00", "%0A", "%20", "%FF", &"x".repeat(5000)] {
            let invalid =
                v1.refused(ADMIN_KEY, "GET", &format!("/v1/{noun}/{id}"), NO_BODY, 404, "NOT_FOUND").await;
            assert_eq!(invalid["detail"], unknown["detail"], "{noun} {id}");
        }
    }
}

#[tokio::test]
async fn keys_and_configuration_are_ones_own() {
    let server = Server::start().await;
    let world = World::make(&server).await;
    let v1 = V1::of(&server);
    let key = world.banana.as_str();

    let me = v1.expect(key, "GET", "/v1/me", NO_BODY, 200).await.json();
    assert_eq!(
        (&me["id"], &me["tenant"], &me["org"]),
        (&json!("banana-user"), &json!("banana-tenant"), &json!("fruit-org"))
    );
    assert_eq!((&me["roles"], &me["acted_by"]), (&json!(["api-user"]), &NO_BODY));
    assert!(me["permissions"].as_array().unwrap().contains(&json!("usage:api")));

    let made = v1.expect(key, "POST", "/v1/keys", json!({"name": "a b"}), 201).await;
    assert_eq!(made.header("location"), "/v1/keys/a%20b");
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    v1.refused(key, "POST", "/v1/keys", json!({"name": "a b"}), 409, "ALREADY_EXISTS").await;
    let keys = v1.expect(&secret, "GET", "/v1/keys", NO_BODY, 200).await.json();
    assert_eq!(keys["items"][1], made.json());
    v1.expect(key, "DELETE", "/v1/keys/a%20b", NO_BODY, 204).await;
    v1.refused(key, "DELETE", "/v1/keys/a%20b", NO_BODY, 404, "NOT_FOUND").await;
    v1.refused(&secret, "GET", "/v1/me", NO_BODY, 401, "KEY_UNKNOWN").await;

    v1.expect(key, "PATCH", "/v1/config", json!({"a": {"b": 1, "c": 2}, "d": [1]}), 200).await;
    let merged =
        v1.expect(key, "PATCH", "/v1/config", json!({"a": {"b": null}, "d": null, "e": 1}), 200).await.json();
    assert_eq!(merged, json!({"a": {"c": 2}, "e": 1}));
    assert_eq!(v1.expect(key, "GET", "/v1/config", NO_BODY, 200).await.json(), merged);
    assert_eq!(v1.expect(&world.apple, "GET", "/v1/config", NO_BODY, 200).await.json(), json!({}));
}

#[tokio::test]
async fn impersonation_shows_both() {
    let server = Server::start().await;
    let world = World::make(&server).await;
    let v1 = V1::of(&server);
    let acting =
        |key: &str, user: &str| v1.request(key, "GET", "/v1/me").header("x-waii-impersonate-user", user);
    let me = read(acting(ADMIN_KEY, "banana-user")).await.json();
    assert_eq!((&me["id"], &me["acted_by"]), (&json!("banana-user"), &json!("my_org_id")));
    for (key, user) in
        [(ADMIN_KEY, "nobody"), (world.banana.as_str(), "apple-user"), (world.banana.as_str(), "banana-user")]
    {
        let refused = read(acting(key, user)).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["code"]),
            (403, &json!("IMPERSONATION_DENIED")),
            "{user}"
        );
    }
}

#[tokio::test]
async fn what_is_not_understood_is_refused() {
    let server = Server::start().await;
    let v1 = V1::of(&server);
    v1.refused("", "GET", "/v1/me", NO_BODY, 401, "AUTHENTICATION_REQUIRED").await;
    let unknown = v1.expect("wrong", "GET", "/v1/me", NO_BODY, 401).await;
    assert_eq!(unknown.header("www-authenticate"), "Bearer");
    // Nobody learns about parameters without a key.
    v1.refused("", "POST", "/v1/orgs?x=1", json!({"nam": 1}), 401, "AUTHENTICATION_REQUIRED").await;
    for path in ["/v1", "/v1/", "/v1/nothing", "/v1/me/", "/v1/connections/a/b/c"] {
        v1.refused(ADMIN_KEY, "GET", path, NO_BODY, 404, "NOT_FOUND").await;
    }
    let wrong_method = v1.expect(ADMIN_KEY, "DELETE", "/v1/me", NO_BODY, 405).await;
    assert_eq!(wrong_method.json()["code"], "METHOD_NOT_ALLOWED");
    assert!(wrong_method.header("allow").contains("GET"), "{:?}", wrong_method.headers);
    let text = v1.request(ADMIN_KEY, "POST", "/v1/orgs").header("content-type", "text/plain").body("{}");
    assert_eq!(read(text).await.json()["code"], "UNSUPPORTED_MEDIA_TYPE");
    let broken =
        v1.request(ADMIN_KEY, "POST", "/v1/orgs").header("content-type", "application/json").body("{");
    assert_eq!(read(broken).await.json()["code"], "INVALID_REQUEST");
    let misspelt = v1
        .refused(ADMIN_KEY, "POST", "/v1/orgs", json!({"id": "x", "nmae": "y"}), 400, "INVALID_REQUEST")
        .await;
    assert_eq!((&misspelt["pointer"], &misspelt["hint"]), (&json!("/nmae"), &json!("did you mean `name`?")));
    let parameter = v1.refused(ADMIN_KEY, "GET", "/v1/users?tenat=x", NO_BODY, 400, "INVALID_REQUEST").await;
    assert_eq!(parameter["hint"], "did you mean `tenant`?");
    v1.refused(ADMIN_KEY, "GET", "/v1/me?x=1", NO_BODY, 400, "INVALID_REQUEST").await;
}

#[tokio::test]
async fn the_reference_page_stands_alone() {
    let server = Server::start().await;
    for (path, content_type) in [
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/errors", "text/html; charset=utf-8"),
        ("/docs/app.js", "text/javascript; charset=utf-8"),
        ("/docs/style.css", "text/css; charset=utf-8"),
    ] {
        let page = server.get(&format!("{}{path}", server.url)).await;
        assert_eq!(page.status, 200, "{path}");
        assert_eq!(page.header("content-type"), content_type);
        assert!(
            page.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"),
            "{path}"
        );
        assert!(!page.header("content-security-policy").contains("unsafe"), "{path}");
    }
    let document = server.get(&format!("{}/openapi.json", server.url)).await;
    assert_eq!(document.header("content-type"), "application/json");
    // Not `assert_eq`: it would print both documents.
    assert!(
        document.text == include_str!("../../../../docs/openapi.json"),
        "docs/openapi.json is not what is served"
    );
}
