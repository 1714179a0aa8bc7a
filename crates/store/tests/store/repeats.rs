//! Requests that carry a key.

use ringfence_store::repeats::{Known, Repeat};

use crate::world::World;

pub(crate) async fn a_repeat_is_begun_once(world: World) {
    let store = world.open().await;
    let repeat = Repeat::of(&["acme", "ann", "c", "key-1"]);
    let mut begun = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, repeat) = (store.clone(), repeat.clone());
        begun.spawn(async move { store.repeats().begin(&repeat, "digest", 10, 0).await.unwrap() });
    }
    let known = begun.join_all().await;
    assert_eq!(known.iter().filter(|known| **known == Known::New).count(), 1, "{known:?}");
    assert_eq!(known.iter().filter(|known| **known == Known::Underway).count(), 7);
    let other = Repeat::of(&["acme", "bob", "c", "key-1"]);
    assert_eq!(store.repeats().begin(&other, "digest", 10, 0).await.unwrap(), Known::New);

    store.repeats().finish(&repeat, "done").await.unwrap();
    let done = Known::Done { request: "digest".to_owned(), outcome: "done".to_owned() };
    assert_eq!(store.repeats().begin(&repeat, "another", 11, 0).await.unwrap(), done);
    store.repeats().abandon(&repeat).await.unwrap();
    assert_eq!(store.repeats().begin(&repeat, "digest", 11, 0).await.unwrap(), done, "done stays done");
}

pub(crate) async fn a_repeat_is_forgotten(world: World) {
    let store = world.open().await;
    let repeat = Repeat::of(&["acme", "ann", "c", "key-1"]);
    assert_eq!(store.repeats().begin(&repeat, "digest", 10, 0).await.unwrap(), Known::New);
    store.repeats().abandon(&repeat).await.unwrap();
    assert_eq!(store.repeats().begin(&repeat, "digest", 10, 0).await.unwrap(), Known::New);
    store.repeats().finish(&repeat, "done").await.unwrap();
    assert_eq!(store.repeats().begin(&repeat, "digest", 100, 11).await.unwrap(), Known::New, "too old");
}
