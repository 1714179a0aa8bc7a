//! `ringfence mcp`: standard input and output for programs that start their tools themselves, joined to a running server.
//!
//! It hands messages on and decides nothing. Unlike the commands for operators it does not open the data directory: a
//! program that an agent's host starts should have a key and no more, and the server counts its requests like all others.

mod relay;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use axum::http::Uri;
use clap::Args;
use secrecy::SecretString;

use super::failure::Failure;
use super::{help, terminal};
pub(super) use relay::{client, credential};

/// Give an agent its tools, over standard input and output
///
/// For programs that start MCP servers as commands (those that take an address connect to /mcp of the server instead).
/// Hands messages on to a running server; needs its address and an access key, and neither a configuration nor the data
/// directory. The key decides what the agent sees.
#[derive(Debug, Args)]
#[command(after_help = help::MCP)]
pub(crate) struct Mcp {
    /// Address of the server
    #[arg(long, value_name = "URL", env = "RINGFENCE_URL", default_value = "http://127.0.0.1:9859")]
    url: String,
    #[command(flatten)]
    key: KeySource,
}

/// Where the key of a command is that talks to a server.
#[derive(Debug, Args)]
pub(super) struct KeySource {
    /// File with the access key, readable for its owner alone [default: the key in `RINGFENCE_KEY`]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// Where the key is when no file is named.
const KEY_VARIABLE: &str = "RINGFENCE_KEY";

impl Mcp {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        let endpoint = endpoint(&self.url)?;
        let key = self.key.read()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(relay::relay(endpoint, key))?;
        // A read of standard input that nothing comes to can't be interrupted: nobody waits for it.
        runtime.shutdown_background();
        Ok(ExitCode::SUCCESS)
    }
}

impl KeySource {
    pub(super) fn read(&self) -> Result<SecretString, Failure> {
        let text = match &self.key_file {
            Some(file) => read_private(file)?,
            None => std::env::var(KEY_VARIABLE).map_err(|_| {
                Failure::usage("there is no access key")
                    .hint(format_args!("give it as {KEY_VARIABLE}, or in a file with --key-file"))
            })?,
        };
        let key = text.trim();
        if key.is_empty() {
            return Err(Failure::usage("the access key is empty"));
        }
        Ok(key.to_owned().into())
    }
}

/// The door of the server at this address.
fn endpoint(url: &str) -> Result<Uri, Failure> {
    let server = server(url)?;
    format!("{server}/mcp")
        .parse()
        .map_err(|_| Failure::usage(format_args!("--url: `{url}` is no address of a server")))
}

/// The server at this address: scheme and authority.
pub(super) fn server(url: &str) -> Result<String, Failure> {
    let wrong = || {
        Failure::usage(format_args!("--url: `{url}` is no address of a server"))
            .hint("write it like https://data.example.com")
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let authority =
        uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
    let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme)).ok_or_else(wrong)?;
    if !matches!(uri.path(), "/" | "/mcp") || uri.query().is_some() {
        return Err(wrong());
    }
    if scheme == "http" && !is_loopback(authority.host()) {
        terminal::complain(format_args!(
            "the key travels in the clear to {authority}: use https unless the network is yours alone"
        ));
    }
    Ok(format!("{scheme}://{authority}"))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A secret's file. One that others can read is refused, as the sealing key's is.
fn read_private(file: &Path) -> Result<String, Failure> {
    let about =
        |error: std::io::Error| Failure::from(error).about(format_args!("key file {}", file.display()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if std::fs::metadata(file).map_err(about)?.permissions().mode() & 0o077 != 0 {
            return Err(Failure::new(format_args!("key file {}: others can read it", file.display()))
                .hint(format_args!("chmod 600 {}", file.display())));
        }
    }
    std::fs::read_to_string(file).map_err(about)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_to_the_door() {
        for (url, door) in [
            ("http://127.0.0.1:9859", "http://127.0.0.1:9859/mcp"),
            ("https://data.example.com/", "https://data.example.com/mcp"),
            ("https://data.example.com/mcp", "https://data.example.com/mcp"),
        ] {
            assert_eq!(endpoint(url).unwrap().to_string(), door);
        }
        for wrong in ["", "data.example.com", "ftp://a", "https://u:p@a", "https://a/b", "https://a?x=1"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "abc123\n").unwrap();
        let source = KeySource { key_file: Some(file.path().to_owned()) };
        let set = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        set(0o640);
        let refused = source.read().unwrap_err();
        assert!(refused.message().contains("others can read it"), "{}", refused.message());
        set(0o600);
        assert_eq!(secrecy::ExposeSecret::expose_secret(&source.read().unwrap()), "abc123");
    }
}
