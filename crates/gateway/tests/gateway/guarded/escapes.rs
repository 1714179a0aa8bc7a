//! Ways around a policy that are none.

use ringfence_gateway::Code;
use ringfence_gateway::connections::ConnectionEdits;
use ringfence_policy::ConnectionSpec;
use ringfence_testkit::Postgres;

use super::Shop;
use crate::sources::{add, alias, database, edit, file, indexed, new, password, run, settled, update};
use crate::world::{World, code};

const COUNT: &str = "SELECT count(*) FROM public.orders";

#[tokio::test]
async fn other_spellings_and_credentials_are_bound_as_well() {
    let shop = Shop::guarded("escape_spelling").await;
    let server = Postgres::shared().await;
    let client = server.client("escape_spelling").await;
    client
        .batch_execute(
            "CREATE ROLE escape_other LOGIN PASSWORD 'pw-escape_other';
             GRANT ALL ON ALL TABLES IN SCHEMA public TO escape_other",
        )
        .await
        .unwrap();
    let with = |change: fn(&mut ConnectionSpec)| {
        let mut spec = shop.spec.clone();
        change(&mut spec);
        spec
    };
    let spellings = [
        (alias(&shop.spec, "mine"), shop.owner.as_str()),
        (with(|spec| spec.host = Some("LOCALHOST".to_owned())), &shop.owner),
        (with(|spec| spec.host = Some("127.1".to_owned())), &shop.owner),
        (with(|spec| spec.alias = Some("other".to_owned())), &shop.owner),
        (with(|spec| spec.user_alias = Some("nobody".to_owned())), &shop.owner),
        (with(|spec| spec.username = Some("escape_other".to_owned())), "escape_other"),
    ];
    for (spec, owner) in spellings {
        let key = indexed(&shop.world, "a-ann", &spec, Some(&password(owner))).await;
        assert_eq!(run(&shop.world, "a-ann", &key, COUNT).await.as_deref(), Ok("[[2]]"), "{key}");
        assert!(run(&shop.world, "a-ann", &key, "SELECT * FROM public.secrets").await.is_err(), "{key}");
    }
}

#[tokio::test]
async fn removing_and_adding_again_removes_no_policy() {
    let shop = Shop::guarded("escape_again").await;
    for user in ["a-boss", "a-abe", "a-ann"] {
        let removed = ConnectionEdits { removed: vec![shop.key.clone()], ..ConnectionEdits::default() };
        edit(&shop.world, user, removed).await.unwrap();
    }
    indexed(&shop.world, "a-ann", &shop.spec, Some(&password(&shop.owner))).await;
    shop.rows("a-ann", COUNT, "[[2]]").await;
}

#[tokio::test]
async fn nothing_runs_before_the_catalog_is_there() {
    let shop = Shop::guarded("escape_unindexed").await;
    // Of a user whose password does not work, nothing is shared.
    let spec = alias(&shop.spec, "fresh");
    let key = add(&shop.world, "a-ann", &spec, Some("wrong")).await;
    for _ in 0..2 {
        assert_eq!(code(run(&shop.world, "a-ann", &key, COUNT).await), Code::CatalogNotReady);
        assert_eq!(code(run(&shop.world, "a-ann", &key, "SELECT 1").await), Code::CatalogNotReady);
        settled(&shop.world, "a-ann", &key).await;
    }
    // The same key, whose catalog is there for others.
    edit(&shop.world, "a-abe", update(new(&shop.spec, Some("wrong")))).await.unwrap();
    settled(&shop.world, "a-abe", &shop.key).await;
    shop.refused("a-abe", COUNT, Code::CatalogNotReady).await;
}

#[tokio::test]
async fn a_policy_is_of_one_organization_and_one_database() {
    let shop = Shop::guarded("escape_elsewhere").await;
    let other = database("escape_beside", "escape_elsewhere_owner", super::SCHEMA).await;
    let beside = indexed(&shop.world, "a-ann", &other, Some(&password("escape_elsewhere_owner"))).await;
    assert_eq!(run(&shop.world, "a-ann", &beside, COUNT).await.as_deref(), Ok("[[4]]"));
    let theirs = indexed(&shop.world, "b-ann", &shop.spec, Some(&password(&shop.owner))).await;
    assert_eq!(run(&shop.world, "b-ann", &theirs, COUNT).await.as_deref(), Ok("[[4]]"));
}

#[tokio::test]
async fn files_are_bound_however_they_are_named() {
    let world = World::new().await;
    let spec = file(
        &world,
        "shop.db",
        "CREATE TABLE orders (id INTEGER, tenant_id TEXT); INSERT INTO orders VALUES (1, 'a-t1'), (2, 'a-t2')",
    );
    let key = indexed(&world, "a-boss", &spec, None).await;
    let document =
        "models: { Order: { table: orders, scoping: { tenant_id: principal.tenant_id } } }".to_owned();
    let policy = ringfence_gateway::policies::NewPolicy {
        document,
        comment: None,
        expected: ringfence_store::policies::Expected::None,
    };
    world.gateway.put_policy(&world.call_as("a-boss").await, &key, policy).await.unwrap();
    std::os::unix::fs::symlink(world.data().join("shop.db"), world.data().join("link.db")).unwrap();
    let path = world.data().to_str().unwrap();
    for name in [
        format!("{path}/shop.db"),
        "shop.db".to_owned(),
        "./shop.db".to_owned(),
        format!("{path}//shop.db"),
        "link.db".to_owned(),
    ] {
        let spec = ConnectionSpec { database: Some(name.clone()), ..spec.clone() };
        let key = indexed(&world, "a-abe", &spec, None).await;
        assert_eq!(
            run(&world, "a-abe", &key, "SELECT id FROM orders").await.as_deref(),
            Ok("[[2]]"),
            "{name}"
        );
    }
}
