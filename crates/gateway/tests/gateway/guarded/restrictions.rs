//! Restrictions at run time: in force at once, for administrators, and never wider than the document.

use ringfence_gateway::Code;
use ringfence_gateway::restrictions::PutRestrictions;
use serde_json::{Value, json};

use super::{POLICY, Shop};
use crate::sources::query;
use crate::world::{begin, code, eventually, key_of};

const COUNT: &str = "SELECT count(*) FROM orders";

impl Shop {
    async fn restrict(
        &self,
        user: &str,
        role: &str,
        entries: &Value,
    ) -> Result<Vec<String>, ringfence_gateway::Refused> {
        let call = self.world.call_as(user).await;
        let put = self.world.gateway.put_restrictions(&call, &self.key, role, entries).await?;
        Ok(match put {
            PutRestrictions::Stored => Vec::new(),
            PutRestrictions::Invalid(problems) => {
                problems.iter().map(|problem| problem.message.clone()).collect()
            }
        })
    }
}

fn only(id: i64) -> Value {
    json!([{ "table": "orders", "column": "id", "in": [id] }])
}

#[tokio::test]
async fn a_restriction_takes_effect_at_once() {
    let shop = Shop::guarded("restrict_now").await;
    let call = shop.world.call_as("a-boss").await;
    shop.give("a-ann", &["ROLE_ONE"], "{}").await;
    let (other, _) = shop.world.open_again(shop.world.config.clone()).await.unwrap();
    let there = other.authenticate(&begin(&other), Some(&key_of("a-ann")), None).await.unwrap();
    let counted = async || {
        let ran = other.run_query(&there, &shop.key, query(COUNT)).await.unwrap();
        format!("{:?}", ran.result.rows)
    };
    for _ in 0..3 {
        shop.rows("a-ann", COUNT, "[[2]]").await;
        assert_eq!(shop.restrict("a-boss", "ROLE_ONE", &only(1)).await, Ok(vec![]));
        shop.rows("a-ann", COUNT, "[[1]]").await;
        eventually(async || (counted().await == "[[Integer(1)]]").then_some(())).await;
        assert_eq!(shop.restrict("a-boss", "ROLE_ONE", &only(-1)).await, Ok(vec![]), "it replaces");
        shop.rows("a-ann", COUNT, "[[0]]").await;
        let listed = shop.world.gateway.list_restrictions(&call, &shop.key).await.unwrap();
        assert_eq!(listed.into_iter().collect::<Vec<_>>(), [("ROLE_ONE".to_owned(), only(-1))]);
        shop.world.gateway.delete_restrictions(&call, &shop.key, "ROLE_ONE").await.unwrap();
    }
    let again = shop.world.gateway.delete_restrictions(&call, &shop.key, "ROLE_ONE").await;
    assert_eq!(code(again), Code::NotFound);
    // Another version of the document leaves them in force, and so does a draft that is tried.
    assert_eq!(shop.restrict("a-boss", "ROLE_ONE", &only(1)).await, Ok(vec![]));
    shop.put(&POLICY.replace("max_rows: 2", "max_rows: 3")).await;
    shop.rows("a-ann", COUNT, "[[1]]").await;
}

#[tokio::test]
async fn what_is_wrong_with_a_restriction_is_told() {
    let shop = Shop::open("restrict_wrong").await;
    assert!(shop.restrict("a-boss", "R", &only(1)).await.unwrap_err().to_string().contains("put a policy"));
    let document =
        format!("{POLICY}restrictions: {{ FIXED: [ {{ table: orders, column: id, in: [1] }} ] }}\n");
    shop.put(&document).await;
    for (role, entries, told) in [
        ("R", json!([{ "table": "orders", "column": "idd", "in": [1] }]), "has no column `idd`"),
        ("R", json!([{ "table": "ordres", "column": "id", "in": [1] }]), "there is no table"),
        ("R", json!([{ "table": "orders", "column": "id" }]), "either `in` or `condition`"),
        ("R", json!([{ "table": "orders", "column": "id", "condition": "id = (" }]), ""),
        ("FIXED", only(2), "restricted at run time as well"),
    ] {
        let problems = shop.restrict("a-boss", role, &entries).await.unwrap();
        assert!(problems.iter().any(|problem| problem.contains(told)), "{role} {entries}: {problems:?}");
    }
    // The other way round.
    assert_eq!(shop.restrict("a-boss", "R", &only(1)).await, Ok(vec![]));
    let both = document.replace("FIXED", "R");
    match shop.try_put("a-boss", &both, ringfence_store::policies::Expected::Any).await.unwrap() {
        ringfence_gateway::policies::PutPolicy::Invalid(problems) => {
            assert!(problems[0].message.contains("restricted at run time as well"), "{problems:?}");
        }
        ringfence_gateway::policies::PutPolicy::Stored { .. } => panic!("stored"),
    }
}

#[tokio::test]
async fn restrictions_are_for_administrators_of_the_organization() {
    let shop = Shop::guarded("restrict_rights").await;
    for (user, expected) in [
        ("a-ann", Code::NotPermitted),
        ("a-lead", Code::NotPermitted),
        ("b-boss", Code::NotFound),
        ("a-peer", Code::NotFound),
    ] {
        let call = shop.world.call_as(user).await;
        assert_eq!(code(shop.restrict(user, "R", &only(1)).await), expected, "{user}");
        assert_eq!(code(shop.world.gateway.list_restrictions(&call, &shop.key).await), expected, "{user}");
        let deleted = shop.world.gateway.delete_restrictions(&call, &shop.key, "R").await;
        assert_eq!(code(deleted), expected, "{user}");
    }
}

#[tokio::test]
async fn restrictions_that_can_not_be_used_refuse_everything() {
    let shop = Shop::guarded("restrict_broken").await;
    assert_eq!(shop.restrict("a-boss", "R", &only(1)).await, Ok(vec![]));
    for broken in [r#"{"R": [{"table": 1}]}"#, r#"{"R": [{"table": "orders", "column": "id"}]}"#] {
        shop.world.change_store(&format!("UPDATE restrictions SET document = '{broken}'")).await;
        // As if the process began anew.
        let (gateway, _) = shop.world.open_again(shop.world.config.clone()).await.unwrap();
        let call = gateway.authenticate(&begin(&gateway), Some(&key_of("a-ann")), None).await.unwrap();
        for statement in ["SELECT 1", COUNT, "nonsense"] {
            let ran = gateway.run_query(&call, &shop.key, query(statement)).await;
            assert_eq!(code(ran), Code::PolicyUnusable, "{broken}: {statement}");
        }
    }
}
