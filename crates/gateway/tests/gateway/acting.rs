//! Applications that act for users of their own: a portal of one tenant, and a suite for all tenants of the organization.

mod agents;
mod headers;
mod isolation;
mod keys;
mod reach;
mod revocation;
pub(crate) mod signing;
mod tokens;

use ringfence_gateway::policies::{NewPolicy, PutPolicy};
use ringfence_gateway::signing_keys::NewSigningKey;
use ringfence_gateway::users::UserSpec;
use ringfence_gateway::{Acting, Call, Code, Credentials, GatewayConfig, Refused};
use ringfence_policy::{KeyName, UserId};
use ringfence_store::policies::Expected;
use serde_json::{Value, json};
use signing::{Signer, claims};

use crate::sources::{file, indexed, query};
use crate::world::{World, attributes, key_of};

const SCHEMA: &str = "
    CREATE TABLE orders (id INTEGER PRIMARY KEY, tenant_id TEXT NOT NULL, owner TEXT, status TEXT NOT NULL);
    INSERT INTO orders VALUES (1, 'a-t1', 'pia', 'new'), (2, 'a-t1', 'quy', 'draft'), (3, 'a-t2', 'pia', 'new'),
        (4, 'b-t1', 'pia', 'new')";

const POLICY: &str = r#"
models:
  Order:
    table: orders
    scoping: { tenant_id: principal.tenant_id }
    row_policies:
      - { name: clerks, condition: "'ROLE_CLERK' NOT IN principal.roles OR owner = principal.user_id" }
      - { name: people, condition: "principal.agent IS NULL OR status <> 'draft' OR principal.agent = 'assistant'" }
      - { name: audits, condition: "'ROLE_AUDITOR' IN principal.roles", bypass: true }
    write_policy: { create: allow, update: allow, auto_set: { tenant_id: principal.tenant_id } }
"#;

/// Both applications, each with a key `k`, and a guarded database that both have a connection to.
#[expect(clippy::struct_field_names, reason = "one of the applications is called portal")]
pub(crate) struct Portal {
    pub(crate) world: World,
    pub(crate) key: String,
    portal: Signer,
    suite: Signer,
}

impl Portal {
    pub(crate) async fn open() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(adjust: impl FnOnce(&mut GatewayConfig)) -> Self {
        let world = World::with(adjust).await;
        application(&world, "portal", "acting-application", &["ROLE_CLERK"]).await;
        application(&world, "suite", "org-acting-application", &["ROLE_CLERK", "ROLE_AUDITOR"]).await;
        let (portal, suite) = (Signer::ed25519(), Signer::es256());
        register(&world, "portal", "k", &portal).await.unwrap();
        register(&world, "suite", "k", &suite).await.unwrap();
        let spec = file(&world, "shop.db", SCHEMA);
        let mut key = String::new();
        for user in ["a-boss", "portal", "suite"] {
            key = indexed(&world, user, &spec, None).await;
        }
        let new = NewPolicy { document: POLICY.to_owned(), comment: None, expected: Expected::Any };
        let put = world.gateway.put_policy(&world.call_as("a-boss").await, &key, new).await.unwrap();
        assert!(matches!(put, PutPolicy::Stored { .. }), "the policy can be used");
        Self { world, key, portal, suite }
    }

    fn signer(&self, application: &str) -> &Signer {
        if application == "suite" { &self.suite } else { &self.portal }
    }

    /// A token of the application for one of its users.
    fn token(&self, application: &str, tenant: &str, user: &str, changes: &Value) -> String {
        self.signer(application).token("k", &claims(application, tenant, user, changes))
    }

    async fn present(&self, application: &str, token: &str) -> Result<Call, Refused> {
        present(&self.world, &key_of(application), token).await
    }

    /// The call of an application's user.
    async fn acting(
        &self,
        application: &str,
        tenant: &str,
        user: &str,
        changes: &Value,
    ) -> Result<Call, Refused> {
        self.present(application, &self.token(application, tenant, user, changes)).await
    }

    async fn run(&self, call: &Call, statement: &str) -> Result<String, Refused> {
        let outcome = self.world.gateway.run_query(call, &self.key, query(statement)).await?;
        Ok(serde_json::to_string(&outcome.result.rows).unwrap())
    }

    /// The ids of the orders that the call sees.
    async fn ids(&self, call: &Call) -> String {
        self.run(call, "SELECT group_concat(id) FROM (SELECT id FROM orders ORDER BY id) AS o").await.unwrap()
    }

    /// Refused as every token is that is not accepted.
    async fn declined(&self, application: &str, token: &str) -> Refused {
        let refused = self.present(application, token).await.map(drop).expect_err(token);
        assert_eq!(refused.code, Code::InvalidPrincipalToken, "{refused}");
        refused
    }
}

async fn present(world: &World, access_key: &str, token: &str) -> Result<Call, Refused> {
    let credentials = Credentials {
        access_key: Some(access_key),
        acting: Some(Acting::Token(token)),
        ..Credentials::default()
    };
    world.gateway.identify(&world.begin(), credentials).await
}

/// An application of tenant `a-t1` that an administrator of the organization makes, with an access key.
async fn application(world: &World, id: &str, role: &str, data_roles: &[&str]) {
    let spec = UserSpec {
        id: id.to_owned(),
        roles: vec!["api-user".to_owned(), role.to_owned()],
        data_roles: Some(data_roles.iter().map(|&role| role.to_owned()).collect()),
        variables: Some(attributes(r#"{"of_the_application":true}"#)),
        ..UserSpec::default()
    };
    world.gateway.create_user(&world.call_as("a-boss").await, spec).await.unwrap();
    let name = KeyName::new("first").unwrap();
    world.store.access_keys().create(&UserId::new(id).unwrap(), &name, &key_of(id).into(), 1).await.unwrap();
}

async fn register(world: &World, application: &str, kid: &str, signer: &Signer) -> Result<(), Refused> {
    let new = NewSigningKey { application: None, kid: Some(kid.to_owned()), public_key: signer.public_key() };
    world.gateway.register_signing_key(&world.call_as(application).await, new).await.map(drop)
}

fn nothing() -> Value {
    json!({})
}
