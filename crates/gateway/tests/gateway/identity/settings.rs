//! What users keep and set: configuration and parameters.

use ringfence_gateway::Code;
use ringfence_gateway::parameters::Target;
use ringfence_policy::ConnectionKey;
use serde_json::{Value, json};

use crate::world::{ROOT, World, attributes, code, same_refusal, target};

const ENABLED: &str = "PUBLIC.LIKED_QUERIES.ENABLED";
const MODE: &str = "PUBLIC.LIKED_QUERIES.LEARNING_MODE";
const REFLECTION: &str = "PUBLIC.REFLECTION.ENABLED";

#[tokio::test]
async fn configuration_is_deleted_then_updated_per_user() {
    let world = World::new().await;
    let (ann, abe) = (world.call_as("a-ann").await, world.call_as("a-abe").await);
    let edit = async |updated: &str, deleted: &[&str]| {
        let deleted: Vec<String> = deleted.iter().map(|key| (*key).to_owned()).collect();
        world.gateway.update_user_config(&ann, &attributes(updated), &deleted).await
    };
    assert_eq!(edit("{}", &[]).await.unwrap(), attributes("{}"));
    let odd = r#"{"a":null,"b":[1,{"c":"d"}],"e":1.5}"#;
    assert_eq!(edit(odd, &["a"]).await.unwrap(), attributes(odd));
    assert_eq!(edit(r#"{"b":2}"#, &["b", "e", "none"]).await.unwrap(), attributes(r#"{"a":null,"b":2}"#));
    assert_eq!(edit("{}", &[]).await.unwrap(), attributes(r#"{"a":null,"b":2}"#));
    assert!(world.gateway.update_user_config(&abe, &attributes("{}"), &[]).await.unwrap().is_empty());
    let acting = world.call_for("a-boss", "a-ann").await;
    assert_eq!(world.gateway.update_user_config(&acting, &attributes("{}"), &[]).await.unwrap().len(), 2);
    for bad in [json!({ "": 1 }), json!({ "a\n": 1 }), json!({ "large": "x".repeat(300_000) })] {
        assert_eq!(code(edit(&bad.to_string(), &[]).await), Code::InvalidRequest);
    }
    let many: serde_json::Map<String, Value> = (0..1001).map(|n| (n.to_string(), json!(n))).collect();
    assert_eq!(code(edit(&json!(many).to_string(), &[]).await), Code::InvalidRequest);
    assert_eq!(edit("{}", &[]).await.unwrap().len(), 2, "nothing of it was kept");
}

async fn value(world: &World, user: &str, key: &ConnectionKey, name: &str) -> Value {
    let call = world.call_as(user).await;
    world.gateway.list_parameters(&call, key.as_str()).await.unwrap()[name].value.clone()
}

#[tokio::test]
async fn parameters_have_defaults_and_possible_values() {
    let world = World::new().await;
    let key = world.connect("a-ann").await;
    let ann = world.call_as("a-ann").await;
    let views = world.gateway.list_parameters(&ann, key.as_str()).await.unwrap();
    for (name, default, possible) in [
        (ENABLED, json!(true), json!([true, false])),
        (MODE, json!("few-shot"), json!(["few-shot", "single", "disabled"])),
        (REFLECTION, json!(false), json!([false, true])),
    ] {
        assert_eq!((&views[name].value, json!(views[name].possible_values)), (&default, possible), "{name}");
    }
    let set = async |name: &str, value: Value| {
        world.gateway.set_parameter(&ann, key.as_str(), name, value, &Target::default()).await
    };
    for (name, possible, shown) in [
        (MODE, json!("disabled"), json!("disabled")),
        (REFLECTION, json!(true), json!(true)),
        (REFLECTION, json!("False"), json!(false)),
    ] {
        set(name, possible).await.unwrap();
        assert_eq!(value(&world, "a-ann", &key, name).await, shown);
    }
    for (name, impossible) in
        [(MODE, json!(true)), (MODE, json!("Single")), (REFLECTION, json!(1)), (ENABLED, json!(null))]
    {
        assert_eq!(code(set(name, impossible).await), Code::InvalidRequest, "{name}");
    }
    assert_eq!(code(set("PUBLIC.UNKNOWN", json!(true)).await), Code::InvalidRequest);
    world.gateway.delete_parameter(&ann, key.as_str(), MODE, &Target::default()).await.unwrap();
    assert_eq!(value(&world, "a-ann", &key, MODE).await, json!("few-shot"));
    let unknown = world.gateway.delete_parameter(&ann, key.as_str(), "x", &Target::default()).await;
    assert_eq!(code(unknown), Code::InvalidRequest);
}

#[tokio::test]
async fn the_tightest_target_wins() {
    let world = World::new().await;
    let key = world.connect("a-ann").await;
    for user in ["a-abe", "b-ann", "a-boss", ROOT] {
        world.connect(user).await;
    }
    let (root, boss) = (world.call_as(ROOT).await, world.call_as("a-boss").await);
    let set = async |caller, value: &str, target: Target| {
        world.gateway.set_parameter(caller, key.as_str(), MODE, json!(value), &target).await.unwrap();
    };
    // From anyone to the user; each round the tighter one wins, and others keep what they had.
    set(&root, "disabled", target("*", "*", "*", "*")).await;
    assert_eq!(value(&world, "b-ann", &key, MODE).await, json!("disabled"));
    for (caller, to, value_set) in [
        (&boss, target("a", "", "", ""), "single"),
        (&boss, target("", "", "*", key.as_str()), "few-shot"),
        (&boss, target("", "a-t1", "", ""), "disabled"),
        (&boss, target("", "a-t1", "", key.as_str()), "single"),
        (&boss, target("", "", "a-ann", ""), "disabled"),
        (&boss, target("", "", "a-ann", key.as_str()), "single"),
    ] {
        set(caller, value_set, to.clone()).await;
        assert_eq!(value(&world, "a-ann", &key, MODE).await, json!(value_set), "{to:?}");
    }
    assert_eq!(
        value(&world, "a-abe", &key, MODE).await,
        json!("few-shot"),
        "the organization's, with connection"
    );
    assert_eq!(
        value(&world, "b-ann", &key, MODE).await,
        json!("disabled"),
        "an org admin's anyone ends at the border"
    );
    // Ann's own setting is the one that the administrator made for Ann.
    let ann = world.call_as("a-ann").await;
    world
        .gateway
        .delete_parameter(&ann, key.as_str(), MODE, &target("", "", "", key.as_str()))
        .await
        .unwrap();
    assert_eq!(value(&world, "a-ann", &key, MODE).await, json!("disabled"));
}

#[tokio::test]
async fn a_target_must_be_within_the_caller_s_power() {
    let world = World::new().await;
    let key = world.connect("a-ann").await;
    world.connect("a-boss").await;
    let key = key.as_str();
    let (ann, boss) = (world.call_as("a-ann").await, world.call_as("a-boss").await);
    let set = async |caller, to: &Target| {
        world.gateway.set_parameter(caller, key, REFLECTION, json!(true), to).await
    };
    for own in [target("", "", "", ""), target("", "", "a-ann", ""), target("a", "a-t1", "a-ann", key)] {
        set(&ann, &own).await.unwrap();
    }
    for other in [
        target("*", "", "", ""),
        target("", "", "*", ""),
        target("a", "", "", ""),
        target("", "a-t1", "", ""),
        target("", "", "a-abe", ""),
        target("", "", "nobody", ""),
        target("", "a-t2", "a-ann", ""),
    ] {
        assert_eq!(code(set(&ann, &other).await), Code::NotPermitted, "{other:?}");
        assert_eq!(
            code(world.gateway.delete_parameter(&ann, key, REFLECTION, &other).await),
            Code::NotPermitted
        );
    }
    for (hidden, missing) in [
        (target("b", "", "", ""), target("nowhere", "", "", "")),
        (target("", "b-t1", "", ""), target("", "nowhere", "", "")),
        (target("", "", "b-ann", ""), target("", "", "nobody", "")),
        (target("a", "a-t1", "b-ann", ""), target("a", "a-t1", "nobody", "")),
    ] {
        assert_eq!(same_refusal(set(&boss, &hidden).await, set(&boss, &missing).await), Code::NotFound);
    }
    assert_eq!(code(set(&boss, &target("", "", "a-super", "")).await), Code::NotPermitted);
    assert_eq!(code(set(&boss, &target("", "", "", "sqlite:///none.db")).await), Code::NotFound);
    for own in [
        target("*", "*", "*", "*"),
        target("a", "", "", ""),
        target("", "a-t2", "", ""),
        target("", "", "a-abe", ""),
    ] {
        set(&boss, &own).await.unwrap();
    }
}
