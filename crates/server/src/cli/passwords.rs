//! `ringfence admin password`: passwords of technical users. One is read from standard input, so that no list of processes has it.

use std::io::{IsTerminal as _, Read as _};

use clap::Subcommand;
use jiff::Timestamp;
use ringfence_gateway::Gateway;
use ringfence_gateway::basic_credentials::NewPassword;
use ringfence_store::basic_credentials::BasicCredential;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::admin::{done, list};
use super::failure::Failure;
use super::operator::as_operator;

/// Longest input that is read.
const LONGEST: u64 = 8 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum Password {
    /// Give a user a password, in place of any other, from standard input
    Set {
        /// Id of the user
        user: String,
        /// What is read is the hash of a password: argon2id, or passlib's pbkdf2-sha256
        #[arg(long)]
        hash: bool,
    },
    /// List who has a password; the passwords themselves are shown to nobody
    List {
        /// Id of the organization [default: all]
        #[arg(long, value_name = "ID")]
        org: Option<String>,
    },
    /// Take a user's password away: it is refused from then on
    Delete {
        /// Id of the user
        user: String,
    },
}

impl Password {
    pub(super) async fn perform(&self, gateway: &Gateway) -> Result<(), Failure> {
        match self {
            Self::Set { user, hash } => {
                let text = read_input()?;
                let password = if *hash { NewPassword::Hash(text) } else { NewPassword::Plain(text) };
                as_operator(gateway, "put-basic-credential", None, async |call| {
                    gateway.put_basic_credential(call, user, password).await
                })
                .await?;
                done(format_args!("user {user} has this password"));
            }
            Self::List { org } => {
                let all = as_operator(gateway, "list-basic-credentials", None, async |call| {
                    gateway.list_basic_credentials(call, org.as_deref()).await
                })
                .await?;
                let row = |credential: BasicCredential| {
                    let at = Timestamp::from_millisecond(credential.changed_at);
                    let at = at.map(|at| at.to_string()).unwrap_or_default();
                    [credential.user.to_string(), credential.org.to_string(), at]
                };
                list(["user", "organization", "changed"], all.into_iter().map(row));
            }
            Self::Delete { user } => {
                as_operator(gateway, "delete-basic-credential", None, async |call| {
                    gateway.delete_basic_credential(call, user).await
                })
                .await?;
                done(format_args!("user {user} has no password"));
            }
        }
        Ok(())
    }
}

/// The first line of standard input.
fn read_input() -> Result<SecretString, Failure> {
    let input = std::io::stdin();
    if input.is_terminal() {
        // What is typed would be seen.
        return Err(Failure::new("the password is read from a file or a program: ... < password.txt"));
    }
    let mut text = Zeroizing::new(String::new());
    input.lock().take(LONGEST).read_to_string(&mut text)?;
    Ok(text.lines().next().unwrap_or_default().into())
}
