//! The first administrator and its key.

use ringfence_gateway::{Code, Gateway, GatewayConfig};
use ringfence_policy::{Role, UserId};
use ringfence_store::users::UserChange;
use secrecy::ExposeSecret;

use crate::world::{ROOT, ROOT_KEY, World, begin, code, config};

fn with_key(key: Option<&str>) -> GatewayConfig {
    let mut config = config();
    config.admin.key = key.map(Into::into);
    config
}

async fn works(gateway: &Gateway, key: &str) -> bool {
    gateway.authenticate(&begin(gateway), Some(key), None).await.is_ok()
}

#[tokio::test]
async fn the_configured_key_works_at_every_start() {
    let world = World::new().await;
    let (again, made) = world.open_again(world.config.clone()).await.unwrap();
    assert!(made.admin_key.is_none());
    assert!(works(&again, ROOT_KEY).await);
    let root = world.call_as(ROOT).await;
    assert_eq!(root.principal().roles, [Role::SuperAdminUser]);
    let keys = world.gateway.list_access_keys(&root).await.unwrap();
    assert_eq!(keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["default"]);
}

#[tokio::test]
async fn a_changed_key_replaces_the_old_one() {
    let world = World::new().await;
    let root = world.call_as(ROOT).await;
    world.gateway.create_access_key(&root, "mine").await.unwrap();
    let (changed, _) = world.open_again(with_key(Some("another"))).await.unwrap();
    assert!(works(&changed, "another").await);
    assert!(!works(&changed, ROOT_KEY).await);
    let keys = world.gateway.list_access_keys(&root).await.unwrap();
    assert_eq!(keys.len(), 2, "keys that were not configured stay");
    // Without one in the configuration everything stays.
    let (silent, made) = world.open_again(with_key(None)).await.unwrap();
    assert!(made.admin_key.is_none());
    assert!(works(&silent, "another").await);
}

#[tokio::test]
async fn a_key_of_someone_else_is_not_taken() {
    let world = World::new().await;
    let opened = world.open_again(with_key(Some(&crate::world::key_of("a-ann")))).await;
    assert_eq!(code(opened), Code::AlreadyExists);
    assert_eq!(world.call_as("a-ann").await.principal().user.as_str(), "a-ann");
    assert!(works(&world.gateway, ROOT_KEY).await, "nothing was changed");
}

#[tokio::test]
async fn a_key_is_made_once_when_none_is_configured() {
    let world = World::new().await;
    let admin = |config: &mut GatewayConfig| {
        config.admin.user = "other-root".to_owned();
        config.admin.key = Some("".into());
    };
    let mut config = config();
    admin(&mut config);
    let (gateway, made) = world.open_again(config.clone()).await.unwrap();
    let key = made.admin_key.unwrap();
    assert!(works(&gateway, key.expose_secret()).await);
    let (_, made) = world.open_again(config).await.unwrap();
    assert!(made.admin_key.is_none(), "shown once");
}

#[tokio::test]
async fn two_nodes_start_at_once() {
    let world = World::new().await;
    for key in [Some("new key"), None] {
        let mut config = with_key(key);
        config.admin.org = format!("fresh-{}", key.is_some());
        config.admin.tenant = config.admin.org.clone();
        config.admin.user = config.admin.org.clone();
        let (one, two) = tokio::join!(world.open_again(config.clone()), world.open_again(config.clone()));
        let shown = [one.unwrap().1, two.unwrap().1].iter().filter(|made| made.admin_key.is_some()).count();
        assert_eq!(shown, usize::from(key.is_none()));
    }
}

#[tokio::test]
async fn an_administrator_who_was_demoted_is_left_alone() {
    let world = World::new().await;
    let root = UserId::new(ROOT).unwrap();
    let change = UserChange { roles: Some(vec![Role::ApiUser]), ..UserChange::default() };
    world.store.users().update(&root, &change).await.unwrap();
    world.open_again(world.config.clone()).await.unwrap();
    assert_eq!(world.store.users().get(&root).await.unwrap().unwrap().roles, [Role::ApiUser]);
}
