//! Organizations, tenants and users.

use ringfence_policy::{Identity, Role};
use ringfence_store::StoreError;
use ringfence_store::history::{HistoryEntry, HistoryPage};
use ringfence_store::organizations::Organization;
use ringfence_store::parameters::{ParameterSetting, ParameterTarget};
use ringfence_store::tenants::Tenant;
use ringfence_store::users::{User, UserChange, UserFilter};

use crate::world::{
    World, attributes, connect, key, org, organization, tenant, tenant_id, two_organizations, user, user_id,
};

pub(crate) async fn organizations_come_and_go(world: World) {
    let store = world.open().await;
    let organizations = store.organizations();
    for id in ["zeta", "acme", "mid"] {
        organizations.create(&organization(id)).await.unwrap();
    }
    let again = organizations.create(&organization("acme")).await;
    assert!(matches!(again, Err(StoreError::Duplicate { what: "organization" })), "{again:?}");
    let ids: Vec<_> =
        organizations.list().await.unwrap().into_iter().map(|found| found.id.to_string()).collect();
    assert_eq!(ids, ["zeta", "acme", "mid"], "in order of creation");

    organizations.update(&org("acme"), None, Some(&attributes(r#"{"a":[1]}"#))).await.unwrap();
    organizations.update(&org("acme"), Some("New"), None).await.unwrap();
    let expected = Organization {
        id: org("acme"),
        name: Some("New".to_owned()),
        variables: Some(attributes(r#"{"a":[1]}"#)),
    };
    assert_eq!(organizations.get(&org("acme")).await.unwrap(), Some(expected));
    assert_eq!(organizations.get(&org("none")).await.unwrap(), None);
    let missing = organizations.update(&org("none"), Some("x"), None).await;
    assert!(matches!(missing, Err(StoreError::Missing { what: "organization" })), "{missing:?}");

    store.tenants().create(&tenant("t", "acme")).await.unwrap();
    let in_use = organizations.delete(&org("acme")).await;
    assert!(
        matches!(in_use, Err(StoreError::InUse { what: "organization", dependents: "tenants" })),
        "{in_use:?}"
    );
    store.tenants().delete(&tenant_id("t")).await.unwrap();
    organizations.delete(&org("acme")).await.unwrap();
    let missing = organizations.delete(&org("acme")).await;
    assert!(matches!(missing, Err(StoreError::Missing { what: "organization" })), "{missing:?}");
    organizations.create(&organization("acme")).await.unwrap();
    assert_eq!(organizations.get(&org("acme")).await.unwrap(), Some(organization("acme")));
}

pub(crate) async fn tenants_belong_to_organizations(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let tenants = store.tenants();
    let again = tenants.create(&tenant("acme-1", "rival")).await;
    assert!(matches!(again, Err(StoreError::Duplicate { what: "tenant" })), "{again:?}");
    let nowhere = tenants.create(&tenant("t", "none")).await;
    assert!(matches!(nowhere, Err(StoreError::Missing { what: "organization" })), "{nowhere:?}");
    let ids: Vec<_> =
        tenants.list(&org("acme")).await.unwrap().into_iter().map(|found| found.id.to_string()).collect();
    assert_eq!(ids, ["acme-1", "acme-2"]);
    assert!(tenants.list(&org("none")).await.unwrap().is_empty());

    let variables = attributes(r#"{"k":"v"}"#);
    tenants.update(&tenant_id("acme-1"), Some("One"), Some(&variables)).await.unwrap();
    tenants.update(&tenant_id("acme-1"), None, None).await.unwrap();
    let expected =
        Tenant { name: Some("One".to_owned()), variables: Some(variables), ..tenant("acme-1", "acme") };
    assert_eq!(tenants.get(&tenant_id("acme-1")).await.unwrap(), Some(expected));
    let missing = tenants.update(&tenant_id("none"), None, None).await;
    assert!(matches!(missing, Err(StoreError::Missing { what: "tenant" })), "{missing:?}");

    let in_use = tenants.delete(&tenant_id("acme-2")).await;
    assert!(matches!(in_use, Err(StoreError::InUse { what: "tenant", dependents: "users" })), "{in_use:?}");
    store.users().delete(&user_id("amy")).await.unwrap();
    tenants.delete(&tenant_id("acme-2")).await.unwrap();
    let missing = tenants.delete(&tenant_id("acme-2")).await;
    assert!(matches!(missing, Err(StoreError::Missing { what: "tenant" })), "{missing:?}");
    assert_eq!(tenants.get(&tenant_id("acme-2")).await.unwrap(), None);

    let tenants = store.tenants();
    tenants.create(&tenant("held", "acme")).await.unwrap();
    assert!(!tenants.is_suspended(&tenant_id("held")).await.unwrap());
    for (at, changed) in [(Some(7), true), (Some(8), false), (None, true), (None, false), (Some(9), true)] {
        assert_eq!(tenants.suspend(&tenant_id("held"), at).await.unwrap(), changed, "{at:?}");
        assert_eq!(tenants.is_suspended(&tenant_id("held")).await.unwrap(), at.is_some());
    }
    assert!(!tenants.is_suspended(&tenant_id("none")).await.unwrap());
    let missing = tenants.suspend(&tenant_id("none"), Some(1)).await;
    assert!(matches!(missing, Err(StoreError::Missing { what: "tenant" })), "{missing:?}");
}

pub(crate) async fn users_belong_to_tenants(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let users = store.users();
    let again = users.create(&user("ann", "rival-1", "rival")).await;
    assert!(matches!(again, Err(StoreError::Duplicate { what: "user" })), "{again:?}");
    for (tenant, org) in [("none", "acme"), ("rival-1", "acme"), ("acme-1", "rival"), ("acme-1", "none")] {
        let homeless = users.create(&user("new", tenant, org)).await;
        assert!(
            matches!(homeless, Err(StoreError::Missing { what: "tenant" })),
            "{tenant} {org}: {homeless:?}"
        );
    }
    let mut expected = user("ann", "acme-1", "acme");
    assert_eq!(users.get(&user_id("ann")).await.unwrap(), Some(expected.clone()));
    assert_eq!(users.get(&user_id("none")).await.unwrap(), None);

    let change = UserChange {
        name: Some("Ännchen".to_owned()),
        variables: Some(attributes(r#"{"z":1,"a":2}"#)),
        roles: Some(vec![Role::SuperAdminUser, Role::TrialUser]),
        data_roles: Some(vec!["ROLE_FRANCE".to_owned()]),
        home: None,
    };
    users.update(&user_id("ann"), &change).await.unwrap();
    users.update(&user_id("ann"), &UserChange::default()).await.unwrap();
    (expected.name, expected.variables) = (change.name, change.variables);
    expected.roles = vec![Role::SuperAdminUser, Role::TrialUser];
    expected.data_roles = vec!["ROLE_FRANCE".to_owned()];
    assert_eq!(users.get(&user_id("ann")).await.unwrap(), Some(expected.clone()));

    let crossed = UserChange { home: Some((tenant_id("rival-1"), org("acme"))), ..UserChange::default() };
    let refused = users.update(&user_id("ann"), &crossed).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "tenant" })), "{refused:?}");
    assert_eq!(users.get(&user_id("ann")).await.unwrap(), Some(expected), "nothing was written");
    let missing = users.update(&user_id("none"), &UserChange::default()).await;
    assert!(matches!(missing, Err(StoreError::Missing { what: "user" })), "{missing:?}");
    let missing = users.delete(&user_id("none")).await;
    assert!(matches!(missing, Err(StoreError::Missing { what: "user" })), "{missing:?}");
}

pub(crate) async fn users_are_filtered_and_ordered(world: World) {
    type Case = (Option<&'static str>, Option<&'static str>, Option<&'static str>, &'static [&'static str]);
    let store = world.open().await;
    two_organizations(&store).await;
    let cases: [Case; 8] = [
        (None, None, None, &["ann", "abe", "amy", "rob"]),
        (Some("acme"), None, None, &["ann", "abe", "amy"]),
        (Some("rival"), None, None, &["rob"]),
        (None, Some("acme-1"), None, &["ann", "abe"]),
        (Some("rival"), Some("acme-1"), None, &[]),
        (Some("acme"), Some("acme-1"), Some("abe"), &["abe"]),
        (Some("rival"), None, Some("abe"), &[]),
        (None, None, Some("none"), &[]),
    ];
    for (in_org, in_tenant, only, expected) in cases {
        let filter =
            UserFilter { org: in_org.map(org), tenant: in_tenant.map(tenant_id), user: only.map(user_id) };
        let found = store.users().list(&filter).await.unwrap();
        let ids: Vec<_> = found.iter().map(|user| user.id.as_str()).collect();
        assert_eq!(ids, expected, "{filter:?}");
    }
}

pub(crate) async fn accounts_carry_all_variables(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    store.organizations().update(&org("acme"), None, Some(&attributes(r#"{"o":1}"#))).await.unwrap();
    store.tenants().update(&tenant_id("acme-1"), None, Some(&attributes(r#"{"t":1}"#))).await.unwrap();
    let account = store.users().account(&user_id("ann")).await.unwrap().unwrap();
    assert_eq!(account.user, user("ann", "acme-1", "acme"));
    assert_eq!(account.org_variables, Some(attributes(r#"{"o":1}"#)));
    assert_eq!(account.tenant_variables, Some(attributes(r#"{"t":1}"#)));
    let rival = store.users().account(&user_id("rob")).await.unwrap().unwrap();
    assert_eq!((rival.org_variables, rival.tenant_variables), (None, None));
    assert!(store.users().account(&user_id("none")).await.unwrap().is_none());
}

pub(crate) async fn many_users_are_created_or_none(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let many: Vec<User> = (0..300).map(|n| user(&format!("u{n}"), "acme-2", "acme")).collect();
    store.users().create_many(&many).await.unwrap();
    let filter = UserFilter { tenant: Some(tenant_id("acme-2")), ..UserFilter::default() };
    assert_eq!(store.users().list(&filter).await.unwrap().len(), 301);
    let clash = [user("fresh", "acme-2", "acme"), user("u7", "acme-2", "acme")];
    assert!(matches!(store.users().create_many(&clash).await, Err(StoreError::Duplicate { what: "user" })));
    assert_eq!(store.users().get(&user_id("fresh")).await.unwrap(), None);
}

pub(crate) async fn a_new_user_of_an_old_name_inherits_nothing(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let ann = user_id("ann");
    let name = "laptop".parse().unwrap();
    store.access_keys().create(&ann, &name, &"secret of ann".into(), 1).await.unwrap();
    store.user_config().update(&ann, &attributes(r#"{"k":1}"#), &[]).await.unwrap();
    connect(&store, "ann", "acme", &["c"]).await;
    let owner = Identity { account: ann.clone(), on_behalf_of: None };
    let entry = HistoryEntry {
        id: "q".parse().unwrap(),
        owner: owner.clone(),
        connection: key("c"),
        query: "SELECT 1".to_owned(),
        ran_at: 1,
    };
    store.history().append(&[entry]).await.unwrap();
    let target = ParameterTarget { user: Some(ann.clone()), ..ParameterTarget::default() };
    let setting = ParameterSetting { target, name: "p".to_owned(), value: true.into() };
    store.parameters().set(&setting).await.unwrap();

    store.users().delete(&ann).await.unwrap();
    assert_eq!(store.users().get(&ann).await.unwrap(), None);
    let hash = ringfence_store::access_keys::KeyHash::of("secret of ann");
    assert_eq!(store.access_keys().find(&hash).await.unwrap(), None);
    store.users().create(&user("ann", "rival-1", "rival")).await.unwrap();
    assert!(store.access_keys().list(&ann).await.unwrap().is_empty());
    assert!(store.user_config().update(&ann, &attributes("{}"), &[]).await.unwrap().is_empty());
    assert!(store.connections().list(&ann).await.unwrap().is_empty());
    assert_eq!(store.connections().default_key(&ann).await.unwrap(), None);
    let page = HistoryPage { limit: 10, offset: 0, newest_first: true, id: None };
    assert!(store.history().list(&owner, &key("c"), &page).await.unwrap().is_empty());
    let found =
        store.parameters().applicable(&org("rival"), &tenant_id("rival-1"), &ann, None).await.unwrap();
    assert!(found.is_empty());
}

pub(crate) async fn moving_leaves_the_old_organization_behind(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let shared = connect(&store, "ann", "acme", &["c"]).await[0];
    assert_eq!(connect(&store, "abe", "acme", &["c"]).await[0], shared);
    let own = connect(&store, "ann", "acme", &["d"]).await[0];
    let home = Some((tenant_id("rival-1"), org("rival")));
    store.users().update(&user_id("ann"), &UserChange { home, ..UserChange::default() }).await.unwrap();

    let moved = store.connections().list(&user_id("ann")).await.unwrap();
    assert_eq!(moved.iter().map(|found| found.key.as_str()).collect::<Vec<_>>(), ["c", "d"]);
    for connection in &moved {
        let source = store.sources().get(connection.source).await.unwrap().unwrap();
        assert_eq!((source.org, source.generation), (org("rival"), 1));
    }
    assert_ne!(moved[0].source, shared);
    assert!(store.sources().get(shared).await.unwrap().is_some(), "abe still has it");
    assert_eq!(store.sources().get(own).await.unwrap(), None, "nobody has it any more");
}

pub(crate) async fn odd_texts_come_back_as_they_were(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    for name in ["'; DROP TABLE users; --", "$1 ? :x @y", "\u{1f980} né \"q\" \\", "%_", " FOR UPDATE"] {
        let change = UserChange { name: Some(name.to_owned()), ..UserChange::default() };
        store.users().update(&user_id("ann"), &change).await.unwrap();
        assert_eq!(store.users().get(&user_id("ann")).await.unwrap().unwrap().name.as_deref(), Some(name));
        let odd = User { id: user_id(name.trim()), ..user("x", "acme-1", "acme") };
        store.users().create(&odd).await.unwrap();
        assert_eq!(store.users().get(&odd.id).await.unwrap(), Some(odd));
    }
}
