//! Likes and history, and whose connection they are on.

use ringfence_gateway::Code;
use ringfence_gateway::history::HistoryLookup;
use ringfence_gateway::likes::LikeRequest;
use ringfence_gateway::parameters::Target;
use ringfence_policy::{ConnectionKey, Identity, QueryId, UserId};
use ringfence_store::history::HistoryEntry;
use serde_json::json;

use crate::world::{ROOT, World, code, same_refusal, target};

const MODE: &str = "PUBLIC.LIKED_QUERIES.LEARNING_MODE";

fn lookup() -> HistoryLookup {
    page(0, 1000)
}

fn page(offset: u32, limit: u32) -> HistoryLookup {
    HistoryLookup { limit, offset, newest_first: true, id: None, liked: None }
}

fn with_id(id: &str) -> HistoryLookup {
    HistoryLookup { id: Some(id.to_owned()), ..lookup() }
}

fn liked(liked: bool, lookup: HistoryLookup) -> HistoryLookup {
    HistoryLookup { liked: Some(liked), ..lookup }
}

#[tokio::test]
async fn somebody_else_s_connection_does_not_exist() {
    let world = World::new().await;
    let key = world.connect("a-ann").await;
    let (abe, gateway) = (world.call_as("a-abe").await, &world.gateway);
    let (hidden, missing, to) = (key.as_str(), "sqlite:///none.db", Target::default());
    let like = |liked| LikeRequest {
        ask: Some("?".into()),
        query: Some("SELECT 1".into()),
        liked,
        ..LikeRequest::default()
    };
    for code in [
        same_refusal(
            gateway.list_parameters(&abe, hidden).await,
            gateway.list_parameters(&abe, missing).await,
        ),
        same_refusal(
            gateway.set_parameter(&abe, hidden, MODE, json!("single"), &to).await,
            gateway.set_parameter(&abe, missing, MODE, json!("single"), &to).await,
        ),
        same_refusal(
            gateway.delete_parameter(&abe, hidden, MODE, &to).await,
            gateway.delete_parameter(&abe, missing, MODE, &to).await,
        ),
        same_refusal(
            gateway.like_query(&abe, hidden, like(true)).await,
            gateway.like_query(&abe, missing, like(true)).await,
        ),
        same_refusal(
            gateway.liked_queries(&abe, hidden, None).await,
            gateway.liked_queries(&abe, missing, None).await,
        ),
        same_refusal(
            gateway.history(&abe, hidden, lookup()).await,
            gateway.history(&abe, missing, lookup()).await,
        ),
    ] {
        assert_eq!(code, Code::NotFound);
    }
    let ann = world.call_as("a-ann").await;
    assert!(gateway.list_parameters(&ann, hidden).await.is_ok());
    assert!(gateway.history(&ann, hidden, lookup()).await.is_ok());
    assert_eq!(code(gateway.history(&ann, "", lookup()).await), Code::InvalidRequest);
}

fn like(ask: &str, query: &str) -> LikeRequest {
    LikeRequest {
        ask: Some(ask.to_owned()),
        query: Some(query.to_owned()),
        liked: true,
        ..LikeRequest::default()
    }
}

async fn asks(world: &World, user: &str, key: &ConnectionKey) -> Vec<String> {
    let call = world.call_as(user).await;
    let likes = world.gateway.liked_queries(&call, key.as_str(), None).await.unwrap();
    likes.into_iter().map(|like| like.ask).collect()
}

#[tokio::test]
async fn likes_are_kept_replaced_and_withdrawn() {
    let world = World::new().await;
    let key = world.connect("a-ann").await;
    let (ann, gateway) = (world.call_as("a-ann").await, &world.gateway);
    gateway.like_query(&ann, key.as_str(), like("how many?", "SELECT 1")).await.unwrap();
    gateway.like_query(&ann, key.as_str(), like("who?", "SELECT 2")).await.unwrap();
    gateway.like_query(&ann, key.as_str(), like("how many?", "SELECT 3")).await.unwrap();
    let likes = gateway.liked_queries(&ann, key.as_str(), None).await.unwrap();
    assert_eq!(likes.len(), 2);
    let many = likes.iter().find(|like| like.ask == "how many?").unwrap();
    assert_eq!((many.query.as_str(), many.owner.as_str(), many.org.as_str()), ("SELECT 3", "a-ann", "a"));
    let by_uuid = gateway.liked_queries(&ann, key.as_str(), Some(&many.uuid)).await.unwrap();
    assert_eq!(by_uuid, std::slice::from_ref(many));
    let withdrawal = LikeRequest { query_uuid: Some(many.uuid.clone()), ..LikeRequest::default() };
    gateway.like_query(&ann, key.as_str(), withdrawal.clone()).await.unwrap();
    assert_eq!(asks(&world, "a-ann", &key).await, ["who?"]);
    gateway
        .like_query(&ann, key.as_str(), LikeRequest { liked: false, ..like("who?", "SELECT 2") })
        .await
        .unwrap();
    assert!(asks(&world, "a-ann", &key).await.is_empty());
    for bad in [
        LikeRequest { liked: true, ..LikeRequest::default() },
        LikeRequest { query: None, ..like("?", "") },
        LikeRequest { ask: None, ..like("", "SELECT 1") },
        like("", "SELECT 1"),
        like(&"x".repeat(100_000), "SELECT 1"),
    ] {
        assert_eq!(code(gateway.like_query(&ann, key.as_str(), bad).await), Code::InvalidRequest);
    }
    for unknown in [withdrawal.query_uuid.as_deref().unwrap(), "none", "a\0"] {
        let request =
            LikeRequest { query_uuid: Some(unknown.to_owned()), liked: true, ..LikeRequest::default() };
        assert_eq!(code(gateway.like_query(&ann, key.as_str(), request).await), Code::NotFound);
    }
    let trial = world.connect("a-trial-api").await;
    let call = world.call_as("a-trial-api").await;
    assert_eq!(
        code(gateway.like_query(&call, trial.as_str(), like("?", "SELECT 1")).await),
        Code::NotPermitted
    );
    assert!(gateway.liked_queries(&call, trial.as_str(), None).await.is_ok(), "reading it may");
}

#[tokio::test]
async fn publications_stay_at_home() {
    let world = World::new().await;
    let key = world.connect("a-lead").await;
    for user in ["a-ann", "a-abe", "b-ann", "b-lead", ROOT] {
        world.connect(user).await;
    }
    let publish = async |user: &str, ask: &str, to: Target| {
        let call = world.call_as(user).await;
        let request = LikeRequest { target: Some(to), ..like(ask, "SELECT 1") };
        world.gateway.like_query(&call, key.as_str(), request).await
    };
    assert_eq!(code(publish("a-ann", "ann", target("*", "*", "*", "*")).await), Code::NotPermitted);
    publish("a-ann", "private", Target::default()).await.unwrap();
    publish("a-lead", "all", target("*", "*", "*", "*")).await.unwrap();
    publish("a-lead", "tenant", target("a", "a-t2", "", "")).await.unwrap();
    publish("a-lead", "user", target("", "", "a-ann", key.as_str())).await.unwrap();
    for (hidden, missing) in [
        (target("b", "", "", ""), target("nowhere", "", "", "")),
        (target("", "b-t1", "", ""), target("", "nowhere", "", "")),
        (target("", "", "b-ann", ""), target("", "", "nobody", "")),
    ] {
        let refused =
            same_refusal(publish("a-lead", "x", hidden).await, publish("a-lead", "x", missing).await);
        assert_eq!(refused, Code::NotFound);
    }
    assert_eq!(
        code(publish("a-lead", "x", target("", "", "", "sqlite:///other.db")).await),
        Code::InvalidRequest
    );
    // Not even the super administrator's publication crosses the border.
    publish(ROOT, "root", target("*", "*", "*", "*")).await.unwrap();
    assert_eq!(code(publish(ROOT, "root", target("a", "", "", "")).await), Code::NotFound);
    assert_eq!(asks(&world, "a-ann", &key).await, ["private", "all", "user"]);
    assert_eq!(asks(&world, "a-abe", &key).await, ["all", "tenant"]);
    assert_eq!(asks(&world, "a-lead", &key).await, ["all", "tenant", "user"]);
    assert!(asks(&world, "b-ann", &key).await.is_empty());
    assert!(asks(&world, "b-lead", &key).await.is_empty());
}

#[tokio::test]
async fn a_publication_is_its_owner_s() {
    let world = World::new().await;
    let key = world.connect("a-lead").await;
    world.connect("a-ann").await;
    let (lead, ann) = (world.call_as("a-lead").await, world.call_as("a-ann").await);
    let published = LikeRequest { target: Some(target("*", "", "", "")), ..like("all", "SELECT 1") };
    world.gateway.like_query(&lead, key.as_str(), published).await.unwrap();
    let uuids = async |caller| {
        let likes = world.gateway.liked_queries(caller, key.as_str(), None).await.unwrap();
        likes.into_iter().map(|like| (like.owner.to_string(), like.uuid)).collect::<Vec<_>>()
    };
    let theirs = uuids(&ann).await.remove(0).1;
    // Neither by its id nor by its words can somebody else withdraw or replace it.
    for liked in [true, false] {
        let by_id = LikeRequest { liked, ..liking(&theirs) };
        assert_eq!(code(world.gateway.like_query(&ann, key.as_str(), by_id).await), Code::NotFound);
        let by_words = LikeRequest { liked, ..like("all", "SELECT 2") };
        world.gateway.like_query(&ann, key.as_str(), by_words).await.unwrap();
        let both = uuids(&ann).await;
        assert_eq!(both[0], ("a-lead".to_owned(), theirs.clone()));
        assert_eq!(both.len(), if liked { 2 } else { 1 });
        assert!(both[1..].iter().all(|(owner, uuid)| owner == "a-ann" && *uuid != theirs));
    }
    assert_eq!(uuids(&lead).await.len(), 1);
}

/// An entry of the user's history on that connection.
fn ran(id: &str, user: &str, key: &ConnectionKey, ran_at: i64) -> HistoryEntry {
    let (id, account) = (QueryId::new(id).unwrap(), UserId::new(user).unwrap());
    let owner = Identity { account, on_behalf_of: None };
    HistoryEntry { query: format!("SELECT '{id}'"), id, owner, connection: key.clone(), ran_at }
}

fn liking(id: &str) -> LikeRequest {
    LikeRequest { query_uuid: Some(id.to_owned()), liked: true, ..LikeRequest::default() }
}

#[tokio::test]
async fn history_is_one_s_own_and_knows_what_is_liked() {
    let world = World::new().await;
    let key = world.connect("a-ann").await;
    for user in ["a-abe", "b-ann"] {
        world.connect(user).await;
    }
    let own = [1, 2, 3].map(|n| ran(&format!("q{n}"), "a-ann", &key, n));
    world.store.history().append(&own).await.unwrap();
    world.store.history().append(&[ran("q4", "a-abe", &key, 4)]).await.unwrap();
    let (ann, gateway) = (world.call_as("a-ann").await, &world.gateway);
    gateway.like_query(&ann, key.as_str(), liking("q1")).await.unwrap();
    gateway.like_query(&ann, key.as_str(), liking("q3")).await.unwrap();
    let other = gateway.like_query(&ann, key.as_str(), liking("q4")).await;
    assert_eq!(code(other), Code::NotFound, "somebody else's");
    let ids = async |lookup: HistoryLookup| {
        let items = gateway.history(&ann, key.as_str(), lookup).await.unwrap();
        let marked = |liked| if liked { "+" } else { "" };
        let ids = items.iter().map(|item| format!("{}{}", item.entry.id, marked(item.liked)));
        ids.collect::<Vec<_>>().join(" ")
    };
    for (asked, expected) in [
        (lookup(), "q3+ q2 q1+"),
        (page(1, 1), "q2"),
        (page(0, 0), ""),
        (with_id("q1"), "q1+"),
        (with_id(""), "q3+ q2 q1+"),
        (with_id("q4"), ""),
        (with_id("a\0"), ""),
        (liked(true, lookup()), "q3+ q1+"),
        (liked(true, page(1, 1)), "q1+"),
        (liked(false, lookup()), "q2"),
        (liked(true, page(u32::MAX, u32::MAX)), ""),
    ] {
        assert_eq!(ids(asked.clone()).await, expected, "{asked:?}");
    }
    let oldest_first = HistoryLookup { newest_first: false, ..lookup() };
    assert_eq!(ids(oldest_first).await, "q1+ q2 q3+");
    let other = world.call_as("b-ann").await;
    assert!(gateway.history(&other, key.as_str(), lookup()).await.unwrap().is_empty());
    let withdrawal = LikeRequest { liked: false, ..liking("q3") };
    gateway.like_query(&ann, key.as_str(), withdrawal).await.unwrap();
    assert_eq!(ids(liked(true, lookup())).await, "q1+");
}
