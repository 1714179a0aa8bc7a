//! How people sign in.

use std::borrow::Cow;
use std::num::{NonZeroU32, NonZeroUsize};

use ringfence_engine::HostRule;
use ringfence_gateway::{PasswordsConfig, SessionsConfig};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::acting::Header;
use super::quantity::Span;
use crate::http::SignInSettings;
use crate::http::sign_in::{Cookies, SameSite as Site, TenantRules};

/// Sign-in sessions for people with browsers (docs/sign-in.md). Technical users sign in with a name and a password (Basic) whether
/// this is enabled or not.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SignIn {
    /// Serve /login and /logout, and take sessions' cookies. Served also when there are directories.
    pub(crate) enabled: bool,
    /// Names that the user name's field may have; the page has the first.
    pub(crate) user_fields: Vec<String>,
    /// Names that the password's field may have; the page has the first.
    pub(crate) password_fields: Vec<String>,
    /// The field with the company, which is the tenant's id. Not asked for when absent.
    pub(crate) company_field: Option<String>,
    /// Sub-domains of this domain are tenants' ids: `acme` in `acme.data.example.com`. Not looked at when absent.
    pub(crate) base_domain: Option<BaseDomain>,
    /// The header in which a trusted proxy (`server.trusted_proxies`) names the tenant. Not looked at when absent.
    pub(crate) tenant_header: Option<Header>,
    /// How long a session may go unused.
    pub(crate) idle_timeout: Span,
    /// How long a session counts however much it is used.
    pub(crate) absolute_timeout: Span,
    /// Sessions of one user; the oldest end.
    pub(crate) sessions_per_user: NonZeroU32,
    /// Cookies for HTTPS alone, with the prefix `__Host-`. May be false for a server that listens on loopback.
    pub(crate) secure_cookie: bool,
    /// Which requests of other sites bring the cookie along: `lax`, those that follow a link; `strict`, none.
    pub(crate) same_site: SameSite,
    /// Attempts to sign in that fail, per minute, for one user name. Then each waits.
    pub(crate) failures_per_user: NonZeroU32,
    /// The same from one address, for all names together.
    pub(crate) failures_per_address: NonZeroU32,
    /// Passwords that are worked on at once; each takes a core and some 20 MiB. One per core when absent.
    pub(crate) passwords_at_once: Option<NonZeroUsize>,
}

impl Default for SignIn {
    fn default() -> Self {
        let (sessions, passwords) = (SessionsConfig::default(), PasswordsConfig::default());
        let number = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self {
            enabled: false,
            user_fields: ["username", "uname"].map(str::to_owned).into(),
            password_fields: ["password", "passwd"].map(str::to_owned).into(),
            company_field: None,
            base_domain: None,
            tenant_header: None,
            idle_timeout: Span::seconds(sessions.idle.as_secs()),
            absolute_timeout: Span::seconds(sessions.absolute.as_secs()),
            sessions_per_user: number(sessions.per_user),
            secure_cookie: true,
            same_site: SameSite::Lax,
            failures_per_user: number(passwords.failures_per_user),
            failures_per_address: number(passwords.failures_per_address),
            passwords_at_once: None,
        }
    }
}

/// Which requests of other sites bring the cookie along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SameSite {
    Lax,
    Strict,
}

impl SignIn {
    pub(super) fn sessions(&self) -> SessionsConfig {
        SessionsConfig {
            idle: self.idle_timeout.duration(),
            absolute: self.absolute_timeout.duration(),
            per_user: self.sessions_per_user.get(),
        }
    }

    pub(super) fn passwords(&self) -> PasswordsConfig {
        PasswordsConfig {
            at_once: self.passwords_at_once.map(NonZeroUsize::get),
            failures_per_user: self.failures_per_user.get(),
            failures_per_address: self.failures_per_address.get(),
            ..PasswordsConfig::default()
        }
    }

    pub(super) fn settings(&self) -> SignInSettings {
        let same_site = match self.same_site {
            SameSite::Lax => Site::Lax,
            SameSite::Strict => Site::Strict,
        };
        SignInSettings {
            user_fields: self.user_fields.clone(),
            password_fields: self.password_fields.clone(),
            company_field: self.company_field.clone(),
            cookies: Cookies::new(self.secure_cookie, same_site),
            tenants: TenantRules {
                base_domain: self.base_domain.as_ref().map(|domain| domain.0.clone()),
                header: self.tenant_header.as_ref().map(|header| header.0.clone()),
            },
            providers: Vec::new(),
            public_url: None,
        }
    }
}

/// A domain, without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseDomain(String);

/// A proxy's address, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy(pub(super) HostRule);

impl Serialize for BaseDomain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BaseDomain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.to_ascii_lowercase();
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if text.split('.').all(is_label) {
            Ok(Self(text))
        } else {
            Err(serde::de::Error::custom(format!("`{text}` is no domain: write it like data.example.com")))
        }
    }
}

impl Serialize for Proxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Proxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let rule: Option<HostRule> = text.parse().ok();
        rule.filter(HostRule::is_of_addresses).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` is no address: write one, a range such as 10.0.0.0/8, loopback or private"
            ))
        })
    }
}

impl JsonSchema for BaseDomain {
    fn schema_name() -> Cow<'static, str> {
        "BaseDomain".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["data.example.com"] })
    }
}

impl JsonSchema for Proxy {
    fn schema_name() -> Cow<'static, str> {
        "Proxy".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["10.0.0.0/8", "loopback"] })
    }
}
