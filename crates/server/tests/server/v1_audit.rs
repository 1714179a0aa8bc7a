//! The audit log over HTTP: who reads it, by which conditions, in which forms.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{ADMIN_KEY, Answer, Server};
use crate::v1_client::{V1, read, segment};
use crate::world::{SharedConnection, World, key_of};

const DOCUMENT: &str = "models:\n  Movie:\n    table: public.movies\n    scoping: { title: principal.attributes.title }\n    \
                        fields: { title: { action: mask, mask_pattern: '{first2}***' } }\n    other_fields: allow\n";

/// An auditor of that tenant's organization.
async fn auditor(server: &Server, tenant: &str) -> String {
    let id = format!("{tenant}-auditor");
    let user = json!({"id": id, "tenant": format!("{tenant}-tenant"), "roles": ["auditor"]});
    V1::of(server).expect(ADMIN_KEY, "POST", "/v1/users", user, 201).await;
    key_of(server, &id).await
}

async fn get(v1: &V1<'_>, key: &str, conditions: &str, accept: &str) -> Answer {
    read(v1.request(key, "GET", &format!("/v1/audit?{conditions}")).header("accept", accept)).await
}

/// The records that match, as soon as there are so many: they are written behind the answers.
async fn found(v1: &V1<'_>, key: &str, conditions: &str, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let answer = get(v1, key, conditions, "application/json").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let items = answer.json()["items"].as_array().unwrap().clone();
        if items.len() >= count || begun.elapsed() > Duration::from_secs(10) {
            assert_eq!(items.len(), count, "{conditions}: {items:?}");
            return items;
        }
        tokio::time::sleep(Duration::from_millis(20)).await; // poll: until the deadline above
    }
}

#[tokio::test]
async fn what_was_enforced_is_read_by_those_who_may() {
    let server = Server::start().await;
    let v1 = V1::of(&server);
    let SharedConnection { boss, banana, key } = SharedConnection::make(&server, "v1_audit").await;
    let (auditor, other) = (auditor(&server, "apple").await, auditor(&server, "stone").await);
    v1.put_policy(&boss, &key, DOCUMENT).await;
    let variables = json!({"variables": {"title": "Alien"}});
    v1.expect(ADMIN_KEY, "PATCH", "/v1/users/banana-user", variables, 200).await;
    let path = format!("/v1/connections/{}/query", segment(&key));
    let body = json!({"statement": "SELECT title FROM movies", "reason": "a look"});
    v1.expect(&banana, "POST", &path, body, 200).await;
    v1.expect(&banana, "POST", &path, json!({"statement": "SELECT x FROM nothing"}), 422).await;

    let conditions =
        "action=run-query&user=banana-user&decision=allowed&relation=public.movies&tenant=banana-tenant";
    for reader in [auditor.as_str(), &boss] {
        let record = found(&v1, reader, conditions, 1).await.remove(0);
        assert_eq!(record["scopes"], json!(["public.movies: title = 'Alien'"]));
        assert_eq!(record["masked"], json!(["public.movies.title"]));
        assert_eq!((&record["rows"], &record["reason"]), (&json!(1), &json!("a look")));
        assert!(record.get("sequence").is_none(), "{record}");
    }
    assert!(found(&v1, ADMIN_KEY, conditions, 1).await[0]["sequence"].is_i64());
    found(&v1, &auditor, "action=run-query&code=RELATION_UNKNOWN&since=1h", 1).await;
    found(&v1, &auditor, "action=run-query&until=1h", 0).await;
    // Another organization's is as empty as one that is not there; a plain user has no business here.
    found(&v1, &other, conditions, 0).await;
    let theirs = get(&v1, &other, "org=fruit-org", "application/json").await;
    let nobodys = get(&v1, &other, "org=no-org", "application/json").await;
    assert_eq!((theirs.status, &theirs.text), (nobodys.status, &nobodys.text));
    for accept in ["application/json", "text/csv"] {
        assert_eq!(get(&v1, &banana, "", accept).await.status, 403);
    }
    v1.refused(&auditor, "POST", &path, json!({"statement": "SELECT 1"}), 403, "NOT_PERMITTED").await;
    // Reading was recorded, the refusal too.
    let read = found(&v1, &auditor, "action=read-audit&user=banana-user", 1).await.remove(0);
    assert_eq!((&read["decision"], &read["code"]), (&json!("refused"), &json!("NOT_PERMITTED")));
}

#[tokio::test]
async fn exports_have_three_forms() {
    let server = Server::start().await;
    let v1 = V1::of(&server);
    World::make(&server).await;
    let auditor = auditor(&server, "apple").await;
    let named = json!({"id": "odd", "name": "x", "tenant": "apple-tenant"});
    v1.expect(ADMIN_KEY, "POST", "/v1/users", named, 201).await;
    let odd = key_of(&server, "odd").await;
    v1.expect(&odd, "POST", "/v1/keys", json!({"name": "=1+1"}), 201).await;
    let conditions = "user=odd&action=create-key";
    found(&v1, &auditor, conditions, 1).await;

    let lines = get(&v1, &auditor, conditions, "application/x-ndjson").await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let line: Value = serde_json::from_str(lines.text.trim_end()).unwrap();
    assert_eq!((&line["object"], &line["org"]), (&json!("=1+1"), &json!("fruit-org")));
    let sheet = get(&v1, &auditor, conditions, "text/csv").await;
    assert_eq!(sheet.text.lines().count(), 2, "{}", sheet.text);
    assert!(sheet.text.starts_with("sequence,time,") && sheet.text.contains(",'=1+1,"), "{}", sheet.text);
    let request = v1.request(&auditor, "GET", &format!("/v1/audit?{conditions}"));
    let file = request.header("accept", "application/vnd.apache.parquet").send().await.unwrap();
    let file = file.bytes().await.unwrap();
    assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1") && file.len() > 1_000, "{}", file.len());
    // An export has all of it, in the order that was asked for, up to what was asked for.
    let all = get(&v1, &auditor, "order=oldest_first", "application/x-ndjson").await;
    let first: Value = serde_json::from_str(all.text.lines().next().unwrap()).unwrap();
    assert_eq!(first["org"], "fruit-org");
    assert_eq!(get(&v1, &auditor, "limit=2", "application/x-ndjson").await.text.lines().count(), 2);
    found(&v1, &auditor, "action=export-audit&decision=allowed", 5).await;
    for (conditions, accept, status) in [
        ("cursor=x", "text/csv", 400),
        ("cursor=x", "application/json", 400),
        ("since=yesterday", "application/json", 400),
        ("sence=1h", "application/json", 400),
        ("", "image/png", 406),
    ] {
        assert_eq!(get(&v1, &auditor, conditions, accept).await.status, status, "{conditions} {accept}");
    }
}
