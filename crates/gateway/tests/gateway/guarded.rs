//! Guarded connections: two tenants in shared tables of a real PostgreSQL, and what each sees and changes.

mod answers;
mod attributes;
mod budgets;
mod changes;
mod drift;
mod effects;
mod escapes;
mod explain;
mod native;
mod policies;
mod reads;
mod removal;
mod restrictions;
mod rules;
mod tenancy;
mod trials;

use ringfence_gateway::policies::{NewPolicy, PutPolicy};
use ringfence_gateway::queries::QueryRequest;
use ringfence_gateway::users::UserSpec;
use ringfence_gateway::{Code, Refused};
use ringfence_policy::ConnectionSpec;
use ringfence_store::policies::{Expected, PolicyVersion};

use crate::sources::{database, indexed, password, query};
use crate::world::{World, attributes};

/// Tables of two tenants, and one of somebody else's.
const SCHEMA: &str = "
    CREATE TABLE orders (id int PRIMARY KEY, tenant_id text NOT NULL, status text NOT NULL, card text, note text);
    INSERT INTO orders VALUES (1, 'a-t1', 'new', '4111111111111111', 'n1'), (2, 'a-t1', 'draft', '4222222222222222', 'n2'),
        (3, 'a-t2', 'new', '4333333333333333', 'n3'), (4, 'a-t2', 'new', NULL, 'n4');
    CREATE TABLE regions (id int PRIMARY KEY, region text NOT NULL);
    INSERT INTO regions VALUES (1, 'eu'), (2, 'us');
    CREATE TABLE secrets (id int PRIMARY KEY, word text); INSERT INTO secrets VALUES (1, 'hush');
    CREATE VIEW all_orders AS SELECT * FROM orders;
    CREATE FUNCTION tell() RETURNS text LANGUAGE sql AS 'SELECT word FROM public.secrets'";

/// The policy on them.
pub(crate) const POLICY: &str = r#"
models:
  Order:
    table: public.orders
    scoping: { tenant_id: principal.tenant_id }
    row_policies:
      - { name: everything, condition: "'ROLE_AUDITOR' IN principal.roles", bypass: true }
    fields:
      card: { action: mask, mask_pattern: "****{last4}" }
      note: deny
    write_policy:
      create: allow
      update: allow
      delete: approval
      auto_set: { tenant_id: principal.tenant_id }
      immutable_fields: [id, tenant_id]
      max_rows: 2
  Region:
    table: public.regions
    scoping: { region: principal.attributes.region }
"#;

/// A guarded database: Ann of one tenant and Abe of another have a connection to it, and so has their boss.
pub(crate) struct Shop {
    pub(crate) world: World,
    pub(crate) spec: ConnectionSpec,
    pub(crate) owner: String,
    pub(crate) key: String,
}

impl Shop {
    pub(crate) async fn open(name: &str) -> Self {
        Self::open_in(World::new().await, name).await
    }

    pub(crate) async fn open_in(world: World, name: &str) -> Self {
        Self::open_with(world, name, SCHEMA).await
    }

    pub(crate) async fn open_with(world: World, name: &str, schema: &str) -> Self {
        let owner = format!("{name}_owner");
        let spec = database(name, &owner, schema).await;
        let mut key = String::new();
        for user in ["a-boss", "a-ann", "a-abe"] {
            key = indexed(&world, user, &spec, Some(&password(&owner))).await;
        }
        Self { world, spec, owner, key }
    }

    /// The same, under [`POLICY`].
    pub(crate) async fn guarded(name: &str) -> Self {
        let shop = Self::open(name).await;
        shop.put(POLICY).await;
        shop
    }

    pub(crate) async fn try_put(
        &self,
        user: &str,
        document: &str,
        expected: Expected,
    ) -> Result<PutPolicy, Refused> {
        let new = NewPolicy { document: document.to_owned(), comment: None, expected };
        self.world.gateway.put_policy(&self.world.call_as(user).await, &self.key, new).await
    }

    pub(crate) async fn put(&self, document: &str) -> PolicyVersion {
        match self.try_put("a-boss", document, Expected::Any).await.unwrap() {
            PutPolicy::Stored { version, .. } => version,
            PutPolicy::Invalid(problems) => panic!("{problems:?}"),
        }
    }

    pub(crate) async fn run(&self, user: &str, statement: &str) -> Result<String, Refused> {
        self.ask(user, query(statement)).await
    }

    pub(crate) async fn ask(&self, user: &str, request: QueryRequest) -> Result<String, Refused> {
        let call = self.world.call_as(user).await;
        let outcome = self.world.gateway.run_query(&call, &self.key, request).await?;
        Ok(serde_json::to_string(&outcome.result.rows).unwrap())
    }

    pub(crate) async fn rows(&self, user: &str, statement: &str, expected: &str) {
        assert_eq!(self.run(user, statement).await.as_deref(), Ok(expected), "{user}: {statement}");
    }

    pub(crate) async fn refused(&self, user: &str, statement: &str, code: Code) -> Refused {
        let refused = self.run(user, statement).await.expect_err(statement);
        assert_eq!(refused.code, code, "{user}: {statement}: {refused}");
        refused
    }

    /// Gives a user data roles and variables.
    pub(crate) async fn give(&self, user: &str, data_roles: &[&str], variables: &str) {
        let spec = UserSpec {
            id: user.to_owned(),
            data_roles: Some(data_roles.iter().map(|role| (*role).to_owned()).collect()),
            variables: Some(attributes(variables)),
            ..UserSpec::default()
        };
        self.world.gateway.update_user(&self.world.call_as("a-boss").await, spec).await.unwrap();
    }

    /// All orders as they are in the database.
    pub(crate) async fn raw(&self) -> String {
        let server = ringfence_testkit::Postgres::shared().await;
        let client = server.client(self.spec.database.as_deref().unwrap()).await;
        let select = "SELECT COALESCE(string_agg(concat_ws(' ', id, tenant_id, status), ', ' ORDER BY id), '') FROM orders";
        client.query_one(select, &[]).await.unwrap().get(0)
    }
}
