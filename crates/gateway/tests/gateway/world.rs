//! Two organizations with users of every role, on a real store in a directory that goes away with the test.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringfence_engine::{Engine, EngineLimits};
use ringfence_gateway::approvals::Operations;
use ringfence_gateway::oidc::OidcConfig;
use ringfence_gateway::parameters::Target;
use ringfence_gateway::{
    ActingConfig, AdminAccount, AnswersConfig, AuditMode, Bootstrap, Call, CallLog, Code, Door, Gateway,
    GatewayConfig, PasswordsConfig, Refused, SessionsConfig,
};
use ringfence_policy::{
    Attributes, ConnectionKey, ConnectionSpec, KeyName, OrgId, Role, TenantId, TraceId, UserId,
};
use ringfence_store::audit::{AuditFilter, ChainedRecord};
use ringfence_store::connections::{ConnectionChanges, ConnectionUpsert, Proof};
use ringfence_store::organizations::Organization;
use ringfence_store::tenants::Tenant;
use ringfence_store::users::User;
use ringfence_store::{SealingKey, Store, StoreLocation};
use tempfile::TempDir;

/// The super administrator and its key, as in the seed.
pub(crate) const ROOT: &str = "my_org_id";
pub(crate) const ROOT_KEY: &str = "abc123";

/// (user, tenant, organization, role). The same ladder stands in both organizations.
const USERS: [(&str, &str, &str, Role); 15] = [
    ("a-super", "a-t1", "a", Role::SuperAdminUser),
    ("a-boss", "a-t1", "a", Role::OrgAdminUser),
    ("a-peer", "a-t2", "a", Role::OrgAdminUser),
    ("a-lead", "a-t1", "a", Role::AdminUser),
    ("a-ann", "a-t1", "a", Role::ApiUser),
    ("a-abe", "a-t2", "a", Role::ApiUser),
    ("a-user", "a-t1", "a", Role::User),
    ("a-trial", "a-t1", "a", Role::TrialUser),
    ("a-trial-api", "a-t1", "a", Role::TrialApiUser),
    ("b-boss", "b-t1", "b", Role::OrgAdminUser),
    ("b-lead", "b-t1", "b", Role::AdminUser),
    ("b-ann", "b-t1", "b", Role::ApiUser),
    ("b-user", "b-t1", "b", Role::User),
    ("b-trial", "b-t1", "b", Role::TrialUser),
    ("b-trial-api", "b-t1", "b", Role::TrialApiUser),
];

pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) store: Store,
    pub(crate) config: GatewayConfig,
    dir: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn strict() -> Self {
        Self::with(|config| config.audit = AuditMode::Strict).await
    }

    pub(crate) async fn with(adjust: impl FnOnce(&mut GatewayConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(&dir);
        Self::made(dir, engine, adjust).await
    }

    /// On an engine of the test's own.
    pub(crate) async fn over(engine: Engine) -> Self {
        Self::made(tempfile::tempdir().unwrap(), engine, |_| {}).await
    }

    async fn made(dir: TempDir, engine: Engine, adjust: impl FnOnce(&mut GatewayConfig)) -> Self {
        let store =
            Store::open(&StoreLocation::Sqlite(dir.path().join("store.db")), SealingKey::generate()).await;
        let store = store.unwrap();
        let mut config = config();
        adjust(&mut config);
        fill(&store).await;
        let (gateway, _) = Gateway::open(config.clone(), store.clone(), engine).await.unwrap();
        Self { gateway, store, config, dir }
    }

    /// With operations that may need an approval.
    pub(crate) async fn operating(operations: Arc<dyn Operations>) -> Self {
        let Self { gateway, store, config, dir } = Self::new().await;
        gateway.shutdown().await;
        let (gateway, _) =
            Gateway::open_with(config.clone(), store.clone(), engine(&dir), operations).await.unwrap();
        Self { gateway, store, config, dir }
    }

    /// Another node with operations of its own.
    pub(crate) async fn operating_again(&self, operations: Arc<dyn Operations>) -> Gateway {
        let engine = engine(&self.dir);
        Gateway::open_with(self.config.clone(), self.store.clone(), engine, operations).await.unwrap().0
    }

    /// The directory whose `SQLite` files the engine may open.
    pub(crate) fn data(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Opens a second gateway on the same store: another node.
    pub(crate) async fn open_again(&self, config: GatewayConfig) -> Result<(Gateway, Bootstrap), Refused> {
        Gateway::open(config, self.store.clone(), engine(&self.dir)).await
    }

    pub(crate) fn begin(&self) -> Arc<CallLog> {
        begin(&self.gateway)
    }

    /// A call of the user, with the user's own key.
    pub(crate) async fn call_as(&self, user: &str) -> Call {
        self.authenticate(user, None).await.unwrap()
    }

    /// A call of `admin` for `target`.
    pub(crate) async fn call_for(&self, admin: &str, target: &str) -> Call {
        self.authenticate(admin, Some(target)).await.unwrap()
    }

    pub(crate) async fn authenticate(&self, user: &str, target: Option<&str>) -> Result<Call, Refused> {
        self.gateway.authenticate(&self.begin(), Some(&key_of(user)), target).await
    }

    /// Puts a connection on the user's list, as adding one would.
    pub(crate) async fn connect(&self, user: &str) -> ConnectionKey {
        let spec = ConnectionSpec {
            db_type: "sqlite".to_owned(),
            database: Some("shop.db".to_owned()),
            ..ConnectionSpec::default()
        };
        let key = spec.key().unwrap();
        let user = UserId::new(user).unwrap();
        let org = self.store.users().get(&user).await.unwrap().unwrap().org;
        let target = spec.target().unwrap();
        let upsert = ConnectionUpsert {
            key: key.clone(),
            spec,
            password: None,
            proof: Proof::Proven,
            org,
            target,
            adopt_filters: false,
            reindex: false,
        };
        let changes = ConnectionChanges { upserts: vec![upsert], ..ConnectionChanges::default() };
        self.store.connections().apply(&user, changes).await.unwrap();
        key
    }

    /// A second, raw connection to the store's file: to break what a healthy store can't.
    pub(crate) fn raw_store(&self) -> rusqlite::Connection {
        let raw = rusqlite::Connection::open(self.dir.path().join("store.db")).unwrap();
        raw.busy_timeout(Duration::from_secs(5)).unwrap();
        raw
    }

    /// Changes the store past the gateway. Somebody may be writing to it who waits for this thread to go on.
    pub(crate) async fn change_store(&self, sql: &str) {
        let (raw, at_once) = (self.raw_store(), format!("BEGIN IMMEDIATE; {sql}; COMMIT"));
        tokio::task::spawn_blocking(move || raw.execute_batch(&at_once)).await.unwrap().unwrap();
    }

    /// The record of that trace id, as soon as it is written.
    pub(crate) async fn record(&self, log: &CallLog) -> ChainedRecord {
        let filter = AuditFilter { trace_id: Some(log.trace_id().to_string()), ..AuditFilter::default() };
        eventually(|| async {
            let records = self.store.audit().list(&filter, 2).await.unwrap();
            assert!(records.len() < 2, "one call, one record: {records:?}");
            records.into_iter().next()
        })
        .await
    }
}

pub(crate) fn begin(gateway: &Gateway) -> Arc<CallLog> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let trace = TraceId::new(&format!("trace-{}", NEXT.fetch_add(1, Ordering::Relaxed))).unwrap();
    gateway.begin(Door::Api, "test", trace)
}

pub(crate) fn config() -> GatewayConfig {
    GatewayConfig {
        admin: AdminAccount {
            org: "my_org_id".to_owned(),
            tenant: "my_tenant_id".to_owned(),
            user: ROOT.to_owned(),
            name: "J.A.R.V.I.S.".to_owned(),
            key: Some(ROOT_KEY.into()),
        },
        audit: AuditMode::WriteBehind,
        audit_queue: 1024,
        audit_retention: None,
        query_timeout: Duration::from_secs(10),
        max_query_timeout: Duration::from_secs(20),
        default_rows: 1000,
        max_rows: 10_000,
        max_result_bytes: 16 * 1024 * 1024,
        result_retention: Duration::from_secs(30),
        result_memory: 64 * 1024 * 1024,
        queries_per_user: 8,
        indexing_at_once: 2,
        principal_cache: 1000,
        node: "test".to_owned(),
        acting: ActingConfig::default(),
        oidc: OidcConfig::default(),
        sessions: SessionsConfig::default(),
        answers: AnswersConfig { memory: 1024 * 1024, cube_time: Duration::from_mins(1) },
        passwords: PasswordsConfig::default(),
        directories: Vec::new(),
    }
}

/// The user's access key in this world.
pub(crate) fn key_of(user: &str) -> String {
    if user == ROOT { ROOT_KEY.to_owned() } else { format!("rf_secret_of_{user}") }
}

/// The refusal's code; what was done although it should not be fails the test.
pub(crate) fn code<T>(result: Result<T, Refused>) -> Code {
    match result {
        Ok(_) => panic!("done, though it should be refused"),
        Err(refused) => refused.code,
    }
}

/// The refusal of two attempts, which must be the same to the letter.
#[track_caller]
pub(crate) fn same_refusal<T, U>(one: Result<T, Refused>, other: Result<U, Refused>) -> Code {
    match (one, other) {
        (Err(one), Err(other)) => {
            assert_eq!(one, other);
            one.code
        }
        _ => panic!("done, though it should be refused"),
    }
}

pub(crate) fn attributes(json: &str) -> Attributes {
    serde_json::from_str(json).unwrap()
}

/// A target with these fields; an empty one is left out.
pub(crate) fn target(org: &str, tenant: &str, user: &str, connection: &str) -> Target {
    let [org, tenant, user, connection] = [org, tenant, user, connection].map(|text| Some(text.to_owned()));
    Target { org, tenant, user, connection }
}

/// Polls until there is an answer.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "no answer in time");
        tokio::time::sleep(Duration::from_millis(5)).await; // poll: until the deadline above
    }
}

fn engine(dir: &TempDir) -> Engine {
    Engine::new(EngineLimits { sqlite_directories: vec![dir.path().to_owned()], ..EngineLimits::default() })
}

async fn fill(store: &Store) {
    for org in ["a", "b"] {
        let id = OrgId::new(org).unwrap();
        let organization = Organization { id, name: None, variables: None };
        store.organizations().create(&organization).await.unwrap();
    }
    for (tenant, org) in [("a-t1", "a"), ("a-t2", "a"), ("b-t1", "b")] {
        let (id, org) = (TenantId::new(tenant).unwrap(), OrgId::new(org).unwrap());
        store.tenants().create(&Tenant { id, org, name: None, variables: None }).await.unwrap();
    }
    for (user, tenant, org, role) in USERS {
        let id = UserId::new(user).unwrap();
        let (tenant, org) = (TenantId::new(tenant).unwrap(), OrgId::new(org).unwrap());
        let (name, variables, roles) = (None, None, vec![role]);
        let user = User {
            id: id.clone(),
            tenant,
            org,
            name,
            variables,
            roles,
            data_roles: Vec::new(),
            disabled: false,
            outside: None,
        };
        store.users().create(&user).await.unwrap();
        let name = KeyName::new("first").unwrap();
        store.access_keys().create(&id, &name, &key_of(id.as_str()).into(), 1).await.unwrap();
    }
}
