//! Who puts policies, and when they count.

use ringfence_gateway::Code;
use ringfence_gateway::connections::ConnectionEdits;
use ringfence_gateway::policies::PutPolicy;
use ringfence_store::policies::Expected;

use super::{POLICY, Shop};
use crate::sources::{edit, filtered, indexed, new, password, settled, tables, update};
use crate::world::{ROOT, code, eventually};

#[tokio::test]
async fn a_change_takes_effect_at_once() {
    let shop = Shop::open("policy_change").await;
    let count = "SELECT count(*) FROM orders";
    for _ in 0..5 {
        shop.put("models: {}").await;
        shop.refused("a-ann", count, Code::RelationUnknown).await;
        shop.put(POLICY).await;
        shop.rows("a-ann", count, "[[2]]").await;
        shop.put(&POLICY.replace("scoping: { tenant_id: principal.tenant_id }", "allowed: true")).await;
        shop.rows("a-ann", count, "[[4]]").await;
    }
}

#[tokio::test]
async fn another_node_hears_of_it() {
    let shop = Shop::guarded("policy_nodes").await;
    let (other, _) = shop.world.open_again(shop.world.config.clone()).await.unwrap();
    let call =
        other.authenticate(&crate::world::begin(&other), Some(&crate::world::key_of("a-ann")), None).await;
    let call = call.unwrap();
    let run = async || {
        other.run_query(&call, &shop.key, crate::sources::query("SELECT count(*) FROM orders")).await
    };
    assert!(run().await.is_ok());
    shop.put("models: {}").await;
    eventually(async || run().await.is_err().then_some(())).await;
}

#[tokio::test]
async fn policies_are_for_administrators_of_the_organization() {
    let shop = Shop::guarded("policy_rights").await;
    for user in ["a-ann", "a-lead", "a-trial-api"] {
        let call = shop.world.call_as(user).await;
        assert_eq!(code(shop.try_put(user, POLICY, Expected::Any).await), Code::NotPermitted, "{user}");
        assert_eq!(code(shop.world.gateway.get_policy(&call, &shop.key).await), Code::NotPermitted, "{user}");
        assert_eq!(
            code(shop.world.gateway.policy_history(&call, &shop.key).await),
            Code::NotPermitted,
            "{user}"
        );
        let back = shop.world.gateway.roll_back_policy(&call, &shop.key, 1, Expected::Any).await;
        assert_eq!(code(back), Code::NotPermitted, "{user}");
    }
    // Whoever has no such connection hears the same as for one that nobody has, whatever their rank.
    for user in ["b-boss", "a-peer", ROOT] {
        assert_eq!(code(shop.try_put(user, POLICY, Expected::Any).await), Code::NotFound, "{user}");
    }
    shop.rows("a-ann", "SELECT count(*) FROM orders", "[[2]]").await;
}

#[tokio::test]
async fn versions_are_kept_and_come_back() {
    let shop = Shop::open("policy_versions").await;
    let gateway = &shop.world.gateway;
    let call = shop.world.call_as("a-boss").await;
    assert_eq!(code(gateway.get_policy(&call, &shop.key).await), Code::NotFound);
    assert_eq!(code(gateway.policy_history(&call, &shop.key).await), Code::NotFound);
    assert_eq!(shop.put(POLICY).await.version, 1);
    for stale in [Expected::None, Expected::Version(2)] {
        assert_eq!(code(shop.try_put("a-boss", "models: {}", stale).await), Code::PreconditionFailed);
    }
    assert!(matches!(
        shop.try_put("a-boss", "models: {}", Expected::Version(1)).await.unwrap(),
        PutPolicy::Stored { version, .. } if version.version == 2 && version.author.as_str() == "a-boss"
    ));
    shop.refused("a-ann", "SELECT count(*) FROM orders", Code::RelationUnknown).await;
    gateway.roll_back_policy(&call, &shop.key, 1, Expected::Any).await.unwrap();
    shop.rows("a-ann", "SELECT count(*) FROM orders", "[[2]]").await;
    let history = gateway.policy_history(&call, &shop.key).await.unwrap();
    let told: Vec<_> = history.iter().map(|entry| (entry.version, entry.comment.as_deref())).collect();
    assert_eq!(told, [(3, Some("back to version 1")), (2, None), (1, None)]);
    assert_eq!(gateway.get_policy(&call, &shop.key).await.unwrap().version.document, POLICY);
    assert_eq!(code(gateway.roll_back_policy(&call, &shop.key, 9, Expected::Any).await), Code::NotFound);
}

#[tokio::test]
async fn what_is_wrong_with_a_document_is_told() {
    let shop = Shop::guarded("policy_problems").await;
    for wrong in [
        "models: { Order: { table: public.orders, skoping: {} } }",
        "models: { Order: { table: public.orders, row_policies: [ { name: x, condition: 'a = (' } ] } }",
        "models: {}\nattributes: { member_of: { query: 'SELECT 1' } }",
        "[",
    ] {
        match shop.try_put("a-boss", wrong, Expected::Any).await.unwrap() {
            PutPolicy::Invalid(problems) => assert!(problems[0].line > 0, "{problems:?}"),
            PutPolicy::Stored { .. } => panic!("stored: {wrong}"),
        }
    }
    // Nothing of that is in force; what the catalog does not have is warned of.
    shop.rows("a-ann", "SELECT count(*) FROM orders", "[[2]]").await;
    let odd = POLICY.replace("note: deny", "noote: deny").replace("public.regions", "public.region");
    let odd = format!("{odd}\nbudget: {{ max_include_depth: 5, max_rows: 10 }}\n");
    match shop.try_put("a-boss", &odd, Expected::Any).await.unwrap() {
        PutPolicy::Stored { warnings, .. } => {
            let mut codes: Vec<_> = warnings.iter().map(|warning| warning.code.name()).collect();
            codes.sort_unstable();
            let expected = ["BUDGET_NOT_HELD", "NAME_UNKNOWN", "NAME_UNKNOWN", "UNIQUE_WITHOUT_TENANT"];
            assert_eq!(codes, expected, "{warnings:?}");
        }
        PutPolicy::Invalid(problems) => panic!("{problems:?}"),
    }
}

#[tokio::test]
async fn a_policy_that_can_not_be_used_refuses_everything() {
    let shop = Shop::guarded("policy_broken").await;
    let forget = async || {
        // As if the process began anew.
        let (gateway, _) = shop.world.open_again(shop.world.config.clone()).await.unwrap();
        gateway
    };
    let break_it = "DROP TRIGGER policies_are_never_changed; UPDATE policies SET document = 'models: ['";
    shop.world.change_store(break_it).await;
    for step in ["unreadable", "gone"] {
        let gateway = forget().await;
        let log = crate::world::begin(&gateway);
        let call = gateway.authenticate(&log, Some(&crate::world::key_of("a-ann")), None).await.unwrap();
        for statement in ["SELECT 1", "SELECT count(*) FROM orders", "DELETE FROM orders", "nonsense"] {
            let ran = gateway.run_query(&call, &shop.key, crate::sources::query(statement)).await;
            assert_eq!(code(ran), Code::PolicyUnusable, "{step}: {statement}");
            let compiled = gateway.compile_query(&call, &shop.key, statement, &[]).await;
            assert_eq!(code(compiled), Code::PolicyUnusable, "{step}: {statement}");
        }
        assert_eq!(code(gateway.catalog(&call, &shop.key, &[]).await), Code::PolicyUnusable, "{step}");
        shop.world.change_store("DELETE FROM policies").await;
    }
}

#[tokio::test]
async fn filters_narrow_what_a_policy_shows() {
    let shop = Shop::guarded("policy_filters").await;
    shop.give("a-ann", &[], r#"{"region": "eu"}"#).await;
    shop.rows("a-ann", "SELECT count(*) FROM regions", "[[1]]").await;
    let narrow =
        filtered(&shop.spec, r#"[{"schema_name":"public"},{"type":"exclusion","table_name":"regions"}]"#);
    indexed(&shop.world, "a-boss", &narrow, None).await;
    shop.refused("a-ann", "SELECT count(*) FROM regions", Code::RelationUnknown).await;
    shop.rows("a-ann", "SELECT count(*) FROM orders", "[[2]]").await;
}

#[tokio::test]
async fn only_administrators_change_the_filters_of_a_guarded_connection() {
    let shop = Shop::guarded("policy_filter_rights").await;
    shop.give("a-ann", &[], r#"{"region": "eu"}"#).await;
    let narrow =
        filtered(&shop.spec, r#"[{"schema_name":"public"},{"type":"exclusion","table_name":"regions"}]"#);
    indexed(&shop.world, "a-boss", &narrow, None).await;
    let hidden = async || {
        shop.refused("a-ann", "SELECT count(*) FROM regions", Code::RelationUnknown).await;
        assert_eq!(tables(&shop.world, "a-ann", &shop.key).await.unwrap(), ["public.orders"]);
        let list = shop.world.gateway.list_connections(&shop.world.call_as("a-ann").await).await.unwrap();
        assert_eq!(list.connections[0].spec.content_filters, None);
    };
    hidden().await;
    // With the known password, one that is proven later, and one that is proven at once.
    indexed(&shop.world, "a-ann", &shop.spec, None).await;
    hidden().await;
    let word = password(&shop.owner);
    edit(
        &shop.world,
        "a-ann",
        ConnectionEdits { removed: vec![shop.key.clone()], ..ConnectionEdits::default() },
    )
    .await
    .unwrap();
    indexed(&shop.world, "a-ann", &shop.spec, Some(&word)).await;
    hidden().await;
    let at_once = ConnectionEdits { validate_before_save: true, ..update(new(&shop.spec, Some(&word))) };
    edit(&shop.world, "a-ann", at_once).await.unwrap();
    settled(&shop.world, "a-ann", &shop.key).await;
    hidden().await;
}
