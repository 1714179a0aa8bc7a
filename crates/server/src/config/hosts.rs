//! Hosts that connections may lead to, as they are written.

use std::borrow::Cow;

use ringfence_engine::HostRule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A host name, `*.domain`, an address, a range of addresses, `loopback` or `private`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host(HostRule);

/// The rules for the engine.
pub(super) fn rules(hosts: &[Host]) -> Vec<HostRule> {
    hosts.iter().map(|host| host.0.clone()).collect()
}

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Host {
    fn schema_name() -> Cow<'static, str> {
        "Host".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "examples": ["db.internal", "*.example.com", "10.1.0.0/16", "loopback", "private"],
        })
    }
}
