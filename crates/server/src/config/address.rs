//! Addresses to listen on: an IP address or a host name, with a port.

use std::net::{SocketAddr, ToSocketAddrs};

use serde::{Deserialize, Deserializer};

const EXAMPLE: &str = "write it like 127.0.0.1:9859, or 0.0.0.0:9859 for every interface";

/// Reads an address. A port alone is refused: whether it means this machine or the whole network is not ours to guess.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let host = text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map(|(host, _)| host);
    if host.is_none_or(str::is_empty) {
        return Err(format!("`{text}` is no address with a port: {EXAMPLE}"));
    }
    let found: Vec<SocketAddr> = text
        .to_socket_addrs()
        .map_err(|error| format!("`{text}` can't be resolved ({error}): {EXAMPLE}"))?
        .collect();
    // One listener has one address; clients that are told `localhost` try 127.0.0.1 everywhere.
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| format!("`{text}` has no address: {EXAMPLE}"))
}

/// For serde, a required address.
pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// For serde, an optional address.
pub(crate) fn read_optional<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse(&text).map_err(serde::de::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_resolved_and_ports_alone_refused() {
        assert_eq!(parse("localhost:9859").unwrap(), "127.0.0.1:9859".parse().unwrap());
        assert_eq!(parse("[::1]:1").unwrap(), "[::1]:1".parse().unwrap());
        for wrong in ["9859", ":9859", "here", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "::1", ""] {
            let message = parse(wrong).unwrap_err();
            assert!(message.contains("127.0.0.1:9859"), "{wrong}: {message}");
        }
    }
}
