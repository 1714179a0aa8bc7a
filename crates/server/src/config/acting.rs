//! How applications act for users of their own.

use std::borrow::Cow;

use axum::http::HeaderName;
use ringfence_gateway::ActingConfig;
use ringfence_policy::UserId;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::quantity::Span;
use crate::http::PlainHeaders;

/// Applications that act for users of their own (docs/acting.md).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Acting {
    /// What the `aud` of a principal's token must name. Nodes that share a store share it; other installations have another.
    pub(crate) audience: String,
    /// How long a token may be good for, from `iat` to `exp`.
    pub(crate) max_token_lifetime: Span,
    /// Users in plain headers instead of signed tokens.
    pub(crate) trusted_headers: TrustedHeaders,
}

impl Default for Acting {
    fn default() -> Self {
        let ActingConfig { audience, max_lifetime, .. } = ActingConfig::default();
        Self {
            audience,
            max_token_lifetime: Span::seconds(max_lifetime.as_secs()),
            trusted_headers: TrustedHeaders::default(),
        }
    }
}

/// Headers in which applications name their users without a signature. Whoever can send them beside such an application's
/// access key is whoever they say, so strip them from requests that come from outside.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TrustedHeaders {
    /// User ids of the applications; none when empty, and then a request with one of the headers is refused.
    pub(crate) applications: Vec<Application>,
    /// The header with the tenant's id.
    pub(crate) tenant: Header,
    /// The header with the user's id.
    pub(crate) user: Header,
    /// The header with the user's roles, separated by commas.
    pub(crate) roles: Header,
    /// The header with the user's attributes, a JSON object.
    pub(crate) attributes: Header,
}

impl Default for TrustedHeaders {
    fn default() -> Self {
        let PlainHeaders { tenant, user, roles, attributes } = PlainHeaders::default();
        Self {
            applications: Vec::new(),
            tenant: Header(tenant),
            user: Header(user),
            roles: Header(roles),
            attributes: Header(attributes),
        }
    }
}

impl Acting {
    pub(super) fn config(&self) -> ActingConfig {
        let applications = &self.trusted_headers.applications;
        ActingConfig {
            audience: self.audience.clone(),
            max_lifetime: self.max_token_lifetime.duration(),
            trusted_headers: applications.iter().map(|application| application.0.clone()).collect(),
        }
    }

    pub(super) fn headers(&self) -> PlainHeaders {
        let TrustedHeaders { tenant, user, roles, attributes, .. } = &self.trusted_headers;
        let [tenant, user, roles, attributes] =
            [tenant, user, roles, attributes].map(|header| header.0.clone());
        PlainHeaders { tenant, user, roles, attributes }
    }
}

/// The user id of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Application(UserId);

/// The name of a header of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header(pub(super) HeaderName);

/// Headers that have a meaning already.
const TAKEN: [&str; 4] =
    ["x-waii-impersonate-user", "x-ringfence-principal", "x-ringfence-agent", "x-ringfence-provider"];

impl Serialize for Application {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Application {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        UserId::new(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name = HeaderName::try_from(text.as_str()).ok();
        // So that nobody takes one that clients and proxies send on their own.
        let own = name.filter(|name| name.as_str().starts_with("x-") && !TAKEN.contains(&name.as_str()));
        own.map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` is no name of a header of your own: such as X-Acme-User"
            ))
        })
    }
}

impl JsonSchema for Application {
    fn schema_name() -> Cow<'static, str> {
        "Application".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["portal"] })
    }
}

impl JsonSchema for Header {
    fn schema_name() -> Cow<'static, str> {
        "Header".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["X-Ringfence-User"] })
    }
}
