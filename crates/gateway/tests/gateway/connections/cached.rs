//! Queries take their connection from a copy: a change that was answered is seen by the next query.

use ringfence_gateway::Code;
use ringfence_gateway::connections::ConnectionEdits;
use ringfence_gateway::users::UserSpec;

use crate::sources::{add, alias, edit, file, indexed, new, run, update};
use crate::world::{World, code, eventually, same_refusal};

fn removing(key: &str) -> ConnectionEdits {
    ConnectionEdits { removed: vec![key.to_owned()], ..ConnectionEdits::default() }
}

#[tokio::test]
async fn a_change_is_seen_by_the_next_query() {
    let world = World::new().await;
    let one = alias(&file(&world, "1.db", "CREATE TABLE t AS SELECT 1 AS a"), "same");
    let two = alias(&file(&world, "2.db", "CREATE TABLE t AS SELECT 2 AS a"), "same");
    for _ in 0..20 {
        let key = add(&world, "a-ann", &one, None).await;
        assert_eq!(run(&world, "a-ann", &key, "SELECT a FROM t").await.unwrap(), "[[1]]");
        assert_eq!(add(&world, "a-ann", &two, None).await, key, "one key, another file");
        assert_eq!(run(&world, "a-ann", &key, "SELECT a FROM t").await.unwrap(), "[[2]]");
        let mut locked = two.clone();
        locked.db_access_policy.read_only = true;
        edit(&world, "a-ann", update(new(&locked, None))).await.unwrap();
        assert_eq!(code(run(&world, "a-ann", &key, "DELETE FROM t").await), Code::QueryFailed);
        edit(&world, "a-ann", removing(&key)).await.unwrap();
        let gone = run(&world, "a-ann", &key, "SELECT a FROM t").await;
        assert_eq!(
            same_refusal(gone, run(&world, "a-ann", "waii://@/never", "SELECT 1").await),
            Code::NotFound
        );
    }
}

#[tokio::test]
async fn a_copy_is_for_its_own_user_and_goes_with_it() {
    let world = World::new().await;
    let spec = file(&world, "1.db", "CREATE TABLE t AS SELECT 1 AS a");
    let key = add(&world, "a-ann", &spec, None).await;
    assert_eq!(run(&world, "a-ann", &key, "SELECT a FROM t").await.unwrap(), "[[1]]");
    for stranger in ["a-boss", "b-ann"] {
        assert_eq!(code(run(&world, stranger, &key, "SELECT a FROM t").await), Code::NotFound);
    }
    let boss = world.call_as("a-boss").await;
    let ann = world.gateway.get_user(&boss, "a-ann").await.unwrap();
    world.gateway.delete_user(&boss, "a-ann").await.unwrap();
    let again = UserSpec {
        id: "a-ann".to_owned(),
        tenant: Some(ann.tenant.as_str().to_owned()),
        ..UserSpec::default()
    };
    world.gateway.create_user(&boss, again).await.unwrap();
    let call = world.call_for("a-boss", "a-ann").await;
    let inherited = world.gateway.run_query(&call, &key, crate::sources::query("SELECT a FROM t")).await;
    assert_eq!(code(inherited), Code::NotFound);
}

#[tokio::test]
async fn a_change_on_another_node_arrives() {
    let world = World::new().await;
    let spec = file(&world, "1.db", "CREATE TABLE t AS SELECT 1 AS a");
    let key = indexed(&world, "a-ann", &spec, None).await;
    for _ in 0..20 {
        assert_eq!(run(&world, "a-ann", &key, "SELECT a FROM t").await.unwrap(), "[[1]]");
    }
    // Another process writes to the same store.
    let store = world.raw_store();
    let deleting = move || store.execute("DELETE FROM connections", []);
    tokio::task::spawn_blocking(deleting).await.unwrap().unwrap();
    let refused = eventually(|| async { run(&world, "a-ann", &key, "SELECT a FROM t").await.err() }).await;
    assert_eq!(refused.code, Code::NotFound);
}
