//! Public keys, and what they verify: ES256, `EdDSA` (Ed25519) and RSA, of which applications sign with RS256 alone. No key in
//! here is secret.
//!
//! `jsonwebtoken` reads and checks tokens; `ring` does the arithmetic, as it does for TLS. The library's own backends
//! would bring a second implementation into the binary.

use std::sync::Once;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{Error as Unsigned, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use ringfence_store::signing_keys::SigningKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A registered key, ready to verify.
pub(crate) struct PublicKey {
    algorithm: Algorithm,
    decoding: DecodingKey,
    /// Of application, id and key: another key of the same id is another one.
    pub(super) digest: [u8; 32],
}

impl PublicKey {
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    /// As the store has it.
    pub(super) fn stored(key: &SigningKey) -> Result<Self, KeyUnusable> {
        let web_key: WebKey = serde_json::from_str(&key.public_key).map_err(|_| KeyUnusable::Unknown)?;
        let (algorithm, decoding) = web_key.decoding()?;
        Ok(Self { algorithm, decoding, digest: digest_of(key) })
    }
}

/// Names the very key in what rests on it.
pub(super) fn digest_of(key: &SigningKey) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in [key.application.as_str(), key.kid.as_str(), &key.public_key] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

/// The public half of a key as a JSON Web Key (RFC 7517): what is stored of one, and no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty")]
pub(crate) enum WebKey {
    /// An elliptic curve's point.
    #[serde(rename = "EC")]
    Point { crv: String, x: String, y: String },
    /// An Edwards curve's point.
    #[serde(rename = "OKP")]
    Edwards { crv: String, x: String },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
}

/// Why a key can't be registered. The texts are for who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyUnusable {
    #[error("the key is no JSON Web Key of a kind that is taken: EC on P-256, OKP on Ed25519, or RSA")]
    Unknown,
    #[error(
        "the key has private parts: register its public half only, and make a new one, for this one has travelled"
    )]
    Private,
    #[error("the key's numbers are not base64url of the right length")]
    Numbers,
    #[error("the RSA key is too weak or too large: 2048 to 8192 bits, with an odd exponent of 3 or more")]
    Strength,
    #[error("the key says that it is for another algorithm or another use than verifying signatures")]
    OtherUse,
}

/// Members of a JSON Web Key that nobody but its owner has (RFC 7518, section 6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl WebKey {
    /// Reads one as its owner sent it.
    pub(crate) fn read(sent: &serde_json::Map<String, serde_json::Value>) -> Result<Self, KeyUnusable> {
        if PRIVATE.iter().any(|member| sent.contains_key(*member)) {
            return Err(KeyUnusable::Private);
        }
        let key: Self = serde_json::from_value(sent.clone().into()).map_err(|_| KeyUnusable::Unknown)?;
        let (algorithm, _) = key.decoding()?;
        let says =
            |member: &str, allowed: &str| sent.get(member).is_none_or(|said| said.as_str() == Some(allowed));
        let operations = sent.get("key_ops").map(|said| said.as_array().map_or(&[][..], Vec::as_slice));
        let verifies = operations.is_none_or(|said| said.iter().any(|one| one == "verify"));
        if !says("use", "sig") || !says("alg", name_of(algorithm)) || !verifies {
            return Err(KeyUnusable::OtherUse);
        }
        Ok(key)
    }

    /// The one algorithm that it verifies.
    pub(crate) fn algorithm(&self) -> Result<&'static str, KeyUnusable> {
        self.decoding().map(|(algorithm, _)| name_of(algorithm))
    }

    /// The algorithm that it verifies for an application, and the key.
    pub(crate) fn decoding(&self) -> Result<(Algorithm, DecodingKey), KeyUnusable> {
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyUnusable::Numbers);
        let coordinate = |text: &str| match bytes(text)?.len() {
            32 => Ok(()),
            _ => Err(KeyUnusable::Numbers),
        };
        let unusable = |_: Error| KeyUnusable::Numbers;
        match self {
            Self::Point { crv, x, y } if crv == "P-256" => {
                coordinate(x)?;
                coordinate(y)?;
                Ok((Algorithm::ES256, DecodingKey::from_ec_components(x, y).map_err(unusable)?))
            }
            Self::Edwards { crv, x } if crv == "Ed25519" => {
                coordinate(x)?;
                Ok((Algorithm::EdDSA, DecodingKey::from_ed_components(x).map_err(unusable)?))
            }
            Self::Rsa { n, e } => {
                let (modulus, exponent) = (bytes(n)?, bytes(e)?);
                let bits = modulus.len().saturating_mul(8);
                let leads = modulus.first().is_some_and(|byte| *byte >= 0x80);
                let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
                let large = exponent.len() <= 4 && (exponent.len() > 1 || exponent.first() > Some(&2));
                if !(2048..=8192).contains(&bits) || !leads || !odd || !large || exponent.first() == Some(&0)
                {
                    return Err(KeyUnusable::Strength);
                }
                Ok((Algorithm::RS256, DecodingKey::from_rsa_components(n, e).map_err(unusable)?))
            }
            Self::Point { .. } | Self::Edwards { .. } => Err(KeyUnusable::Unknown),
        }
    }
}

fn name_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::ES256 => "ES256",
        Algorithm::EdDSA => "EdDSA",
        _ => "RS256",
    }
}

/// Has `jsonwebtoken` verify with `ring`.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: no_signer,
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    INSTALLED.call_once(|| {
        if PROVIDER.install_default().is_err() {
            tracing::error!("something else verifies tokens in this process");
        }
    });
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the library says what it is handed")]
fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the library says what it is handed")]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let verifying = match (algorithm, key.kind()) {
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => Verifying::Point(point.clone()),
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => Verifying::Edwards(point.clone()),
        (algorithm, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            let parameters = rsa_parameters(*algorithm).ok_or(ErrorKind::InvalidAlgorithm)?;
            Verifying::Rsa { n: n.clone(), e: e.clone(), algorithm: *algorithm, parameters }
        }
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(verifying))
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// One key for one algorithm.
enum Verifying {
    Point(Vec<u8>),
    Edwards(Vec<u8>),
    Rsa { n: Vec<u8>, e: Vec<u8>, algorithm: Algorithm, parameters: &'static RsaParameters },
}

impl Verifier<Vec<u8>> for Verifying {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Unsigned> {
        let verified = match self {
            Self::Point(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Self::Edwards(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature),
            Self::Rsa { n, e, parameters, .. } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
        };
        verified.map_err(|_| Unsigned::new())
    }
}

impl JwtVerifier for Verifying {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Point(_) => Algorithm::ES256,
            Self::Edwards(_) => Algorithm::EdDSA,
            Self::Rsa { algorithm, .. } => *algorithm,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(key: &serde_json::Value) -> Result<&'static str, KeyUnusable> {
        WebKey::read(key.as_object().unwrap()).and_then(|key| key.algorithm())
    }

    #[test]
    fn keys_are_public_and_of_one_algorithm() {
        let number = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0xab; bytes]);
        let x = number(32);
        let edwards =
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k", "use": "sig", "alg": "EdDSA" });
        assert_eq!(read(&edwards), Ok("EdDSA"));
        assert_eq!(
            read(&json!({ "kty": "EC", "crv": "P-256", "x": x, "y": x, "key_ops": ["verify"] })),
            Ok("ES256")
        );
        assert_eq!(read(&json!({ "kty": "RSA", "n": number(256), "e": "AQAB" })), Ok("RS256"));
        let cases = [
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "d": x }), KeyUnusable::Private),
            (json!({ "kty": "oct", "k": x }), KeyUnusable::Private),
            (json!({ "kty": "oct" }), KeyUnusable::Unknown),
            (json!({}), KeyUnusable::Unknown),
            (json!({ "kty": "OKP", "crv": "X25519", "x": x }), KeyUnusable::Unknown),
            (json!({ "kty": "EC", "crv": "P-384", "x": x, "y": x }), KeyUnusable::Unknown),
            (json!({ "kty": "EC", "crv": "P-256", "x": x }), KeyUnusable::Unknown),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": number(31) }), KeyUnusable::Numbers),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": "ab==" }), KeyUnusable::Numbers),
            (json!({ "kty": "RSA", "n": number(128), "e": "AQAB" }), KeyUnusable::Strength),
            (json!({ "kty": "RSA", "n": number(2048), "e": "AQAB" }), KeyUnusable::Strength),
            (json!({ "kty": "RSA", "n": number(256), "e": "AQ" }), KeyUnusable::Strength),
            (json!({ "kty": "RSA", "n": number(256), "e": "" }), KeyUnusable::Strength),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "alg": "ES256" }), KeyUnusable::OtherUse),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "use": "enc" }), KeyUnusable::OtherUse),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "key_ops": ["sign"] }), KeyUnusable::OtherUse),
        ];
        for (key, expected) in cases {
            assert_eq!(read(&key), Err(expected), "{key}");
        }
    }

    #[test]
    fn what_is_stored_is_what_verifies_and_no_more() {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        let sent =
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k", "x5c": ["..."], "note": "mine" });
        let key = WebKey::read(sent.as_object().unwrap()).unwrap();
        let stored = serde_json::to_value(&key).unwrap();
        assert_eq!(stored, json!({ "kty": "OKP", "crv": "Ed25519", "x": x }));
        assert_eq!(serde_json::from_value::<WebKey>(stored).unwrap(), key);
    }
}
