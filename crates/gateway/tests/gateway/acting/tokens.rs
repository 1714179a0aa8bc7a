//! Which tokens count.

use std::collections::HashSet;

use serde_json::json;

use super::signing::{Signer, claims, unsigned};
use super::{Portal, nothing, present, register};
use crate::world::{code, key_of};
use ringfence_gateway::Code;

#[tokio::test]
async fn each_algorithm_verifies() {
    let portal = Portal::open().await;
    for (kid, signer) in [("es", Signer::es256()), ("ed", Signer::ed25519()), ("rs", Signer::rs256())] {
        register(&portal.world, "portal", kid, &signer).await.unwrap();
        let token = signer.token(kid, &claims("portal", "a-t1", "pia", &nothing()));
        let call = portal.present("portal", &token).await.unwrap();
        assert_eq!(call.principal().user.as_str(), "pia", "{kid}");
        let mut broken = token.clone().into_bytes();
        let last = broken.len() - 5;
        broken[last] = if broken[last] == b'A' { b'B' } else { b'A' };
        portal.declined("portal", &String::from_utf8(broken).unwrap()).await;
        portal.present("portal", &token).await.unwrap();
    }
}

/// Whatever is wrong with what a token says, its sender hears the same, except that it can't be read or has expired.
#[tokio::test]
async fn claims_are_checked() {
    let portal = Portal::open().await;
    let now = jiff::Timestamp::now().as_second();
    let accepted = [
        json!({ "aud": ["other", "ringfence"], "nbf": now, "jti": "one", "org": "a", "roles": [], "attributes": {} }),
        json!({ "iat": now + 10, "exp": now + 600 }),
        json!({ "exp": now - 10, "iat": now - 100 }),
    ];
    for changes in accepted {
        assert!(portal.acting("portal", "a-t1", "pia", &changes).await.is_ok(), "{changes}");
    }
    let refused = [
        json!({ "aud": "other" }),
        json!({ "aud": ["other"] }),
        json!({ "aud": [] }),
        json!({ "iss": "suite" }),
        json!({ "iss": "a-ann" }),
        json!({ "org": "b" }),
        json!({ "nbf": now + 120 }),
        json!({ "iat": now + 120, "exp": now + 240 }),
        json!({ "exp": now + 601 }),
        json!({ "exp": now + 100, "iat": now - 600 }),
        json!({ "exp": u64::MAX }),
        json!({ "agent": "one", "act": { "sub": "other" } }),
        json!({ "agent": "Unverified" }),
        json!({ "agent": "" }),
    ];
    let mut told = HashSet::new();
    for changes in refused {
        told.insert(
            portal.declined("portal", &portal.token("portal", "a-t1", "pia", &changes)).await.to_string(),
        );
    }
    assert_eq!(told.len(), 1, "{told:?}");
    let malformed = [
        json!({ "exp": null }),
        json!({ "iat": null }),
        json!({ "aud": null }),
        json!({ "iss": null }),
        json!({ "sub": null }),
        json!({ "tenant": null }),
        json!({ "exp": "1" }),
        json!({ "exp": now + 60, "nbf": "soon" }),
        json!({ "role": "ROLE_CLERK" }),
        json!({ "roles": "ROLE_CLERK" }),
        json!({ "attributes": [] }),
        json!({ "sub": "" }),
        json!({ "tenant": "a\u{0}b" }),
        json!({ "roles": [""] }),
        json!({ "roles": vec!["r"; 101] }),
    ];
    let mut told = HashSet::new();
    for changes in malformed {
        told.insert(
            portal.declined("portal", &portal.token("portal", "a-t1", "pia", &changes)).await.to_string(),
        );
    }
    for text in ["", "x", "a.b.c", "a.b", "a.b.c.d", "e30.e30.e30", &"x".repeat(9_000)] {
        told.insert(portal.declined("portal", text).await.to_string());
    }
    assert_eq!(told.len(), 1, "{told:?}");
    let expired = portal.token("portal", "a-t1", "pia", &json!({ "iat": now - 200, "exp": now - 100 }));
    assert!(portal.declined("portal", &expired).await.to_string().contains("expired"));
}

/// A token that is good for a moment is not good for longer because it was seen while it was.
#[tokio::test]
async fn a_known_token_expires() {
    let portal = Portal::open().await;
    let now = jiff::Timestamp::now().as_second();
    // Good for two seconds more, by the leeway.
    let token = portal.token("portal", "a-t1", "pia", &json!({ "iat": now - 60, "exp": now - 28 }));
    portal.present("portal", &token).await.unwrap();
    let expired = crate::world::eventually(async || portal.present("portal", &token).await.err()).await;
    assert_eq!(expired.code, Code::InvalidPrincipalToken);
}

/// The algorithm is the key's: nobody makes it another one, or none.
#[tokio::test]
async fn a_key_verifies_one_algorithm() {
    let portal = Portal::open().await;
    let good = claims("portal", "a-t1", "pia", &nothing());
    let header = |algorithm: &str| json!({ "alg": algorithm, "typ": "JWT", "kid": "k" });
    for algorithm in ["none", "None", "nOnE"] {
        let message = unsigned(&header(algorithm), &good);
        for signature in ["", "AA"] {
            portal.declined("portal", &format!("{message}.{signature}")).await;
        }
    }
    // The same key, said to be for another algorithm.
    for algorithm in ["ES256", "RS256", "HS256", "PS256", "ES384"] {
        portal.declined("portal", &portal.portal.token_with(&header(algorithm), &good)).await;
    }
    // HMAC under the public key, which everybody may know.
    for signer in [Signer::es256(), Signer::rs256()] {
        let kid = signer.algorithm();
        register(&portal.world, "portal", kid, &signer).await.unwrap();
        for token in hmac_of_public_key(&signer, kid, &good) {
            portal.declined("portal", &token).await;
        }
        portal.present("portal", &signer.token(kid, &good)).await.unwrap();
    }
    // A key that the token brings along is nobody's.
    let mallory = Signer::ed25519();
    for kid in ["k", "unknown"] {
        let header = json!({
            "alg": "EdDSA", "kid": kid, "jwk": mallory.public_key(), "jku": "https://mallory.example/keys",
        });
        portal.declined("portal", &mallory.token_with(&header, &good)).await;
    }
    let critical = json!({ "alg": "EdDSA", "kid": "k", "crit": ["exp"] });
    portal.declined("portal", &portal.portal.token_with(&critical, &good)).await;
}

/// Tokens under HS256 with what an attacker has of the key as their secret.
fn hmac_of_public_key(signer: &Signer, kid: &str, claims: &serde_json::Value) -> Vec<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::hmac;
    let key = signer.public_key();
    let mut secrets = vec![serde_json::to_vec(&key).unwrap()];
    for member in ["x", "y", "n"] {
        if let Some(text) = key.get(member).and_then(serde_json::Value::as_str) {
            secrets.push(URL_SAFE_NO_PAD.decode(text).unwrap());
        }
    }
    let message = unsigned(&json!({ "alg": "HS256", "typ": "JWT", "kid": kid }), claims);
    let sign = |secret: &Vec<u8>| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    };
    secrets.iter().map(sign).collect()
}

/// A token counts beside the access key of the application that signed it, and of no other.
#[tokio::test]
async fn a_token_is_worth_nothing_to_others() {
    let portal = Portal::open().await;
    let token = portal.token("portal", "a-t1", "pia", &nothing());
    assert!(portal.present("portal", &token).await.is_ok());
    portal.declined("suite", &token).await;
    // Signed by another application's key of the same id, in this one's name.
    let forged = portal.suite.token("k", &claims("portal", "a-t1", "pia", &nothing()));
    portal.declined("portal", &forged).await;
    // Who may not act for others is told so, whatever it sends.
    for user in ["a-ann", "a-boss", "a-super"] {
        assert_eq!(code(present(&portal.world, &key_of(user), &token).await), Code::NotPermitted, "{user}");
        assert_eq!(code(present(&portal.world, &key_of(user), "x").await), Code::NotPermitted, "{user}");
    }
    assert_eq!(code(present(&portal.world, "nobody's key", &token).await), Code::KeyUnknown);
    assert_eq!(code(present(&portal.world, "", &token).await), Code::AuthenticationRequired);
}
