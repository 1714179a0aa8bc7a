//! Approvals over HTTP: who sees what, what becomes of decisions, and what the webhook tells.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::process::{ADMIN_KEY, Server};
use crate::tickets::plant;
use crate::v1_client::V1;
use crate::world::{World, key_of};

async fn admin_of_fruit(server: &Server) -> String {
    let user = json!({"id": "fruit-admin", "tenant": "apple-tenant", "roles": ["org-admin-user"]});
    V1::of(server).expect(ADMIN_KEY, "POST", "/v1/users", user, 201).await;
    key_of(server, "fruit-admin").await
}

#[tokio::test]
async fn tickets_are_listed_shown_and_decided() {
    let server = Server::start().await;
    let world = World::make(&server).await;
    let admin = admin_of_fruit(&server).await;
    let v1 = V1::of(&server);
    let ids = [plant(&server, "a://b").await, plant(&server, "a://b").await, plant(&server, "a://b").await];
    let listed = async |key: &str, query: &str, status| {
        let path = format!("/v1/approvals{query}");
        V1::of(&server).expect(key, "GET", &path, Value::Null, status).await.json()
    };
    let page = listed(&admin, "?state=pending&limit=2", 200).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let rest = listed(&admin, &format!("?after={}", page["next"].as_str().unwrap()), 200).await;
    assert_eq!((rest["items"][0]["id"].as_str(), &rest["next"]), (Some(ids[0].as_str()), &Value::Null));
    for (key, query, count) in [
        (&world.banana, "?as=requester", 3),
        (&world.banana, "", 0),
        (&world.apple, "?as=requester", 0),
        (&world.stone, "", 0),
        (&world.stone, "?as=requester", 0),
    ] {
        assert_eq!(listed(key, query, 200).await["items"].as_array().unwrap().len(), count, "{query}");
    }
    for wrong in ["?state=open", "?as=nobody", "?role=x"] {
        listed(&admin, wrong, 400).await;
    }
    let path = |id: &str, verb: &str| format!("/v1/approvals/{id}{verb}");
    let shown = v1.expect(&admin, "GET", &path(&ids[0], ""), Value::Null, 200).await.json();
    assert_eq!(
        (&shown["operation"], &shown["requester"]),
        (&json!({"delete": "Alien"}), &json!("banana-user"))
    );
    assert_eq!(shown["preview_failure"], "NOT_FOUND", "the requester has no such connection: {shown}");
    let reason = json!({"reason": "no"});
    v1.refused(&world.banana, "POST", &path(&ids[0], "/approve"), json!({}), 403, "NOT_PERMITTED").await;
    let rejected = v1.expect(&admin, "POST", &path(&ids[0], "/reject"), reason, 200).await.json();
    assert_eq!((&rejected["state"], &rejected["approver"]), (&json!("rejected"), &json!("fruit-admin")));
    assert_eq!(rejected["decision_reason"], "no");
    let failed = v1.expect(&admin, "POST", &path(&ids[1], "/approve"), json!({}), 200).await.json();
    assert_eq!((&failed["state"], &failed["failure"]), (&json!("failed"), &json!("NOT_FOUND")));
    let withdrawn =
        v1.expect(&world.banana, "POST", &path(&ids[2], "/withdraw"), Value::Null, 200).await.json();
    assert_eq!(withdrawn["state"], "withdrawn");
    for id in &ids {
        v1.refused(&admin, "POST", &path(id, "/approve"), json!({}), 409, "CONFLICT").await;
    }
}

#[tokio::test]
async fn the_webhook_tells_of_decisions() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let settings = [
        ("RINGFENCE_APPROVALS__WEBHOOK_URL", url.as_str()),
        ("RINGFENCE_APPROVALS__WEBHOOK_SECRET", "a secret of sixteen"),
    ];
    let server = Server::start_with(&settings).await;
    World::make(&server).await;
    let admin = admin_of_fruit(&server).await;
    let id = plant(&server, "a://b").await;
    let v1 = V1::of(&server);
    let path = format!("/v1/approvals/{id}/reject");
    v1.expect(&admin, "POST", &path, json!({"reason": "not-for-the-webhook"}), 200).await;
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut got = String::new();
    while !got.contains("fruit-admin") {
        let mut piece = vec![0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "it ended early: {got}");
        got.push_str(std::str::from_utf8(&piece[..count]).unwrap());
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert!(got.starts_with("POST /hook HTTP/1.1\r\n") && got.contains("ringfence-signature: v1="), "{got}");
    assert!(got.contains(&id) && got.contains("\"rejected\""), "{got}");
    for kept in ["Alien", "seen too often", "not-for-the-webhook", "a secret of sixteen"] {
        assert!(!got.contains(kept), "{kept} in {got}");
    }
    assert!(!server.log().contains("a secret of sixteen"));
}
