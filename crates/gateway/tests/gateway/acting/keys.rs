//! Signing keys: who registers, lists and revokes them.

use ringfence_gateway::signing_keys::{MAX_KEYS, NewSigningKey};
use ringfence_gateway::{Code, Refused};
use ringfence_policy::KeyName;
use serde_json::json;

use super::signing::{Signer, claims};
use super::{Portal, nothing, register};
use crate::world::{code, same_refusal};

#[tokio::test]
async fn keys_are_registered_by_the_application_or_its_administrator() {
    let portal = Portal::open().await;
    let gateway = &portal.world.gateway;
    let attempt = async |user: &str, application: Option<&str>, kid: &str| {
        let new = NewSigningKey {
            application: application.map(str::to_owned),
            kid: Some(kid.to_owned()),
            public_key: Signer::ed25519().public_key(),
        };
        gateway.register_signing_key(&portal.world.call_as(user).await, new).await
    };
    let made = attempt("a-boss", Some("portal"), "by-boss").await.unwrap();
    assert_eq!((made.application.as_str(), made.algorithm.as_str()), ("portal", "EdDSA"));
    assert!(attempt("a-super", Some("portal"), "by-super").await.is_ok());
    assert_eq!(code(attempt("portal", None, "k").await), Code::AlreadyExists);
    assert_eq!(code(attempt("portal", None, "").await), Code::InvalidRequest);
    for (user, application) in
        [("a-ann", None), ("a-ann", Some("portal")), ("portal", Some("suite")), ("a-lead", Some("portal"))]
    {
        assert_eq!(code(attempt(user, application, "x").await), Code::NotPermitted, "{user}");
    }
    // Another organization's application is nowhere.
    let elsewhere = same_refusal(
        attempt("b-boss", Some("portal"), "x").await,
        attempt("b-boss", Some("nobody"), "x").await,
    );
    assert_eq!(elsewhere, Code::NotFound);
    let listed =
        gateway.list_signing_keys(&portal.world.call_as("a-boss").await, Some("portal")).await.unwrap();
    assert_eq!(listed.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(), ["k", "by-boss", "by-super"]);
    let own = gateway.list_signing_keys(&portal.world.call_as("portal").await, None).await.unwrap();
    assert_eq!(own, listed);
    for user in ["a-ann", "a-lead", "suite"] {
        let other = gateway.list_signing_keys(&portal.world.call_as(user).await, Some("portal")).await;
        assert_eq!(code(other), Code::NotPermitted, "{user}");
    }
    for n in listed.len()..MAX_KEYS {
        attempt("portal", None, &format!("k{n}")).await.unwrap();
    }
    assert_eq!(code(attempt("portal", None, "one-more").await), Code::InvalidRequest);
}

#[tokio::test]
async fn only_public_keys_are_taken() {
    let portal = Portal::open().await;
    let attempt = async |change: serde_json::Value| -> Result<(), Refused> {
        let mut public_key = Signer::ed25519().public_key();
        public_key.extend(change.as_object().unwrap().clone());
        let new = NewSigningKey { application: None, kid: None, public_key };
        portal.world.gateway.register_signing_key(&portal.world.call_as("portal").await, new).await.map(drop)
    };
    assert!(attempt(json!({ "kid": "own", "use": "sig", "alg": "EdDSA" })).await.is_ok());
    let private = attempt(json!({ "kid": "p", "d": "c2VjcmV0LXNlY3JldC1zZWNyZXQ" })).await.unwrap_err();
    assert_eq!(private.code, Code::InvalidRequest);
    assert!(!private.to_string().contains("c2VjcmV0"), "{private}");
    for bad in [
        json!({}),
        json!({ "kid": "" }),
        json!({ "kid": "x", "kty": "oct" }),
        json!({ "kid": "x", "alg": "none" }),
        json!({ "kid": "x", "x": "AA" }),
        json!({ "kid": "x", "x5c": "y".repeat(9_000) }),
    ] {
        assert_eq!(code(attempt(bad.clone()).await), Code::InvalidRequest, "{bad}");
    }
}

/// A key that was made and revoked over and over is what it is now, whatever was kept of it.
#[tokio::test]
async fn a_key_id_is_used_again_for_another_key() {
    let portal = Portal::open().await;
    let kid = KeyName::new("again").unwrap();
    let mut before: Option<String> = None;
    for _ in 0..5 {
        let signer = Signer::ed25519();
        register(&portal.world, "portal", "again", &signer).await.unwrap();
        let token = signer.token("again", &claims("portal", "a-t1", "pia", &nothing()));
        portal.present("portal", &token).await.unwrap();
        if let Some(before) = before.replace(token) {
            portal.declined("portal", &before).await;
        }
        let own = portal.world.call_as("portal").await;
        portal.world.gateway.revoke_signing_key(&own, None, &kid).await.unwrap();
        assert_eq!(code(portal.world.gateway.revoke_signing_key(&own, None, &kid).await), Code::NotFound);
    }
    portal.declined("portal", &before.unwrap()).await;
}
