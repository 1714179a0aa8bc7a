//! `ringfence explain` and `ringfence why` as people run them.

use ringfence_testkit::Postgres;
use serde_json::{Value, json};

use crate::cli::Home;
use crate::process::{ADMIN_KEY, Server};
use crate::v1_client::V1;
use crate::v1_explain::{DOCUMENT, Shop};
use crate::world::{connection_to, key_to, make_database, wait_for_index};

#[tokio::test]
async fn statements_and_rows_are_explained_on_the_store() {
    let home = Home::new();
    let postgres = Postgres::shared().await;
    make_database(postgres, "cli_explain").await;
    let server = Server::start().await;
    let (key, data) = (key_to(postgres, "cli_explain"), server.data_dir());
    let v1 = V1::of(&server);
    v1.expect(ADMIN_KEY, "POST", "/v1/connections", connection_to(postgres, "cli_explain"), 201).await;
    wait_for_index(&server, ADMIN_KEY, &key).await;
    v1.put_policy(ADMIN_KEY, &key, DOCUMENT).await;
    let me = v1.expect(ADMIN_KEY, "GET", "/v1/me", Value::Null, 200).await.json();
    let user = me["id"].as_str().unwrap();
    let target = ["--as", user, "--connection", "cli_explain", "--data-dir", data.as_str()];
    let explain = |statement: &'static str, more: &[&'static str]| {
        home.done(&[&["explain", statement][..], &target, more].concat())
    };
    let text = explain("SELECT title FROM movies WHERE id = $1", &["--plan"]);
    for part in [
        "it runs",
        "parameter 1 of the caller",
        "\"Year\" < 1980",
        "narrowed by the row policy old (line 5)",
        "masked by",
        "title",
        "read-only",
        "Plan of the database",
        "version 1",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "colours where nobody looks");
    let text = explain("SELECT * FROM actors", &[]);
    assert!(text.contains("RELATION_UNKNOWN") && text.contains("default: deny"), "{text}");
    let text = explain("SELECT * FROM movies", &["--callers-view"]);
    assert!(text.contains("limited") && text.contains("title") && !text.contains("Year"), "{text}");
    let view: Value = serde_json::from_str(&explain("SELECT * FROM movies", &["--format", "json"])).unwrap();
    assert_eq!((&view["view"], &view["as"]["user"]), (&json!("administrator"), &json!(user)));

    let why = |id: &'static str, more: &[&'static str]| {
        home.done(&[&["why", "--relation", "public.movies", "--key", id][..], &target, more].concat())
    };
    let text = why("id=2", &[]);
    for part in
        ["not visible", "FALSE", "the row policy old (line 5)", "base TRUE", "narrow FALSE", "Year = 1985"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(why("id=1", &[]).contains("visible"));
    assert!(why("id=9", &[]).contains("there is no such row"));
    let view: Value = serde_json::from_str(&why("id=3", &["--format", "json"])).unwrap();
    assert_eq!((&view["visible"], &view["parts"]["narrow"]), (&json!(false), &json!("null")));

    let wrong =
        home.run(&["explain", "SELECT 1", "--as", user, "--connection", "nothing", "--data-dir", &data]);
    assert!(wrong.code == 1 && wrong.err.contains("no connection of the name nothing"), "{}", wrong.err);
    let wrong = home.run(&[&["why", "--relation", "movies", "--key", "id"][..], &target].concat());
    assert!(wrong.code == 2 && wrong.err.contains("id=42"), "{}", wrong.err);
    // Each left its record.
    let records = home.done(&["audit", "export", "--action", "explain-row", "--data-dir", &data]);
    let records: Vec<Value> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 4, "{records:?}");
    assert!(records.iter().all(|record| record["door"] == "cli" && record["user"] == user));
}

/// The operator is of another organization than the users, and sees nothing there in their own name.
#[tokio::test]
async fn the_operator_asks_about_people_of_every_organization() {
    let (home, server) = (Home::new(), Server::start().await);
    let _shop = Shop::open(&server, "cli_explain_operator").await;
    let data = server.data_dir();
    let target = ["--as", "banana-user", "--connection", "cli_explain_operator", "--data-dir", data.as_str()];
    let text = home.done(&[&["explain", "SELECT id FROM movies"][..], &target].concat());
    assert!(text.contains("it runs") && text.contains("version 1"), "{text}");
    let text = home.done(&[&["why", "--relation", "movies", "--key", "id=2"][..], &target].concat());
    assert!(text.contains("not visible") && text.contains("Year = 1985"), "{text}");
}

#[test]
fn help_teaches_by_examples() {
    let home = Home::new();
    for (verb, words) in [
        ("explain", ["--plan", "--callers-view", "EXAMPLES"]),
        ("why", ["--key", "COLUMN=VALUE", "EXAMPLES"]),
    ] {
        let help = home.done(&[verb, "--help"]);
        assert!(words.iter().all(|word| help.contains(word)), "{help}");
    }
}
