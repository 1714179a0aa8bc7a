//! A throw-away store on either database, with raw access beside it, and two organizations to put into it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ringfence_policy::{Attributes, ConnectionKey, ConnectionSpec, OrgId, Role, TenantId, UserId};
use ringfence_store::changes::Change;
use ringfence_store::connections::{ConnectionChanges, ConnectionUpsert, Proof};
use ringfence_store::organizations::Organization;
use ringfence_store::sources::SourceId;
use ringfence_store::tenants::Tenant;
use ringfence_store::users::User;
use ringfence_store::{SealingKey, Store, StoreLocation};
use ringfence_testkit::Postgres;
use tokio::sync::broadcast::Receiver;

/// One database and the key it is sealed with.
pub(crate) struct World {
    pub(crate) location: StoreLocation,
    pub(crate) key: SealingKey,
    pub(crate) directory: tempfile::TempDir,
    postgres: Option<(&'static Postgres, String)>,
}

impl World {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let location = StoreLocation::Sqlite(directory.path().join("store.db"));
        Self { location, key: SealingKey::generate(), directory, postgres: None }
    }

    pub(crate) async fn postgres() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = Postgres::shared().await;
        let name = format!("store_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        server.create_database(&name, "ringfence", "s3cret").await;
        let location = StoreLocation::Postgres(server.url("ringfence", "s3cret", &name).into());
        let directory = tempfile::tempdir().unwrap();
        Self { location, key: SealingKey::generate(), directory, postgres: Some((server, name)) }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    /// Opens the store; each call stands for another node or process.
    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.location, self.key.clone()).await.unwrap()
    }

    /// Runs SQL behind the store's back.
    pub(crate) async fn raw(&self, sql: &str) {
        self.try_raw(sql).await.unwrap();
    }

    pub(crate) async fn try_raw(&self, sql: &str) -> Result<(), String> {
        match (&self.location, &self.postgres) {
            (StoreLocation::Sqlite(path), _) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.busy_timeout(Duration::from_secs(5)).unwrap();
                connection.execute_batch(sql).map_err(|error| error.to_string())
            }
            (_, Some((server, name))) => {
                let client = server.client(name).await;
                client.batch_execute(sql).await.map_err(|error| error.to_string())
            }
            _ => unreachable!("a PostgreSQL world has a server"),
        }
    }

    /// Everything the database holds, as bytes in which a secret can be searched.
    pub(crate) async fn bytes(&self) -> Vec<u8> {
        match (&self.location, &self.postgres) {
            (StoreLocation::Sqlite(path), _) => {
                let sidecar = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
                let files = [path.clone(), sidecar("-wal")];
                files.iter().flat_map(|file| std::fs::read(file).unwrap_or_default()).collect()
            }
            (_, Some((server, name))) => {
                let client = server.client(name).await;
                let mut bytes = Vec::new();
                let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
                for table in client.query(tables, &[]).await.unwrap() {
                    let table: String = table.get(0);
                    // Blobs are searched as they are, and not as hexadecimal digits.
                    let select =
                        format!("SELECT encode(convert_to(t::text, 'UTF8'), 'escape') FROM {table} t");
                    for row in client.query(&select, &[]).await.unwrap() {
                        let text: String = row.get(0);
                        bytes.extend(text.as_bytes());
                        bytes.extend(text.split("\\\\x").filter_map(unhex).flatten());
                    }
                }
                bytes
            }
            _ => unreachable!("a PostgreSQL world has a server"),
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let end = text.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(text.len());
    hex::decode(&text[..end]).ok()
}

/// Two organizations, `acme` with tenants `acme-1` and `acme-2`, and `rival` with `rival-1`; users `ann` and `abe` in
/// `acme-1`, `amy` in `acme-2`, and `rob` in `rival-1`.
/// The next change that is told. A node that begins to listen, or does so again, is told of everything first.
pub(crate) async fn told(news: &mut Receiver<Change>) -> Change {
    loop {
        match news.recv().await.unwrap() {
            Change::Everything => {}
            change => return change,
        }
    }
}

/// Whether nothing else was told so far.
pub(crate) fn is_silent(news: &mut Receiver<Change>) -> bool {
    while let Ok(change) = news.try_recv() {
        if change != Change::Everything {
            return false;
        }
    }
    true
}

pub(crate) async fn two_organizations(store: &Store) {
    for org in ["acme", "rival"] {
        store.organizations().create(&organization(org)).await.unwrap();
    }
    for (tenant_id, org) in [("acme-1", "acme"), ("acme-2", "acme"), ("rival-1", "rival")] {
        store.tenants().create(&tenant(tenant_id, org)).await.unwrap();
    }
    for (user_id, tenant, org) in [
        ("ann", "acme-1", "acme"),
        ("abe", "acme-1", "acme"),
        ("amy", "acme-2", "acme"),
        ("rob", "rival-1", "rival"),
    ] {
        store.users().create(&user(user_id, tenant, org)).await.unwrap();
    }
}

pub(crate) fn organization(id: &str) -> Organization {
    Organization { id: org(id), name: Some(format!("{id}!")), variables: None }
}

pub(crate) fn tenant(id: &str, org_id: &str) -> Tenant {
    Tenant { id: tenant_id(id), org: org(org_id), name: None, variables: None }
}

pub(crate) fn user(id: &str, tenant: &str, org_id: &str) -> User {
    User {
        id: user_id(id),
        tenant: tenant_id(tenant),
        org: org(org_id),
        name: Some(id.to_uppercase()),
        variables: None,
        roles: vec![Role::ApiUser],
        data_roles: Vec::new(),
        disabled: false,
        outside: None,
    }
}

pub(crate) fn org(id: &str) -> OrgId {
    OrgId::new(id).unwrap()
}

pub(crate) fn tenant_id(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

pub(crate) fn user_id(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn key(id: &str) -> ConnectionKey {
    ConnectionKey::new(id).unwrap()
}

pub(crate) fn attributes(json: &str) -> Attributes {
    serde_json::from_str(json).unwrap()
}

pub(crate) fn upsert(connection: &str, org_id: &str) -> ConnectionUpsert {
    ConnectionUpsert {
        key: key(connection),
        spec: ConnectionSpec { db_type: "postgresql".to_owned(), ..ConnectionSpec::default() },
        password: Some(format!("password of {connection}").into()),
        proof: Proof::Pending,
        org: org(org_id),
        target: format!("target of {connection}"),
        adopt_filters: false,
        reindex: false,
    }
}

/// Puts connections on a user's list.
pub(crate) async fn connect(store: &Store, user: &str, org_id: &str, keys: &[&str]) -> Vec<SourceId> {
    let upserts = keys.iter().map(|key| upsert(key, org_id)).collect();
    let changes = ConnectionChanges { upserts, ..ConnectionChanges::default() };
    store.connections().apply(&user_id(user), changes).await.unwrap()
}

/// Takes connections off a user's list.
pub(crate) async fn disconnect(store: &Store, user: &str, keys: &[&str]) {
    let removed = keys.iter().map(|text| key(text)).collect();
    let changes = ConnectionChanges { removed, ..ConnectionChanges::default() };
    store.connections().apply(&user_id(user), changes).await.unwrap();
}

/// When a poll gives up.
pub(crate) fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// Whether a secret stands in the bytes.
pub(crate) fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}
