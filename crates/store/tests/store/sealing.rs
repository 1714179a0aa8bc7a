//! Secrets at rest, the sealing key and its file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use ringfence_store::access_keys::KeyHash;
use ringfence_store::audit::ChainVerdict;
use ringfence_store::basic_credentials::StoredPassword;
use ringfence_store::{SealingKey, Store, StoreError, open_with_key_file, rotate_key_file};
use secrecy::ExposeSecret as _;

use crate::world::{World, connect, holds, key, two_organizations, user_id};

const SECRET: &str = "super-secret-access-key-0815";

async fn fill(store: &Store) {
    two_organizations(store).await;
    store.access_keys().create(&user_id("ann"), &"laptop".parse().unwrap(), &SECRET.into(), 7).await.unwrap();
    connect(store, "ann", "acme", &["c", "d"]).await;
}

/// The secrets can be read with this store.
async fn reads(store: &Store) -> Result<(), StoreError> {
    assert_eq!(store.access_keys().list(&user_id("ann")).await?[0].secret.expose_secret(), SECRET);
    let connection = store.connections().get(&user_id("ann"), &key("c")).await?.unwrap();
    assert_eq!(connection.password.unwrap().expose_secret(), "password of c");
    let verdict = store.audit().verify(&|_, _| ()).await?;
    assert!(matches!(verdict, ChainVerdict::Intact { .. }), "{verdict:?}");
    Ok(())
}

pub(crate) async fn secrets_are_not_in_the_database(world: World) {
    let store = world.open().await;
    fill(&store).await;
    reads(&store).await.unwrap();
    let bytes = world.bytes().await;
    assert!(holds(&bytes, "laptop") && holds(&bytes, "target of c"), "the search finds what is not sealed");
    for secret in [SECRET, "password of c", "password of d", world.key.to_base64().expose_secret()] {
        assert!(!holds(&bytes, secret), "{secret}");
    }
}

pub(crate) async fn a_wrong_key_is_told(world: World) {
    fill(&world.open().await).await;
    let wrong = Store::open(&world.location, SealingKey::generate()).await;
    assert!(matches!(wrong, Err(StoreError::WrongSealingKey)));
    reads(&world.open().await).await.unwrap();
}

pub(crate) async fn rotation_reaches_every_sealed_value(world: World) {
    let store = world.open().await;
    fill(&store).await;
    let many: Vec<String> = (0..1_050).map(|n| format!("many{n}")).collect();
    connect(&store, "abe", "acme", &many.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let password = StoredPassword { stamp: KeyHash([1; 32]), hash: "hash of a password".into() };
    store.basic_credentials().put(&user_id("ann"), &password, 1).await.unwrap();
    let new_key = SealingKey::generate();
    assert_eq!(store.rotate_sealing_key(new_key.clone()).await.unwrap(), 1 + 2 + 1_050 + 1 + 1);
    reads(&store).await.unwrap();
    store.access_keys().create(&user_id("rob"), &"n".parse().unwrap(), &"after".into(), 0).await.unwrap();
    assert!(matches!(
        Store::open(&world.location, world.key.clone()).await,
        Err(StoreError::WrongSealingKey)
    ));
    let reopened = Store::open(&world.location, new_key).await.unwrap();
    reads(&reopened).await.unwrap();
    assert_eq!(
        reopened.access_keys().list(&user_id("rob")).await.unwrap()[0].secret.expose_secret(),
        "after"
    );
    assert_eq!(reopened.connections().list(&user_id("abe")).await.unwrap().len(), 1_050);
    let password = reopened.basic_credentials().find(&user_id("ann")).await.unwrap().unwrap();
    assert_eq!(password.hash.expose_secret(), "hash of a password");
}

pub(crate) async fn a_sealed_value_opens_in_no_other_row(world: World) {
    let store = world.open().await;
    fill(&store).await;
    world.raw("UPDATE connections SET password = (SELECT password FROM connections WHERE key = 'c') WHERE key = 'd'").await;
    let moved = store.connections().get(&user_id("ann"), &key("d")).await;
    assert!(matches!(moved, Err(StoreError::Corrupt(_))), "{moved:?}");
    world.raw("UPDATE connections SET user_id = 'rob' WHERE key = 'c'").await;
    let moved = store.connections().get(&user_id("rob"), &key("c")).await;
    assert!(matches!(moved, Err(StoreError::Corrupt(_))), "{moved:?}");
}

pub(crate) async fn sealing_under_a_stale_key_is_refused(world: World) {
    let (stale, store) = (world.open().await, world.open().await);
    fill(&store).await;
    store.rotate_sealing_key(SealingKey::generate()).await.unwrap();
    let name = "new".parse().unwrap();
    let refused = stale.access_keys().create(&user_id("ann"), &name, &"x".into(), 0).await;
    assert!(matches!(refused, Err(StoreError::WrongSealingKey)), "{refused:?}");
    assert!(matches!(reads(&stale).await, Err(StoreError::WrongSealingKey)));
    let refused = stale.rotate_sealing_key(SealingKey::generate()).await;
    assert!(matches!(refused, Err(StoreError::WrongSealingKey)), "{refused:?}");
    reads(&store).await.unwrap();
}

pub(crate) async fn a_rotation_cut_short_anywhere_is_ended(world: World) {
    let path = world.directory.path().join("sealing.key");
    let next = world.directory.path().join("sealing.key.next");
    let store = open_with_key_file(&world.location, &path).await.unwrap();
    fill(&store).await;

    // Killed before the new key was whole: the draft is nothing.
    fs::write(world.directory.path().join("sealing.key.next.1234.draft"), "half").unwrap();
    reads(&open_with_key_file(&world.location, &path).await.unwrap()).await.unwrap();
    // Killed when the new key was durable and nothing was sealed with it.
    drop(SealingKey::load_or_create(&next).unwrap());
    let prepared = fs::read_to_string(&next).unwrap();
    let store = open_with_key_file(&world.location, &path).await.unwrap();
    reads(&store).await.unwrap();
    // Run again, it goes on with the prepared key.
    let old = fs::read_to_string(&path).unwrap();
    rotate_key_file(&store, &path).await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), prepared);
    assert!(!next.exists());
    reads(&store).await.unwrap();
    reads(&open_with_key_file(&world.location, &path).await.unwrap()).await.unwrap();

    // Killed when the store was sealed again and the file not yet in place.
    fs::rename(&path, &next).unwrap();
    fs::write(&path, old).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let store = open_with_key_file(&world.location, &path).await.unwrap();
    reads(&store).await.unwrap();
    assert_eq!((fs::read_to_string(&path).unwrap(), next.exists()), (prepared, false));

    // A key file that is not the store's is never rotated away.
    let other = world.directory.path().join("other.key");
    drop(SealingKey::load_or_create(&other).unwrap());
    assert!(matches!(rotate_key_file(&store, &other).await, Err(StoreError::SealingKey(_))));
    reads(&open_with_key_file(&world.location, &path).await.unwrap()).await.unwrap();
}

pub(crate) async fn key_files_are_made_and_guarded(world: World) {
    let path = world.directory.path().join("sealing.key");
    let first = SealingKey::load_or_create(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let loaded = SealingKey::load_or_create(&path).unwrap();
    assert_eq!(first.to_base64().expose_secret(), loaded.to_base64().expose_secret());
    for open in [0o640, 0o604, 0o644] {
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
        assert!(matches!(SealingKey::load_or_create(&path), Err(StoreError::SealingKey(_))), "{open:o}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for content in ["", "short", &"A".repeat(5_000)] {
        fs::write(&path, content).unwrap();
        assert!(matches!(SealingKey::load_or_create(&path), Err(StoreError::SealingKey(_))), "{content}");
    }
    let missing = world.directory.path().join("none").join("sealing.key");
    assert!(matches!(SealingKey::load_or_create(&missing), Err(StoreError::SealingKey(_))));

    // A store that was sealed elsewhere gets no new key file that opens nothing.
    drop(world.open().await);
    let fresh = world.directory.path().join("fresh.key");
    assert!(matches!(open_with_key_file(&world.location, &fresh).await, Err(StoreError::WrongSealingKey)));
    assert!(!fresh.exists());
}
