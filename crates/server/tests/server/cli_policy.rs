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
    assert_eq!(home.done(&["policy", "check", "good.yaml"]), "ok: the document can be used\n");
    assert_eq!(
        home.done(&["policy", "check", "good.yaml", "--kind", "sqlite"]),
        "ok: the document can be used\n"
    );
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

/// What a document would change, whether expectations hold, and taking it away.
#[tokio::test]
async fn a_policy_is_looked_at_tried_and_removed_on_the_store() {
    let home = Home::new();
    let postgres = Postgres::shared().await;
    make_database(postgres, "cli_policy_looks").await;
    let server = Server::start().await;
    let (key, data) = (key_to(postgres, "cli_policy_looks"), server.data_dir());
    let v1 = V1::of(&server);
    v1.expect(ADMIN_KEY, "POST", "/v1/connections", connection_to(postgres, "cli_policy_looks"), 201).await;
    let path = format!("/v1/connections/{}/query", segment(&key));
    let count = json!({"statement": "SELECT count(*) FROM movies"});
    v1.expect(ADMIN_KEY, "POST", &path, count.clone(), 200).await;
    let me = v1.expect(ADMIN_KEY, "GET", "/v1/me", Value::Null, 200).await.json();
    let user = me["id"].as_str().unwrap();
    let document = "models:\n  Movie:\n    table: public.movies\n    row_policies: [ { name: a, condition: \"title = 'Alien'\" } ]\n    fields: { id: [ { action: allow }, { roles: [x], action: deny } ] }\n";
    fs::write(home.path("policy.yaml"), document).unwrap();
    let target = ["--connection", key.as_str(), "--user", user, "--data-dir", data.as_str()];
    let run = |words: &[&str]| home.run(&[words, &target].concat());

    let checked = run(&["policy", "check", "policy.yaml"]);
    assert_eq!(
        (checked.code, checked.out.as_str()),
        (0, "ok: the document can be used, with 1 warning\n"),
        "{}",
        checked.err
    );
    assert!(
        checked.err.contains("policy.yaml:5:") && checked.err.contains("[RULE_SHADOWED]"),
        "{}",
        checked.err
    );
    assert_eq!(run(&["policy", "check", "policy.yaml", "--strict"]).code, 1);
    let checked: Value =
        serde_json::from_str(&run(&["policy", "check", "policy.yaml", "--format", "json"]).out).unwrap();
    assert_eq!(
        (&checked["indexed"], &checked["warnings"][0]["code"]),
        (&json!(true), &json!("RULE_SHADOWED"))
    );

    let diff = run(&["policy", "diff", "policy.yaml", "--as", user]);
    assert_eq!(diff.code, 0, "{}", diff.err);
    assert!(diff.out.starts_with("against the open connection: 1 of 1 users are affected\n"), "{}", diff.out);
    assert!(diff.out.contains("  public.movies\n") && diff.out.contains(": 3 -> 1 (-2)\n"), "{}", diff.out);
    let diff: Value =
        serde_json::from_str(&run(&["policy", "diff", "policy.yaml", "--format", "json"]).out).unwrap();
    assert_eq!(diff["groups"][0]["relations"][1]["rows"][0]["lost"], 2, "{diff}");

    let tests = format!(
        "tests:\n  - {{ name: one film, as: {user}, query: SELECT 1 FROM movies, expect: {{ count: 1 }} }}\n"
    );
    fs::write(home.path("tests.yaml"), tests).unwrap();
    let tried = run(&["policy", "test", "tests.yaml", "--policy", "policy.yaml"]);
    assert_eq!(tried.code, 0, "{}", tried.err);
    assert_eq!(tried.out, format!("ok   one film (as {user}, line 2)\n1 passed, 0 failed\n"));
    assert_eq!(run(&["policy", "test", "tests.yaml"]).code, 1, "there is no policy yet");
    assert_eq!(run(&["policy", "apply", "policy.yaml"]).code, 0);
    assert_eq!(run(&["policy", "test", "tests.yaml"]).code, 0);
    fs::write(
        home.path("wrong.yaml"),
        fs::read_to_string(home.path("tests.yaml")).unwrap().replace("count: 1", "count: 2"),
    )
    .unwrap();
    let tried = run(&["policy", "test", "wrong.yaml", "--format", "json"]);
    let report: Value = serde_json::from_str(&tried.out).unwrap();
    assert_eq!((tried.code, &report["failed"], &report["version"]), (1, &json!(1), &json!(1)), "{report}");

    assert_eq!(run(&["policy", "remove"]).code, 2, "the version must be named");
    assert_eq!(run(&["policy", "remove", "--expect", "2"]).code, 1);
    let removed = run(&["policy", "remove", "--expect", "1", "--comment", "moved"]);
    assert_eq!(removed.code, 0, "{}", removed.err);
    assert!(removed.out.contains("is open to everybody"), "{}", removed.out);
    assert_eq!(run(&["policy", "get"]).code, 1);
}

/// What the database lets the connection's user do, and row-level security for another one.
#[tokio::test]
async fn connections_are_examined_and_policies_compiled() {
    let home = Home::new();
    let postgres = Postgres::shared().await;
    make_database(postgres, "cli_doctor").await;
    let server = Server::start().await;
    let (key, data) = (key_to(postgres, "cli_doctor"), server.data_dir());
    let v1 = V1::of(&server);
    v1.expect(ADMIN_KEY, "POST", "/v1/connections", connection_to(postgres, "cli_doctor"), 201).await;
    let path = format!("/v1/connections/{}/query", segment(&key));
    v1.expect(ADMIN_KEY, "POST", &path, json!({"statement": "SELECT count(*) FROM movies"}), 200).await;
    let me = v1.expect(ADMIN_KEY, "GET", "/v1/me", Value::Null, 200).await.json();
    let user = me["id"].as_str().unwrap();
    let doctor = |more: &[&str]| {
        home.run(
            &[&["doctor", "--user", user, "--data-dir", data.as_str(), "--format", "json"][..], more]
                .concat(),
        )
    };
    let codes = |out: &str| -> Vec<String> {
        let report: Value = serde_json::from_str(out).unwrap();
        let findings = report["findings"].as_array().unwrap();
        findings.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
    };
    let said = doctor(&[]);
    assert_eq!(said.code, 0, "{} {}", said.out, said.err);
    for code in ["CONFIGURATION", "STORE", "OPEN", "OWNER"] {
        assert!(codes(&said.out).iter().any(|found| found == code), "{code}: {}", said.out);
    }
    assert!(said.out.contains("GRANT SELECT ON ALL TABLES IN SCHEMA"), "{}", said.out);
    assert_eq!(doctor(&["--strict"]).code, 1);
    assert_eq!(doctor(&["--connection", "postgresql://nobody@nowhere/x"]).code, 1);

    let document = "models:\n  Movie: { table: public.movies, row_policies: [ { name: a, condition: \"title = 'Alien'\" } ], fields: { id: hash } }\n";
    fs::write(home.path("policy.yaml"), document).unwrap();
    let target = ["--connection", key.as_str(), "--user", user, "--data-dir", data.as_str()];
    let run = |words: &[&str]| home.run(&[words, &target].concat());
    let compile = ["policy", "compile", "policy.yaml", "--target", "postgres-rls"];
    let refused = run(&compile);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{}", refused.err);
    assert!(refused.err.contains("policy.yaml:2:") && refused.err.contains("[RLS_MASK]"), "{}", refused.err);
    let compiled = run(&[&compile[..], &["--withhold", "--role", "odd \"role"]].concat());
    assert_eq!(compiled.code, 0, "{}", compiled.err);
    assert!(
        compiled.out.contains("FOR SELECT TO \"odd \"\"role\" USING ((\"movies\".\"title\" = 'Alien'));"),
        "{}",
        compiled.out
    );
    assert!(
        compiled.out.contains("FORCE ROW LEVEL SECURITY") && !compiled.out.contains("\"id\""),
        "{}",
        compiled.out
    );
    assert_eq!(run(&["policy", "apply", "policy.yaml"]).code, 0);
    assert!(codes(&doctor(&[]).out).iter().any(|found| found == "GUARDED"));
}
