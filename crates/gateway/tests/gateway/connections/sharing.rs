//! Sharing by key, with its limits, on a real server that checks passwords.

use std::collections::BTreeSet;

use ringfence_gateway::Code;
use ringfence_gateway::annotations::RelationName;
use ringfence_gateway::connections::ConnectionEdits;
use ringfence_store::sources::IndexStatus;

use crate::sources::{
    add, alias, database, edit, filtered, indexed, new, password, run, settled, status, tables, update,
};
use crate::world::{World, code};

const SCHEMA: &str =
    "CREATE TABLE public.movies (id int PRIMARY KEY, title text); CREATE TABLE public.secrets (a int)";

#[tokio::test]
async fn the_filters_flow_of_the_seed() {
    let world = World::new().await;
    let spec = database("waii_test_db2", "waii_test_user2", "SELECT 1").await;
    let secret = password("waii_test_user2");
    let key = indexed(&world, "a-abe", &spec, Some(&secret)).await;
    indexed(&world, "a-ann", &spec, Some(&secret)).await;
    for user in ["a-ann", "a-abe"] {
        assert_eq!(tables(&world, user, &key).await.unwrap().len(), 9, "{user}");
        assert_eq!(
            run(&world, user, &key, "SELECT current_database();").await.unwrap(),
            r#"[["waii_test_db2"]]"#
        );
    }
    let one = r#"[{"db_name":"*","schema_name":"information_schema","table_name":"tables"}]"#;
    let two = r#"[{"schema_name":"information_schema","table_name":"columns"},
                  {"schema_name":"INFORMATION_SCHEMA","table_name":"TABLES"}]"#;
    indexed(&world, "a-ann", &filtered(&spec, two), Some(&secret)).await;
    let expected = ["information_schema.columns", "information_schema.tables"];
    for user in ["a-ann", "a-abe"] {
        assert_eq!(tables(&world, user, &key).await.unwrap(), expected, "{user}");
        let index = status(&world, user, &key).await;
        assert_eq!(
            (index.status, index.schemas["information_schema"].total),
            (IndexStatus::Completed, 2),
            "{user}"
        );
    }
    let first = indexed(&world, "a-ann", &filtered(&alias(&spec, "alias_1"), one), Some(&secret)).await;
    let second = indexed(&world, "a-abe", &filtered(&alias(&spec, "alias_2"), two), Some(&secret)).await;
    assert_eq!(first, "waii://waii_test_user2@127.0.0.1/alias_1");
    assert_eq!(tables(&world, "a-ann", &first).await.unwrap().len(), 1);
    assert_eq!(tables(&world, "a-abe", &second).await.unwrap().len(), 2);
    assert_eq!(tables(&world, "a-ann", &key).await.unwrap().len(), 2);
}

#[tokio::test]
async fn another_organization_shares_nothing() {
    let world = World::new().await;
    let spec = database("orgs", "orgs_owner", SCHEMA).await;
    let secret = password("orgs_owner");
    let key = indexed(&world, "a-ann", &filtered(&spec, r#"[{"table_name":"movies"}]"#), Some(&secret)).await;
    let call = world.call_as("a-ann").await;
    let movies = RelationName { schema: Some("PUBLIC".to_owned()), name: "MOVIES".to_owned() };
    world.gateway.describe_relation(&call, &key, &movies, "ours").await.unwrap();
    assert_eq!(indexed(&world, "b-ann", &spec, Some(&secret)).await, key);
    let seen: BTreeSet<String> = tables(&world, "b-ann", &key).await.unwrap().into_iter().collect();
    assert!(seen.contains("public.movies") && seen.contains("public.secrets"), "{seen:?}");
    let view = world.gateway.catalog(&world.call_as("b-ann").await, &key, &[]).await.unwrap().unwrap();
    assert!(view.annotations.relations.is_empty(), "{view:?}");
    // The other way round neither.
    indexed(&world, "b-ann", &filtered(&spec, r#"[{"table_name":"secrets"}]"#), Some(&secret)).await;
    assert_eq!(tables(&world, "a-ann", &key).await.unwrap(), ["public.movies"]);
    // Within the organization all is shared.
    indexed(&world, "a-abe", &filtered(&spec, r#"[{"table_name":"m*"}]"#), Some(&secret)).await;
    let view = world.gateway.catalog(&world.call_as("a-abe").await, &key, &[]).await.unwrap().unwrap();
    assert_eq!(view.annotations.relations["public"]["movies"].description.as_deref(), Some("ours"));
}

#[tokio::test]
async fn a_wrong_password_sees_and_changes_nothing() {
    let world = World::new().await;
    let spec = database("joined", "joined_owner", SCHEMA).await;
    let secret = password("joined_owner");
    let key = indexed(&world, "a-ann", &spec, Some(&secret)).await;
    let before = tables(&world, "a-ann", &key).await;
    for wrong in [Some("wrong"), None] {
        let greedy = filtered(&spec, r#"[{"table_name":"secrets"}]"#);
        assert_eq!(add(&world, "a-abe", &greedy, wrong).await, key);
        assert_eq!(tables(&world, "a-abe", &key).await, None);
        let index = settled(&world, "a-abe", &key).await;
        assert_eq!(index.status, IndexStatus::Failed);
        assert!(index.schemas.is_empty() && index.diagnostics.is_some(), "{index:?}");
        assert_eq!(tables(&world, "a-abe", &key).await, None);
        assert_eq!(code(run(&world, "a-abe", &key, "SELECT 1").await), Code::SourceCredentials);
        let call = world.call_as("a-abe").await;
        let movies = RelationName { schema: None, name: "movies".to_owned() };
        assert_eq!(code(world.gateway.describe_relation(&call, &key, &movies, "mine").await), Code::Conflict);
        world.gateway.refresh_connection(&call, &key).await.unwrap();
        assert_eq!(settled(&world, "a-abe", &key).await.status, IndexStatus::Failed);
        let view = world.gateway.get_connection(&world.call_as("a-ann").await, &key).await.unwrap();
        assert_eq!((view.index.status, view.spec.content_filters), (IndexStatus::Completed, None));
        assert_eq!(tables(&world, "a-ann", &key).await, before);
    }
    let probing = ConnectionEdits { validate_before_save: true, ..update(new(&spec, Some("wrong"))) };
    assert_eq!(code(edit(&world, "b-ann", probing).await), Code::SourceCredentials);
    // With the right one the joiner's filters count.
    indexed(&world, "a-abe", &filtered(&spec, r#"[{"table_name":"movies"}]"#), Some(&secret)).await;
    settled(&world, "a-ann", &key).await;
    assert_eq!(tables(&world, "a-ann", &key).await.unwrap(), ["public.movies"]);
}

#[tokio::test]
async fn a_first_user_with_a_wrong_password_blocks_nobody() {
    let world = World::new().await;
    let spec = database("squatted", "squatted_owner", SCHEMA).await;
    let key = add(&world, "a-abe", &filtered(&spec, r#"[{"table_name":"none"}]"#), Some("wrong")).await;
    assert_eq!(settled(&world, "a-abe", &key).await.status, IndexStatus::Failed);
    indexed(&world, "a-ann", &spec, Some(&password("squatted_owner"))).await;
    assert!(tables(&world, "a-ann", &key).await.unwrap().contains(&"public.secrets".to_owned()));
    assert_eq!(tables(&world, "a-abe", &key).await, None);
}

#[tokio::test]
async fn an_alias_of_another_database_is_separate() {
    let world = World::new().await;
    let one = alias(&database("alias_one", "alias_owner", SCHEMA).await, "x");
    let two = alias(&database("alias_two", "alias_owner", "CREATE TABLE public.other (a int)").await, "x");
    let secret = password("alias_owner");
    let key = indexed(&world, "a-ann", &one, Some(&secret)).await;
    assert_eq!(
        indexed(&world, "a-abe", &filtered(&two, r#"[{"schema_name":"public"}]"#), Some(&secret)).await,
        key
    );
    assert_eq!(tables(&world, "a-abe", &key).await.unwrap(), ["public.other"]);
    assert!(tables(&world, "a-ann", &key).await.unwrap().contains(&"public.movies".to_owned()));
    assert_eq!(run(&world, "a-ann", &key, "SELECT current_database()").await.unwrap(), r#"[["alias_one"]]"#);
    assert_eq!(run(&world, "a-abe", &key, "SELECT current_database()").await.unwrap(), r#"[["alias_two"]]"#);
}

#[tokio::test]
async fn a_stored_password_is_kept_for_its_place_only() {
    let world = World::new().await;
    let one = alias(&database("kept_one", "kept_owner", SCHEMA).await, "x");
    let two = alias(&database("kept_two", "kept_owner", SCHEMA).await, "x");
    let key = indexed(&world, "a-ann", &one, Some(&password("kept_owner"))).await;
    indexed(&world, "a-ann", &filtered(&one, r#"[{"table_name":"movies"}]"#), None).await;
    assert_eq!(tables(&world, "a-ann", &key).await.unwrap(), ["public.movies"]);
    // The alias now points elsewhere: the password stays behind.
    assert_eq!(add(&world, "a-ann", &two, None).await, key);
    assert_eq!(settled(&world, "a-ann", &key).await.status, IndexStatus::Failed);
    assert_eq!(code(run(&world, "a-ann", &key, "SELECT 1").await), Code::SourceCredentials);
    // Removed and added again is new.
    indexed(&world, "a-ann", &one, Some(&password("kept_owner"))).await;
    let edits = ConnectionEdits { removed: vec![key.clone()], ..update(new(&one, None)) };
    edit(&world, "a-ann", edits).await.unwrap();
    assert_eq!(settled(&world, "a-ann", &key).await.status, IndexStatus::Failed);
}

#[tokio::test]
async fn a_changed_password_is_proven_again() {
    let world = World::new().await;
    let spec = database("changed", "changed_owner", SCHEMA).await;
    let secret = password("changed_owner");
    let key = indexed(&world, "a-ann", &spec, Some(&secret)).await;
    indexed(&world, "a-abe", &spec, Some(&secret)).await;
    add(&world, "a-abe", &filtered(&spec, r#"[{"table_name":"secrets"}]"#), Some("wrong")).await;
    assert_eq!(settled(&world, "a-abe", &key).await.status, IndexStatus::Failed);
    assert_eq!(tables(&world, "a-abe", &key).await, None);
    assert!(tables(&world, "a-ann", &key).await.unwrap().contains(&"public.movies".to_owned()));
    // The password changes in the database: one user tells the new one, and the other's old one is found out.
    let server = ringfence_testkit::Postgres::shared().await.client("postgres").await;
    server.batch_execute("ALTER ROLE changed_owner PASSWORD 'new'").await.unwrap();
    indexed(&world, "a-abe", &spec, Some("new")).await;
    crate::world::eventually(|| async {
        (status(&world, "a-ann", &key).await.status == IndexStatus::Failed).then_some(())
    })
    .await;
    assert_eq!(tables(&world, "a-ann", &key).await, None);
    assert_eq!(tables(&world, "a-abe", &key).await.map(|tables| tables.len()), Some(11));
}
