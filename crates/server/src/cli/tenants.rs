//! `ringfence tenants`: what tenants have in the databases behind connections, made, kept alike, copied and removed.

mod changing;
mod copying;
mod looking;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use ringfence_gateway::tenancy::{Estate, OperatorCommand, SignIn};
use ringfence_gateway::{Call, Gateway, Refused};

use super::failure::Failure;
use super::help;
use super::operator::{as_operator, with_gateway};
use super::options::StoreOptions;

/// The password of `--sign-in`.
const PASSWORD: &str = "PGPASSWORD";

/// Make, migrate, compare, suspend, export, import and erase what tenants have
///
/// Works on the control store itself and on the database behind a connection, whose policy says which schema, or which
/// rows, are whose. PostgreSQL. Every verb leaves a record in the audit log.
#[derive(Debug, Args)]
#[command(after_help = help::TENANTS)]
pub(crate) struct Tenants {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(changing::Create),
    Migrate(changing::Migrate),
    Check(looking::Check),
    Suspend(changing::Suspend),
    Resume(changing::Resume),
    Export(copying::Export),
    Verify(looking::Verify),
    Import(copying::Import),
    Erase(copying::Erase),
}

/// Which database, and as whom.
#[derive(Debug, Args)]
struct Target {
    /// Key of the connection
    #[arg(long, value_name = "KEY")]
    connection: String,
    /// Id of the administrator whose connection it is
    #[arg(long, value_name = "ID")]
    user: String,
    /// Sign in to the database as this role [default: the connection's own]; its password is read from
    /// `PGPASSWORD`
    #[arg(long, value_name = "ROLE")]
    sign_in: Option<String>,
    #[command(flatten)]
    store: StoreOptions,
}

impl Tenants {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        match &self.verb {
            Verb::Create(verb) => verb.run(),
            Verb::Migrate(verb) => verb.run(),
            Verb::Check(verb) => verb.run(),
            Verb::Suspend(verb) => verb.run(),
            Verb::Resume(verb) => verb.run(),
            Verb::Export(verb) => verb.run(),
            Verb::Verify(verb) => verb.run(),
            Verb::Import(verb) => verb.run(),
            Verb::Erase(verb) => verb.run(),
        }
    }
}

impl Target {
    /// Does something on the estate behind the connection, with one audit record.
    fn with_estate<T>(
        &self,
        action: &str,
        work: impl AsyncFnOnce(&Gateway, &Call, &Estate<'_>) -> Result<T, Refused>,
    ) -> Result<T, Failure> {
        let config = self.store.load(Vec::new())?.config;
        let sign_in = self.sign_in.as_ref().map(|username| SignIn {
            username: username.clone(),
            password: std::env::var(PASSWORD).ok().map(Into::into),
        });
        // This is the command line: the one place that may say so.
        let command = OperatorCommand::given();
        with_gateway(&config, async |gateway| {
            let done = as_operator(gateway, action, Some(&self.user), async |call| {
                let estate = gateway.estate(call, &command, &self.connection, sign_in).await?;
                work(gateway, call, &estate).await
            });
            Ok(done.await?)
        })
    }
}

/// A folder of migrations.
#[derive(Debug, Args)]
struct Folder {
    /// Folder of SQL files, applied in the order of their names; names without a schema in them are the tenant's
    #[arg(long, value_name = "DIR")]
    migrations: PathBuf,
}
