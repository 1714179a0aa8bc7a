//! Policies: versions that are added and never changed.

use ringfence_store::changes::Change;
use ringfence_store::policies::{Expected, Guarding, PolicyDraft, PolicyPlace};
use ringfence_store::{Store, StoreError};

use crate::world::{World, org, two_organizations, user_id};

fn place(org_id: &str, text: &str) -> PolicyPlace {
    PolicyPlace { org: org(org_id), place: text.to_owned() }
}

fn draft(text: &str) -> PolicyDraft {
    PolicyDraft {
        document: text.to_owned(),
        author: user_id("ann"),
        comment: (text == "two").then(|| "why not".to_owned()),
        created_at: 17,
        footprint: (text == "two").then(|| "{}".to_owned()),
        removed: text.is_empty(),
    }
}

async fn current(store: &Store, place: &PolicyPlace) -> Option<(i64, String)> {
    match store.policies().current(place).await.unwrap() {
        Guarding::Guarded(version) => Some((version.version, version.document)),
        Guarding::Open | Guarding::Lost => None,
    }
}

pub(crate) async fn versions_are_added(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let (shop, policies) = (place("acme", "shop"), store.policies());
    assert_eq!(policies.current(&shop).await.unwrap(), Guarding::Open);
    assert_eq!(policies.history(&shop).await.unwrap(), []);
    assert_eq!(policies.put(&shop, Expected::None, &draft("one")).await.unwrap(), 1);
    assert_eq!(policies.put(&shop, Expected::Version(1), &draft("two")).await.unwrap(), 2);
    assert_eq!(policies.put(&shop, Expected::Any, &draft("three")).await.unwrap(), 3);
    for stale in [Expected::None, Expected::Version(2), Expected::Version(4), Expected::Version(0)] {
        let refused = policies.put(&shop, stale, &draft("stale")).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{stale:?}: {refused:?}");
    }
    assert_eq!(current(&store, &shop).await, Some((3, "three".to_owned())));
    let history = policies.history(&shop).await.unwrap();
    let told: Vec<_> = history.iter().map(|entry| (entry.version, entry.document.as_str())).collect();
    assert_eq!(told, [(3, "three"), (2, "two"), (1, "one")]);
    assert_eq!(history[1].comment.as_deref(), Some("why not"));
    assert_eq!((history[1].author.as_str(), history[1].created_at), ("ann", 17));
    assert_eq!(policies.version(&shop, 2).await.unwrap().as_ref(), Some(&history[1]));
    assert_eq!(policies.version(&shop, 4).await.unwrap(), None);
}

pub(crate) async fn policies_bind_one_place_of_one_organization(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    store.policies().put(&place("acme", "shop"), Expected::None, &draft("one")).await.unwrap();
    for other in [place("rival", "shop"), place("acme", "shop2"), place("acm", "eshop")] {
        assert_eq!(store.policies().current(&other).await.unwrap(), Guarding::Open);
    }
    let missing = store.policies().put(&place("nobody", "shop"), Expected::Any, &draft("one")).await;
    assert!(matches!(missing, Err(StoreError::Missing { what: "organization" })), "{missing:?}");
}

pub(crate) async fn versions_are_never_changed(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    store.policies().put(&place("acme", "shop"), Expected::None, &draft("one")).await.unwrap();
    assert!(world.try_raw("UPDATE policies SET document = 'other'").await.is_err());
    assert_eq!(current(&store, &place("acme", "shop")).await, Some((1, "one".to_owned())));
}

pub(crate) async fn a_lost_version_is_not_an_open_place(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    store.policies().put(&place("acme", "shop"), Expected::None, &draft("one")).await.unwrap();
    world.raw("DELETE FROM policies").await;
    assert_eq!(store.policies().current(&place("acme", "shop")).await.unwrap(), Guarding::Lost);
}

pub(crate) async fn a_removed_policy_leaves_its_history(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let (shop, policies) = (place("acme", "shop"), store.policies());
    policies.put(&shop, Expected::None, &draft("two")).await.unwrap();
    assert_eq!(policies.put(&shop, Expected::Version(1), &draft("")).await.unwrap(), 2);
    assert_eq!(policies.current(&shop).await.unwrap(), Guarding::Open);
    let history = policies.history(&shop).await.unwrap();
    let told: Vec<_> = history.iter().map(|entry| (entry.version, entry.removed)).collect();
    assert_eq!(told, [(2, true), (1, false)]);
    assert_eq!(history[1].footprint.as_deref(), Some("{}"));
    // There is none, and the versions go on.
    let stale = policies.put(&shop, Expected::Version(1), &draft("one")).await;
    assert!(matches!(stale, Err(StoreError::Conflict { .. })), "{stale:?}");
    assert_eq!(policies.put(&shop, Expected::None, &draft("one")).await.unwrap(), 3);
    assert_eq!(current(&store, &shop).await, Some((3, "one".to_owned())));
    // The version that counts being lost is not its having been removed.
    policies.put(&shop, Expected::Any, &draft("")).await.unwrap();
    world.raw("DELETE FROM policies WHERE version = 4").await;
    assert_eq!(policies.current(&shop).await.unwrap(), Guarding::Lost);
}

pub(crate) async fn concurrent_versions_have_one_winner(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let (node, shop) = (world.open().await, place("acme", "shop"));
    for version in 0..5 {
        let expected = if version == 0 { Expected::None } else { Expected::Version(version) };
        let (here, there) = (store.policies(), node.policies());
        let (first, second) = (draft("here"), draft("there"));
        let (one, other) =
            tokio::join!(here.put(&shop, expected, &first), there.put(&shop, expected, &second));
        assert!(one.is_ok() != other.is_ok(), "exactly one of two nodes wins: {one:?} {other:?}");
        let winner = if one.is_ok() { "here" } else { "there" };
        assert_eq!(current(&store, &shop).await, Some((version + 1, winner.to_owned())));
    }
}

pub(crate) async fn policies_go_with_their_organization_and_are_told(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let mut news = store.subscribe();
    let shop = place("empty", "shop");
    store.organizations().create(&crate::world::organization("empty")).await.unwrap();
    store.policies().put(&shop, Expected::None, &draft("one")).await.unwrap();
    // What was committed has been told.
    let mut told = Vec::new();
    while let Ok(change) = news.try_recv() {
        told.push(change);
    }
    assert!(told.contains(&Change::Policy(shop.id())), "{told:?}");
    store.organizations().delete(&org("empty")).await.unwrap();
    assert_eq!(store.policies().current(&shop).await.unwrap(), Guarding::Open);
    assert_eq!(store.policies().history(&shop).await.unwrap(), []);
}

pub(crate) async fn mask_keys_are_stable_and_differ(world: World) {
    let (store, node) = (world.open().await, world.open().await);
    let tenant = crate::world::tenant_id;
    let key = store.mask_key(&org("acme"), &tenant("acme-1"));
    assert_eq!(key, node.mask_key(&org("acme"), &tenant("acme-1")));
    assert_eq!(key.len(), 64);
    for other in [("acme", "acme-2"), ("rival", "acme-1"), ("acm", "eacme-1")] {
        assert_ne!(key, store.mask_key(&org(other.0), &tenant(other.1)), "{other:?}");
    }
}
