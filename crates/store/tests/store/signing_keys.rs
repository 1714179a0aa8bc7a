//! Signing keys: found by application and id, gone with their application, and told.

use ringfence_store::StoreError;
use ringfence_store::changes::Change;
use ringfence_store::signing_keys::SigningKey;

use crate::world::{World, two_organizations, user, user_id};

fn key(application: &str, kid: &str, at: i64) -> SigningKey {
    SigningKey {
        application: user_id(application),
        kid: kid.parse().unwrap(),
        algorithm: "EdDSA".to_owned(),
        public_key: format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{application}-{kid}"}}"#),
        created_at: at,
    }
}

pub(crate) async fn signing_keys_are_an_applications_own(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let keys = store.signing_keys();
    let made = [key("ann", "zz", 3), key("ann", "aa", 2), key("rob", "aa", 1)];
    for key in &made {
        keys.create(key).await.unwrap();
    }
    assert_eq!(keys.list(&user_id("ann")).await.unwrap(), made[..2]);
    assert_eq!(keys.list(&user_id("abe")).await.unwrap(), []);
    let find = async |application: &str, kid: &str| {
        keys.find(&user_id(application), &kid.parse().unwrap()).await.unwrap()
    };
    assert_eq!(find("ann", "aa").await, Some(made[1].clone()));
    assert_eq!(find("rob", "aa").await, Some(made[2].clone()));
    assert_eq!(find("rob", "zz").await, None);
    assert_eq!(find("ann", "AA").await, None);
    let again = keys.create(&key("ann", "aa", 9)).await;
    assert!(matches!(again, Err(StoreError::Duplicate { what: "signing key" })), "{again:?}");
    let nobody = keys.create(&key("none", "aa", 9)).await;
    assert!(matches!(nobody, Err(StoreError::Missing { what: "user" })), "{nobody:?}");
}

pub(crate) async fn signing_keys_go_and_are_told(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let keys = store.signing_keys();
    let mut news = store.subscribe();
    let kid = "k".parse().unwrap();
    keys.create(&key("ann", "k", 1)).await.unwrap();
    assert_eq!(news.recv().await.unwrap(), Change::User(user_id("ann")));
    assert!(!keys.delete(&user_id("rob"), &kid).await.unwrap(), "another's key");
    assert!(keys.delete(&user_id("ann"), &kid).await.unwrap());
    assert_eq!(news.recv().await.unwrap(), Change::User(user_id("ann")));
    assert!(!keys.delete(&user_id("ann"), &kid).await.unwrap());
    assert_eq!(keys.find(&user_id("ann"), &kid).await.unwrap(), None);

    keys.create(&key("ann", "k", 1)).await.unwrap();
    let ann = store.users().get(&user_id("ann")).await.unwrap().unwrap();
    store.users().delete(&ann.id).await.unwrap();
    store.users().create(&user("ann", ann.tenant.as_str(), ann.org.as_str())).await.unwrap();
    assert_eq!(keys.list(&user_id("ann")).await.unwrap(), [], "whoever gets the name next inherits nothing");
}
