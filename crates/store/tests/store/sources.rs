//! Sources: generations, leases, catalogs.

use ringfence_policy::filter::{PatternFilter, SearchContext};
use ringfence_policy::{Catalog, Column, Relation, RelationKind, Schema};
use ringfence_store::StoreError;
use ringfence_store::sources::{IndexReport, IndexStatus, SchemaProgress, SourceId};

use crate::world::{World, connect, two_organizations};

fn report(status: IndexStatus) -> IndexReport {
    let schemas = [("public".to_owned(), SchemaProgress { total: 7, pending: 3 })].into();
    IndexReport { status, schemas, diagnostics: (status == IndexStatus::Failed).then(|| "no".to_owned()) }
}

fn catalog(database: &str) -> Catalog {
    let column = Column { name: "id".to_owned(), data_type: "integer".to_owned(), ..Column::default() };
    let relation = Relation {
        name: "T é".to_owned(),
        kind: RelationKind::Table,
        comment: Some("it's".to_owned()),
        columns: vec![column],
        ..Relation::default()
    };
    Catalog {
        database: database.to_owned(),
        schemas: vec![Schema { name: "public".to_owned(), relations: vec![relation] }],
    }
}

pub(crate) async fn a_generation_passes(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let id = connect(&store, "ann", "acme", &["c"]).await[0];
    let sources = store.sources();
    assert!(sources.report(id, 1, &report(IndexStatus::Indexing)).await.unwrap());
    let source = sources.get(id).await.unwrap().unwrap();
    assert_eq!((source.status, source.schemas["public"].pending), (IndexStatus::Indexing, 3));
    assert!(sources.report(id, 1, &report(IndexStatus::Failed)).await.unwrap());
    assert_eq!(sources.get(id).await.unwrap().unwrap().diagnostics.as_deref(), Some("no"));

    assert_eq!(sources.restart(id).await.unwrap(), 2);
    let source = sources.get(id).await.unwrap().unwrap();
    assert_eq!((source.status, source.diagnostics, source.schemas.len()), (IndexStatus::NotStarted, None, 0));
    assert!(!sources.report(id, 1, &report(IndexStatus::Completed)).await.unwrap(), "it has passed");
    assert!(!sources.complete(id, 1, &catalog("old"), &report(IndexStatus::Completed)).await.unwrap());
    assert_eq!(sources.catalog(id).await.unwrap(), None, "nothing is written for a passed generation");
    assert_eq!(sources.get(id).await.unwrap().unwrap().status, IndexStatus::NotStarted);

    let contexts: Vec<SearchContext> = serde_json::from_str(r#"[{"schema_name":"s*"}]"#).unwrap();
    let patterns: Vec<PatternFilter> =
        serde_json::from_str(r#"[{"filter_scope":"table","pattern":"^x"}]"#).unwrap();
    assert_eq!(sources.set_filters(id, &contexts, &patterns).await.unwrap(), 3);
    let source = sources.get(id).await.unwrap().unwrap();
    assert_eq!((source.content_filters, source.pattern_filters), (contexts, patterns));

    let unknown = SourceId(4_000_000);
    assert!(matches!(sources.restart(unknown).await, Err(StoreError::Missing { what: "source" })));
    assert!(matches!(
        sources.set_filters(unknown, &[], &[]).await,
        Err(StoreError::Missing { what: "source" })
    ));
    assert!(!sources.report(unknown, 1, &report(IndexStatus::Failed)).await.unwrap());
    assert!(!sources.complete(unknown, 1, &catalog("x"), &report(IndexStatus::Completed)).await.unwrap());
    assert_eq!(sources.get(unknown).await.unwrap(), None);
}

pub(crate) async fn work_is_claimed_by_one_node(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let id = connect(&store, "ann", "acme", &["c"]).await[0];
    let sources = store.sources();
    let steps = [
        ("n1", 1, 100, 200, true, "free"),
        ("n2", 1, 150, 250, false, "another has it"),
        ("n1", 1, 150, 300, true, "kept longer"),
        ("n2", 1, 250, 350, false, "still kept"),
        ("n2", 1, 300, 400, true, "the lease has ended"),
        ("n1", 1, 350, 450, false, "the other has it now"),
        ("n1", 2, 500, 600, false, "no such generation yet"),
    ];
    for (node, generation, now, until, expected, why) in steps {
        assert_eq!(sources.claim(id, generation, node, now, until).await.unwrap(), expected, "{why}");
    }
    sources.restart(id).await.unwrap();
    assert!(!sources.claim(id, 1, "n2", 350, 450).await.unwrap(), "the generation has passed");
    assert!(sources.claim(id, 2, "n1", 350, 450).await.unwrap(), "a new generation is free");
    assert!(sources.complete(id, 2, &catalog("d"), &report(IndexStatus::Completed)).await.unwrap());
    assert!(!sources.claim(id, 2, "n2", 9_000, 9_100).await.unwrap(), "the work has ended");
    assert!(!sources.claim(SourceId(4_000_000), 1, "n1", 0, 1).await.unwrap());

    sources.restart(id).await.unwrap();
    let node = world.open().await;
    let (here, there) = (store.sources(), node.sources());
    let (one, other) = tokio::join!(here.claim(id, 3, "n1", 0, 9), there.claim(id, 3, "n2", 0, 9));
    assert!(one.unwrap() != other.unwrap(), "exactly one of two nodes gets it");
}

pub(crate) async fn catalogs_are_kept(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let id = connect(&store, "ann", "acme", &["c"]).await[0];
    let sources = store.sources();
    assert_eq!(sources.catalog(id).await.unwrap(), None);
    assert!(sources.complete(id, 1, &catalog("one"), &report(IndexStatus::Completed)).await.unwrap());
    assert_eq!(sources.catalog(id).await.unwrap(), Some((1, catalog("one"))));
    assert_eq!(sources.get(id).await.unwrap().unwrap().status, IndexStatus::Completed);
    sources.restart(id).await.unwrap();
    assert_eq!(sources.catalog(id).await.unwrap(), Some((1, catalog("one"))), "the last one stays meanwhile");

    let mut big = catalog("two");
    let relation = big.schemas[0].relations[0].clone();
    big.schemas[0].relations = vec![relation; 20_000];
    assert!(sources.complete(id, 2, &big, &report(IndexStatus::Completed)).await.unwrap());
    assert_eq!(sources.catalog(id).await.unwrap(), Some((2, big)));
}

pub(crate) async fn unfinished_work_is_found(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let ids = connect(&store, "ann", "acme", &["a", "b", "c", "d"]).await;
    store.sources().report(ids[1], 1, &report(IndexStatus::Failed)).await.unwrap();
    store.sources().report(ids[2], 1, &report(IndexStatus::Completed)).await.unwrap();
    store.sources().report(ids[3], 1, &report(IndexStatus::Indexing)).await.unwrap();
    let unfinished = [ids[0], ids[3]].map(|id| (id, ringfence_policy::OrgId::new("acme").unwrap()));
    assert_eq!(store.sources().unfinished().await.unwrap(), unfinished);
}

pub(crate) async fn many_sources_are_read_at_once(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let keys: Vec<String> = (0..600).map(|n| format!("c{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut ids = connect(&store, "ann", "acme", &keys).await;
    ids.push(SourceId(4_000_000));
    assert_eq!(store.sources().get_many(&ids).await.unwrap().len(), 600);
    assert!(store.sources().get_many(&[]).await.unwrap().is_empty());
    assert_eq!(store.connections().list(&crate::world::user_id("ann")).await.unwrap().len(), 600);
}
