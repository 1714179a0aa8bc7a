//! Cursors: where a reader of the log goes on. A place in the chain would tell how much others do, so it is sealed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hmac::Mac as _;
use rand::TryRng as _;
use rand::rngs::SysRng;

use super::{AuditLog, keyed};
use crate::StoreError;

const NONCE_BYTES: usize = 24;

impl AuditLog<'_> {
    /// The place after that record, for that reader alone.
    pub fn seal_cursor(&self, reader: &str, sequence: i64) -> Result<String, StoreError> {
        let mut sealed = [0; NONCE_BYTES];
        let no_random = |_| StoreError::Corrupt("the operating system gives no random bytes".to_owned());
        SysRng.try_fill_bytes(&mut sealed).map_err(no_random)?;
        let payload = Payload { msg: &sequence.to_be_bytes(), aad: reader.as_bytes() };
        let text = self.cipher().encrypt(&XNonce::from(sealed), payload);
        let text = text.map_err(|_| StoreError::Corrupt("a cursor can't be sealed".to_owned()))?;
        Ok(URL_SAFE_NO_PAD.encode([&sealed[..], &text].concat()))
    }

    /// The record that a cursor of this reader stands after; `None` when it is none.
    pub fn open_cursor(&self, reader: &str, cursor: &str) -> Option<i64> {
        let sealed = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (nonce, text) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: text, aad: reader.as_bytes() };
        let bytes = self.cipher().decrypt(&XNonce::from(*nonce), payload).ok()?;
        Some(i64::from_be_bytes(bytes.try_into().ok()?))
    }

    /// Its key follows from the log's own, under a word that nothing else has.
    fn cipher(&self) -> XChaCha20Poly1305 {
        let key = keyed(&self.0.inner.audit_key).chain_update(b"cursor\0").finalize().into_bytes();
        XChaCha20Poly1305::new(&<[u8; 32]>::from(key).into())
    }
}
