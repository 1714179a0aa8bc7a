//! Lakes through the engine, as the gateway reaches them.

mod loads;
mod queries;
mod values;
mod versions;
mod walls;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use ringfence_engine::{
    Engine, EngineLimits, LoadFormat, LoadMode, LoadedTable, ResultSet, RunOptions, SourceAddress,
    SourceError, TableLoad,
};
use ringfence_guard::{Fence, Parameter, open, unsealed};
use ringfence_lake::{Lake, LakeSettings};
use ringfence_policy::{ConnectionKind, OpenAccess};
use tokio_util::sync::CancellationToken;

/// What the guard ends a fence in.
const WALL: &str = "LIMIT 9223372036854775807";

/// A lake in a directory of its own, beside another one that nobody may look into.
struct World {
    _root: tempfile::TempDir,
    lake: PathBuf,
    engine: Engine,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut LakeSettings)) -> Self {
        let root = tempfile::tempdir().unwrap();
        let inside = root.path().canonicalize().unwrap().join("inside");
        let lake = inside.join("shop");
        std::fs::create_dir_all(&lake).unwrap();
        std::fs::create_dir(root.path().join("outside")).unwrap();
        let mut settings = LakeSettings { directories: vec![inside], threads: 2, ..LakeSettings::default() };
        change(&mut settings);
        let engine =
            Engine::with_embedded(EngineLimits::default(), Some(Arc::new(Lake::new(&settings).unwrap())));
        Self { _root: root, lake, engine }
    }

    async fn load(&self, table: &str, csv: &str) -> LoadedTable {
        self.try_load(load(table), csv).await.unwrap()
    }

    async fn try_load(&self, load: TableLoad, body: &str) -> Result<LoadedTable, SourceError> {
        let pieces: Vec<_> =
            body.as_bytes().chunks(7_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        self.engine.load(&address("shop"), load, futures::stream::iter(pieces).boxed()).await
    }

    /// A statement of an open connection.
    async fn open(&self, sql: &str) -> Result<ResultSet, SourceError> {
        let query = open(sql, ConnectionKind::Lake, OpenAccess { read_only: false })
            .map_err(|refusal| SourceError::Option(refusal.to_string()))?;
        self.engine.run(&address("shop"), &query, &RunOptions::default(), CancellationToken::new()).await
    }

    /// A statement as the guard would print it.
    async fn fenced(&self, sql: &str, parameters: Vec<Parameter>) -> Result<ResultSet, SourceError> {
        let query = unsealed::fenced(sql, parameters, Fence::default());
        self.engine.run(&address("shop"), &query, &RunOptions::default(), CancellationToken::new()).await
    }

    async fn json(&self, sql: &str) -> String {
        let result = self.open(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        serde_json::to_string(&result.rows).unwrap()
    }
}

fn load(table: &str) -> TableLoad {
    TableLoad {
        table: table.to_owned(),
        format: LoadFormat::Csv,
        mode: LoadMode::Replace,
        keys: Vec::new(),
        types: Vec::new(),
        max_bytes: 64 * 1024 * 1024,
    }
}

fn address(directory: &str) -> SourceAddress {
    SourceAddress {
        kind: ConnectionKind::Lake,
        pool_scope: "acme".to_owned(),
        host: String::new(),
        port: None,
        database: directory.to_owned(),
        username: None,
        password: None,
        sslmode: None,
    }
}

/// The code of a statement's failure.
fn sqlstate(result: Result<ResultSet, SourceError>) -> String {
    match result {
        Err(SourceError::Statement { sqlstate, .. }) => sqlstate.unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}
