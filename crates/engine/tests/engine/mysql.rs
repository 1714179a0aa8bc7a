//! MySQL's protocol, on a real MariaDB.

use std::time::{Duration, Instant};

use ringfence_engine::{
    Engine, EngineLimits, Explained, ResultSet, RunOptions, SessionParameter, SourceAddress, SourceError,
};
use ringfence_guard::{Fence, GuardedQuery, Parameter, unsealed};
use ringfence_policy::{ConnectionKind, Constraint, OpenAccess, RelationKind};
use ringfence_testkit::Mariadb;
use tokio_util::sync::CancellationToken;

use crate::world::{rows, timeout};

pub(crate) struct Shop {
    pub(crate) server: Mariadb,
    pub(crate) engine: Engine,
}

impl Shop {
    /// A server with the database `shop`, and an engine with places for that many sessions.
    pub(crate) async fn with_places(places: usize) -> Self {
        Self::with(EngineLimits { max_connections_per_pool: places, ..EngineLimits::default() }).await
    }

    pub(crate) async fn with(limits: EngineLimits) -> Self {
        let server = Mariadb::start().await;
        server.create_database("shop", "owner", "secret");
        Self { server, engine: Engine::new(limits) }
    }

    pub(crate) fn address(&self) -> SourceAddress {
        SourceAddress {
            kind: ConnectionKind::Mysql,
            pool_scope: "org".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: Some(self.server.port()),
            database: "shop".to_owned(),
            username: Some("owner".to_owned()),
            password: Some("secret".into()),
            sslmode: None,
        }
    }

    pub(crate) async fn run_query(&self, query: &GuardedQuery) -> Result<ResultSet, SourceError> {
        self.engine.run(&self.address(), query, &RunOptions::default(), CancellationToken::new()).await
    }

    pub(crate) async fn run(&self, sql: &str) -> Result<ResultSet, SourceError> {
        self.run_query(&open(sql, false)).await
    }

    pub(crate) async fn json(&self, sql: &str) -> String {
        rows(&self.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")))
    }

    /// How many statements like that run.
    pub(crate) fn active(&self, like: &str) -> usize {
        let counted = format!(
            "SELECT count(*) FROM information_schema.processlist WHERE user = 'owner' AND info LIKE '{like}'"
        );
        self.server.sql(&counted).parse().expect("a count")
    }

    pub(crate) async fn until_active(&self, like: &str, wanted: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.active(like) != wanted {
            assert!(Instant::now() < deadline, "not {wanted} active with {like}");
            tokio::time::sleep(Duration::from_millis(10)).await; // poll: until the deadline above
        }
    }
}

pub(crate) fn open(sql: &str, read_only: bool) -> GuardedQuery {
    ringfence_guard::open(sql, ConnectionKind::Mysql, OpenAccess { read_only }).expect("admitted")
}

fn read(sql: &str, parameters: Vec<Parameter>) -> GuardedQuery {
    unsealed::fenced(sql, parameters, Fence { returns_rows: true, ..Fence::default() })
}

pub(crate) fn write(sql: &str, check_column: bool, max_rows: Option<u64>) -> GuardedQuery {
    let fence = Fence { writes: true, check_column, returns_rows: true, max_rows, ..Fence::default() };
    unsealed::fenced(sql, Vec::new(), fence)
}

#[tokio::test]
async fn values_columns_and_parameters() {
    let shop = Shop::with_places(1).await;
    for (expression, type_name, json) in [
        ("NULL", "null", "null"),
        ("CAST(9223372036854775807 AS SIGNED)", "bigint", "9223372036854775807"),
        ("CAST(18446744073709551615 AS UNSIGNED)", "bigint unsigned", "\"18446744073709551615\""),
        ("CAST(1.50 AS DECIMAL(10,2))", "decimal", "1.50"),
        ("CAST('12345678901234567890.5' AS DECIMAL(30,1))", "decimal", "\"12345678901234567890.5\""),
        ("CAST(0.1 AS FLOAT)", "float", "0.1"),
        ("1e300", "double", "1e+300"),
        ("DATE '2024-02-29'", "date", "\"2024-02-29\""),
        ("TIMESTAMP '2024-02-29 12:00:00.5'", "datetime", "\"2024-02-29T12:00:00.5\""),
        ("CAST('-100:00:01' AS TIME)", "time", "\"-100:00:01\""),
        ("'\u{fc}\u{1f600} \"a\"'", "varchar", "\"\u{fc}\u{1f600} \\\"a\\\"\""),
        ("x'00ff'", "varbinary", "\"\\\\x00ff\""),
        ("b'101'", "bit", "5"),
    ] {
        // Through a table, so that the type is the column's own.
        shop.run("DROP TABLE IF EXISTS t").await.expect("dropped");
        if type_name == "bit" {
            shop.run("CREATE TABLE t (v BIT(7))").await.expect("made");
            shop.run("INSERT INTO t VALUES (b'101')").await.expect("filled");
        } else {
            shop.run(&format!("CREATE TABLE t AS SELECT {expression} AS v")).await.expect("made");
        }
        let result = shop.run("SELECT v FROM t").await.expect("runs");
        assert_eq!(rows(&result), format!("[[{json}]]"), "{expression}");
        if type_name != "null" {
            assert_eq!(result.columns[0].type_name, type_name, "{expression}");
        }
    }
    let odd = "it's \\ \"a\" \u{fc}\u{1f600} ? :x -- #";
    for (parameter, json) in [
        (Parameter::Null, serde_json::json!([[null]])),
        (Parameter::Text(odd.to_owned()), serde_json::json!([[odd]])),
        (Parameter::Integer(i64::MIN), serde_json::json!([[i64::MIN]])),
        (Parameter::Float(1.5), serde_json::json!([[1.5]])),
        (Parameter::Bool(true), serde_json::json!([[1]])),
    ] {
        let result = shop.run_query(&read("SELECT ?", vec![parameter])).await.expect("runs");
        assert_eq!(rows(&result), json.to_string());
    }
    for (sql, parameters) in [
        ("SELECT ?", vec![]),
        ("SELECT 1", vec![Parameter::Null]),
        ("SELECT ?", vec![Parameter::List(vec![])]),
        // The driver would make a placeholder of it.
        ("SELECT :name", vec![Parameter::Null]),
    ] {
        let refused = shop.run_query(&read(sql, parameters)).await;
        assert!(matches!(refused, Err(SourceError::Statement { .. })), "{sql}: {refused:?}");
    }
    assert_eq!(shop.engine.open_connections(), 2, "one for each purpose");
}

#[tokio::test]
async fn the_catalog_holds_what_the_database_does() {
    let shop = Shop::with_places(1).await;
    for sql in [
        "CREATE TABLE users (id INT PRIMARY KEY, mail VARCHAR(50) NOT NULL COMMENT 'private', UNIQUE KEY by_mail (mail)) COMMENT 'people'",
        "CREATE TABLE orders (no INT, shop INT, user_id INT, PRIMARY KEY (shop, no), FOREIGN KEY (user_id) REFERENCES users (id))",
        "CREATE VIEW v AS SELECT mail FROM users",
    ] {
        shop.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let catalog = shop.engine.introspect(&shop.address(), &|_, _, _| {}).await.expect("read");
    assert_eq!(catalog.database, "shop");
    let names: Vec<_> = catalog.schemas[0].relations.iter().map(|it| (it.name.as_str(), it.kind)).collect();
    assert_eq!(
        names,
        [("orders", RelationKind::Table), ("users", RelationKind::Table), ("v", RelationKind::View)]
    );
    let users = catalog.relation("shop", "users").expect("there");
    assert_eq!(users.comment.as_deref(), Some("people"));
    let mail = &users.columns[1];
    assert_eq!((mail.name.as_str(), mail.data_type.as_str(), mail.nullable), ("mail", "varchar(50)", false));
    assert_eq!(mail.comment.as_deref(), Some("private"));
    let column = |name: &str| vec![name.to_owned()];
    assert_eq!(
        users.constraints,
        [Constraint::Primary { columns: column("id") }, Constraint::Unique { columns: column("mail") }]
    );
    let orders = catalog.relation("shop", "orders").expect("there");
    assert_eq!(
        orders.constraints,
        [
            Constraint::Primary { columns: vec!["shop".to_owned(), "no".to_owned()] },
            Constraint::Foreign {
                columns: column("user_id"),
                target_schema: "shop".to_owned(),
                target_relation: "users".to_owned(),
                target_columns: column("id"),
            }
        ]
    );
    let explain = |sql: &'static str| {
        let shop = &shop;
        async move { shop.engine.explain(&shop.address(), &open(sql, false), &RunOptions::default()).await }
    };
    assert_eq!(explain("SELECT * FROM users").await.expect("it parses"), Explained::NoPlan);
    assert!(matches!(explain("SELECT * FROM gone").await, Err(SourceError::Statement { .. })));
}

#[tokio::test]
async fn addresses_that_lead_nowhere() {
    let shop = Shop::with_places(1).await;
    let probe = |change: fn(&mut SourceAddress)| {
        let (engine, mut address) = (shop.engine.clone(), shop.address());
        change(&mut address);
        async move { engine.probe(&address).await }
    };
    assert!(probe(|_| {}).await.is_ok());
    let credentials = probe(|address| address.password = Some("wrong".into())).await;
    assert!(matches!(credentials, Err(SourceError::Credentials(_))), "{credentials:?}");
    let database = probe(|address| address.database = "mysql".to_owned()).await;
    assert!(matches!(database, Err(SourceError::Credentials(_))), "{database:?}");
    let port = probe(|address| address.port = Some(1)).await;
    assert!(matches!(port, Err(SourceError::Unreachable(_))), "{port:?}");
    let tls = probe(|address| address.sslmode = Some("require".to_owned())).await;
    assert!(matches!(tls, Err(SourceError::Unreachable(_))), "the server has no certificate: {tls:?}");
    let mode = probe(|address| address.sslmode = Some("odd".to_owned())).await;
    assert!(matches!(mode, Err(SourceError::Option(_))), "{mode:?}");
    assert!(shop.json("SELECT @@version").await.contains("MariaDB"));
    shop.server.stop();
    let gone = shop.run("SELECT 1").await;
    assert!(matches!(gone, Err(SourceError::Lost | SourceError::Unreachable(_))), "{gone:?}");
}

#[tokio::test]
async fn limits_hold() {
    let limits = EngineLimits { max_row_bytes: 1024 * 1024, ..EngineLimits::default() };
    let shop = Shop::with(limits).await;
    let run = |sql: &'static str, options: RunOptions| {
        let shop = &shop;
        async move {
            shop.engine.run(&shop.address(), &open(sql, false), &options, CancellationToken::new()).await
        }
    };
    let ten = "SELECT seq FROM seq_1_to_10";
    let cut = run(ten, RunOptions { max_rows: 3, ..RunOptions::default() }).await.expect("runs");
    assert_eq!((cut.rows.len(), cut.more_rows), (3, 7));
    let many = "SELECT seq FROM seq_1_to_100000000";
    let cut = run(many, RunOptions { max_rows: 3, ..RunOptions::default() }).await.expect("stopped early");
    assert!(cut.rows.len() == 3 && cut.more_rows > 3);
    let small = RunOptions { max_bytes: 10_000, ..RunOptions::default() };
    let large = run(many, small).await;
    assert!(matches!(large, Err(SourceError::TooLarge { limit_bytes: 10_000 })), "{large:?}");
    let row = run("SELECT repeat('x', 2000000)", RunOptions::default()).await;
    assert!(matches!(row, Err(SourceError::TooLarge { limit_bytes: 1_048_576 })), "{row:?}");
    let late = run("SELECT sleep(60)", timeout(200)).await;
    assert!(matches!(late, Err(SourceError::TimedOut { limit_ms: 200 })), "{late:?}");
    let late = run("SELECT count(*) FROM seq_1_to_1000000000 WHERE seq % 7 = 9", timeout(200)).await;
    assert!(matches!(late, Err(SourceError::TimedOut { .. })), "{late:?}");
    let cancel = CancellationToken::new();
    let (engine, address, token) = (shop.engine.clone(), shop.address(), cancel.clone());
    let running = tokio::spawn(async move {
        engine.run(&address, &open("SELECT sleep(61)", false), &RunOptions::default(), token).await
    });
    shop.until_active("%sleep(61)%", 1).await;
    cancel.cancel();
    let cancelled = running.await.expect("no panic");
    assert!(matches!(cancelled, Err(SourceError::Cancelled)), "{cancelled:?}");
    let options = RunOptions::default();
    let query = open(many, false);
    let mut stream = shop
        .engine
        .stream(&shop.address(), &query, &options, CancellationToken::new())
        .await
        .expect("begins");
    assert!(stream.next().await.expect("rows").is_some());
    drop(stream);
    shop.until_active("%seq%", 0).await;
    shop.until_active("%sleep%", 0).await;
    let zone = RunOptions {
        session_parameters: vec![(SessionParameter::TimeZone, "UTC".to_owned())],
        ..RunOptions::default()
    };
    assert!(matches!(run("SELECT 1", zone).await, Err(SourceError::Option(_))));
}
