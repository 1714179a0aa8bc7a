//! Where a request came from and which host it was sent to, as far as that is believed.
//!
//! Headers that proxies write count from proxies that the configuration names, and from nobody else.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use ringfence_engine::HostRule;
use ringfence_gateway::TenantClaims;
use ringfence_gateway::sessions::Client;

use super::HttpSettings;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Where requests say which tenant they are for, beside the user.
#[derive(Debug, Clone, Default)]
pub(crate) struct TenantRules {
    /// In lower case, without a port.
    pub(crate) base_domain: Option<String>,
    /// Written by a trusted proxy.
    pub(crate) header: Option<HeaderName>,
}

/// What is believed of where a request came from and went to.
#[derive(Debug, Default)]
pub(crate) struct RequestedAt {
    address: Option<IpAddr>,
    /// In lower case, with a port if one was written.
    host: Option<String>,
    subdomain: Option<String>,
    header: Option<String>,
    unclear: bool,
}

impl RequestedAt {
    pub(crate) fn of(parts: &Parts, settings: &HttpSettings) -> Self {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let is_proxied = peer.is_some_and(|peer| is_trusted(&settings.trusted_proxies, peer));
        let forwarded = is_proxied.then(|| forwarded_for(&parts.headers, &settings.trusted_proxies));
        let address = forwarded.flatten().or(peer);
        let host = host_of(parts, is_proxied);
        let is_one_host = host.is_ok();
        let mut at = Self { address, host: host.unwrap_or_default(), ..Self::default() };
        if let Some(sign_in) = &settings.sign_in {
            at.read_tenant(parts, &sign_in.tenants, is_proxied);
            at.unclear |= sign_in.tenants.base_domain.is_some() && !is_one_host;
        }
        at
    }

    fn read_tenant(&mut self, parts: &Parts, rules: &TenantRules, is_proxied: bool) {
        if let Some(base) = &rules.base_domain {
            match subdomain(self.host.as_deref().unwrap_or_default(), base) {
                Ok(subdomain) => self.subdomain = subdomain,
                Err(()) => self.unclear = true,
            }
        }
        if let Some(header) = rules.header.as_ref().filter(|_| is_proxied) {
            match one_text(&parts.headers, header) {
                Ok(tenant) => self.header = tenant.map(str::to_owned),
                Err(()) => self.unclear = true,
            }
        }
    }

    /// What the request says of the tenant.
    pub(crate) fn claims(&self) -> TenantClaims<'_> {
        TenantClaims {
            company: None,
            subdomain: self.subdomain.as_deref(),
            header: self.header.as_deref(),
            unclear: self.unclear,
        }
    }

    /// Who sent it.
    pub(crate) fn client<'a>(&self, headers: &'a HeaderMap) -> Client<'a> {
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        Client { address: self.address, agent }
    }

    /// The host that the request was sent to, with its port.
    pub(crate) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }
}

fn is_trusted(proxies: &[HostRule], address: IpAddr) -> bool {
    proxies.iter().any(|proxy| proxy.holds(address))
}

/// The nearest address that is no proxy of ours: what stands before it, anybody may have written.
fn forwarded_for(headers: &HeaderMap, proxies: &[HostRule]) -> Option<IpAddr> {
    let values: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    for text in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        let address = text.trim().parse().ok()?;
        if !is_trusted(proxies, address) {
            return Some(address);
        }
    }
    None
}

/// The one host that the request names; an error when it names several, or none that can be read.
fn host_of(parts: &Parts, is_proxied: bool) -> Result<Option<String>, ()> {
    let forwarded = if is_proxied { one_text(&parts.headers, &FORWARDED_HOST)? } else { None };
    let named = match forwarded {
        Some(host) => Some(host),
        None => one_text(&parts.headers, &header::HOST)?,
    };
    // HTTP/2 names it in the request's own address.
    let host = named.or_else(|| parts.uri.authority().map(axum::http::uri::Authority::as_str));
    let Some(host) = host else { return Ok(None) };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if host.bytes().all(is_plain) { Ok(Some(host.to_ascii_lowercase())) } else { Err(()) }
}

/// The label before the base domain; nothing for the domain itself and for addresses. A host elsewhere is an error.
fn subdomain(host: &str, base: &str) -> Result<Option<String>, ()> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let unbracketed = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    if name == base || name == "localhost" || unbracketed.parse::<IpAddr>().is_ok() {
        return Ok(None);
    }
    let label = name.strip_suffix(base).and_then(|rest| rest.strip_suffix('.')).ok_or(())?;
    if label.is_empty() || label.contains('.') { Err(()) } else { Ok(Some(label.to_owned())) }
}

/// The one text of a header; an error when there are several, or a list.
fn one_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().map_err(|_| ())?.trim();
    if values.next().is_some() || text.is_empty() || text.contains(',') { Err(()) } else { Ok(Some(text)) }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_subdomain_is_one_label_before_the_base() {
        for (host, expected) in [
            ("acme.data.example.com", Ok(Some("acme"))),
            ("acme.data.example.com:8443", Ok(Some("acme"))),
            ("acme.data.example.com.", Ok(Some("acme"))),
            ("data.example.com", Ok(None)),
            ("data.example.com:443", Ok(None)),
            ("127.0.0.1:9859", Ok(None)),
            ("[::1]:9859", Ok(None)),
            ("localhost:9859", Ok(None)),
            ("", Err(())),
            ("example.com", Err(())),
            ("a.b.data.example.com", Err(())),
            (".data.example.com", Err(())),
            ("acmedata.example.com", Err(())),
            ("acme.data.example.com.evil.org", Err(())),
            ("evil.org", Err(())),
        ] {
            let read = subdomain(host, "data.example.com");
            assert_eq!(read.as_ref().map(Option::as_deref), expected.as_ref().map(|it| *it), "{host}");
        }
    }

    #[test]
    fn the_nearest_stranger_is_the_client() {
        let proxies: Vec<HostRule> = vec!["10.0.0.0/8".parse().unwrap()];
        let client = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
            }
            forwarded_for(&headers, &proxies).map(|address| address.to_string())
        };
        assert_eq!(client(&["203.0.113.1"]).as_deref(), Some("203.0.113.1"));
        // What the client wrote itself stands before what the proxies added.
        assert_eq!(client(&["1.2.3.4, 203.0.113.1, 10.0.0.7"]).as_deref(), Some("203.0.113.1"));
        assert_eq!(client(&["1.2.3.4", "203.0.113.1", "10.0.0.7"]).as_deref(), Some("203.0.113.1"));
        assert_eq!(client(&["1.2.3.4, nonsense"]), None);
        assert_eq!(client(&["10.0.0.9"]), None);
        assert_eq!(client(&[]), None);
    }
}
