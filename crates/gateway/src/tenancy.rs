//! Tenants as an operator manages them: their schemas or databases, or their rows in shared tables, behind one connection.
//!
//! Reading order: [`Estate`] is what a command works on, [`folder`] the migrations, [`migrate`] makes schemas and applies
//! them, [`compare`] holds schemas against the template, [`holdings`] says what is a tenant's, [`export`] and [`import`] copy
//! it out and in, [`erase`] removes it. All of it takes an [`OperatorCommand`], which no request can make.

pub mod compare;
mod csv;
pub mod erase;
pub mod export;
pub mod folder;
mod holdings;
pub mod import;
pub mod migrate;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use ringfence_engine::operator::OperatorCommand;
use ringfence_engine::operator::{OperatorSession, TextRow};
use ringfence_engine::{SourceAddress, SourceError};
use ringfence_policy::principal::merge_attributes;
use ringfence_policy::{
    ConnectionKind, OrgId, Permissions, Policy, Principal, Realm, Tenancy, TenantId, UserId,
};
use ringfence_store::tenants::Tenant;
use secrecy::SecretString;

use crate::connections::address_of;
use crate::{Call, Code, Gateway, Refused};

/// Where the database itself keeps what was done for which tenant: in no schema that a tenant can have.
const RECORDS: &str = "ringfence_tenants";

/// Where a tenant's tables are in a database of its own.
const PUBLIC: &str = "public";

/// Values look the same whoever reads them where.
const SETTINGS: &str = "SET TimeZone = 'UTC'; SET client_min_messages = error";

/// Another role than the connection's own to sign in as.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct SignIn {
    pub username: String,
    pub password: Option<SecretString>,
}

/// The database behind a connection, and what its policy says of tenants there.
pub struct Estate<'a> {
    gateway: &'a Gateway,
    command: &'a OperatorCommand,
    org: OrgId,
    address: SourceAddress,
    policy: Policy,
    /// The connection's own role, where the command signs in as another one: it gets to use what is made.
    user_role: Option<String>,
}

/// A tenant and its schema or database.
#[derive(Debug, Clone)]
pub struct Member {
    /// Which one; `None` for the template, which is nobody's.
    pub tenant: Option<TenantId>,
    /// Where its tables are.
    pub schema: String,
    /// Its database, where each tenant has one.
    pub database: Option<String>,
}

impl Member {
    /// What it has of its own: the database, or the schema.
    pub fn name(&self) -> &str {
        self.database.as_deref().unwrap_or(&self.schema)
    }
}

/// A tenant that can have no schema here, and why.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain fields")]
pub struct Homeless {
    pub tenant: TenantId,
    pub why: String,
}

impl Gateway {
    /// What a command works on: a connection of the caller's, who rules over the policy on it.
    pub async fn estate<'a>(
        &'a self,
        call: &Call,
        command: &'a OperatorCommand,
        key: &str,
        sign_in: Option<SignIn>,
    ) -> Result<Estate<'a>, Refused> {
        let (connection, _) = self.governed(call, key).await?;
        let org = call.principal().org.clone();
        let mut address = address_of(&connection, &org)?;
        if address.kind != ConnectionKind::Postgresql {
            return Err(Refused::invalid("tenants are managed on PostgreSQL only"));
        }
        let policy = self.policy_on(&org, &address).await?.ok_or_else(|| {
            Refused::invalid("the connection has no policy: it says whose schema, or whose rows, are whose")
        })?;
        let own_role = address.username.clone();
        if let Some(SignIn { username, password }) = sign_in {
            (address.username, address.password) = (Some(username), password);
        }
        let user_role = own_role.filter(|role| Some(role) != address.username.as_ref());
        Ok(Estate { gateway: self, command, org, address, policy: policy.policy.clone(), user_role })
    }

    /// Suspends a tenant: from now on nobody of it gets in, and what still runs for it is stopped. The administrator's own
    /// tenant can't be. Answers whether it was not suspended before.
    pub async fn suspend_tenant(&self, call: &Call, id: &str) -> Result<bool, Refused> {
        call.log().set_action("suspend-tenant");
        let tenant = self.managed_tenant(call, id).await?;
        if tenant.id.as_str() == self.shared.config.admin.tenant {
            return Err(Refused::invalid("the administrator's own tenant can't be suspended"));
        }
        self.set_suspended(&tenant.id, Some(crate::call::now_ms())).await
    }

    /// Lets a suspended tenant in again. Answers whether it was suspended before.
    pub async fn resume_tenant(&self, call: &Call, id: &str) -> Result<bool, Refused> {
        call.log().set_action("resume-tenant");
        let tenant = self.managed_tenant(call, id).await?;
        self.set_suspended(&tenant.id, None).await
    }

    /// Makes a tenant of the caller's organization, unless it is there.
    pub async fn tenant_for_schema(&self, call: &Call, id: &str) -> Result<(), Refused> {
        let tenant = TenantId::new(id)?;
        match self.shared.store.tenants().get(&tenant).await? {
            Some(known) if known.org == call.principal().org => Ok(()),
            Some(_) => {
                Err(Refused::new(Code::AlreadyExists, "a tenant of that id already exists: choose another"))
            }
            None => {
                let spec = crate::tenants::TenantSpec {
                    id: id.to_owned(),
                    org: Some(call.principal().org.to_string()),
                    ..crate::tenants::TenantSpec::default()
                };
                self.create_tenant(call, spec).await.map(drop)
            }
        }
    }

    async fn managed_tenant(&self, call: &Call, id: &str) -> Result<Tenant, Refused> {
        call.log().set_object(id);
        call.needs(ringfence_policy::Permission::WriteTenant)?;
        self.visible_tenant(call, &TenantId::new(id)?).await
    }

    async fn set_suspended(&self, tenant: &TenantId, at: Option<i64>) -> Result<bool, Refused> {
        let changed = self.shared.store.tenants().suspend(tenant, at).await;
        self.shared.principals.forget_all();
        self.shared.running.suspect_everybody();
        Ok(changed?)
    }
}

impl Estate<'_> {
    /// What the policy says of tenants' schemas; refused where it says nothing.
    fn tenancy(&self) -> Result<&Tenancy, Refused> {
        self.policy.tenancy.as_ref().ok_or_else(|| {
            Refused::invalid("the policy on this connection gives tenants no schemas: it has no `tenancy`")
        })
    }

    /// Refuses what is about schemas, or about rows, where each tenant has a database.
    fn is_not_for_databases(&self, instead: &str) -> Result<(), Refused> {
        match &self.policy.tenancy {
            Some(tenancy) if tenancy.realm == Realm::Database => Err(Refused::invalid(format!(
                "each tenant has a whole database here, which is more than this command knows of: {instead}"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// A tenant as a member, by the name of what it has.
    fn member_named(&self, tenant: Option<TenantId>, name: String) -> Result<Member, Refused> {
        Ok(match self.tenancy()?.realm {
            Realm::Schema => Member { tenant, schema: name, database: None },
            Realm::Database => Member { tenant, schema: PUBLIC.to_owned(), database: Some(name) },
        })
    }

    /// What tenants are made like: the schema that the policy names, or the connection's own database.
    fn template(&self) -> Result<Option<Member>, Refused> {
        let tenancy = self.tenancy()?;
        let name = match tenancy.realm {
            Realm::Schema => tenancy.template.clone(),
            Realm::Database => Some(self.address.database.clone()),
        };
        name.map(|name| self.member_named(None, name)).transpose()
    }

    /// The tenants of the organization with their schemas, and those that can have none.
    pub async fn members(&self) -> Result<(Vec<Member>, Vec<Homeless>), Refused> {
        self.tenancy()?;
        let (mut members, mut homeless) = (Vec::new(), Vec::new());
        for tenant in self.gateway.shared.store.tenants().list(&self.org).await? {
            match self.schema_of(&tenant).await? {
                Ok(name) => members.push(self.member_named(Some(tenant.id), name)?),
                Err(why) => homeless.push(Homeless { tenant: tenant.id, why }),
            }
        }
        Ok((members, homeless))
    }

    /// One tenant of the organization with its schema.
    pub async fn member(&self, id: &str) -> Result<Member, Refused> {
        let tenant = self.tenant(id).await?;
        match self.schema_of(&tenant).await? {
            Ok(name) => self.member_named(Some(tenant.id), name),
            Err(why) => Err(homeless(&tenant, &why)),
        }
    }

    /// Refuses an id whose tenant could have no schema; it need not be there yet.
    pub async fn could_have_schema(&self, id: &str) -> Result<(), Refused> {
        let tenant = match self.tenant(id).await {
            Err(refused) if refused.code == Code::NotFound => {
                Tenant { id: TenantId::new(id)?, org: self.org.clone(), name: None, variables: None }
            }
            known => known?,
        };
        let why = self.schema_of(&tenant).await?.err();
        why.map_or(Ok(()), |why| Err(homeless(&tenant, &why)))
    }

    async fn tenant(&self, id: &str) -> Result<Tenant, Refused> {
        let found = self.gateway.shared.store.tenants().get(&TenantId::new(id)?).await?;
        found.filter(|tenant| tenant.org == self.org).ok_or_else(|| Refused::not_found("tenant"))
    }

    /// The schema or database that principals of the tenant get, by the same template.
    async fn schema_of(&self, tenant: &Tenant) -> Result<Result<String, String>, Refused> {
        let somebody = self.somebody_of(tenant).await?;
        let tenancy = self.tenancy()?;
        let name = tenancy.own(&somebody, self.address.kind).map_err(|denial| denial.to_string());
        let is_home = |name: &String| {
            tenancy.realm == Realm::Database && name.eq_ignore_ascii_case(&self.address.database)
        };
        Ok(name.and_then(|name| if is_home(&name) { Err(tenancy.denial().to_string()) } else { Ok(name) }))
    }

    /// A principal with nothing but what the whole tenant has.
    async fn somebody_of(&self, tenant: &Tenant) -> Result<Principal, Refused> {
        let org = self.gateway.shared.store.organizations().get(&tenant.org).await?;
        let variables = org.and_then(|org| org.variables);
        let attributes = merge_attributes([variables.as_ref(), tenant.variables.as_ref()]);
        Ok(Principal {
            org: tenant.org.clone(),
            tenant: tenant.id.clone(),
            user: UserId::new("operator")?,
            name: "operator".to_owned(),
            roles: Vec::new(),
            data_roles: Arc::from([]),
            permissions: Permissions::default(),
            attributes: Arc::new(attributes),
            acted_by: None,
            application: None,
            agent: None,
            standing: None,
        })
    }

    async fn open(&self) -> Result<OperatorSession, Refused> {
        self.open_at(&self.address).await
    }

    /// To where the member's tables are.
    async fn open_to(&self, member: &Member) -> Result<OperatorSession, Refused> {
        match &member.database {
            Some(database) => self.open_at(&self.address.beside(database)).await,
            None => self.open().await,
        }
    }

    async fn open_at(&self, address: &SourceAddress) -> Result<OperatorSession, Refused> {
        let session = self.gateway.shared.engine.operate(self.command, address).await?;
        session.run(SETTINGS).await?;
        Ok(session)
    }

    /// The names of what is there of what tenants have: schemas or databases.
    async fn names_there(&self, session: &OperatorSession) -> Result<BTreeSet<String>, Refused> {
        match self.tenancy()?.realm {
            Realm::Schema => Ok(schemas_of(session).await?),
            Realm::Database => {
                let rows = session.rows("SELECT datname FROM pg_catalog.pg_database").await?;
                Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
            }
        }
    }

    /// Makes the tables that hold what was done, where they are missing.
    async fn keep_records(&self, session: &OperatorSession) -> Result<(), Refused> {
        // Of two commands that begin at once one makes them.
        session
            .run(&format!(
                "BEGIN; SELECT pg_catalog.pg_advisory_xact_lock(1380533607); \
                 CREATE SCHEMA IF NOT EXISTS {RECORDS}; \
                 CREATE TABLE IF NOT EXISTS {RECORDS}.schemas (schema_name text PRIMARY KEY, tenant text, \
                 made_at timestamptz NOT NULL DEFAULT now()); \
                 CREATE TABLE IF NOT EXISTS {RECORDS}.migrations (schema_name text, name text, checksum text NOT NULL, \
                 applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (schema_name, name)); COMMIT"
            ))
            .await?;
        Ok(())
    }
}

fn homeless(tenant: &Tenant, why: &str) -> Refused {
    Refused::invalid(format!("the tenant {} can have no schema or database: {why}", tenant.id))
}

/// The schemas of the database.
async fn schemas_of(session: &OperatorSession) -> Result<BTreeSet<String>, SourceError> {
    let rows = session.rows("SELECT nspname FROM pg_catalog.pg_namespace").await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

/// An identifier in SQL.
fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL; sessions read a backslash as itself.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn literals<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let all: Vec<String> = texts.map(literal).collect();
    format!("ARRAY[{}]::text[]", all.join(", "))
}

/// The value of a column, empty where it is NULL.
fn cell(row: &TextRow, column: usize) -> String {
    row.get(column).cloned().flatten().unwrap_or_default()
}

/// What the disk says of a file.
fn unusable(path: &std::path::Path, error: &dyn std::fmt::Display) -> Refused {
    Refused::invalid(format!("{}: {error}", path.display()))
}
