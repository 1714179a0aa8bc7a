//! The agent that a request is made with.

use ringfence_gateway::{Acting, Call, Code, Credentials, Refused};
use ringfence_policy::Agent;
use serde_json::json;

use super::{Portal, nothing};
use crate::world::{code, key_of};

async fn with_agent(
    portal: &Portal,
    user: &str,
    token: Option<&str>,
    agent: Option<&str>,
) -> Result<Call, Refused> {
    let key = key_of(user);
    let credentials = Credentials {
        access_key: Some(&key),
        acting: token.map(Acting::Token),
        agent,
        ..Credentials::default()
    };
    portal.world.gateway.identify(&portal.world.begin(), credentials).await
}

/// Whoever says that it is an agent is held back as one, and is never taken for a certain one.
#[tokio::test]
async fn a_claimed_agent_sees_no_more_than_nobody() {
    let portal = Portal::open().await;
    let token = portal.token("portal", "a-t1", "pia", &nothing());
    let vouched = portal.token("portal", "a-t1", "pia", &json!({ "agent": "assistant" }));
    let other = portal.token("portal", "a-t1", "pia", &json!({ "act": { "sub": "scribe" } }));
    let cases = [
        (Some(&token), None, r#"[["1,2"]]"#),
        (Some(&token), Some("assistant"), r#"[["1"]]"#),
        (Some(&vouched), None, r#"[["1,2"]]"#),
        (Some(&vouched), Some("assistant"), r#"[["1,2"]]"#),
        (Some(&other), None, r#"[["1"]]"#),
        // With a key of their own.
        (None, None, r#"[["1,2"]]"#),
        (None, Some("assistant"), r#"[["1"]]"#),
        (None, Some("scribe"), r#"[["1"]]"#),
    ];
    for _ in 0..2 {
        for (token, agent, expected) in cases {
            let user = if token.is_some() { "portal" } else { "a-boss" };
            let call = with_agent(&portal, user, token.map(String::as_str), agent).await.unwrap();
            assert_eq!(portal.ids(&call).await, expected, "{token:?} {agent:?}");
        }
    }
    let refused = with_agent(&portal, "portal", Some(&vouched), Some("scribe")).await;
    assert_eq!(code(refused), Code::InvalidRequest, "two names for one agent");
}

#[tokio::test]
async fn anybody_may_name_their_agent_and_the_record_has_it() {
    let portal = Portal::open().await;
    let call = with_agent(&portal, "a-ann", None, Some("scribe 2.1")).await.unwrap();
    assert_eq!(call.principal().agent, Some(Agent::Claimed("scribe 2.1".to_owned())));
    call.log().finish(ringfence_gateway::Decision::Allowed).await.unwrap();
    let record = portal.world.record(call.log()).await.record;
    assert_eq!((record.user.as_deref(), record.agent.as_deref()), (Some("a-ann"), Some("scribe 2.1")));
    for bad in ["", " ", "unverified", "UNVERIFIED", "a\nb", &"x".repeat(129)] {
        assert_eq!(
            code(with_agent(&portal, "a-ann", None, Some(bad)).await),
            Code::InvalidRequest,
            "{bad:?}"
        );
    }
}
