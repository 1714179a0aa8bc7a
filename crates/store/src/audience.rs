//! Digests: what would be too long or too sparse for an index becomes 64 hexadecimal digits.

use ringfence_policy::{ConnectionKey, OrgId, TenantId, UserId};
use sha2::{Digest as _, Sha256};

use crate::parameters::ParameterTarget;

/// A digest of parts, in which a missing part differs from an empty one and no two lists give the same text.
pub(crate) fn digest(parts: &[Option<&str>]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        match part {
            None => hasher.update([0]),
            Some(text) => {
                hasher.update([1]);
                hasher.update((text.len() as u64).to_be_bytes());
                hasher.update(text.as_bytes());
            }
        }
    }
    hex::encode(hasher.finalize())
}

/// The audience that a target names.
pub(crate) fn audience_of(target: &ParameterTarget) -> String {
    audience(target.org.as_ref(), target.tenant.as_ref(), target.user.as_ref(), target.connection.as_ref())
}

/// Every audience that this user on this connection belongs to: each part given or left out, so 16 of them at most.
/// A look-up by these replaces a search through all targets.
pub(crate) fn audiences_around(
    org: &OrgId,
    tenant: &TenantId,
    user: &UserId,
    connection: Option<&ConnectionKey>,
) -> Vec<String> {
    let connections = if connection.is_some() { &[None, connection][..] } else { &[None] };
    let mut audiences = Vec::with_capacity(16);
    for org in [None, Some(org)] {
        for tenant in [None, Some(tenant)] {
            for user in [None, Some(user)] {
                audiences
                    .extend(connections.iter().map(|connection| audience(org, tenant, user, *connection)));
            }
        }
    }
    audiences
}

fn audience(
    org: Option<&OrgId>,
    tenant: Option<&TenantId>,
    user: Option<&UserId>,
    connection: Option<&ConnectionKey>,
) -> String {
    digest(&[
        org.map(OrgId::as_str),
        tenant.map(TenantId::as_str),
        user.map(UserId::as_str),
        connection.map(ConnectionKey::as_str),
    ])
}
