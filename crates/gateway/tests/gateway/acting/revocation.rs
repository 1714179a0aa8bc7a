//! What a user of an application rests on: signing key, access key, role, tenant. When one goes, so does all the rest.

use ringfence_gateway::queries::QueryRequest;
use ringfence_gateway::tenants::TenantSpec;
use ringfence_gateway::users::UserSpec;
use ringfence_gateway::{Acting, Code, Credentials};
use ringfence_policy::KeyName;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{Portal, nothing, present, register};
use crate::sources::{ENDLESS, query};
use crate::world::{begin, code, config, eventually, key_of};

fn kid() -> KeyName {
    KeyName::new("k").unwrap()
}

fn endless() -> QueryRequest {
    QueryRequest { timeout_ms: Some(20_000), ..query(ENDLESS) }
}

#[tokio::test]
async fn a_revoked_key_verifies_nothing_from_the_next_request_on() {
    let portal = Portal::open().await;
    let token = portal.token("portal", "a-t1", "pia", &nothing());
    portal.present("portal", &token).await.unwrap();
    let boss = portal.world.call_as("a-boss").await;
    portal.world.gateway.revoke_signing_key(&boss, Some("portal"), &kid()).await.unwrap();
    portal.declined("portal", &token).await;
    assert!(portal.world.authenticate("portal", None).await.is_ok(), "the application itself goes on");
    assert!(portal.acting("suite", "a-t1", "pia", &nothing()).await.is_ok(), "and so do others");
}

/// A call that was begun before the key went, and runs after it, runs nothing; what ran before is ended.
#[tokio::test]
async fn what_runs_for_a_token_ends_with_its_key() {
    let portal = Portal::open().await;
    let gateway = &portal.world.gateway;
    let begun = portal.acting("suite", "a-t1", "pia", &nothing()).await.unwrap();
    let runs = portal.acting("suite", "a-t2", "pia", &nothing()).await.unwrap();
    let own = portal.world.call_as("suite").await;
    let stays = gateway.submit_query(&own, &portal.key, endless()).await.unwrap();
    let revoke = async {
        let id = gateway.submit_query(&begun, &portal.key, query("SELECT 1")).await.unwrap();
        gateway.query_result(&begun, None, id.as_str(), None).await.unwrap();
        let boss = portal.world.call_as("a-boss").await;
        gateway.revoke_signing_key(&boss, Some("suite"), &kid()).await.unwrap();
    };
    let (ran, ()) = tokio::join!(gateway.run_query(&runs, &portal.key, endless()), revoke);
    assert_eq!(code(ran), Code::QueryCancelled);
    assert_eq!(code(gateway.run_query(&begun, &portal.key, query("SELECT 1")).await), Code::QueryCancelled);
    assert!(portal.world.gateway.cancel_query(&own, None, stays.as_str()).await.is_ok(), "its own ran on");
    // Another key of the same id does not bring it back.
    register(&portal.world, "suite", "k", &super::Signer::es256()).await.unwrap();
    assert_eq!(code(gateway.run_query(&begun, &portal.key, query("SELECT 1")).await), Code::QueryCancelled);
}

#[tokio::test]
async fn roles_count_as_they_are_now() {
    let portal = Portal::open().await;
    let gateway = &portal.world.gateway;
    let token = portal.token("suite", "a-t2", "pia", &json!({ "roles": ["ROLE_CLERK"] }));
    let begun = portal.present("suite", &token).await.unwrap();
    let change = async |roles: &[&str], data_roles: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let spec = UserSpec {
            id: "suite".to_owned(),
            roles: names(roles),
            data_roles: Some(names(data_roles)),
            ..UserSpec::default()
        };
        gateway.update_user(&portal.world.call_as("a-boss").await, spec).await.unwrap();
    };
    let stopped = async || code(gateway.run_query(&begun, &portal.key, query("SELECT 1")).await);
    change(&["api-user", "org-acting-application"], &[]).await;
    portal.declined("suite", &token).await;
    assert_eq!(stopped().await, Code::QueryCancelled);
    change(&["api-user", "acting-application"], &["ROLE_CLERK"]).await;
    portal.declined("suite", &token).await;
    assert_eq!(stopped().await, Code::QueryCancelled);
    change(&["api-user"], &["ROLE_CLERK"]).await;
    assert_eq!(code(portal.present("suite", &token).await), Code::NotPermitted);
    assert_eq!(stopped().await, Code::QueryCancelled);
    change(&["api-user", "org-acting-application"], &["ROLE_CLERK"]).await;
    assert!(portal.present("suite", &token).await.is_ok());
}

#[tokio::test]
async fn a_deleted_application_leaves_nothing_to_its_name() {
    let portal = Portal::open().await;
    let gateway = &portal.world.gateway;
    let token = portal.token("portal", "a-t1", "pia", &nothing());
    let begun = portal.present("portal", &token).await.unwrap();
    gateway.delete_user(&portal.world.call_as("a-boss").await, "portal").await.unwrap();
    assert_eq!(code(portal.present("portal", &token).await), Code::KeyUnknown);
    super::application(&portal.world, "portal", "acting-application", &["ROLE_CLERK"]).await;
    portal.declined("portal", &token).await;
    // Its access key is as the old one was, and all the same the query of before does not run.
    assert_eq!(code(gateway.run_query(&begun, &portal.key, query("SELECT 1")).await), Code::QueryCancelled);
}

#[tokio::test]
async fn a_token_ends_with_the_access_key_beside_it() {
    let portal = Portal::open().await;
    let gateway = &portal.world.gateway;
    let own = portal.world.call_as("portal").await;
    let second = gateway.create_access_key(&own, "second").await.unwrap();
    let token = portal.token("portal", "a-t1", "pia", &nothing());
    let secret = second.secret.expose_secret();
    let begun = present(&portal.world, secret, &token).await.unwrap();
    portal.present("portal", &token).await.unwrap();
    gateway.delete_access_keys(&own, &["second".to_owned()]).await.unwrap();
    assert_eq!(code(present(&portal.world, secret, &token).await), Code::KeyUnknown);
    assert_eq!(code(gateway.run_query(&begun, &portal.key, query("SELECT 1")).await), Code::QueryCancelled);
    assert!(portal.present("portal", &token).await.is_ok(), "beside the other one it counts");
}

#[tokio::test]
async fn a_tenant_that_goes_takes_along_its_applications_users() {
    let portal = Portal::open().await;
    let gateway = &portal.world.gateway;
    let boss = portal.world.call_as("a-boss").await;
    let spec = TenantSpec { id: "a-t3".to_owned(), ..TenantSpec::default() };
    gateway.create_tenant(&boss, spec).await.unwrap();
    let token = portal.token("suite", "a-t3", "pia", &nothing());
    let begun = portal.present("suite", &token).await.unwrap();
    gateway.delete_tenant(&boss, "a-t3").await.unwrap();
    portal.declined("suite", &token).await;
    assert_eq!(code(gateway.run_query(&begun, &portal.key, query("SELECT 1")).await), Code::QueryCancelled);
}

/// News of a revoked key reach other nodes.
#[tokio::test]
async fn other_nodes_hear_of_a_revoked_key() {
    let portal = Portal::open().await;
    let (other, _) = portal.world.open_again(config()).await.unwrap();
    let (key, token) = (key_of("portal"), portal.token("portal", "a-t1", "pia", &nothing()));
    let there = async || {
        let credentials = Credentials {
            access_key: Some(&key),
            acting: Some(Acting::Token(&token)),
            ..Credentials::default()
        };
        other.identify(&begin(&other), credentials).await.map(drop)
    };
    there().await.unwrap();
    let own = portal.world.call_as("portal").await;
    portal.world.gateway.revoke_signing_key(&own, None, &kid()).await.unwrap();
    let refused = eventually(async || there().await.err()).await;
    assert_eq!(refused.code, Code::InvalidPrincipalToken);
}
