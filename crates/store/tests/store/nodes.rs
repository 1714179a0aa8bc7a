//! Several nodes on one store: starting at once, hearing of changes, calls that nobody waits for any more.

use std::time::Duration;

use ringfence_store::access_keys::KeyHash;
use ringfence_store::changes::Change;
use ringfence_store::users::UserChange;
use ringfence_store::{Store, StoreError};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

use crate::world::{
    World, connect, deadline, org, organization, tenant_id, two_organizations, user, user_id,
};

pub(crate) async fn nodes_that_start_at_once_agree(world: World) {
    let mut nodes = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (location, key) = (world.location.clone(), world.key.clone());
        nodes.spawn(async move { Store::open(&location, key).await });
    }
    let mut opened = 0;
    while let Some(node) = nodes.join_next().await {
        node.unwrap().unwrap().ping().await.unwrap();
        opened += 1;
    }
    assert_eq!(opened, 6);
}

pub(crate) async fn a_newer_schema_is_refused(world: World) {
    drop(world.open().await);
    world.raw("INSERT INTO schema_version (version) VALUES (4711)").await;
    let refused = Store::open(&world.location, world.key.clone()).await;
    assert!(matches!(refused, Err(StoreError::NewerSchema { found: 4711, .. })));
}

/// Waits until the change is heard, passing over others.
async fn hear(receiver: &mut Receiver<Change>, wanted: &Change) {
    let heard = timeout(Duration::from_secs(5), async { while receiver.recv().await.unwrap() != *wanted {} });
    assert!(heard.await.is_ok(), "{wanted:?} was not heard");
}

pub(crate) async fn changes_are_told_here(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let mut news = store.subscribe();
    let ann = user_id("ann");
    store.users().update(&ann, &UserChange::default()).await.unwrap();
    hear(&mut news, &Change::User(ann.clone())).await;
    store.organizations().update(&org("acme"), None, None).await.unwrap();
    hear(&mut news, &Change::Directory).await;
    store.tenants().update(&tenant_id("acme-1"), None, None).await.unwrap();
    hear(&mut news, &Change::Directory).await;
    let name = "k".parse().unwrap();
    for secret in ["one", "two"] {
        store.access_keys().create(&ann, &name, &secret.into(), 0).await.unwrap();
        store.access_keys().delete(&ann, std::slice::from_ref(&name)).await.unwrap();
        hear(&mut news, &Change::Key(KeyHash::of(secret))).await;
    }
    store.access_keys().create(&ann, &name, &"three".into(), 0).await.unwrap();
    let source = connect(&store, "ann", "acme", &["c"]).await[0];
    hear(&mut news, &Change::Source(source)).await;
    store.annotations().put(source, 0, &ringfence_store::annotations::Annotations::default()).await.unwrap();
    hear(&mut news, &Change::Source(source)).await;
    store.sources().set_filters(source, &[], &[]).await.unwrap();
    hear(&mut news, &Change::Source(source)).await;
    store.users().delete(&ann).await.unwrap();
    hear(&mut news, &Change::Source(source)).await;
    hear(&mut news, &Change::Key(KeyHash::of("three"))).await;
    hear(&mut news, &Change::User(ann)).await;

    let refused = store.users().create(&user("abe", "acme-1", "acme")).await;
    assert!(refused.is_err());
    store.users().create(&user("end", "acme-1", "acme")).await.unwrap();
    loop {
        match timeout(Duration::from_secs(5), news.recv()).await.unwrap().unwrap() {
            Change::User(heard) if heard == user_id("end") => break,
            heard => assert_eq!(heard, Change::Everything, "what was refused is not told"),
        }
    }
}

pub(crate) async fn changes_are_told_to_other_nodes(world: World) {
    let (here, there) = (world.open().await, world.open().await);
    two_organizations(&here).await;
    let mut news = there.subscribe();
    let wanted = if world.is_postgres() { Change::User(user_id("ann")) } else { Change::Everything };
    // The listening connection may still be on its way at first; so it is told again until it hears.
    let limit = deadline();
    loop {
        here.users().update(&user_id("ann"), &UserChange::default()).await.unwrap();
        let told = timeout(Duration::from_secs(1), async { while news.recv().await.unwrap() != wanted {} });
        if told.await.is_ok() {
            break;
        }
        assert!(std::time::Instant::now() < limit, "nothing was heard");
    }
    // From now on once is enough. (It takes milliseconds; what the test may take is another matter.)
    let source = connect(&here, "ann", "acme", &["c"]).await[0];
    let wanted = if world.is_postgres() { Change::Source(source) } else { Change::Everything };
    let told = timeout(Duration::from_secs(30), async { while news.recv().await.unwrap() != wanted {} });
    assert!(told.await.is_ok(), "told once");

    // A node's own changes don't come back to it as somebody else's.
    let mut own = here.subscribe();
    here.users().update(&user_id("ann"), &UserChange::default()).await.unwrap();
    assert_eq!(own.recv().await.unwrap(), Change::User(user_id("ann")));
    assert!(timeout(Duration::from_millis(900), own.recv()).await.is_err(), "no echo");
}

pub(crate) async fn an_abandoned_call_leaves_nothing_half_done(world: World) {
    let store = world.open().await;
    store.organizations().create(&organization("acme")).await.unwrap();
    store.tenants().create(&crate::world::tenant("t", "acme")).await.unwrap();
    let pair = |n: u64| [user(&format!("a{n}"), "t", "acme"), user(&format!("b{n}"), "t", "acme")];
    for n in 0..60 {
        let users = pair(n);
        let _ = timeout(Duration::from_micros(n * 40), store.users().create_many(&users)).await;
    }
    // An abandoned transaction may still be on its way out; another one waits for it.
    store.users().create(&user("last", "t", "acme")).await.unwrap();
    for n in 0..60 {
        let [a, b] = pair(n);
        let found = (store.users().get(&a.id).await.unwrap(), store.users().get(&b.id).await.unwrap());
        assert_eq!(found.0.is_some(), found.1.is_some(), "half of pair {n}");
    }
}

pub(crate) async fn futures_can_be_sent(world: World) {
    let store = world.open().await;
    let task = tokio::spawn(async move {
        two_organizations(&store).await;
        connect(&store, "ann", "acme", &["c"]).await;
        store.audit().append(&[]).await.unwrap();
        store.users().delete(&user_id("ann")).await
    });
    let outcome: Result<(), StoreError> = task.await.unwrap();
    outcome.unwrap();
}
