//! Tests of the configuration as a whole.

use std::path::{Path, PathBuf};

use super::invalid::Origin;
use super::keys::published_schema;
use super::layers::{Loaded, Sources, load};
use super::{AuditMode, Config, ConfigInvalid};

/// The documents in the repository.
fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// Loads a file with this text, an environment, and flags.
fn check(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, ConfigInvalid> {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ringfence.toml");
    std::fs::write(&file, text).unwrap();
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(&Sources { file: Some(file), environment, flags: Vec::new() })
}

fn refusal(text: &str, environment: &[(&str, &str)]) -> String {
    let message = check(text, environment).unwrap_err().to_string();
    // The directory's name is random.
    message.split_once("/ringfence.toml").map_or(message.clone(), |(_, rest)| format!("ringfence.toml{rest}"))
}

#[test]
fn the_later_layer_wins() {
    let file = "[server]\nlisten = '127.0.0.1:1'\nmax_body = '1MiB'\n[audit]\nmode = 'strict'\n";
    let short = ("RINGFENCE_LISTEN", "127.0.0.1:2");
    let long = ("RINGFENCE_SERVER__LISTEN", "127.0.0.1:3");
    let port = |environment: &[_]| check(file, environment).unwrap().config.server.listen.port();
    assert_eq!(port(&[]), 1);
    assert_eq!(port(&[short]), 2);
    assert_eq!(port(&[long, short]), 3, "the long name wins over the short one");
    let flags = vec![("--listen", "server.listen", "127.0.0.1:4".into())];
    let environment = vec![("RINGFENCE_LISTEN".to_owned(), "127.0.0.1:2".to_owned())];
    let loaded = load(&Sources { file: None, environment, flags }).unwrap();
    assert_eq!(loaded.config.server.listen.port(), 4);
    assert_eq!(loaded.origins["server.listen"], Origin::Flag("--listen"));

    let config = check(file, &[short]).unwrap().config;
    assert_eq!(config.server.max_body.bytes(), 1 << 20, "one setting of a section leaves the others alone");
    assert_eq!(config.audit.mode, AuditMode::Strict);
    assert_eq!(config.audit.queue, Config::default().audit.queue);
}

#[test]
fn variables_take_the_type_of_their_setting() {
    let environment = [
        ("RINGFENCE_AUDIT__QUEUE", "17"),
        ("RINGFENCE_ADMIN_KEY", "123456"),
        ("RINGFENCE_SQLITE__DIRECTORIES", "/a:/b"),
        ("RINGFENCE_SERVER__RATE_LIMIT_PER_MINUTE", "60"),
        ("RINGFENCE_LIMITS__QUERY_TIMEOUT", "1500ms"),
        ("RINGFENCE_SERVER__TLS__CERTIFICATE", "c.pem"),
        ("RINGFENCE_SERVER__TLS__KEY", "k.pem"),
        ("HOME", "/nobody"),
    ];
    let config = check("", &environment).unwrap().config;
    assert_eq!(config.audit.queue.get(), 17);
    assert_eq!(config.admin.key.unwrap().expose(), "123456", "a key of digits stays a text");
    assert_eq!(config.sqlite.directories, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert_eq!(config.server.rate_limit_per_minute.unwrap().get(), 60);
    assert_eq!(config.limits.query_timeout.duration().as_millis(), 1500);
    assert_eq!(config.server.tls.unwrap().key, PathBuf::from("k.pem"));
}

#[test]
fn unknown_names_are_refused_with_their_place_and_the_nearest_name() {
    for (text, environment, expected) in [
        (
            "[server]\n\nlisten = '127.0.0.1:1'\nmax_boddy = '1MiB'\n",
            &[][..],
            "ringfence.toml:4: unknown setting `server.max_boddy`, did you mean `server.max_body`?",
        ),
        ("[serve]\nlisten = 'x'\n", &[], "ringfence.toml:1: unknown setting `serve`, did you mean `server`?"),
        (
            "[store]\nlisten = 'x'\n",
            &[],
            "ringfence.toml:2: unknown setting `store.listen`, did you mean `server.listen`?",
        ),
        ("zebra = 1\n", &[], "ringfence.toml:1: unknown setting `zebra`"),
        (
            "",
            &[("RINGFENCE_SERVER__LISTN", "x")],
            "environment variable RINGFENCE_SERVER__LISTN is no setting, did you mean \
             `RINGFENCE_SERVER__LISTEN`?",
        ),
        (
            "",
            &[("RINGFENCE_ADMINKEY", "x")],
            "environment variable RINGFENCE_ADMINKEY is no setting, did you mean \
             `RINGFENCE_ADMIN_KEY`?",
        ),
        ("", &[("RINGFENCE_SERVER", "x")], "environment variable RINGFENCE_SERVER is no setting"),
        (
            "",
            &[("RINGFENCE_SERVER__TLS__CERT", "x")],
            "environment variable RINGFENCE_SERVER__TLS__CERT is no setting, did you mean \
             `RINGFENCE_SERVER__TLS__CERTIFICATE`?",
        ),
    ] {
        let message = refusal(text, environment);
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn wrong_values_are_refused_with_their_place() {
    for (text, environment, expected) in [
        ("[server]\nlisten = 'here'\n", &[][..], "ringfence.toml:2: `server.listen`: "),
        ("[audit]\nqueue = 'many'\n", &[], "ringfence.toml:2: `audit.queue`: "),
        ("[audit]\nqueue = -1\n", &[], "ringfence.toml:2: `audit.queue`: "),
        ("[audit]\nmode = 'lax'\n", &[], "ringfence.toml:2: `audit.mode`: "),
        (
            "[limits]\nquery_timeout = '5'\n",
            &[],
            "ringfence.toml:2: `limits.query_timeout`: `5` is no length of time: write it like 500ms, 5s or 2m",
        ),
        ("[sqlite]\ndirectories = [1]\n", &[], "ringfence.toml:2: `sqlite.directories"),
        ("server = 1\n", &[], "ringfence.toml:1: `server`: "),
        ("[server\n", &[], "ringfence.toml:1: "),
        ("[audit]\nqueue = 0\n", &[], "ringfence.toml:2: `audit.queue`: "),
        ("[limits]\n\nquery_timeout = '1h'\n", &[], "ringfence.toml:3: `limits.query_timeout`: longer than"),
        ("[store]\nurl = 'mysql://x'\n", &[], "ringfence.toml:2: `store.url`: no PostgreSQL URL"),
        (
            "",
            &[("RINGFENCE_AUDIT__QUEUE", "many")],
            "environment variable RINGFENCE_AUDIT__QUEUE: `audit.queue`: `many` is no whole number",
        ),
        ("", &[("RINGFENCE_LISTEN", "9859")], "environment variable RINGFENCE_LISTEN: `server.listen`: "),
    ] {
        let message = refusal(text, environment);
        assert!(message.starts_with(expected), "{message}");
    }
    let missing = load(&Sources { file: Some("/nowhere.toml".into()), ..Sources::default() }).unwrap_err();
    assert!(missing.to_string().starts_with("/nowhere.toml: can't be read: "), "{missing}");
}

/// Users are linked to their source by its name.
#[test]
fn sources_of_users_have_names_of_their_own() {
    let directory = |name: &str| {
        format!(
            "[[directories]]\nname = '{name}'\nconnection = 'c'\nowner = 'o'\norganization = 'a'\ntenant = 't'\nquery = 'SELECT :user'\n"
        )
    };
    let provider = "[[oidc.providers]]\nname = 'corp'\nissuer = 'https://login.example.com'\nclient_id = 'c'\n\
                    organization = 'a'\ntenant = 't'\n";
    check(&(directory("table") + &directory("other") + provider), &[]).unwrap();
    for text in [directory("table") + &directory("table"), directory("corp") + provider] {
        let message = refusal(&text, &[]);
        assert!(message.contains("has that name"), "{message}");
    }
}

#[test]
fn secrets_are_shown_by_no_means() {
    let file =
        "[store]\nurl = 'postgresql://u:hunter2@h/d'\n[admin]\nkey = 'hunter2'\n[sealing]\nkey = 'hunter2'\n";
    let loaded = check(file, &[]).unwrap();
    for shown in [toml::to_string(&loaded.config).unwrap(), format!("{loaded:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert_eq!(toml::to_string(&loaded.config).unwrap().matches("<hidden>").count(), 3);
    let wrong = refusal("[admin]\nkey = ['hunter2']\n", &[]);
    assert!(!wrong.contains("hunter2"), "{wrong}");
}

#[test]
fn what_is_shown_reads_back() {
    let shown = toml::to_string(&Config::default()).unwrap();
    let again = check(&shown, &[]).unwrap().config;
    assert_eq!(toml::to_string(&again).unwrap(), shown);
}

#[test]
fn the_published_schema_is_up_to_date() {
    let file = docs().join("config.schema.json");
    let stored = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        stored.trim_end(),
        published_schema(),
        "run: cargo run -p ringfence-server -- config schema > docs/config.schema.json"
    );
}

#[test]
fn the_example_is_right_and_says_the_defaults() {
    let text = std::fs::read_to_string(docs().join("ringfence.example.toml")).unwrap();
    let as_it_is = check(&text, &[]).unwrap().config;
    assert_eq!(toml::to_string(&as_it_is).unwrap(), toml::to_string(&Config::default()).unwrap());
    // Two ways to name the sealing key contradict each other, so that one of them is left out below.
    // Every line that is commented out is a setting too: a `#` right before its name.
    let all: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("#key_file"))
        .map(|line| line.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(line))
        .collect();
    let loaded = check(&all.join("\n"), &[]).unwrap();
    let default = toml::to_string(&Config::default()).unwrap();
    for line in default.lines().filter(|line| line.contains('=')) {
        let name = line.split(' ').next().unwrap();
        assert!(text.contains(name), "{name} is missing in the example");
    }
    assert!(loaded.config.server.tls.is_some() && loaded.config.telemetry.otlp_endpoint.is_some());
}
