//! What the tests share: a server, an engine, and short ways to ask.

use std::time::{Duration, Instant};

use ringfence_engine::{Engine, EngineLimits, ResultSet, RunOptions, SourceAddress, SourceError, Value};
use ringfence_guard::GuardedQuery;
use ringfence_policy::{ConnectionKind, OpenAccess};
use ringfence_testkit::Postgres;
use tokio_util::sync::CancellationToken;

pub(crate) struct World {
    pub(crate) server: Postgres,
    pub(crate) engine: Engine,
}

impl World {
    /// A server with the database `shop`, and an engine with places for that many sessions.
    pub(crate) async fn with_places(places: usize) -> Self {
        Self::with(EngineLimits { max_connections_per_pool: places, ..EngineLimits::default() }).await
    }

    pub(crate) async fn with(limits: EngineLimits) -> Self {
        let server = Postgres::start().await;
        server.create_database("shop", "owner", "secret").await;
        Self { server, engine: Engine::new(limits) }
    }

    pub(crate) fn address(&self) -> SourceAddress {
        address(self.server.port())
    }

    pub(crate) async fn run(&self, sql: &str) -> Result<ResultSet, SourceError> {
        self.run_with(sql, &RunOptions::default()).await
    }

    pub(crate) async fn run_with(&self, sql: &str, options: &RunOptions) -> Result<ResultSet, SourceError> {
        self.engine.run(&self.address(), &open(sql), options, CancellationToken::new()).await
    }

    pub(crate) async fn run_read_only(&self, sql: &str) -> Result<ResultSet, SourceError> {
        let query = read_only(sql);
        self.engine.run(&self.address(), &query, &RunOptions::default(), CancellationToken::new()).await
    }

    /// The rows as JSON.
    pub(crate) async fn json(&self, sql: &str) -> String {
        rows(&self.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")))
    }

    /// How many other sessions of the owner run, or have run last, a statement like that.
    pub(crate) async fn active(&self, like: &str) -> i64 {
        let client = self.server.client("shop").await;
        let counted = "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND usename = 'owner' AND query LIKE $1";
        client.query_one(counted, &[&like]).await.expect("pg_stat_activity can be read").get(0)
    }

    pub(crate) async fn until_active(&self, like: &str, wanted: i64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.active(like).await != wanted {
            assert!(Instant::now() < deadline, "not {wanted} sessions active with {like}");
            tokio::time::sleep(Duration::from_millis(10)).await; // poll: until the deadline above
        }
    }

    pub(crate) async fn until_open(&self, wanted: usize) {
        until(&format!("{wanted} connections"), || self.engine.open_connections() == wanted).await;
    }
}

pub(crate) fn address(port: u16) -> SourceAddress {
    SourceAddress {
        kind: ConnectionKind::Postgresql,
        pool_scope: "org".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: Some(port),
        database: "shop".to_owned(),
        username: Some("owner".to_owned()),
        password: Some("secret".into()),
        sslmode: None,
    }
}

pub(crate) fn open(sql: &str) -> GuardedQuery {
    ringfence_guard::open(sql, ConnectionKind::Postgresql, OpenAccess { read_only: false }).expect("admitted")
}

pub(crate) fn read_only(sql: &str) -> GuardedQuery {
    ringfence_guard::open(sql, ConnectionKind::Postgresql, OpenAccess { read_only: true }).expect("admitted")
}

pub(crate) fn rows(result: &ResultSet) -> String {
    rows_json(&result.rows)
}

pub(crate) fn rows_json(rows: &[Vec<Value>]) -> String {
    serde_json::to_string(rows).expect("values are JSON")
}

pub(crate) fn timeout(milliseconds: u64) -> RunOptions {
    RunOptions { timeout: Duration::from_millis(milliseconds), ..RunOptions::default() }
}

/// Polls until it holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await; // poll: until the deadline above
    }
}

pub(crate) fn message(result: Result<ResultSet, SourceError>) -> String {
    match result {
        Err(error) => error.to_string(),
        Ok(result) => panic!("it ran: {}", rows(&result)),
    }
}

/// Runs a statement wherever the address leads.
pub(crate) async fn run_at(
    engine: &Engine,
    address: &SourceAddress,
    sql: &str,
) -> Result<ResultSet, SourceError> {
    engine.run(address, &open(sql), &RunOptions::default(), CancellationToken::new()).await
}
