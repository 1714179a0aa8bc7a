//! What a request says of the tenant, beside the user: it grants nothing, and all of it has to agree.

use ringfence_policy::TenantId;

/// The tenants that a request names, one for each way of naming one. A way that is not configured says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct TenantClaims<'a> {
    /// The company that was typed in at sign-in.
    pub company: Option<&'a str>,
    /// The sub-domain of the host that was asked. Host names know no case.
    pub subdomain: Option<&'a str>,
    /// The header of a trusted proxy.
    pub header: Option<&'a str>,
    /// Something was said that can be read in more than one way, or names a host that is none of ours.
    pub unclear: bool,
}

impl TenantClaims<'_> {
    /// Whether nothing that is said speaks of another tenant.
    pub fn agree_with(&self, tenant: &TenantId) -> bool {
        let Self { company, subdomain, header, unclear } = *self;
        let tenant = tenant.as_str();
        !unclear
            && company.is_none_or(|company| company == tenant)
            && header.is_none_or(|header| header == tenant)
            && subdomain.is_none_or(|subdomain| subdomain.eq_ignore_ascii_case(tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_said_must_agree() {
        let acme = TenantId::new("Acme").unwrap();
        let agree = |company, subdomain, header| {
            TenantClaims { company, subdomain, header, unclear: false }.agree_with(&acme)
        };
        assert!(agree(None, None, None));
        assert!(agree(Some("Acme"), Some("acme"), Some("Acme")));
        for (company, subdomain, header) in [
            (Some("acme"), None, None),
            (Some(""), None, None),
            (None, Some("rival"), None),
            (None, None, Some("acme")),
            (Some("Acme"), Some("acme"), Some("Rival")),
            (Some("Rival"), Some("acme"), Some("Acme")),
            (Some("Acme"), Some("rival"), Some("Acme")),
        ] {
            assert!(!agree(company, subdomain, header), "{company:?} {subdomain:?} {header:?}");
        }
        assert!(!TenantClaims { unclear: true, ..TenantClaims::default() }.agree_with(&acme));
    }
}
