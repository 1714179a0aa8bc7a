//! User configuration and settings with a scope.

use ringfence_store::StoreError;
use ringfence_store::parameters::{ParameterSetting, ParameterTarget};

use crate::world::{World, attributes, key, org, tenant, tenant_id, two_organizations, user, user_id};

pub(crate) async fn user_config_merges(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let config = store.user_config();
    let (ann, nothing) = (user_id("ann"), attributes("{}"));
    assert_eq!(config.update(&ann, &nothing, &[]).await.unwrap(), nothing);
    let all = attributes(r#"{"a":{"deep":[null,1.5]},"b":"x"}"#);
    assert_eq!(config.update(&ann, &all, &[]).await.unwrap(), all);
    // Deleted first, then updated: what stands in both stays.
    let gone = ["a".to_owned(), "b".to_owned(), "unknown".to_owned()];
    let merged = config.update(&ann, &attributes(r#"{"b":2}"#), &gone).await.unwrap();
    assert_eq!(merged, attributes(r#"{"b":2}"#));
    assert_eq!(config.update(&ann, &nothing, &[]).await.unwrap(), merged);
    assert_eq!(
        config.update(&user_id("rob"), &nothing, &[]).await.unwrap(),
        nothing,
        "another's stays apart"
    );
    let nobody = config.update(&user_id("none"), &all, &[]).await;
    assert!(matches!(nobody, Err(StoreError::Missing { what: "user" })), "{nobody:?}");
}

fn target(parts: [Option<&str>; 4]) -> ParameterTarget {
    let [in_org, in_tenant, only, connection] = parts;
    ParameterTarget {
        org: in_org.map(org),
        tenant: in_tenant.map(tenant_id),
        user: only.map(user_id),
        connection: connection.map(key),
    }
}

fn setting(parts: [Option<&str>; 4], value: i64) -> ParameterSetting {
    ParameterSetting { target: target(parts), name: "limit".to_owned(), value: value.into() }
}

pub(crate) async fn parameters_fit_their_targets(world: World) {
    type Case = (&'static str, &'static str, &'static str, Option<&'static str>, &'static [i64]);
    let store = world.open().await;
    two_organizations(&store).await;
    let parameters = store.parameters();
    let settings = [
        [None, None, None, None],
        [Some("acme"), None, None, None],
        [Some("rival"), None, None, None],
        [None, Some("acme-1"), None, None],
        [Some("acme"), Some("acme-1"), Some("ann"), Some("c")],
        [None, None, Some("rob"), None],
        [None, None, None, Some("c")],
        [None, None, None, Some("d")],
        [Some("rival"), Some("acme-1"), None, None],
    ];
    for (value, parts) in (0..).zip(settings) {
        parameters.set(&setting(parts, -1)).await.unwrap();
        parameters.set(&setting(parts, value)).await.unwrap();
    }
    let cases: [Case; 5] = [
        ("acme", "acme-1", "ann", Some("c"), &[0, 1, 3, 4, 6]),
        ("acme", "acme-1", "ann", None, &[0, 1, 3]),
        ("acme", "acme-2", "amy", Some("d"), &[0, 1, 7]),
        ("rival", "rival-1", "rob", None, &[0, 2, 5]),
        ("other", "other", "other", None, &[0]),
    ];
    for (in_org, in_tenant, only, connection, expected) in cases {
        let connection = connection.map(key);
        let found = parameters
            .applicable(&org(in_org), &tenant_id(in_tenant), &user_id(only), connection.as_ref())
            .await;
        let mut values: Vec<_> =
            found.unwrap().iter().map(|setting| setting.value.as_i64().unwrap()).collect();
        values.sort_unstable();
        assert_eq!(values, expected, "{only} {connection:?}");
    }
    parameters.delete(&target([Some("acme"), None, None, None]), "limit").await.unwrap();
    parameters.delete(&target([Some("acme"), None, None, None]), "limit").await.unwrap();
    parameters.delete(&target([None, None, None, None]), "other name").await.unwrap();
    let left =
        parameters.applicable(&org("acme"), &tenant_id("acme-2"), &user_id("amy"), None).await.unwrap();
    assert_eq!(left, [setting([None; 4], 0)]);
}

pub(crate) async fn parameters_go_with_their_target(world: World) {
    let store = world.open().await;
    two_organizations(&store).await;
    let parameters = store.parameters();
    for parts in
        [[Some("none"), None, None, None], [None, Some("none"), None, None], [None, None, Some("none"), None]]
    {
        let nobody = parameters.set(&setting(parts, 0)).await;
        assert!(matches!(nobody, Err(StoreError::Missing { what: "target" })), "{nobody:?}");
    }
    parameters.set(&setting([None, Some("acme-2"), None, None], 1)).await.unwrap();
    parameters.set(&setting([None, None, Some("amy"), None], 2)).await.unwrap();
    store.users().delete(&user_id("amy")).await.unwrap();
    store.tenants().delete(&tenant_id("acme-2")).await.unwrap();
    store.tenants().create(&tenant("acme-2", "rival")).await.unwrap();
    store.users().create(&user("amy", "acme-2", "rival")).await.unwrap();
    let found =
        parameters.applicable(&org("rival"), &tenant_id("acme-2"), &user_id("amy"), None).await.unwrap();
    assert!(found.is_empty(), "{found:?}");
}
