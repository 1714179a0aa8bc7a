//! The key that a tenant's hashed columns are hashed with.

use hmac::{Hmac, KeyInit as _, Mac as _};
use ringfence_policy::{OrgId, TenantId};
use sha2::Sha256;

use crate::Store;

impl Store {
    /// Stable for the tenant and unlike every other's, in hexadecimal. It follows from a secret that is sealed in the
    /// store and survives a change of the sealing key.
    pub fn mask_key(&self, org: &OrgId, tenant: &TenantId) -> String {
        let secret: &[u8] = &self.inner.audit_key;
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
            unreachable!("HMAC takes keys of any length")
        };
        // Nothing else is keyed with this secret under this first word.
        mac.update(b"mask\0");
        for id in [org.as_str(), tenant.as_str()] {
            mac.update(&(id.len() as u64).to_be_bytes());
            mac.update(id.as_bytes());
        }
        hex::encode(mac.finalize().into_bytes())
    }
}
