//! OpenID providers, as the operator describes them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ringfence_gateway::arrivals::Source;
use ringfence_gateway::oidc::web::Web;
use ringfence_gateway::oidc::{AccessTokens, Algorithm, OidcConfig, ProviderConfig};
use ringfence_policy::Role;
use ringfence_policy::id::{MAX_ID_BYTES, check_name};
use ringfence_policy::principal::is_own_name;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::believed::Believed;
use super::quantity::Span;
use super::secret::Secret;
use super::web::WebOrigin;
use crate::http::sign_in::ProviderLink;

/// Users of `OpenID` providers (docs/oidc.md).
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Oidc {
    /// How browsers reach this server, such as `https://data.example.com`: where providers send them back to, when people sign in
    /// with one (`sign_in.enabled`). Without it, providers are for bearer tokens alone.
    pub(crate) public_url: Option<WebOrigin>,
    /// The providers, each for one organization or for several.
    pub(crate) providers: Vec<Provider>,
}

/// A provider.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provider {
    /// Its name here: letters, digits and dashes. It stays what it is: users are linked to it.
    pub(crate) name: String,
    /// What people call it, on the sign-in page. Its name when absent.
    #[serde(default)]
    pub(crate) title: Option<String>,
    /// What is asked for when a browser signs in.
    #[serde(default = "scopes")]
    pub(crate) scopes: Vec<String>,
    /// As the provider calls itself, to the letter.
    pub(crate) issuer: String,
    /// Who this server is to it.
    pub(crate) client_id: String,
    /// What proves it: here, in a file, or in an environment variable. A public client has none.
    #[serde(default)]
    pub(crate) client_secret: Option<Secret>,
    /// A file with the client's secret.
    #[serde(default)]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// The name of an environment variable with the client's secret.
    #[serde(default)]
    pub(crate) client_secret_env: Option<String>,
    /// The organization of its users.
    #[serde(default)]
    pub(crate) organization: Option<String>,
    /// The claim that names it, for a provider of several organizations.
    #[serde(default)]
    pub(crate) organization_claim: Option<Claim>,
    /// The tenant of its users.
    #[serde(default)]
    pub(crate) tenant: Option<String>,
    /// The claim that names it.
    #[serde(default)]
    pub(crate) tenant_claim: Option<Claim>,
    /// What the claim says, and the tenant that it means. Anything else is a tenant's own id.
    #[serde(default)]
    pub(crate) tenants: BTreeMap<String, String>,
    /// Make tenants that don't exist.
    #[serde(default)]
    pub(crate) create_tenants: bool,
    /// Let the provider's users be the users of the organization that have their names already, and no provider.
    #[serde(default)]
    pub(crate) link_existing: bool,
    /// The highest role that the provider can give.
    #[serde(default = "highest_role")]
    pub(crate) highest_role: String,
    /// Roles for users who have none otherwise.
    #[serde(default)]
    pub(crate) default_roles: Vec<String>,
    /// The claim that users are called by here.
    #[serde(default = "name_claim")]
    pub(crate) name_claim: Claim,
    /// Claims with the provider's roles of a user. What each means here is at /v1/security/role-mapping.
    #[serde(default)]
    pub(crate) roles_claims: Vec<Claim>,
    /// Attributes of users for policies, and the claim that each is.
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, Claim>,
    /// What an access token must be for one of. The client's id when empty.
    #[serde(default)]
    pub(crate) audiences: Vec<String>,
    /// How the provider may sign: `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `EdDSA`. `RS256`, `PS256`, `ES256` and `EdDSA` when empty.
    #[serde(default)]
    pub(crate) algorithms: Vec<String>,
    /// What its access tokens are.
    #[serde(default)]
    pub(crate) access_token_format: TokenFormat,
    /// How the provider is asked about opaque ones.
    #[serde(default)]
    pub(crate) opaque_check: OpaqueCheck,
    /// How long an answer about an opaque token counts, at most.
    #[serde(default = "opaque_cache")]
    pub(crate) opaque_cache: Span,
}

fn highest_role() -> String {
    Role::ApiUser.name().to_owned()
}

fn scopes() -> Vec<String> {
    ["openid", "profile"].map(str::to_owned).into()
}

fn name_claim() -> Claim {
    Claim::Name("preferred_username".to_owned())
}

fn opaque_cache() -> Span {
    Span::seconds(60)
}

/// A claim: its name, or the names on the way to it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Claim {
    Name(String),
    Path(Vec<String>),
}

/// What access tokens are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TokenFormat {
    /// JSON Web Tokens.
    #[default]
    Jwt,
    /// Texts that only the provider can read.
    Opaque,
}

/// How a provider is asked about opaque tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OpaqueCheck {
    /// By introspection (RFC 7662).
    #[default]
    Introspection,
    /// By showing them to the userinfo endpoint, which does not say for whom they were made.
    Userinfo,
}

impl Oidc {
    /// For the gateway. Reads files and variables with secrets.
    pub(crate) fn config(&self, web: Arc<dyn Web>) -> Result<OidcConfig, OidcInvalid> {
        Ok(OidcConfig { providers: self.providers()?, web })
    }

    /// Whether a server can start with it.
    pub(crate) fn check(&self) -> Result<(), OidcInvalid> {
        self.providers().map(drop)
    }

    /// For the sign-in page.
    pub(super) fn links(&self) -> Vec<ProviderLink> {
        let link = |provider: &Provider| ProviderLink {
            label: provider.title.clone().unwrap_or_else(|| provider.name.clone()),
            path: format!("/login/oidc/{}", provider.name),
        };
        if self.public_url.is_none() { Vec::new() } else { self.providers.iter().map(link).collect() }
    }

    fn providers(&self) -> Result<Vec<ProviderConfig>, OidcInvalid> {
        let mut providers: Vec<ProviderConfig> = Vec::new();
        for provider in &self.providers {
            let wrong = |why: String| OidcInvalid { provider: provider.name.clone(), why };
            let config = provider.config().map_err(wrong)?;
            if providers.iter().any(|other| other.source.name == config.source.name) {
                return Err(wrong("another provider has that name".to_owned()));
            }
            providers.push(config);
        }
        Ok(providers)
    }
}

/// What is wrong with a provider's settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`oidc.providers`, `{provider}`: {why}")]
pub(crate) struct OidcInvalid {
    provider: String,
    why: String,
}

impl Provider {
    fn config(&self) -> Result<ProviderConfig, String> {
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if self.name.is_empty() || self.name.len() > 64 || !plain(&self.name) {
            return Err("`name` must be 1 to 64 letters, digits and dashes".to_owned());
        }
        self.check_issuer()?;
        if !self.scopes.iter().any(|scope| scope == "openid") {
            return Err("`scopes` must have `openid`".to_owned());
        }
        let access_tokens = match (self.access_token_format, self.opaque_check) {
            (TokenFormat::Jwt, _) => AccessTokens::Jwt,
            (TokenFormat::Opaque, OpaqueCheck::Introspection) => AccessTokens::Introspected,
            (TokenFormat::Opaque, OpaqueCheck::Userinfo) => AccessTokens::ByUserinfo,
        };
        let mut attributes = BTreeMap::new();
        for (name, claim) in &self.attributes {
            check_name("an attribute's name", name, MAX_ID_BYTES).map_err(|error| error.to_string())?;
            if is_own_name(name) {
                return Err(format!("`attributes`: `{name}` is what the server itself says of a user"));
            }
            attributes.insert(name.clone(), claim.path("attributes")?);
        }
        let path =
            |claim: &Option<Claim>, setting| claim.as_ref().map(|claim| claim.path(setting)).transpose();
        let roles_claims = self.roles_claims.iter().map(|claim| claim.path("roles_claims"));
        let algorithms: Vec<Algorithm> = match self.algorithms.as_slice() {
            [] => Algorithm::DEFAULT.to_vec(),
            named => named.iter().map(|name| name.parse()).collect::<Result<_, _>>().map_err(
                |unknown: ringfence_gateway::oidc::AlgorithmUnknown| format!("`algorithms`: {unknown}"),
            )?,
        };
        let audiences = match self.audiences.as_slice() {
            [] => vec![self.client_id.clone()],
            named => named.to_vec(),
        };
        Ok(ProviderConfig {
            source: self.source()?,
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_secret: self.secret()?,
            scopes: self.scopes.clone(),
            name_claim: self.name_claim.path("name_claim")?,
            roles_claims: roles_claims.collect::<Result<_, _>>()?,
            organization_claim: path(&self.organization_claim, "organization_claim")?,
            tenant_claim: path(&self.tenant_claim, "tenant_claim")?,
            attributes,
            audiences,
            algorithms,
            access_tokens,
            opaque_trust: self.opaque_cache.duration(),
        })
    }

    /// Keys and tokens travel between the two of them: without TLS on this machine alone.
    fn check_issuer(&self) -> Result<(), String> {
        let uri: axum::http::Uri = self
            .issuer
            .parse()
            .map_err(|_| "`issuer` is no address: write it like https://id.example.com".to_owned())?;
        let host = uri.host().unwrap_or_default();
        let here = host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse()
                .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        match uri.scheme_str() {
            Some("https") if !host.is_empty() => Ok(()),
            Some("http") if here => Ok(()),
            _ => Err("`issuer` must be an https address, or an http one of this machine".to_owned()),
        }
    }

    fn source(&self) -> Result<Source, String> {
        let one_of = |fixed: &Option<String>, claim: &Option<Claim>, what: &str| match (fixed, claim) {
            (None, None) => Err(format!("say where its users belong: `{what}` or `{what}_claim`")),
            _ => Ok(()),
        };
        one_of(&self.organization, &self.organization_claim, "organization")?;
        one_of(&self.tenant, &self.tenant_claim, "tenant")?;
        Believed {
            name: &self.name,
            organization: self.organization.as_deref(),
            tenant: self.tenant.as_deref(),
            tenants: &self.tenants,
            create_tenants: self.create_tenants,
            link_existing: self.link_existing,
            highest_role: &self.highest_role,
            default_roles: &self.default_roles,
        }
        .source()
    }

    fn secret(&self) -> Result<Option<SecretString>, String> {
        match (&self.client_secret, &self.client_secret_file, &self.client_secret_env) {
            (None, None, None) => Ok(None),
            (Some(secret), None, None) => Ok(Some(secret.to_secret_string())),
            (None, Some(file), None) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| format!("`client_secret_file` can't be read: {error}"))?;
                match text.trim() {
                    "" => Err("`client_secret_file` is empty".to_owned()),
                    secret => Ok(Some(secret.into())),
                }
            }
            (None, None, Some(variable)) => match std::env::var(variable) {
                Ok(secret) if !secret.is_empty() => Ok(Some(secret.into())),
                _ => Err(format!("the environment variable {variable} is not set")),
            },
            _ => Err("give the client's secret once".to_owned()),
        }
    }
}

impl Claim {
    fn path(&self, setting: &str) -> Result<Vec<String>, String> {
        let path = match self {
            Self::Name(name) => vec![name.clone()],
            Self::Path(path) => path.clone(),
        };
        if path.is_empty() || path.iter().any(String::is_empty) {
            return Err(format!("`{setting}` names no claim"));
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name = 'corporate'\nissuer = 'https://id.example.com'\nclient_id = 'shop'\n\
                        organization = 'acme'\ntenant_claim = 'company'\n";

    fn read(more: &str) -> Result<ProviderConfig, String> {
        let provider: Provider =
            toml::from_str(&format!("{GOOD}{more}")).map_err(|error| error.to_string())?;
        provider.config()
    }

    #[test]
    fn what_is_left_out_has_careful_values() {
        let provider = read("").unwrap();
        assert_eq!(provider.audiences, ["shop"]);
        assert_eq!(provider.source.highest_role, Role::ApiUser);
        assert!(!provider.source.link_existing && !provider.source.create_tenants);
        assert_eq!(provider.name_claim, ["preferred_username"]);
        assert_eq!(provider.access_tokens, AccessTokens::Jwt);
        assert_eq!(provider.algorithms, Algorithm::DEFAULT);
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for (more, why) in [
            ("highest_role = 'root'", "`highest_role`"),
            ("default_roles = ['org-admin-user']", "above `highest_role`"),
            ("algorithms = ['none']", "unknown algorithm"),
            ("algorithms = ['HS256']", "unknown algorithm"),
            ("attributes = { tenant_id = 'x' }", "what the server itself says"),
            ("roles_claims = [[]]", "names no claim"),
            ("client_secret = 'a'\nclient_secret_env = 'B'", "once"),
            ("client_secret_env = 'NO_SUCH_VARIABLE_IS_SET'", "is not set"),
            ("client_secret_file = '/nowhere'", "can't be read"),
            ("colour = 'red'", "colour"),
        ] {
            let refused = read(more).unwrap_err();
            assert!(refused.contains(why), "{more}: {refused}");
        }
        for (old, new, why) in [
            ("https://id", "http://id", "https"),
            ("corporate", "a/b", "`name`"),
            ("organization = 'acme'", "", "where its users belong"),
            ("tenant_claim = 'company'", "", "where its users belong"),
        ] {
            let provider: Provider = toml::from_str(&GOOD.replace(old, new)).unwrap();
            let refused = provider.config().unwrap_err();
            assert!(refused.contains(why), "{new}: {refused}");
        }
    }
}
