//! Sealing: authenticated encryption of secrets at rest, under a key kept outside the store.
//!
//! A sealed value is bound to its place (table, column, row), so that it opens nowhere else. It names the epoch of its
//! key; the store's row `sealing` holds the epoch in force and a value by which a wrong key is known.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use rand::TryRng as _;
use rand::rngs::SysRng;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::database::{Transaction, params, transact};
use crate::{Store, StoreError};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const FORMAT: u8 = 1;
/// The format, then the epoch.
const HEADER_BYTES: usize = 1 + 8;
const CHECK_TEXT: &[u8] = b"ringfence";
const PAGE: i64 = 1000;

/// 32 random bytes, kept in a file with mode 0600 or in the environment (base64).
#[derive(Clone)]
pub struct SealingKey(Arc<Zeroizing<[u8; KEY_BYTES]>>);

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(hidden)")
    }
}

impl SealingKey {
    /// Makes a new random key.
    ///
    /// # Panics
    /// When the operating system gives no random bytes: nothing can be sealed then.
    pub fn generate() -> Self {
        Self(Arc::new(random_key()))
    }

    /// Reads a key from base64 text of exactly 32 bytes.
    pub fn from_base64(text: &SecretString) -> Result<Self, StoreError> {
        let unusable = || StoreError::SealingKey("it is not the base64 text of 32 bytes".to_owned());
        let bytes = Zeroizing::new(STANDARD.decode(text.expose_secret().trim()).map_err(|_| unusable())?);
        let key = <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).map_err(|_| unusable())?;
        Ok(Self(Arc::new(Zeroizing::new(key))))
    }

    /// The key as base64, to be written where the operator keeps it.
    pub fn to_base64(&self) -> SecretString {
        STANDARD.encode(self.0.as_slice()).into()
    }

    /// Reads the key from `path`, or makes one there (mode 0600, durable before use) when `path` is missing.
    /// Refuses a file that others may read.
    pub fn load_or_create(path: &Path) -> Result<Self, StoreError> {
        crate::key_file::load_or_create(path)
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.as_slice() == other.0.as_slice()
    }
}

/// The keys this process knows, by epoch. An old one stays for rows that were read before a rotation.
pub(crate) struct Keyring(RwLock<Vec<(i64, SealingKey)>>);

impl Keyring {
    pub(crate) fn new(epoch: i64, key: SealingKey) -> Self {
        Self(RwLock::new(vec![(epoch, key)]))
    }

    fn add(&self, epoch: i64, key: SealingKey) {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|(known, _)| *known != epoch);
        keys.push((epoch, key));
    }

    fn key(&self, epoch: i64) -> Result<SealingKey, StoreError> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = keys.iter().find(|(known, _)| *known == epoch);
        found.map(|(_, key)| key.clone()).ok_or(StoreError::WrongSealingKey)
    }

    /// Opens a value that was sealed for this place.
    pub(crate) fn unseal(&self, place: &[&str], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        open(&self.key(epoch_of(sealed)?)?, place, sealed)
    }

    /// Opens a value that holds text.
    pub(crate) fn unseal_text(&self, place: &[&str], sealed: &[u8]) -> Result<SecretString, StoreError> {
        let bytes = self.unseal(place, sealed)?;
        let text = std::str::from_utf8(&bytes);
        text.map(SecretString::from).map_err(|_| StoreError::Corrupt("a sealed text is not UTF-8".to_owned()))
    }
}

/// The key in force within one transaction.
pub(crate) struct Sealer {
    epoch: i64,
    key: SealingKey,
}

impl Sealer {
    /// Seals a value for a place.
    pub(crate) fn seal(&self, place: &[&str], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        seal(&self.key, self.epoch, place, value)
    }
}

/// Finds the key in force, and keeps it in force until the transaction ends.
///
/// INVARIANT: nothing is sealed under a key that is not in force, even when another process has just rotated; what is
/// sealed under a forgotten key is lost (test `sealing_under_a_stale_key_is_refused`).
pub(crate) async fn sealer(tx: &mut Transaction, keyring: &Keyring) -> Result<Sealer, StoreError> {
    let state = read_state(tx, "FOR SHARE").await?.ok_or_else(no_state)?;
    let key = keyring.key(state.epoch)?;
    check(&key, &state)?;
    Ok(Sealer { epoch: state.epoch, key })
}

/// What opening the store needs to know: the keyring, and the audit log's own key.
pub(crate) async fn unlock(
    database: &crate::database::Database,
    key: SealingKey,
) -> Result<(Keyring, Zeroizing<Vec<u8>>), StoreError> {
    let state = transact!(database, tx => {
        let epoch = 1;
        let check_value = seal(&key, epoch, &CHECK_PLACE, CHECK_TEXT)?;
        let new_audit_key = random_key();
        let audit_key = seal(&key, epoch, &AUDIT_KEY_PLACE, new_audit_key.as_slice())?;
        let insert = "INSERT INTO sealing (id, epoch, check_value, audit_key) VALUES (1, $1, $2, $3) \
                      ON CONFLICT (id) DO NOTHING";
        if tx.execute(insert, params![epoch, check_value, audit_key]).await? == 1 {
            // Only together with its key: a head made later would hide that the log was emptied.
            crate::audit::begin_chain(tx, new_audit_key.as_slice()).await?;
        }
        read_state(tx, "").await?.ok_or_else(no_state)?
    })?;
    check(&key, &state)?;
    let audit_key = open(&key, &AUDIT_KEY_PLACE, &state.audit_key)?;
    Ok((Keyring::new(state.epoch, key), audit_key))
}

impl Store {
    /// Seals everything again under `new_key`, in one transaction. Answers how many secrets were sealed.
    ///
    /// Other processes that have the store open can neither seal nor unseal until they are started with the new key.
    pub async fn rotate_sealing_key(&self, new_key: SealingKey) -> Result<u64, StoreError> {
        let keyring = &self.inner.keyring;
        transact!(self.inner.database, tx => {
            let state = read_state(tx, "FOR UPDATE").await?.ok_or_else(no_state)?;
            check(&keyring.key(state.epoch)?, &state)?;
            let sealer = Sealer { epoch: state.epoch + 1, key: new_key.clone() };
            let mut count = 0;
            for column in COLUMNS {
                count += column.seal_again(tx, keyring, &sealer).await?;
            }
            let audit_key = keyring.unseal(&AUDIT_KEY_PLACE, &state.audit_key)?;
            let audit_key = sealer.seal(&AUDIT_KEY_PLACE, &audit_key)?;
            let check_value = sealer.seal(&CHECK_PLACE, CHECK_TEXT)?;
            let update = "UPDATE sealing SET epoch = $1, check_value = $2, audit_key = $3 WHERE id = 1";
            tx.execute(update, params![sealer.epoch, check_value, audit_key]).await?;
            // Known before the commit, because a reader may meet the new values the moment it is done. Should the
            // commit fail, the check value keeps this key from being used.
            keyring.add(sealer.epoch, new_key.clone());
            count + 1
        })
    }

    /// Whether this is the key in force.
    pub(crate) async fn is_sealed_with(&self, key: &SealingKey) -> Result<bool, StoreError> {
        let rows = self.inner.database.query(&state_query(""), params![]).await?;
        let state = rows.first().map(State::of).transpose()?.ok_or_else(no_state)?;
        Ok(check(key, &state).is_ok() && self.inner.keyring.key(state.epoch)?.is(key))
    }
}

/// The place of an access key's secret.
pub(crate) fn access_key_place<'a>(user: &'a str, name: &'a str) -> [&'a str; 4] {
    ["access_keys", "sealed", user, name]
}

/// The place of a connection's password.
pub(crate) fn password_place<'a>(user: &'a str, key: &'a str) -> [&'a str; 4] {
    ["connections", "password", user, key]
}

/// The place of a technical user's password hash.
pub(crate) fn basic_credential_place(user: &str) -> [&str; 4] {
    ["basic_credentials", "sealed", user, ""]
}

/// The places of what an approval says of the requester, of the operation, and of its outcome.
pub(crate) fn approval_places<'a>(org: &'a str, id: &'a str) -> [[&'a str; 4]; 3] {
    ["principal", "operation", "outcome"].map(|column| ["approvals", column, org, id])
}

const CHECK_PLACE: [&str; 2] = ["sealing", "check_value"];
const AUDIT_KEY_PLACE: [&str; 2] = ["sealing", "audit_key"];

/// A column of sealed values, whose rows are told apart by two texts.
struct SealedColumn {
    select: &'static str,
    update: &'static str,
    place: for<'a> fn(&'a str, &'a str) -> [&'a str; 4],
}

/// INVARIANT: every sealed column stands here, or rotation loses it (test `rotation_reaches_every_sealed_value`).
const COLUMNS: [SealedColumn; 6] = [
    SealedColumn {
        select: "SELECT ordinal, user_id, name, sealed FROM access_keys \
                 WHERE ordinal > $1 ORDER BY ordinal LIMIT $2 FOR UPDATE",
        update: "UPDATE access_keys SET sealed = $2 WHERE ordinal = $1",
        place: access_key_place,
    },
    SealedColumn {
        select: "SELECT ordinal, user_id, key, password FROM connections \
                 WHERE password IS NOT NULL AND ordinal > $1 ORDER BY ordinal LIMIT $2 FOR UPDATE",
        update: "UPDATE connections SET password = $2 WHERE ordinal = $1",
        place: password_place,
    },
    SealedColumn {
        select: "SELECT ordinal, org_id, id, principal FROM approvals \
                 WHERE ordinal > $1 ORDER BY ordinal LIMIT $2 FOR UPDATE",
        update: "UPDATE approvals SET principal = $2 WHERE ordinal = $1",
        place: |org, id| approval_places(org, id)[0],
    },
    SealedColumn {
        select: "SELECT ordinal, org_id, id, operation FROM approvals \
                 WHERE ordinal > $1 ORDER BY ordinal LIMIT $2 FOR UPDATE",
        update: "UPDATE approvals SET operation = $2 WHERE ordinal = $1",
        place: |org, id| approval_places(org, id)[1],
    },
    SealedColumn {
        select: "SELECT ordinal, org_id, id, outcome FROM approvals \
                 WHERE outcome IS NOT NULL AND ordinal > $1 ORDER BY ordinal LIMIT $2 FOR UPDATE",
        update: "UPDATE approvals SET outcome = $2 WHERE ordinal = $1",
        place: |org, id| approval_places(org, id)[2],
    },
    SealedColumn {
        // One text names the row: the second is the same.
        select: "SELECT ordinal, user_id, user_id, sealed FROM basic_credentials \
                 WHERE ordinal > $1 ORDER BY ordinal LIMIT $2 FOR UPDATE",
        update: "UPDATE basic_credentials SET sealed = $2 WHERE ordinal = $1",
        place: |user, _| basic_credential_place(user),
    },
];

impl SealedColumn {
    async fn seal_again(
        &self,
        tx: &mut Transaction,
        keyring: &Keyring,
        sealer: &Sealer,
    ) -> Result<u64, StoreError> {
        let (mut after, mut count) = (0, 0);
        loop {
            let rows = tx.query(self.select, params![after, PAGE]).await?;
            if rows.is_empty() {
                return Ok(count);
            }
            for row in rows {
                after = row.integer(0)?;
                let place = (self.place)(row.text(1)?, row.text(2)?);
                let value = keyring.unseal(&place, row.blob(3)?)?;
                tx.execute(self.update, params![after, sealer.seal(&place, &value)?]).await?;
                count += 1;
            }
        }
    }
}

struct State {
    epoch: i64,
    check_value: Vec<u8>,
    audit_key: Vec<u8>,
}

impl State {
    fn of(row: &crate::database::Row) -> Result<Self, StoreError> {
        let (check_value, audit_key) = (row.blob(1)?.to_vec(), row.blob(2)?.to_vec());
        Ok(Self { epoch: row.integer(0)?, check_value, audit_key })
    }
}

fn state_query(lock: &str) -> String {
    format!("SELECT epoch, check_value, audit_key FROM sealing WHERE id = 1 {lock}")
}

async fn read_state(tx: &mut Transaction, lock: &str) -> Result<Option<State>, StoreError> {
    tx.query(&state_query(lock), params![]).await?.first().map(State::of).transpose()
}

fn check(key: &SealingKey, state: &State) -> Result<(), StoreError> {
    open(key, &CHECK_PLACE, &state.check_value).map(drop).map_err(|_| StoreError::WrongSealingKey)
}

fn no_state() -> StoreError {
    StoreError::Corrupt("the record of its sealing key is gone".to_owned())
}

fn seal(key: &SealingKey, epoch: i64, place: &[&str], value: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut nonce = [0; NONCE_BYTES];
    let no_random = |_| StoreError::Unavailable("the operating system gives no random bytes".to_owned());
    SysRng.try_fill_bytes(&mut nonce).map_err(no_random)?;
    let mut sealed = vec![FORMAT];
    sealed.extend(epoch.to_be_bytes());
    let payload = Payload { msg: value, aad: &bound_to(place, &sealed) };
    let cipher = XChaCha20Poly1305::new((&**key.0).into());
    let encrypted = cipher.encrypt(&XNonce::from(nonce), payload);
    sealed.extend(nonce);
    sealed.extend(encrypted.map_err(|_| StoreError::Corrupt("a value is too long to be sealed".to_owned()))?);
    Ok(sealed)
}

fn open(key: &SealingKey, place: &[&str], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let broken =
        || StoreError::Corrupt("a sealed value was changed, or does not belong to its record".to_owned());
    let (header, rest) = sealed.split_at_checked(HEADER_BYTES).ok_or_else(broken)?;
    let (nonce, encrypted) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(broken)?;
    let payload = Payload { msg: encrypted, aad: &bound_to(place, header) };
    let cipher = XChaCha20Poly1305::new((&**key.0).into());
    cipher.decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| broken())
}

fn epoch_of(sealed: &[u8]) -> Result<i64, StoreError> {
    match sealed.split_first_chunk::<HEADER_BYTES>() {
        Some(([FORMAT, epoch @ ..], _)) => Ok(i64::from_be_bytes(*epoch)),
        _ => Err(StoreError::Corrupt("a sealed value has no form that is known".to_owned())),
    }
}

/// Lengths before the parts, so that no two places give the same bytes.
fn bound_to(place: &[&str], header: &[u8]) -> Vec<u8> {
    let mut bytes = header.to_vec();
    for part in place {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

fn random_key() -> Zeroizing<[u8; KEY_BYTES]> {
    Zeroizing::new(rand::random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_in_its_place_and_unchanged() {
        let keyring = Keyring::new(1, SealingKey::generate());
        let in_force = Sealer { epoch: 1, key: keyring.key(1).unwrap() };
        let sealed = in_force.seal(&["t", "c", "ab", "c"], b"secret").unwrap();
        assert_eq!(keyring.unseal(&["t", "c", "ab", "c"], &sealed).unwrap().as_slice(), b"secret");
        for place in [&["t", "c", "a", "bc"][..], &["t", "c", "ab"], &["t", "d", "ab", "c"], &[]] {
            assert!(matches!(keyring.unseal(place, &sealed), Err(StoreError::Corrupt(_))), "{place:?}");
        }
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(keyring.unseal(&["t", "c", "ab", "c"], &changed).is_err(), "byte {index}");
        }
        assert!(keyring.unseal(&["t", "c", "ab", "c"], &sealed[..20]).is_err());
        assert_ne!(sealed, in_force.seal(&["t", "c", "ab", "c"], b"secret").unwrap());
    }

    #[test]
    fn keys_travel_as_base64_and_hide_themselves() {
        let key = SealingKey::generate();
        let text = key.to_base64();
        assert!(SealingKey::from_base64(&text).unwrap().is(&key));
        assert!(!format!("{key:?}").contains(text.expose_secret()));
        for bad in ["", "AAAA", "not base64 at all!", &"A".repeat(88)] {
            assert!(matches!(SealingKey::from_base64(&bad.into()), Err(StoreError::SealingKey(_))), "{bad}");
        }
    }
}
