//! What runs ends when its key, or its user, is no longer what it was.

use ringfence_gateway::queries::QueryRequest;
use ringfence_gateway::users::UserSpec;
use ringfence_gateway::{Call, Code, Refused};
use secrecy::ExposeSecret as _;

use crate::sources::{ENDLESS, add, database, file, password, query, running, stopped};
use crate::world::{World, begin, code, eventually};

const SCHEMA: &str = "CREATE TABLE t (a INTEGER)";

/// Longer than any test waits: what ends earlier was ended.
fn endless() -> QueryRequest {
    QueryRequest { timeout_ms: Some(20_000), ..query(ENDLESS) }
}

/// A call of the user under a key of its own, which is called `second`.
async fn under_second_key(world: &World, user: &str) -> Call {
    let first = world.call_as(user).await;
    let key = world.gateway.create_access_key(&first, "second").await.unwrap();
    world.gateway.authenticate(&world.begin(), Some(key.secret.expose_secret()), None).await.unwrap()
}

async fn delete_second_key(world: &World, user: &str) {
    let first = world.call_as(user).await;
    assert_eq!(world.gateway.delete_access_keys(&first, &["second".to_owned()]).await.unwrap(), 1);
}

fn roles(user: &str, role: &str) -> UserSpec {
    UserSpec { id: user.to_owned(), roles: vec![role.to_owned()], ..UserSpec::default() }
}

/// The refusal of what has to end within the time of a test.
async fn ended<T>(work: impl Future<Output = Result<T, Refused>>) -> Code {
    let limit = std::time::Duration::from_secs(8);
    code(tokio::time::timeout(limit, work).await.expect("it runs on"))
}

#[tokio::test]
async fn a_deleted_key_takes_along_what_runs_under_it_and_nothing_else() {
    let world = World::new().await;
    let spec = database("revoked", "revoked_owner", "CREATE TABLE t (a int)").await;
    let key = add(&world, "a-ann", &spec, Some(&password("revoked_owner"))).await;
    let (first, second) = (world.call_as("a-ann").await, under_second_key(&world, "a-ann").await);
    let other = world.gateway.submit_query(&first, &key, query("SELECT pg_sleep(9), 'stays'")).await.unwrap();
    let submitted =
        world.gateway.submit_query(&second, &key, query("SELECT pg_sleep(9), 'goes too'")).await.unwrap();
    running("revoked", "goes too'").await;
    let run = world.gateway.run_query(&second, &key, query("SELECT pg_sleep(9), 'goes'"));
    // Under the second key, on a result of the first.
    let wait = world.gateway.query_result(&second, None, other.as_str(), None);
    let delete = async {
        running("revoked", "goes'").await;
        delete_second_key(&world, "a-ann").await;
    };
    let (run, wait, ()) = tokio::join!(ended(run), ended(wait), delete);
    assert_eq!((run, wait), (Code::QueryCancelled, Code::QueryCancelled));
    stopped("revoked", "goes").await;
    let result = world.gateway.query_result(&first, None, submitted.as_str(), None);
    assert_eq!(Box::pin(ended(result)).await, Code::QueryCancelled);
    running("revoked", "stays'").await;
    world.gateway.cancel_query(&first, None, other.as_str()).await.unwrap();
}

#[tokio::test]
async fn a_deleted_user_takes_along_what_runs_and_streams() {
    let world = World::new().await;
    let key = add(&world, "a-ann", &file(&world, "1.db", SCHEMA), None).await;
    let (ann, boss) = (world.call_as("a-ann").await, world.call_for("a-boss", "a-ann").await);
    let rows = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c";
    // More rows than are read ahead.
    let many = QueryRequest { max_rows: Some(10_000), ..query(rows) };
    let mut stream = world.gateway.stream_query(&ann, &key, many).await.unwrap();
    stream.next().await.unwrap();
    let drained = async {
        loop {
            match stream.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream came to its end"),
                Err(refused) => return Err::<(), _>(refused),
            }
        }
    };
    let run = world.gateway.run_query(&boss, &key, endless());
    let delete = async {
        let root = world.call_as(crate::world::ROOT).await;
        world.gateway.delete_user(&root, "a-ann").await.unwrap();
    };
    let (run, ()) = tokio::join!(ended(run), delete);
    // The one that ran for the user may have come too late to begin.
    assert!(matches!(run, Code::QueryCancelled | Code::NotFound), "{run:?}");
    assert_eq!(ended(drained).await, Code::QueryCancelled);
}

#[tokio::test]
async fn who_may_no_longer_query_or_act_for_another_is_stopped() {
    let world = World::new().await;
    let key = add(&world, "a-ann", &file(&world, "1.db", SCHEMA), None).await;
    let root = world.call_as(crate::world::ROOT).await;
    let submit = async |call: &Call| world.gateway.submit_query(call, &key, endless()).await.unwrap();
    let by_boss = submit(&world.call_for("a-boss", "a-ann").await).await;
    let by_ann = submit(&world.call_as("a-ann").await).await;
    // A name and a further role take nothing away.
    let named = UserSpec { name: Some("Ann".to_owned()), ..roles("a-ann", "admin-user") };
    world.gateway.update_user(&root, named).await.unwrap();
    world.gateway.update_user(&root, roles("a-boss", "api-user")).await.unwrap();
    let ann = world.call_as("a-ann").await;
    let result = async |id: &str| world.gateway.query_result(&ann, None, id, None).await;
    assert_eq!(Box::pin(ended(result(by_boss.as_str()))).await, Code::QueryCancelled);
    let own = tokio::time::timeout(std::time::Duration::from_millis(100), result(by_ann.as_str())).await;
    assert!(own.is_err(), "it runs on: {own:?}");
    world.gateway.update_user(&root, roles("a-ann", "waii-user")).await.unwrap();
    let boss = world.call_for(crate::world::ROOT, "a-ann").await;
    let result = world.gateway.query_result(&boss, None, by_ann.as_str(), None);
    assert_eq!(Box::pin(ended(result)).await, Code::QueryCancelled);
}

#[tokio::test]
async fn a_call_that_was_begun_before_its_key_went_runs_nothing() {
    let world = World::new().await;
    let key = add(&world, "a-ann", &file(&world, "1.db", SCHEMA), None).await;
    // As when the body arrives slowly.
    let call = under_second_key(&world, "a-ann").await;
    world.gateway.run_query(&call, &key, query("SELECT 1")).await.unwrap();
    delete_second_key(&world, "a-ann").await;
    assert_eq!(code(world.gateway.run_query(&call, &key, query("SELECT 1")).await), Code::QueryCancelled);
    assert_eq!(code(world.gateway.submit_query(&call, &key, query("SELECT 1")).await), Code::QueryCancelled);
    assert_eq!(code(world.gateway.compile_query(&call, &key, "SELECT 1", &[]).await), Code::QueryCancelled);
    let first = world.call_as("a-ann").await;
    world.gateway.run_query(&first, &key, query("SELECT 1")).await.unwrap();
}

#[tokio::test]
async fn news_from_another_node_stop_what_runs_here() {
    let world = World::new().await;
    let (other, _) = world.open_again(world.config.clone()).await.unwrap();
    let key = add(&world, "a-ann", &file(&world, "1.db", SCHEMA), None).await;
    let second = world.gateway.create_access_key(&world.call_as("a-ann").await, "second").await.unwrap();
    let secret = second.secret.expose_secret();
    let there = eventually(async || other.authenticate(&begin(&other), Some(secret), None).await.ok()).await;
    let delete = async { delete_second_key(&world, "a-ann").await };
    let run = other.run_query(&there, &key, endless());
    let (run, ()) = tokio::join!(ended(run), delete);
    assert_eq!(run, Code::QueryCancelled);
}
