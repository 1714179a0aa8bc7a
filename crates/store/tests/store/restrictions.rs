//! Restrictions beside policies: by role, told as changes of the policy, gone with the organization.

use std::collections::BTreeMap;

use ringfence_store::StoreError;
use ringfence_store::changes::Change;
use ringfence_store::policies::{Expected, PolicyDraft, PolicyPlace};
use ringfence_store::restrictions::Restricted;
use serde_json::{Value, json};

use crate::world::{World, org, told, two_organizations, user_id};

fn place(org_id: &str) -> PolicyPlace {
    PolicyPlace { org: org(org_id), place: "shop".to_owned() }
}

fn draft() -> PolicyDraft {
    PolicyDraft {
        document: "default: allow".to_owned(),
        author: user_id("ann"),
        comment: None,
        created_at: 1,
        footprint: None,
        removed: false,
    }
}

fn paris() -> Value {
    json!([{"table": "shops", "column": "city", "in": ["Paris", "ä", 7, null]}])
}

pub(crate) async fn restrictions_come_back_and_go(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    store.policies().put(&place("acme"), Expected::Any, &draft()).await.unwrap();
    let (shop, restrictions) = (place("acme"), store.restrictions());
    let (ann, by) = (user_id("ann"), 17);
    let none = restrictions.on(&shop).await.unwrap();
    assert_eq!(none, Restricted::default());
    let mut news = store.subscribe();
    assert!(!restrictions.put(&shop, &none, ("ROLE_PARIS", Some(&paris())), (&ann, by)).await.unwrap());
    assert_eq!(told(&mut news).await, Change::Policy(shop.id()));
    let one = restrictions.on(&shop).await.unwrap();
    assert_eq!(one, Restricted { version: 1, roles: BTreeMap::from([("ROLE_PARIS".to_owned(), paris())]) });
    assert!(restrictions.put(&shop, &one, ("ROLE_PARIS", None), (&ann, by)).await.unwrap());
    let gone = restrictions.on(&shop).await.unwrap();
    assert_eq!(gone, Restricted { version: 2, roles: BTreeMap::new() }, "versions go on");
    assert!(!restrictions.put(&shop, &gone, ("ROLE_PARIS", None), (&ann, by)).await.unwrap());
}

pub(crate) async fn restrictions_have_one_writer_and_one_place(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let restrictions = store.restrictions();
    let (shop, other, ann) = (place("acme"), place("rival"), user_id("ann"));
    let none = Restricted::default();
    let said = paris();
    let put = async |place: &PolicyPlace, known: &Restricted| {
        restrictions.put(place, known, ("ROLE_PARIS", Some(&said)), (&ann, 1)).await
    };
    assert!(matches!(put(&shop, &none).await, Err(StoreError::Missing { what: "policy" })));
    for place in [&shop, &other] {
        store.policies().put(place, Expected::Any, &draft()).await.unwrap();
    }
    put(&shop, &none).await.unwrap();
    assert!(matches!(put(&shop, &none).await, Err(StoreError::Conflict { .. })), "somebody was faster");
    assert_eq!(restrictions.on(&other).await.unwrap(), none, "another organization's place is another place");
    store.organizations().delete(&org("rival")).await.unwrap();
    assert_eq!(restrictions.on(&shop).await.unwrap().version, 1);
}
