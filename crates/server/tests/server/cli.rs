//! The command line: what it says, what it reads, and how it starts and stops the server.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::process::ADMIN_KEY;

const LIMIT: Duration = Duration::from_secs(30);

/// A directory that commands run in.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `ringfence` with these arguments, in a clean environment.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RINGFENCE_")) {
            command.env_remove(name);
        }
        command.args(arguments).current_dir(self.0.path()).env("TMPDIR", self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        Said::from(self.command(arguments).output().unwrap())
    }

    /// The same, in an environment.
    pub(crate) fn run_in(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Said {
        Said::from(self.command(arguments).envs(environment.iter().copied()).output().unwrap())
    }

    /// Runs a command that must succeed, and answers what it printed.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
        said.out
    }

    /// Serves from `data`, as a user of it would.
    pub(crate) fn serve(&self) -> Running {
        self.serve_in(&[("RINGFENCE_ADMIN_KEY", ADMIN_KEY)])
    }

    pub(crate) fn serve_in(&self, environment: &[(&str, &str)]) -> Running {
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = self.command(&["serve", "--data-dir", "data", "--listen", "127.0.0.1:0"]);
        let mut child = command.envs(environment.iter().copied()).stderr(log).spawn().unwrap();
        let deadline = Instant::now() + LIMIT;
        let url = loop {
            let written = fs::read_to_string(self.path("data/listen")).unwrap_or_default();
            if let Some(url) = written.strip_suffix('\n') {
                break url.to_owned();
            }
            let ended = child.try_wait().unwrap();
            let log = fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < deadline, "no server: {log}");
            std::thread::sleep(Duration::from_millis(5)); // poll: until the deadline above
        };
        Running { child, url }
    }
}

/// What a command said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A server; stops with its owner.
pub(crate) struct Running {
    child: Child,
    pub(crate) url: String,
}

impl Running {
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for the end, and says the exit code and what was printed.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let status = wait(&mut self.child);
        let mut out = String::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            std::io::Read::read_to_string(&mut stdout, &mut out).unwrap();
        }
        (status, out)
    }

    pub(crate) async fn whoami(&self, key: &str) -> StatusCode {
        post(&self.url, key, "get-user-info", &json!({})).await.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn wait(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(5)); // poll: until the deadline above
    }
}

pub(crate) async fn post(url: &str, key: &str, endpoint: &str, body: &Value) -> (StatusCode, String) {
    let client = Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
    let request = client.post(format!("{url}/api/{endpoint}")).bearer_auth(key).body(body.to_string());
    let answer = request.header("content-type", "application/json").send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn help_says_what_there_is() {
    let home = Home::new();
    let help = home.done(&["--help"]);
    for line in help.lines() {
        assert!(!line.contains('\u{1b}'), "no colours where there is no terminal: {line}");
    }
    let commands: Vec<_> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.strip_prefix("  ")?.split("  ").next())
        .collect();
    assert_eq!(
        commands,
        [
            "serve", "demo", "config", "admin", "policy", "endpoints", "cubes", "restrictions", "tenants",
            "prove", "doctor", "explain", "why", "audit", "load", "mcp", "completions"
        ]
    );
    insta::assert_snapshot!(help.lines().next().unwrap(), @"One door to your databases, where every person, application and agent sees only their own data");
    for command in commands {
        let help = home.done(&[command, "--help"]);
        assert!(help.contains("\nEXAMPLES\n"), "{command}: {help}");
        assert!(help.lines().count() > 10, "{command} has a paragraph");
    }
    assert!(home.done(&["--version"]).starts_with("ringfence 0."));
    assert!(home.done(&["completions", "bash"]).contains("_ringfence()"));
}

#[test]
fn asking_wrongly_is_exit_code_2() {
    let home = Home::new();
    for arguments in [
        &["nonsense"][..],
        &[],
        &["serve", "--listen", "here"],
        &["serve", "--listen", ":9859"],
        &["audit", "list", "--since", "yesterday"],
        &["serve", "--config", "missing.toml"],
        &["serve", "--log", "=,="],
    ] {
        assert_eq!(home.run(arguments).code, 2, "{arguments:?}");
    }
}

#[test]
fn unknown_settings_are_refused_with_the_nearest_name() {
    let home = Home::new();
    fs::write(home.path("wrong.toml"), "[server]\nlisen = '127.0.0.1:1'\n").unwrap();
    let said = home.run(&["config", "check", "--config", "wrong.toml"]);
    assert_eq!(said.code, 2);
    let expected = "error: wrong.toml:2: unknown setting `server.lisen`, did you mean `server.listen`?\n";
    assert!(said.err.starts_with(expected), "{}", said.err);

    let said = home.run_in(&[("RINGFENCE_STORE__DATADIR", "x")], &["serve"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("did you mean `RINGFENCE_STORE__DATA_DIR`?"), "{}", said.err);
}

#[test]
fn config_show_has_what_is_in_force_and_no_secret() {
    let home = Home::new();
    fs::write(home.path("ringfence.toml"), "[audit]\nqueue = 5\n[server]\nlisten = '127.0.0.1:1'\n").unwrap();
    let environment = [("RINGFENCE_LISTEN", "127.0.0.1:2"), ("RINGFENCE_ADMIN_KEY", "hunter2")];
    let said = home.run_in(&environment, &["config", "show", "--data-dir", "here"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for line in ["queue = 5", "listen = \"127.0.0.1:2\"", "key = \"<hidden>\"", "data_dir = \"here\""] {
        assert!(said.out.contains(line), "{line}: {}", said.out);
    }
    assert!(!said.out.contains("hunter2"));
    for line in ["# admin_listen is not set", "# tls.certificate is not set", "# url is not set"] {
        assert!(said.out.lines().any(|found| found == line), "{line}: {}", said.out);
    }
    assert!(said.out.contains("key_file = \"here/sealing.key\""), "{}", said.out);
    fs::write(home.path("again.toml"), said.out.replace("key = \"<hidden>\"\n", "")).unwrap();
    home.done(&["config", "check", "--config", "again.toml"]);
    let schema =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/config.schema.json")).unwrap();
    assert_eq!(home.done(&["config", "schema"]), schema);
}

#[tokio::test]
async fn serve_makes_everything_and_stops_by_signal() {
    let home = Home::new();
    for name in ["TERM", "INT"] {
        let server = home.serve();
        assert_eq!(server.whoami(ADMIN_KEY).await, 200);
        assert_eq!(mode(&home.path("data")), 0o700);
        assert_eq!(mode(&home.path("data/sealing.key")), 0o600);
        assert!(server.url.starts_with("http://127.0.0.1:"), "{}", server.url);
        server.signal(name);
        assert_eq!(server.end().0, Some(0));
        assert!(!home.path("data/listen").exists());
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let home = Home::new();
    let environment =
        [("RINGFENCE_SERVER__DRAIN_TIMEOUT", "10m"), ("RINGFENCE_SERVER__REQUEST_TIMEOUT", "10m")];
    let mut server = home.serve_in(&environment);
    let mut socket = std::net::TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    let unfinished = b"POST /api/get-user-info HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n{";
    std::io::Write::write_all(&mut socket, unfinished).unwrap();
    let deadline = Instant::now() + LIMIT;
    server.signal("TERM");
    while !fs::read_to_string(home.path("log")).unwrap().contains("stopping") {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5)); // poll: until the deadline above
    }
    assert!(server.child.try_wait().unwrap().is_none());
    server.signal("TERM");
    // Either it was still draining, or it had just ended by itself.
    assert!(matches!(wait(&mut server.child), Some(0 | 1)));
    assert!(!home.path("data/listen").exists());
}

#[tokio::test]
async fn a_made_admin_key_is_printed_once_and_works() {
    let home = Home::new();
    let server = home.serve_in(&[]);
    // Printed before it listens, so that it is there now.
    let url = server.url.clone();
    let mut server = server;
    let stdout = server.child.stdout.take().unwrap();
    let lines: Vec<String> = BufReader::new(stdout).lines().map_while(Result::ok).take(5).collect();
    let key = lines.iter().map(|line| line.trim()).find(|line| line.starts_with("rf_")).unwrap();
    assert_eq!(post(&url, key, "get-user-info", &json!({})).await.0, 200);
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
    assert!(!fs::read_to_string(home.path("log")).unwrap().contains(key), "keys are not logged");

    let server = home.serve_in(&[]);
    assert_eq!(server.whoami(key).await, 200);
    server.signal("TERM");
    assert_eq!(server.end(), (Some(0), String::new()));
}

#[test]
fn serve_refuses_to_start_and_says_what_to_do() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    fs::write(home.path("file"), "").unwrap();
    fs::write(home.path("bad.pem"), "no certificate").unwrap();
    fs::create_dir(home.path("inside")).unwrap();
    let serve = |environment: &[(&str, &str)], arguments: &[&str]| {
        let said = home.run_in(environment, &[&["serve", "--log", "error"], arguments].concat());
        assert!(
            said.code == 1 || said.code == 2,
            "{arguments:?} {environment:?}: {} {}",
            said.code,
            said.err
        );
        assert!(said.err.contains("help:"), "{arguments:?}: {}", said.err);
        said.err
    };
    let tls = [("RINGFENCE_SERVER__TLS__CERTIFICATE", "bad.pem"), ("RINGFENCE_SERVER__TLS__KEY", "bad.pem")];
    let open = ["--data-dir", "a", "--listen", "0.0.0.0:0"];
    let free = ["--data-dir", "a", "--listen", "127.0.0.1:0"];
    for (error, expected) in [
        (serve(&[], &["--data-dir", "file"]), "the data directory file can't be used: it is no directory"),
        (serve(&[], &["--data-dir", "a", "--listen", &taken]), &format!("can't listen on {taken}")),
        (serve(&[("RINGFENCE_ADMIN_KEY", "abc123")], &open), "fewer than 16 characters"),
        (serve(&tls, &free), "bad.pem"),
        (serve(&[("RINGFENCE_STORE_URL", "postgresql://x@127.0.0.1:1/x")], &[]), "needs a sealing key"),
        (serve(&[("RINGFENCE_SEALING_KEY", "short")], &free), "sealing key"),
        (
            serve(&[], &["--data-dir", "inside/data", "--sqlite-dir", "inside"]),
            "users could open the control store",
        ),
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn config_check_refuses_what_serve_refuses_and_makes_nothing() {
    let home = Home::new();
    fs::write(home.path("bad.pem"), "no certificate").unwrap();
    fs::write(home.path("file"), "").unwrap();
    fs::create_dir(home.path("inside")).unwrap();
    let before = fs::read_dir(home.path("")).unwrap().count();
    for (environment, expected, advice) in [
        (&[("RINGFENCE_SEALING_KEY", "short")][..], "RINGFENCE_SEALING_KEY", "openssl rand"),
        (&[("RINGFENCE_SEALING__KEY_FILE", "bad.pem")], "bad.pem", "chmod 600"),
        (&[("RINGFENCE_LOG__FILTER", "foo=bar=baz")], "`log.filter`", ""),
        (&[("RINGFENCE_TELEMETRY__OTLP_ENDPOINT", "nowhere")], "`telemetry.otlp_endpoint`", ""),
        (
            &[("RINGFENCE_SERVER__TLS__CERTIFICATE", "no.pem"), ("RINGFENCE_SERVER__TLS__KEY", "no.pem")],
            "no.pem can't be used: No such file",
            "[server.tls]",
        ),
        (
            &[("RINGFENCE_SERVER__TLS__CERTIFICATE", "bad.pem"), ("RINGFENCE_SERVER__TLS__KEY", "bad.pem")],
            "bad.pem can't be used: it holds no CERTIFICATE",
            "[server.tls]",
        ),
        (&[("RINGFENCE_STORE_URL", "postgresql://x@127.0.0.1:1/x")], "needs a sealing key", "openssl rand"),
        (&[("RINGFENCE_DATA_DIR", "file")], "it is no directory", "--data-dir"),
        (
            &[("RINGFENCE_DATA_DIR", "inside/new"), ("RINGFENCE_SQLITE__DIRECTORIES", "inside")],
            "open the control store",
            "",
        ),
        (&[("RINGFENCE_ADMIN__ORG", "")], "`admin.org`", ""),
        (
            &[("RINGFENCE_LISTEN", "0.0.0.0:0"), ("RINGFENCE_ADMIN_KEY", "abc123")],
            "fewer than 16",
            "openssl rand",
        ),
    ] {
        let checked = home.run_in(environment, &["config", "check"]);
        let served = home.run_in(environment, &["serve"]);
        assert_eq!((checked.code, &checked.err), (served.code, &served.err), "{environment:?}");
        assert!(checked.code != 0 && checked.err.contains(expected), "{expected}: {}", checked.err);
        assert!(checked.err.contains(advice), "{advice}: {}", checked.err);
        assert!(advice == "chmod 600" || !checked.err.contains("chmod"), "{}", checked.err);
        assert!(!checked.err.contains("--listen"), "{}", checked.err);
    }
    assert_eq!(fs::read_dir(home.path("")).unwrap().count(), before);

    let said = home.run_in(&[("RINGFENCE_SQLITE__DIRECTORIES", "/nonexistent")], &["config", "check"]);
    assert_eq!(said.code, 0);
    assert!(
        said.err.starts_with("warning: `sqlite.directories`: /nonexistent is no directory"),
        "{}",
        said.err
    );
}

#[test]
fn a_taken_address_is_refused_before_anything_is_made() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (flag, arguments) in [
        ("--listen", &["--listen", &taken][..]),
        ("--admin-listen", &["--listen", "localhost:0", "--admin-listen", &taken]),
    ] {
        let said = home.run(&[&["serve", "--data-dir", "new"], arguments].concat());
        assert_eq!((said.code, said.out.as_str()), (1, ""), "no administrator, no key");
        assert!(said.err.starts_with(&format!("error: can't listen on {taken}")), "{}", said.err);
        assert!(said.err.contains(&format!("another address with {flag},")), "{}", said.err);
        assert!(!said.err.contains("tls"), "{}", said.err);
        assert!(!home.path("new").exists());
    }
    assert_eq!(home.run(&["demo", "--listen", &taken]).code, 1);
}

#[test]
fn every_option_and_argument_has_a_text() {
    let home = Home::new();
    for command in [
        &["serve"][..],
        &["demo"],
        &["config", "show"],
        &["admin", "org", "create"],
        &["admin", "org", "delete"],
        &["admin", "tenant", "create"],
        &["admin", "tenant", "list"],
        &["admin", "tenant", "delete"],
        &["admin", "user", "create"],
        &["admin", "user", "list"],
        &["admin", "user", "delete"],
        &["admin", "key", "create"],
        &["admin", "key", "list"],
        &["admin", "key", "delete"],
        &["audit", "list"],
        &["audit", "export"],
    ] {
        let help = home.done(&[command, &["-h"]].concat());
        // Either behind two spaces on the same line, or on the next one, further in.
        let lines: Vec<_> = help.lines().take_while(|line| *line != "EXAMPLES").collect();
        for pair in lines.windows(2) {
            let option = pair[0].trim_start();
            if pair[0].starts_with("  ") && option.starts_with(['-', '<', '[']) {
                let texted = option.contains("  ") || pair[1].starts_with("          ");
                assert!(texted, "{command:?}: {option}");
            }
        }
    }
}

#[test]
fn serve_refuses_a_store_that_it_cannot_read() {
    let home = Home::new();
    let server = home.serve();
    let said = home.run(&["serve", "--data-dir", "data", "--listen", "127.0.0.1:0"]);
    assert!(
        said.code == 1 && said.err.contains("another ringfence serves from data at http://"),
        "{}",
        said.err
    );
    server.signal("TERM");
    server.end();

    // The short key that was good for loopback is still in the store.
    let said = home.run(&["serve", "--data-dir", "data", "--listen", "0.0.0.0:0", "--log", "error"]);
    assert!(said.code == 1 && said.err.contains("ringfence admin key delete"), "{}", said.err);

    let key = fs::read(home.path("data/sealing.key")).unwrap();
    fs::remove_file(home.path("data/sealing.key")).unwrap();
    let said = home.run(&["serve", "--data-dir", "data", "--listen", "127.0.0.1:0", "--log", "error"]);
    assert!(
        said.code == 1 && said.err.contains("is not the one that this control store was sealed with"),
        "{}",
        said.err
    );
    assert!(!home.path("data/sealing.key").exists(), "a new key would only mislead");
    fs::write(home.path("data/sealing.key"), key).unwrap();
    fs::set_permissions(home.path("data/sealing.key"), PermissionsExt::from_mode(0o600)).unwrap();

    let store = rusqlite::Connection::open(home.path("data/ringfence.db")).unwrap();
    store.execute("INSERT INTO schema_version (version) VALUES (1000)", []).unwrap();
    let said = home.run(&["serve", "--data-dir", "data", "--listen", "127.0.0.1:0", "--log", "error"]);
    assert!(said.code == 1 && said.err.contains("schema version 1000"), "{}", said.err);
}
