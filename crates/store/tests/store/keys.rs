//! Access keys.

use ringfence_store::StoreError;
use ringfence_store::access_keys::KeyHash;
use secrecy::ExposeSecret as _;

use crate::world::{World, two_organizations, user_id};

pub(crate) async fn access_keys_are_found_by_hash(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let keys = store.access_keys();
    for (n, name) in ["zz", "aa", "mm"].iter().enumerate() {
        let secret = format!("secret-{name}").into();
        let made =
            keys.create(&user_id("ann"), &name.parse().unwrap(), &secret, i64::try_from(n).unwrap()).await;
        assert_eq!(made.unwrap().secret.expose_secret(), secret.expose_secret());
    }
    let listed = keys.list(&user_id("ann")).await.unwrap();
    let told: Vec<_> =
        listed.iter().map(|key| (key.name.as_str(), key.secret.expose_secret(), key.created_at)).collect();
    assert_eq!(told, [("zz", "secret-zz", 0), ("aa", "secret-aa", 1), ("mm", "secret-mm", 2)]);
    assert!(keys.list(&user_id("abe")).await.unwrap().is_empty());
    assert_eq!(keys.find(&KeyHash::of("secret-aa")).await.unwrap(), Some(user_id("ann")));
    for unknown in ["secret-AA", "", "secret-aa "] {
        assert_eq!(keys.find(&KeyHash::of(unknown)).await.unwrap(), None, "{unknown}");
    }
}

pub(crate) async fn access_keys_are_unique(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let keys = store.access_keys();
    let name = "n".parse().unwrap();
    keys.create(&user_id("ann"), &name, &"one".into(), 0).await.unwrap();
    let same_name = keys.create(&user_id("ann"), &name, &"two".into(), 0).await;
    assert!(matches!(same_name, Err(StoreError::Duplicate { what: "access key" })), "{same_name:?}");
    let same_secret = keys.create(&user_id("rob"), &name, &"one".into(), 0).await;
    assert!(matches!(same_secret, Err(StoreError::Duplicate { what: "access key" })), "{same_secret:?}");
    keys.create(&user_id("rob"), &name, &"two".into(), 0).await.unwrap();
    let nobody = keys.create(&user_id("none"), &name, &"three".into(), 0).await;
    assert!(matches!(nobody, Err(StoreError::Missing { what: "user" })), "{nobody:?}");
    assert_eq!(keys.find(&KeyHash::of("one")).await.unwrap(), Some(user_id("ann")));
}

pub(crate) async fn deleted_keys_are_gone(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let keys = store.access_keys();
    for (user, name, secret) in [("ann", "a", "1"), ("ann", "b", "2"), ("ann", "c", "3"), ("rob", "a", "4")] {
        keys.create(&user_id(user), &name.parse().unwrap(), &secret.into(), 0).await.unwrap();
    }
    let names = ["a", "unknown", "c", "a"].map(|name| name.parse().unwrap());
    assert_eq!(keys.delete(&user_id("ann"), &names).await.unwrap(), 2);
    assert_eq!(keys.delete(&user_id("ann"), &names).await.unwrap(), 0);
    assert_eq!(keys.delete(&user_id("ann"), &[]).await.unwrap(), 0);
    for (secret, owner) in [("1", None), ("2", Some("ann")), ("3", None), ("4", Some("rob"))] {
        assert_eq!(keys.find(&KeyHash::of(secret)).await.unwrap(), owner.map(user_id), "{secret}");
    }
}
