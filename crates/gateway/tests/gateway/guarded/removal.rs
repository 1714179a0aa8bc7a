//! Taking a policy away: it opens the data source, and only on purpose.

use ringfence_gateway::{Code, Decision};
use ringfence_store::policies::Expected;

use super::{POLICY, Shop};
use crate::world::code;

#[tokio::test]
async fn a_removed_policy_opens_the_connection() {
    let shop = Shop::guarded("policy_removed").await;
    let gateway = &shop.world.gateway;
    shop.refused("a-ann", "SELECT word FROM secrets", Code::RelationUnknown).await;
    let boss = shop.world.call_as("a-boss").await;
    for stale in [0, 2] {
        let refused = gateway.remove_policy(&boss, &shop.key, stale, None).await;
        assert_eq!(code(refused), Code::PreconditionFailed, "{stale}");
    }
    shop.refused("a-ann", "SELECT word FROM secrets", Code::RelationUnknown).await;

    let call = shop.world.call_as("a-boss").await;
    let removed = gateway.remove_policy(&call, &shop.key, 1, Some("moved away".to_owned())).await.unwrap();
    assert_eq!((removed.version, removed.removed, removed.document.as_str()), (2, true, ""));
    call.log().finish(Decision::Allowed).await.unwrap();
    let record = shop.world.record(call.log()).await.record;
    assert_eq!((record.action.as_str(), record.object.as_deref()), ("remove-policy", Some("version 2")));
    assert_eq!(record.reason.as_deref(), Some("moved away"));
    shop.rows("a-ann", "SELECT word FROM secrets", "[[\"hush\"]]").await;
    assert_eq!(code(gateway.get_policy(&boss, &shop.key).await), Code::NotFound);
    assert_eq!(code(gateway.remove_policy(&boss, &shop.key, 2, None).await), Code::NotFound);

    let history = gateway.policy_history(&boss, &shop.key).await.unwrap();
    let told: Vec<_> = history.iter().map(|entry| (entry.version, entry.removed)).collect();
    assert_eq!(told, [(2, true), (1, false)]);
    assert_eq!(history[1].document, POLICY);
    // Back again: as a first one, or from the history, but not to what has no document.
    let nothing = gateway.roll_back_policy(&boss, &shop.key, 2, Expected::Any).await;
    assert_eq!(code(nothing), Code::InvalidRequest);
    gateway.roll_back_policy(&boss, &shop.key, 1, Expected::None).await.unwrap();
    shop.refused("a-ann", "SELECT word FROM secrets", Code::RelationUnknown).await;
    shop.rows("a-ann", "SELECT count(*) FROM orders", "[[2]]").await;
}

/// Another node goes on guarding until it hears of it, and a lost version is no removed one.
#[tokio::test]
async fn nothing_opens_by_accident() {
    let shop = Shop::guarded("policy_removed_elsewhere").await;
    let (other, _) = shop.world.open_again(shop.world.config.clone()).await.unwrap();
    let boss = shop.world.call_as("a-boss").await;
    shop.world.gateway.remove_policy(&boss, &shop.key, 1, None).await.unwrap();
    shop.world.change_store("DELETE FROM policies WHERE version = 2").await;
    let log = crate::world::begin(&other);
    let call = other.authenticate(&log, Some(&crate::world::key_of("a-ann")), None).await.unwrap();
    let ran = other.run_query(&call, &shop.key, crate::sources::query("SELECT 1")).await;
    assert_eq!(code(ran), Code::PolicyUnusable);
}
