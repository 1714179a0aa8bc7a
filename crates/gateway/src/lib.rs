//! The one road: identify, entitle, guard, run, audit.
//!
//! Every front end comes through here with a [`Call`]: a principal, and the record that the call leaves. There is no
//! other way to the store or to a data source, and no wire format in here.

pub mod access_keys;
pub mod access_rules;
pub mod acting;
pub mod agents;
pub mod annotations;
pub mod answers;
pub mod approvals;
pub mod arrivals;
pub mod audit;
pub mod authentication;
pub mod basic_credentials;
pub mod bootstrap;
pub mod call;
mod versions;
pub mod catalog;
pub mod connections;
pub mod cubes;
pub mod directories;
pub mod doctor;
pub mod endpoints;
pub mod history;
pub mod indexing;
pub mod individual_roles;
pub mod lakes;
pub mod likes;
mod guarded;
mod lifted;
mod limits;
pub mod models;
pub mod oidc;
pub mod organizations;
pub mod parameters;
mod passwords;
pub mod policies;
pub mod prove;
pub mod queries;
pub mod refused;
mod retention;
mod road;
pub mod restrictions;
pub mod role_mapping;
pub mod sessions;
pub mod sign_in;
pub mod signing_keys;
pub mod tenancy;
pub mod tenants;
pub mod trail;
pub mod user_config;
pub mod users;

use std::sync::{Arc, Weak};
use std::time::Duration;

use ringfence_engine::{EVERYWHERE, Engine, RunOptions};
use ringfence_policy::UserId;
use ringfence_store::Store;
use ringfence_store::access_keys::KeyHash;
use ringfence_store::changes::Change;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

pub use acting::{Acting, ActingConfig, PlainPrincipal};
pub use answers::{AnswersConfig, Freshness, KeptAnswers};
pub use authentication::Credentials;
pub use bootstrap::{AdminAccount, Bootstrap};
pub use call::{Call, CallLog, Decision, Door, Sanitiser};
pub use passwords::PasswordsConfig;
pub use refused::{Code, Refused};
pub use sessions::SessionsConfig;
pub use sign_in::{NameAndPassword, SignIn, TenantClaims};

/// How the audit log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuditMode {
    /// Through a bounded queue, many records in one commit. When the queue is full, calls wait, then are refused.
    #[default]
    WriteBehind,
    /// Durable before the answer. When it can't be written, queries are refused before they run.
    Strict,
}

/// What the gateway needs to know.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct GatewayConfig {
    pub admin: AdminAccount,
    pub audit: AuditMode,
    pub audit_queue: usize,
    /// How long records are kept; `None` for ever.
    pub audit_retention: Option<Duration>,
    /// Default and upper limit of a statement's time.
    pub query_timeout: Duration,
    pub max_query_timeout: Duration,
    /// Default and upper limit of a result's rows.
    pub default_rows: u64,
    pub max_rows: u64,
    pub max_result_bytes: u64,
    /// How long results of submitted queries can be read again, and how much memory all of them may take.
    pub result_retention: Duration,
    pub result_memory: u64,
    /// Queries that one user may have running or waiting at once.
    pub queries_per_user: usize,
    pub indexing_at_once: usize,
    /// Principals kept in memory.
    pub principal_cache: u64,
    /// Names this node in leases.
    pub node: String,
    pub acting: ActingConfig,
    pub oidc: oidc::OidcConfig,
    pub sessions: SessionsConfig,
    pub answers: AnswersConfig,
    pub passwords: PasswordsConfig,
    /// Where users are read from, in the order in which they are asked.
    pub directories: Vec<directories::Directory>,
}

impl GatewayConfig {
    /// How a statement is run that is planned on nobody's wish.
    fn planning(&self) -> RunOptions {
        RunOptions {
            timeout: self.query_timeout,
            max_rows: 1,
            max_bytes: self.max_result_bytes,
            ..RunOptions::default()
        }
    }
}

/// The gateway. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

/// What all parts of the gateway share.
struct Shared {
    config: GatewayConfig,
    store: Store,
    engine: Engine,
    audit: audit::Writer,
    principals: authentication::PrincipalCache,
    passwords: passwords::PasswordWork,
    acting: acting::ActingCache,
    providers: oidc::Providers,
    tokens: oidc::TokenCache,
    indexer: indexing::Indexer,
    connections: connections::ConnectionCache,
    probes: connections::Probes,
    catalogs: catalog::CatalogCache,
    policies: policies::PolicyCache,
    rules: access_rules::RuleCache,
    approvals: approvals::Desk,
    endpoints: endpoints::EndpointCache,
    answers: Arc<answers::Answers>,
    snapshots: guarded::SnapshotCache,
    plans: guarded::PlanCache,
    attributes: guarded::AttributeCache,
    budgets: queries::TenantBudgets,
    statements: queries::JudgedStatements,
    running: queries::RunningQueries,
    history: history::Writer,
    /// Held while one who rules over all organizations is removed or demoted.
    super_admins: tokio::sync::Mutex<()>,
    /// Ends what listens in the background.
    stopped: CancellationToken,
}

impl Shared {
    /// Trusts no copy of what belongs to this user any more.
    fn forget_user(&self, user: &UserId) {
        self.principals.forget_user(user);
        self.connections.forget_user(user);
        self.running.suspect_user(user);
    }

    /// The same for what rests on this key.
    fn forget_key(&self, key: &KeyHash) {
        self.principals.forget_key(key);
        self.running.suspect_key(key);
    }
}

/// How long shutting down waits for records to be written out.
const LAST_WORDS: Duration = Duration::from_secs(10);

impl Gateway {
    /// Makes the first administrator when there is none, takes up unfinished indexing and starts listening for changes.
    pub async fn open(
        config: GatewayConfig,
        store: Store,
        engine: Engine,
    ) -> Result<(Self, Bootstrap), Refused> {
        Self::open_with(config, store, engine, Arc::new(models::ModelOperations)).await
    }

    /// The same with other operations that may wait for an approval.
    pub async fn open_with(
        config: GatewayConfig,
        store: Store,
        engine: Engine,
        operations: Arc<dyn approvals::Operations>,
    ) -> Result<(Self, Bootstrap), Refused> {
        // Listening begins before anything is copied, so that no change falls in between.
        let news = store.subscribe();
        let made = bootstrap::bootstrap(&store, &config.admin).await?;
        let stopped = CancellationToken::new();
        let shared = Shared {
            audit: audit::Writer::start(store.clone(), config.audit, config.audit_queue),
            principals: authentication::PrincipalCache::new(&config),
            passwords: passwords::PasswordWork::new(&config),
            acting: acting::ActingCache::new(&config),
            providers: oidc::Providers::new(&config.oidc),
            tokens: oidc::TokenCache::new(&config),
            indexer: indexing::Indexer::new(&config),
            connections: connections::ConnectionCache::new(&config),
            probes: connections::Probes::default(),
            catalogs: catalog::CatalogCache::new(&config),
            policies: policies::PolicyCache::new(&config),
            rules: access_rules::RuleCache::new(&config),
            approvals: approvals::Desk::new(operations),
            endpoints: endpoints::EndpointCache::new(),
            answers: answers::Answers::new(&config.answers),
            snapshots: guarded::SnapshotCache::new(),
            plans: guarded::PlanCache::new(),
            attributes: guarded::AttributeCache::new(),
            budgets: queries::TenantBudgets::new(),
            statements: queries::JudgedStatements::new(),
            running: queries::RunningQueries::new(&config),
            history: history::Writer::start(store.clone()),
            super_admins: tokio::sync::Mutex::default(),
            stopped: stopped.clone(),
            config,
            store,
            engine,
        };
        let gateway = Self { shared: Arc::new(shared) };
        // A weak hold: a gateway that nobody has any more needs no news.
        tokio::spawn(stopped.run_until_cancelled_owned(listen(news, Arc::downgrade(&gateway.shared))));
        indexing::start(&gateway);
        queries::start(&gateway);
        approvals::start(&gateway);
        retention::start(&gateway);
        answers::start(&gateway);
        Ok((gateway, made))
    }

    /// The control store, for readiness checks.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The engine, for metrics.
    pub fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    /// Stops taking queries, cancels what still runs, and writes everything out.
    pub async fn shutdown(&self) {
        queries::stop_all(self).await;
        self.shared.stopped.cancel();
        answers::tell_the_rest(self).await;
        self.shared.history.flush().await;
        self.shared.audit.flush(LAST_WORDS).await;
        self.shared.engine.shutdown().await;
    }
}

/// Drops copies of what changed, here or on another node.
async fn listen(mut news: Receiver<Change>, shared: Weak<Shared>) {
    loop {
        let change = match news.recv().await {
            Ok(change) => change,
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(changes.missed = missed, "news of changes were missed: copies are read again");
                Change::Everything
            }
            Err(RecvError::Closed) => return,
        };
        let Some(shared) = shared.upgrade() else { return };
        match change {
            Change::User(user) => shared.forget_user(&user),
            Change::Key(key) => shared.forget_key(&key),
            Change::Directory => {
                shared.principals.forget_all();
                // A tenant may have gone for whose users an application acts.
                shared.running.suspect_everybody();
            }
            Change::Source(source) => {
                shared.connections.forget_source(source);
                shared.catalogs.forget(source);
            }
            Change::Policy(policy) => shared.policies.forget(&policy),
            Change::Endpoints(org) => shared.endpoints.forget(&org),
            Change::AccessRules(place) => shared.rules.forget(&place),
            Change::Attributes(policy) => shared.attributes.forget(&policy),
            // What this node wrote itself it knows already.
            Change::Data { teller, place } if teller != shared.engine.teller() => {
                shared.engine.heard_written(&place);
            }
            Change::Data { .. } => {}
            Change::Everything => {
                shared.principals.forget_all();
                shared.connections.forget_all();
                shared.catalogs.forget_all();
                shared.policies.forget_all();
                shared.attributes.forget_all();
                shared.rules.forget_all();
                shared.endpoints.forget_all();
                shared.engine.heard_written(EVERYWHERE);
                shared.running.suspect_everybody();
            }
        }
    }
}
