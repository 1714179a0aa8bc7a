//! Annotations: one document per source, under optimistic locking.

use ringfence_policy::Constraint;
use ringfence_store::StoreError;
use ringfence_store::annotations::{Annotations, RelationNotes};
use ringfence_store::sources::SourceId;

use crate::world::{World, connect, two_organizations};

fn notes(text: &str) -> Annotations {
    let relation = RelationNotes {
        description: Some(text.to_owned()),
        columns: [("c".to_owned(), "a column".to_owned())].into(),
        primary: Some(vec![Constraint::Primary { columns: vec!["c".to_owned()] }]),
        foreign: None,
    };
    let schema = ("public".to_owned(), [("t".to_owned(), relation)].into());
    Annotations {
        schemas: [("public".to_owned(), serde_json::json!({"summary": text}))].into(),
        relations: [schema].into(),
    }
}

pub(crate) async fn annotations_are_locked_optimistically(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let ids = connect(&store, "ann", "acme", &["a", "b"]).await;
    let annotations = store.annotations();
    assert_eq!(annotations.get(ids[0]).await.unwrap(), (0, Annotations::default()));
    annotations.put(ids[0], 0, &notes("one")).await.unwrap();
    assert_eq!(annotations.get(ids[0]).await.unwrap(), (1, notes("one")));
    for stale in [0, 2, -1] {
        let refused = annotations.put(ids[0], stale, &notes("stale")).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{stale}: {refused:?}");
    }
    annotations.put(ids[0], 1, &notes("two")).await.unwrap();
    assert_eq!(annotations.get(ids[0]).await.unwrap(), (2, notes("two")));
    assert_eq!(
        annotations.get(ids[1]).await.unwrap(),
        (0, Annotations::default()),
        "another source has its own"
    );
    let missing = annotations.put(SourceId(4_000_000), 0, &notes("x")).await;
    assert!(matches!(missing, Err(StoreError::Missing { what: "source" })), "{missing:?}");
}

pub(crate) async fn concurrent_annotations_have_one_winner(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let id = connect(&store, "ann", "acme", &["a"]).await[0];
    let node = world.open().await;
    for version in 0..5 {
        let (here, there) = (store.annotations(), node.annotations());
        let (first, second) = (notes("here"), notes("there"));
        let (one, other) = tokio::join!(here.put(id, version, &first), there.put(id, version, &second));
        let winner = if one.is_ok() { first } else { second };
        assert!(one.is_ok() != other.is_ok(), "exactly one of two nodes wins: {one:?} {other:?}");
        assert_eq!(store.annotations().get(id).await.unwrap(), (version + 1, winner));
    }
}
