//! Lists of connections: who may change them, what they may hold, and what sharing by key shows to whom.

mod probes;
mod annotations;
mod cached;
mod descriptions;
mod owners;
mod sharing;

use ringfence_gateway::Code;
use ringfence_gateway::connections::ConnectionEdits;
use ringfence_store::sources::IndexStatus;

use crate::sources::{add, edit, file, filtered, indexed, new, run, settled, status, tables, update};
use crate::world::{World, code, same_refusal};

async fn keys(world: &World, user: &str) -> Vec<String> {
    let list = world.gateway.list_connections(&world.call_as(user).await).await.unwrap();
    list.connections.iter().map(|connection| connection.key.as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_list_keeps_its_order_and_loses_what_is_removed() {
    let world = World::new().await;
    let (one, two) = (file(&world, "1.db", "CREATE TABLE t (a)"), file(&world, "2.db", "CREATE TABLE u (a)"));
    let first = add(&world, "a-ann", &one, None).await;
    let second = add(&world, "a-ann", &two, None).await;
    add(&world, "a-ann", &one, None).await;
    assert_eq!(keys(&world, "a-ann").await, [first.clone(), second.clone()]);
    let edits = ConnectionEdits {
        removed: vec![first.clone(), "sqlite:///unknown".to_owned(), String::new()],
        ..ConnectionEdits::default()
    };
    edit(&world, "a-ann", edits).await.unwrap();
    assert_eq!(keys(&world, "a-ann").await, [second]);
    assert!(keys(&world, "a-abe").await.is_empty());
    // Others keep what one user removes.
    add(&world, "a-abe", &one, None).await;
    add(&world, "a-ann", &one, None).await;
    let edits = ConnectionEdits { removed: vec![first.clone()], ..ConnectionEdits::default() };
    edit(&world, "a-ann", edits).await.unwrap();
    assert_eq!(keys(&world, "a-abe").await, [first]);
}

#[tokio::test]
async fn a_view_holds_no_password_and_the_shared_filters() {
    let world = World::new().await;
    let spec = file(&world, "1.db", "CREATE TABLE t (a); CREATE TABLE u (a)");
    let key = indexed(&world, "a-ann", &spec, Some("not used by a file")).await;
    indexed(&world, "a-abe", &filtered(&spec, r#"[{"table_name":"t"}]"#), None).await;
    let call = world.call_as("a-ann").await;
    let view = world.gateway.get_connection(&call, &key).await.unwrap();
    assert!(!format!("{view:?}").contains("not used"), "{view:?}");
    assert_eq!(view.spec.content_filters.unwrap().len(), 1);
    assert_eq!(view.owner.as_str(), "a-ann");
    assert_eq!(view.index.percentage.to_string(), "100");
    assert_eq!(view.index.schemas["main"].total, 1);
    assert_eq!(tables(&world, "a-ann", &key).await.unwrap(), ["main.t"]);
}

#[tokio::test]
async fn an_edit_is_all_or_nothing() {
    let world = World::new().await;
    let good = file(&world, "1.db", "CREATE TABLE t (a)");
    let key = add(&world, "a-ann", &good, None).await;
    let missing = file(&world, "2.db", "CREATE TABLE t (a)");
    std::fs::remove_file(missing.database.as_ref().unwrap()).unwrap();
    let mut edits = ConnectionEdits {
        updated: vec![new(&file(&world, "3.db", "CREATE TABLE t (a)"), None), new(&missing, None)],
        removed: vec![key.clone()],
        validate_before_save: true,
        ..ConnectionEdits::default()
    };
    assert_eq!(code(edit(&world, "a-ann", edits.clone()).await), Code::SourceNotAllowed);
    edits.validate_before_save = false;
    edits.default = Some(key.clone());
    assert_eq!(
        code(edit(&world, "a-ann", edits.clone()).await),
        Code::InvalidRequest,
        "the default is removed"
    );
    assert_eq!(keys(&world, "a-ann").await, [key]);
    edits.default = None;
    let made = edit(&world, "a-ann", edits).await.unwrap();
    assert_eq!(
        keys(&world, "a-ann").await,
        made.iter().map(|key| key.as_str().to_owned()).collect::<Vec<_>>()
    );
    let index = settled(&world, "a-ann", made[1].as_str()).await;
    assert_eq!(index.status, IndexStatus::Failed);
    assert!(index.diagnostics.is_some_and(|reason| !reason.is_empty()));
}

#[tokio::test]
async fn validating_proves_at_once() {
    let world = World::new().await;
    let spec = file(&world, "1.db", "CREATE TABLE t (a)");
    let edits = ConnectionEdits { validate_before_save: true, ..update(new(&spec, None)) };
    let key = edit(&world, "a-ann", edits).await.unwrap().remove(0);
    assert_eq!(settled(&world, "a-ann", key.as_str()).await.status, IndexStatus::Completed);
}

#[tokio::test]
async fn the_default_is_one_of_the_list() {
    let world = World::new().await;
    let spec = file(&world, "1.db", "CREATE TABLE t (a)");
    let key = add(&world, "a-ann", &spec, None).await;
    add(&world, "a-abe", &spec, None).await;
    let choose = |key: &str| ConnectionEdits { default: Some(key.to_owned()), ..ConnectionEdits::default() };
    edit(&world, "a-ann", choose(&key)).await.unwrap();
    let list = world.gateway.list_connections(&world.call_as("a-ann").await).await.unwrap();
    assert_eq!(list.default.unwrap().as_str(), key);
    let other = add(&world, "b-ann", &file(&world, "2.db", "CREATE TABLE t (a)"), None).await;
    assert_eq!(
        same_refusal(
            edit(&world, "a-ann", choose(&other)).await,
            edit(&world, "a-ann", choose("sqlite:///nobody")).await
        ),
        Code::InvalidRequest
    );
    let list = world.gateway.list_connections(&world.call_as("a-abe").await).await.unwrap();
    assert_eq!(list.default, None, "a default is its user's own");
}

#[tokio::test]
async fn a_scope_is_one_of_the_own_connections() {
    let world = World::new().await;
    let spec = file(&world, "1.db", "CREATE TABLE t (a)");
    let key = indexed(&world, "a-ann", &spec, None).await;
    for (user, nobody) in [("a-abe", "sqlite:///nobody"), ("b-ann", "sqlite:///nobody")] {
        let call = world.call_as(user).await;
        let gateway = &world.gateway;
        assert_eq!(
            same_refusal(
                gateway.get_connection(&call, &key).await,
                gateway.get_connection(&call, nobody).await
            ),
            Code::NotFound
        );
        assert_eq!(
            same_refusal(gateway.catalog(&call, &key, &[]).await, gateway.catalog(&call, nobody, &[]).await),
            Code::NotFound
        );
        assert_eq!(
            same_refusal(
                run(&world, user, &key, "SELECT 1").await,
                run(&world, user, nobody, "SELECT 1").await
            ),
            Code::NotFound
        );
    }
    for empty in ["", "  "] {
        let call = world.call_as("a-ann").await;
        assert_eq!(code(world.gateway.get_connection(&call, empty).await), Code::InvalidRequest);
    }
    let call = world.call_as("a-ann").await;
    assert_eq!(code(world.gateway.get_connection(&call, "a\0b").await), Code::NotFound);
    assert_eq!(status(&world, "a-ann", &key).await.status, IndexStatus::Completed);
}
