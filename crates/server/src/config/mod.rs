//! Configuration: one file, then the environment, then flags; the later one wins.
//!
//! [`Config`] is the whole of it, typed. [`load`](layers::load) reads it, [`keys`] knows every name that may be
//! written, and [`apply`] turns it into the settings of the floors below.

pub(crate) mod acting;
pub(crate) mod address;
pub(crate) mod apply;
mod believed;
pub(crate) mod directory;
pub(crate) mod hosts;
pub(crate) mod invalid;
pub(crate) mod keys;
pub(crate) mod layers;
pub(crate) mod oidc;
pub(crate) mod quantity;
pub(crate) mod secret;
pub(crate) mod sign_in;
pub(crate) mod web;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use acting::Acting;
use directory::Directory;
use hosts::Host;
pub(crate) use invalid::ConfigInvalid;
use oidc::Oidc;
use quantity::{Age, Size, Span};
use secret::Secret;
use sign_in::{Proxy, SignIn};
use web::{WebAddress, WebOrigin};

/// Configuration of Ringfence. Every key may be left out; the defaults suit one node with the embedded store.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "ringfence.toml")]
pub(crate) struct Config {
    pub(crate) server: Server,
    pub(crate) store: Store,
    pub(crate) sealing: Sealing,
    pub(crate) admin: Admin,
    pub(crate) acting: Acting,
    pub(crate) oidc: Oidc,
    pub(crate) sign_in: SignIn,
    /// Tables of users of the company's own (docs/sign-in.md), in the order in which they are asked.
    pub(crate) directories: Vec<Directory>,
    pub(crate) audit: Audit,
    pub(crate) limits: Limits,
    pub(crate) cache: Cache,
    pub(crate) connections: Connections,
    pub(crate) pools: Pools,
    pub(crate) sqlite: Sqlite,
    pub(crate) lake: Lake,
    pub(crate) mcp: Mcp,
    pub(crate) log: Log,
    pub(crate) telemetry: Telemetry,
    pub(crate) approvals: Approvals,
}

/// The addresses that are listened on, and what one client may ask for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Server {
    /// Address and port of /api/ and /v1/. Port 0 takes a free one.
    #[serde(deserialize_with = "address::read")]
    pub(crate) listen: SocketAddr,
    /// Address and port of /healthz, /readyz and /metrics. Not served when absent.
    #[serde(deserialize_with = "address::read_optional")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Serve HTTPS with this certificate. Without it, keys travel in the clear: listen on loopback only, or put a
    /// TLS-terminating proxy in front.
    pub(crate) tls: Option<Tls>,
    /// The largest request body.
    pub(crate) max_body: Size,
    /// How long a request may take to arrive.
    pub(crate) request_timeout: Span,
    /// How long running requests may take to end after a stop was asked for.
    pub(crate) drain_timeout: Span,
    /// Requests per minute and access key. Unlimited when absent.
    pub(crate) rate_limit_per_minute: Option<NonZeroU32>,
    /// Requests in work at once; more are answered 503.
    pub(crate) max_in_flight: NonZeroUsize,
    /// Threads that serve requests. One per core when absent.
    pub(crate) worker_threads: Option<NonZeroUsize>,
    /// How long a client may read nothing of its answer before the connection is ended.
    pub(crate) stall_timeout: Span,
    /// Addresses and ranges of the proxies in front of this server, whose headers X-Forwarded-For and X-Forwarded-Host are
    /// believed. From all others they are ignored.
    pub(crate) trusted_proxies: Vec<Proxy>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9859)),
            admin_listen: None,
            tls: None,
            max_body: Size::mebibytes(16),
            request_timeout: Span::seconds(30),
            drain_timeout: Span::seconds(10),
            rate_limit_per_minute: None,
            max_in_flight: count(1024),
            worker_threads: None,
            stall_timeout: Span::seconds(30),
            trusted_proxies: Vec::new(),
        }
    }
}

/// PEM files for HTTPS.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The certificate and its chain.
    pub(crate) certificate: PathBuf,
    /// The private key.
    pub(crate) key: PathBuf,
}

/// Where the control store lives: users, keys, connections, policies, the audit log.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Store {
    /// Directory of the embedded store (made with mode 0700 when missing), and of the file `listen`.
    /// Default: ./ringfence-data.
    pub(crate) data_dir: Option<PathBuf>,
    /// A PostgreSQL URL: keeps the store there instead, shared by many nodes. Needs a sealing key that all nodes share.
    pub(crate) url: Option<Secret>,
}

/// The key that secrets in the store are sealed with.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sealing {
    /// File with the key (mode 0600), made when missing. Default: `<data-dir>/sealing.key`.
    pub(crate) key_file: Option<PathBuf>,
    /// The key itself, as base64 of 32 bytes. Better in the environment (`RINGFENCE_SEALING_KEY`) than in this file.
    pub(crate) key: Option<Secret>,
}

/// The first super administrator, made at the first start.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    /// Organization of the administrator.
    pub(crate) org: String,
    /// Tenant of the administrator.
    pub(crate) tenant: String,
    /// User id of the administrator.
    pub(crate) user: String,
    /// Display name of the administrator.
    pub(crate) name: String,
    /// Access key of the administrator. Better in the environment (`RINGFENCE_ADMIN_KEY`). Without it one is made at the
    /// first start and printed once.
    pub(crate) key: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            org: "my_org_id".to_owned(),
            tenant: "my_tenant_id".to_owned(),
            user: "my_org_id".to_owned(),
            name: "J.A.R.V.I.S.".to_owned(),
            key: None,
        }
    }
}

/// How the audit log is written.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Audit {
    /// `write-behind`: through a queue, many records in one commit. `strict`: durable before the answer.
    pub(crate) mode: AuditMode,
    /// Records that may wait to be written; when it is full, calls wait, then are refused.
    pub(crate) queue: NonZeroUsize,
    /// How long records are kept, such as `400d`. Without it, for ever. What is left goes on proving that nothing else is gone.
    pub(crate) retention: Option<Age>,
}

impl Default for Audit {
    fn default() -> Self {
        Self { mode: AuditMode::WriteBehind, queue: count(8192), retention: None }
    }
}

/// When a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AuditMode {
    WriteBehind,
    Strict,
}

/// What one query and one user may take.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Time of a query that does not ask for its own.
    pub(crate) query_timeout: Span,
    /// The most time that a query may ask for.
    pub(crate) max_query_timeout: Span,
    /// Rows of a result that does not ask for its own number.
    pub(crate) default_rows: NonZeroU64,
    /// The most rows that a query may ask for.
    pub(crate) max_rows: NonZeroU64,
    /// The largest result that is held in memory.
    pub(crate) max_result: Size,
    /// The largest single row.
    pub(crate) max_row: Size,
    /// How long results of submitted queries can be read again.
    pub(crate) result_retention: Span,
    /// Memory that kept results may take together.
    pub(crate) result_memory: Size,
    /// Queries that one user may have running or waiting.
    pub(crate) queries_per_user: NonZeroUsize,
    /// Requests that one user may have in work, waiting for results among them. A quarter of `server.max_in_flight` when
    /// absent.
    pub(crate) requests_per_user: Option<NonZeroUsize>,
    /// The same for all users of one organization together. Half of `server.max_in_flight` when absent.
    pub(crate) requests_per_organization: Option<NonZeroUsize>,
    /// Connections that are indexed at once, at most half of them (but one) of one organization.
    pub(crate) indexing_at_once: NonZeroUsize,
    /// Principals kept in memory.
    pub(crate) principal_cache: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            query_timeout: Span::seconds(60),
            max_query_timeout: Span::seconds(600),
            default_rows: rows(10_000),
            max_rows: rows(1_000_000),
            max_result: Size::mebibytes(64),
            max_row: Size::mebibytes(16),
            result_retention: Span::seconds(600),
            result_memory: Size::mebibytes(256),
            queries_per_user: count(16),
            requests_per_user: None,
            requests_per_organization: None,
            indexing_at_once: count(4),
            principal_cache: 10_000,
        }
    }
}

/// Answers that are kept, for callers who see the same (docs/caching.md).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cache {
    /// Whether any are kept.
    pub(crate) enabled: bool,
    /// Memory that all of them may take. One that takes more than a sixteenth of it is not kept.
    pub(crate) memory: Size,
    /// How long the answer of a cube counts whose definition does not say. What is written through this server is seen at
    /// once, what is written past it after this time. Endpoints say themselves how long theirs count.
    pub(crate) cubes: Span,
}

impl Default for Cache {
    fn default() -> Self {
        Self { enabled: true, memory: Size::mebibytes(64), cubes: Span::seconds(10) }
    }
}

/// Hosts that registered connections may lead to. What a host name leads to is decided when it is connected to. Link-local
/// addresses (where clouds have their metadata), multicast and the like are never connected to.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Connections {
    /// Only these hosts: names, `*.domain`, addresses, ranges such as `10.1.0.0/16`, and the words `loopback` and
    /// `private`. All of them when empty.
    pub(crate) allowed_hosts: Vec<Host>,
    /// Not these hosts, whatever is allowed: `["loopback", "private"]` keeps connections out of the own network.
    pub(crate) denied_hosts: Vec<Host>,
}

/// Pools of connections to the databases.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pools {
    /// Connections of one pool.
    pub(crate) per_pool: NonZeroUsize,
    /// Connections of all pools together.
    pub(crate) total: NonZeroUsize,
    /// How long connecting may take.
    pub(crate) connect_timeout: Span,
    /// How long a query waits for a place in the pool.
    pub(crate) wait: Span,
    /// Connections idle for longer are closed.
    pub(crate) idle_timeout: Span,
    /// Prepared statements kept per connection.
    pub(crate) prepared_statements: NonZeroUsize,
}

impl Default for Pools {
    fn default() -> Self {
        Self {
            per_pool: count(16),
            total: count(512),
            connect_timeout: Span::seconds(5),
            wait: Span::seconds(10),
            idle_timeout: Span::seconds(60),
            prepared_statements: count(256),
        }
    }
}

/// Connections of kind `sqlite`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sqlite {
    /// Directories whose files may be opened; none when empty. `{org}` in one stands for the id of the organization that
    /// asks: use it when there is more than one, because files have no passwords, and who may add connections can open
    /// every file in the organization's directories. The data directory must not be inside one of them.
    pub(crate) directories: Vec<PathBuf>,
    /// The largest value, and the largest stored row. One call of a function such as `instr` can't be stopped, and of two
    /// values of this size it takes time that grows with the square of it: at 1 MiB some 15 seconds.
    pub(crate) max_value: Size,
}

impl Default for Sqlite {
    fn default() -> Self {
        Self { directories: Vec::new(), max_value: Size::mebibytes(1) }
    }
}

/// Connections of kind `lake`, in builds that have it (`--features lake`).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Lake {
    /// Directories that lakes may be in, or be; none when empty. `{org}` in one stands for the id of the organization that
    /// asks, as for `sqlite`: who may add connections can read every file in the organization's directories.
    pub(crate) directories: Vec<PathBuf>,
    /// Memory that rows may take which all queries together keep, to sort, group or join them.
    pub(crate) memory: Size,
    /// Where rows go that do not fit. Default: the system's directory for such files.
    pub(crate) spill_directory: Option<PathBuf>,
    /// Room there; with 0, a query that needs more memory fails.
    pub(crate) spill: Size,
    /// Threads that run queries. Default: one for each processor.
    pub(crate) threads: Option<NonZeroUsize>,
    /// The largest body that is loaded into a table at once.
    pub(crate) max_load: Size,
    /// How long such a body may take to arrive.
    pub(crate) load_time: Span,
}

impl Default for Lake {
    fn default() -> Self {
        Self {
            directories: Vec::new(),
            memory: Size::mebibytes(1024),
            spill_directory: None,
            spill: Size::mebibytes(16 * 1024),
            threads: None,
            max_load: Size::mebibytes(8 * 1024),
            load_time: Span::seconds(3600),
        }
    }
}

/// The door for agents: the Model Context Protocol at /mcp.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mcp {
    /// Whether it is served. What agents may do on a connection is a setting of the connection.
    pub(crate) enabled: bool,
    /// How agents reach this server, such as `https://data.example.com`: needed where they use a name. Without it, /mcp
    /// answers on addresses and `localhost` only, and tells the address that it was asked at.
    pub(crate) public_url: Option<WebOrigin>,
    /// Further names that agents may reach this server by.
    pub(crate) allowed_hosts: Vec<String>,
    /// Web pages whose scripts may use /mcp, such as `https://app.example.com`. All others are refused.
    pub(crate) allowed_origins: Vec<WebOrigin>,
    /// Issuers of access tokens, which clients are told to sign in at (RFC 9728).
    pub(crate) authorization_servers: Vec<WebAddress>,
    /// The most rows of one answer.
    pub(crate) max_rows: NonZeroU64,
    /// The largest answer.
    pub(crate) max_result: Size,
}

impl Default for Mcp {
    fn default() -> Self {
        Self {
            enabled: true,
            public_url: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            authorization_servers: Vec::new(),
            max_rows: rows(200),
            max_result: Size::kibibytes(64),
        }
    }
}

/// The log on standard error.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// `auto`: pretty on a terminal, JSON lines otherwise.
    pub(crate) format: LogFormat,
    /// What is logged, such as `info` or `info,ringfence_gateway=debug`.
    pub(crate) filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, filter: "info".to_owned() }
    }
}

/// The form of the log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    Auto,
    Pretty,
    Json,
}

/// Traces.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Telemetry {
    /// Base URL of an OpenTelemetry collector that speaks OTLP over HTTP, such as `http://127.0.0.1:4318`. Traces go
    /// to `/v1/traces` below it. Not exported when absent.
    pub(crate) otlp_endpoint: Option<String>,
}

/// Operations that wait for an approval.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Approvals {
    /// Where each change of a ticket is posted, signed: an http or https URL, whose host `connections.allowed_hosts` and
    /// `connections.denied_hosts` permit. Nowhere when absent.
    pub(crate) webhook_url: Option<String>,
    /// What signs it, at least 16 characters. Better in the environment (`RINGFENCE_APPROVALS__WEBHOOK_SECRET`).
    pub(crate) webhook_secret: Option<Secret>,
}

/// A default that is a count; zero of any of these would serve nobody.
const fn count(number: usize) -> NonZeroUsize {
    match NonZeroUsize::new(number) {
        Some(number) => number,
        None => NonZeroUsize::MIN,
    }
}

/// A default that is a number of rows.
const fn rows(number: u64) -> NonZeroU64 {
    match NonZeroU64::new(number) {
        Some(number) => number,
        None => NonZeroU64::MIN,
    }
}
