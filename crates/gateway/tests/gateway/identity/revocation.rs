//! A request that starts after a change was answered sees the change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ringfence_gateway::Code;
use ringfence_gateway::users::UserSpec;
use ringfence_policy::Permission;

use crate::world::{ROOT, World, begin, code, eventually, key_of};

#[tokio::test]
async fn a_deleted_key_is_unknown_at_once() {
    let world = World::new().await;
    let ann = world.call_as("a-ann").await;
    let second = world.gateway.create_access_key(&ann, "second").await.unwrap();
    let secret = secrecy::ExposeSecret::expose_secret(&second.secret).to_owned();
    let with_second = async || world.gateway.authenticate(&world.begin(), Some(&secret), None).await;
    assert_eq!(with_second().await.unwrap().principal().user.as_str(), "a-ann");
    assert_eq!(world.gateway.delete_access_keys(&ann, &["second".to_owned()]).await.unwrap(), 1);
    assert_eq!(code(with_second().await), Code::KeyUnknown);
    assert!(world.authenticate("a-ann", None).await.is_ok(), "the other key still works");
}

#[tokio::test]
async fn a_deleted_user_is_gone_at_once_and_inherits_nothing() {
    let world = World::new().await;
    let boss = world.call_as("a-boss").await;
    world.call_as("a-ann").await;
    world.call_for("a-boss", "a-ann").await;
    world.gateway.delete_user(&boss, "a-ann").await.unwrap();
    assert_eq!(code(world.authenticate("a-ann", None).await), Code::KeyUnknown);
    assert_eq!(code(world.authenticate("a-boss", Some("a-ann")).await), Code::ImpersonationDenied);
    world
        .gateway
        .create_user(&boss, UserSpec { id: "a-ann".to_owned(), ..UserSpec::default() })
        .await
        .unwrap();
    // The new one can be acted for at once, and the old one's key is not its key.
    assert!(world.authenticate("a-boss", Some("a-ann")).await.is_ok());
    assert_eq!(code(world.authenticate("a-ann", None).await), Code::KeyUnknown);
}

#[tokio::test]
async fn changed_roles_count_at_once() {
    let world = World::new().await;
    let boss = world.call_as("a-boss").await;
    let roles =
        |role: &str| UserSpec { id: "a-ann".to_owned(), roles: vec![role.to_owned()], ..UserSpec::default() };
    assert!(!world.call_as("a-ann").await.principal().may(Permission::PushDatabases));
    world.gateway.update_user(&boss, roles("admin-user")).await.unwrap();
    assert!(world.call_as("a-ann").await.principal().may(Permission::PushDatabases));
    world.gateway.update_user(&boss, roles("waii-user")).await.unwrap();
    assert_eq!(code(world.authenticate("a-ann", None).await), Code::NotPermitted);
}

#[tokio::test]
async fn another_node_hears_of_it() {
    let world = World::new().await;
    let (other, _) = world.open_again(world.config.clone()).await.unwrap();
    let at_other = async || other.authenticate(&begin(&other), Some(&key_of("a-ann")), None).await;
    assert!(at_other().await.is_ok());
    let root = world.call_as(ROOT).await;
    world.gateway.delete_user(&root, "a-ann").await.unwrap();
    eventually(async || at_other().await.is_err().then_some(())).await;
}

/// Readers keep filling the cache while roles change: a reading that began before a change must never outlive it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_reading_outlives_a_change() {
    let world = Arc::new(World::new().await);
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (world, done) = (world.clone(), done.clone());
            tokio::spawn(async move {
                // One log for all: the subject is the cache, and records would keep the store busy.
                let log = world.begin();
                while !done.load(Ordering::Relaxed) {
                    let _ = world.gateway.authenticate(&log, Some(&key_of("a-ann")), None).await;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let boss = world.call_as("a-boss").await;
    for round in 0..100 {
        let (role, may) = if round % 2 == 0 { ("admin-user", true) } else { ("api-user", false) };
        let change = UserSpec { id: "a-ann".to_owned(), roles: vec![role.to_owned()], ..UserSpec::default() };
        world.gateway.update_user(&boss, change).await.unwrap();
        for _ in 0..3 {
            let call = world.call_as("a-ann").await;
            assert_eq!(call.principal().may(Permission::PushDatabases), may, "round {round}");
        }
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn a_suspended_tenant_gets_in_nowhere() {
    let world = World::new().await;
    let root = world.call_as(ROOT).await;
    assert!(world.authenticate("a-ann", None).await.is_ok());
    assert_eq!(world.gateway.suspend_tenant(&root, "a-t1").await, Ok(true));
    assert_eq!(world.gateway.suspend_tenant(&root, "a-t1").await, Ok(false));
    for _ in 0..2 {
        for user in ["a-ann", "a-boss", "a-super"] {
            assert_eq!(code(world.authenticate(user, None).await), Code::TenantSuspended, "{user}");
        }
        assert_eq!(code(world.authenticate(ROOT, Some("a-ann")).await), Code::TenantSuspended);
        assert!(world.authenticate("a-abe", None).await.is_ok(), "another tenant");
    }
    // Another node that opens the store later knows it, too.
    let (other, _) = world.open_again(world.config.clone()).await.unwrap();
    let asked = other.authenticate(&begin(&other), Some(&key_of("a-ann")), None).await;
    assert_eq!(code(asked), Code::TenantSuspended);
    let own = world.gateway.suspend_tenant(&root, "my_tenant_id").await;
    assert_eq!(code(own), Code::InvalidRequest, "the administrator's own");
    let elsewhere = world.gateway.suspend_tenant(&world.call_as("b-boss").await, "a-t2").await;
    assert_eq!(code(elsewhere), Code::NotFound);
    assert_eq!(world.gateway.resume_tenant(&root, "a-t1").await, Ok(true));
    assert!(world.authenticate("a-ann", None).await.is_ok());
}
