//! Users' lists of connections.

use ringfence_policy::filter::SearchContext;
use ringfence_policy::{Catalog, ConnectionSpec};
use ringfence_store::StoreError;
use ringfence_store::annotations::Annotations;
use ringfence_store::connections::{ConnectionChanges, Proof};
use ringfence_store::sources::{IndexReport, IndexStatus, SourceId};
use secrecy::ExposeSecret as _;

use crate::world::{World, connect, disconnect, key, org, two_organizations, upsert, user_id};

pub(crate) async fn lists_keep_their_order(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    connect(&store, "ann", "acme", &["z", "a", "m"]).await;
    connect(&store, "ann", "acme", &["b", "z"]).await;
    let list = store.connections().list(&user_id("ann")).await.unwrap();
    assert_eq!(list.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), ["z", "a", "m", "b"]);
    assert_eq!(list[1].password.as_ref().unwrap().expose_secret(), "password of a");
    assert!(store.connections().list(&user_id("rob")).await.unwrap().is_empty());

    let mut newer = upsert("a", "acme");
    newer.password = None;
    newer.spec.description = Some("new".to_owned());
    let changes = ConnectionChanges {
        removed: vec![key("m"), key("unknown")],
        upserts: vec![newer],
        ..ConnectionChanges::default()
    };
    store.connections().apply(&user_id("ann"), changes).await.unwrap();
    let list = store.connections().list(&user_id("ann")).await.unwrap();
    assert_eq!(list.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), ["z", "a", "b"]);
    let one = store.connections().get(&user_id("ann"), &key("a")).await.unwrap().unwrap();
    assert_eq!((one.spec.description.as_deref(), one.password.is_none()), (Some("new"), true));
    assert!(store.connections().get(&user_id("rob"), &key("a")).await.unwrap().is_none());
    let nobody = store.connections().apply(&user_id("none"), ConnectionChanges::default()).await;
    assert!(matches!(nobody, Err(StoreError::Missing { what: "user" })), "{nobody:?}");
}

pub(crate) async fn changes_are_all_or_nothing(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let before = connect(&store, "ann", "acme", &["keep"]).await;
    let refused = [
        ConnectionChanges {
            removed: vec![key("keep")],
            upserts: vec![upsert("new", "acme")],
            default: Some(key("unknown")),
        },
        ConnectionChanges { removed: vec![key("keep")], upserts: vec![], default: Some(key("keep")) },
        ConnectionChanges {
            removed: vec![key("keep")],
            upserts: vec![upsert("new", "acme"), upsert("x", "no such organization")],
            default: None,
        },
    ];
    for changes in refused {
        let outcome = store.connections().apply(&user_id("ann"), changes).await;
        assert!(matches!(outcome, Err(StoreError::Missing { .. })), "{outcome:?}");
        let list = store.connections().list(&user_id("ann")).await.unwrap();
        assert_eq!(list.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), ["keep"]);
        let unfinished = store.sources().unfinished().await.unwrap();
        let sources: Vec<SourceId> = unfinished.into_iter().map(|(id, _)| id).collect();
        assert_eq!(sources, before, "no source came or went");
    }
}

pub(crate) async fn sources_are_shared_within_an_organization(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let ann = connect(&store, "ann", "acme", &["c", "d"]).await;
    let amy = connect(&store, "amy", "acme", &["c"]).await;
    let rob = connect(&store, "rob", "rival", &["c"]).await;
    assert_eq!(ann[0], amy[0]);
    assert_ne!(ann[0], ann[1]);
    assert_ne!(ann[0], rob[0], "never across organizations");
    let mut elsewhere = upsert("c", "acme");
    "another host".clone_into(&mut elsewhere.target);
    let changes = ConnectionChanges { upserts: vec![elsewhere], ..ConnectionChanges::default() };
    let abe = store.connections().apply(&user_id("abe"), changes).await.unwrap();
    assert_ne!(ann[0], abe[0], "one key, another target");

    store.connections().set_proof(&user_id("amy"), &key("c"), &Proof::Proven).await.unwrap();
    let of_source = store.connections().of_source(&ann[0]).await.unwrap();
    let users: Vec<_> = of_source.iter().map(|connection| connection.user.as_str()).collect();
    assert_eq!(users, ["amy", "ann"], "proven ones first");
    assert_eq!(of_source[0].password.as_ref().unwrap().expose_secret(), "password of c");
}

pub(crate) async fn a_source_goes_with_its_last_connection(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let source = connect(&store, "ann", "acme", &["c"]).await[0];
    connect(&store, "amy", "acme", &["c"]).await;
    let report = IndexReport { status: IndexStatus::Completed, schemas: [].into(), diagnostics: None };
    assert!(store.sources().complete(source, 1, &Catalog::default(), &report).await.unwrap());
    store.annotations().put(source, 0, &Annotations::default()).await.unwrap();

    disconnect(&store, "ann", &["c"]).await;
    assert!(store.sources().catalog(source).await.unwrap().is_some());
    store.users().delete(&user_id("amy")).await.unwrap();
    assert_eq!(store.sources().get(source).await.unwrap(), None);
    assert_eq!(store.sources().catalog(source).await.unwrap(), None);
    assert_eq!(store.annotations().get(source).await.unwrap().0, 0);

    let again = connect(&store, "ann", "acme", &["c"]).await[0];
    assert_ne!(again, source, "an id is never used twice");
    assert_eq!(store.sources().catalog(again).await.unwrap(), None);

    // Removed and added again in one go, it stays.
    let changes = ConnectionChanges {
        removed: vec![key("c")],
        upserts: vec![upsert("c", "acme")],
        ..ConnectionChanges::default()
    };
    assert_eq!(store.connections().apply(&user_id("ann"), changes).await.unwrap(), [again]);
    // A connection that points elsewhere lets its old source go.
    let mut elsewhere = upsert("c", "acme");
    "another host".clone_into(&mut elsewhere.target);
    let changes = ConnectionChanges { upserts: vec![elsewhere], ..ConnectionChanges::default() };
    store.connections().apply(&user_id("ann"), changes).await.unwrap();
    assert_eq!(store.sources().get(again).await.unwrap(), None);
}

pub(crate) async fn the_default_goes_with_its_connection(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    connect(&store, "ann", "acme", &["a", "b"]).await;
    connect(&store, "rob", "rival", &["a"]).await;
    let ann = user_id("ann");
    let set = |text: &str| ConnectionChanges { default: Some(key(text)), ..ConnectionChanges::default() };
    assert_eq!(store.connections().default_key(&ann).await.unwrap(), None);
    for wanted in ["a", "b", "a"] {
        store.connections().apply(&ann, set(wanted)).await.unwrap();
        assert_eq!(store.connections().default_key(&ann).await.unwrap(), Some(key(wanted)));
    }
    let unknown = store.connections().apply(&ann, set("c")).await;
    assert!(matches!(unknown, Err(StoreError::Missing { what: "connection" })), "{unknown:?}");
    assert_eq!(store.connections().default_key(&ann).await.unwrap(), Some(key("a")));
    assert_eq!(store.connections().default_key(&user_id("rob")).await.unwrap(), None);
    disconnect(&store, "ann", &["a"]).await;
    assert_eq!(store.connections().default_key(&ann).await.unwrap(), None);
}

pub(crate) async fn proofs_are_kept(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    connect(&store, "ann", "acme", &["c"]).await;
    let ann = user_id("ann");
    for proof in [Proof::Failed("no such role".to_owned()), Proof::Proven, Proof::Pending] {
        store.connections().set_proof(&ann, &key("c"), &proof).await.unwrap();
        assert_eq!(store.connections().get(&ann, &key("c")).await.unwrap().unwrap().proof, proof);
    }
    let missing = store.connections().set_proof(&user_id("rob"), &key("c"), &Proof::Proven).await;
    assert!(matches!(missing, Err(StoreError::Missing { what: "connection" })), "{missing:?}");
}

pub(crate) async fn filters_and_reindexing(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let context = |table: &str| -> Vec<SearchContext> {
        serde_json::from_str(&format!(r#"[{{"table_name":"{table}"}}]"#)).unwrap()
    };
    let with_filter = |table: &str, adopt_filters: bool, reindex: bool| {
        let mut upsert = upsert("c", "acme");
        upsert.spec = ConnectionSpec { content_filters: Some(context(table)), ..upsert.spec };
        ConnectionChanges {
            upserts: vec![ringfence_store::connections::ConnectionUpsert {
                adopt_filters,
                reindex,
                ..upsert
            }],
            ..ConnectionChanges::default()
        }
    };
    let cases = [
        ("a", false, false, "a", 1),
        ("b", false, false, "a", 1),
        ("b", true, false, "b", 1),
        ("c", false, true, "b", 2),
    ];
    for (table, adopt, reindex, expected, generation) in cases {
        let id =
            store.connections().apply(&user_id("ann"), with_filter(table, adopt, reindex)).await.unwrap()[0];
        let source = store.sources().get(id).await.unwrap().unwrap();
        assert_eq!((source.content_filters, source.generation), (context(expected), generation), "{table}");
        assert_eq!((source.org, source.key, source.target.as_str()), (org("acme"), key("c"), "target of c"));
        assert_eq!((source.status, source.pattern_filters.len()), (IndexStatus::NotStarted, 0));
    }
}

/// One user lets the source go while others take it up: nobody is left with a source that is gone.
pub(crate) async fn concurrent_changes_keep_the_shared_source(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let node = world.open().await;
    for _ in 0..10 {
        connect(&store, "ann", "acme", &["c", "d"]).await;
        let ((), (), first, second) = tokio::join!(
            disconnect(&store, "ann", &["c", "d"]),
            disconnect(&node, "ann", &["d", "c"]),
            connect(&node, "abe", "acme", &["c", "d"]),
            connect(&store, "amy", "acme", &["d", "c"]),
        );
        let mut all: Vec<SourceId> = [first, second].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 2);
        assert_eq!(store.sources().get_many(&all).await.unwrap().len(), 2);
        disconnect(&store, "abe", &["c", "d"]).await;
        disconnect(&store, "amy", &["c", "d"]).await;
        assert!(store.sources().unfinished().await.unwrap().is_empty());
    }
}
