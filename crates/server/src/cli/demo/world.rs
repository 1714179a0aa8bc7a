//! The people of the demo: two organizations, three tenants, users of several roles, made by the same calls that a
//! client would use.

use std::path::Path;
use std::time::{Duration, Instant};

use ringfence_gateway::connections::{ConnectionEdits, NewConnection};
use ringfence_gateway::organizations::OrganizationSpec;
use ringfence_gateway::tenants::TenantSpec;
use ringfence_gateway::users::UserSpec;
use ringfence_gateway::{Gateway, Refused};
use ringfence_policy::ConnectionSpec;
use ringfence_store::sources::IndexStatus;
use secrecy::SecretString;

use super::shop::SHOPS;
use crate::cli::failure::Failure;
use crate::cli::operator::{as_operator, with_key};
use crate::config::Config;

/// How long indexing the samples may take, on a machine that is busy.
const INDEXING: Duration = Duration::from_secs(30);

/// A person of the demo.
pub(super) struct Person {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) role: &'static str,
    pub(super) tenant: &'static str,
    /// The shops whose connection this user has.
    pub(super) shops: &'static [&'static str],
    /// The shop that this user asks for without having it.
    pub(super) covets: &'static str,
}

const ORGANIZATIONS: [(&str, &str); 2] = [("acme", "Acme Retail"), ("globex", "Globex")];

/// (id, organization, name).
const TENANTS: [(&str, &str, &str); 3] =
    [("berlin", "acme", "Acme Berlin"), ("paris", "acme", "Acme Paris"), ("tokyo", "globex", "Globex Tokyo")];

pub(super) const PEOPLE: [Person; 6] = [
    Person {
        id: "ada",
        name: "Ada, heads Acme",
        role: "org-admin-user",
        tenant: "berlin",
        shops: &["berlin", "paris"],
        covets: "tokyo",
    },
    Person {
        id: "ben",
        name: "Ben, buys for Berlin",
        role: "api-user",
        tenant: "berlin",
        shops: &["berlin"],
        covets: "paris",
    },
    Person {
        id: "pia",
        name: "Pia, runs Paris",
        role: "admin-user",
        tenant: "paris",
        shops: &["paris"],
        covets: "berlin",
    },
    Person {
        id: "theo",
        name: "Theo, trainee in Paris",
        role: "trial-api-user",
        tenant: "paris",
        shops: &["paris"],
        covets: "berlin",
    },
    Person {
        id: "aiko",
        name: "Aiko, heads Globex",
        role: "org-admin-user",
        tenant: "tokyo",
        shops: &["tokyo"],
        covets: "berlin",
    },
    Person {
        id: "kenji",
        name: "Kenji, sells in Tokyo",
        role: "api-user",
        tenant: "tokyo",
        shops: &["tokyo"],
        covets: "paris",
    },
];

/// A person with what they sign in with.
pub(super) struct Member {
    pub(super) person: &'static Person,
    pub(super) key: SecretString,
}

/// Everything that was made.
pub(super) struct World {
    pub(super) members: Vec<Member>,
    pub(super) admin_key: String,
}

/// The key of a shop's connection.
pub(super) fn connection_key(tenant: &str) -> String {
    format!("waii://{}@{tenant}/shop", org_of(tenant))
}

/// A tenant's organization.
pub(super) fn org_of(tenant: &str) -> &'static str {
    TENANTS.iter().find(|(id, _, _)| *id == tenant).map_or("", |(_, org, _)| org)
}

/// Makes organizations, tenants, users, keys and connections, and waits until the connections are indexed.
pub(super) async fn build(gateway: &Gateway, config: &Config, databases: &Path) -> Result<World, Failure> {
    as_operator(gateway, "create-org", None, async |call| {
        for (id, name) in ORGANIZATIONS {
            let spec = OrganizationSpec { id: id.into(), name: Some(name.into()), variables: None };
            gateway.create_org(call, spec).await?;
        }
        for (id, org, name) in TENANTS {
            let org = Some(org.to_owned());
            gateway
                .create_tenant(
                    call,
                    TenantSpec { id: id.into(), org, name: Some(name.into()), variables: None },
                )
                .await?;
        }
        for person in &PEOPLE {
            gateway.create_user(call, person.spec()).await?;
        }
        Ok(())
    })
    .await?;
    let mut members = Vec::new();
    for person in &PEOPLE {
        let made = as_operator(gateway, "create-key", Some(person.id), async |call| {
            gateway.create_access_key(call, "demo").await
        });
        members.push(Member { person, key: made.await?.secret });
    }
    for member in &members {
        connect(gateway, member, &members, databases).await?;
    }
    for member in &members {
        wait_for_index(gateway, member).await?;
    }
    let admin_key = config.admin.key.as_ref().map(|key| key.expose().to_owned()).unwrap_or_default();
    Ok(World { members, admin_key })
}

impl Person {
    fn spec(&self) -> UserSpec {
        UserSpec {
            id: self.id.to_owned(),
            name: Some(self.name.to_owned()),
            tenant: Some(self.tenant.to_owned()),
            roles: vec![self.role.to_owned()],
            ..UserSpec::default()
        }
    }

    /// Trainees may not register connections, and get theirs read-only from the head of the organization.
    fn may_connect(&self) -> bool {
        !self.role.starts_with("trial")
    }
}

impl Member {
    pub(super) fn secret(&self) -> &str {
        secrecy::ExposeSecret::expose_secret(&self.key)
    }
}

async fn connect(
    gateway: &Gateway,
    member: &Member,
    all: &[Member],
    databases: &Path,
) -> Result<(), Refused> {
    let person = member.person;
    let updated = person.shops.iter().map(|tenant| NewConnection {
        spec: spec_of(tenant, databases, !person.may_connect()),
        password: None,
    });
    let mut edits =
        ConnectionEdits { updated: updated.collect(), validate_before_save: true, ..Default::default() };
    let mut registrar = member;
    if !person.may_connect() {
        let head = |other: &&Member| {
            other.person.role == "org-admin-user" && org_of(other.person.tenant) == org_of(person.tenant)
        };
        registrar = all.iter().find(head).unwrap_or(member);
        edits.owner = Some(person.id.to_owned());
    }
    with_key(gateway, "modify-database-connection", registrar.secret(), None, async |call| {
        gateway.edit_connections(call, edits).await
    })
    .await?;
    Ok(())
}

fn spec_of(tenant: &str, databases: &Path, read_only: bool) -> ConnectionSpec {
    let file =
        SHOPS.iter().find(|shop| shop.tenant == tenant).map(|shop| shop.file(databases)).unwrap_or_default();
    let mut spec = ConnectionSpec {
        db_type: "sqlite".to_owned(),
        description: Some(format!("The shop in {tenant}")),
        database: Some(file.to_string_lossy().into_owned()),
        user_alias: Some(org_of(tenant).to_owned()),
        host_alias: Some(tenant.to_owned()),
        db_alias: Some("shop".to_owned()),
        ..ConnectionSpec::default()
    };
    spec.db_access_policy.read_only = read_only;
    spec
}

async fn wait_for_index(gateway: &Gateway, member: &Member) -> Result<(), Failure> {
    let deadline = Instant::now() + INDEXING;
    loop {
        let list = with_key(gateway, "get-databases", member.secret(), None, async |call| {
            gateway.list_connections(call).await
        })
        .await?;
        let ended = |status| matches!(status, IndexStatus::Completed | IndexStatus::Failed);
        if list.connections.iter().all(|connection| ended(connection.index.status)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::new("the sample databases were not indexed in time"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
