//! `ringfence policy` as people run it.

use std::fs;

use ringfence_testkit::Postgres;
use serde_json::{Value, json};

use crate::cli::Home;
use crate::process::{ADMIN_KEY, Server};
use crate::v1_client::{V1, segment};
use crate::world::{connection_to, key_to, make_database};

#[test]
fn a_document_is_checked_without_a_server() {
    let home = Home::new();
    fs::write(home.path("good.yaml"), "models:\n  Movie: { table: public.movies }\n").unwrap();
    fs::write(home.path("bad.yaml"), "models:\n  Movie: { tabel: public.movies }\n").unwrap();
    assert_eq!(home.done(&["policy", "check", "good.yaml"]), "ok: 1 models\n");
    assert_eq!(home.done(&["policy", "check", "good.yaml", "--kind", "sqlite"]), "ok: 1 models\n");
    let said = home.run(&["policy", "check", "bad.yaml"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(said.err.contains("bad.yaml:2:") && said.err.contains("`table`"), "{}", said.err);
    let said = home.run(&["policy", "check", "missing.yaml"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("missing.yaml"), "{}", said.err);
}

#[tokio::test]
async fn a_policy_is_applied_and_read_on_the_store() {
    let home = Home::new();
    let postgres = Postgres::shared().await;
    make_database(postgres, "cli_policy").await;
    let server = Server::start().await;
    let (key, data) = (key_to(postgres, "cli_policy"), server.data_dir());
    let v1 = V1::of(&server);
    v1.expect(ADMIN_KEY, "POST", "/v1/connections", connection_to(postgres, "cli_policy"), 201).await;
    let me = v1.expect(ADMIN_KEY, "GET", "/v1/me", Value::Null, 200).await.json();
    let user = me["id"].as_str().unwrap();
    let document = "models:\n  Movie: { table: public.movies, fields: { title: deny } }\n";
    fs::write(home.path("policy.yaml"), document).unwrap();
    let target = ["--connection", key.as_str(), "--user", user, "--data-dir", data.as_str()];
    let apply = [&["policy", "apply", "policy.yaml", "--expect", "0"][..], &target].concat();
    assert_eq!(home.done(&apply), "done: version 1 is in force\n");
    assert_eq!(home.done(&[&["policy", "get"][..], &target].concat()), document);
    assert_eq!(home.run(&apply).code, 1, "there is a version by now");
    let path = format!("/v1/policies/{}", segment(&key));
    assert_eq!(
        v1.expect(ADMIN_KEY, "GET", &path, Value::Null, 200).await.json()["document"],
        json!(document)
    );
}
