//! Background indexing: what starts it, what it survives, how it fails.

use ringfence_gateway::connections::ConnectionEdits;
use ringfence_policy::ConnectionSpec;
use ringfence_store::sources::IndexStatus;

use crate::sources::{
    add, database, edit, file, filtered, indexed, new, password, run, settled, status, tables, update,
};
use crate::world::{World, config, eventually};

#[tokio::test]
async fn a_refresh_is_not_started_at_first_and_sees_what_is_new() {
    let world = World::new().await;
    let spec = file(&world, "1.db", "CREATE TABLE t (a)");
    let key = indexed(&world, "a-ann", &spec, None).await;
    // Without its indexer the status stays as it is when the call returns.
    world.gateway.shutdown().await;
    rusqlite::Connection::open(world.data().join("1.db"))
        .unwrap()
        .execute_batch("CREATE TABLE u (a)")
        .unwrap();
    world.gateway.refresh_connection(&world.call_as("a-ann").await, &key).await.unwrap();
    let index = status(&world, "a-ann", &key).await;
    assert_eq!((index.status, index.percentage.to_string().as_str()), (IndexStatus::NotStarted, "100"));
    assert!(index.schemas.is_empty());
    assert_eq!(
        tables(&world, "a-ann", &key).await.unwrap(),
        ["main.t"],
        "meanwhile the old catalog is served"
    );
    // So is a change of filters, and what is hidden now is hidden at once.
    edit(&world, "a-ann", update(new(&filtered(&spec, r#"[{"table_name":"u"}]"#), None))).await.unwrap();
    assert_eq!(status(&world, "a-ann", &key).await.status, IndexStatus::NotStarted);
    assert_eq!(tables(&world, "a-ann", &key).await, Some(vec![]));
    // A restart takes up what was left.
    let (restarted, _) = world.open_again(config()).await.unwrap();
    assert_eq!(settled(&world, "a-ann", &key).await.status, IndexStatus::Completed);
    eventually(|| async { tables(&world, "a-ann", &key).await.filter(|tables| *tables == ["main.u"]) }).await;
    restarted.shutdown().await;
}

/// As the SDK's own test does: removed, added again, and asked at once.
#[tokio::test]
async fn the_first_index_is_waited_for() {
    let world = World::new().await;
    let spec = database("awaited", "awaited_owner", "CREATE TABLE t (a int)").await;
    let secret = password("awaited_owner");
    let key = indexed(&world, "a-ann", &spec, Some(&secret)).await;
    let removing = ConnectionEdits { removed: vec![key.clone()], ..ConnectionEdits::default() };
    edit(&world, "a-ann", removing).await.unwrap();
    assert_eq!(add(&world, "a-ann", &spec, Some(&secret)).await, key);
    let shown = tables(&world, "a-ann", &key).await.expect("the first index is waited for");
    assert!(shown.contains(&"public.t".to_owned()), "{shown:?}");
    // One who joins waits for the proof too, and gets nothing with a wrong password.
    add(&world, "a-abe", &spec, Some(&secret)).await;
    assert_eq!(tables(&world, "a-abe", &key).await, Some(shown));
    add(&world, "a-lead", &spec, Some("wrong")).await;
    assert_eq!(tables(&world, "a-lead", &key).await, None);
}

#[tokio::test]
async fn what_failed_or_does_not_come_is_not_waited_for_longer() {
    let world = World::new().await;
    let spec = ConnectionSpec {
        db_type: "postgresql".to_owned(),
        host: Some("127.0.0.1".to_owned()),
        port: Some(1),
        username: Some("u".to_owned()),
        database: Some("d".to_owned()),
        ..ConnectionSpec::default()
    };
    let key = add(&world, "a-ann", &spec, None).await;
    settled(&world, "a-ann", &key).await;
    // The best of a few: a wait would be two seconds each time.
    let mut best = std::time::Duration::MAX;
    for _ in 0..5 {
        let began = std::time::Instant::now();
        assert_eq!(tables(&world, "a-ann", &key).await, None);
        best = best.min(began.elapsed());
    }
    assert!(best.as_millis() < 1500, "a failure is answered at once: {best:?}");
    // Nobody is at work any more: the wait has an end.
    world.gateway.shutdown().await;
    let key = add(&world, "a-ann", &file(&world, "1.db", "CREATE TABLE t (a)"), None).await;
    let began = std::time::Instant::now();
    assert_eq!(tables(&world, "a-ann", &key).await, None);
    assert!((1..60).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_restart_takes_up_the_proof_of_a_joiner() {
    let world = World::new().await;
    let spec = file(&world, "1.db", "CREATE TABLE t (a)");
    let key = indexed(&world, "a-ann", &spec, None).await;
    world.gateway.shutdown().await;
    add(&world, "a-abe", &spec, None).await;
    assert_eq!(status(&world, "a-abe", &key).await.status, IndexStatus::NotStarted);
    assert_eq!(tables(&world, "a-abe", &key).await, None);
    let (restarted, _) = world.open_again(config()).await.unwrap();
    let call = {
        let log = restarted.begin(ringfence_gateway::Door::Api, "test", "t".parse().unwrap());
        restarted.authenticate(&log, Some(&crate::world::key_of("a-abe")), None).await.unwrap()
    };
    eventually(|| async {
        let view = restarted.get_connection(&call, &key).await.unwrap();
        (view.index.status == IndexStatus::Completed).then_some(())
    })
    .await;
    restarted.shutdown().await;
}

#[tokio::test]
async fn a_backend_that_is_down_is_a_failure_with_its_reason() {
    let world = World::new().await;
    let spec = ConnectionSpec {
        db_type: "postgresql".to_owned(),
        host: Some("127.0.0.1".to_owned()),
        port: Some(1),
        username: Some("u".to_owned()),
        database: Some("d".to_owned()),
        ..ConnectionSpec::default()
    };
    let key = add(&world, "a-ann", &spec, Some("not to be told")).await;
    let index = settled(&world, "a-ann", &key).await;
    assert_eq!(index.status, IndexStatus::Failed);
    let reason = index.diagnostics.unwrap();
    assert!(!reason.is_empty() && !reason.contains("not to be told"), "{reason}");
    let probing = ConnectionEdits { validate_before_save: true, ..update(new(&spec, None)) };
    edit(&world, "b-ann", probing).await.unwrap_err();
    let list = world.gateway.list_connections(&world.call_as("b-ann").await).await.unwrap();
    assert!(list.connections.is_empty());
}

#[tokio::test]
async fn a_file_outside_the_allowed_directories_is_a_failure() {
    let world = World::new().await;
    for path in ["/etc/passwd", "../../../etc/passwd", "/nonexistent.db"] {
        let spec = ConnectionSpec {
            db_type: "sqlite".to_owned(),
            database: Some(path.to_owned()),
            ..ConnectionSpec::default()
        };
        let key = add(&world, "a-ann", &spec, None).await;
        assert_eq!(settled(&world, "a-ann", &key).await.status, IndexStatus::Failed, "{path}");
        run(&world, "a-ann", &key, "SELECT 1").await.unwrap_err();
    }
}

#[tokio::test]
async fn a_server_that_comes_back_is_indexed_at_the_next_refresh() {
    let world = World::new().await;
    let server = ringfence_testkit::Postgres::start().await;
    server.create_database("back", "back_owner", "pw").await;
    let spec = ConnectionSpec {
        db_type: "postgresql".to_owned(),
        host: Some("127.0.0.1".to_owned()),
        port: Some(server.port()),
        username: Some("back_owner".to_owned()),
        database: Some("back".to_owned()),
        ..ConnectionSpec::default()
    };
    let key = indexed(&world, "a-ann", &spec, Some("pw")).await;
    let before = tables(&world, "a-ann", &key).await;
    server.stop();
    world.gateway.refresh_connection(&world.call_as("a-ann").await, &key).await.unwrap();
    let index = settled(&world, "a-ann", &key).await;
    assert_eq!(index.status, IndexStatus::Failed, "{index:?}");
    assert_eq!(tables(&world, "a-ann", &key).await, before, "the old catalog is served");
    server.restart().await;
    world.gateway.refresh_connection(&world.call_as("a-ann").await, &key).await.unwrap();
    assert_eq!(settled(&world, "a-ann", &key).await.status, IndexStatus::Completed);
}

#[tokio::test]
async fn a_catalog_of_many_tables_is_whole() {
    let world = World::new().await;
    let tables_sql: Vec<String> = (0..200).map(|n| format!("CREATE TABLE t{n} (a int)")).collect();
    let spec = database("many", "many_owner", &tables_sql.join("; ")).await;
    let began = std::time::Instant::now();
    let key = indexed(&world, "a-ann", &spec, Some(&password("many_owner"))).await;
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    let index = status(&world, "a-ann", &key).await;
    assert_eq!((index.schemas["public"].total, index.schemas["public"].pending), (200, 0));
    assert_eq!(tables(&world, "a-ann", &key).await.unwrap().len(), 209);
}
