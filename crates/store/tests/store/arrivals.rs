//! Users of outside sources: linked once, made what the source says, never somebody else.

use ringfence_policy::{Attributes, Role};
use ringfence_store::StoreError;
use ringfence_store::arrivals::{Arrival, Arrived, Unlinked};
use ringfence_store::changes::Change;
use ringfence_store::role_mapping::{MappedRole, RoleSet};
use ringfence_store::users::UserChange;

use crate::world::{World, attributes, is_silent, org, tenant_id, told, two_organizations, user, user_id};

const NEITHER: Unlinked = Unlinked { create_tenant: false, link_up_to: None };

fn set(roles: &[Role], data_roles: &[&str]) -> RoleSet {
    RoleSet { roles: roles.to_vec(), data_roles: data_roles.iter().map(|role| (*role).to_owned()).collect() }
}

/// Zoe of the first tenant, at this time, with these data roles.
fn zoe(as_of: i64, data_roles: &[&str]) -> Arrival {
    Arrival {
        source: "corporate".to_owned(),
        subject: "https://issuer zoe-1".to_owned(),
        user: user_id("zoe"),
        home: (tenant_id("acme-1"), org("acme")),
        granted: set(&[Role::ApiUser], data_roles),
        by_default: RoleSet::default(),
        variables: Attributes::new(),
        as_of,
        unlinked: NEITHER,
    }
}

fn changed(name: &str) -> Arrived {
    Arrived::Changed(user_id(name))
}

pub(crate) async fn a_user_arrives_and_is_linked(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let (arrivals, users) = (store.arrivals(), store.users());
    let mut news = store.subscribe();
    let first = Arrival { variables: attributes(r#"{"region":"eu"}"#), ..zoe(10, &["ROLE_PARIS"]) };
    assert_eq!(arrivals.arrive(&first).await.unwrap(), changed("zoe"));
    assert_eq!(told(&mut news).await, Change::User(user_id("zoe")));
    let made = users.account(&user_id("zoe")).await.unwrap().unwrap().user;
    assert_eq!((made.tenant, made.org), (tenant_id("acme-1"), org("acme")));
    assert_eq!((made.roles, made.data_roles), (vec![Role::ApiUser], vec!["ROLE_PARIS".to_owned()]));
    assert_eq!(made.variables, Some(attributes(r#"{"region":"eu"}"#)));
    assert_eq!(arrivals.find("corporate", "https://issuer zoe-1").await.unwrap(), Some(user_id("zoe")));

    // The same again writes nothing, and a new name at the source is still the same user.
    let renamed = Arrival { user: user_id("zoe.new"), as_of: 20, ..first.clone() };
    assert_eq!(arrivals.arrive(&renamed).await.unwrap(), Arrived::Welcome(user_id("zoe")));
    assert!(is_silent(&mut news), "nothing changed, so nothing is told");
    assert_eq!(users.get(&user_id("zoe.new")).await.unwrap(), None);

    // To another tenant of the organization, never to another organization.
    let moved = Arrival { home: (tenant_id("acme-2"), org("acme")), as_of: 30, ..first.clone() };
    assert_eq!(arrivals.arrive(&moved).await.unwrap(), changed("zoe"));
    assert_eq!(users.get(&user_id("zoe")).await.unwrap().unwrap().tenant, tenant_id("acme-2"));
    let away = Arrival { home: (tenant_id("rival-1"), org("rival")), as_of: 40, ..first.clone() };
    assert_eq!(arrivals.arrive(&away).await.unwrap(), Arrived::OtherOrganization);
    let nowhere = Arrival { home: (tenant_id("rival-1"), org("acme")), as_of: 40, ..first };
    assert_eq!(arrivals.arrive(&nowhere).await.unwrap(), Arrived::TenantUnknown);
    assert_eq!(users.get(&user_id("zoe")).await.unwrap().unwrap().tenant, tenant_id("acme-2"));
}

pub(crate) async fn a_name_is_never_taken_over(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let arrivals = store.arrivals();
    assert_eq!(arrivals.arrive(&zoe(10, &[])).await.unwrap(), changed("zoe"));
    let before = store.users().list(&ringfence_store::users::UserFilter::default()).await.unwrap();
    let may_link = Unlinked { create_tenant: false, link_up_to: Some(Role::SuperAdminUser) };
    let base = Arrival { subject: "https://issuer other".to_owned(), ..zoe(20, &[]) };
    for taken in [
        // Ann is a user by hand, and the source links nobody.
        Arrival { user: user_id("ann"), ..base.clone() },
        // Zoe is another subject's, and another source's, whoever may link.
        Arrival { unlinked: may_link, ..base.clone() },
        Arrival {
            unlinked: may_link,
            source: "elsewhere".to_owned(),
            subject: "s".to_owned(),
            ..base.clone()
        },
        // Rob is in another organization.
        Arrival { user: user_id("rob"), unlinked: may_link, ..base.clone() },
    ] {
        assert_eq!(arrivals.arrive(&taken).await.unwrap(), Arrived::NameTaken, "{taken:?}");
    }
    // The same subject of another source is somebody else.
    let other = Arrival { source: "elsewhere".to_owned(), user: user_id("zed"), ..zoe(20, &[]) };
    assert_eq!(arrivals.arrive(&other).await.unwrap(), changed("zed"));
    store.users().delete(&user_id("zed")).await.unwrap();
    let after = store.users().list(&ringfence_store::users::UserFilter::default()).await.unwrap();
    assert_eq!(after, before);
}

pub(crate) async fn a_link_is_made_only_where_it_may(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let arrivals = store.arrivals();
    let boss = UserChange { roles: Some(vec![Role::OrgAdminUser]), ..UserChange::default() };
    store.users().update(&user_id("abe"), &boss).await.unwrap();
    let up_to = Unlinked { create_tenant: true, link_up_to: Some(Role::ApiUser) };
    let ann = Arrival { user: user_id("ann"), unlinked: up_to, ..zoe(10, &["ROLE_PARIS"]) };
    let abe = Arrival { user: user_id("abe"), subject: "abe".to_owned(), ..ann.clone() };
    assert_eq!(
        arrivals.arrive(&abe).await.unwrap(),
        Arrived::NameTaken,
        "stands higher than the source gives"
    );
    let elsewhere = Arrival { home: (tenant_id("acme-2"), org("acme")), ..ann.clone() };
    assert_eq!(arrivals.arrive(&elsewhere).await.unwrap(), Arrived::TenantUnknown);
    assert_eq!(arrivals.arrive(&ann).await.unwrap(), changed("ann"));
    let linked = store.users().get(&user_id("ann")).await.unwrap().unwrap();
    assert_eq!(linked.data_roles, ["ROLE_PARIS"]);
    assert_eq!(linked.outside.unwrap().source, "corporate");
    // Who has a source gets no second one.
    let twice = Arrival { subject: "second".to_owned(), ..ann };
    assert_eq!(arrivals.arrive(&twice).await.unwrap(), Arrived::NameTaken);
}

pub(crate) async fn a_tenant_is_made_only_where_it_may(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let arrivals = store.arrivals();
    let new = Arrival { home: (tenant_id("acme-9"), org("acme")), ..zoe(10, &[]) };
    assert_eq!(arrivals.arrive(&new).await.unwrap(), Arrived::TenantUnknown);
    assert_eq!(store.users().get(&user_id("zoe")).await.unwrap(), None, "nobody is made on the way");
    let unlinked = Unlinked { create_tenant: true, link_up_to: None };
    let theirs = Arrival { home: (tenant_id("rival-1"), org("acme")), unlinked, ..zoe(10, &[]) };
    assert_eq!(arrivals.arrive(&theirs).await.unwrap(), Arrived::TenantUnknown, "another's tenant");
    assert_eq!(arrivals.arrive(&Arrival { unlinked, ..new }).await.unwrap(), changed("zoe"));
    assert_eq!(store.tenants().get(&tenant_id("acme-9")).await.unwrap().unwrap().org, org("acme"));
    let homeless = Arrival {
        home: (tenant_id("t"), org("none")),
        unlinked,
        user: user_id("zed"),
        subject: "zed".to_owned(),
        ..zoe(10, &[])
    };
    let refused = arrivals.arrive(&homeless).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "organization" })), "{refused:?}");
}

pub(crate) async fn what_the_source_takes_away_goes_and_the_rest_stays(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let (arrivals, users) = (store.arrivals(), store.users());
    let roles = async || {
        let user = users.get(&user_id("zoe")).await.unwrap().unwrap();
        (user.data_roles, user.variables.unwrap_or_default())
    };
    let first = Arrival { variables: attributes(r#"{"region":"eu","level":1}"#), ..zoe(10, &["B", "A"]) };
    arrivals.arrive(&first).await.unwrap();
    assert_eq!(roles().await.0, ["A", "B"]);
    // By hand: one more of its own, and those of the source as somebody reads and writes them back.
    let by_hand = UserChange {
        data_roles: Some(["A", "B", "HAND"].map(str::to_owned).to_vec()),
        variables: Some(attributes(r#"{"region":"eu","level":1,"hand":true}"#)),
        at_ms: 15,
        ..UserChange::default()
    };
    users.update(&user_id("zoe"), &by_hand).await.unwrap();
    assert_eq!(roles().await.0, ["A", "B", "HAND"]);
    arrivals.arrive(&zoe(20, &["B"])).await.unwrap();
    assert_eq!(roles().await, (vec!["B".to_owned(), "HAND".to_owned()], attributes(r#"{"hand":true}"#)));
    // What both give stays when the source takes it away.
    arrivals.arrive(&zoe(30, &["B", "HAND"])).await.unwrap();
    arrivals.arrive(&zoe(40, &[])).await.unwrap();
    assert_eq!(roles().await.0, ["HAND"]);
    // Taken away by hand, it is gone until the source says it anew.
    arrivals.arrive(&zoe(50, &["B"])).await.unwrap();
    let less = UserChange { data_roles: Some(Vec::new()), at_ms: 60, ..UserChange::default() };
    users.update(&user_id("zoe"), &less).await.unwrap();
    assert!(roles().await.0.is_empty());
    arrivals.arrive(&zoe(50, &["B"])).await.unwrap();
    assert!(roles().await.0.is_empty(), "said before it was taken away");
    arrivals.arrive(&zoe(61, &["B"])).await.unwrap();
    assert_eq!(roles().await.0, ["B"]);
}

pub(crate) async fn what_was_said_earlier_changes_nothing(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let arrivals = store.arrivals();
    arrivals.arrive(&zoe(10, &["A"])).await.unwrap();
    arrivals.arrive(&zoe(20, &[])).await.unwrap();
    let earlier = arrivals.arrive(&zoe(19, &["A"])).await.unwrap();
    assert_eq!(earlier, Arrived::Welcome(user_id("zoe")), "let in as it is now");
    assert!(store.users().get(&user_id("zoe")).await.unwrap().unwrap().data_roles.is_empty());
}

pub(crate) async fn defaults_are_for_those_without(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let (arrivals, users) = (store.arrivals(), store.users());
    let without = |as_of| Arrival {
        granted: RoleSet::default(),
        by_default: set(&[Role::TrialApiUser], &["GUEST"]),
        ..zoe(as_of, &[])
    };
    arrivals.arrive(&without(10)).await.unwrap();
    let guest = users.get(&user_id("zoe")).await.unwrap().unwrap();
    assert_eq!((guest.roles, guest.data_roles), (vec![Role::TrialApiUser], vec!["GUEST".to_owned()]));
    arrivals.arrive(&zoe(20, &["A"])).await.unwrap();
    let known = users.get(&user_id("zoe")).await.unwrap().unwrap();
    assert_eq!((known.roles, known.data_roles), (vec![Role::ApiUser], vec!["A".to_owned()]));
    let data_alone = Arrival { granted: set(&[], &["A"]), ..without(22) };
    arrivals.arrive(&data_alone).await.unwrap();
    let let_in = users.get(&user_id("zoe")).await.unwrap().unwrap();
    assert_eq!((let_in.roles, let_in.data_roles), (vec![Role::TrialApiUser], vec!["A".to_owned()]));
    let by_hand = UserChange { roles: Some(vec![Role::User]), at_ms: 25, ..UserChange::default() };
    users.update(&user_id("zoe"), &by_hand).await.unwrap();
    arrivals.arrive(&without(30)).await.unwrap();
    let by_hand = users.get(&user_id("zoe")).await.unwrap().unwrap();
    assert_eq!((by_hand.roles, by_hand.data_roles), (vec![Role::User], Vec::new()), "no guest any more");
}

pub(crate) async fn who_is_disabled_stays_out(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let (arrivals, users) = (store.arrivals(), store.users());
    arrivals.arrive(&zoe(10, &[])).await.unwrap();
    let mut news = store.subscribe();
    let disabled = UserChange { disabled: Some(true), ..UserChange::default() };
    users.update(&user_id("zoe"), &disabled).await.unwrap();
    assert_eq!(told(&mut news).await, Change::User(user_id("zoe")));
    assert!(users.account(&user_id("zoe")).await.unwrap().is_none());
    assert!(users.get(&user_id("zoe")).await.unwrap().unwrap().disabled);
    assert_eq!(arrivals.arrive(&zoe(20, &["A"])).await.unwrap(), Arrived::Disabled);
    // Deleted, the source would make it anew.
    let kept = users.delete(&user_id("zoe")).await;
    assert!(matches!(kept, Err(StoreError::InUse { what: "user", .. })), "{kept:?}");
    users.update(&user_id("ann"), &disabled).await.unwrap();
    users.delete(&user_id("ann")).await.unwrap();

    let enabled = UserChange { disabled: Some(false), ..UserChange::default() };
    users.update(&user_id("zoe"), &enabled).await.unwrap();
    assert_eq!(arrivals.arrive(&zoe(20, &["A"])).await.unwrap(), changed("zoe"));
    users.delete(&user_id("zoe")).await.unwrap();
    users.create(&user("zoe", "acme-1", "acme")).await.unwrap();
    assert_eq!(
        arrivals.arrive(&zoe(30, &[])).await.unwrap(),
        Arrived::NameTaken,
        "the link went with the user"
    );
}

pub(crate) async fn roles_are_mapped_per_source(world: World) {
    let store = world.open().await;
    let mapping = store.role_mapping();
    let mut news = store.subscribe();
    let mapped = |name: &str, means: RoleSet| MappedRole { outside_role: name.to_owned(), means };
    let (paris, atoti) =
        (mapped("paris", set(&[], &["ROLE_PARIS"])), mapped("atoti", set(&[Role::User], &[])));
    mapping.put("corporate", &paris).await.unwrap();
    assert_eq!(told(&mut news).await, Change::Directory);
    mapping.put("corporate", &mapped("atoti", RoleSet::default())).await.unwrap();
    mapping.put("corporate", &atoti).await.unwrap();
    mapping.put("elsewhere", &paris).await.unwrap();
    assert_eq!(mapping.list("corporate").await.unwrap(), [atoti, paris.clone()]);
    assert!(mapping.delete("corporate", "atoti").await.unwrap());
    assert!(!mapping.delete("corporate", "atoti").await.unwrap());
    assert_eq!(mapping.list("corporate").await.unwrap(), std::slice::from_ref(&paris));
    assert_eq!(mapping.list("elsewhere").await.unwrap(), [paris]);
    assert_eq!(mapping.list("none").await.unwrap(), []);
}
