//! Addresses on the web, as they are written.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use axum::http::Uri;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A scheme, a host and a port: what browsers send in the header `Origin`, and in the same form (RFC 6454).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebOrigin {
    text: String,
    host: String,
}

/// An address with or without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebAddress(String);

impl WebOrigin {
    /// The host, as the header `Host` has it, without the port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

impl FromStr for WebOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no origin: write it like https://data.example.com, without a path");
        let uri = web_uri(text).ok_or_else(wrong)?;
        let (scheme, host) = (uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default());
        if uri.path() != "/" || uri.query().is_some() || text.ends_with('?') {
            return Err(wrong());
        }
        let host = host.to_ascii_lowercase();
        let default = if scheme == "https" { 443 } else { 80 };
        let port = uri.port_u16().filter(|port| *port != default);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self { text: format!("{scheme}://{host}{port}"), host })
    }
}

impl FromStr for WebAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match web_uri(text) {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(format!("`{text}` is no address: write it like https://login.example.com")),
        }
    }
}

/// An absolute http or https address without credentials in it.
fn web_uri(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority()?;
    (is_web && !authority.host().is_empty() && !authority.as_str().contains('@')).then_some(uri)
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for WebOrigin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Serialize for WebAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for WebOrigin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for WebAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for WebOrigin {
    fn schema_name() -> Cow<'static, str> {
        "WebOrigin".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "uri", "examples": ["https://data.example.com"]})
    }
}

impl JsonSchema for WebAddress {
    fn schema_name() -> Cow<'static, str> {
        "WebAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "uri", "examples": ["https://login.example.com"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_one_form() {
        for (written, origin, host) in [
            ("https://Data.Example.com", "https://data.example.com", "data.example.com"),
            ("https://data.example.com:443/", "https://data.example.com", "data.example.com"),
            ("http://localhost:6274", "http://localhost:6274", "localhost"),
            ("http://[::1]:80", "http://[::1]", "[::1]"),
        ] {
            let read: WebOrigin = written.parse().unwrap();
            assert_eq!((read.to_string().as_str(), read.host()), (origin, host), "{written}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in [
            "", "data.example.com", "ftp://a", "https://", "https://a/b", "https://a?x", "https://u:p@a",
            "/a",
        ] {
            assert!(wrong.parse::<WebOrigin>().is_err(), "{wrong}");
        }
        for wrong in ["", "login", "https://u:p@login.example.com/", "mailto:x"] {
            assert!(wrong.parse::<WebAddress>().is_err(), "{wrong}");
        }
        assert!("https://login.example.com/realms/one".parse::<WebAddress>().is_ok());
    }
}
