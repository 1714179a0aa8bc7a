//! What an application may say of its users.

use ringfence_gateway::connections::ConnectionEdits;
use ringfence_gateway::organizations::OrganizationSpec;
use ringfence_gateway::parameters::Target;
use ringfence_gateway::tenants::TenantSpec;
use ringfence_gateway::{Acting, Code, Credentials};
use ringfence_policy::{Attributes, Permission, UserId};
use serde_json::json;

use super::{Portal, nothing};
use crate::sources::{file, query};
use crate::world::{ROOT, attributes, code, key_of};

#[tokio::test]
async fn a_user_is_within_the_applications_reach() {
    let portal = Portal::open().await;
    let elsewhere = ["b-t1", "nowhere", "my_tenant_id"];
    let outside = portal.declined("suite", &portal.token("suite", "b-t1", "pia", &nothing())).await;
    for tenant in elsewhere {
        for application in ["portal", "suite"] {
            let refused =
                portal.declined(application, &portal.token(application, tenant, "pia", &nothing())).await;
            assert_eq!(refused, outside, "what is elsewhere is nowhere");
        }
    }
    // Another tenant of the organization, for the one that may.
    assert_eq!(portal.declined("portal", &portal.token("portal", "a-t2", "pia", &nothing())).await, outside);
    let call = portal.acting("suite", "a-t2", "pia", &nothing()).await.unwrap();
    let who = call.principal();
    assert_eq!((who.org.as_str(), who.tenant.as_str(), who.user.as_str()), ("a", "a-t2", "pia"));
    assert_eq!(who.account().as_str(), "suite");
    assert_eq!(who.acted_by.as_ref().map(UserId::as_str), Some("suite"));
}

#[tokio::test]
async fn roles_and_permissions_are_the_applications_at_most() {
    let portal = Portal::open().await;
    let roles = json!({ "roles": ["ROLE_CLERK", "api-user", "ROLE_CLERK"] });
    let call = portal.acting("portal", "a-t1", "pia", &roles).await.unwrap();
    let who = call.principal();
    assert_eq!(who.data_roles.to_vec(), ["ROLE_CLERK"]);
    assert_eq!(who.roles.iter().map(|role| role.name()).collect::<Vec<_>>(), ["api-user"]);
    assert_eq!(who.rank(), 0);
    let lent: Vec<Permission> = who.permissions.iter().collect();
    assert_eq!(lent, [Permission::ReadDatabases, Permission::ReadSemanticContext, Permission::UsageApi]);
    for beyond in [
        "ROLE_AUDITOR", "role_clerk", "org-admin-user", "super-admin-user", "waii-super-admin-user", "user",
        "acting-application", "org-acting-application",
    ] {
        let token = portal.token("portal", "a-t1", "pia", &json!({ "roles": ["ROLE_CLERK", beyond] }));
        portal.declined("portal", &token).await;
    }
}

#[tokio::test]
async fn attributes_add_to_what_is_said_of_the_tenant() {
    let portal = Portal::open().await;
    let gateway = &portal.world.gateway;
    let org = OrganizationSpec {
        id: "a".to_owned(),
        variables: Some(attributes(r#"{"plan":"basic","deep":{"a":1}}"#)),
        ..OrganizationSpec::default()
    };
    gateway.update_org(&portal.world.call_as(ROOT).await, org).await.unwrap();
    let tenant = TenantSpec {
        id: "a-t1".to_owned(),
        variables: Some(attributes(r#"{"region":"eu"}"#)),
        ..TenantSpec::default()
    };
    gateway.update_tenant(&portal.world.call_as("a-boss").await, tenant).await.unwrap();

    let said = json!({ "attributes": { "desk": 7, "region": "eu" } });
    let call = portal.acting("portal", "a-t1", "pia", &said).await.unwrap();
    let expected: Attributes = attributes(r#"{"plan":"basic","deep":{"a":1},"region":"eu","desk":7}"#);
    assert_eq!(*call.principal().attributes, expected, "nothing of the application's own variables");
    for attribute in [
        json!({ "region": "us" }),
        json!({ "region": null }),
        json!({ "plan": "gold" }),
        json!({ "deep": { "a": 1, "b": 2 } }),
        json!({ "user_id": "other" }),
        json!({ "tenant_id": "a-t2" }),
        json!({ "org_id": "b" }),
        json!({ "roles": ["ROLE_AUDITOR"] }),
        json!({ "permissions": ["write:org"] }),
        json!({ "agent": "assistant" }),
        json!({ "ringfence": { "hash_key": "x" } }),
    ] {
        let token = portal.token("portal", "a-t1", "pia", &json!({ "attributes": attribute }));
        portal.declined("portal", &token).await;
    }
    // A change of the tenant reaches tokens that were seen before.
    let token = portal.token("portal", "a-t1", "pia", &json!({ "attributes": { "shift": "late" } }));
    portal.present("portal", &token).await.unwrap();
    let tenant = TenantSpec {
        id: "a-t1".to_owned(),
        variables: Some(attributes(r#"{"shift":"early"}"#)),
        ..TenantSpec::default()
    };
    gateway.update_tenant(&portal.world.call_as("a-boss").await, tenant).await.unwrap();
    portal.declined("portal", &token).await;
}

/// The application's account is not its users' to look into or to change.
#[tokio::test]
async fn the_account_is_the_applications_own() {
    let portal = Portal::open().await;
    let (world, gateway) = (&portal.world, &portal.world.gateway);
    let call = portal.acting("portal", "a-t1", "pia", &json!({ "roles": ["api-user"] })).await.unwrap();
    assert_eq!(code(gateway.list_access_keys(&call).await), Code::NotPermitted);
    assert_eq!(code(gateway.create_access_key(&call, "mine").await), Code::NotPermitted);
    assert_eq!(code(gateway.delete_access_keys(&call, &["first".to_owned()]).await), Code::NotPermitted);
    assert_eq!(code(gateway.list_signing_keys(&call, None).await), Code::NotPermitted);
    assert_eq!(code(gateway.update_user_config(&call, &attributes("{}"), &[]).await), Code::NotPermitted);
    let edits = ConnectionEdits { default: Some(portal.key.clone()), ..ConnectionEdits::default() };
    assert_eq!(code(gateway.edit_connections(&call, edits).await), Code::NotPermitted);
    assert_eq!(code(gateway.refresh_connection(&call, &portal.key).await), Code::NotPermitted);
    let target = Target::default();
    let set =
        gateway.set_parameter(&call, &portal.key, "PUBLIC.REFLECTION.ENABLED", json!(true), &target).await;
    assert_eq!(code(set), Code::NotPermitted);
    assert_eq!(
        code(gateway.delete_parameter(&call, &portal.key, "PUBLIC.REFLECTION.ENABLED", &target).await),
        Code::NotPermitted
    );
    assert_eq!(code(gateway.get_policy(&call, &portal.key).await), Code::NotPermitted);
    assert_eq!(code(gateway.get_user(&call, "portal").await), Code::NotPermitted);
    assert_eq!(gateway.list_connections(&call).await.unwrap().connections.len(), 1, "it asks through them");
    // Nor does the name of somebody who does have an account lead into that.
    let named = portal.acting("portal", "a-t1", "a-ann", &nothing()).await.unwrap();
    crate::sources::add(world, "a-ann", &file(world, "own.db", "CREATE TABLE t (a)"), None).await;
    let listed = gateway.list_connections(&named).await.unwrap();
    assert!(listed.connections.iter().all(|connection| connection.owner.as_str() == "portal"));
}

/// Without a policy nothing would tell the users of an application from one another.
#[tokio::test]
async fn an_open_connection_is_closed_to_the_users_of_an_application() {
    let portal = Portal::open().await;
    let (world, gateway) = (&portal.world, &portal.world.gateway);
    let open =
        crate::sources::indexed(world, "portal", &file(world, "open.db", "CREATE TABLE t (a)"), None).await;
    let own = world.call_as("portal").await;
    assert!(gateway.run_query(&own, &open, query("SELECT a FROM t")).await.is_ok());
    let call = portal.acting("portal", "a-t1", "pia", &nothing()).await.unwrap();
    assert_eq!(code(gateway.run_query(&call, &open, query("SELECT a FROM t")).await), Code::NotPermitted);
    assert_eq!(code(gateway.submit_query(&call, &open, query("SELECT a FROM t")).await), Code::NotPermitted);
    assert_eq!(code(gateway.catalog(&call, &open, &[]).await), Code::NotPermitted);
    let missing = gateway.run_query(&call, "sqlite:////none.db", query("SELECT a FROM t")).await;
    assert_eq!(code(missing), Code::NotFound);
}

#[tokio::test]
async fn nobody_acts_for_somebody_in_somebody_elses_place() {
    let portal = Portal::open().await;
    let token = portal.token("portal", "a-t1", "pia", &nothing());
    for (user, target) in [("portal", "a-ann"), ("a-boss", "portal")] {
        let key = key_of(user);
        let credentials = Credentials {
            access_key: Some(&key),
            impersonate: Some(target),
            acting: Some(Acting::Token(&token)),
            ..Credentials::default()
        };
        let refused = portal.world.gateway.identify(&portal.world.begin(), credentials).await;
        assert_eq!(code(refused), Code::InvalidRequest, "{user}");
    }
    // An administrator rules over an application as over any other user.
    assert!(portal.world.authenticate("a-boss", Some("portal")).await.is_ok());
    assert_eq!(code(portal.world.authenticate("b-boss", Some("portal")).await), Code::ImpersonationDenied);
}
