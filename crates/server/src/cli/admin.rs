//! `ringfence admin`: organizations, tenants, users and keys, on the store itself, while the server runs or not.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use comfy_table::Table;
use jiff::Timestamp;
use ringfence_gateway::Gateway;
use ringfence_gateway::organizations::OrganizationSpec;
use ringfence_gateway::tenants::TenantSpec;
use ringfence_gateway::users::{UserLookup, UserSpec};
use ringfence_store::SealingKey;
use secrecy::ExposeSecret;

use super::failure::Failure;
use super::opening::{lock, make_data_dir, open_existing_store, refuse_missing_store};
use super::operator::{as_operator, with_gateway};
use super::options::StoreOptions;
use super::passwords::Password;
use super::program::{program, quoted};
use super::terminal::{GOOD, complain, paint_error, say};
use super::{help, terminal};
use crate::config::Config;

/// Manage organizations, tenants, users and keys without the HTTP API
///
/// Works on the control store itself, as the configured administrator: it needs the data directory (or the store's
/// URL) and the sealing key, no access key. A running server sees the changes within a second. Every verb leaves a
/// record in the audit log.
#[derive(Debug, Args)]
#[command(after_help = help::ADMIN)]
pub(crate) struct Admin {
    #[command(subcommand)]
    noun: Noun,
    #[command(flatten)]
    store: Global,
}

/// The shared options, allowed behind the verbs too.
#[derive(Debug, Args)]
struct Global {
    /// Configuration file [default: ./ringfence.toml when it is there]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Configuration")]
    config: Option<std::path::PathBuf>,
    /// Directory of the embedded control store [default: ./ringfence-data]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Configuration")]
    data_dir: Option<std::path::PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// Organizations: the outermost boundary
    #[command(subcommand)]
    Org(Org),
    /// Tenants of organizations
    #[command(subcommand)]
    Tenant(Tenant),
    /// Users of tenants
    #[command(subcommand)]
    User(User),
    /// Access keys of users
    #[command(subcommand)]
    Key(Key),
    /// Passwords of technical users, who send them with each request or sign in with them
    #[command(subcommand)]
    Password(Password),
    /// Give the store a new sealing key and seal every secret again (stop the server first)
    ///
    /// With a key file, the new key takes the file's place. With a key from `RINGFENCE_SEALING_KEY`, the new one is
    /// printed once: start every node with it from then on.
    RotateSealingKey,
}

#[derive(Debug, Subcommand)]
enum Org {
    /// Make an organization
    Create {
        /// Id of the new organization, unique in the store
        id: String,
        /// Display name
        #[arg(long)]
        name: Option<String>,
    },
    /// List all organizations
    List,
    /// Delete an organization that has no tenants
    Delete {
        /// Id of the organization
        id: String,
    },
}

#[derive(Debug, Subcommand)]
enum Tenant {
    /// Make a tenant
    Create {
        /// Id of the new tenant, unique in the store
        id: String,
        /// Id of its organization
        #[arg(long, value_name = "ID")]
        org: String,
        /// Display name
        #[arg(long)]
        name: Option<String>,
    },
    /// List the tenants of an organization
    List {
        /// Id of the organization
        #[arg(long, value_name = "ID")]
        org: String,
    },
    /// Delete a tenant that has no users
    Delete {
        /// Id of the tenant
        id: String,
    },
}

#[derive(Debug, Subcommand)]
enum User {
    /// Make a user
    Create {
        /// Id of the new user, unique in the store
        id: String,
        /// Id of its tenant
        #[arg(long, value_name = "ID")]
        tenant: String,
        /// Display name
        #[arg(long)]
        name: Option<String>,
        /// trial-user, trial-api-user, user, api-user, admin-user, org-admin-user, super-admin-user or auditor; may be given
        /// several times
        #[arg(long, default_value = "api-user")]
        role: Vec<String>,
        /// A role that restricts what is seen, as policies name it; may be given several times
        #[arg(long, value_name = "NAME")]
        data_role: Vec<String>,
    },
    /// List users, all or of one organization or tenant
    List {
        /// Those of this organization
        #[arg(long, value_name = "ID")]
        org: Option<String>,
        /// Those of this tenant
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
    },
    /// Delete a user with everything that is theirs
    Delete {
        /// Id of the user
        id: String,
    },
}

#[derive(Debug, Subcommand)]
enum Key {
    /// Make an access key and print it, once
    Create {
        /// Name of the key, unique for its user
        name: String,
        /// Id of the user whose key it is
        #[arg(long, value_name = "ID")]
        user: String,
    },
    /// List a user's keys by name; the keys themselves are not shown
    List {
        /// Id of the user
        #[arg(long, value_name = "ID")]
        user: String,
    },
    /// Delete keys: they are refused from then on
    Delete {
        /// Names of the keys
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Id of the user whose keys they are
        #[arg(long, value_name = "ID")]
        user: String,
    },
}

impl Admin {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let options =
            StoreOptions { config: self.store.config.clone(), data_dir: self.store.data_dir.clone() };
        let config = options.load(Vec::new())?.config;
        if matches!(self.noun, Noun::RotateSealingKey) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(rotate(&config))?;
        } else {
            with_gateway(&config, async |gateway| self.noun.perform(gateway, &options.as_given()).await)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn rotate(config: &Config) -> Result<(), Failure> {
    // A server that runs has the old key in memory, and would go on with it.
    refuse_missing_store(config)?;
    let directory = make_data_dir(config)?;
    let _lock = directory.as_deref().map(lock).transpose()?;
    let store = open_existing_store(config).await?;
    if config.sealing.key.is_some() {
        let key = SealingKey::generate();
        let sealed = store.rotate_sealing_key(key.clone()).await?;
        done(format_args!("{sealed} secrets are sealed under a new key, which is shown only now:"));
        say(key.to_base64().expose_secret());
        complain("Set RINGFENCE_SEALING_KEY to it on every node before they are started again.");
    } else if let Some(file) = config.sealing_key_file() {
        let sealed = ringfence_store::rotate_key_file(&store, &file).await?;
        done(format_args!("{sealed} secrets are sealed under a new key, which is in {}", file.display()));
    }
    Ok(())
}

impl Noun {
    /// `given` is how the store was named, for commands to paste.
    async fn perform(&self, gateway: &Gateway, given: &str) -> Result<(), Failure> {
        match self {
            Self::Org(verb) => verb.perform(gateway).await,
            Self::Tenant(verb) => verb.perform(gateway).await,
            Self::User(verb) => verb.perform(gateway, given).await,
            Self::Key(verb) => verb.perform(gateway).await,
            Self::Password(verb) => verb.perform(gateway).await,
            Self::RotateSealingKey => Ok(()),
        }
    }
}

impl Org {
    async fn perform(&self, gateway: &Gateway) -> Result<(), Failure> {
        match self {
            Self::Create { id, name } => {
                let spec = OrganizationSpec { id: id.clone(), name: name.clone(), variables: None };
                as_operator(gateway, "create-org", None, async |call| gateway.create_org(call, spec).await)
                    .await?;
                done(format_args!("organization {id} is made"));
            }
            Self::List => {
                let all = as_operator(gateway, "list-orgs", None, async |call| gateway.list_orgs(call).await)
                    .await?;
                let rows = all.into_iter().map(|org| [org.id.to_string(), org.name.unwrap_or_default()]);
                list(["id", "name"], rows);
            }
            Self::Delete { id } => {
                as_operator(gateway, "delete-org", None, async |call| gateway.delete_org(call, id).await)
                    .await?;
                done(format_args!("organization {id} is deleted"));
            }
        }
        Ok(())
    }
}

impl Tenant {
    async fn perform(&self, gateway: &Gateway) -> Result<(), Failure> {
        match self {
            Self::Create { id, org, name } => {
                let spec = TenantSpec {
                    id: id.clone(),
                    org: Some(org.clone()),
                    name: name.clone(),
                    variables: None,
                };
                as_operator(gateway, "create-tenant", None, async |call| {
                    gateway.create_tenant(call, spec).await
                })
                .await?;
                done(format_args!("tenant {id} is made in organization {org}"));
            }
            Self::List { org } => {
                let all = as_operator(gateway, "list-tenants", None, async |call| {
                    gateway.list_tenants(call, Some(org)).await
                })
                .await?;
                let row = |tenant: ringfence_store::tenants::Tenant| {
                    [tenant.id.to_string(), tenant.org.to_string(), tenant.name.unwrap_or_default()]
                };
                list(["id", "organization", "name"], all.into_iter().map(row));
            }
            Self::Delete { id } => {
                as_operator(gateway, "delete-tenant", None, async |call| {
                    gateway.delete_tenant(call, id).await
                })
                .await?;
                done(format_args!("tenant {id} is deleted"));
            }
        }
        Ok(())
    }
}

impl User {
    async fn perform(&self, gateway: &Gateway, given: &str) -> Result<(), Failure> {
        match self {
            Self::Create { id, tenant, name, role, data_role } => {
                let spec = UserSpec {
                    id: id.clone(),
                    name: name.clone(),
                    tenant: Some(tenant.clone()),
                    roles: role.clone(),
                    data_roles: Some(data_role.clone()),
                    ..UserSpec::default()
                };
                let user = as_operator(gateway, "create-user", None, async |call| {
                    gateway.create_user(call, spec).await
                })
                .await?;
                done(format_args!("user {id} is made in tenant {tenant} of organization {}", user.org));
                let (program, user) = (program(), quoted(id));
                complain(format_args!("A key for it: {program} admin key create NAME --user {user}{given}"));
            }
            Self::List { org, tenant } => list_users(gateway, org.clone(), tenant.clone()).await?,
            Self::Delete { id } => {
                as_operator(gateway, "delete-user", None, async |call| gateway.delete_user(call, id).await)
                    .await?;
                done(format_args!("user {id} is deleted"));
            }
        }
        Ok(())
    }
}

async fn list_users(gateway: &Gateway, org: Option<String>, tenant: Option<String>) -> Result<(), Failure> {
    let users = as_operator(gateway, "list-users", None, async |call| {
        // Without a condition the gateway answers the caller's own organization; an operator means all of them.
        let orgs = match (&org, &tenant) {
            (None, None) => {
                gateway.list_orgs(call).await?.into_iter().map(|org| Some(org.id.to_string())).collect()
            }
            _ => vec![org],
        };
        let mut users = Vec::new();
        for org in orgs {
            let lookup = UserLookup { org, tenant: tenant.clone(), user: None };
            users.extend(gateway.list_users(call, lookup).await?);
        }
        Ok(users)
    })
    .await?;
    let row = |user: ringfence_store::users::User| {
        let roles: Vec<_> = user.roles.iter().map(ToString::to_string).collect();
        let (tenant, org) = (user.tenant.to_string(), user.org.to_string());
        [user.id.to_string(), tenant, org, roles.join(", "), user.name.unwrap_or_default()]
    };
    list(["id", "tenant", "organization", "roles", "name"], users.into_iter().map(row));
    Ok(())
}

impl Key {
    async fn perform(&self, gateway: &Gateway) -> Result<(), Failure> {
        match self {
            Self::Create { name, user } => {
                let key = as_operator(gateway, "create-key", Some(user), async |call| {
                    gateway.create_access_key(call, name).await
                })
                .await?;
                done(format_args!("key {name} of user {user} is made; it is shown only now:"));
                say(key.secret.expose_secret());
            }
            Self::List { user } => {
                let keys = as_operator(gateway, "list-access-keys", Some(user), async |call| {
                    gateway.list_access_keys(call).await
                })
                .await?;
                let made =
                    |at: i64| Timestamp::from_millisecond(at).map(|at| at.to_string()).unwrap_or_default();
                list(
                    ["name", "made"],
                    keys.into_iter().map(|key| [key.name.to_string(), made(key.created_at)]),
                );
            }
            Self::Delete { names, user } => {
                let deleted = as_operator(gateway, "delete-access-key", Some(user), async |call| {
                    gateway.delete_access_keys(call, names).await
                })
                .await?;
                if deleted == 0 {
                    return Err(Failure::new(format_args!("user {user} has no key of that name")));
                }
                done(format_args!("deleted keys of user {user}: {deleted}"));
            }
        }
        Ok(())
    }
}

/// What was done, beside the answer, so that scripts get the answer alone.
pub(super) fn done(what: impl std::fmt::Display) {
    complain(format_args!("{} {what}", paint_error(GOOD, "done:")));
}

pub(super) fn list<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) {
    let mut table: Table = terminal::plain_table();
    table.set_header(header);
    table.add_rows(rows);
    say(table);
}
