//! Databases that are away, slow or read-only, and what is said about it.

use std::time::Duration;

use ringfence_policy::Attributes;
use ringfence_store::changes::Change;
use ringfence_store::{SealingKey, Store, StoreError, StoreLocation};
use ringfence_testkit::Postgres;
use tokio::time::timeout;

use crate::world::{World, deadline, org, organization};

async fn own_server() -> (Postgres, StoreLocation) {
    let server = Postgres::start().await;
    server.create_database("store", "ringfence", "s3cret").await;
    let location = StoreLocation::Postgres(server.url("ringfence", "s3cret", "store").into());
    (server, location)
}

fn assert_unavailable<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    let Err(StoreError::Unavailable(why)) = outcome else { panic!("not unavailable: {outcome:?}") };
    for secret in ["s3cret", "127.0.0.1", "ringfence"] {
        assert!(!why.contains(secret), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_outlives_a_crash_of_its_server() {
    let (server, location) = own_server().await;
    let store = Store::open(&location, SealingKey::generate()).await.unwrap();
    store.organizations().create(&organization("acme")).await.unwrap();
    let mut news = store.subscribe();
    server.stop();
    assert_unavailable(store.organizations().create(&organization("lost")).await);
    assert_unavailable(store.ping().await);
    server.restart().await;
    // At the first try: connections that died in the pool are replaced.
    store.organizations().create(&organization("after")).await.unwrap();
    assert_eq!(store.organizations().list().await.unwrap().len(), 2);
    let told =
        timeout(Duration::from_secs(5), async { while news.recv().await.unwrap() != Change::Everything {} });
    assert!(told.await.is_ok(), "after a gap no copy is to be trusted");

    let other = Store::open(&location, SealingKey::generate()).await;
    assert!(matches!(other, Err(StoreError::WrongSealingKey)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_given_up() {
    let (server, location) = own_server().await;
    let store = Store::open(&location, SealingKey::generate()).await.unwrap();
    server.pause();
    let outcome = timeout(Duration::from_secs(25), store.organizations().create(&organization("acme"))).await;
    assert_unavailable(outcome.expect("it gives up before its caller does"));
    server.resume();
    let limit = deadline();
    while store.ping().await.is_err() {
        assert!(std::time::Instant::now() < limit, "it does not come back");
    }
    assert_eq!(store.organizations().get(&org("acme")).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_an_address_is_told_without_it() {
    let (server, _) = own_server().await;
    let port = server.port();
    let cases = [
        format!("postgresql://ringfence:s3cretx@127.0.0.1:{port}/store"),
        format!("postgresql://ringfence:s3cret@127.0.0.1:{port}/other"),
        format!("postgresql://ringfence:s3cret@127.0.0.1:{port}/store?sslmode=require"),
        "postgresql://ringfence:s3cret@127.0.0.1:1/store".to_owned(),
        "ringfence:s3cret@127.0.0.1".to_owned(),
    ];
    for url in cases {
        let outcome = Store::open(&StoreLocation::Postgres(url.into()), SealingKey::generate()).await;
        assert_unavailable(outcome.map(|_| ()));
    }
}

#[tokio::test]
async fn files_that_are_no_store_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let missing = StoreLocation::Sqlite(directory.path().join("none").join("store.db"));
    assert_unavailable(Store::open(&missing, SealingKey::generate()).await.map(|_| ()));
    let garbage = directory.path().join("garbage.db");
    std::fs::write(&garbage, "this is no database, however long it may be ".repeat(100)).unwrap();
    let outcome = Store::open(&StoreLocation::Sqlite(garbage), SealingKey::generate()).await;
    assert!(matches!(outcome.map(|_| ()), Err(StoreError::Corrupt(_))));
}

/// A full disk in mid-transaction: nothing of the transaction stays, and the store goes on when there is room again.
#[tokio::test]
async fn a_full_database_leaves_nothing_half_written() {
    let world = World::sqlite();
    let store = world.open().await;
    let StoreLocation::Sqlite(path) = &world.location else { unreachable!() };
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "the file is its owner's alone");

    // A trigger that fails stands for whatever the database may refuse after the first statements went through.
    world
        .raw("CREATE TRIGGER refuse BEFORE INSERT ON tenants BEGIN SELECT RAISE(ROLLBACK, 'full'); END")
        .await;
    store.organizations().create(&organization("acme")).await.unwrap();
    let refused = store.tenants().create(&crate::world::tenant("t", "acme")).await;
    assert!(refused.is_err());
    store.organizations().update(&org("acme"), Some("on it goes"), Some(&Attributes::new())).await.unwrap();
    assert_eq!(store.tenants().list(&org("acme")).await.unwrap(), []);
}
