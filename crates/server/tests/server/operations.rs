//! What operators do with the store itself: users and keys, the audit log, the sealing key.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::{Home, mode, post};
use crate::process::ADMIN_KEY;

#[tokio::test]
async fn admin_verbs_take_effect_while_the_server_runs() {
    let home = Home::new();
    let server = home.serve();
    let data = ["--data-dir", "data"];
    for arguments in [
        &["admin", "org", "create", "acme", "--name", "Acme"][..],
        &["admin", "tenant", "create", "berlin", "--org", "acme"],
        &["admin", "user", "create", "ada", "--tenant", "berlin"],
    ] {
        assert_eq!(home.done(&[arguments, &data].concat()), "", "what was done is beside the answer");
    }
    // The command that is suggested names the same store.
    let said = home.run(&["admin", "user", "create", "eve", "--tenant", "berlin", "--data-dir", "data"]);
    assert!(said.err.ends_with(" admin key create NAME --user eve --data-dir data\n"), "{}", said.err);
    let key = home.done(&["admin", "key", "create", "laptop", "--user", "ada", "--data-dir", "data"]);
    let key = key.trim_end();
    assert_eq!(server.whoami(key).await, 200, "a new key works at once");
    for (nouns, arguments) in [
        ("acme", &["admin", "org", "list"][..]),
        ("berlin", &["admin", "tenant", "list", "--org", "acme"]),
        ("api-user", &["admin", "user", "list"]),
        ("laptop", &["admin", "key", "list", "--user", "ada"]),
    ] {
        let listed = home.done(&[arguments, &data].concat());
        assert!(listed.contains(nouns) && !listed.contains(key), "{listed}");
    }
    let refused = home.run(&["admin", "user", "create", "bob", "--tenant", "nowhere", "--data-dir", "data"]);
    assert!(refused.code == 1 && refused.err.contains("tenant not found"), "{}", refused.err);

    home.done(&["admin", "key", "delete", "laptop", "--user", "ada", "--data-dir", "data"]);
    let deleted = Instant::now();
    while server.whoami(key).await != 401 {
        assert!(deleted.elapsed() < Duration::from_secs(30), "a deleted key is refused");
        tokio::time::sleep(Duration::from_millis(20)).await; // poll: until the deadline above
    }
    // The administrator's own keys too: the way back when the last one is lost.
    let key = home.done(&["admin", "key", "create", "second", "--user", "my_org_id", "--data-dir", "data"]);
    assert_eq!(server.whoami(key.trim_end()).await, 200);
    let records = home.done(&["audit", "export", "--action", "create-user", "--data-dir", "data"]);
    let records: Vec<Value> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let decisions: Vec<_> = records.iter().map(|record| record["decision"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["allowed", "allowed", "refused"]);
    assert!(
        records.iter().all(|record| record["door"] == "cli" && record["user"] == "my_org_id"),
        "{records:?}"
    );
}

/// What is left after retention still verifies, and says from where on.
#[tokio::test]
async fn retention_moves_the_beginning_of_the_log() {
    let home = Home::new();
    let server = home.serve();
    assert_eq!(server.whoami(ADMIN_KEY).await, 200);
    server.signal("TERM");
    server.end();
    // An age that everything has by now.
    fs::write(home.path("ringfence.toml"), "[audit]\nretention = '1ms'\n").unwrap();
    let server = home.serve();
    let begun = Instant::now();
    while home.done(&["audit", "list", "--action", "prune-audit", "--data-dir", "data"]).lines().count() < 2 {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{}",
            home.done(&["audit", "list", "--data-dir", "data"])
        );
        tokio::time::sleep(Duration::from_millis(20)).await; // poll: until the deadline above
    }
    server.signal("TERM");
    server.end();
    assert_eq!(
        home.done(&["audit", "verify", "--data-dir", "data"]),
        "ok: all 1 records are as they were written\n    from record 2 on: retention removed the 1 before it\n"
    );
}

#[tokio::test]
async fn audit_verify_finds_a_record_that_was_changed() {
    let home = Home::new();
    let server = home.serve();
    for _ in 0..3 {
        assert_eq!(server.whoami(ADMIN_KEY).await, 200);
    }
    assert_eq!(server.whoami("=wrong").await, 401);
    server.signal("TERM");
    server.end();
    assert_eq!(
        home.done(&["audit", "verify", "--data-dir", "data"]),
        "ok: all 4 records are as they were written\n"
    );
    assert_eq!(home.done(&["audit", "list", "--limit", "2", "--data-dir", "data"]).lines().count(), 3);
    let sheet =
        home.done(&["audit", "export", "--format", "csv", "--decision", "refused", "--data-dir", "data"]);
    assert_eq!(sheet.lines().count(), 2, "{sheet}");
    assert!(sheet.contains("KEY_UNKNOWN") && sheet.starts_with("sequence,time,"), "{sheet}");

    let found = home.done(&["audit", "search", "--code", "KEY_UNKNOWN", "--data-dir", "data"]);
    assert_eq!(found.lines().count(), 2, "{found}");

    let store = rusqlite::Connection::open(home.path("data/ringfence.db")).unwrap();
    let mut triggers = store.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").unwrap();
    let triggers: Vec<String> =
        triggers.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for trigger in triggers {
        store.execute_batch(&format!("DROP TRIGGER \"{trigger}\"")).unwrap();
    }
    let changed = "UPDATE audit SET record = replace(record, 'my_org_id', 'somebody') WHERE sequence = 2";
    assert_eq!(store.execute(changed, []).unwrap(), 1);
    let said = home.run(&["audit", "verify", "--data-dir", "data"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("record 2 is the first that is not as it was written"), "{}", said.err);
    let said = home.run(&["audit", "verify", "--data-dir", "elsewhere"]);
    assert!(said.code == 1 && said.err.contains("there is no control store at elsewhere"), "{}", said.err);
}

#[tokio::test]
async fn a_rotated_sealing_key_opens_what_was_sealed_before() {
    let home = Home::new();
    let said = home.run(&["admin", "rotate-sealing-key", "--data-dir", "typo"]);
    assert!(said.code == 1 && said.err.contains("there is no control store at typo"), "{}", said.err);
    assert!(!home.path("typo").exists());
    let server = home.serve();
    let said = home.run(&["admin", "rotate-sealing-key", "--data-dir", "data"]);
    assert!(said.code == 1 && said.err.contains("stop it first"), "{}", said.err);
    server.signal("TERM");
    server.end();

    let before = fs::read(home.path("data/sealing.key")).unwrap();
    home.done(&["admin", "rotate-sealing-key", "--data-dir", "data"]);
    assert_ne!(fs::read(home.path("data/sealing.key")).unwrap(), before);
    assert_eq!(mode(&home.path("data/sealing.key")), 0o600);
    let server = home.serve_in(&[]);
    let (status, keys) = post(&server.url, ADMIN_KEY, "list-access-keys", &json!({})).await;
    assert!(status == 200 && keys.contains(ADMIN_KEY), "{keys}");
    server.signal("TERM");
    server.end();
    home.done(&["audit", "verify", "--data-dir", "data"]);

    // With the key in the environment, the new one is printed, and nothing else is.
    let old = fs::read_to_string(home.path("data/sealing.key")).unwrap();
    let environment = [("RINGFENCE_SEALING_KEY", old.trim())];
    let said = home.run_in(&environment, &["admin", "rotate-sealing-key", "--data-dir", "data"]);
    assert_eq!((said.code, said.out.lines().count()), (0, 1), "{}", said.err);
    let environment = [("RINGFENCE_SEALING_KEY", said.out.trim())];
    assert_eq!(home.run_in(&environment, &["audit", "verify", "--data-dir", "data"]).code, 0);
    assert_eq!(home.run(&["audit", "verify", "--data-dir", "data"]).code, 1);
}
