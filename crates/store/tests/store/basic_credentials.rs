//! Passwords of technical users: one for each, sealed, gone with their user, and told.

use ringfence_store::StoreError;
use ringfence_store::access_keys::KeyHash;
use ringfence_store::basic_credentials::StoredPassword;
use ringfence_store::changes::Change;
use secrecy::ExposeSecret as _;

use crate::world::{World, holds, org, told, two_organizations, user, user_id};

fn password(stamp: u8, hash: &str) -> StoredPassword {
    StoredPassword { stamp: KeyHash([stamp; 32]), hash: hash.into() }
}

pub(crate) async fn passwords_are_sealed_and_replaced(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let credentials = store.basic_credentials();
    let (ann, rob) = (user_id("ann"), user_id("rob"));
    assert!(credentials.put(&ann, &password(1, "hash-of-ann"), 10).await.unwrap());
    assert!(credentials.put(&rob, &password(2, "hash-of-rob"), 20).await.unwrap());
    let hash = async |of: &str| {
        let found = credentials.find(&user_id(of)).await.unwrap();
        found.map(|found| (found.stamp.0[0], found.hash.expose_secret().to_owned()))
    };
    assert_eq!(hash("ann").await, Some((1, "hash-of-ann".to_owned())));
    assert_eq!(hash("abe").await, None);
    assert!(!holds(&world.bytes().await, "hash-of-ann"));
    let mut news = store.subscribe();
    assert!(!credentials.put(&ann, &password(3, "another"), 30).await.unwrap());
    assert_eq!(told(&mut news).await, Change::Key(KeyHash([1; 32])));
    assert_eq!(credentials.holder(&KeyHash([1; 32])).await.unwrap(), None);
    assert_eq!(credentials.holder(&KeyHash([3; 32])).await.unwrap(), Some(ann.clone()));
    // A better hash of a password that is no longer the user's comes too late.
    credentials.upgrade(&ann, &password(1, "late")).await.unwrap();
    assert_eq!(hash("ann").await, Some((3, "another".to_owned())));
    credentials.upgrade(&ann, &password(3, "better")).await.unwrap();
    assert_eq!(hash("ann").await, Some((3, "better".to_owned())));
    let nobody = credentials.put(&user_id("nobody"), &password(9, "x"), 1).await;
    assert!(matches!(nobody, Err(StoreError::Missing { what: "user" })), "{nobody:?}");

    let names = async |of: Option<&str>| {
        let listed = credentials.list(of.map(org).as_ref()).await.unwrap();
        listed.into_iter().map(|one| (one.user.to_string(), one.changed_at)).collect::<Vec<_>>()
    };
    assert_eq!(names(None).await, [("ann".to_owned(), 30), ("rob".to_owned(), 20)]);
    assert_eq!(names(Some("rival")).await, [("rob".to_owned(), 20)]);
    assert_eq!(names(Some("none")).await, []);
}

pub(crate) async fn passwords_go_with_their_user(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let credentials = store.basic_credentials();
    let ann = user_id("ann");
    credentials.put(&ann, &password(1, "x"), 1).await.unwrap();
    let mut news = store.subscribe();
    assert_eq!(credentials.delete(&ann).await.unwrap(), Some(KeyHash([1; 32])));
    assert_eq!(told(&mut news).await, Change::Key(KeyHash([1; 32])));
    assert_eq!(credentials.delete(&ann).await.unwrap(), None);
    credentials.put(&ann, &password(2, "x"), 1).await.unwrap();
    let old = store.users().get(&ann).await.unwrap().unwrap();
    store.users().delete(&ann).await.unwrap();
    store.users().create(&user("ann", old.tenant.as_str(), old.org.as_str())).await.unwrap();
    assert!(credentials.find(&ann).await.unwrap().is_none(), "whoever gets the name next inherits nothing");
}

pub(crate) async fn individual_roles_are_replaced_and_told(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let roles = store.individual_roles();
    let ann = user_id("ann");
    let mut news = store.subscribe();
    roles.put(&ann, &["ROLE_A".to_owned()]).await.unwrap();
    assert_eq!(told(&mut news).await, Change::User(ann.clone()));
    assert_eq!(roles.get(&ann).await.unwrap(), Some(vec!["ROLE_A".to_owned()]));
    assert_eq!(roles.get(&user_id("nobody")).await.unwrap(), None);
    assert_eq!(roles.list(Some(&org("acme"))).await.unwrap().len(), 1);
    assert_eq!(roles.list(Some(&org("rival"))).await.unwrap(), []);
    roles.put(&ann, &[]).await.unwrap();
    assert_eq!(roles.list(None).await.unwrap(), []);
    let nobody = roles.put(&user_id("nobody"), &[]).await;
    assert!(matches!(nobody, Err(StoreError::Missing { what: "user" })), "{nobody:?}");
}
