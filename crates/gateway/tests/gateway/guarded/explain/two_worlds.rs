//! Two worlds that differ only in what is hidden from the caller have the same caller's view, to the byte.

use crate::guarded::Shop;
use crate::sources::{database, indexed, password};
use crate::world::World;

const STATEMENTS: [&str; 14] = [
    "SELECT * FROM orders",
    "SELECT id, card FROM orders WHERE card LIKE '%1' ORDER BY status",
    "SELECT o.id FROM orders o JOIN regions r ON r.id = o.id",
    "SELECT count(*) FROM orders WHERE id = 3",
    "SELECT note FROM orders",
    "SELECT orders.salary FROM orders",
    "SELECT * FROM secrets",
    "SELECT * FROM vault",
    "SELECT * FROM legacy.vault",
    "INSERT INTO orders (id, status) VALUES (3, 'new')",
    "UPDATE orders SET status = 'x' WHERE id = 3",
    "UPDATE orders SET salary = 1",
    "DELETE FROM orders WHERE id = 3",
    "SELECT id FROM all_orders",
];

/// Little is hidden: no row of somebody else, and no column or relation beyond those that are shown.
const POOR: &str = "
    CREATE TABLE orders (id int PRIMARY KEY, tenant_id text NOT NULL, status text NOT NULL, card text);
    INSERT INTO orders VALUES (1, 'a-t1', 'new', '4111111111111111'), (2, 'a-t1', 'draft', NULL);
    CREATE TABLE regions (id int PRIMARY KEY, region text NOT NULL);
    INSERT INTO regions VALUES (1, 'eu')";

const POOR_POLICY: &str = "
models:
  Order:
    table: public.orders
    scoping: { tenant_id: principal.tenant_id }
    fields: { card: { action: mask, mask_pattern: '****{last4}' } }
    write_policy: { create: allow, update: allow, auto_set: { tenant_id: principal.tenant_id } }
  Region: { table: public.regions }
";

/// Much is: rows of others, columns, relations, and rules that name them.
const RICH: &str = "
    CREATE SCHEMA legacy;
    CREATE TABLE orders (id int PRIMARY KEY, tenant_id text NOT NULL, salary int, status text NOT NULL, note text, card text,
        vault_id int);
    INSERT INTO orders SELECT n, CASE WHEN n < 3 THEN 'a-t1' ELSE 'a-t2' END, n, 'new', 'n', '4111111111111111', 1
        FROM generate_series(1, 1000) n;
    CREATE TABLE regions (id int PRIMARY KEY, secret_region text, region text NOT NULL);
    INSERT INTO regions VALUES (1, 'x', 'eu');
    CREATE TABLE secrets (id int PRIMARY KEY, word text); INSERT INTO secrets VALUES (1, 'hush');
    CREATE TABLE vault (id int PRIMARY KEY, open boolean); INSERT INTO vault VALUES (1, true);
    CREATE TABLE legacy.vault (id int PRIMARY KEY);
    CREATE VIEW all_orders AS SELECT * FROM orders";

const RICH_POLICY: &str = "
global: { deny: [secret_*, salary] }
models:
  Order:
    table: public.orders
    roles: [api-user, org-admin-user]
    scoping: { tenant_id: principal.tenant_id }
    row_policies:
      - { name: solvent, condition: 'salary < 100000 OR salary IS NULL' }
      - { name: bosses, roles: [ROLE_BOSS], condition: 'TRUE', extends: true }
      - { name: vaulted, condition: 'EXISTS (SELECT 1 FROM legacy.vault v WHERE v.id = orders.id) OR salary < 1000000' }
    fields:
      note: deny
      vault_id: { action: deny }
      card: [ { roles: [ROLE_BOSS], action: allow }, { action: mask, mask_pattern: '****{last4}' } ]
    write_policy:
      - { roles: [ROLE_BOSS], create: allow, update: allow, delete: allow }
      - { create: allow, update: allow, auto_set: { tenant_id: principal.tenant_id }, rows: 'salary < 10' }
  Region: { table: public.regions }
  Secret: { table: public.secrets, roles: [ROLE_BOSS], budget: { max_rows: 3 } }
  Vault: { table: public.vault, allowed: false, budget: { statement_timeout: 1s } }
joins: [ { from: orders.vault_id, to: vault.id, inherit: true, roles: [ROLE_BOSS] } ]
restrictions: { ROLE_BOSS: [ { table: orders, column: salary, in: [1] } ] }
";

async fn shop(name: &str, sql: &str, policy: &str) -> Shop {
    let world = World::new().await;
    let owner = format!("{name}_owner");
    let spec = database(name, &owner, sql).await;
    let mut key = String::new();
    for user in ["a-boss", "a-ann"] {
        key = indexed(&world, user, &spec, Some(&password(&owner))).await;
    }
    let shop = Shop { world, spec, owner, key };
    shop.put(policy).await;
    shop
}

#[tokio::test]
async fn what_is_hidden_changes_nothing() {
    let poor = shop("explain_poor", POOR, POOR_POLICY).await;
    let rich = shop("explain_rich", RICH, RICH_POLICY).await;
    let mut explained = 0;
    for statement in STATEMENTS {
        let (one, other) = (poor.callers("a-ann", statement).await, rich.callers("a-ann", statement).await);
        explained += usize::from(one.is_ok());
        assert_eq!(format!("{one:?}"), format!("{other:?}"), "{statement}");
        // Asked again, when the plan is kept, and after others asked.
        rich.explain("a-boss", Some("a-ann"), |request| request.query = crate::sources::query(statement))
            .await
            .unwrap();
        assert_eq!(
            format!("{:?}", rich.callers("a-ann", statement).await),
            format!("{other:?}"),
            "{statement}"
        );
    }
    assert!(explained >= 5, "too few of the statements are explained: {explained}");
}
