//! Hashes of passwords: argon2id for our own, passlib's `pbkdf2-sha256` as others bring it.

use std::num::NonZeroU32;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::pbkdf2;
use secrecy::SecretString;

use crate::Refused;

/// More than this would let whoever writes a hash stop the server.
const MOST_MEMORY_KIB: u32 = 256 * 1024;
const MOST_PASSES: u32 = 16;
const MOST_LANES: u32 = 8;
const MOST_ROUNDS: u32 = 5_000_000;
/// Less is no protection, and most likely a mistake.
const FEWEST_ROUNDS: u32 = 1_000;

const PASSLIB: &str = "$pbkdf2-sha256$";

/// What a password is checked against.
#[derive(Clone)]
pub(crate) enum PasswordHash {
    /// Argon2id, in the PHC form.
    Argon2(String),
    /// PBKDF2 with HMAC-SHA-256, as passlib writes it.
    Pbkdf2 { rounds: NonZeroU32, salt: Vec<u8>, digest: Vec<u8>, text: String },
}

/// Why a hash can't be used. The text never repeats the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("the hash is neither argon2id in PHC form nor passlib's pbkdf2-sha256")]
    Unknown,
    #[error("the hash asks for more work than is allowed, or for so little that it protects nothing")]
    Cost,
}

impl PasswordHash {
    /// A new hash of a new password.
    pub(crate) fn of(password: &str) -> Result<Self, Refused> {
        let salt: [u8; 16] = rand::random();
        let made = argon2().hash_password_with_salt(password.as_bytes(), &salt);
        made.map(|hash| Self::Argon2(hash.to_string())).map_err(|error| Refused::internal(&error))
    }

    /// Reads one that somebody else made.
    pub(crate) fn read(text: &str) -> Result<Self, Unusable> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix(PASSLIB) {
            return read_passlib(text, rest);
        }
        let hash = phc::PasswordHash::new(text).map_err(|_| Unusable::Unknown)?;
        let is_argon2id = hash.algorithm.as_str() == "argon2id";
        if !is_argon2id || hash.version.is_some_and(|version| version != 19) || hash.hash.is_none() {
            return Err(Unusable::Unknown);
        }
        let params = Params::try_from(&hash).map_err(|_| Unusable::Unknown)?;
        let is_payable = params.m_cost() <= MOST_MEMORY_KIB
            && params.t_cost() <= MOST_PASSES
            && params.p_cost() <= MOST_LANES;
        if is_payable { Ok(Self::Argon2(text.to_owned())) } else { Err(Unusable::Cost) }
    }

    /// One that is nobody's, and costs as much as ours do.
    pub(crate) fn nobodys() -> Self {
        Self::Argon2(format!(
            "$argon2id$v=19$m={},t={},p={}${}${}",
            Params::DEFAULT_M_COST,
            Params::DEFAULT_T_COST,
            Params::DEFAULT_P_COST,
            STANDARD_NO_PAD.encode([0; 16]),
            STANDARD_NO_PAD.encode([0; 32]),
        ))
    }

    /// One that is nobody's, and costs as much as this one.
    pub(crate) fn alike(&self) -> Self {
        match self {
            Self::Argon2(text) => {
                let cost = text.rsplitn(3, '$').nth(2).unwrap_or_default();
                let (salt, digest) = (STANDARD_NO_PAD.encode([0; 16]), STANDARD_NO_PAD.encode([0; 32]));
                Self::Argon2(format!("{cost}${salt}${digest}"))
            }
            Self::Pbkdf2 { rounds, .. } => {
                Self::Pbkdf2 { rounds: *rounds, salt: vec![0; 16], digest: vec![0; 32], text: String::new() }
            }
        }
    }

    /// What it costs, to be compared.
    #[cfg(test)]
    pub(crate) fn cost(&self) -> String {
        match self {
            Self::Argon2(text) => text.rsplitn(3, '$').nth(2).unwrap_or_default().to_owned(),
            Self::Pbkdf2 { rounds, .. } => format!("{rounds} rounds"),
        }
    }

    /// Whether the password is the one it was made of.
    pub(crate) fn is_of(&self, password: &str) -> bool {
        match self {
            Self::Argon2(text) => phc::PasswordHash::new(text)
                .is_ok_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok()),
            Self::Pbkdf2 { rounds, salt, digest, .. } => {
                pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, *rounds, salt, password.as_bytes(), digest).is_ok()
            }
        }
    }

    /// Whether a new hash of the same password would be a better one.
    pub(crate) fn is_outdated(&self) -> bool {
        matches!(self, Self::Pbkdf2 { .. })
    }

    /// The text that it is kept as.
    pub(crate) fn into_text(self) -> SecretString {
        match self {
            Self::Argon2(text) | Self::Pbkdf2 { text, .. } => text.into(),
        }
    }
}

/// OWASP's first choice of parameters, which are the crate's defaults too: 19 MiB, two passes.
fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

/// `$pbkdf2-sha256$rounds$salt$digest`, in passlib's own base64: without padding, and with `.` for `+`.
fn read_passlib(text: &str, rest: &str) -> Result<PasswordHash, Unusable> {
    let mut parts = rest.split('$');
    let (Some(rounds), Some(salt), Some(digest), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Unusable::Unknown);
    };
    let decode = |part: &str| STANDARD_NO_PAD.decode(part.replace('.', "+")).map_err(|_| Unusable::Unknown);
    let (salt, digest) = (decode(salt)?, decode(digest)?);
    if digest.len() != 32 {
        return Err(Unusable::Unknown);
    }
    let rounds: NonZeroU32 = rounds.parse().map_err(|_| Unusable::Unknown)?;
    if !(FEWEST_ROUNDS..=MOST_ROUNDS).contains(&rounds.get()) {
        return Err(Unusable::Cost);
    }
    Ok(PasswordHash::Pbkdf2 { rounds, salt, digest, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    const OF_FOO: &str =
        "$pbkdf2-sha256$29000$5ry31vofg7CWkhJCSClFKA$i01NZ9cAJCAYlXQCY2AXmcmJfe8eD5vZMDOy0h8tH2U";

    #[test]
    fn the_hashes_of_passlib_are_understood() {
        let hash = PasswordHash::read(OF_FOO).unwrap();
        assert!(hash.is_of("foo") && hash.is_outdated());
        assert!(!hash.is_of("Foo") && !hash.is_of(""));
        assert_eq!(hash.into_text().expose_secret(), OF_FOO);
    }

    #[test]
    fn our_own_are_argon2id_and_differ_each_time() {
        let (one, other) = (PasswordHash::of("secret").unwrap(), PasswordHash::of("secret").unwrap());
        assert!(one.is_of("secret") && !one.is_of("secre") && !one.is_outdated());
        let (one, other) = (one.into_text(), other.into_text());
        assert!(one.expose_secret().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_ne!(one.expose_secret(), other.expose_secret());
        assert!(PasswordHash::read(one.expose_secret()).unwrap().is_of("secret"));
    }

    #[test]
    fn what_is_nobodys_is_of_nothing() {
        for hash in [
            PasswordHash::nobodys(),
            PasswordHash::nobodys().alike(),
            PasswordHash::read(OF_FOO).unwrap().alike(),
        ] {
            for password in ["", "foo", "\0"] {
                assert!(!hash.is_of(password));
            }
        }
    }

    #[test]
    fn other_hashes_are_refused() {
        let unknown = [
            "",
            "foo",
            "$",
            "$argon2id$",
            "$2b$12$C6UzMDM.H6dfI/f/IKcEeO7ZzQj3nC1z5u1l1t1Q1Y1W1V1U1T1S1",
            "$argon2i$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=16$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA",
            "$pbkdf2-sha256$29000$5ry31vofg7CWkhJCSClFKA",
            "$pbkdf2-sha256$0$5ry31vofg7CWkhJCSClFKA$i01NZ9cAJCAYlXQCY2AXmcmJfe8eD5vZMDOy0h8tH2U",
            "$pbkdf2-sha256$29000$5ry31vofg7CWkhJCSClFKA$AAAA",
            "$pbkdf2-sha1$1000$AAAA$AAAA",
            "$pbkdf2-sha256$29000$5ry31vofg7CWkhJCSClFKA$i01NZ9cAJCAYlXQCY2AXmcmJfe8eD5vZMDOy0h8tH2U$x",
        ];
        for text in unknown {
            assert_eq!(PasswordHash::read(text).err(), Some(Unusable::Unknown), "{text}");
        }
        for text in [
            "$argon2id$v=19$m=4194304,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=19456,t=9999,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$pbkdf2-sha256$4294967295$5ry31vofg7CWkhJCSClFKA$i01NZ9cAJCAYlXQCY2AXmcmJfe8eD5vZMDOy0h8tH2U",
            "$pbkdf2-sha256$1$5ry31vofg7CWkhJCSClFKA$i01NZ9cAJCAYlXQCY2AXmcmJfe8eD5vZMDOy0h8tH2U",
        ] {
            assert_eq!(PasswordHash::read(text).err(), Some(Unusable::Cost), "{text}");
        }
    }
}
