//! Organizations, tenants, users, access keys and configuration: every endpoint's replies, whole.

use serde_json::json;

use crate::process::{ADMIN_KEY, Server};
use crate::transcript::Transcript;
use crate::world::{ADMIN, World, key_of};

#[tokio::test]
async fn organizations_and_tenants() {
    let server = Server::start().await;
    let mut script = Transcript::new(&server);
    script.call(ADMIN, "ping", json!({})).await;
    script
        .call(ADMIN, "create-org", json!({ "organization": { "id": "fruit-org", "name": "Fruit Org" } }))
        .await;
    script.call(ADMIN, "create-org", json!({ "organization": { "id": "fruit-org", "name": "Again" } })).await;
    let org = json!({ "organization": { "id": "fruit-org", "name": null, "variables": { "region": "eu" } } });
    script.call(ADMIN, "update-org", org).await;
    script.call(ADMIN, "update-org", json!({ "organization": { "id": "nowhere", "name": "x" } })).await;
    script.call(ADMIN, "list-orgs", json!({})).await;
    let tenant = json!({ "tenant": { "id": "banana-tenant", "name": "Banana", "org_id": "fruit-org" } });
    script.call(ADMIN, "create-tenant", tenant.clone()).await;
    script.call(ADMIN, "create-tenant", tenant).await;
    let lost = json!({ "tenant": { "id": "lost-tenant", "name": "Lost", "org_id": "nowhere" } });
    script.call(ADMIN, "create-tenant", lost).await;
    let changed =
        json!({ "tenant": { "id": "banana-tenant", "name": "Bananas", "variables": { "tier": 1 } } });
    script.call(ADMIN, "update-tenant", changed).await;
    script.call(ADMIN, "list-tenants", json!({ "lookup_org_id": "fruit-org" })).await;
    script.call(ADMIN, "list-tenants", json!({ "lookup_org_id": "" })).await;
    script.call(ADMIN, "delete-org", json!({ "id": "fruit-org" })).await;
    script.call(ADMIN, "delete-tenant", json!({ "id": "banana-tenant" })).await;
    script.call(ADMIN, "delete-tenant", json!({ "id": "banana-tenant" })).await;
    script.call(ADMIN, "delete-org", json!({ "id": "fruit-org" })).await;
    insta::assert_snapshot!(script.text());
}

#[tokio::test]
async fn users() {
    let server = Server::start().await;
    let world = World::make(&server).await;
    let banana = ("banana", world.banana.as_str());
    let mut script = Transcript::new(&server);
    script.call(ADMIN, "get-user-info", json!({})).await;
    script.call(banana, "get-user-info", json!({ "user_id": "apple-user", "org_id": "rock-org" })).await;
    let fig = json!({ "user": { "id": "fig-user", "tenant_id": "banana-tenant", "roles": ["waii-user", "waii-trial-api-user"] } });
    script.call(ADMIN, "create-user", fig.clone()).await;
    script.call(ADMIN, "create-user", fig).await;
    let unknown = json!({ "user": { "id": "x", "tenant_id": "banana-tenant", "roles": ["king"] } });
    script.call(ADMIN, "create-user", unknown).await;
    let kept = json!({ "user": { "id": "fig-user", "name": "Fig", "roles": [], "variables": { "team": ["a", 1] } } });
    script.call(ADMIN, "update-user", kept).await;
    script.call(ADMIN, "update-user", json!({ "user": { "id": "nobody", "name": "x" } })).await;
    script.call(ADMIN, "list-users", json!({ "lookup_org_id": "fruit-org" })).await;
    script.call(ADMIN, "list-users", json!({ "lookup_user_id": "stone-user", "lookup_org_id": "" })).await;
    script.call(banana, "list-users", json!({})).await;
    script
        .call(banana, "update-user", json!({ "user": { "id": "banana-user", "variables": { "a": 1 } } }))
        .await;
    script.call(ADMIN, "delete-tenant", json!({ "id": "banana-tenant" })).await;
    script.call(ADMIN, "delete-user", json!({ "id": "fig-user" })).await;
    script.call(ADMIN, "delete-user", json!({ "id": "fig-user" })).await;
    insta::assert_snapshot!(script.text());
}

#[tokio::test]
async fn access_keys_and_configuration() {
    let server = Server::start().await;
    let world = World::make(&server).await;
    let banana = ("banana", world.banana.as_str());
    let mut script = Transcript::new(&server);
    let made = script.call(banana, "create-key", json!({ "name": "second" })).await;
    script.call(banana, "create-key", json!({ "name": "second" })).await;
    script.call(banana, "create-key", json!({ "name": "" })).await;
    let listed = script.call(banana, "list-access-keys", json!({})).await;
    assert_eq!(
        listed["access_keys"][1]["access_key"], made["access_keys"][0]["access_key"],
        "listed in full"
    );
    script.call(banana, "update-config", json!({ "updated": { "theme": "dark", "n": [1, null] } })).await;
    script
        .call(banana, "update-config", json!({ "updated": { "n": 2 }, "deleted": ["n", "theme", "none"] }))
        .await;
    script.call(banana, "update-config", json!({})).await;
    script.call(banana, "delete-access-keys", json!({ "names": ["second", "unknown"] })).await;
    let second = made["access_keys"][0]["access_key"].as_str().unwrap().to_owned();
    script.call(("banana's deleted key", &second), "get-user-info", json!({})).await;
    insta::assert_snapshot!(script.text());
}

#[tokio::test]
async fn a_deleted_user_leaves_nothing_behind() {
    let server = Server::start().await;
    let world = World::make(&server).await;
    server.done(&world.banana, "update-config", &json!({ "updated": { "a": 1 } })).await;
    server.done(ADMIN_KEY, "delete-user", &json!({ "id": "banana-user" })).await;
    assert_eq!(server.call(&world.banana, "get-user-info", &json!({})).await.status, 401);
    let again =
        json!({ "user": { "id": "banana-user", "tenant_id": "banana-tenant", "org_id": "fruit-org" } });
    server.done(ADMIN_KEY, "create-user", &again).await;
    assert_eq!(
        server.call(&world.banana, "get-user-info", &json!({})).await.status,
        401,
        "the old key stays dead"
    );
    let key = key_of(&server, "banana-user").await;
    assert_eq!(server.done(&key, "update-config", &json!({})).await, json!({ "configs": {} }));
}
