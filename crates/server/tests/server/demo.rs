//! `ringfence demo`: the table is true, its keys work, and nothing stays behind.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

/// (user, tenant, connections, orders, writes, asked for and not found).
const TABLE: [[&str; 6]; 6] = [
    ["ada", "acme/berlin", "berlin, paris", "2,610", "yes", "tokyo"],
    ["ben", "acme/berlin", "berlin", "1,480", "yes", "paris"],
    ["pia", "acme/paris", "paris", "1,130", "yes", "berlin"],
    ["theo", "acme/paris", "paris", "1,130", "no", "berlin"],
    ["aiko", "globex/tokyo", "tokyo", "2,210", "yes", "berlin"],
    ["kenji", "globex/tokyo", "tokyo", "2,210", "yes", "paris"],
];

fn demo(home: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.arg("demo").args(arguments).env("TMPDIR", home);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn is_empty(home: &Path) -> bool {
    std::fs::read_dir(home).unwrap().next().is_none()
}

#[test]
fn demo_shows_who_can_see_what() {
    let home = tempfile::tempdir().unwrap();
    let output = demo(home.path(), &["--once", "--listen", "127.0.0.1:0"]).wait_with_output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && err.is_empty(), "{err}");
    for [user, tenant, connections, orders, writes, other] in TABLE {
        let row = out.lines().find(|line| line.starts_with(&format!("│ {user} "))).unwrap();
        let cells: Vec<_> = row.split(['│', '┆']).map(str::trim).collect();
        let tables = if connections.contains(',') { "10" } else { "5" };
        let other = format!("{other}: not found");
        assert_eq!(cells[3..9], [tenant, connections, tables, orders, writes, &other], "{row}");
    }
    assert!(out.contains("ada acts for pia, of the same organization: 1,130 orders"), "{out}");
    assert!(
        out.contains("ada tries to act for kenji, of another organization: impersonation denied"),
        "{out}"
    );
    assert!(!out.contains('\u{1b}'), "no colours where there is no terminal");
    assert!(is_empty(home.path()), "nothing stays behind");
}

#[tokio::test]
async fn what_the_demo_prints_works() {
    let home = tempfile::tempdir().unwrap();
    let mut child = demo(home.path(), &["--listen", "127.0.0.1:0"]);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut printed = Vec::new();
    for line in lines {
        let last = line.starts_with("Press Ctrl-C");
        printed.push(line);
        if last {
            break;
        }
    }
    let key = |user: &str| {
        let of_user = |line: &&String| line.trim_start().starts_with(user) && line.contains(" rf_");
        printed.iter().find(of_user).unwrap().split_whitespace().nth(1).unwrap().to_owned()
    };
    let curls: Vec<_> = printed.iter().filter(|line| line.contains("curl -s ")).collect();
    assert_eq!(curls.len(), 2);
    let url = curls[0].split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    let bodies: Vec<Value> = printed
        .iter()
        .filter_map(|line| line.trim().strip_prefix("-d '")?.strip_suffix('\''))
        .map(|body| serde_json::from_str(body).unwrap())
        .collect();
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
    let post = async |key: &str, body: &Value| {
        let request = client.post(url).bearer_auth(key).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert!(curls[0].contains(&key("ben")), "{}", curls[0]);
    // Tests run with no `ringfence` of this build on PATH, so that the hints must name the program's path.
    let hint = printed.iter().find_map(|line| line.trim().strip_prefix("And only that")).unwrap();
    let verified = Command::new("sh").args(["-c", hint]).env("PATH", "/usr/bin:/bin").output().unwrap();
    assert!(verified.status.success(), "{hint}: {}", String::from_utf8_lossy(&verified.stderr));
    // Pasted as it is printed, it must begin in the first column, and need what `pip install` brings alone.
    assert!(printed.contains(&"from waii_sdk_py import Waii".to_owned()));
    assert!(printed.contains(&"pip install waii-sdk-py==1.29.2 pydantic==2.10.3".to_owned()));
    assert!(!printed.iter().any(|line| line.contains("pandas")));
    let (status, text) = post(&key("ben"), &bodies[0]).await;
    assert!(status == 200 && text.contains("Potsdam"), "{text}");
    assert_eq!(post(&key("ben"), &bodies[1]).await.0, 404);
    let other = json!({ "scope": "waii://nobody@nowhere/shop", "query": bodies[1]["query"] });
    assert_eq!(
        post(&key("ben"), &bodies[1]).await.1,
        post(&key("ben"), &other).await.1,
        "as if it did not exist"
    );
    assert_eq!(post(&key("kenji"), &bodies[0]).await.0, 404);

    // Paths that others must not reach: the control store, and a neighbour's file under a name of one's own.
    let control =
        std::fs::read_dir(home.path()).unwrap().next().unwrap().unwrap().path().join("control/ringfence.db");
    let connection = json!({ "db_type": "sqlite", "database": control });
    let body = json!({ "updated": [connection], "validate_before_save": true });
    let modify = url.replace("run-query", "update-db-connect-info");
    let request = client.post(modify).bearer_auth(key("ben")).header("content-type", "application/json");
    let refused = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    assert!(refused.text().await.unwrap().contains("director"), "the file may not be opened");

    let interrupted = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success() && child.wait().unwrap().success());
    assert!(is_empty(home.path()), "nothing stays behind");
}
