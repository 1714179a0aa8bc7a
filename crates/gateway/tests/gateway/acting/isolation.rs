//! Users of one application, of two tenants and of one: what each of them sees and leaves behind.

use ringfence_gateway::approvals::{ApprovalLookup, NewApproval, Side};
use ringfence_gateway::history::HistoryLookup;
use ringfence_gateway::{Call, Code};
use serde_json::json;

use super::{Portal, nothing};
use crate::sources::{ENDLESS, query};
use crate::world::{code, eventually, same_refusal};

#[tokio::test]
async fn two_tenants_of_one_application_see_their_own_rows() {
    let portal = Portal::open().await;
    let one = portal.acting("suite", "a-t1", "pia", &nothing()).await.unwrap();
    let two = portal.acting("suite", "a-t2", "pia", &nothing()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(portal.ids(&one).await, r#"[["1,2"]]"#);
        assert_eq!(portal.ids(&two).await, r#"[["3"]]"#);
    }
    let clerk = portal.acting("suite", "a-t1", "pia", &json!({ "roles": ["ROLE_CLERK"] })).await.unwrap();
    let other = portal.acting("suite", "a-t1", "quy", &json!({ "roles": ["ROLE_CLERK"] })).await.unwrap();
    assert_eq!(portal.ids(&clerk).await, r#"[["1"]]"#);
    assert_eq!(portal.ids(&other).await, r#"[["2"]]"#);
    // The same user of another application, whose users may not have that role.
    let elsewhere = portal.acting("portal", "a-t1", "pia", &nothing()).await.unwrap();
    assert_eq!(portal.ids(&elsewhere).await, r#"[["1,2"]]"#);
    // Writes stay inside as well.
    let moved = portal.run(&two, "UPDATE orders SET status = 'paid' WHERE id = 1").await;
    assert!(moved.is_ok(), "there is no such row: {moved:?}");
    portal.run(&two, "INSERT INTO orders (id, status) VALUES (9, 'mine')").await.unwrap();
    assert_eq!(portal.ids(&two).await, r#"[["3,9"]]"#);
    assert_eq!(portal.run(&one, "SELECT status FROM orders WHERE id = 1").await.unwrap(), r#"[["new"]]"#);
    assert_eq!(portal.ids(&one).await, r#"[["1,2"]]"#);
}

/// What one user of an application submits is nobody else's: of the same tenant, of another, of the application itself.
#[tokio::test]
async fn a_query_is_its_users_own() {
    let portal = Portal::open().await;
    let gateway = &portal.world.gateway;
    let pia = portal.acting("suite", "a-t1", "pia", &nothing()).await.unwrap();
    let id = gateway.submit_query(&pia, &portal.key, query("SELECT 1")).await.unwrap();
    let again = portal.acting("suite", "a-t1", "pia", &nothing()).await.unwrap();
    assert!(gateway.query_result(&again, None, id.as_str(), None).await.is_ok());
    let others = [
        portal.acting("suite", "a-t1", "quy", &nothing()).await.unwrap(),
        portal.acting("suite", "a-t2", "pia", &nothing()).await.unwrap(),
        portal.acting("portal", "a-t1", "pia", &nothing()).await.unwrap(),
        portal.world.call_as("suite").await,
        portal.world.call_as("a-boss").await,
    ];
    for other in &others {
        let refused = same_refusal(
            gateway.query_result(other, None, id.as_str(), None).await,
            gateway.query_result(other, None, "0000", None).await,
        );
        assert_eq!(refused, Code::NotFound);
        assert_eq!(code(gateway.cancel_query(other, None, id.as_str()).await), Code::NotFound);
    }
    assert!(gateway.query_result(&pia, None, id.as_str(), None).await.is_ok());
}

#[tokio::test]
async fn history_is_its_users_own() {
    let portal = Portal::open().await;
    let pia = portal.acting("suite", "a-t1", "pia", &nothing()).await.unwrap();
    let quy = portal.acting("suite", "a-t1", "quy", &nothing()).await.unwrap();
    let far = portal.acting("suite", "a-t2", "pia", &nothing()).await.unwrap();
    let own = portal.world.call_as("suite").await;
    let history = async |call: &Call| {
        let lookup = HistoryLookup { limit: 10, offset: 0, newest_first: false, id: None, liked: None };
        let found = portal.world.gateway.history(call, &portal.key, lookup).await.unwrap();
        found.into_iter().map(|item| item.entry.query).collect::<Vec<_>>()
    };
    for (call, statement) in [(&pia, "SELECT 1"), (&quy, "SELECT 2"), (&far, "SELECT 3"), (&own, "SELECT 4")]
    {
        portal.run(call, statement).await.unwrap();
    }
    assert_eq!(history(&pia).await, ["SELECT 1"]);
    assert_eq!(history(&quy).await, ["SELECT 2"]);
    assert_eq!(history(&far).await, ["SELECT 3"]);
    assert_eq!(history(&own).await, ["SELECT 4"]);
}

/// One tenant's users can't take the places of another's, and naming more users gives no more places.
#[tokio::test]
async fn places_are_counted_by_tenant() {
    let portal = Portal::with(|config| config.queries_per_user = 2).await;
    let gateway = &portal.world.gateway;
    let endless = || ringfence_gateway::queries::QueryRequest { timeout_ms: Some(20_000), ..query(ENDLESS) };
    let mut begun = Vec::new();
    for user in ["u1", "u2"] {
        let call = portal.acting("suite", "a-t1", user, &nothing()).await.unwrap();
        let id = gateway.submit_query(&call, &portal.key, endless()).await.unwrap();
        begun.push((call, id));
    }
    let third = portal.acting("suite", "a-t1", "u3", &nothing()).await.unwrap();
    assert_eq!(code(gateway.submit_query(&third, &portal.key, endless()).await), Code::TooManyQueries);
    let far = portal.acting("suite", "a-t2", "u1", &nothing()).await.unwrap();
    assert_eq!(portal.ids(&far).await, r#"[["3"]]"#);
    for (call, id) in &begun {
        gateway.cancel_query(call, None, id.as_str()).await.unwrap();
    }
    // The place is given back when the statement has ended in the database.
    eventually(async || portal.run(&third, "SELECT 1").await.ok()).await;
}

#[tokio::test]
async fn the_record_names_both() {
    let portal = Portal::open().await;
    let call =
        portal.acting("suite", "a-t2", "pia", &json!({ "act": { "sub": "assistant" } })).await.unwrap();
    portal.run(&call, "SELECT id FROM orders").await.unwrap();
    call.log().finish(ringfence_gateway::Decision::Allowed).await.unwrap();
    let record = portal.world.record(call.log()).await.record;
    assert_eq!(record.user.as_deref(), Some("suite"));
    assert_eq!(record.acting_for.as_deref(), Some("pia"));
    assert_eq!(record.tenant.as_deref(), Some("a-t2"));
    assert_eq!(record.org.as_deref(), Some("a"));
    assert_eq!(record.agent.as_deref(), Some("assistant"));
}

/// An account's tickets are nothing to a user of an application who has the account's name and the approvers' role.
#[tokio::test]
async fn users_of_an_application_have_no_part_in_approvals() {
    let portal = Portal::open().await;
    let (world, roles) = (&portal.world, ["ROLE_CLERK".to_owned()]);
    let connection = world.connect("a-ann").await;
    let new = NewApproval {
        connection: connection.as_str(),
        model: "Order",
        action: "delete",
        operation: json!({"id": 1}),
        approvers: &roles,
        expires: std::time::Duration::from_mins(10),
        reason: None,
    };
    let ann = world.call_as("a-ann").await;
    let ticket = world.gateway.request_approval(&ann, new.clone()).await.unwrap().id.to_string();
    for name in ["a-ann", "pia"] {
        let clerk = portal.acting("suite", "a-t1", name, &json!({ "roles": ["ROLE_CLERK"] })).await.unwrap();
        let missing = "0".repeat(40);
        let gateway = &world.gateway;
        same_refusal(
            gateway.get_approval(&clerk, &ticket).await,
            gateway.get_approval(&clerk, &missing).await,
        );
        let approved = gateway.approve(&clerk, &ticket, None).await;
        same_refusal(approved, gateway.approve(&clerk, &missing, None).await);
        let withdrawn = gateway.withdraw_approval(&clerk, &ticket).await;
        same_refusal(withdrawn, gateway.withdraw_approval(&clerk, &missing).await);
        for side in [Side::Approver, Side::Requester] {
            let lookup = ApprovalLookup { side, limit: 10, ..ApprovalLookup::default() };
            assert!(gateway.list_approvals(&clerk, &lookup).await.unwrap().0.is_empty(), "{name} {side:?}");
        }
        assert_eq!(code(gateway.request_approval(&clerk, new.clone()).await), Code::NotPermitted);
    }
}
