//! `ringfence prove` as people and pipelines run it: exit codes, reports.

use std::fs;

use ringfence_testkit::Postgres;
use serde_json::Value;

use crate::cli::Home;
use crate::process::{ADMIN_KEY, Server};
use crate::v1_client::V1;
use crate::world::{connection_to, key_to, make_database, wait_for_index};

#[tokio::test]
async fn a_proof_is_told_by_exit_codes_and_reports() {
    let home = Home::new();
    let postgres = Postgres::shared().await;
    make_database(postgres, "cli_prove").await;
    let server = Server::start().await;
    let (key, data) = (key_to(postgres, "cli_prove"), server.data_dir());
    let v1 = V1::of(&server);
    v1.expect(ADMIN_KEY, "POST", "/v1/connections", connection_to(postgres, "cli_prove"), 201).await;
    wait_for_index(&server, ADMIN_KEY, &key).await;
    let me = v1.expect(ADMIN_KEY, "GET", "/v1/me", Value::Null, 200).await.json();
    let user = me["id"].as_str().unwrap();
    fs::write(home.path("policy.yaml"), "models:\n  Movie: { table: public.movies }\n").unwrap();
    fs::write(home.path("who.yaml"), "principals: [ { tenant: one }, { tenant: two } ]\n").unwrap();
    fs::write(home.path("intent.yaml"), "relations: { movies: { hidden: true } }\n").unwrap();
    fs::write(home.path("wrong.yaml"), "relations:\n  moovies: { hidden: true }\n").unwrap();
    let target = ["--connection", key.as_str(), "--user", user, "--data-dir", data.as_str()];
    let run = |words: &[&str]| home.run(&[&["prove", "--principals", "who.yaml"], words, &target].concat());

    let said = run(&[]);
    assert_eq!((said.code, said.out.as_str()), (2, ""), "there is no policy: {}", said.err);
    let said = run(&["--policy", "policy.yaml"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("proven: nothing was seen that is not meant, as 2 principals"), "{}", said.out);

    let said =
        run(&["--policy", "policy.yaml", "--intent", "intent.yaml", "--json", "-", "--html", "proof.html"]);
    assert_eq!(said.code, 1, "{}", said.err);
    let proof: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&proof["format"], &proof["version"]), (&"ringfence-proof".into(), &1.into()));
    assert_eq!(proof["proven"], false);
    let finding = &proof["findings"][0];
    assert_eq!(
        (&finding["invariant"], &finding["relation"]),
        (&"no_denied_fields".into(), &"public.movies".into())
    );
    let page = fs::read_to_string(home.path("proof.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("Not proven"), "{page}");

    let said = run(&["--policy", "policy.yaml", "--intent", "wrong.yaml"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("wrong.yaml:2:") && said.err.contains("no relation `moovies`"), "{}", said.err);
}
