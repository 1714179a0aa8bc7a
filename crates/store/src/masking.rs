//! What follows from the store's own secret: the key that a tenant's hashed columns are hashed with, and the tags of
//! cursors and of sessions.

use hmac::{Hmac, KeyInit as _, Mac as _};
use ringfence_policy::{OrgId, TenantId};
use sha2::Sha256;

use crate::Store;

impl Store {
    /// Stable for the tenant and unlike every other's, in hexadecimal. It follows from a secret that is sealed in the
    /// store and survives a change of the sealing key.
    pub fn mask_key(&self, org: &OrgId, tenant: &TenantId) -> String {
        hex::encode(self.keyed(b"mask\0", &[org.as_str(), tenant.as_str()]).finalize().into_bytes())
    }

    /// What signs a cursor: nobody else can make it, and it counts for these parts alone.
    pub fn cursor_tag(&self, parts: &[&str]) -> [u8; 32] {
        self.keyed(b"cursor\0", parts).finalize().into_bytes().into()
    }

    /// Whether the tag is that of these parts. Takes the same time wherever they differ.
    pub fn is_cursor_tag(&self, parts: &[&str], tag: &[u8]) -> bool {
        self.keyed(b"cursor\0", parts).verify_slice(tag).is_ok()
    }

    /// What signs the name of a session: nobody else can make it, and it counts for these parts alone.
    pub fn session_tag(&self, parts: &[&str]) -> [u8; 32] {
        self.keyed(b"session\0", parts).finalize().into_bytes().into()
    }

    /// Whether the tag is that of these parts. Takes the same time wherever they differ.
    pub fn is_session_tag(&self, parts: &[&str], tag: &[u8]) -> bool {
        self.keyed(b"session\0", parts).verify_slice(tag).is_ok()
    }

    /// What signs a manifest of something that was removed: whoever has it can show that it came from here.
    pub fn manifest_tag(&self, parts: &[&str]) -> [u8; 32] {
        self.keyed(b"manifest\0", parts).finalize().into_bytes().into()
    }

    /// Whether the tag is that of these parts. Takes the same time wherever they differ.
    pub fn is_manifest_tag(&self, parts: &[&str], tag: &[u8]) -> bool {
        self.keyed(b"manifest\0", parts).verify_slice(tag).is_ok()
    }

    /// Nothing else is keyed with this secret under this first word.
    fn keyed(&self, word: &[u8], parts: &[&str]) -> Hmac<Sha256> {
        let secret: &[u8] = &self.inner.audit_key;
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
            unreachable!("HMAC takes keys of any length")
        };
        mac.update(word);
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac
    }
}
