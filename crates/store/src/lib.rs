//! The control store: the only state of Ringfence, on `SQLite` (embedded) or `PostgreSQL` (shared by many nodes).
//!
//! One repository per noun, each in its own file, each written once for both databases. It holds no SQL of users.
//! Secrets are sealed before they are written ([`sealing`]); the audit log is chained ([`audit`]).

pub mod access_keys;
pub mod access_rules;
pub mod annotations;
pub mod approvals;
pub mod arrivals;
mod audience;
pub mod audit;
pub mod basic_credentials;
pub mod changes;
pub mod connections;
mod database;
pub mod endpoints;
pub mod history;
pub mod individual_roles;
pub mod key_file;
pub mod likes;
mod masking;
mod migrations;
pub mod organizations;
pub mod parameters;
pub mod policies;
pub mod repeats;
pub mod restrictions;
pub mod role_mapping;
pub mod sealing;
pub mod sessions;
pub mod signing_keys;
pub mod sources;
pub mod tenants;
pub mod user_config;
pub mod users;

use std::sync::Arc;

use secrecy::SecretString;
use tokio::sync::broadcast;
use zeroize::Zeroizing;

use changes::Change;
use database::{Database, Postgres, Sqlite, params};
pub use key_file::{open_with_key_file, rotate_key_file};
pub use sealing::SealingKey;

/// Where the control store lives.
#[derive(Debug, Clone)]
pub enum StoreLocation {
    /// An `SQLite` file, made when missing.
    Sqlite(std::path::PathBuf),
    /// A `PostgreSQL` URL; it may hold a password, so it is a secret.
    Postgres(SecretString),
}

/// Why the control store could not do it. Callers' mistakes first, then the operator's, then ours.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The id or name is taken.
    #[error("{what} already exists")]
    Duplicate {
        /// The noun, such as "user".
        what: &'static str,
    },
    /// There is none with that id.
    #[error("{what} does not exist")]
    Missing {
        /// The noun.
        what: &'static str,
    },
    /// Others depend on it.
    #[error("{what} is still in use: it has {dependents}")]
    InUse {
        /// The noun.
        what: &'static str,
        /// What is in the way, such as "tenants".
        dependents: &'static str,
    },
    /// Someone else changed it in between; read again and retry.
    #[error("{what} was changed by someone else meanwhile")]
    Conflict {
        /// The noun.
        what: &'static str,
    },
    /// The store was written by a newer version of Ringfence.
    #[error(
        "the control store has schema version {found}, but this ringfence knows only up to {known}: upgrade ringfence"
    )]
    NewerSchema {
        /// The version found.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// The sealing key does not open what the store holds.
    #[error("the sealing key is not the one that this control store was sealed with")]
    WrongSealingKey,
    /// The sealing key can't be read or is unusable.
    #[error("the sealing key can't be used: {0}")]
    SealingKey(String),
    /// The database can't be reached, is full, or is read-only.
    #[error("the control store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored can't be read back.
    #[error("the control store holds something unreadable: {0}")]
    Corrupt(String),
}

/// The control store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    keyring: sealing::Keyring,
    audit_key: Zeroizing<Vec<u8>>,
    listeners: broadcast::Sender<Change>,
}

impl Store {
    /// Opens the store, brings its schema up to date (safe when two nodes do so at once) and checks the sealing key.
    pub async fn open(location: &StoreLocation, key: SealingKey) -> Result<Self, StoreError> {
        let (listeners, _) = broadcast::channel(changes::BACKLOG);
        let database = match location {
            StoreLocation::Sqlite(path) => Database::Sqlite(Sqlite::open(path, listeners.clone()).await?),
            StoreLocation::Postgres(url) => Database::Postgres(Postgres::open(url, listeners.clone()).await?),
        };
        migrations::migrate(&database).await?;
        let (keyring, audit_key) = sealing::unlock(&database, key).await?;
        Ok(Self { inner: Arc::new(Inner { database, keyring, audit_key, listeners }) })
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.inner.database.query("SELECT 1", params![]).await?;
        Ok(())
    }

    /// Organizations.
    pub fn organizations(&self) -> organizations::Organizations<'_> {
        organizations::Organizations(self)
    }

    /// Tenants.
    pub fn tenants(&self) -> tenants::Tenants<'_> {
        tenants::Tenants(self)
    }

    /// Users.
    pub fn users(&self) -> users::Users<'_> {
        users::Users(self)
    }

    /// Users of outside sources.
    pub fn arrivals(&self) -> arrivals::Arrivals<'_> {
        arrivals::Arrivals(self)
    }

    /// Restrictions of data roles beside policies.
    pub fn restrictions(&self) -> restrictions::Restrictions<'_> {
        restrictions::Restrictions(self)
    }

    /// What roles of outside sources mean.
    pub fn role_mapping(&self) -> role_mapping::RoleMapping<'_> {
        role_mapping::RoleMapping(self)
    }

    /// Access keys.
    pub fn access_keys(&self) -> access_keys::AccessKeys<'_> {
        access_keys::AccessKeys(self)
    }

    /// Passwords of technical users.
    pub fn basic_credentials(&self) -> basic_credentials::BasicCredentials<'_> {
        basic_credentials::BasicCredentials(self)
    }

    /// Data roles that were granted by hand.
    pub fn individual_roles(&self) -> individual_roles::IndividualRolesOf<'_> {
        individual_roles::IndividualRolesOf(self)
    }

    /// Sign-in sessions.
    pub fn sessions(&self) -> sessions::Sessions<'_> {
        sessions::Sessions(self)
    }

    /// Public keys of applications.
    pub fn signing_keys(&self) -> signing_keys::SigningKeys<'_> {
        signing_keys::SigningKeys(self)
    }

    /// What users keep for themselves.
    pub fn user_config(&self) -> user_config::UserConfig<'_> {
        user_config::UserConfig(self)
    }

    /// Settings with a scope.
    pub fn parameters(&self) -> parameters::Parameters<'_> {
        parameters::Parameters(self)
    }

    /// Users' lists of connections.
    pub fn connections(&self) -> connections::Connections<'_> {
        connections::Connections(self)
    }

    /// What connections with one key in one organization share.
    pub fn sources(&self) -> sources::Sources<'_> {
        sources::Sources(self)
    }

    /// Access rules on tables.
    pub fn access_rules(&self) -> access_rules::AccessRules<'_> {
        access_rules::AccessRules(self)
    }

    /// Policies and their versions.
    pub fn policies(&self) -> policies::Policies<'_> {
        policies::Policies(self)
    }

    /// Published endpoints and their versions.
    pub fn endpoints(&self) -> endpoints::Endpoints<'_> {
        endpoints::Endpoints(self)
    }

    /// Operations that wait for an approval.
    pub fn approvals(&self) -> approvals::Approvals<'_> {
        approvals::Approvals(self)
    }

    /// Descriptions and manual constraints.
    pub fn annotations(&self) -> annotations::AnnotationsOf<'_> {
        annotations::AnnotationsOf(self)
    }

    /// Liked queries.
    pub fn likes(&self) -> likes::Likes<'_> {
        likes::Likes(self)
    }

    /// Requests that are done once.
    pub fn repeats(&self) -> repeats::Repeats<'_> {
        repeats::Repeats(self)
    }

    /// Queries that were run.
    pub fn history(&self) -> history::History<'_> {
        history::History(self)
    }

    /// The audit log.
    pub fn audit(&self) -> audit::AuditLog<'_> {
        audit::AuditLog(self)
    }
}
