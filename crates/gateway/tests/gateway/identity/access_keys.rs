//! Access keys of the acting user.

use std::collections::HashSet;

use ringfence_gateway::Code;
use ringfence_gateway::access_keys::MAX_KEYS;
use secrecy::ExposeSecret;

use crate::world::{World, code, key_of};

#[tokio::test]
async fn keys_are_made_listed_and_used() {
    let world = World::new().await;
    let ann = world.call_as("a-ann").await;
    let made = world.gateway.create_access_key(&ann, "laptop").await.unwrap();
    assert_eq!((made.user.as_str(), made.name.as_str()), ("a-ann", "laptop"));
    assert!(made.created_at > 1_600_000_000_000, "milliseconds");
    let listed = world.gateway.list_access_keys(&ann).await.unwrap();
    let listed: Vec<_> =
        listed.iter().map(|key| (key.name.to_string(), key.secret.expose_secret().to_owned())).collect();
    let secret = made.secret.expose_secret().to_owned();
    assert_eq!(listed, [("first".to_owned(), key_of("a-ann")), ("laptop".to_owned(), secret.clone())]);
    let call = world.gateway.authenticate(&world.begin(), Some(&secret), None).await.unwrap();
    assert_eq!(call.principal().user.as_str(), "a-ann");
    // Compared with case.
    let upper = world.gateway.authenticate(&world.begin(), Some(&secret.to_uppercase()), None).await;
    assert_eq!(code(upper), Code::KeyUnknown);
}

#[tokio::test]
async fn secrets_are_long_and_never_alike() {
    let world = World::new().await;
    let ann = world.call_as("a-ann").await;
    let mut secrets = HashSet::new();
    for number in 0..20 {
        let made = world.gateway.create_access_key(&ann, &number.to_string()).await.unwrap();
        let secret = made.secret.expose_secret().to_owned();
        assert!(secret.starts_with("rf_") && secret.len() == 46, "{secret}");
        assert!(
            secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'),
            "{secret}"
        );
        assert!(secrets.insert(secret));
    }
}

#[tokio::test]
async fn a_name_is_taken_for_its_user_only() {
    let world = World::new().await;
    let (ann, abe, other) =
        (world.call_as("a-ann").await, world.call_as("a-abe").await, world.call_as("b-ann").await);
    assert_eq!(code(world.gateway.create_access_key(&ann, "first").await), Code::AlreadyExists);
    for call in [&ann, &abe, &other] {
        world.gateway.create_access_key(call, "laptop").await.unwrap();
    }
    for bad in ["", " ", "a\nb", &"x".repeat(256)] {
        assert_eq!(code(world.gateway.create_access_key(&ann, bad).await), Code::InvalidRequest, "{bad:?}");
    }
}

#[tokio::test]
async fn only_own_keys_are_deleted() {
    let world = World::new().await;
    let ann = world.call_as("a-ann").await;
    world.gateway.create_access_key(&world.call_as("a-abe").await, "abe's").await.unwrap();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(world.gateway.delete_access_keys(&ann, &names(&[])).await.unwrap(), 0);
    assert_eq!(
        world.gateway.delete_access_keys(&ann, &names(&["abe's", "", "none", "a\0"])).await.unwrap(),
        0
    );
    assert_eq!(world.gateway.delete_access_keys(&ann, &names(&["first", "first"])).await.unwrap(), 1);
    assert_eq!(world.gateway.list_access_keys(&world.call_as("a-abe").await).await.unwrap().len(), 2);
    assert_eq!(code(world.authenticate("a-ann", None).await), Code::KeyUnknown);
}

#[tokio::test]
async fn keys_need_their_permission_and_have_a_limit() {
    let world = World::new().await;
    // An administrator acts for one without the permission: the whole call runs as that user.
    let user = world.call_for("a-boss", "a-user").await;
    assert_eq!(code(world.gateway.create_access_key(&user, "new").await), Code::NotPermitted);
    assert_eq!(code(world.gateway.list_access_keys(&user).await), Code::NotPermitted);
    assert_eq!(
        code(world.gateway.delete_access_keys(&user, &["first".to_owned()]).await),
        Code::NotPermitted
    );
    let acting = world.call_for("a-boss", "a-ann").await;
    assert_eq!(world.gateway.list_access_keys(&acting).await.unwrap()[0].user.as_str(), "a-ann");
    let trial = world.call_as("a-trial-api").await;
    for number in 1..MAX_KEYS {
        world.gateway.create_access_key(&trial, &number.to_string()).await.unwrap();
    }
    assert_eq!(code(world.gateway.create_access_key(&trial, "too many").await), Code::InvalidRequest);
    assert_eq!(code(world.gateway.create_access_key(&trial, "first").await), Code::AlreadyExists);
}
