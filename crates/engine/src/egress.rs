//! Where connections may lead. Who registers one names a host, and the gateway connects to it from inside the operator's
//! network: what is decided here is decided about the addresses that are then connected to, whatever the name said.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Where no database is, and where machines in clouds keep their credentials.
const NEVER: [&str; 10] = [
    // "This network", link-local (metadata services), multicast, reserved and broadcast.
    "0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "::/128", "fe80::/10", "ff00::/8",
    // Metadata services of Amazon (IPv6), Alibaba and Azure that are not link-local.
    "fd00:ec2::/32", "100.100.100.200/32", "168.63.129.16/32",
];
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];
/// RFC 1918, RFC 6598 and RFC 4193.
const PRIVATE: [&str; 5] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"];

/// What connections may lead to.
#[derive(Debug, Clone, Default)]
pub struct Egress {
    /// Only these, unless empty.
    pub allowed: Vec<HostRule>,
    /// Not these, whatever is allowed.
    pub denied: Vec<HostRule>,
}

/// Some hosts: `db.example.com`, `*.example.com`, `10.1.0.0/16`, `10.1.2.3`, `loopback` or `private`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    text: String,
    hosts: Hosts,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    Name(String),
    /// All names that end so, with the dot before it.
    Below(String),
    Networks(Vec<Network>),
}

/// A range of addresses; IPv4 as the part of IPv6 that stands for it (RFC 4291, 2.5.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    first: u128,
    bits: u32,
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no host: write a name, *.domain, an address, a range such as 10.0.0.0/8, loopback or private"
)]
pub struct HostRuleInvalid(String);

impl Egress {
    /// Whether a connection that was registered for `host` may be made to `address`.
    // INVARIANT: asked for every address that a connection is made to. Held by the test
    // `nothing_is_connected_to_that_is_not_allowed`.
    pub fn permits(&self, host: &str, address: IpAddr) -> bool {
        let addresses = [Some(address.to_canonical()), embedded(address)];
        let mut addresses = addresses.into_iter().flatten();
        addresses.all(|address| {
            let among = |rules: &[HostRule]| rules.iter().any(|rule| rule.covers(host, address));
            let never = NEVER.iter().any(|range| Network::parse(range).is_some_and(|net| net.holds(address)));
            !never && !among(&self.denied) && (self.allowed.is_empty() || among(&self.allowed))
        })
    }
}

/// The IPv4 address that a translator on the way would turn this one into: NAT64 (RFC 6052), 6to4 (RFC 3056).
fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else { return None };
    let of = |high: u16, low: u16| Some(IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))));
    match address.segments() {
        [0x2002, high, low, ..] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of(high, low),
        // The old form of IPv4-compatible addresses; ::1 and :: are none.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => of(high, low),
        _ => None,
    }
}

impl HostRule {
    /// The rule as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the rule names addresses, and not hosts.
    pub fn is_of_addresses(&self) -> bool {
        matches!(self.hosts, Hosts::Networks(_))
    }

    /// Whether the rule names addresses, and this is one of them.
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        matches!(&self.hosts, Hosts::Networks(networks) if networks.iter().any(|network| network.holds(address)))
    }

    fn covers(&self, host: &str, address: IpAddr) -> bool {
        let host = host.trim_end_matches('.');
        match &self.hosts {
            Hosts::Name(name) => host.eq_ignore_ascii_case(name),
            Hosts::Below(domain) => host.to_ascii_lowercase().ends_with(domain),
            Hosts::Networks(networks) => networks.iter().any(|network| network.holds(address)),
        }
    }
}

impl FromStr for HostRule {
    type Err = HostRuleInvalid;

    fn from_str(text: &str) -> Result<Self, HostRuleInvalid> {
        let parse = |ranges: &[&str]| ranges.iter().filter_map(|range| Network::parse(range)).collect();
        let is_name = |name: &str| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            // A name ends in letters: what ends in digits is an address, perhaps a wrong one.
            !name.is_empty() && name.chars().all(is_part) && !name.ends_with(|c: char| c.is_ascii_digit())
        };
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        let hosts = match (text, Network::parse(text)) {
            ("loopback", _) => Hosts::Networks(parse(&LOOPBACK)),
            ("private", _) => Hosts::Networks(parse(&PRIVATE)),
            (_, Some(network)) => Hosts::Networks(vec![network]),
            _ if is_name(&name) => Hosts::Name(name),
            _ => match name.strip_prefix('*').filter(|rest| rest.len() > 1 && rest.starts_with('.')) {
                Some(domain) if is_name(domain) => Hosts::Below(domain.to_owned()),
                _ => return Err(HostRuleInvalid(text.to_owned())),
            },
        };
        Ok(Self { text: text.to_owned(), hosts })
    }
}

impl Network {
    /// An address alone is a range of one.
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let (first, before) = match address.parse().ok()? {
            IpAddr::V4(address) => (address.to_ipv6_mapped().to_bits(), 96),
            IpAddr::V6(address) => (address.to_bits(), 0),
        };
        let bits = bits.map_or(Some(128), |bits| bits.checked_add(before))?;
        (bits <= 128).then_some(Self { first, bits })
    }

    fn holds(self, address: IpAddr) -> bool {
        let address = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let differs = |one: u128, other: Ipv6Addr| one ^ other.to_bits();
        differs(self.first, address).checked_shr(128 - self.bits).unwrap_or(0) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<HostRule> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[track_caller]
    fn check(egress: &Egress, host: &str, address: &str, permitted: bool) {
        assert_eq!(egress.permits(host, address.parse().unwrap()), permitted, "{host} at {address}");
    }

    #[test]
    fn by_default_everything_is_reached_but_what_can_be_no_database() {
        let egress = Egress::default();
        for address in
            ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fd12::1", "203.0.113.9", "2001:db8::1"]
        {
            check(&egress, "db", address, true);
        }
        for address in [
            "169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
            "::169.254.169.254", "fe80::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "0.0.0.0",
            "0.1.2.3", "::", "224.0.0.1", "ff02::1", "255.255.255.255",
        ] {
            check(&egress, "db", address, false);
            let allowed = Egress { allowed: rules(&["0.0.0.0/0", "::/0", "db"]), ..Egress::default() };
            check(&allowed, "db", address, false);
        }
    }

    #[test]
    fn rules_are_about_names_and_about_addresses() {
        let egress = Egress {
            allowed: rules(&["*.example.com", "db.internal", "10.1.0.0/16", "2001:db8::/32"]),
            denied: rules(&["bad.example.com", "10.1.9.9", "loopback"]),
        };
        check(&egress, "a.example.com", "203.0.113.9", true);
        check(&egress, "A.Example.COM.", "203.0.113.9", true);
        check(&egress, "bad.example.com", "203.0.113.9", false);
        check(&egress, "example.com", "203.0.113.9", false);
        check(&egress, "aexample.com", "203.0.113.9", false);
        check(&egress, "db.internal", "10.9.9.9", true);
        check(&egress, "db.internal", "127.0.0.1", false);
        check(&egress, "other", "10.1.2.3", true);
        check(&egress, "other", "::ffff:10.1.2.3", true);
        check(&egress, "db.internal", "10.1.9.9", false);
        check(&egress, "other", "2001:db8:1::1", true);
        check(&egress, "other", "10.2.0.1", false);
        let public = Egress { denied: rules(&["private", "loopback"]), ..Egress::default() };
        for address in ["10.0.0.1", "172.31.0.1", "192.168.0.1", "100.64.0.1", "fd12::1", "127.0.0.2", "::1"]
        {
            check(&public, "db.internal", address, false);
        }
        check(&public, "db", "203.0.113.9", true);
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for wrong in ["", "10.0.0.0/33", "10.0.0", "::/129", "a b", "*", "*.", "a/8", "http://x", "1.2.3.4.5"]
        {
            assert!(wrong.parse::<HostRule>().is_err(), "{wrong}");
        }
    }
}
