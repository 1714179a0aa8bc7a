//! Submitted queries: whose they are, how long they last, how they stop.

use std::time::Duration;

use ringfence_gateway::connections::ConnectionEdits;
use ringfence_gateway::{Code, Refused};

use crate::sources::{ENDLESS, add, database, edit, file, password, query, running, stopped};
use crate::world::{World, code, eventually, same_refusal};

const SCHEMA: &str = "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), (2), (3)";

async fn submit(world: &World, user: &str, key: &str, statement: &str) -> String {
    let call = world.call_as(user).await;
    world.gateway.submit_query(&call, key, query(statement)).await.unwrap().as_str().to_owned()
}

async fn result(world: &World, user: &str, key: Option<&str>, id: &str) -> Result<String, Refused> {
    let outcome = world.gateway.query_result(&world.call_as(user).await, key, id, None).await?;
    Ok(serde_json::to_string(&outcome.result.rows).unwrap())
}

#[tokio::test]
async fn a_result_waits_and_can_be_read_again() {
    let world = World::new().await;
    let key = add(&world, "a-ann", &file(&world, "1.db", SCHEMA), None).await;
    let id = submit(&world, "a-ann", &key, "SELECT a FROM t ORDER BY a").await;
    for scope in [Some(key.as_str()), None, Some(key.as_str())] {
        assert_eq!(result(&world, "a-ann", scope, &id).await.unwrap(), "[[1],[2],[3]]");
    }
    let call = world.call_as("a-ann").await;
    let first = world.gateway.query_result(&call, None, &id, Some(1)).await.unwrap();
    assert_eq!((first.result.rows.len(), first.result.more_rows, first.id.as_str()), (1, 2, id.as_str()));
    world.gateway.cancel_query(&call, Some(&key), &id).await.unwrap();
    assert_eq!(
        result(&world, "a-ann", None, &id).await.unwrap(),
        "[[1],[2],[3]]",
        "cancelling came too late"
    );
    let failed = submit(&world, "a-ann", &key, "SELECT * FROM nothing").await;
    let again = same_refusal(
        result(&world, "a-ann", None, &failed).await,
        result(&world, "a-ann", None, &failed).await,
    );
    assert_eq!(again, Code::QueryFailed);
    let refused = world.gateway.submit_query(&call, &key, query("BEGIN")).await;
    assert_eq!(code(refused), Code::QueryRefused, "what is refused is refused at once");
}

#[tokio::test]
async fn cancelling_stops_the_statement_in_the_database() {
    let world = World::new().await;
    let spec = database("cancelled", "cancelled_owner", "CREATE TABLE t (a int)").await;
    let key = add(&world, "a-ann", &spec, Some(&password("cancelled_owner"))).await;
    let id = submit(&world, "a-ann", &key, "SELECT pg_sleep(9), 'cancelled query'").await;
    running("cancelled", "cancelled query'").await;
    let call = world.call_as("a-ann").await;
    world.gateway.cancel_query(&call, Some(&key), &id).await.unwrap();
    stopped("cancelled", "cancelled query'").await;
    assert_eq!(code(result(&world, "a-ann", None, &id).await), Code::QueryCancelled);
    world.gateway.cancel_query(&call, None, &id).await.unwrap();
}

#[tokio::test]
async fn a_query_id_is_worth_nothing_to_another_user() {
    let world = World::new().await;
    let spec = file(&world, "1.db", SCHEMA);
    let key = add(&world, "a-ann", &spec, None).await;
    let other = add(&world, "a-ann", &file(&world, "2.db", SCHEMA), None).await;
    let ended = submit(&world, "a-ann", &key, "SELECT 1").await;
    let endless = submit(&world, "a-ann", &key, ENDLESS).await;
    for user in ["a-abe", "b-ann", "a-boss", "a-super"] {
        add(&world, user, &spec, None).await;
        let call = world.call_as(user).await;
        for id in [&ended, &endless] {
            for scope in [Some(key.as_str()), None] {
                assert_eq!(
                    same_refusal(
                        result(&world, user, scope, id).await,
                        result(&world, user, scope, "unknown").await
                    ),
                    Code::NotFound
                );
                assert_eq!(
                    same_refusal(
                        world.gateway.cancel_query(&call, scope, id).await,
                        world.gateway.cancel_query(&call, scope, "unknown").await
                    ),
                    Code::NotFound
                );
            }
        }
    }
    // Nor on another connection of the same user, and it runs on.
    assert_eq!(
        same_refusal(
            result(&world, "a-ann", Some(&other), &ended).await,
            result(&world, "a-ann", Some(&other), "unknown").await
        ),
        Code::NotFound
    );
    let call = world.call_as("a-ann").await;
    let waiting = world.gateway.query_result(&call, None, &endless, None);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err(),
        "nobody else stopped it"
    );
    // Whoever acts for the user is the user.
    let call = world.call_for("a-boss", "a-ann").await;
    world.gateway.query_result(&call, Some(&key), &ended, None).await.unwrap();
    world.gateway.cancel_query(&call, None, &endless).await.unwrap();
}

#[tokio::test]
async fn what_is_removed_takes_its_results_along() {
    let world = World::new().await;
    let spec = file(&world, "1.db", SCHEMA);
    let key = add(&world, "a-ann", &spec, None).await;
    let ended = submit(&world, "a-ann", &key, "SELECT 1").await;
    result(&world, "a-ann", None, &ended).await.unwrap();
    let endless = submit(&world, "a-ann", &key, ENDLESS).await;
    let removal = ConnectionEdits { removed: vec![key.clone()], ..ConnectionEdits::default() };
    edit(&world, "a-ann", removal).await.unwrap();
    add(&world, "a-ann", &spec, None).await;
    for id in [&ended, &endless] {
        assert_eq!(code(result(&world, "a-ann", None, id).await), Code::NotFound);
    }
    // A user who is made again inherits nothing.
    let id = submit(&world, "a-ann", &key, "SELECT 1").await;
    let boss = world.call_as("a-boss").await;
    world.gateway.delete_user(&boss, "a-ann").await.unwrap();
    let user = ringfence_gateway::users::UserSpec { id: "a-ann".to_owned(), ..Default::default() };
    world.gateway.create_user(&boss, user).await.unwrap();
    let call = world.call_for("a-boss", "a-ann").await;
    assert_eq!(code(world.gateway.query_result(&call, None, &id, None).await), Code::NotFound);
    world
        .gateway
        .edit_connections(&call, crate::sources::update(crate::sources::new(&spec, None)))
        .await
        .unwrap();
    assert_eq!(code(world.gateway.query_result(&call, Some(&key), &id, None).await), Code::NotFound);
}

#[tokio::test]
async fn results_are_kept_within_bounds() {
    let world = World::with(|config| {
        config.result_memory = 64 * 1024;
        config.result_retention = Duration::from_millis(300);
    })
    .await;
    let key = add(&world, "a-ann", &file(&world, "1.db", SCHEMA), None).await;
    let large = "SELECT hex(zeroblob(8000))";
    let oldest = submit(&world, "a-ann", &key, large).await;
    result(&world, "a-ann", None, &oldest).await.unwrap();
    let newer = submit(&world, "a-ann", &key, large).await;
    result(&world, "a-ann", None, &newer).await.unwrap();
    let newest = submit(&world, "a-ann", &key, large).await;
    result(&world, "a-ann", None, &newest).await.unwrap();
    assert_eq!(code(result(&world, "a-ann", None, &oldest).await), Code::NotFound, "the oldest made room");
    let too_large = submit(&world, "a-ann", &key, "SELECT hex(zeroblob(40000))").await;
    assert_eq!(code(result(&world, "a-ann", None, &too_large).await), Code::ResultTooLarge);
    eventually(|| async {
        let gone =
            result(&world, "a-ann", None, &newest).await.is_err_and(|refused| refused.code == Code::NotFound);
        gone.then_some(())
    })
    .await;
}
