//! What each tenant may change.

use ringfence_gateway::queries::QueryRequest;
use ringfence_gateway::{Code, Decision};

use super::{POLICY, Shop};
use crate::sources::query;

const UNTOUCHED: &str = "1 a-t1 new, 2 a-t1 draft, 3 a-t2 new, 4 a-t2 new";

#[tokio::test]
async fn changes_stay_within_the_tenant() {
    let shop = Shop::guarded("guarded_writes").await;
    shop.run("a-ann", "INSERT INTO orders (id, status) VALUES (5, 'new')").await.unwrap();
    shop.run("a-ann", "UPDATE orders SET status = 'sent' WHERE id = 1").await.unwrap();
    // Another tenant's row is no row: nothing is changed, and nothing is said.
    shop.run("a-ann", "UPDATE orders SET status = 'stolen' WHERE id IN (3, 4)").await.unwrap();
    assert_eq!(shop.raw().await, "1 a-t1 sent, 2 a-t1 draft, 3 a-t2 new, 4 a-t2 new, 5 a-t1 new");
}

#[tokio::test]
async fn what_may_not_be_changed_is_refused() {
    let shop = Shop::guarded("guarded_refused_writes").await;
    for (statement, code) in [
        ("INSERT INTO orders (id, tenant_id, status) VALUES (5, 'a-t2', 'new')", Code::RowRefused),
        // Whether the key is taken makes no difference: what is proposed is looked at first.
        ("INSERT INTO orders (id, tenant_id, status) VALUES (3, 'a-t2', 'new')", Code::RowRefused),
        ("INSERT INTO orders (id, tenant_id) VALUES (1, 'a-t2') ON CONFLICT DO NOTHING", Code::RowRefused),
        ("INSERT INTO orders (id, tenant_id) VALUES (3, 'a-t2') ON CONFLICT DO NOTHING", Code::RowRefused),
        (
            "INSERT INTO orders (id, tenant_id) SELECT 1, 'a-t2' ON CONFLICT (id) DO UPDATE SET status = 'x'",
            Code::RowRefused,
        ),
        ("UPDATE orders SET tenant_id = 'a-t2' WHERE id = 1", Code::ColumnNotWritable),
        ("UPDATE orders SET card = '1' WHERE id = 1", Code::ColumnNotWritable),
        ("UPDATE orders SET note = 'x'", Code::ColumnUnknown),
        ("DELETE FROM orders WHERE id = 1", Code::ApprovalRequired),
        ("UPDATE secrets SET word = 'x'", Code::RelationUnknown),
        ("INSERT INTO orders (id, status) VALUES (6, 'a'), (7, 'b'), (8, 'c')", Code::TooManyRows),
        // The key is another tenant's: what the database says of it does not come through.
        ("INSERT INTO orders (id, status) VALUES (3, 'new')", Code::ConstraintViolated),
    ] {
        let refused = shop.refused("a-ann", statement, code).await;
        assert!(!refused.message.contains("a-t2") && !refused.message.contains("n3"), "{refused}");
        assert_eq!(shop.raw().await, UNTOUCHED, "{statement}");
    }
    shop.give("a-ann", &[], r#"{"region": "eu"}"#).await;
    shop.refused("a-ann", "UPDATE regions SET id = 9", Code::WriteDenied).await;
}

#[tokio::test]
async fn read_only_connections_stay_so() {
    let mut shop = Shop::guarded("guarded_read_only").await;
    shop.spec.db_access_policy.read_only = true;
    crate::sources::indexed(&shop.world, "a-ann", &shop.spec, None).await;
    shop.refused("a-ann", "UPDATE orders SET status = 'x'", Code::WriteDenied).await;
    shop.rows("a-ann", "SELECT count(*) FROM orders", "[[2]]").await;
    assert_eq!(shop.raw().await, UNTOUCHED);
}

#[tokio::test]
async fn a_wanted_reason_must_be_given() {
    let shop = Shop::open("guarded_reasons").await;
    shop.put(&POLICY.replace("max_rows: 2", "require_reason: true")).await;
    let update = "UPDATE orders SET status = 'x' WHERE id = 1";
    shop.refused("a-ann", update, Code::ReasonRequired).await;
    shop.rows("a-ann", "SELECT count(*) FROM orders", "[[2]]").await;
    let blank = QueryRequest { reason: Some(" ".to_owned()), ..query(update) };
    assert_eq!(shop.ask("a-ann", blank).await.unwrap_err().code, Code::ReasonRequired);
    let why = QueryRequest { reason: Some("a complaint".to_owned()), ..query(update) };
    shop.ask("a-ann", why).await.unwrap();
    assert!(shop.raw().await.starts_with("1 a-t1 x"));
}

#[tokio::test]
async fn bypasses_are_written_down() {
    let shop = Shop::guarded("guarded_bypass").await;
    shop.give("a-ann", &["ROLE_AUDITOR"], "{}").await;
    let call = shop.world.call_as("a-ann").await;
    let request =
        QueryRequest { reason: Some("audit of May".to_owned()), ..query("SELECT count(*) FROM orders") };
    shop.world.gateway.run_query(&call, &shop.key, request).await.unwrap();
    call.log().finish(Decision::Allowed).await.unwrap();
    let record = shop.world.record(call.log()).await.record;
    assert_eq!(record.bypasses, ["public.orders: everything"]);
    assert_eq!(record.reason.as_deref(), Some("audit of May"));
    assert_eq!(record.tables, ["public.orders"]);
    let call = shop.world.call_as("a-abe").await;
    shop.world.gateway.run_query(&call, &shop.key, query("SELECT count(*) FROM orders")).await.unwrap();
    call.log().finish(Decision::Allowed).await.unwrap();
    assert!(shop.world.record(call.log()).await.record.bypasses.is_empty());
}

/// What was injected, what else held, and which columns were only seen as masks; on a plan that is known, too.
#[tokio::test]
async fn what_was_enforced_is_written_down() {
    let shop = Shop::guarded("guarded_enforced").await;
    let ask = async |user: &str, statement: &str| {
        let call = shop.world.call_as(user).await;
        shop.world.gateway.run_query(&call, &shop.key, query(statement)).await.unwrap();
        call.log().finish(Decision::Allowed).await.unwrap();
        let record = shop.world.record(call.log()).await.record;
        (record.scopes, record.rules, record.masked)
    };
    let none = Vec::<String>::new;
    for _ in 0..2 {
        let seen = ask("a-ann", "SELECT id, card FROM orders WHERE id = 1").await;
        let masked = vec!["public.orders.card".to_owned()];
        assert_eq!(seen, (vec!["public.orders: tenant_id = 'a-t1'".to_owned()], none(), masked));
        let seen = ask("a-abe", "SELECT id FROM orders").await;
        assert_eq!(seen, (vec!["public.orders: tenant_id = 'a-t2'".to_owned()], none(), none()));
    }
    shop.give("a-ann", &["ROLE_AUDITOR"], "{}").await;
    let (scopes, rules, _) = ask("a-ann", "SELECT id FROM orders").await;
    assert_eq!((scopes, rules), (none(), vec!["public.orders: row policy everything".to_owned()]));
    assert_eq!(ask("a-ann", "SELECT 1").await, (none(), none(), none()));
}
