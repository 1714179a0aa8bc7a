//! What an address physically is, however it is spelt: what a policy binds, whoever registered a connection to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ringfence_policy::ConnectionKind;

use crate::SourceAddress;

/// What `PostgreSQL` keeps of a database's name when somebody signs in (NAMEDATALEN - 1).
const POSTGRES_NAME_BYTES: usize = 63;

/// The server of a network address, and its database where sessions stay within one. Who signs in, and what the connection is called, is not in it.
//
// INVARIANT: spellings that lead to one database by the rules of names and addresses alone give one place. Two names that
// a name server gives one address can't be told from here; SECURITY.md says so.
pub(crate) fn of_network(address: &SourceAddress) -> String {
    let (kind, port) = match address.kind {
        ConnectionKind::Postgresql => ("postgresql", address.port.unwrap_or(5432)),
        ConnectionKind::Mysql => ("mysql", address.port.unwrap_or(3306)),
        ConnectionKind::Sqlite => ("sqlite", 0),
        ConnectionKind::Lake => ("lake", 0),
        ConnectionKind::Push => ("push", 0),
    };
    // Who signs in to a MySQL server may name the tables of all its databases in any statement, whichever was chosen: what
    // is guarded is the server.
    if address.kind == ConnectionKind::Mysql {
        return format!("{kind}://{}:{port}", host(&address.host));
    }
    let end = address.database.floor_char_boundary(POSTGRES_NAME_BYTES.min(address.database.len()));
    format!("{kind}://{}:{port}/{}", host(&address.host), &address.database[..end])
}

/// The host in one spelling.
fn host(written: &str) -> String {
    let name =
        written.trim().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_lowercase();
    if name.is_empty() || name == "localhost" || name.ends_with(".localhost") {
        return "localhost".to_owned();
    }
    // A zone only says through which interface.
    let address = name.split('%').next().unwrap_or_default().parse::<Ipv6Addr>().map(IpAddr::V6);
    match address.ok().or_else(|| ipv4(&name).map(IpAddr::V4)).map(|address| address.to_canonical()) {
        Some(address) if address.is_loopback() || address.is_unspecified() => "localhost".to_owned(),
        Some(address) => address.to_string(),
        None => name,
    }
}

/// An IPv4 address as `inet_aton` reads it, which resolvers still do: one to four numbers, decimal, octal or
/// hexadecimal, of which the last one fills the rest.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 || leading.iter().any(|part| *part > 255) {
        return None;
    }
    let rest = 4 - u32::try_from(leading.len()).ok()?;
    if rest < 4 && *last >= 1 << (8 * rest) {
        return None;
    }
    let high = leading.iter().fold(0, |high: u32, part| (high << 8) | part);
    Some(Ipv4Addr::from(if rest == 4 { *last } else { (high << (8 * rest)) | last }))
}

fn number(text: &str) -> Option<u32> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u32::from_str_radix(digits, 16).ok();
    }
    let radix = if text.len() > 1 && text.starts_with('0') { 8 } else { 10 };
    // A sign is no digit here.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| u32::from_str_radix(text, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(host: &str, port: Option<u16>, database: &str, username: &str) -> String {
        of_network(&address(host, port, database, username))
    }

    fn address(host: &str, port: Option<u16>, database: &str, username: &str) -> SourceAddress {
        SourceAddress {
            kind: ConnectionKind::Postgresql,
            pool_scope: "org".to_owned(),
            host: host.to_owned(),
            port,
            database: database.to_owned(),
            username: Some(username.to_owned()),
            password: None,
            sslmode: None,
        }
    }

    #[test]
    fn spellings_of_one_database_are_one_place() {
        let long = "d".repeat(63);
        let same: [&[(&str, Option<u16>, &str)]; 4] = [
            &[
                ("localhost", None, "d"),
                ("LOCALHOST.", Some(5432), "d"),
                ("127.0.0.1", None, "d"),
                ("::1", None, "d"),
                ("[::1]", None, "d"),
                ("127.1", None, "d"),
                ("2130706433", None, "d"),
                ("0x7f.1", None, "d"),
                ("0177.0.0.1", None, "d"),
                ("::ffff:127.0.0.1", None, "d"),
                ("", None, "d"),
                ("db.localhost", None, "d"),
                ("127.8.9.10", None, "d"),
                ("0.0.0.0", None, "d"),
            ],
            &[("db.example.com", None, "d"), ("DB.Example.COM.", Some(5432), "d")],
            &[
                ("10.1.2.3", None, "d"),
                ("10.66051", None, "d"),
                ("0xa.1.2.3", None, "d"),
                ("::ffff:a01:203", None, "d"),
            ],
            &[("h", None, &long), ("h", None, &format!("{long}e"))],
        ];
        for spellings in same {
            let first = place(spellings[0].0, spellings[0].1, spellings[0].2, "ann");
            for (host, port, database) in spellings {
                assert_eq!(place(host, *port, database, "bob"), first, "{host}");
            }
        }
    }

    #[test]
    fn all_databases_of_a_mysql_server_are_one_place() {
        let mysql = |host: &str, port, database: &str| {
            let kind = ConnectionKind::Mysql;
            of_network(&SourceAddress { kind, ..address(host, port, database, "ann") })
        };
        assert_eq!(mysql("h", None, "a"), mysql("H.", Some(3306), "b"));
        assert_ne!(mysql("h", None, "a"), mysql("h", Some(3307), "a"));
        assert_ne!(mysql("h", None, "a"), mysql("h2", None, "a"));
    }

    #[test]
    fn other_databases_are_other_places() {
        let places = [
            place("h", None, "d", "u"),
            place("h", Some(5433), "d", "u"),
            place("h2", None, "d", "u"),
            place("h", None, "D", "u"),
            place("10.1.2.3", None, "d", "u"),
            place("10.1.2.4", None, "d", "u"),
            place("256.1", None, "d", "u"),
            place("1.2.3.4.5", None, "d", "u"),
            place("fe80::1", None, "d", "u"),
        ];
        for (at, one) in places.iter().enumerate() {
            assert!(!places[at + 1..].contains(one), "{one}");
        }
    }
}
