//! Where a source is, and as whom to sign in.

use std::path::Path;

use ringfence_policy::ConnectionKind;
use secrecy::SecretString;

/// Everything needed to connect. Two equal addresses (password included) in one `pool_scope` share a pool.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct SourceAddress {
    pub kind: ConnectionKind,
    /// Keeps pools of different organizations apart: the organization's id.
    pub pool_scope: String,
    pub host: String,
    pub port: Option<u16>,
    /// The database's name; for `SQLite` the file as the user gave it, checked against the allowed directories at each use.
    pub database: String,
    pub username: Option<String>,
    pub password: Option<SecretString>,
    /// `disable`, `prefer` (default), `require`, `verify-full`; from the connection's `parameters.sslmode`.
    pub sslmode: Option<String>,
}

impl SourceAddress {
    /// The database of that name on the same server; in `SQLite` the file of that name beside this one, with its ending.
    pub fn beside(&self, name: &str) -> Self {
        let database = match self.kind {
            ConnectionKind::Sqlite | ConnectionKind::Lake => {
                let home = Path::new(&self.database);
                let ending = home.extension().map(|ending| format!(".{}", ending.to_string_lossy()));
                let file = format!("{name}{}", ending.unwrap_or_default());
                home.with_file_name(file).to_string_lossy().into_owned()
            }
            ConnectionKind::Postgresql | ConnectionKind::Mysql | ConnectionKind::Push => name.to_owned(),
        };
        Self { database, ..self.clone() }
    }
}

/// A place as the engine names it: the server or directory that it is in, and its own name there.
pub fn within(place: &str) -> (&str, &str) {
    let after_scheme = place.find("://").map_or(0, |at| at + 3);
    if place.starts_with("sqlite://") {
        let slash = place.rfind('/').map_or(after_scheme, |at| at + 1).max(after_scheme);
        let (directory, file) = place.split_at(slash);
        return (directory, file.rsplit_once('.').map_or(file, |(stem, _)| stem));
    }
    // A database's name may hold a slash; a host's can't.
    let rest = place.get(after_scheme..).unwrap_or_default();
    let slash = rest.find('/').map_or(place.len(), |at| after_scheme + at + 1);
    place.split_at(slash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(kind: ConnectionKind, database: &str) -> SourceAddress {
        SourceAddress {
            kind,
            pool_scope: "org".to_owned(),
            host: "h".to_owned(),
            port: None,
            database: database.to_owned(),
            username: None,
            password: None,
            sslmode: None,
        }
    }

    #[test]
    fn a_database_lies_beside_another() {
        let beside = |kind, home: &str| address(kind, home).beside("acme").database;
        assert_eq!(beside(ConnectionKind::Postgresql, "a/b"), "acme");
        assert_eq!(beside(ConnectionKind::Sqlite, "/data/blank.db"), "/data/acme.db");
        assert_eq!(beside(ConnectionKind::Sqlite, "blank"), "acme");
        assert_eq!(beside(ConnectionKind::Sqlite, "x.y/blank.sqlite3"), "x.y/acme.sqlite3");
    }

    #[test]
    fn a_place_is_within_a_server_or_a_directory() {
        assert_eq!(within("postgresql://h:5432/a/b"), ("postgresql://h:5432/", "a/b"));
        assert_eq!(within("postgresql://h:5432/"), ("postgresql://h:5432/", ""));
        assert_eq!(within("mysql://h:3306"), ("mysql://h:3306", ""));
        assert_eq!(within("sqlite:///data/x.y/acme.db"), ("sqlite:///data/x.y/", "acme"));
        assert_eq!(within("sqlite:///acme"), ("sqlite:///", "acme"));
    }
}
