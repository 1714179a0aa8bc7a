//! What a connection is registered as, and the key that follows from it.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::filter::{PatternFilter, SearchContext};
use crate::id::{ConnectionKey, NameInvalid};

/// A kind of data source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants are the products' names")]
pub enum ConnectionKind {
    Postgresql,
    Sqlite,
    /// `MariaDB` too: both speak one protocol.
    Mysql,
    /// A directory of files, run inside this process where the build has it (`docs/lake.md`).
    Lake,
    /// A catalog that its owner pushes; nothing to connect to, nothing to query.
    Push,
}

/// Database products whose catalogs may be pushed: the gateway needs no driver for them.
const PUSHABLE: [&str; 14] = [
    "postgresql", "sqlite", "mysql", "mariadb", "snowflake", "bigquery", "databricks", "redshift", "oracle",
    "sqlserver", "mongodb", "mongodb+srv", "trino", "clickhouse",
];

/// A connection as its user describes it; the password travels beside it, never inside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the Waii SDK's DBConnection, named alike")]
pub struct ConnectionSpec {
    pub db_type: String,
    pub description: Option<String>,
    pub account_name: Option<String>,
    pub username: Option<String>,
    pub database: Option<String>,
    pub warehouse: Option<String>,
    pub role: Option<String>,
    pub path: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub parameters: Option<Map<String, Value>>,
    #[serde(deserialize_with = "null_is_true", default = "yes")]
    pub sample_col_values: bool,
    #[serde(deserialize_with = "null_is_false")]
    pub push: bool,
    pub db_content_filters: Option<Vec<PatternFilter>>,
    pub embedding_model: Option<String>,
    pub always_include_tables: Option<Value>,
    pub alias: Option<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub db_access_policy: AccessPolicy,
    pub host_alias: Option<String>,
    pub user_alias: Option<String>,
    pub db_alias: Option<String>,
    pub client_email: Option<String>,
    pub content_filters: Option<Vec<SearchContext>>,
    pub sample_filters: Option<Value>,
    /// Ours: the SDK does not know it. `None` is the default, and on a change what was set before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_tools: Option<AgentTools>,
}

/// What agents may do on a connection: the tools that they get over MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentTools {
    /// For agents the connection does not exist.
    None,
    /// What reads. The default: an agent acts on texts that anybody may have written, so changing is for those who say so.
    #[default]
    ReadOnly,
    /// What the connection's user may do.
    ReadWrite,
}

/// What queries on a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccessPolicy {
    /// Queries run in a read-only transaction.
    #[serde(deserialize_with = "null_is_false")]
    pub read_only: bool,
    /// Whether queries may name what the content filters hide.
    #[serde(deserialize_with = "null_is_true")]
    pub allow_access_beyond_db_content_filter: bool,
    /// Kept for clients that set it; it concerns generated queries only.
    #[serde(deserialize_with = "null_is_true")]
    pub allow_access_beyond_search_context: bool,
}

impl Default for AccessPolicy {
    fn default() -> Self {
        Self {
            read_only: false,
            allow_access_beyond_db_content_filter: true,
            allow_access_beyond_search_context: true,
        }
    }
}

/// A description that no key follows from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyInvalid {
    /// The product is none that this server connects to.
    #[error("unknown db_type: use postgresql, mysql, mariadb, sqlite or lake")]
    UnknownKind,
    /// No database was named.
    #[error("database is missing: name the database (for sqlite, the file; for a lake, the directory)")]
    DatabaseMissing,
    /// A network database needs an address.
    #[error("host is missing: name the server's host")]
    HostMissing,
    /// A part has characters or a length that no key can have.
    #[error(transparent)]
    Name(#[from] NameInvalid),
}

impl ConnectionSpec {
    /// The kind of source, from `db_type` and `push`.
    pub fn kind(&self) -> Result<ConnectionKind, KeyInvalid> {
        match self.db_type.as_str() {
            known if self.push && PUSHABLE.contains(&known) => Ok(ConnectionKind::Push),
            "postgresql" => Ok(ConnectionKind::Postgresql),
            "sqlite" => Ok(ConnectionKind::Sqlite),
            "lake" => Ok(ConnectionKind::Lake),
            "mysql" | "mariadb" => Ok(ConnectionKind::Mysql),
            _ => Err(KeyInvalid::UnknownKind),
        }
    }

    /// The database's name; for `SQLite` the file and for a lake the directory, which may stand in `path` too.
    pub fn database_name(&self) -> Result<&str, KeyInvalid> {
        let fallback =
            if matches!(self.db_type.as_str(), "sqlite" | "lake") { given(self.path.as_ref()) } else { None };
        given(self.database.as_ref()).or(fallback).ok_or(KeyInvalid::DatabaseMissing)
    }

    /// What agents may do on the connection.
    pub fn agent_tools(&self) -> AgentTools {
        self.agent_tools.unwrap_or_default()
    }

    /// The connection's key. An alias gives the same database a key, and so a catalog and filters, of its own.
    pub fn key(&self) -> Result<ConnectionKey, KeyInvalid> {
        let kind = self.kind()?;
        let database = self.database_name()?;
        let host = given(self.host.as_ref());
        if matches!(kind, ConnectionKind::Postgresql | ConnectionKind::Mysql) && host.is_none() {
            // An alias does not stand in for it: without a host the gateway's own would be meant.
            return Err(KeyInvalid::HostMissing);
        }
        let text = if self.push {
            format!("{}://push/{}/{}", self.db_type, encode(host.unwrap_or_default()), encode(database))
        } else if let Some(key) = self.aliased_key(database) {
            key
        } else if matches!(kind, ConnectionKind::Sqlite | ConnectionKind::Lake) {
            format!("{}:///{}", self.db_type, encode_path(database))
        } else {
            self.address_key(host.unwrap_or_default(), database)
        };
        Ok(ConnectionKey::new(&text)?)
    }

    /// What the connection physically points at, whatever it is called: two connections that share a key share a
    /// catalog only when this is the same too.
    pub fn target(&self) -> Result<String, KeyInvalid> {
        let host = given(self.host.as_ref()).unwrap_or_default().to_lowercase();
        let port = self.port.map(|port| port.to_string()).unwrap_or_default();
        let user = given(self.username.as_ref()).unwrap_or_default();
        let parts = [
            self.product(),
            if self.push { "push" } else { "" },
            user,
            host.as_str(),
            port.as_str(),
            self.database_name()?,
        ];
        Ok(parts.map(encode).join("/"))
    }

    fn aliased_key(&self, database: &str) -> Option<String> {
        let [user, host, db] =
            [&self.user_alias, &self.host_alias, &self.db_alias].map(|alias| given(alias.as_ref()));
        if user.or(host).or(db).is_some() {
            let user = user.or(given(self.username.as_ref())).unwrap_or_default();
            let host =
                host.or(given(self.host.as_ref())).or(given(self.account_name.as_ref())).unwrap_or_default();
            return Some(format!(
                "waii://{}@{}/{}",
                encode(user),
                encode(host),
                encode(db.unwrap_or(database))
            ));
        }
        given(self.alias.as_ref()).map(|alias| format!("waii://waii@host/{}", encode(alias)))
    }

    /// The product in keys. `MariaDB` is spelled like `MySQL` there, so that one database has one key; a catalog that is
    /// pushed stays under the name that its owner gave.
    fn product(&self) -> &str {
        match self.db_type.as_str() {
            "mariadb" if !self.push => "mysql",
            other => other,
        }
    }

    fn address_key(&self, host: &str, database: &str) -> String {
        let mut key = format!("{}://", self.product());
        if let Some(user) = given(self.username.as_ref()) {
            let _ = write!(key, "{}@", encode(user));
        }
        key.push_str(&encode(host));
        if let Some(port) = self.port {
            let _ = write!(key, ":{port}");
        }
        let _ = write!(key, "/{}", encode(database));
        key
    }
}

/// What would break the form of a key: separators, white space, the escape itself and control characters. Letters of any
/// script stay as they are.
const UNSAFE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'+')
    .remove(b'!')
    .remove(b'*')
    .remove(b'(')
    .remove(b')')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b'&')
    .remove(b'\'');

fn encode(part: &str) -> String {
    let mut encoded = String::with_capacity(part.len());
    for piece in part.split_inclusive(|c: char| !c.is_ascii()) {
        let ascii_end = piece.find(|c: char| !c.is_ascii()).unwrap_or(piece.len());
        let (ascii, rest) = piece.split_at(ascii_end);
        let _ = write!(encoded, "{}{rest}", utf8_percent_encode(ascii, UNSAFE));
    }
    encoded
}

fn encode_path(path: &str) -> String {
    path.split('/').map(encode).collect::<Vec<_>>().join("/")
}

fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

fn yes() -> bool {
    true
}

fn null_is_true<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(true))
}

fn null_is_false<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(false))
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> ConnectionSpec {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn keys() {
        let cases = [
            (
                r#"{"db_type":"postgresql","username":"u","host":"h","port":5432,"database":"d"}"#,
                "postgresql://u@h:5432/d",
            ),
            (
                r#"{"db_type":"postgresql","username":"u","host":"h","database":"d","port":null}"#,
                "postgresql://u@h/d",
            ),
            (r#"{"db_type":"postgresql","host":"h","database":"d"}"#, "postgresql://h/d"),
            (
                r#"{"db_type":"postgresql","username":"a@b","host":"h","database":"d/e f"}"#,
                "postgresql://a%40b@h/d%2Fe%20f",
            ),
            (r#"{"db_type":"postgresql","username":"ü","host":"h","database":"d"}"#, "postgresql://ü@h/d"),
            (
                r#"{"db_type":"postgresql","username":"u","host":"h","port":1,"database":"d","db_alias":"x"}"#,
                "waii://u@h/x",
            ),
            (
                r#"{"db_type":"postgresql","username":"u","host":"h","database":"d","user_alias":"v"}"#,
                "waii://v@h/d",
            ),
            (
                r#"{"db_type":"postgresql","username":"u","host":"h","database":"d","alias":"y"}"#,
                "waii://waii@host/y",
            ),
            (
                r#"{"db_type":"postgresql","username":"u","host":"h","database":"d","alias":"y","host_alias":"z"}"#,
                "waii://u@z/d",
            ),
            (r#"{"db_type":"snowflake","push":true,"host":"h","database":"d"}"#, "snowflake://push/h/d"),
            (
                r#"{"db_type":"mysql","username":"u","host":"h","port":3306,"database":"d"}"#,
                "mysql://u@h:3306/d",
            ),
            (r#"{"db_type":"mariadb","username":"u","host":"h","database":"d"}"#, "mysql://u@h/d"),
            (r#"{"db_type":"mariadb","push":true,"host":"h","database":"d"}"#, "mariadb://push/h/d"),
            (r#"{"db_type":"sqlite","database":"/data/a b.db"}"#, "sqlite:////data/a%20b.db"),
            (
                r#"{"db_type":"sqlite","path":"a.db","sample_col_values":null,"db_access_policy":null}"#,
                "sqlite:///a.db",
            ),
        ];
        for (json, key) in cases {
            assert_eq!(spec(json).key().unwrap().as_str(), key, "{json}");
        }
    }

    #[test]
    fn no_key_without_kind_host_and_database() {
        assert_eq!(
            spec(r#"{"db_type":"oracle","host":"h","database":"d"}"#).key(),
            Err(KeyInvalid::UnknownKind)
        );
        assert_eq!(spec(r#"{"db_type":"","host":"h","database":"d"}"#).key(), Err(KeyInvalid::UnknownKind));
        assert_eq!(spec(r#"{"db_type":"postgresql","host":"h"}"#).key(), Err(KeyInvalid::DatabaseMissing));
        assert_eq!(
            spec(r#"{"db_type":"postgresql","host":"h","database":""}"#).key(),
            Err(KeyInvalid::DatabaseMissing)
        );
        assert_eq!(spec(r#"{"db_type":"postgresql","database":"d"}"#).key(), Err(KeyInvalid::HostMissing));
        assert_eq!(spec(r#"{"db_type":"mysql","database":"d"}"#).key(), Err(KeyInvalid::HostMissing));
        let aliased = r#"{"db_type":"postgresql","database":"d","db_alias":"x"}"#;
        assert_eq!(spec(aliased).key(), Err(KeyInvalid::HostMissing));
    }

    #[test]
    fn the_target_ignores_names_and_keeps_who_logs_in() {
        let plain = spec(r#"{"db_type":"postgresql","username":"u","host":"H","port":1,"database":"d"}"#);
        let alias = ConnectionSpec { db_alias: Some("x".to_owned()), ..plain.clone() };
        let other = ConnectionSpec { username: Some("v".to_owned()), ..plain.clone() };
        assert_eq!(plain.target(), alias.target());
        assert_ne!(plain.target(), other.target());
    }
}
