//! SQLite files.

use std::path::{Path, PathBuf};

use ringfence_engine::{Engine, EngineLimits, ResultSet, RunOptions, SourceAddress, SourceError};
use ringfence_guard::GuardedQuery;
use ringfence_policy::{ConnectionKind, OpenAccess};
use tokio_util::sync::CancellationToken;

use crate::world::{rows, timeout};

pub(crate) struct Files {
    _root: tempfile::TempDir,
    pub(crate) inside: PathBuf,
    outside: PathBuf,
    pub(crate) engine: Engine,
}

impl Files {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().expect("the temporary directory is writable");
        let (inside, outside) = (root.path().join("inside"), root.path().join("outside"));
        for directory in [&inside, &outside] {
            std::fs::create_dir(directory).expect("made");
            make(&directory.join("shop.db"));
        }
        let limits = EngineLimits {
            sqlite_directories: vec![root.path().join("missing"), inside.clone()],
            ..EngineLimits::default()
        };
        Self { _root: root, inside, outside, engine: Engine::new(limits) }
    }

    pub(crate) async fn run(&self, sql: &str) -> Result<ResultSet, SourceError> {
        self.run_with(sql, false, &RunOptions::default()).await
    }

    pub(crate) async fn run_with(
        &self,
        sql: &str,
        read_only: bool,
        options: &RunOptions,
    ) -> Result<ResultSet, SourceError> {
        self.engine.run(&address("shop.db"), &query(sql, read_only), options, CancellationToken::new()).await
    }

    pub(crate) async fn json(&self, sql: &str) -> String {
        rows(&self.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")))
    }
}

fn make(path: &Path) {
    let connection = rusqlite::Connection::open(path).expect("opens");
    connection
        .execute_batch(
            "CREATE TABLE shops (id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL UNIQUE, open BOOLEAN);
             CREATE TABLE orders (shop INT REFERENCES shops, no INT, doc JSON, PRIMARY KEY (no, shop));
             CREATE VIEW v AS SELECT name FROM shops;
             CREATE VIEW broken AS SELECT * FROM gone;
             INSERT INTO shops VALUES (1, 'Paris', 1), (2, 'Rome', 0);",
        )
        .expect("made");
}

pub(crate) fn address(database: &str) -> SourceAddress {
    SourceAddress {
        kind: ConnectionKind::Sqlite,
        pool_scope: "org".to_owned(),
        host: String::new(),
        port: None,
        database: database.to_owned(),
        username: None,
        password: None,
        sslmode: None,
    }
}

pub(crate) fn query(sql: &str, read_only: bool) -> GuardedQuery {
    ringfence_guard::open(sql, ConnectionKind::Sqlite, OpenAccess { read_only }).expect("admitted")
}

const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";

#[tokio::test]
async fn values_and_columns() {
    let files = Files::new();
    for (expression, json) in [
        ("NULL", "null"),
        ("9223372036854775807", "9223372036854775807"),
        ("1.5", "1.5"),
        ("1e999", r#""Infinity""#),
        ("-1e999", r#""-Infinity""#),
        ("'a \"b\"'", r#""a \"b\"""#),
        ("x'00ff'", r#""\\x00ff""#),
        ("CAST(x'ff' AS TEXT)", "\"\u{fffd}\""),
        ("'{\"a\": 1}'", r#""{\"a\": 1}""#),
    ] {
        assert_eq!(files.json(&format!("SELECT {expression}")).await, format!("[[{json}]]"), "{expression}");
    }
    let result = files
        .run("SELECT id, name, open, 1.5 AS f, x'00' AS b, NULL AS n, 'x' AS t FROM shops")
        .await
        .expect("runs");
    let types: Vec<_> = result.columns.iter().map(|column| column.type_name.as_str()).collect();
    assert_eq!(types, ["integer", "varchar(20)", "boolean", "real", "blob", "null", "text"]);
    let none = files.run("SELECT id, 1 AS one FROM shops WHERE false").await.expect("runs");
    assert_eq!((none.columns.len(), none.rows.len(), none.affected), (2, 0, None));
}

#[tokio::test]
async fn effects_are_counted_and_committed() {
    let files = Files::new();
    let inserted = files
        .run("INSERT INTO shops VALUES (3, 'Oslo', NULL), (4, 'Bonn', 1) RETURNING id")
        .await
        .expect("runs");
    assert_eq!((rows(&inserted).as_str(), inserted.affected), ("[[3],[4]]", Some(2)));
    assert_eq!(files.run("UPDATE shops SET open = 0").await.expect("runs").affected, Some(4));
    assert_eq!(files.json("SELECT count(*) FROM shops WHERE open = 0").await, "[[4]]");
    files.run("CREATE TABLE made (a)").await.expect("made");
    files.run("VACUUM").await.expect("runs");
    files.run("CREATE TEMP TABLE mine (a)").await.expect("made");
    assert!(files.run("SELECT * FROM mine").await.is_err(), "nothing carries over");
    let capped = RunOptions { max_rows: 2, ..RunOptions::default() };
    let sql = "INSERT INTO made SELECT value FROM json_each('[1,2,3,4,5]') RETURNING a";
    let result = files.run_with(sql, false, &capped).await.expect("runs");
    assert_eq!((result.rows.len(), result.more_rows, result.affected), (2, 3, Some(5)));
    assert_eq!(files.json("SELECT count(*) FROM made").await, "[[5]]");
}

#[tokio::test]
async fn only_files_in_the_allowed_directories_open() {
    let files = Files::new();
    std::os::unix::fs::symlink(files.outside.join("shop.db"), files.inside.join("link.db")).expect("linked");
    std::os::unix::fs::symlink(&files.outside, files.inside.join("away")).expect("linked");
    std::os::unix::fs::symlink(files.inside.join("shop.db"), files.inside.join("own.db")).expect("linked");
    std::fs::create_dir(files.inside.join("sub")).expect("made");
    make(&files.inside.join("sub/deep.db"));
    let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
    for good in [
        "shop.db",
        "own.db",
        "sub/deep.db",
        "sub/../shop.db",
        "./shop.db",
        &text(files.inside.join("shop.db")),
    ] {
        assert!(files.engine.probe(&address(good)).await.is_ok(), "{good}");
    }
    let mut told = std::collections::BTreeSet::new();
    for bad in [
        "",
        ".",
        "sub",
        "none.db",
        "../outside/shop.db",
        "link.db",
        "away/shop.db",
        ":memory:",
        "file:shop.db",
        "FILE:shop.db?mode=rwc",
        "shop.db\0x",
        "/etc/passwd",
        "/none",
        &text(files.outside.join("shop.db")),
        &text(files.outside.join("none.db")),
        &text(files.inside.clone()),
    ] {
        for error in [
            files.engine.probe(&address(bad)).await.expect_err(bad),
            files.engine.introspect(&address(bad), &|_, _, _| ()).await.expect_err(bad),
            files
                .engine
                .run(
                    &address(bad),
                    &query("SELECT 1", false),
                    &RunOptions::default(),
                    CancellationToken::new(),
                )
                .await
                .expect_err(bad),
            files
                .engine
                .explain(&address(bad), &query("SELECT 1", false), &RunOptions::default())
                .await
                .expect_err(bad),
        ] {
            assert!(matches!(error, SourceError::FileNotAllowed(_)), "{bad}: {error:?}");
            told.insert(error.to_string());
        }
    }
    assert_eq!(told.len(), 1, "one text for all: {told:?}");
    assert!(!files.inside.join("none.db").exists());
}

#[tokio::test]
async fn statements_stay_within_the_file() {
    let files = Files::new();
    let target = files.inside.join("other.db");
    let path = target.to_str().expect("UTF-8");
    for sql in [
        format!("VACUUM INTO '{path}'"),
        format!("WITH x AS (SELECT 1) SELECT load_extension('{path}')"),
        "PRAGMA writable_schema = on".to_owned(),
        "PRAGMA journal_mode = off".to_owned(),
        "PRAGMA temp_store_directory = '/tmp'".to_owned(),
        "PRAGMA database_list".to_owned(),
        "SELECT * FROM pragma_database_list".to_owned(),
        "PRAGMA user_version = 7".to_owned(),
        "PRAGMA query_only = off".to_owned(),
        "UPDATE sqlite_schema SET sql = ''".to_owned(),
        "SELECT ?1".to_owned(),
        "SELECT * FROM gone".to_owned(),
    ] {
        for read_only in [false, true] {
            let refused = files.run_with(&sql, read_only, &RunOptions::default()).await;
            assert!(matches!(refused, Err(SourceError::Statement { .. })), "{sql}: {refused:?}");
        }
    }
    for sql in ["ATTACH 'x.db' AS x", "DETACH main", "SELECT 1; SELECT 2", "BEGIN"] {
        assert!(
            ringfence_guard::open(sql, ConnectionKind::Sqlite, OpenAccess { read_only: false }).is_err(),
            "{sql}"
        );
    }
    assert!(!target.exists());
    for sql in [
        "INSERT INTO shops VALUES (9, 'x', 1)",
        "CREATE TABLE u (a)",
        "DROP TABLE shops",
        "VACUUM",
        "CREATE TEMP TABLE u (a)",
        "REINDEX",
        "ANALYZE",
    ] {
        assert!(files.run_with(sql, true, &RunOptions::default()).await.is_err(), "{sql}");
    }
    assert_eq!(files.json("PRAGMA table_info(shops)").await.matches("shops").count(), 0);
    assert_eq!(
        rows(
            &files.run_with("SELECT count(*) FROM shops", true, &RunOptions::default()).await.expect("reads")
        ),
        "[[2]]"
    );
}

#[tokio::test]
async fn limits_hold() {
    let files = Files::new();
    let capped = RunOptions { max_rows: 10, ..RunOptions::default() };
    let result = files.run_with(ENDLESS, false, &capped).await.expect("it is stopped early");
    assert_eq!(result.rows.len(), 10);
    assert!(result.more_rows > 0);
    let exact = files
        .run_with(
            "SELECT value FROM json_each('[1,2,3]')",
            false,
            &RunOptions { max_rows: 2, ..RunOptions::default() },
        )
        .await;
    assert_eq!(exact.map(|result| (result.rows.len(), result.more_rows)).expect("runs"), (2, 1));
    let unending = format!("SELECT count(*) FROM ({ENDLESS})");
    let timed_out = files.run_with(&unending, false, &timeout(100)).await;
    assert!(matches!(timed_out, Err(SourceError::TimedOut { limit_ms: 100 })), "{timed_out:?}");
    let cancel = CancellationToken::new();
    let (engine, token, sql) = (files.engine.clone(), cancel.clone(), unending.clone());
    let running = tokio::spawn(async move {
        engine.run(&address("shop.db"), &query(&sql, false), &RunOptions::default(), token).await
    });
    crate::world::until("it runs", || files.engine.open_connections() == 1).await;
    cancel.cancel();
    assert!(matches!(running.await.expect("no panic"), Err(SourceError::Cancelled)));
    let (engine, sql) = (files.engine.clone(), unending);
    let left = tokio::spawn(async move {
        engine
            .run(&address("shop.db"), &query(&sql, false), &RunOptions::default(), CancellationToken::new())
            .await
    });
    crate::world::until("it runs", || files.engine.open_connections() == 1).await;
    left.abort();
    crate::world::until("it stopped", || files.engine.open_connections() == 0).await;
}

#[tokio::test]
async fn column_names_are_bounded_and_count_for_each_row() {
    let files = Files::new();
    let named = |bytes: usize| format!("SELECT 1 AS \"{}\"", "x".repeat(bytes));
    assert!(files.run(&named(1024)).await.is_ok());
    assert!(matches!(files.run(&named(1025)).await, Err(SourceError::TooWide { .. })));
    // An answer repeats the name in every row: 1,000 rows of a name of 1,000 bytes are a megabyte.
    let many = format!(
        "{} FROM (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 1000) SELECT n FROM c)",
        named(1000)
    );
    let small = RunOptions { max_bytes: 500_000, ..RunOptions::default() };
    assert!(matches!(files.run_with(&many, false, &small).await, Err(SourceError::TooLarge { .. })));
    assert_eq!(files.run(&many).await.map(|result| result.rows.len()).ok(), Some(1000));
}

/// A single call of a function can't be stopped: of long texts it would run for hours.
#[tokio::test]
async fn functions_get_no_texts_that_they_would_take_minutes_for() {
    let files = Files::new();
    let text = |bytes: usize| format!("replace(hex(zeroblob({})), '0', 'a')", bytes / 2);
    let long = format!("SELECT instr({}, {} || 'b')", text(8_000_000), text(4_000_000));
    let began = std::time::Instant::now();
    let refused = files.run(&long).await;
    assert!(matches!(refused, Err(SourceError::TooLarge { limit_bytes: 1_048_576 })), "{refused:?}");
    let like = |bytes: usize| format!("SELECT 'a' LIKE {}", text(bytes));
    assert!(files.run(&like(1000)).await.is_ok());
    assert!(files.run(&like(1002)).await.is_err());
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

#[tokio::test]
async fn sizes_are_bounded() {
    let files = Files::new();
    for sql in ["SELECT hex(zeroblob(2000000))", "SELECT zeroblob(2000000)"] {
        assert!(matches!(files.run(sql).await, Err(SourceError::TooLarge { .. })), "{sql}");
    }
    let small = RunOptions { max_bytes: 100_000, ..RunOptions::default() };
    assert!(matches!(
        files.run_with(ENDLESS, false, &small).await,
        Err(SourceError::TooLarge { limit_bytes: 100_000 })
    ));
}

#[tokio::test]
async fn a_stream_has_back_pressure_and_keeps_its_time_limit() {
    let files = Files::new();
    let mut stream = files
        .engine
        .stream(&address("shop.db"), &query(ENDLESS, false), &timeout(2000), CancellationToken::new())
        .await
        .expect("starts");
    assert!(stream.next().await.expect("goes on").is_some());
    crate::world::until("it stopped though nobody asked", || files.engine.open_connections() == 0).await;
    let mut stream = files
        .engine
        .stream(
            &address("shop.db"),
            &query("SELECT id FROM shops", false),
            &RunOptions::default(),
            CancellationToken::new(),
        )
        .await
        .expect("starts");
    assert_eq!(stream.next().await.expect("goes on").map(|rows| rows.len()), Some(2));
    assert!(stream.next().await.expect("ends").is_none());
}
