//! Liked queries, and to whom they are published.

use std::sync::Arc;

use ringfence_policy::{Permissions, Principal, Role};
use ringfence_store::StoreError;
use ringfence_store::likes::LikedQuery;
use ringfence_store::parameters::ParameterTarget;
use ringfence_store::users::UserChange;

use crate::world::{World, key, org, organization, tenant_id, two_organizations, user, user_id};

fn like(owner: &str, in_org: &str, ask: &str, published: Option<ParameterTarget>) -> LikedQuery {
    LikedQuery {
        uuid: format!("uuid of {ask}"),
        owner: user_id(owner),
        org: org(in_org),
        connection: key("c"),
        ask: ask.to_owned(),
        query: format!("SELECT '{ask}'"),
        rewrite_question: true,
        detailed_steps: Some(vec!["one".to_owned()]),
        published,
        created_at: 5,
    }
}

fn principal(user: &str, tenant: &str, in_org: &str) -> Principal {
    Principal {
        org: org(in_org),
        tenant: tenant_id(tenant),
        user: user_id(user),
        name: user.to_owned(),
        roles: vec![Role::ApiUser],
        data_roles: Arc::default(),
        permissions: Permissions::default(),
        attributes: Arc::default(),
        acted_by: None,
        application: None,
        agent: None,
        standing: None,
    }
}

async fn seen(store: &ringfence_store::Store, principal: &Principal) -> Vec<String> {
    let likes = store.likes().visible_to(principal, &key("c")).await.unwrap();
    likes.into_iter().map(|like| like.ask).collect()
}

pub(crate) async fn likes_replace_and_go(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let ann = principal("ann", "acme-1", "acme");
    let first = like("ann", "acme", "long ask ".repeat(1000).trim(), None);
    let earlier =
        LikedQuery { created_at: 1, ask: "earlier".to_owned(), detailed_steps: None, ..first.clone() };
    store.likes().put(&first).await.unwrap();
    store.likes().put(&earlier).await.unwrap();
    let replaced = LikedQuery { query: "SELECT 2".to_owned(), rewrite_question: false, ..first.clone() };
    store.likes().put(&replaced).await.unwrap();
    let found = store.likes().visible_to(&ann, &key("c")).await.unwrap();
    assert_eq!(found, [earlier, replaced], "oldest first");
    assert!(store.likes().visible_to(&ann, &key("d")).await.unwrap().is_empty());
    assert!(seen(&store, &principal("abe", "acme-1", "acme")).await.is_empty(), "not published");

    store.likes().delete(&user_id("abe"), &key("c"), "earlier").await.unwrap();
    store.likes().delete(&user_id("ann"), &key("c"), "unknown").await.unwrap();
    assert_eq!(seen(&store, &ann).await.len(), 2);
    store.likes().delete(&user_id("ann"), &key("c"), &first.ask).await.unwrap();
    assert_eq!(seen(&store, &ann).await, ["earlier"]);
    for nobody in [
        like("none", "acme", "x", None),
        like(
            "ann",
            "acme",
            "x",
            Some(ParameterTarget { user: Some(user_id("none")), ..ParameterTarget::default() }),
        ),
    ] {
        let refused = store.likes().put(&nobody).await;
        assert!(matches!(refused, Err(StoreError::Missing { what: "target" })), "{refused:?}");
    }
}

pub(crate) async fn publications_reach_their_targets(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let everyone = ParameterTarget::default();
    let targets = [
        ("own", None),
        ("all", Some(everyone.clone())),
        ("org", Some(ParameterTarget { org: Some(org("acme")), ..everyone.clone() })),
        ("tenant", Some(ParameterTarget { tenant: Some(tenant_id("acme-2")), ..everyone.clone() })),
        ("user", Some(ParameterTarget { user: Some(user_id("abe")), ..everyone.clone() })),
        ("here", Some(ParameterTarget { connection: Some(key("c")), ..everyone.clone() })),
        ("elsewhere", Some(ParameterTarget { connection: Some(key("d")), ..everyone.clone() })),
    ];
    for (ask, target) in targets {
        store.likes().put(&like("ann", "acme", ask, target)).await.unwrap();
    }
    let ann = seen(&store, &principal("ann", "acme-1", "acme")).await;
    assert_eq!(ann, ["own", "all", "org", "tenant", "user", "here", "elsewhere"]);
    assert_eq!(seen(&store, &principal("abe", "acme-1", "acme")).await, ["all", "org", "user", "here"]);
    assert_eq!(seen(&store, &principal("amy", "acme-2", "acme")).await, ["all", "org", "tenant", "here"]);
    let found = store.likes().visible_to(&principal("abe", "acme-1", "acme"), &key("c")).await.unwrap();
    assert_eq!(found[0].published, Some(everyone));
}

pub(crate) async fn publications_never_cross_organizations(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let everyone = ParameterTarget::default();
    let targets = [
        ("all", everyone.clone()),
        ("their org", ParameterTarget { org: Some(org("rival")), ..everyone.clone() }),
        ("their tenant", ParameterTarget { tenant: Some(tenant_id("rival-1")), ..everyone.clone() }),
        ("their user", ParameterTarget { user: Some(user_id("rob")), ..everyone.clone() }),
        ("their connection", ParameterTarget { connection: Some(key("c")), ..everyone.clone() }),
    ];
    for (ask, target) in targets {
        store.likes().put(&like("ann", "acme", ask, Some(target))).await.unwrap();
    }
    assert_eq!(seen(&store, &principal("rob", "rival-1", "rival")).await, [""; 0]);
    assert_eq!(seen(&store, &principal("abe", "acme-1", "acme")).await, ["all", "their connection"]);
}

pub(crate) async fn publications_end_with_their_target(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let everyone = ParameterTarget::default();
    let to_amy = ParameterTarget { user: Some(user_id("amy")), ..everyone.clone() };
    let to_tenant = ParameterTarget { tenant: Some(tenant_id("acme-2")), ..everyone.clone() };
    store.likes().put(&like("ann", "acme", "to amy", Some(to_amy))).await.unwrap();
    store.likes().put(&like("ann", "acme", "to tenant", Some(to_tenant))).await.unwrap();
    store.likes().put(&like("rob", "rival", "to all", Some(everyone))).await.unwrap();
    let amy = principal("amy", "acme-2", "acme");
    assert_eq!(seen(&store, &amy).await, ["to amy", "to tenant"]);
    store.users().delete(&user_id("amy")).await.unwrap();
    store.users().create(&user("amy", "acme-2", "acme")).await.unwrap();
    assert_eq!(seen(&store, &amy).await, ["to tenant"], "a new amy is not the one it was for");
    store.users().delete(&user_id("amy")).await.unwrap();
    store.tenants().delete(&tenant_id("acme-2")).await.unwrap();
    store.tenants().create(&crate::world::tenant("acme-2", "acme")).await.unwrap();
    assert_eq!(seen(&store, &amy).await, [""; 0]);
    assert_eq!(seen(&store, &principal("ann", "acme-1", "acme")).await.len(), 2, "the owner keeps them");

    let home = Some((tenant_id("acme-1"), org("acme")));
    store.users().update(&user_id("rob"), &UserChange { home, ..UserChange::default() }).await.unwrap();
    store.tenants().delete(&tenant_id("rival-1")).await.unwrap();
    store.organizations().delete(&org("rival")).await.unwrap();
    store.organizations().create(&organization("rival")).await.unwrap();
    assert_eq!(
        seen(&store, &principal("new", "rival-1", "rival")).await,
        [""; 0],
        "a new organization inherits none"
    );
}
