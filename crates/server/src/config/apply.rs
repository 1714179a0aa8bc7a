//! From the configuration to the settings of the floors below.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use ringfence_engine::{Egress, EngineLimits};
use ringfence_gateway::oidc::OidcConfig;
use ringfence_gateway::{AdminAccount, AnswersConfig, AuditMode, GatewayConfig};
use ringfence_store::StoreLocation;

use super::Config;
use super::hosts::rules;
use crate::http::places::PlaceLimits;
use crate::http::{HttpSettings, McpSettings, SignInSettings, TlsFiles};
use crate::mcp::Bounds;

/// The embedded store's directory when none is named.
const DEFAULT_DATA_DIR: &str = "ringfence-data";
/// The embedded store's file in the data directory.
const STORE_FILE: &str = "ringfence.db";
/// The sealing key's file in the data directory.
const SEALING_KEY_FILE: &str = "sealing.key";

impl Config {
    /// The data directory. With a store in `PostgreSQL` there need not be one.
    pub(crate) fn data_dir(&self) -> Option<PathBuf> {
        match (&self.store.data_dir, &self.store.url) {
            (Some(named), _) => Some(named.clone()),
            (None, Some(_)) => None,
            (None, None) => Some(DEFAULT_DATA_DIR.into()),
        }
    }

    pub(crate) fn store_location(&self) -> StoreLocation {
        match &self.store.url {
            Some(url) => StoreLocation::Postgres(url.to_secret_string()),
            None => StoreLocation::Sqlite(self.data_dir().unwrap_or_default().join(STORE_FILE)),
        }
    }

    /// The sealing key's file. None for a store in `PostgreSQL` unless it is named: nodes that each made a key of their
    /// own could not read each other's secrets.
    pub(crate) fn sealing_key_file(&self) -> Option<PathBuf> {
        let default = || match self.store.url {
            Some(_) => None,
            None => self.data_dir().map(|directory| directory.join(SEALING_KEY_FILE)),
        };
        self.sealing.key_file.clone().or_else(default)
    }

    pub(crate) fn http_settings(&self) -> HttpSettings {
        let server = &self.server;
        HttpSettings {
            listen: server.listen,
            admin_listen: server.admin_listen,
            tls: server
                .tls
                .as_ref()
                .map(|tls| TlsFiles { certificate: tls.certificate.clone(), key: tls.key.clone() }),
            max_body_bytes: memory(server.max_body.bytes()),
            request_timeout: server.request_timeout.duration(),
            max_load_bytes: self.lake.max_load.bytes(),
            load_timeout: self.lake.load_time.duration(),
            drain_timeout: server.drain_timeout.duration(),
            rate_limit: server.rate_limit_per_minute.map(std::num::NonZeroU32::get),
            places: self.places(),
            stall_timeout: server.stall_timeout.duration(),
            mcp: self.mcp.enabled.then(|| self.mcp_settings()),
            plain_headers: self.acting.headers(),
            sign_in: self.people_sign_in().then(|| SignInSettings {
                providers: self.oidc.links(),
                public_url: self.oidc.public_url.as_ref().map(ToString::to_string),
                ..self.sign_in.settings()
            }),
            trusted_proxies: self.server.trusted_proxies.iter().map(|proxy| proxy.0.clone()).collect(),
        }
    }

    fn mcp_settings(&self) -> McpSettings {
        let mcp = &self.mcp;
        let public = mcp.public_url.as_ref();
        let named = mcp.allowed_hosts.iter().map(|host| host.to_ascii_lowercase());
        let origins = mcp.allowed_origins.iter().chain(public).map(ToString::to_string);
        McpSettings {
            scheme: if self.server.tls.is_some() { "https" } else { "http" },
            public_url: public.map(ToString::to_string),
            hosts: named.chain(public.map(|url| url.host().to_owned())).collect(),
            origins: origins.collect(),
            authorization_servers: mcp.authorization_servers.iter().map(ToString::to_string).collect(),
            bounds: Bounds { max_rows: mcp.max_rows.get(), max_bytes: memory(mcp.max_result.bytes()) },
        }
    }

    /// What one user, one organization and all strangers hold at most leaves places to others.
    fn places(&self) -> PlaceLimits {
        let total = self.server.max_in_flight.get();
        let share = |given: Option<NonZeroUsize>, part: usize| {
            given.map_or(total / part, NonZeroUsize::get).clamp(1, total)
        };
        PlaceLimits {
            total,
            per_user: share(self.limits.requests_per_user, 4),
            per_organization: share(self.limits.requests_per_organization, 2),
            unidentified: share(None, 4),
        }
    }

    pub(crate) fn gateway_config(&self) -> GatewayConfig {
        let limits = &self.limits;
        GatewayConfig {
            admin: AdminAccount {
                org: self.admin.org.clone(),
                tenant: self.admin.tenant.clone(),
                user: self.admin.user.clone(),
                name: self.admin.name.clone(),
                key: self.admin.key.as_ref().map(super::secret::Secret::to_secret_string),
            },
            audit: match self.audit.mode {
                super::AuditMode::WriteBehind => AuditMode::WriteBehind,
                super::AuditMode::Strict => AuditMode::Strict,
            },
            audit_queue: self.audit.queue.get(),
            audit_retention: self.audit.retention.map(super::quantity::Age::duration),
            query_timeout: limits.query_timeout.duration(),
            max_query_timeout: limits.max_query_timeout.duration(),
            default_rows: limits.default_rows.get(),
            max_rows: limits.max_rows.get(),
            max_result_bytes: limits.max_result.bytes(),
            result_retention: limits.result_retention.duration(),
            result_memory: limits.result_memory.bytes(),
            queries_per_user: limits.queries_per_user.get(),
            indexing_at_once: limits.indexing_at_once.get(),
            principal_cache: limits.principal_cache,
            node: node_name(),
            acting: self.acting.config(),
            oidc: OidcConfig::default(),
            sessions: self.sign_in.sessions(),
            answers: AnswersConfig {
                memory: if self.cache.enabled { self.cache.memory.bytes() } else { 0 },
                cube_time: self.cache.cubes.duration(),
            },
            passwords: self.sign_in.passwords(),
            directories: self.directories(),
        }
    }

    pub(crate) fn engine_limits(&self) -> EngineLimits {
        EngineLimits {
            max_connections_per_pool: self.pools.per_pool.get(),
            max_connections: self.pools.total.get(),
            connect_timeout: self.pools.connect_timeout.duration(),
            pool_wait: self.pools.wait.duration(),
            idle_timeout: self.pools.idle_timeout.duration(),
            max_row_bytes: memory(self.limits.max_row.bytes()),
            prepared_statements: self.pools.prepared_statements.get(),
            sqlite_directories: self.sqlite.directories.clone(),
            max_sqlite_value_bytes: memory(self.sqlite.max_value.bytes()),
            egress: self.egress(),
        }
    }

    /// What the lakes may use.
    #[cfg(feature = "lake")]
    pub(crate) fn lake_settings(&self) -> ringfence_lake::LakeSettings {
        let usual = ringfence_lake::LakeSettings::default();
        ringfence_lake::LakeSettings {
            directories: self.lake.directories.clone(),
            memory_bytes: memory(self.lake.memory.bytes()),
            spill_directory: self.lake.spill_directory.clone(),
            spill_bytes: self.lake.spill.bytes(),
            threads: self.lake.threads.map_or(usual.threads, NonZeroUsize::get),
        }
    }

    /// Whether people sign in here. A directory is of no use otherwise.
    fn people_sign_in(&self) -> bool {
        self.sign_in.enabled || !self.directories.is_empty()
    }

    /// The directories; those that can't be used are refused when the configuration is loaded.
    fn directories(&self) -> Vec<ringfence_gateway::directories::Directory> {
        self.directories.iter().filter_map(|directory| directory.read().ok()).collect()
    }

    /// Where connections of the gateway's may lead.
    pub(crate) fn egress(&self) -> Egress {
        Egress {
            allowed: rules(&self.connections.allowed_hosts),
            denied: rules(&self.connections.denied_hosts),
        }
    }
}

/// Bytes that must fit into memory, on machines with a narrower word too.
fn memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Unique per process, so that a restarted node does not take its own old leases for its own.
fn node_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), uuid::Uuid::new_v4().simple())
}
