//! Access rules: kept by place, replaced whole, gone with whom they are for.

use ringfence_store::access_rules::{RULE_ID, RULE_SCOPE, RulePlace, StoredRule};
use ringfence_store::changes::Change;
use ringfence_store::{Store, StoreError};

use crate::world::{World, org, tenant_id, told, two_organizations, user_id};

fn shop() -> RulePlace {
    RulePlace::new("shop")
}

fn rule(id: &str, table: &str, scope: (&str, &str, &str)) -> StoredRule {
    let given = |id: &'static str| move |part: &&str| *part != id;
    StoredRule {
        id: id.to_owned(),
        name: format!("the {id}"),
        schema: "public".to_owned(),
        table: table.to_owned(),
        org: Some(scope.0).filter(given("*")).map(org),
        tenant: Some(scope.1).filter(given("*")).map(tenant_id),
        user: Some(scope.2).filter(given("*")).map(user_id),
        expression: (id != "block").then(|| "year > 1995".to_owned()),
        author: user_id("ann"),
        author_rank: 5,
        created_at: 17,
    }
}

async fn ids(store: &Store, org_id: Option<&str>) -> Vec<String> {
    let org_id = org_id.map(org);
    let rules = store.access_rules().list(&shop(), org_id.as_ref()).await.unwrap();
    rules.into_iter().map(|rule| rule.id).collect()
}

pub(crate) async fn rules_come_back_and_go(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let mut news = store.subscribe();
    let rules = [
        rule("one", "movies", ("acme", "*", "*")),
        rule("block", "actors", ("acme", "acme-1", "ann")),
        rule("all", "movies", ("*", "*", "*")),
        // Ids are an organization's own.
        rule("one", "movies", ("rival", "*", "*")),
    ];
    store.access_rules().put(&shop(), &rules).await.unwrap();
    assert_eq!(told(&mut news).await, Change::AccessRules(shop()));
    assert_eq!(store.access_rules().list(&shop(), None).await.unwrap(), rules);
    assert_eq!(ids(&store, Some("acme")).await, ["one", "block", "all"]);
    assert_eq!(ids(&store, Some("rival")).await, ["all", "one"]);
    let again = StoredRule { expression: None, author: user_id("amy"), author_rank: 4, ..rules[0].clone() };
    store.access_rules().put(&shop(), std::slice::from_ref(&again)).await.unwrap();
    let kept = store.access_rules().list(&shop(), Some(&org("acme"))).await.unwrap();
    assert_eq!(kept[0], again);
    let gone =
        [(Some(org("acme")), "one".to_owned()), (None, "nothing".to_owned()), (None, "block".to_owned())];
    store.access_rules().remove(&shop(), &gone).await.unwrap();
    assert_eq!(ids(&store, None).await, ["block", "all", "one"]);
}

pub(crate) async fn rules_are_kept_all_or_none(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let one = rule("one", "movies", ("acme", "*", "*"));
    store.access_rules().put(&shop(), std::slice::from_ref(&one)).await.unwrap();
    let fine = || rule("fine", "actors", ("acme", "*", "*"));
    for (wrong, expected) in [
        (rule("two", "movies", ("acme", "*", "*")), StoreError::Duplicate { what: RULE_SCOPE }),
        (rule("one", "actors", ("acme", "acme-1", "*")), StoreError::Duplicate { what: RULE_ID }),
        (rule("three", "actors", ("nobody", "*", "*")), StoreError::Missing { what: "scope" }),
        (rule("three", "actors", ("acme", "nothing", "*")), StoreError::Missing { what: "scope" }),
        (rule("three", "actors", ("acme", "*", "nobody")), StoreError::Missing { what: "scope" }),
    ] {
        let refused = store.access_rules().put(&shop(), &[fine(), wrong]).await.unwrap_err();
        assert_eq!(refused.to_string(), expected.to_string());
        assert_eq!(store.access_rules().list(&shop(), None).await.unwrap(), std::slice::from_ref(&one));
    }
}

pub(crate) async fn rules_bind_one_place(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    store.access_rules().put(&shop(), &[rule("one", "movies", ("acme", "*", "*"))]).await.unwrap();
    assert_eq!(store.access_rules().list(&RulePlace::new("shop2"), None).await.unwrap(), []);
    let elsewhere = [(Some(org("acme")), "one".to_owned())];
    store.access_rules().remove(&RulePlace::new("shop2"), &elsewhere).await.unwrap();
    assert_eq!(ids(&store, None).await, ["one"]);
}

pub(crate) async fn rules_go_with_whom_they_are_for(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let rules = [
        rule("user", "movies", ("acme", "acme-2", "amy")),
        rule("tenant", "movies", ("acme", "acme-2", "*")),
        rule("org", "movies", ("acme", "*", "*")),
    ];
    store.access_rules().put(&shop(), &rules).await.unwrap();
    let mut news = store.subscribe();
    store.users().delete(&user_id("amy")).await.unwrap();
    assert_eq!(ids(&store, None).await, ["tenant", "org"]);
    store.tenants().delete(&tenant_id("acme-2")).await.unwrap();
    assert_eq!(ids(&store, None).await, ["org"]);
    let mut told = 0;
    while let Ok(change) = news.try_recv() {
        told += usize::from(change == Change::AccessRules(shop()));
    }
    assert_eq!(told, 2);
}
