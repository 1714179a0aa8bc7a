//! Drift: a database that changes under its policy, for real.

use ringfence_gateway::Code;
use ringfence_policy::WarningCode;

use super::Shop;
use crate::sources::{indexed, settled};

impl Shop {
    /// Changes the database as its owner, and has it indexed anew.
    async fn alter(&self, sql: &str) {
        let server = ringfence_testkit::Postgres::shared().await;
        let client = server.client(self.spec.database.as_deref().unwrap()).await;
        client.batch_execute(&format!("SET ROLE {}; {sql}", self.owner)).await.unwrap();
        let call = self.world.call_as("a-boss").await;
        self.world.gateway.refresh_connection(&call, &self.key).await.unwrap();
        settled(&self.world, "a-boss", &self.key).await;
    }

    async fn suspended(&self) -> Vec<String> {
        let call = self.world.call_as("a-boss").await;
        let status = self.world.gateway.get_policy(&call, &self.key).await.unwrap();
        status.suspended.iter().map(|(relation, _)| relation.to_string()).collect()
    }
}

#[tokio::test]
async fn a_changed_column_suspends_its_relation_and_no_other() {
    let shop = Shop::guarded("drift_column").await;
    shop.give("a-ann", &[], r#"{"region": "eu"}"#).await;
    let (orders, regions) = ("SELECT count(*) FROM orders", "SELECT count(*) FROM regions");
    for (change, back) in [
        ("ALTER TABLE orders RENAME note TO remark", "ALTER TABLE orders RENAME remark TO note"),
        ("ALTER TABLE orders ALTER card TYPE varchar(30)", "ALTER TABLE orders ALTER card TYPE text"),
        ("ALTER TABLE orders RENAME TO old_orders", "ALTER TABLE old_orders RENAME TO orders"),
    ] {
        let change = format!("DROP VIEW IF EXISTS all_orders; {change}");
        shop.rows("a-ann", orders, "[[2]]").await;
        assert_eq!(shop.suspended().await, [""; 0]);
        shop.alter(&change).await;
        for statement in [
            orders,
            "SELECT * FROM orders",
            "UPDATE orders SET status = 'x'",
            "INSERT INTO orders (id) VALUES (9)",
        ] {
            let refused = shop.refused("a-ann", statement, Code::RelationSuspended).await;
            let told = refused.to_string();
            for name in ["remark", "note", "card", "varchar", "tenant_id"] {
                assert!(!told.contains(name), "{change}: {told}");
            }
        }
        shop.rows("a-ann", regions, "[[1]]").await;
        assert_eq!(shop.suspended().await, ["public.orders"], "{change}");
        let call = shop.world.call_as("a-boss").await;
        let status = shop.world.gateway.get_policy(&call, &shop.key).await.unwrap();
        let why = &status.suspended[0].1[0];
        assert!(matches!(why.code, WarningCode::NameUnknown | WarningCode::TypeChanged), "{change}: {why}");
        assert!(why.problem.line > 0, "{why}");
        shop.alter(back).await;
        shop.rows("a-ann", orders, "[[2]]").await;
    }
    // A column that the policy does not name is nobody's business, and a new document settles the matter.
    shop.alter("ALTER TABLE orders RENAME status TO state").await;
    shop.rows("a-ann", orders, "[[2]]").await;
    shop.alter("ALTER TABLE orders RENAME note TO remark").await;
    shop.refused("a-ann", orders, Code::RelationSuspended).await;
    shop.put(&super::POLICY.replace("note: deny", "remark: deny")).await;
    shop.rows("a-ann", orders, "[[2]]").await;
    shop.refused("a-ann", "SELECT remark FROM orders", Code::ColumnUnknown).await;
}

/// Who could not see the relation hears the same as ever.
#[tokio::test]
async fn what_is_suspended_stays_missing_for_those_who_never_saw_it() {
    let shop = Shop::open("drift_hidden").await;
    let policy = "models: { O: { table: public.orders, roles: [ROLE_A], fields: { note: deny } }, R: { table: public.regions } }";
    shop.put(policy).await;
    shop.give("a-ann", &["ROLE_A"], "{}").await;
    let statement = "SELECT count(*) FROM orders";
    let before = shop.refused("a-abe", statement, Code::RelationUnknown).await;
    let missing = shop.refused("a-abe", "SELECT count(*) FROM nothing", Code::RelationUnknown).await;
    for change in ["DROP VIEW all_orders; ALTER TABLE orders DROP note", "DROP TABLE orders"] {
        shop.alter(change).await;
        shop.refused("a-ann", statement, Code::RelationSuspended).await;
        assert_eq!(shop.refused("a-abe", statement, Code::RelationUnknown).await, before, "{change}");
        assert_eq!(before.to_string().replace("orders", "nothing"), missing.to_string());
        shop.rows("a-abe", "SELECT count(*) FROM regions", "[[2]]").await;
    }
}

/// The catalog does not show it either, and one who joins the connection later has the same.
#[tokio::test]
async fn the_catalog_leaves_out_what_is_suspended() {
    let shop = Shop::guarded("drift_catalog").await;
    shop.give("a-ann", &[], r#"{"region": "eu"}"#).await;
    assert_eq!(
        crate::sources::tables(&shop.world, "a-ann", &shop.key).await.unwrap(),
        ["public.orders", "public.regions"]
    );
    shop.alter("ALTER TABLE orders RENAME note TO remark").await;
    assert_eq!(crate::sources::tables(&shop.world, "a-ann", &shop.key).await.unwrap(), ["public.regions"]);
    indexed(&shop.world, "a-abe", &shop.spec, None).await;
    shop.refused("a-abe", "SELECT count(*) FROM orders", Code::RelationSuspended).await;
}
